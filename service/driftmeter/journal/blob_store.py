"""Blobs on disk: files that only grow, that snapshots refer into and that go once nothing in them is needed.

A file is a magic of 8 bytes and then a frame for each blob, whose sequence is the place of the blob's first byte and
whose payload is the blob and zeros up to a multiple of 8 bytes.

What makes it safe: a blob is never written over and its file is removed only when neither a kept snapshot nor present
state refers to it. So a crash at any moment leaves all that the kept snapshots refer to, provided `sync` has returned
before a snapshot was written. Each start writes to files of its own, so that a torn end is never written after.
"""

import logging
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from driftmeter.errors import DamagedError, TransientError
from driftmeter.journal.files import AppendFile, Files
from driftmeter.journal.frames import HEADER_BYTES, frame_header, read_frame
from driftmeter.model.blobs import BlobRef, Buffer

BLOB_KIND = 66
"""Kind of a blob's frame."""
FILE_BYTES_MAX = 64 << 20
"""A file that is larger with one more blob gets no more; a single larger blob has a file of its own."""

_MAGIC = b"DRIFTB01"
_SUFFIX = ".blobs"
_DIGITS = 10
_ALIGNMENT = 8
_LOG = logging.getLogger(__name__)


class BlobFileSize(NamedTuple):
    """How much of a file is still needed, headers included."""

    live_bytes: int
    released_bytes: int


@dataclass(slots=True)
class _BlobFile:
    """What is known of one file.

    Attributes:
        size_bytes: All that is in it.
        live_bytes: Frames whose blobs have not been released.
        mapped: Its bytes as of the last look at them; it may have grown since.
        checked: Places of blobs whose checksum has been found right.
        writing: Open while it is written to or not yet known to be on the disk.
        unsure: The system could not say whether what was written is on the disk, and will not say later either.
    """

    size_bytes: int
    live_bytes: int = 0
    mapped: memoryview = memoryview(b"")  # noqa: RUF009  # Nothing can change it.
    checked: set[int] = field(default_factory=set)
    writing: AppendFile | None = None
    unsure: bool = False


class BlobStore:
    """Blobs in the files of a directory, of which it is the only writer. Implements `model.blobs.Blobs`.

    After a start, `adopt` is called for each blob that restored state refers to, before anything is released or
    renewed. A snapshot is made so: `state()`, `files_in_use()`, `sync()`, write the snapshot, `retire()`.
    """

    def __init__(self, files: Files, directory: Path) -> None:
        """Use `open`, which also tidies up.

        Args:
            files: Where to write.
            directory: Of the files; made with the first blob.
        """
        self._files = files
        self._directory = directory
        self._known: dict[int, _BlobFile] = {}
        self._next = 1
        self._current: int | None = None
        self._names_changed = False

    @classmethod
    def open(cls, files: Files, directory: Path, kept: Collection[int]) -> "BlobStore":
        """The store as it was left, without the files that no kept snapshot refers to.

        Args:
            files: Where to write.
            directory: Of the files; need not be there.
            kept: Numbers of the files that any kept snapshot refers to. One that is missing is found by `adopt`.

        Raises:
            TransientError: The files cannot be read.
        """
        store = cls(files, directory)
        try:
            names = files.names(directory)
            stems = [name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX)]
            for number in (int(stem) for stem in stems if len(stem) == _DIGITS and stem.isdecimal()):
                store._next = max(store._next, number + 1)
                if number in kept:
                    store._known[number] = _BlobFile(len(files.read(store._path(number))))
                else:
                    files.remove(store._path(number))
        except OSError as error:
            raise TransientError(f"{directory} cannot be read: {error}") from error
        return store

    def put(self, parts: Sequence[Buffer]) -> BlobRef:
        """Keep these bytes, one after the other; at most 1 GiB of them.

        Raises TransientError, with nothing changed, when they cannot be written.
        """
        size_bytes = sum(map(len, parts))
        padded = [*parts, bytes(-size_bytes % _ALIGNMENT)]
        frame_bytes = _frame_bytes(size_bytes)
        try:
            number = self._writable(frame_bytes)
            file = self._known[number]
            assert file.writing is not None, "a current file is open"  # noqa: S101
            offset = file.size_bytes + HEADER_BYTES
            try:
                file.writing.write([frame_header(BLOB_KIND, offset, padded), *padded])
            except OSError:
                self._undo(file)
                raise
        except OSError as error:
            raise TransientError(f"nothing can be written in {self._directory}: {error}") from error
        file.size_bytes += frame_bytes
        file.live_bytes += frame_bytes
        return BlobRef(number, offset, size_bytes)

    def get(self, ref: BlobRef) -> memoryview:
        """The bytes, read-only, at a multiple of 8 bytes in memory; a view that outlives the file.

        Their checksum is looked at the first time. Raises DamagedError when they are not what was put, TransientError
        when the file cannot be read.
        """
        file = self._placed(ref)
        try:
            if len(file.mapped) < ref.offset + ref.size_bytes:
                file.mapped = self._files.read(self._path(ref.file))
        except FileNotFoundError as error:
            raise DamagedError(f"blob file {self._path(ref.file)} is not there any more") from error
        except OSError as error:
            raise TransientError(f"blob file {self._path(ref.file)} cannot be read: {error}") from error
        if ref.offset not in file.checked:
            self._check(ref, file.mapped)
            file.checked.add(ref.offset)
        return file.mapped[ref.offset : ref.offset + ref.size_bytes]

    def release(self, ref: BlobRef) -> None:
        """These bytes are not needed any more by present state; kept snapshots may still refer to them."""
        file = self._placed(ref)
        file.live_bytes -= _frame_bytes(ref.size_bytes)
        file.checked.discard(ref.offset)
        assert file.live_bytes >= 0, "a blob was released twice"  # noqa: S101

    def renew(self, ref: BlobRef) -> BlobRef:
        """Where the same bytes are from now on.

        They are moved when more than half of their file is released and it is not the one being written, or when `sync`
        failed for it. A damaged one stays where it is: who reads it will be told, and state without it goes on. Raises
        TransientError, with nothing changed, when there is no room or the file cannot be read now.
        """
        file = self._placed(ref)
        mostly_released = ref.file != self._current and file.live_bytes * 2 < file.size_bytes
        if not (mostly_released or file.unsure):
            return ref
        try:
            blob = self.get(ref)
        except DamagedError:
            return ref
        renewed = self.put([blob])
        self.release(ref)
        return renewed

    def adopt(self, ref: BlobRef) -> None:
        """State that is being restored refers to this blob.

        Raises DamagedError when there can be no such blob; whether its bytes are right is seen when it is read.
        """
        self._placed(ref).live_bytes += _frame_bytes(ref.size_bytes)

    def sync(self) -> None:
        """Returns once everything put before the call is on the disk. May run in a thread beside all but `retire`.

        Raises TransientError when that is not so. What was put since the last time is then in doubt for good, whatever
        the system says later: no `sync` succeeds before all of it has been released or moved by `renew`.
        """
        known = list(self._known.items())
        current = self._current  # Read after the list: a file begun since is not in it, and this one may be written to.
        failure: OSError | None = None
        for number, file in known:
            if file.writing is None:
                continue
            try:
                if not file.unsure:
                    file.writing.sync()
            except OSError as error:
                failure, file.unsure = error, True
            if number != current:
                self._close(number)
        unsure = [number for number, file in list(self._known.items()) if file.unsure and file.live_bytes]
        if failure or unsure:
            said = failure or f"an earlier attempt failed for {self._path(unsure[0])}"
            raise TransientError(f"blobs cannot be put on the disk: {said}") from failure
        if self._names_changed:
            self._names_changed = False
            try:
                self._files.sync_directory(self._directory)
                self._files.sync_directory(self._directory.parent)
            except OSError as error:
                self._names_changed = True
                raise TransientError(f"{self._directory} cannot be put on the disk: {error}") from error

    def files_in_use(self) -> list[int]:
        """Numbers of the files that present state refers to, ascending: to be put into the snapshot of that state."""
        return sorted(number for number, file in self._known.items() if file.live_bytes)

    def sizes(self) -> dict[int, BlobFileSize]:
        """Live and released bytes of each file by its number."""
        return {
            number: BlobFileSize(file.live_bytes, file.size_bytes - file.live_bytes)
            for number, file in self._known.items()
        }

    def retire(self, kept: Collection[int]) -> None:
        """Remove files that nobody refers to. To be called once a snapshot is on the disk.

        Args:
            kept: Numbers of the files that any snapshot in the directory refers to.
        """
        for number, file in list(self._known.items()):
            if number in kept or number == self._current or file.live_bytes:
                continue
            self._close(number)
            try:
                self._files.remove(self._path(number))
            except FileNotFoundError:
                pass
            except OSError as error:
                _LOG.warning("blob file %s cannot be removed: %s", self._path(number), error)
                continue
            del self._known[number]

    def close(self) -> None:
        """Let go of the files. Nothing is put on the disk by it."""
        for number in self._known:
            self._close(number)

    def _path(self, number: int) -> Path:
        return self._directory / f"{number:0{_DIGITS}}{_SUFFIX}"

    def _placed(self, ref: BlobRef) -> _BlobFile:
        """The file a blob is in."""
        file = self._known.get(ref.file)
        if file is None:
            raise DamagedError(f"blob file {self._path(ref.file)} is not there")
        first = len(_MAGIC) + HEADER_BYTES
        end = ref.offset + ref.size_bytes
        if ref.offset < first or ref.offset % _ALIGNMENT or ref.size_bytes < 0 or end > file.size_bytes:
            raise DamagedError(f"blob file {self._path(ref.file)} has no blob at byte {ref.offset}")
        return file

    def _check(self, ref: BlobRef, mapped: memoryview) -> None:
        frame = read_frame(mapped, ref.offset - HEADER_BYTES)
        if isinstance(frame, str):
            raise DamagedError(f"blob file {self._path(ref.file)} is damaged at byte {ref.offset}: {frame}")
        padded_bytes = _frame_bytes(ref.size_bytes) - HEADER_BYTES
        if (frame.sequence, frame.kind, len(frame.payload)) != (ref.offset, BLOB_KIND, padded_bytes):
            raise DamagedError(f"blob file {self._path(ref.file)} has another blob at byte {ref.offset}")

    def _writable(self, frame_bytes: int) -> int:
        """Number of a file with room for a frame: the current one or a new one. Raises OSError."""
        if self._current is not None:
            current = self._known[self._current]
            fits = current.size_bytes + frame_bytes <= FILE_BYTES_MAX or current.size_bytes == len(_MAGIC)
            if fits and not current.unsure:
                return self._current
        self._files.make_directory(self._directory)
        number = self._next
        self._next += 1  # A number is never used again, even if nothing comes of the file.
        writing = self._files.append(self._path(number), new=True)
        self._names_changed = True  # After the name is there: `sync` may look at any moment.
        try:
            writing.write([_MAGIC])
        except OSError:
            writing.close()
            with suppress(OSError):
                self._files.remove(self._path(number))
            raise
        self._current = number  # The one before stays open until it is on the disk.
        self._known[number] = _BlobFile(len(_MAGIC), writing=writing)  # Last: `sync` closes known ones but the current.
        return number

    def _undo(self, file: _BlobFile) -> None:
        """Cut off what a write that failed has left; a file that cannot be cut is not written to again."""
        assert file.writing is not None, "a file that is written to is open"  # noqa: S101
        try:
            file.writing.cut(file.size_bytes)
        except OSError:
            self._current = None

    def _close(self, number: int) -> None:
        file = self._known[number]
        if file.writing is not None:
            file.writing.close()
            file.writing = None
        if number == self._current:
            self._current = None


def _frame_bytes(size_bytes: int) -> int:
    """What a blob of this size takes in its file."""
    return HEADER_BYTES + size_bytes + -size_bytes % _ALIGNMENT
