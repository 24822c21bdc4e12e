"""No span is lost from the accounts, whatever is sent and whatever goes wrong inside."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftmeter.baseline.learning import Learning
from driftmeter.detect.detector import Detector, Evaluation
from driftmeter.errors import MalformedError
from driftmeter.journal.quarantine import MemoryQuarantine
from driftmeter.journal.store import MemoryJournal
from driftmeter.model.predictions import Predictions
from driftmeter.model.request import Request, Signal
from driftmeter.model.window_counts import WindowCounts
from driftmeter.telemetry.metrics import RowOutcome, SpanOutcome, SpanReason
from driftmeter.window.windows import ModelWindows
from otlp_samples import array, make_logs, make_record, make_request, make_span
from spans import identity
from watched_pipeline import MINUTE_NS, SECOND_NS, START_NS, WatchedPipeline, baseline_of

CONFIG: dict[str, Any] = {
    "window": {"lengths": ["1m", "5m"], "out_of_orderness": "10s", "allowed_lateness": "10m"},
    "baseline": {"learn_rows": 100},
}
ROWS = pl.DataFrame({"size": np.random.default_rng(0).normal(size=500)})


class IndigestibleError(RuntimeError):
    """What the poisoned stages raise."""


def poison_windows(patch: pytest.MonkeyPatch) -> None:
    """Windows cannot count rows of the model `poison` any more."""
    take = ModelWindows.take

    def take_unless_poison(
        self: ModelWindows, batch: Predictions, now_ns: int, floor_ns: int
    ) -> tuple[int, list[WindowCounts]]:
        if batch.key.model == "poison":
            raise IndigestibleError("rows")
        return take(self, batch, now_ns, floor_ns)

    patch.setattr(ModelWindows, "take", take_unless_poison)


KINDS = st.sampled_from(["good", "unknown", "nameless", "featureless", "future", "timeless", "old", "poison"])
"""What a span can be to the service."""

STEPS = st.lists(st.one_of(st.just("tick"), st.lists(KINDS, min_size=1, max_size=60)), max_size=12)
"""Requests of such spans, and the passing of a minute."""


def spans_of(kinds: list[str], first: int, now_ns: int) -> Request:
    """A request with a span of each kind."""
    model = {"good": "prices", "future": "prices", "timeless": "prices", "old": "prices", "featureless": "prices"}
    ends_ns = {"future": now_ns + 6 * MINUTE_NS, "timeless": 0, "old": now_ns - 60 * MINUTE_NS}
    spans = []
    for number, kind in enumerate(kinds, first):
        attributes: dict[str, Any] = {} if kind == "featureless" else {"ml.feature.size": float(number % 7)}
        if kind != "nameless":
            attributes["ml.model.name"] = model.get(kind, kind)
        end_ns = ends_ns.get(kind, now_ns)
        spans.append(make_span(attributes, number, start_time_unix_nano=0, end_time_unix_nano=end_ns))
    return Request(Signal.TRACES, make_request(spans).SerializeToString())


@settings(max_examples=40, deadline=None)
@given(steps=STEPS)
def test_every_span_has_one_fate(steps: list[str | list[str]]) -> None:
    """For any mix of spans, in any order, the sums hold after each request, and each kind met its own fate."""
    with pytest.MonkeyPatch.context() as patch:
        poison_windows(patch)
        watched = WatchedPipeline(CONFIG, [baseline_of(ROWS, "prices"), baseline_of(ROWS, "poison")])
        sent: Counter[str] = Counter()
        for step in steps:
            if isinstance(step, str):
                watched.clock.advance(60)
                watched.tick(revise=True)
            else:
                receipt = watched.accept(spans_of(step, sent.total(), watched.clock.now_ns()))
                sent.update(step)
                refused = [kind for kind in step if kind in {"future", "timeless", "poison"}]
                assert receipt.rejected_spans == len(refused)
                assert bool(receipt.message) == bool(refused)
            watched.assert_ledger_holds()
        watched.pipeline.drain()
        watched.assert_ledger_holds()
    assert watched.spans(SpanOutcome.RECEIVED) == sent.total()
    assert watched.spans(SpanOutcome.IGNORED, SpanReason.NOT_FEATURE_BEARING) == sent["nameless"] + sent["featureless"]
    assert watched.spans(SpanOutcome.REJECTED, SpanReason.FUTURE) == sent["future"]
    assert watched.spans(SpanOutcome.REJECTED, SpanReason.NO_TIMESTAMP) == sent["timeless"]
    assert watched.spans(SpanOutcome.QUARANTINED, SpanReason.EXCEPTION) == sent["poison"]
    assert watched.spans(SpanOutcome.ACCEPTED) == sent["good"] + sent["old"] + sent["unknown"]
    assert sum(batch.rows.num_rows for batch in watched.predictions) == watched.spans(SpanOutcome.ACCEPTED)
    assert watched.telemetry.pending_rows.value() == (sent["unknown"] if sent["unknown"] < 100 else 0)
    assert watched.telemetry.rows.value(outcome=RowOutcome.LATE) <= sent["old"]


def test_poisonous_rows_leave_other_models_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that windows cannot count is quarantined; the other batch of its request and later ones are counted."""
    poison_windows(monkeypatch)
    watched = WatchedPipeline(CONFIG, [baseline_of(ROWS, "prices"), baseline_of(ROWS, "poison")])
    receipt = watched.accept(spans_of(["poison", "good", "poison", "good", "good"], 1_000, START_NS))
    assert receipt.rejected_spans == 2
    assert "2 spans quarantined" in receipt.message
    assert watched.telemetry.rows.value(outcome=RowOutcome.COUNTED) == 3
    assert watched.telemetry.quarantined_batches.value() == 1
    watched.send([{"size": 1.0}] * 4)
    assert watched.telemetry.rows.value(outcome=RowOutcome.COUNTED) == 7
    assert sum(batch.rows.num_rows for batch in watched.predictions) == 7, "quarantined rows are no predictions"
    watched.assert_ledger_holds()


def test_poisonous_evaluation_leaves_other_models_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model whose windows cannot be evaluated keeps its rows counted; the others are evaluated, tick after tick."""
    evaluate = Detector.evaluate

    def evaluate_unless_poison(self: Detector, windows: list[WindowCounts]) -> Evaluation:
        if self.key.model == "poison":
            raise IndigestibleError("windows")
        return evaluate(self, windows)

    monkeypatch.setattr(Detector, "evaluate", evaluate_unless_poison)
    watched = WatchedPipeline(CONFIG, [baseline_of(ROWS, "poison"), baseline_of(ROWS, "prices")])
    for minute in range(4):
        for model in ("poison", "prices"):
            receipt = watched.send([{"size": 0.5}] * 5, START_NS + minute * MINUTE_NS, model=model)
            assert receipt.rejected_spans == 0
        watched.clock.advance(60)
        watched.tick(revise=True)
    watched.clock.advance(600)
    watched.tick(revise=True)
    watched.pipeline.drain()
    assert watched.windows_of("poison") == []
    assert [each.window.name for each in watched.windows_of("prices")] == ["1m", "1m", "1m", "1m", "5m"]
    assert watched.telemetry.rows.value(outcome=RowOutcome.COUNTED) == 40
    assert watched.spans(SpanOutcome.QUARANTINED, SpanReason.EXCEPTION) == 0
    watched.assert_ledger_holds()


def test_listeners_that_fail_lose_no_rows() -> None:
    """A fault behind the acknowledgement, in what is exported, does not refuse rows that were counted."""
    watched = WatchedPipeline(CONFIG, [baseline_of(ROWS, "prices")])

    def fail(_: object) -> None:
        raise IndigestibleError("export")

    watched.pipeline._listeners.on_predictions = fail
    watched.pipeline._listeners.on_evaluated = fail
    assert watched.send([{"size": 0.5}] * 5).rejected_spans == 0
    assert watched.send([{"size": 0.5}] * 5, START_NS + 2 * MINUTE_NS).rejected_spans == 0
    assert watched.telemetry.rows.value(outcome=RowOutcome.COUNTED) == 10
    watched.assert_ledger_holds()


def test_request_that_breaks_the_decoder_is_quarantined(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault in decoding quarantines the whole request, whose spans are still counted; the next one is taken."""
    watched = WatchedPipeline(CONFIG, [baseline_of(ROWS, "prices")])
    decode = watched.pipeline._intake._decoder.decode_many

    def fail_once(*_: object, **__: object) -> None:
        monkeypatch.setattr(watched.pipeline._intake._decoder, "decode_many", decode)
        raise IndigestibleError("bytes")

    monkeypatch.setattr(watched.pipeline._intake._decoder, "decode_many", fail_once)
    receipt = watched.send([{"size": 1.0}] * 3)
    assert receipt.rejected_spans == 3
    assert "quarantined" in receipt.message
    assert watched.spans(SpanOutcome.QUARANTINED, SpanReason.EXCEPTION) == 3
    assert watched.send([{"size": 1.0}] * 2).rejected_spans == 0
    watched.assert_ledger_holds()


@pytest.mark.parametrize("signal", Signal)
def test_garbage_that_breaks_the_decoder_is_malformed(monkeypatch: pytest.MonkeyPatch, signal: Signal) -> None:
    """When decoding fails and protobuf sees no request either, the sender is told so: there is nothing to count."""
    watched = WatchedPipeline(CONFIG)

    def fail(*_: object, **__: object) -> None:
        raise IndigestibleError("bytes")

    monkeypatch.setattr(watched.pipeline._intake._decoder, "decode_many", fail)
    with pytest.raises(MalformedError, match=r"not an OTLP (trace|log) request"):
        watched.accept(Request(signal, b"\xff" * 20))
    assert watched.spans(SpanOutcome.RECEIVED) == 0
    watched.assert_ledger_holds()


def test_quarantine_in_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest things are kept, up to so many bytes; the spans of what had to go are counted, and called so."""
    poison_windows(monkeypatch)
    journal = MemoryJournal()
    journal.quarantine = MemoryQuarantine(bytes_max=10_000)
    watched = WatchedPipeline(CONFIG, [baseline_of(ROWS, "poison")], journal)
    for _ in range(20):
        assert watched.send([{"size": 1.0}] * 20, model="poison").rejected_spans == 20
    kept = len(journal.quarantine)
    assert 1 <= kept < 20
    assert watched.telemetry.quarantined_batches.value() == kept
    assert watched.telemetry.quarantine_dropped.value(reason="size") == 20 * (20 - kept)
    assert "# HELP driftmeter_quarantine_dropped_total Spans " in watched.telemetry.expose()
    watched.assert_ledger_holds()


def fault() -> None:
    """Learning that fails for no reason of the rows'."""
    raise IndigestibleError("rows")


@pytest.mark.parametrize("failing", [fault, lambda: None], ids=["fault", "no use"])
def test_learning_that_fails_is_tried_again_with_other_rows(
    monkeypatch: pytest.MonkeyPatch, failing: Callable[[], None]
) -> None:
    """Rows that teach nothing are counted as not scored and do not pile up; the next ones get their chance."""
    watched, attempts = WatchedPipeline(CONFIG), []
    task = Learning.task

    def fail_once(self: Learning) -> Callable[[], Any]:
        attempts.append(self.rows)
        return failing if len(attempts) == 1 else task(self)

    monkeypatch.setattr(Learning, "task", fail_once)
    rows = [{"size": float(number)} for number in range(20)]
    for _ in range(9):
        assert watched.send(rows).rejected_spans == 0
        watched.assert_ledger_holds()
    assert attempts == [100]
    assert watched.telemetry.pending_rows.value() == 80
    assert watched.telemetry.rows.value(outcome=RowOutcome.NOT_SCORED) == 100
    assert watched.telemetry.models_without_baseline.value() == 1
    watched.send(rows)
    assert attempts == [100, 100]
    assert watched.telemetry.pending_rows.value() == 0
    assert watched.telemetry.rows.value(outcome=RowOutcome.COUNTED) == 100
    assert watched.telemetry.models_without_baseline.value() == 0
    watched.assert_ledger_holds()


def test_late_rows_are_counted_as_late() -> None:
    """Rows older than every window that still takes any are accepted and counted as late, not lost."""
    watched = WatchedPipeline(CONFIG, [baseline_of(ROWS, "prices")])
    watched.send([{"size": 1.0}] * 3, START_NS)
    watched.send([{"size": 1.0}] * 2, START_NS - 30 * MINUTE_NS)
    watched.send([{"size": 1.0}] * 4, START_NS - 9 * MINUTE_NS - 30 * SECOND_NS)
    assert watched.telemetry.rows.value(outcome=RowOutcome.LATE) == 2
    assert watched.telemetry.rows.value(outcome=RowOutcome.COUNTED) == 7
    watched.assert_ledger_holds()


@pytest.mark.parametrize("learned", [False, True], ids=["baseline", "learned"])
def test_spans_with_arrays_are_accounted_as_spans(learned: bool) -> None:  # noqa: FBT001
    """A span of many rows is one in the accounts, in time, late or waiting; its rows are so many predictions."""
    watched = WatchedPipeline(CONFIG, [] if learned else [baseline_of(ROWS, "prices")])
    unlike: dict[str, Any] = {"size": array(1.0, 2.0), "other": array(1.0)}
    rows: list[dict[str, Any]] = [{"size": array(*map(float, range(count)))} for count in (3, 1, 2, 5, 45, 0)]
    old_ns = START_NS - 30 * MINUTE_NS
    watched.send(rows, START_NS)
    receipt = watched.send([*rows, unlike], [START_NS, old_ns, old_ns, old_ns, START_NS, START_NS, START_NS])
    assert (receipt.rejected_spans, "different lengths" in receipt.message) == (1, True)
    watched.assert_ledger_holds()
    assert watched.spans(SpanOutcome.RECEIVED) == 13
    assert watched.spans(SpanOutcome.ACCEPTED) == 10
    assert watched.spans(SpanOutcome.IGNORED, SpanReason.NOT_FEATURE_BEARING) == 2
    assert watched.spans(SpanOutcome.REJECTED, SpanReason.ARRAY_LENGTHS) == 1
    assert sum(batch.rows.num_rows for batch in watched.predictions) == 112
    assert watched.telemetry.pending_rows.value() == 0
    assert watched.telemetry.rows.value(outcome=RowOutcome.LATE) == 3
    assert watched.telemetry.rows.value(outcome=RowOutcome.COUNTED) == 7


def test_log_records_are_taken_as_spans_are() -> None:
    """Predictions that arrive as log records are counted in the same windows and accounts."""
    watched = WatchedPipeline(CONFIG, [baseline_of(ROWS, "prices")])
    records = [make_record({"ml.feature.size": 0.5}, number, time_unix_nano=START_NS) for number in range(5)]
    body = make_logs(records, identity("prices")).SerializeToString()
    assert watched.accept(Request(Signal.LOGS, body)).rejected_spans == 0
    watched.send([{"size": 0.5}] * 5, START_NS)
    watched.pipeline.drain()
    assert watched.telemetry.rows.value(outcome=RowOutcome.COUNTED) == 10
    watched.assert_ledger_holds()


def test_models_with_a_baseline_are_taken_however_many_others_came() -> None:
    """A flood of made-up names is rejected and counted; models that the service knows are not shut out."""
    config = {**CONFIG, "attributes": {"max_models": 3}}
    watched = WatchedPipeline(config, [baseline_of(ROWS, "prices")])
    for number in range(5):
        receipt = watched.send([{"size": 1.0}] * 2, model=f"made-up-{number}")
        assert receipt.rejected_spans == (2 if number > 2 else 0)
    assert watched.send([{"size": 1.0}] * 2).rejected_spans == 0
    assert watched.spans(SpanOutcome.REJECTED, SpanReason.TOO_MANY_MODELS) == 4
    watched.assert_ledger_holds()


def test_rows_that_waited_and_cannot_be_counted_have_an_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault on the rows that a baseline was learned from leaves them neither pending nor lost."""
    poison_windows(monkeypatch)
    watched = WatchedPipeline(CONFIG)
    for _ in range(5):
        watched.send([{"size": float(number)} for number in range(20)], model="poison")
    assert watched.telemetry.pending_rows.value() == 0
    assert watched.telemetry.rows.value(outcome=RowOutcome.FAILED) == 100
    assert watched.telemetry.internal_errors.value() == 5
    watched.assert_ledger_holds()
