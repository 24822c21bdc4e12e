"""The archive over a file system that fails at every operation in turn: adding again comes to the same files."""

import errno
from collections.abc import Callable

import pytest

from archive_samples import NestedFiles, Sample, rows_entry, write_journal
from driftmeter.errors import TransientError
from driftmeter.journal.entries import Entry, QuarantinedEntry
from driftmeter.journal.segments import Segment
from driftmeter.model.predictions import ModelKey
from faulty_files import Fault, Operation, PowerFailure, dice
from rows import HOUR_NS, predictions

SHARES = (0.0, 0.5, 1.0)


def journal(files: NestedFiles) -> list[Segment]:
    """Two segments with two models, three hours and a quarantined batch."""
    first: list[Entry] = [
        rows_entry(predictions([0, HOUR_NS], {"x": [1.0, 2.0]})),
        rows_entry(predictions([5], {"y": ["a"]}, key=ModelKey("b", "", ""))),
    ]
    second: list[Entry] = [rows_entry(predictions([2 * HOUR_NS], {"x": [3.0]})), QuarantinedEntry(2, 0, 1)]
    return write_journal(files, [first, second])


def undisturbed() -> tuple[dict[str, bytes], int, int]:
    """What comes out when nothing fails; the numbers of the first and one behind the last operation of the archive."""
    files = NestedFiles()
    segments = journal(files)
    before = len(files.operations)
    sample = Sample(files)
    for segment in segments:
        sample.archive.add(segment)
    return sample.contents(), before, len(files.operations)


EXPECTED, FIRST, END = undisturbed()


def add_all(sample: Sample, segments: list[Segment], done: list[Segment]) -> None:
    """Add segments, and note which are."""
    for segment in segments:
        sample.archive.add(segment)
        done.append(segment)


def at(number: int, fault: Fault) -> Callable[[Operation], Fault | None]:
    """This fault at one operation."""
    return lambda operation: fault if operation.number == number else None


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("number", range(FIRST, END))
def test_a_power_failure_at_any_operation(number: int, share: float) -> None:
    """After the power failed anywhere, adding the segments again leaves the archive as if nothing had happened."""
    files = NestedFiles()
    segments = journal(files)
    files.fault = at(number, Fault(None, share))
    done = list[Segment]()
    with pytest.raises(PowerFailure):
        add_all(Sample(files), segments, done)
    for seed in range(3):
        survivor = files.after_power_failure(dice(seed))
        sample = Sample(survivor)
        for segment in segments[len(done) :]:
            sample.archive.add(segment)
        assert sample.contents() == EXPECTED
        assert survivor.names(sample.path.with_name("archive.unfinished")) == []
        again = survivor.after_power_failure(dice(seed))  # What was added before may be forgotten by the journal.
        assert Sample(again).contents() == EXPECTED


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("number", range(FIRST, END))
def test_an_error_at_any_operation(number: int, share: float) -> None:
    """What the disk refuses is to be tried again, and then comes to the same."""
    files = NestedFiles()
    segments = journal(files)
    sample = Sample(files)
    files.fault = at(number, Fault(errno.EIO, share))
    with pytest.raises(TransientError):
        add_all(sample, segments, [])
    add_all(sample, segments, [])
    assert sample.contents() == EXPECTED
    assert sum(map(len, EXPECTED.values())) == sample.telemetry.archive_bytes.value()


@pytest.mark.parametrize("number", range(10))
def test_an_error_while_trimming(number: int) -> None:
    """A file that cannot be removed is removed the next time; the bytes that are there stay known."""
    files = NestedFiles()
    sample = Sample(files)
    for segment in journal(files):
        sample.archive.add(segment)
    sample.free_bytes = 0
    start = len(files.operations)
    files.fault = at(start + number, Fault(errno.EIO, 0.0))
    if number < len(EXPECTED):
        with pytest.raises(TransientError, match="cannot be trimmed"):
            sample.archive.trim()
    sample.archive.trim()
    assert sample.contents() == {}
    assert sample.telemetry.archive_bytes.value() == 0
