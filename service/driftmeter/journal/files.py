"""The few file operations that everything on disk is built from, so that tests can fail any one of them."""

import mmap
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from driftmeter.model.blobs import Buffer

_PARTS_AT_ONCE = 512
"""Buffers handed to the system in one call; its own limit is 1,024."""


class AppendFile(Protocol):
    """A file that only grows."""

    def write(self, parts: Sequence[Buffer]) -> None:
        """Append all parts; raises OSError, and may have written some of them then."""
        ...

    def sync(self) -> None:
        """Returns once everything written is on the disk; raises OSError."""
        ...

    def cut(self, size_bytes: int) -> None:
        """Shorten the file to this size; raises OSError."""
        ...

    def close(self) -> None:
        """Let go of the file. Safe to call twice."""
        ...


class Files(Protocol):
    """A file system. Everything raises OSError."""

    def make_directory(self, path: Path) -> None:
        """Make a directory, those above it too; nothing when it is there."""
        ...

    def append(self, path: Path, *, new: bool) -> AppendFile:
        """Open a file to append to it; `new` makes it and refuses one that is there."""
        ...

    def read(self, path: Path) -> memoryview:
        """All bytes of a file, read-only, mapped rather than read."""
        ...

    def names(self, directory: Path) -> list[str]:
        """Names in a directory, sorted; none when it is not there."""
        ...

    def rename(self, source: Path, target: Path) -> None:
        """Rename a file, replacing what has that name."""
        ...

    def remove(self, path: Path) -> None:
        """Remove a file."""
        ...

    def sync_directory(self, path: Path) -> None:
        """Returns once the names in a directory are on the disk."""
        ...


class _RealAppendFile:
    def __init__(self, path: Path, flags: int) -> None:
        self._descriptor: int | None = os.open(path, flags, 0o640)

    def write(self, parts: Sequence[Buffer]) -> None:
        for first in range(0, len(parts), _PARTS_AT_ONCE):
            some = list(parts[first : first + _PARTS_AT_ONCE])
            left = sum(len(part) for part in some)
            written = os.writev(self._open, some)
            if written < left:  # A signal or a full disk; what is left says which.
                rest = memoryview(b"".join(some))[written:]
                while rest:
                    rest = rest[os.write(self._open, rest) :]

    def sync(self) -> None:
        os.fdatasync(self._open)

    def cut(self, size_bytes: int) -> None:
        os.ftruncate(self._open, size_bytes)

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    @property
    def _open(self) -> int:
        assert self._descriptor is not None, "the file is closed"  # noqa: S101
        return self._descriptor


class RealFiles:
    """The system's own."""

    def make_directory(self, path: Path) -> None:
        """Make a directory, those above it too."""
        path.mkdir(parents=True, exist_ok=True)

    def append(self, path: Path, *, new: bool) -> AppendFile:
        """Open a file to append to it."""
        return _RealAppendFile(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | (os.O_EXCL if new else 0))

    def read(self, path: Path) -> memoryview:
        """All bytes of a file, mapped."""
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if not os.fstat(descriptor).st_size:
                return memoryview(b"")
            return memoryview(mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ))
        finally:
            os.close(descriptor)

    def names(self, directory: Path) -> list[str]:
        """Names in a directory, sorted."""
        try:
            return sorted(entry.name for entry in directory.iterdir())
        except FileNotFoundError:
            return []

    def rename(self, source: Path, target: Path) -> None:
        """Rename a file."""
        source.replace(target)

    def remove(self, path: Path) -> None:
        """Remove a file."""
        path.unlink()

    def sync_directory(self, path: Path) -> None:
        """Returns once the names in a directory are on the disk."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def release_pages(buffer: memoryview) -> None:
    """Take what was read of a mapped file out of memory: it is read again where it is needed. Nothing else changes."""
    mapped = buffer.obj
    if isinstance(mapped, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)
