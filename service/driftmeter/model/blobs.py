"""Bytes that state keeps out of memory: where they are, and the store that has them."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from driftmeter.errors import DamagedError

Buffer = bytes | bytearray | memoryview


class BlobRef(NamedTuple):
    """Where a blob is: a file's number, the place of its first byte there, and its size in bytes."""

    file: int
    offset: int
    size_bytes: int


class Blobs(Protocol):
    """Bytes put aside and looked at again now and then.

    What is put is as lasting as the snapshot of state that holds its reference: not before.
    """

    def put(self, parts: Sequence[Buffer]) -> BlobRef:
        """Keep these bytes, one after the other. Raises TransientError when there is no room."""
        ...

    def get(self, ref: BlobRef) -> memoryview:
        """The bytes, read-only. Raises PermanentError when they are damaged."""
        ...

    def release(self, ref: BlobRef) -> None:
        """These bytes are not needed any more."""
        ...

    def renew(self, ref: BlobRef) -> BlobRef:
        """Where the same bytes are from now on: moved when most of their file is released, else where they were."""
        ...

    def adopt(self, ref: BlobRef) -> None:
        """State that is being restored refers to this blob. Raises DamagedError when there can be no such blob."""
        ...


class MemoryBlobs:
    """Blobs that stay in memory: for analyses that end with their process."""

    def __init__(self) -> None:
        self._blobs: dict[int, bytes] = {}
        self._next = 0

    def put(self, parts: Sequence[Buffer]) -> BlobRef:
        """Keep these bytes."""
        blob = b"".join(parts)
        self._blobs[self._next] = blob
        self._next += 1
        return BlobRef(0, self._next - 1, len(blob))

    def get(self, ref: BlobRef) -> memoryview:
        """The bytes."""
        return memoryview(self._blobs[ref.offset])

    def release(self, ref: BlobRef) -> None:
        """Forget them."""
        del self._blobs[ref.offset]

    def renew(self, ref: BlobRef) -> BlobRef:
        """Where they are: they never move."""
        return ref

    def adopt(self, ref: BlobRef) -> None:
        """Whether it is there."""
        if ref.offset not in self._blobs:
            raise DamagedError(f"there is no blob {ref.offset}")
