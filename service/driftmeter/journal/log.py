"""The log: entries appended to segments, on disk when `commit` returns, and read again at the next start.

What is appended waits in memory and is written by `commit` in one piece, so that a commit is in one segment. After any
error the segment is cut back to its last commit and closed for good: a file whose `fsync` failed once cannot be trusted
again, since the system may have thrown away what it could not write and says so only once. The next commit begins a new
segment, whose name hides whatever the cut could not remove.
"""

import contextlib
import errno
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from driftmeter.errors import DamagedError, DiskFullError, TransientError
from driftmeter.journal.files import AppendFile, Files, RealFiles
from driftmeter.journal.frames import frame_header
from driftmeter.journal.segments import (
    END_KIND,
    MAGIC,
    SEQUENCE_MAX,
    Entry,
    Fault,
    Segment,
    list_segments,
    read_entries,
    read_segment,
    segment_path,
)
from driftmeter.model.blobs import Buffer

_KIND_MAX = 255
_SEGMENT_BYTES = 64 * 1024 * 1024


class Loss(NamedTuple):
    """What is missing although it was acknowledged, because a start with damage was asked for."""

    entries: int
    """Entries that are gone; at least so many where the end of the damage is not known."""
    size_bytes: int
    """Bytes that could not be read."""
    places: tuple[str, ...]
    """Where, in words."""


class Log:
    """Entries with sequences 1, 2, 3, … in a directory's segments. One thread appends; one process at a time (`lock`).

    Made by `open`.
    """

    def __init__(self, directory: Path, files: Files, segment_bytes: int, *, accept_loss: bool) -> None:
        self._directory, self._files = directory, files
        self._segment_bytes, self._accept_loss = segment_bytes, accept_loss
        self._segments = list[Segment]()
        self._file: AppendFile | None = None  # Of the last segment, unless that is sealed.
        self._waiting = list[Buffer]()
        self._waiting_entries = 0
        self._last = 0
        self.cut_bytes = 0
        """Bytes of commits that had not ended, cut from the last segment when it was opened."""
        self.loss = Loss(0, 0, ())
        """What was skipped; nothing without `accept_loss`."""

    @classmethod
    def open(
        cls,
        directory: Path,
        *,
        files: Files | None = None,
        segment_bytes: int = _SEGMENT_BYTES,
        from_sequence: int = 1,
        accept_loss: bool = False,
    ) -> "Log":
        """The log in this directory, which is made when it is not there. Checks all that will be needed.

        Args:
            directory: Of the segments alone.
            files: The file system; None is the machine's.
            segment_bytes: A segment that has so many is followed by a new one.
            from_sequence: The first entry that is needed. Those before it may be missing or damaged; new ones never
                get a smaller sequence.
            accept_loss: Skip what is damaged or missing, and say so in `loss`, rather than refuse.

        Raises:
            DamagedError: entries are missing or damaged; names the file, the byte, the entries and what to do.
            ConfigError: another version of this program wrote it.
            TransientError: the directory cannot be read or written.
        """
        log = cls(directory, files or RealFiles(), segment_bytes, accept_loss=accept_loss)
        try:
            log._find(from_sequence)
        except OSError as error:
            raise TransientError(f"{directory} cannot be opened: {error}") from error
        return log

    @property
    def last_sequence(self) -> int:
        """The last entry on disk; 0 before the first."""
        return self._last

    def segments(self) -> tuple[Segment, ...]:
        """All segments with entries, in order; the last one grows unless it is sealed."""
        return tuple(self._segments)

    def replay(self, after_sequence: int = 0) -> Iterator[Entry]:
        """The entries on disk behind a sequence, in their order. Payloads are views into mapped files.

        Raises:
            DamagedError: a file was damaged since the log was opened, or before the entries it was opened for.
            OSError: a file cannot be read.
        """
        for segment in self.segments():
            if segment.last > after_sequence:
                yield from read_entries(self._files, segment, after_sequence, accept_loss=self._accept_loss)

    def append(self, kind: int, parts: Sequence[Buffer]) -> int:
        """Take an entry (kinds 1 to 255) for the next commit and return its sequence.

        The parts are written by `commit` and must not change until then. When that commit fails, the entry is gone and
        its sequence is given again.

        Raises:
            ValueError: the parts have more than 1 GiB.
        """
        assert END_KIND < kind <= _KIND_MAX, kind  # noqa: S101
        parts = [memoryview(part).cast("B") if isinstance(part, memoryview) else part for part in parts]
        sequence = self._last + self._waiting_entries + 1
        self._waiting += [frame_header(kind, sequence, parts, position=self._waiting_entries), *parts]
        self._waiting_entries += 1
        return sequence

    def commit(self) -> None:
        """Returns once all that was appended is on disk; nothing to do is done at once.

        Raises:
            TransientError: it is not, and never will be: all that waited is gone and nothing of it comes back once a
                later commit has succeeded.
        """
        entries, self._waiting_entries = self._waiting_entries, 0
        waiting, self._waiting = self._waiting, []
        if not entries:
            return
        ended = False
        try:
            segment = self._write(waiting, entries)
            ended = True
        except OSError as error:
            kind = DiskFullError if error.errno in (errno.ENOSPC, errno.EDQUOT) else TransientError
            raise kind(f"the journal cannot be written: {error}") from error
        finally:
            if not ended:
                self._abandon()
        self._segments[-1] = segment
        self._last = segment.last
        if segment.size_bytes >= self._segment_bytes:
            self.rotate()

    def abandon(self) -> None:
        """Forget what was appended since the last commit; its sequences are given again."""
        self._waiting, self._waiting_entries = [], 0

    def rotate(self) -> None:
        """Seal the last segment: the next commit begins a new one. What waits stays and goes there."""
        if self._file is None:
            return
        file, self._file = self._file, None
        segment = self._segments[-1]._replace(sealed=True)
        with contextlib.suppress(OSError):  # The frame that closes only helps to tell damage from a torn tail.
            end = frame_header(END_KIND, segment.last + 1, [])
            file.write([end])
            file.sync()
            segment = segment._replace(size_bytes=segment.size_bytes + len(end))
        with contextlib.suppress(OSError):
            file.close()
        self._segments[-1] = segment

    def forget(self, before_sequence: int) -> None:
        """Remove the sealed segments that have only entries before this one.

        Raises:
            TransientError: some could not be removed; they are still in `segments`.
        """
        while self._segments and self._segments[0].sealed and self._segments[0].last < before_sequence:
            try:
                with contextlib.suppress(FileNotFoundError):
                    self._files.remove(self._segments[0].path)
                del self._segments[0]
                if not (self._segments and self._segments[0].sealed and self._segments[0].last < before_sequence):
                    self._files.sync_directory(self._directory)
            except OSError as error:
                raise TransientError(f"old parts of the journal cannot be removed: {error}") from error

    def close(self) -> None:
        """Commit nothing more; what waits is gone. Safe to call twice."""
        self.abandon()
        self.rotate()

    def _write(self, waiting: list[Buffer], entries: int) -> Segment:
        """Write and sync, into a new segment when there is none; the segment as it is then."""
        new = self._file is None
        if new:
            self._begin(self._last + 1)
        file, segment = self._file, self._segments[-1]
        assert file is not None  # noqa: S101
        parts = [MAGIC, *waiting] if new else waiting
        file.write(parts)
        file.sync()
        if new:
            self._files.sync_directory(self._directory)
        size_bytes = segment.size_bytes + sum(memoryview(part).nbytes for part in parts)
        return segment._replace(last=segment.last + entries, size_bytes=size_bytes)

    def _begin(self, first: int) -> None:
        path = segment_path(self._directory, first)
        try:
            self._file = self._files.append(path, new=True)
        except FileExistsError:  # Left by a commit that failed: nothing with these sequences was ever acknowledged.
            self._files.remove(path)
            self._file = self._files.append(path, new=True)
        self._segments.append(Segment(path, first, first - 1, 0, sealed=False))

    def _abandon(self) -> None:
        """Take back what a failed commit may have written, as far as the disk still obeys, and begin anew next time."""
        if self._file is None:
            return
        file, self._file = self._file, None
        segment = self._segments.pop()
        if segment.size_bytes:
            self._segments.append(segment._replace(sealed=True))
        with contextlib.suppress(OSError):
            file.cut(segment.size_bytes)
        with contextlib.suppress(OSError):
            file.close()
        if not segment.size_bytes:
            with contextlib.suppress(OSError):
                self._files.remove(segment.path)

    def _find(self, from_sequence: int) -> None:
        """Look at what is there, refuse what is damaged, make the rest lasting."""
        self._files.make_directory(self._directory)
        self._files.sync_directory(self._directory.parent)
        found = list_segments(self._directory, self._files.names(self._directory))
        faults, end = list[Fault](), None
        if found and found[0][0] > from_sequence:
            words = "the files with them are missing"
            faults.append(Fault(self._directory, 0, 0, from_sequence, found[0][0] - 1, words))
        for place, (first, path) in enumerate(found):
            stop = found[place + 1][0] if place + 1 < len(found) else None
            buffer = self._files.read(path)
            if stop is not None and stop <= from_sequence:  # Covered by a snapshot: only kept for others to read.
                self._segments.append(Segment(path, first, stop - 1, len(buffer), sealed=True))
                continue
            reading = read_segment(path, buffer, first, stop)
            faults += [fault for fault in reading.faults if fault.concerns(from_sequence - 1)]
            last = first - 1 if reading.last is None else reading.last
            self._segments.append(Segment(path, first, last, reading.end, sealed=True))
            if stop is None:
                end, self.cut_bytes = (path, reading.end), reading.torn_bytes
        self._judge([fault._replace(first=max(fault.first, from_sequence)) for fault in faults])
        if end is not None:
            self._make_lasting(*end)
        self._files.sync_directory(self._directory)  # What was removed must not come back either.
        self._last = max(from_sequence - 1, *(segment.last for segment in self._segments), 0)
        self._segments = [segment for segment in self._segments if segment.last >= segment.first]

    def _judge(self, faults: list[Fault]) -> None:
        if not faults:
            return
        entries = sum(1 if fault.last == SEQUENCE_MAX else max(fault.last - fault.first + 1, 0) for fault in faults)
        self.loss = Loss(entries, sum(fault.end - fault.offset for fault in faults), tuple(map(str, faults)))
        if not self._accept_loss:
            raise DamagedError(
                f"{faults[0]}; {entries} entries are lost, {self.loss.size_bytes} bytes cannot be read. Restore the"
                f" file from a backup, or start with --accept-loss, which goes on without them"
            )

    def _make_lasting(self, path: Path, size_bytes: int) -> None:
        """Cut the torn tail; put on disk what a process that was killed had written but not yet committed."""
        file = self._files.append(path, new=False)
        try:
            if self.cut_bytes:
                file.cut(size_bytes)
            file.sync()
        finally:
            file.close()
