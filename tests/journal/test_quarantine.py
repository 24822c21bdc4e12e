"""Quarantine: what could not be digested stays to be looked at, tried again or dropped, within a bound."""

import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from archive_samples import NestedFiles
from driftmeter.errors import DamagedError, TransientError
from driftmeter.journal.entries import BatchEntry, RetriedEntry
from driftmeter.journal.quarantine import DiskQuarantine, Item, MemoryQuarantine, Origin
from driftmeter.model.request import Request, Signal
from faulty_files import Fault, Operation, PowerFailure, dice
from rows import predictions

DIRECTORY = Path("/state/quarantine")
REQUEST = Request(Signal.LOGS, b"\x00\xff" * 50)


def a_batch(value: float = 1.0) -> BatchEntry:
    """One row of one span."""
    return BatchEntry(predictions([5, 6], {"x": [value, 2.0], "c": ["a", None]}, {"x": [1]}), 2, 1, 0)


def quarantine(files: NestedFiles, bytes_max: int = 1 << 20) -> DiskQuarantine:
    """As a start makes it."""
    return DiskQuarantine(files, DIRECTORY, bytes_max)


def taken(kept: DiskQuarantine) -> list[Item]:
    """All that is to be tried again, which is not in quarantine any more then."""
    found = list(kept.retries())
    for item in found:
        kept.let_go(item)
    return found


def test_what_is_kept_is_there_after_a_restart() -> None:
    """Requests and batches come back as they were, with what went wrong and when."""
    files = NestedFiles()
    assert quarantine(files).keep(REQUEST, 7, ValueError("no idea"), 11) == 0
    assert quarantine(files).keep(a_batch(), 2, KeyError("x"), 12) == 0
    kept = quarantine(files)
    assert len(kept) == 2
    assert kept.item(1) == Item(1, REQUEST, 7, "ValueError: no idea", 11)
    item = kept.item(2)
    assert (item.spans, item.error, item.time_ns) == (2, "KeyError: 'x'", 12)
    assert isinstance(item.content, BatchEntry)
    expected = a_batch()
    assert item.content.predictions.key == expected.predictions.key
    assert item.content.predictions.rows.equals(expected.predictions.rows)
    assert item.content.predictions.mismatches["feature.x"].tolist() == [1]
    assert item.content[1:] == expected[1:]


def test_a_list_says_what_there_is() -> None:
    """Number, model or kind of request, spans, error, time and size; and what is to be tried again."""
    kept = quarantine(NestedFiles())
    kept.keep(REQUEST, 7, ValueError("no idea"), 11)
    kept.keep(a_batch(), 2, KeyError("x"), 12)
    kept.ask_for_retry(2)
    found = [(each.number, each.what, each.spans, each.error, each.time_ns, each.retry) for each in kept.listed()]
    assert found == [
        (1, "request (logs)", 7, "ValueError: no idea", 11, False),
        (2, "model", 2, "KeyError: 'x'", 12, True),
    ]
    assert all(each.size_bytes > 100 and not each.damaged for each in kept.listed())


def test_what_is_tried_again_is_out_of_quarantine_afterwards() -> None:
    """It stays until it has been dealt with, so that a crash in between does not lose it."""
    files = NestedFiles()
    kept = quarantine(files)
    kept.keep(REQUEST, 7, ValueError("no idea"), 11)
    kept.keep(REQUEST, 8, ValueError("no idea"), 12)
    kept.ask_for_retry(2)
    (item,) = kept.retries()
    assert item.spans == 8
    assert len(quarantine(files)) == 2
    kept.let_go(item)
    assert [each.number for each in kept.listed()] == [1]
    assert taken(kept) == []


def test_what_somebody_dropped_meanwhile_can_be_let_go() -> None:
    """A command that runs beside the service is no error of the service."""
    kept = quarantine(NestedFiles())
    kept.keep(REQUEST, 7, ValueError("no idea"), 11)
    kept.ask_for_retry(1)
    (item,) = kept.retries()
    kept.drop(1)
    kept.let_go(item)
    assert len(kept) == 0


@pytest.mark.parametrize("operation", ["remove", "sync directory"])
def test_what_cannot_be_taken_out_is_said_so(operation: str) -> None:
    """On a disk that has become read-only, for example; it can be let go later."""
    files = NestedFiles()
    kept = quarantine(files)
    kept.keep(REQUEST, 7, ValueError("no idea"), 11)
    kept.ask_for_retry(1)
    (item,) = kept.retries()
    files.fault = lambda each: Fault(errno.EROFS) if each.name == operation else None
    with pytest.raises(TransientError, match="cannot be written"):
        kept.let_go(item)
    files.fault = lambda _: None
    kept.let_go(item)
    assert len(kept) == 0


def test_a_damaged_item_that_cannot_be_put_back_is_said_so() -> None:
    """The service goes on, and looks again later."""
    files = NestedFiles()
    kept = quarantine(files)
    kept.keep(REQUEST, 7, ValueError("no idea"), 11)
    kept.ask_for_retry(1)
    files.overwrite(DIRECTORY / "0000000001.retry", b"")
    files.fault = lambda _: Fault(errno.EROFS)
    with pytest.raises(TransientError, match="cannot be written"):
        list(kept.retries())


def test_a_dropped_item_is_gone() -> None:
    """Also one that was to be tried again; what is not there cannot be dropped."""
    kept = quarantine(NestedFiles())
    for _ in range(2):
        kept.keep(REQUEST, 7, ValueError("no idea"), 11)
    kept.ask_for_retry(2)
    kept.drop(2)
    assert taken(kept) == []
    with pytest.raises(FileNotFoundError, match="number 2"):
        kept.drop(2)
    with pytest.raises(FileNotFoundError, match="number 2"):
        kept.ask_for_retry(2)
    with pytest.raises(FileNotFoundError, match="number 2"):
        kept.item(2)


def test_numbers_are_not_given_twice() -> None:
    """A number that somebody has on the screen does not become another item's."""
    kept = quarantine(NestedFiles())
    kept.keep(REQUEST, 7, ValueError("no idea"), 11)
    kept.drop(1)
    kept.keep(REQUEST, 7, ValueError("no idea"), 11)
    assert [each.number for each in kept.listed()] == [2]


def test_a_batch_of_the_journal_is_kept_once() -> None:
    """Put into quarantine again, also after a restart, it takes its own place; what was asked for is not forgotten."""
    files = NestedFiles()
    for spans in (1, 2):
        for origin in (Origin(7, 0), Origin(7, 1), Origin(71, 0), None):
            quarantine(files).keep(a_batch(), spans, KeyError("x"), 10 + spans, origin)
        if spans == 1:
            quarantine(files).ask_for_retry(2)
    kept = quarantine(files)
    assert {Origin(7, 0), Origin(7, 1), Origin(71, 0)} == kept.origins()
    assert [(each.number, each.spans, each.time_ns, each.retry) for each in kept.listed()] == [
        (1, 2, 12, False),
        (2, 2, 12, True),
        (3, 2, 12, False),
        (4, 1, 11, False),
        (5, 2, 12, False),
    ]
    assert [kept.item(number).origin for number in (1, 2, 4)] == [Origin(7, 0), Origin(7, 1), None]
    assert kept.item(2).retried == RetriedEntry(2, 12, 7, 1)
    assert kept.item(4).retried == RetriedEntry(4, 11, 0, 0)


def test_what_was_just_kept_stays_though_it_has_an_old_number() -> None:
    """Where the quarantine is full, the oldest of the others goes."""
    files = NestedFiles()
    kept = quarantine(files)
    for number in range(3):
        kept.keep(a_batch(), 1, KeyError("x"), 11, Origin(7, number))
    small = quarantine(files, 1)
    assert small.keep(a_batch(), 1, KeyError("x"), 11, Origin(7, 0)) == 2
    assert [each.number for each in small.listed()] == [1]


def test_the_oldest_goes_when_it_is_full() -> None:
    """Its spans are told, so that they can be counted; the newest stays however large it is."""
    files = NestedFiles()
    quarantine(files).keep(REQUEST, 1, ValueError("no idea"), 11)
    size_bytes = quarantine(files).listed()[0].size_bytes
    kept = quarantine(files, int(size_bytes * 2.5))
    assert kept.keep(REQUEST, 2, ValueError("no idea"), 11) == 0
    assert kept.keep(REQUEST, 4, ValueError("no idea"), 11) == 1
    assert kept.keep(Request(Signal.TRACES, bytes(10_000)), 8, ValueError("no idea"), 11) == 6
    assert [each.spans for each in kept.listed()] == [8]


def test_a_damaged_item_is_said_so_and_can_be_dropped() -> None:
    """It is in the list with what is wrong; trying it again puts it back; everything else goes on."""
    files = NestedFiles()
    kept = quarantine(files)
    for _ in range(3):
        kept.keep(REQUEST, 7, ValueError("no idea"), 11)
    path = DIRECTORY / "0000000002.quarantined"
    files.overwrite(path, files.content(path)[:-1])  # The end of the request is missing.
    files.overwrite(path.with_stem("0000000003"), b"")
    assert [each.damaged for each in kept.listed()] == [False, False, True]
    with pytest.raises(DamagedError, match="damaged at byte"):
        kept.item(2)
    for number in (1, 2, 3):
        kept.ask_for_retry(number)
    assert [each.number for each in taken(kept)] == [1]
    assert [each.number for each in kept.listed()] == [2, 3]
    kept.drop(2)
    kept.drop(3)
    assert len(kept) == 0


def full_at(number: int) -> Callable[[Operation], Fault | None]:
    """The disk is full at one operation."""
    return lambda each: Fault(errno.ENOSPC) if each.number == number else None


def test_a_disk_that_refuses_is_said_so() -> None:
    """What cannot be kept is to be sent again; nothing half-written is left."""
    files = NestedFiles()
    for number in range(6):
        files.fault = full_at(len(files.operations) + number)
        with pytest.raises(TransientError, match="cannot be written"):
            quarantine(files).keep(REQUEST, 7, ValueError("no idea"), 11)
    assert {name.partition(".")[2] for name in files.names(DIRECTORY)} <= {"quarantined"}


@pytest.mark.parametrize("number", range(6))
def test_a_power_failure_while_something_is_kept(number: int) -> None:
    """What was kept before is there whole, and so is the new one once it was said to be kept."""
    files = NestedFiles()
    quarantine(files).keep(REQUEST, 7, ValueError("no idea"), 11)
    start = len(files.operations)
    files.fault = lambda each: Fault(None, 0.5) if each.number == start + number else None
    with pytest.raises(PowerFailure):
        quarantine(files).keep(REQUEST, 8, ValueError("no idea"), 12)
    for seed in range(5):
        found = quarantine(files.after_power_failure(dice(seed))).listed()
        assert [(each.spans, each.damaged) for each in found][:1] == [(7, False)]
        assert not any(each.damaged for each in found)


def test_without_a_disk_the_newest_are_kept_in_memory() -> None:
    """As many bytes as there is room for, but always the last thing; nobody can ask for another try."""
    kept = MemoryQuarantine(bytes_max=2 * len(REQUEST.body))
    dropped = [kept.keep(REQUEST, spans, ValueError("no idea"), 0) for spans in (1, 2, 4)]
    assert (len(kept), dropped, list(kept.retries())) == (2, [0, 0, 1], [])
    assert kept.keep(Request(Signal.TRACES, bytes(1_000)), 8, ValueError("no idea"), 0) == 6
