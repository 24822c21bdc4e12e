"""Segments: files of frames with rising sequences. What can be read of one, and what the rest of it means.

A segment is written by the process that made it and never again after any error. Its name says its first sequence, and
with it where the segment before it ends: whatever stands there at or behind that sequence was never acknowledged, and
does not count. Frames say which sequences were on disk before their own commit began. Together this decides, without
guessing, what a damaged place is:

- Entries that were on disk before something readable was written are *damaged*.
- What is behind the last commit known to have ended is a *torn tail*: a machine that stops may leave any part of a
  commit behind, the later parts without the earlier ones too.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from driftmeter.errors import ConfigError, DamagedError
from driftmeter.journal.files import Files, release_pages
from driftmeter.journal.frames import HEADER_BYTES, Frame, find_frame, read_frame

MAGIC = b"DRIFTJ01"
END_KIND = 0
"""The kind of the frame that closes a segment: nothing of it is missing. Entries have 1 to 255."""

_NAME = re.compile(r"(\d{20})\.segment")
SEQUENCE_MAX = (1 << 63) - 1
_RELEASED_BYTES = 8 * 1024 * 1024
"""Bytes of a mapped file that are kept in memory while all of it is checked."""
_VERSION = re.compile(rb"DRIFTJ\d\d")


class Segment(NamedTuple):
    """A segment's entries that count: sequences `first` to `last`, in the file's first `size_bytes` bytes."""

    path: Path
    first: int
    last: int
    size_bytes: int
    sealed: bool
    """Nothing will be appended to it any more."""


class Entry(NamedTuple):
    """One entry as it was appended; the payload is a view into the mapped segment."""

    sequence: int
    kind: int
    payload: memoryview


class Fault(NamedTuple):
    """Bytes `offset` to `end` of a segment that cannot be read: entries `first` to `last` stood there.

    `last` is below `first` when no entry is missing for it, and `SEQUENCE_MAX` when nobody can say which one it is.
    """

    path: Path
    offset: int
    end: int
    first: int
    last: int
    words: str

    def concerns(self, after_sequence: int) -> bool:
        """Whether it hits entries behind a sequence."""
        return max(self.first, self.last) > after_sequence

    def __str__(self) -> str:
        """The file, the byte, the entries and what is wrong."""
        entries = f"entry {self.first}" if self.last <= self.first else f"entries {self.first} to {self.last}"
        if self.last == SEQUENCE_MAX:
            entries = f"entry {self.first} and what follows"
        return f"{self.path}: damaged at byte {self.offset}, {entries}: {self.words}"


class Reading(NamedTuple):
    """What a segment holds. `end` is the first byte behind the last entry that counts (or the frame that closes)."""

    frames: list[Frame]
    faults: list[Fault]
    end: int
    torn_bytes: int
    """Behind `end`: a commit that did not end, of the last segment; 0 for others."""

    @property
    def last(self) -> int | None:
        """The last sequence there; None without entries."""
        return self.frames[-1].sequence if self.frames else None


def segment_path(directory: Path, first: int) -> Path:
    """Where the segment that begins with this sequence is."""
    return directory / f"{first:020}.segment"


def list_segments(directory: Path, names: list[str]) -> list[tuple[int, Path]]:
    """First sequences and paths of the segments among the names in a directory, in their order."""
    matches = (_NAME.fullmatch(name) for name in names)
    return sorted(
        (int(match[1]), directory / match[0]) for match in matches if match and 0 < int(match[1]) < SEQUENCE_MAX
    )


def read_segment(path: Path, buffer: memoryview, first: int, stop: int | None) -> Reading:
    """What counts in the segment's bytes: sequences `first` up to but not including `stop`.

    Args:
        path: Where the bytes are from, for messages.
        buffer: All bytes of the segment.
        first: The sequence it begins with, by its name.
        stop: The sequence the next segment begins with: all before it must be there. None for the last segment:
            what is behind its last whole commit is a torn tail, not a fault.

    Raises:
        ConfigError: another version of this program wrote it.
    """
    if _VERSION.match(buffer) and buffer[: len(MAGIC)] != MAGIC:
        raise ConfigError(f"{path} was written by another version of driftmeter: start that one, or move the file away")
    frames, gaps, end = _frames_and_gaps(buffer, first, stop)
    committed = max((frame.committed for frame in frames), default=0) if stop is None else stop - 1
    torn = next((gap for gap in gaps if gap.is_torn(committed)), None)
    if torn is not None:
        frames = [frame for frame in frames if frame.offset < torn.offset]
        gaps = [gap for gap in gaps if gap.offset < torn.offset]
        end = torn.offset
    if stop is None and frames and frames[-1].kind == END_KIND:
        frames.pop()
    faults = [Fault(path, gap.offset, gap.end, gap.first, gap.last(stop), gap.words) for gap in gaps]
    return Reading(frames, faults, end, len(buffer) - end if stop is None else 0)


def read_entries(
    files: Files, segment: Segment, after_sequence: int = 0, *, accept_loss: bool = False
) -> Iterator[Entry]:
    """A segment's entries behind a sequence, in their order; all of them are checked before the first one comes.

    Raises:
        DamagedError: they are not what was written; with `accept_loss` the damaged ones are left out instead.
        OSError: the file cannot be read.
    """
    buffer = files.read(segment.path)[: segment.size_bytes]
    reading = read_segment(segment.path, buffer, segment.first, segment.last + 1)
    if not accept_loss and (fault := next((each for each in reading.faults if each.concerns(after_sequence)), None)):
        raise DamagedError(str(fault))
    for frame in reading.frames:
        if frame.sequence > after_sequence:
            yield Entry(frame.sequence, frame.kind, frame.payload)


class _Gap(NamedTuple):
    """Bytes that are no frames where frame `first` was due; `resumed` is the sequence of the frame behind them."""

    offset: int
    end: int
    first: int
    resumed: int | None
    words: str
    unsure: bool = False
    """Whether there is a frame behind could not be found out."""

    def is_torn(self, committed: int) -> bool:
        """Whether a commit that did not end left it, when all up to `committed` are known to have been on disk.

        Where the due entry follows all the same, nothing was torn off: somebody wrote into the file.
        """
        return self.first > committed and self.resumed != self.first and not self.unsure

    def last(self, stop: int | None) -> int:
        """The last entry missing for it."""
        if self.resumed is not None:
            return self.resumed - 1
        return SEQUENCE_MAX if stop is None else stop - 1


def _frames_and_gaps(buffer: memoryview, first: int, stop: int | None) -> tuple[list[Frame], list[_Gap], int]:
    """Whole frames in rising order, what is between them, and the first byte behind the last of them."""
    frames, gaps = list[Frame](), list[_Gap]()
    offset, due = (len(MAGIC), first) if buffer[:8] == MAGIC else (0, first)
    released = 0
    while due != stop and (offset < len(buffer) or stop is not None):
        if offset - released >= _RELEASED_BYTES:
            release_pages(buffer)
            released = offset
        read = read_frame(buffer, offset) if offset else "it does not begin as a segment does"
        frame = read if isinstance(read, Frame) and read.sequence == due else None
        if frame is None:
            gap, frame = _skip(buffer, offset, read, range(due, SEQUENCE_MAX if stop is None else stop))
            gaps.append(gap)
        if frame is None:
            break
        if frame.kind == END_KIND and stop is not None:
            gaps.append(_Gap(frame.offset, frame.offset, frame.sequence, None, "the file was closed before"))
            break
        offset, due = frame.end, frame.sequence + 1
        frames.append(frame)
        if frame.kind == END_KIND:
            break
    return frames, gaps, offset


def _skip(buffer: memoryview, offset: int, found: Frame | str, due: range) -> tuple[_Gap, Frame | None]:
    """From a place where the first of the due frames should be and is not to the next one of them."""
    if isinstance(found, Frame):
        words, behind = f"entry {found.sequence} stands where {due.start} was due", found.offset
    elif offset >= len(buffer):
        words, behind = "the file ends before", offset
    else:
        words, behind = found, offset + 1
    # A frame has a header at least, so that only so many sequences can be there.
    possible = range(due.start, min(due.stop, due.start + (len(buffer) - offset) // HEADER_BYTES + 1))
    try:
        frame = find_frame(buffer, behind, possible)
    except DamagedError as error:
        return _Gap(offset, len(buffer), due.start, None, f"{words}; {error}", unsure=True), None
    end = len(buffer) if frame is None else frame.offset
    return _Gap(offset, end, due.start, None if frame is None else frame.sequence, words), frame
