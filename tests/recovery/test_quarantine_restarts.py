"""What is in quarantine over restarts: counted once or in quarantine, never both and never neither."""

import errno
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from driftmeter.columnar.decoder import Decoder
from driftmeter.journal import store
from driftmeter.journal.entries import Entry, encode
from driftmeter.journal.store import DiskJournal
from driftmeter.model.blobs import Buffer
from driftmeter.model.request import Request
from driftmeter.model.stored import Stored
from driftmeter.watched import WatchedModel
from driftmeter.window.windows import ModelWindows
from faulty_files import Fault, Operation, PowerFailure
from restarting import Restarting
from traffic import BASELINES, CONFIG, Sent, requests_of
from watched_pipeline import SECOND_NS

SPANS = 60
"""So many rows are more than a segment may have, so that the next entry begins a new one."""


class IndigestibleError(Exception):
    """What poison raises."""


@pytest.fixture
def it(tmp_path: Path) -> Restarting:
    """A pipeline with a baseline for its model."""
    return Restarting(CONFIG, BASELINES, tmp_path)


def request(it: Restarting, spans: int = SPANS, first: int = 0) -> Request:
    """New spans of one model."""
    end_ns = it.clock.now_ns() - 5 * SECOND_NS
    (made,) = requests_of([Sent(first + number, "prices", "row", end_ns) for number in range(spans)])
    return made


def disk(it: Restarting) -> DiskJournal:
    """Its journal."""
    assert isinstance(it.journal, DiskJournal)
    return it.journal


@contextmanager
def undecodable() -> Iterator[None]:
    """No request can be decoded meanwhile."""

    def fail(*_: object, **__: object) -> None:
        raise IndigestibleError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Decoder, "decode_many", fail)
        yield


@contextmanager
def poison() -> Iterator[None]:
    """Nothing can be counted meanwhile."""

    def fail(*_: object) -> None:
        raise IndigestibleError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ModelWindows, "take", fail)
        yield


def archived_rows(it: Restarting) -> int:
    """Rows in the archive."""
    paths = [path for path in it.files._names if path.suffix == ".parquet"]
    return sum(pq.read_table(io.BytesIO(it.files.content(path))).num_rows for path in paths)


def test_what_is_in_quarantine_is_not_archived_after_a_restart(it: Restarting) -> None:
    """What says that a batch is in quarantine is found though it stands in the last segment of an earlier process."""
    with it:
        with poison():
            it.take(request(it))
        first, second = disk(it)._log.segments()
        assert (first.first, first.last, second.first, second.last) == (1, 1, 2, 2)
        pending = disk(it).begin_snapshot({"pipeline": it.pipeline.state()})
        disk(it).write_snapshot(pending)
        disk(it).finish_snapshot(pending)
        it.restart()
        for _ in range(2):
            it.snapshot()
        assert disk(it)._log.segments() == ()
        assert len(disk(it).quarantine) == 1
        assert archived_rows(it) == 0


def read_only(it: Restarting) -> None:
    """Nothing can be removed from quarantine any more."""
    it.files.fault = lambda each: (
        Fault(errno.EROFS) if each.name == "remove" and "quarantine" in each.path.parts else None
    )


@pytest.mark.parametrize("decodes", [True, False], ids=["batch", "request"])
def test_what_cannot_be_taken_out_of_quarantine_is_tried_once(it: Restarting, *, decodes: bool) -> None:
    """It is not taken again at every look, nor after a restart, and the service goes on."""
    with it:
        with nullcontext() if decodes else undecodable(), poison() if decodes else nullcontext():
            it.take(request(it))
        disk(it).quarantine.ask_for_retry(1)
        for restart in (False, True):
            if restart:
                it.restart()
            read_only(it)
            for _ in range(3):
                it.pipeline.retry_quarantined()
            assert it.rows("counted") == SPANS
            assert it.spans("received") == 2 * SPANS
            assert it.rows("duplicate") == 0
            assert len(disk(it).quarantine) == 1
        it.files.fault = lambda _: None
        it.pipeline.retry_quarantined()
        assert it.spans("received") == 2 * SPANS
        assert len(disk(it).quarantine) == 0
        it.assert_ledger_holds()


def stop_at_the_journal(it: Restarting, error: int | None = None) -> None:
    """What is written to the journal once something is in quarantine fails: by default the process ends there."""
    began = len(it.files.operations)

    def fault(each: Operation) -> Fault | None:
        kept = any(done.name == "rename" and "quarantine" in done.path.parts for done in it.files.operations[began:])
        return Fault(error) if kept and each.path.suffix == ".segment" else None

    it.files.fault = fault


def retry_all(it: Restarting) -> None:
    """Have everything in quarantine tried again, as an operator would, and look twice."""
    for each in disk(it).quarantine.listed():
        if not each.retry:
            disk(it).quarantine.ask_for_retry(each.number)
    for _ in range(2):
        it.pipeline.retry_quarantined()
        it.pipeline.settle()


def assert_counted_once(it: Restarting) -> None:
    """All spans are counted, nothing is in quarantine, and so it is after a restart and with all sent again."""
    for restart in (False, True):
        if restart:
            it.restart()
        assert it.rows("counted") == SPANS
        assert len(disk(it).quarantine) == 0
        it.assert_ledger_holds()
    it.take(request(it))
    assert it.rows("counted") == SPANS
    for number in range(3):
        it.restart()
        it.take(request(it, 1, first=1_000 + number))
        it.snapshot()
    assert archived_rows(it) == SPANS + 2  # The last one is behind the older snapshot.


@pytest.mark.parametrize("snapshot", [False, True])
def test_what_was_quarantined_is_counted_once(it: Restarting, *, snapshot: bool) -> None:
    """Where nothing else happens: tried again, it is counted, with and without a snapshot in between."""
    with it:
        with poison():
            it.take(request(it))
        if snapshot:
            it.snapshot()
        it.restart()
        assert it.spans("quarantined") == SPANS
        retry_all(it)
        assert_counted_once(it)


def test_killed_before_the_journal_says_it_and_counted_by_the_next_start(it: Restarting) -> None:
    """The start counts the batch; that it is also in quarantine does not count it again."""
    with it:
        with poison():
            stop_at_the_journal(it)
            with pytest.raises(PowerFailure):
                it.accept(request(it))
        it.restart()
        assert it.rows("counted") == SPANS
        retry_all(it)
        assert_counted_once(it)


@pytest.mark.parametrize("starts", [1, 3])
def test_killed_before_the_journal_says_it_and_again_at_starts(it: Restarting, starts: int) -> None:
    """However many starts end there, the batch is in quarantine once."""
    with it:
        with poison():
            stop_at_the_journal(it)
            with pytest.raises(PowerFailure):
                it.accept(request(it))
            for _ in range(starts - 1):
                it.kill()
                stop_at_the_journal(it)
                with pytest.raises(PowerFailure):
                    it.start()
            it.restart()
        assert len(disk(it).quarantine) == 1
        assert it.spans("quarantined") == SPANS
        retry_all(it)
        assert_counted_once(it)


@pytest.mark.parametrize("snapshot", [False, True])
@pytest.mark.parametrize("restart", [False, True])
def test_the_journal_has_no_room_to_say_it(it: Restarting, *, snapshot: bool, restart: bool) -> None:
    """What could not be written down is written later; until then nothing is tried again."""
    with it:
        with poison():
            stop_at_the_journal(it, errno.ENOSPC)
            it.take(request(it))
        retry_all(it)
        assert len(disk(it).quarantine) == 1
        assert it.rows("counted") == 0
        it.files.fault = lambda _: None
        if snapshot:
            it.snapshot()
        if restart:
            it.restart()
            assert it.rows("counted") == (0 if snapshot else SPANS)
        retry_all(it)
        assert_counted_once(it)


@pytest.mark.parametrize("power_failure", [None, 1, 2])
@pytest.mark.parametrize("done", [0.0, 1.0])
@pytest.mark.parametrize("number", range(5))
def test_an_end_while_something_is_tried_again(
    it: Restarting, number: int, done: float, power_failure: int | None
) -> None:
    """Wherever the process or the machine ends, the batch is counted, or still in quarantine."""
    with it:
        with poison():
            it.take(request(it))
        disk(it).quarantine.ask_for_retry(1)
        at = len(it.files.operations) + number
        it.files.fault = lambda each: Fault(None, done) if each.number == at else None
        with pytest.raises(PowerFailure):
            it.pipeline.retry_quarantined()
        it.restart(power_failure)
        assert (it.rows("counted"), len(disk(it).quarantine)) in ((0, 1), (SPANS, 1), (SPANS, 0))
        retry_all(it)
        assert_counted_once(it)


def test_what_is_poison_again_goes_back(it: Restarting) -> None:
    """Tried again in vain it is in quarantine as a batch of its new entry, and can be tried once more."""
    with it:
        with poison():
            it.take(request(it))
            for _ in range(3):
                retry_all(it)
                it.restart()
        assert len(disk(it).quarantine) == 1
        retry_all(it)
        assert_counted_once(it)


@contextmanager
def unnoted() -> Iterator[None]:
    """Spans cannot be looked up meanwhile."""

    def fail(*_: object) -> None:
        raise IndigestibleError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WatchedModel, "admit", fail)
        yield


@contextmanager
def no_memory(calls: int) -> Iterator[None]:
    """Entries cannot be made after so many calls."""
    left = iter(range(calls))

    def fail(entry: Entry) -> tuple[int, list[Buffer]]:
        if next(left, None) is None:
            raise MemoryError
        return encode(entry)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "encode", fail)
        yield


@pytest.mark.parametrize("calls", [0, 1])
@pytest.mark.parametrize("counts", [True, False], ids=["duplicates", "fold"])
def test_what_fails_while_it_is_tried_again_stays(it: Restarting, *, counts: bool, calls: int) -> None:
    """Nothing of it is noted, nor comes into the journal with the next entry; the others are tried all the same."""
    with it:
        with unnoted() if counts else poison():
            it.take(request(it))
            it.take(request(it, 3, first=SPANS))
        for number in (1, 2):
            disk(it).quarantine.ask_for_retry(number)
        with no_memory(calls):
            it.pipeline.retry_quarantined()
        assert it.telemetry.internal_errors.value() == 2
        assert it.rows("counted") == 0
        assert [each.retry for each in disk(it).quarantine.listed()] == [True, True]
        it.take(request(it, 2, first=SPANS + 3))
        for restart in (True, False):
            if restart:
                it.restart()
                assert it.rows("counted") == 2
            it.pipeline.retry_quarantined()
            assert it.rows("counted") == SPANS + 5
            assert it.rows("duplicate") == 0
            assert len(disk(it).quarantine) == 0
            it.assert_ledger_holds()


def test_one_that_fails_does_not_keep_back_the_others(it: Restarting) -> None:
    """Each thing in quarantine is tried, whatever becomes of those before it."""
    with it:
        with poison():
            it.take(request(it))
            it.take(request(it, 3, first=SPANS))
        for number in (1, 2):
            disk(it).quarantine.ask_for_retry(number)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(store, "encode", fails_first(MemoryError))
            it.pipeline.retry_quarantined()
        assert it.rows("counted") == 3
        assert [each.number for each in disk(it).quarantine.listed()] == [1]


def fails_first(error: type[Exception]) -> Callable[[Entry], tuple[int, list[Buffer]]]:
    """Encodes entries, but for the first."""
    done: list[Entry] = []

    def encode_others(entry: Entry) -> tuple[int, list[Buffer]]:
        done.append(entry)
        if len(done) == 1:
            raise error
        return encode(entry)

    return encode_others


def test_what_is_dropped_from_quarantine_is_forgotten(it: Restarting) -> None:
    """State does not grow with what an operator has dropped."""
    with it:
        with poison():
            it.take(request(it, 3))
            it.take(request(it, 3, first=3))
        disk(it).quarantine.drop(1)
        it.pipeline.retry_quarantined()
        state = Stored(it.pipeline.state()).member("ward")
        assert state.items("held") == [[3, 0]]
        assert len(disk(it).quarantine) == 1
