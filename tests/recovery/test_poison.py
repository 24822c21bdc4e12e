"""Faults injected at every stage: everything else goes on, what failed is in quarantine, no sender is blocked."""

import errno
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from driftmeter.baseline.learning import Learning
from driftmeter.columnar.decoder import Decoder
from driftmeter.detect.detector import Detector
from driftmeter.errors import DiskFullError, TransientError
from driftmeter.journal.entries import RowsEntry, encode
from driftmeter.journal.quarantine import DiskQuarantine
from driftmeter.journal.store import DiskJournal
from driftmeter.model.receipt import Receipt
from driftmeter.model.request import Request
from driftmeter.summary import fold as fold_module
from driftmeter.watched import WatchedModel
from driftmeter.window import by_rows, by_time
from driftmeter.window.by_time import TimeWindows
from driftmeter.window.seen import SeenSpans
from driftmeter.window.windows import ModelWindows
from faulty_files import Fault, Operation
from restarting import Restarting
from traffic import BASELINES, CONFIG, Sent, requests_of
from watched_pipeline import MINUTE_NS, START_NS

POISON, GOOD = "delays", "prices"
LARGE = 800
"""Spans of a request that is not decoded together with others."""


class IndigestibleError(RuntimeError):
    """What poisoned stages raise."""


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Tracebacks of injected faults say nothing."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def request(first: int, *models: str, spans: int = 6, minutes: int = 2) -> Request:
    """Spans of these models, over some minutes."""
    numbers = range(first, first + spans * len(models))
    sent = [
        Sent(number, models[number % len(models)], "row", START_NS - number % minutes * MINUTE_NS) for number in numbers
    ]
    (made,) = requests_of(sent)
    return made


def failing(original: Callable[..., Any], when: Callable[..., bool], *, late: bool = False) -> Callable[..., Any]:
    """The function, which raises for some arguments; with `late` after it has done its work."""

    def call(*arguments: Any, **named: Any) -> Any:
        fails = when(*arguments)
        if fails and not late:
            raise IndigestibleError("before")
        result = original(*arguments, **named)
        if fails:
            raise IndigestibleError("behind")
        return result

    return call


def of_poison(it: object, *_: object) -> bool:
    """Whether a method is one of the poisoned model's."""
    key = getattr(it, "key", None)
    return key is not None and key.model == POISON


def add_of_poison(_: object, batch: Any, *__: object) -> bool:
    """Whether a batch is one of the poisoned model's."""
    return bool(batch.key.model == POISON)


def fold_of_poison(layout: Any, *_: object) -> bool:
    """Whether a fold is one of the poisoned model's, which has one column."""
    return len(layout.columns) == 1


def sizes(it: Restarting) -> dict[str, int]:
    """What became of spans."""
    found = {outcome: it.spans(outcome) for outcome in ("received", "accepted", "quarantined")}
    return found | {outcome: it.rows(outcome) for outcome in ("counted", "duplicate", "failed")}


def poison_fold(patch: pytest.MonkeyPatch, *, late: bool) -> None:
    """Folding fails wherever windows do it."""
    folding = failing(fold_module.fold, fold_of_poison, late=late)
    patch.setattr(by_time, "fold", folding)
    patch.setattr(by_rows, "fold", folding)


def poison_fold_by_rows(patch: pytest.MonkeyPatch) -> None:
    """Windows by time have counted the batch already when windows by rows fail."""
    patch.setattr(by_rows, "fold", failing(fold_module.fold, fold_of_poison))


def poison_second_fold(patch: pytest.MonkeyPatch) -> None:
    """The second fold of a batch fails."""
    calls: list[int] = []

    def second(layout: Any, *_: object) -> bool:
        if fold_of_poison(layout):
            calls.append(1)
        return fold_of_poison(layout) and len(calls) % 2 == 0

    folding = failing(fold_module.fold, second)
    patch.setattr(by_time, "fold", folding)
    patch.setattr(by_rows, "fold", folding)


COUNTING: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "add": lambda patch: patch.setattr(WatchedModel, "add", failing(WatchedModel.add, of_poison)),
    "windows": lambda patch: patch.setattr(ModelWindows, "take", failing(ModelWindows.take, add_of_poison)),
    "fold": lambda patch: poison_fold(patch, late=False),
    "fold, having counted": lambda patch: poison_fold(patch, late=True),
    "fold by rows": poison_fold_by_rows,
    "second fold": poison_second_fold,
}
"""Faults that keep a batch from being counted."""


@pytest.mark.parametrize("minutes", [1, 3], ids=["one pane", "panes"])
@pytest.mark.parametrize("fault", COUNTING)
def test_what_cannot_be_counted_is_quarantined_whole(tmp_path: Path, fault: str, minutes: int) -> None:
    """No half of it is counted, also not after a restart; tried again without the fault, it is counted once."""
    with Restarting(CONFIG, BASELINES, tmp_path) as it:
        with pytest.MonkeyPatch.context() as patch:
            COUNTING[fault](patch)
            (receipt,) = it.take(request(0, GOOD, POISON, minutes=minutes))
            assert (receipt.rejected_spans, "6 spans quarantined" in receipt.message) == (6, True)
            assert it.take(request(100, GOOD)) == [Receipt()]
            assert sizes(it) == sizes_of(18, accepted=12, quarantined=6, counted=12)
            it.assert_ledger_holds()
            it.restart()
            assert sizes(it) == sizes_of(18, accepted=12, quarantined=6, counted=12)
            assert it.take(request(0, GOOD, POISON, minutes=minutes)) == [Receipt()], "it was seen before"
        assert [each.spans for each in quarantined(it).listed()] == [6]
        quarantined(it).ask_for_retry(1)
        it.pipeline.retry_quarantined()
        it.pipeline.retry_quarantined()
        it.assert_ledger_holds()
        counts = it.close_all_windows()
        assert len(quarantined(it)) == 0
        assert it.rows("counted") == 18
    assert counts == undisturbed(request(0, GOOD, POISON, minutes=minutes), request(100, GOOD))


def sizes_of(received: int, **given: int) -> dict[str, int]:
    """The same without zeros to be written."""
    names = ("accepted", "quarantined", "counted", "duplicate", "failed")
    return {"received": received} | {name: given.get(name, 0) for name in names}


def quarantined(it: Restarting) -> DiskQuarantine:
    """The quarantine on disk."""
    assert isinstance(it.journal, DiskJournal)
    assert isinstance(it.journal.quarantine, DiskQuarantine)
    return it.journal.quarantine


def undisturbed(*requests: Request) -> dict[Any, bytes]:
    """Windows when nothing fails."""
    with Restarting(CONFIG, BASELINES) as it:
        for each in requests:
            it.take(each)
        return it.close_all_windows()


@pytest.mark.parametrize("fault", COUNTING)
def test_poison_stops_no_start(tmp_path: Path, fault: str) -> None:
    """A batch that was counted once and cannot be counted in a replay is quarantined then, once and for all starts."""
    with Restarting(CONFIG, BASELINES, tmp_path) as it:
        it.take(request(0, GOOD, POISON))
        it.take(request(100, GOOD))
        with pytest.MonkeyPatch.context() as patch:
            COUNTING[fault](patch)
            it.restart()
            assert sizes(it) == sizes_of(18, accepted=12, quarantined=6, counted=12)
            it.assert_ledger_holds()
        it.restart()
        assert sizes(it) == sizes_of(18, accepted=12, quarantined=6, counted=12)
        it.snapshot()
        it.restart()
        assert sizes(it) == sizes_of(18, accepted=12, quarantined=6, counted=12)
        quarantined(it).ask_for_retry(1)
        it.restart()
        it.pipeline.retry_quarantined()
        counts = it.close_all_windows()
    assert counts == undisturbed(request(0, GOOD, POISON), request(100, GOOD))


def test_keys_that_cannot_be_noted_at_a_start_stop_nothing(tmp_path: Path) -> None:
    """The rows are counted all the same: they were found new when they came."""
    with Restarting(CONFIG, BASELINES, tmp_path) as it:
        it.take(request(0, GOOD, POISON))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(WatchedModel, "insert", failing(WatchedModel.insert, of_poison))
            it.restart()
        assert it.rows("counted") == 12
        it.assert_ledger_holds()


@pytest.mark.parametrize("late", [False, True], ids=["at once", "when some are noted"])
def test_what_cannot_be_looked_through_is_quarantined(tmp_path: Path, late: bool) -> None:  # noqa: FBT001
    """Nothing of it is noted as seen; tried again, it is counted but for what came otherwise meanwhile."""
    with Restarting(CONFIG, BASELINES, tmp_path) as it:
        with pytest.MonkeyPatch.context() as patch:
            if late:
                panes: list[int] = []

                def second_pane(_: object, pane: int, *__: object) -> bool:
                    panes.append(pane)
                    return len(panes) == 2

                patch.setattr(SeenSpans, "_insert", failing(SeenSpans._insert, second_pane))
                first = request(0, POISON, minutes=18, spans=60)
            else:
                patch.setattr(WatchedModel, "admit", failing(WatchedModel.admit, of_poison))
                first = request(0, POISON, spans=60)
            (receipt,) = it.take(first)
            assert receipt.rejected_spans == 60
        it.assert_ledger_holds()
        assert sizes(it) == sizes_of(60, quarantined=60)
        it.restart()
        assert sizes(it) == sizes_of(60, quarantined=60)
        quarantined(it).ask_for_retry(1)
        it.pipeline.retry_quarantined()
        assert (it.rows("counted"), it.rows("duplicate")) == (60, 0)
        it.assert_ledger_holds()
        assert it.take(first) == [Receipt()]
        assert (it.rows("counted"), it.rows("duplicate")) == (60, 60)
        counts = it.close_all_windows()
    assert counts == undisturbed(first)


def test_what_came_otherwise_meanwhile_is_not_counted_again(tmp_path: Path) -> None:
    """A batch whose spans were not noted is looked through for duplicates when it is tried again."""
    with Restarting(CONFIG, BASELINES, tmp_path) as it:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(WatchedModel, "admit", failing(WatchedModel.admit, of_poison))
            it.take(request(0, POISON))
        it.take(request(0, POISON))
        quarantined(it).ask_for_retry(1)
        it.pipeline.retry_quarantined()
        assert (it.rows("counted"), it.rows("duplicate")) == (6, 6)
        it.assert_ledger_holds()


def test_a_retry_that_fails_again_is_quarantined_again(tmp_path: Path) -> None:
    """It is never lost, and never counted by halves."""
    with Restarting(CONFIG, BASELINES, tmp_path) as it:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(WatchedModel, "add", failing(WatchedModel.add, of_poison))
            it.take(request(0, POISON))
            for number in (1, 2):
                quarantined(it).ask_for_retry(number)
                it.pipeline.retry_quarantined()
                it.assert_ledger_holds()
        assert [(each.number, each.spans) for each in quarantined(it).listed()] == [(3, 6)]
        quarantined(it).ask_for_retry(3)
        it.pipeline.retry_quarantined()
        assert (it.rows("counted"), len(quarantined(it))) == (6, 0)


def test_a_retry_is_counted_once_whenever_the_machine_stops(tmp_path: Path) -> None:
    """Between its commit and its leaving the quarantine, the journal says that it has been tried."""
    with Restarting(CONFIG, BASELINES, tmp_path) as it:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(WatchedModel, "add", failing(WatchedModel.add, of_poison))
            it.take(request(0, POISON))
        quarantined(it).ask_for_retry(1)
        it.files.fault = lambda each: Fault(errno.EIO) if each.name == "remove" else None
        for _ in range(2):
            it.pipeline.retry_quarantined()
            assert (it.rows("counted"), len(quarantined(it))) == (6, 1)
        it.restart()
        it.pipeline.retry_quarantined()
        assert (it.rows("counted"), len(quarantined(it))) == (6, 0)


def test_a_retry_that_cannot_be_written_stays_in_quarantine(tmp_path: Path) -> None:
    """A full disk is no reason to lose what an operator wants to be tried again; requests and batches alike."""
    with Restarting(CONFIG, BASELINES, tmp_path) as it:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(WatchedModel, "add", failing(WatchedModel.add, of_poison))
            it.take(request(0, POISON))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Decoder, "decode_many", failing(Decoder.decode_many, lambda *_: True))
            it.take(request(50, GOOD))
        for number in (1, 2):
            quarantined(it).ask_for_retry(number)
        it.files.fault = lambda each: Fault(errno.ENOSPC) if each.name == "write" else None
        it.pipeline.retry_quarantined()
        assert (it.rows("counted"), len(quarantined(it))) == (0, 2)
        it.files.fault = lambda _: None
        it.pipeline.retry_quarantined()
        assert (it.rows("counted"), len(quarantined(it))) == (12, 0)
        it.assert_ledger_holds()


def test_requests_that_break_the_decoder_are_quarantined_alone(tmp_path: Path) -> None:
    """Of requests that came together, one that the decoder fails on goes into quarantine, and the others are taken."""
    poison = request(0, POISON)
    with Restarting(CONFIG, BASELINES, tmp_path) as it:
        with pytest.MonkeyPatch.context() as patch:

            def holds_poison(_: object, bodies: Any, *__: object) -> bool:
                return poison.body in bodies

            patch.setattr(Decoder, "decode_many", failing(Decoder.decode_many, holds_poison))
            receipts = it.take(request(50, GOOD), poison, request(80, GOOD))
        assert [receipt.rejected_spans for receipt in receipts] == [0, 6, 0]
        assert sizes(it) == sizes_of(18, accepted=12, quarantined=6, counted=12)
        it.assert_ledger_holds()
        it.restart()
        assert sizes(it) == sizes_of(18, accepted=12, quarantined=6, counted=12)
        quarantined(it).ask_for_retry(1)
        it.pipeline.retry_quarantined()
        assert it.rows("counted") == 18


def test_requests_that_cannot_be_written_down_are_quarantined_alone(tmp_path: Path) -> None:
    """An entry that cannot be encoded blocks no sender: not its own, nor those that came with it."""
    with Restarting(CONFIG, BASELINES, tmp_path) as it:
        with pytest.MonkeyPatch.context() as patch:

            def holds_poison(entry: object) -> bool:
                return isinstance(entry, RowsEntry) and any(
                    batch.predictions.key.model == POISON for batch in entry.batches
                )

            patch.setattr("driftmeter.journal.store.encode", failing(encode, holds_poison))
            large = request(1_000, POISON, spans=LARGE)
            receipts = it.take(request(10_000, GOOD), large, request(2_000, GOOD, spans=LARGE))
        assert [receipt.rejected_spans for receipt in receipts] == [0, LARGE, 0]
        taken = 6 + LARGE
        assert sizes(it) == sizes_of(taken + LARGE, accepted=taken, quarantined=LARGE, counted=taken)
        it.assert_ledger_holds()
        quarantined(it).ask_for_retry(1)
        it.pipeline.retry_quarantined()
        assert it.rows("counted") == 2 * LARGE + 6, "what was admitted had been taken back"


@pytest.mark.parametrize("name", ["write", "sync"])
def test_a_journal_that_fails_refuses_and_counts_nothing_twice(tmp_path: Path, name: str) -> None:
    """Senders are told to try again; what they send again is counted once, also over a restart."""
    with Restarting(CONFIG, BASELINES, tmp_path) as it:
        it.take(request(0, GOOD))

        def fault(operation: Operation) -> Fault | None:
            return Fault(errno.EIO, 0.5) if operation.name == name else None

        requests = [request(100, GOOD, POISON), request(200, GOOD), request(0, GOOD)]
        for _ in range(3):
            it.files.fault = fault
            outcomes = it.accept(*requests)
            assert all(isinstance(outcome, TransientError) for outcome in outcomes)
            assert sizes(it) == sizes_of(6, accepted=6, counted=6)
            it.assert_ledger_holds()
        it.files.fault = lambda _: None
        it.take(*requests)
        expected = sizes_of(30, accepted=30, counted=24, duplicate=6)
        assert sizes(it) == expected
        it.restart()
        assert sizes(it) == expected


def test_space_that_runs_out_within_a_group_leaves_nothing_behind(tmp_path: Path) -> None:
    """The first request of the group was ready to be written when the second found no room: neither comes back."""
    large = [request(1_000 * number, GOOD, spans=LARGE) for number in (1, 2)]
    with Restarting(CONFIG, BASELINES, tmp_path) as it:
        it.take(request(0, GOOD))
        looks: list[int] = []

        def second_finds_none(_: DiskJournal, size_bytes: int) -> None:
            looks.append(size_bytes)
            if len(looks) == 2:
                raise DiskFullError("no room")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(DiskJournal, "_look_at_free_space", second_finds_none)
            outcomes = it.accept(*large)
        assert all(isinstance(outcome, DiskFullError) for outcome in outcomes)
        it.take(request(100, GOOD))
        it.take(*large)
        expected = sizes_of(12 + 2 * LARGE, accepted=12 + 2 * LARGE, counted=12 + 2 * LARGE)
        assert sizes(it) == expected
        it.restart()
        assert sizes(it) == expected
        it.assert_ledger_holds()


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("name", ["close_for", "_merge_panes"])
def test_windows_that_do_not_close_are_counted_and_closed_later(tmp_path: Path, name: str, late: bool) -> None:  # noqa: FBT001
    """A fault in closing windows neither refuses the rows that were counted nor keeps windows closed for ever."""
    with Restarting(CONFIG, BASELINES, tmp_path) as it:
        with pytest.MonkeyPatch.context() as patch:
            broken = failing(getattr(TimeWindows, name), lambda *_: True, late=late)
            patch.setattr(TimeWindows, name, broken)
            (receipt,) = it.take(request(0, GOOD, minutes=1))
            assert receipt.rejected_spans == 0
            it.tick(400)
        assert it.rows("counted") == 6
        it.assert_ledger_holds()
        counts = it.close_all_windows()
        assert it.rows("counted") == 6
    if name != "close_for" or not late:
        assert counts == undisturbed(request(0, GOOD, minutes=1))


@pytest.mark.parametrize("during_replay", [False, True])
def test_windows_that_cannot_be_judged_stop_nothing(tmp_path: Path, during_replay: bool) -> None:  # noqa: FBT001
    """Their rows stay counted, other models are judged, and so are later windows of theirs."""
    with Restarting(CONFIG, BASELINES, tmp_path) as it:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Detector, "evaluate", failing(Detector.evaluate, of_poison))
            it.take(request(0, GOOD, POISON))
            it.tick(400)
            if during_replay:
                it.restart()
            assert {key.model for (key, *_), _ in it.seen.evaluated} == {GOOD}
            assert it.telemetry.internal_errors.value() > 0
        assert it.rows("counted") == 12
        if during_replay:
            it.restart()
            assert {key.model for (key, *_), _ in it.seen.evaluated} == {GOOD, POISON}
        it.take(request(100, POISON))
        it.assert_ledger_holds()


@pytest.mark.parametrize("fault", ["task", "take_baseline"])
@pytest.mark.parametrize("during_replay", [False, True])
def test_learning_that_fails_stops_nothing(tmp_path: Path, fault: str, during_replay: bool) -> None:  # noqa: FBT001
    """The rows that waited are given up and counted so; the next ones get their chance, and a restart agrees."""
    with Restarting(CONFIG, BASELINES, tmp_path) as it:
        if during_replay:
            it.take(request(0, "new", spans=120))
        with pytest.MonkeyPatch.context() as patch:
            owner: Any = Learning if fault == "task" else WatchedModel
            original = getattr(owner, fault)
            broken = failing(original, lambda *_: True) if fault != "task" else _failing_task
            patch.setattr(owner, fault, broken)
            if during_replay:
                it.restart()
            else:
                it.take(request(0, "new", spans=120))
            assert it.telemetry.internal_errors.value() > 0
            it.assert_ledger_holds()
            given_up = it.rows("not_scored") + it.rows("failed")
            assert (given_up, it.rows("counted")) == (120, 0)
        it.take(request(500, "new", spans=120))
        assert it.rows("counted") == 120
        if not during_replay and fault == "task":
            before = it.ledger()
            it.restart()
            assert it.ledger() == before
        it.assert_ledger_holds()


def _failing_task(_: Learning) -> Callable[[], None]:
    def fail() -> None:
        raise IndigestibleError("rows")

    return fail


def test_a_snapshot_that_fails_at_any_operation_leaves_the_one_before(tmp_path: Path) -> None:
    """Whatever fails in it, the service goes on, and a start finds everything."""
    with Restarting(CONFIG, BASELINES, tmp_path) as it:
        it.take(request(0, GOOD, POISON, spans=40, minutes=20))
        it.tick(100)
        it.snapshot()
        expected = 80
        for number in range(40):
            it.take(request(1_000 + 100 * number, GOOD))
            expected += 6
            at = len(it.files.operations) + number

            def fault(operation: Operation, at: int = at) -> Fault | None:
                return Fault(errno.ENOSPC, 0.6) if operation.number == at else None

            it.files.fault = fault
            try:
                it.snapshot()
            except TransientError:
                pass
            else:
                if len(it.files.operations) < at:
                    break
            it.files.fault = lambda _: None
            assert it.rows("counted") == expected
            if number % 3 == 0:
                it.restart(number if number % 2 else None)
                assert it.rows("counted") == expected
        assert number > 5
        counts = it.close_all_windows()
    sent = [request(1_000 + 100 * each, GOOD) for each in range(number + 1)]
    assert counts == undisturbed(request(0, GOOD, POISON, spans=40, minutes=20), *sent)


def test_no_room_for_quarantine_is_said_and_tried_again_by_a_start(tmp_path: Path) -> None:
    """A batch that can neither be counted nor set aside is on disk all the same: the next start deals with it."""
    with Restarting(CONFIG, BASELINES, tmp_path) as it:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(WatchedModel, "add", failing(WatchedModel.add, of_poison))

            def no_quarantine(operation: Operation) -> Fault | None:
                return Fault(errno.ENOSPC) if operation.path.parent.name == "quarantine" else None

            it.files.fault = no_quarantine
            (receipt,) = it.take(request(0, POISON))
            assert receipt.rejected_spans == 6
            it.assert_ledger_holds()
            assert it.telemetry.quarantine_dropped.value(reason="disk") == 6
            it.files.fault = lambda _: None
        it.restart()
        assert sizes(it) == sizes_of(6, accepted=6, counted=6)
        it.assert_ledger_holds()
