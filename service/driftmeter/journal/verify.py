"""A look at a journal's segments that changes nothing and needs no lock: while the service runs, or after it died."""

from pathlib import Path
from typing import NamedTuple

from driftmeter.errors import ConfigError
from driftmeter.journal.files import RealFiles
from driftmeter.journal.segments import list_segments, read_segment


class SegmentReport(NamedTuple):
    """What is in one segment."""

    path: Path
    first: int
    """The sequence it begins with."""
    last: int
    """Its last sequence; one below `first` without entries."""
    entries: int
    size_bytes: int
    unfinished_bytes: int
    """Of the last segment: a commit that is being written now, or a torn tail, which the next start cuts."""
    faults: tuple[str, ...]
    """What is damaged or missing, and where."""


class Report(NamedTuple):
    """What is in all segments. Entries before the first one are behind a snapshot, or they are missing."""

    segments: tuple[SegmentReport, ...]

    @property
    def faults(self) -> tuple[str, ...]:
        """All faults, in the order of the segments; empty when everything is as it was written."""
        return tuple(fault for segment in self.segments for fault in segment.faults)


def verify(directory: Path) -> Report:
    """Read every segment in a directory and check every byte that counts.

    Raises:
        OSError: something is there but cannot be read.
    """
    found = list_segments(directory, RealFiles().names(directory))
    reports = list[SegmentReport]()
    for place, (first, path) in enumerate(found):
        try:
            # Not mapped: a running service may cut the end of the file off while it is looked at.
            buffer = memoryview(path.read_bytes())
        except FileNotFoundError:  # A running service has removed it: it was not needed any more.
            continue
        stop = found[place + 1][0] if place + 1 < len(found) else None
        reports.append(_report(path, buffer, first, stop))
    return Report(tuple(reports))


def _report(path: Path, buffer: memoryview, first: int, stop: int | None) -> SegmentReport:
    try:
        reading = read_segment(path, buffer, first, stop)
    except ConfigError as error:
        return SegmentReport(path, first, first - 1, 0, len(buffer), 0, (str(error),))
    last = first - 1 if reading.last is None else reading.last
    faults = tuple(map(str, reading.faults))
    return SegmentReport(path, first, last, len(reading.frames), len(buffer), reading.torn_bytes, faults)
