"""What the pipeline makes of models and columns that are new, missing, changed or wrong."""

import logging
import threading
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftmeter.baseline.learning import Learning
from driftmeter.methods.sampled import SAMPLED
from driftmeter.model.baseline import Baseline
from driftmeter.model.columns import Role
from driftmeter.model.request import Request, Signal
from driftmeter.telemetry.metrics import RowOutcome, SpanOutcome
from spans import identity, request_of
from watched_pipeline import (
    MINUTE_NS,
    SECOND_NS,
    START_NS,
    WatchedPipeline,
    baseline_of,
    finding_of,
    quality_of,
    score_of,
)

HOUR_NS = 60 * MINUTE_NS
REPLAY: dict[str, Any] = {"window": {"lengths": ["1h"], "clock": "data"}, "baseline": {"learn_rows": 100}}
LIVE: dict[str, Any] = {"window": {"lengths": ["1m"], "out_of_orderness": "10s", "allowed_lateness": "1h"}}


def reference_rows(seed: int = 0, rows: int = 1_000) -> pl.DataFrame:
    """Rows of a model with a number and a category."""
    random = np.random.default_rng(seed)
    return pl.DataFrame({"size": random.normal(size=rows), "colour": random.choice(["red", "blue"], rows)})


def rows_like(seed: int, rows: int) -> list[dict[str, Any]]:
    """The same as spans have them."""
    return reference_rows(seed, rows).to_dicts()


@pytest.fixture
def logged() -> Iterator[list[logging.LogRecord]]:
    """What the pipeline logs, however logging is set up otherwise."""
    records: list[logging.LogRecord] = []

    class Keeping(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    logger, handler = logging.getLogger("driftmeter"), Keeping()
    logger.addHandler(handler)
    yield records
    logger.removeHandler(handler)


def said(logged: list[logging.LogRecord], words: str) -> list[dict[str, Any]]:
    """Fields of the messages with these words."""
    return [record.driftmeter_fields for record in logged if words in record.getMessage()]  # type: ignore[attr-defined]


def test_unknown_model_learns_its_baseline(logged: list[logging.LogRecord]) -> None:
    """Its rows wait, then make a baseline and are counted themselves; scores say `learned` and carry no verdict."""
    watched = WatchedPipeline(REPLAY)
    watched.send(rows_like(1, 60), START_NS, model="new", version="2")
    assert watched.telemetry.pending_rows.value() == 60
    assert watched.telemetry.models_without_baseline.value() == 1
    watched.send(rows_like(2, 60), START_NS + HOUR_NS, model="new", version="2")
    assert watched.telemetry.pending_rows.value() == 0
    assert watched.telemetry.models_without_baseline.value() == 0
    watched.send(rows_like(3, 300), START_NS + 2 * HOUR_NS, model="new", version="2")
    watched.pipeline.drain()
    windows = watched.windows_of("new", "2")
    assert [quality_of(each, "size")["rows"] for each in windows] == [60, 60, 300]
    for window in windows:
        deciding = finding_of(window, "size")
        assert (deciding["baseline"], deciding["reason"], deciding["detected"]) == ("learned", "provisional", None)
        assert deciding["value"] is not None
    assert said(logged, "model without a baseline") == [{"model": "new", "version": "2", "rows": 100}]
    watched.assert_ledger_holds()


def test_too_few_rows_to_learn_from_are_learned_from_at_the_end() -> None:
    """A replay shorter than a baseline needs still gets its scores when it is drained."""
    watched = WatchedPipeline(REPLAY)
    watched.send(rows_like(1, 30))
    watched.pipeline.drain()
    (window,) = watched.windows_of()
    assert score_of(window, "size") == 0.0, "it is compared with itself"
    watched.assert_ledger_holds()


def test_models_versions_and_stages_stand_side_by_side() -> None:
    """Each has its own windows and baseline: a version's own, else the model's for any version."""
    any_version, second = reference_rows(1), reference_rows(2).with_columns(pl.col("size") + 100)
    watched = WatchedPipeline(REPLAY, [baseline_of(any_version, "prices"), baseline_of(second, "prices", "2")])
    keys = [("prices", "1", ""), ("prices", "2", ""), ("prices", "2", "canary"), ("delays", "1", "")]
    for number, (model, version, stage) in enumerate(keys):
        rows = [{**row, "size": row["size"] + 100 * (version == "2")} for row in rows_like(9, 100 + number)]
        for part in (rows[:40], rows[40:]):
            watched.send(part, model=model, version=version, stage=stage)
    watched.pipeline.drain()
    for number, key in enumerate(keys):
        (window,) = watched.windows_of(*key)
        assert quality_of(window, "size")["rows"] == 100 + number
        score = score_of(window, "size")
        assert score is not None
        assert score < 0.35, "each is near its own baseline, and would be at 1 from the other's"
    assert len(watched.evaluated) == len(keys)
    watched.assert_ledger_holds()


def test_one_request_may_hold_several_models() -> None:
    """Rows of a request go to the models that its spans name."""
    watched = WatchedPipeline(REPLAY, [baseline_of(reference_rows(), name) for name in ("a", "b")])
    rows: list[dict[str, Any]] = [
        {**row, "ml.model.name": "ab"[number % 3 == 0]} for number, row in enumerate(rows_like(1, 90))
    ]
    watched.send(rows)
    watched.pipeline.drain()
    assert [quality_of(watched.windows_of(name)[0], "size")["rows"] for name in "ab"] == [60, 30]


def test_new_feature_is_said_once_and_not_compared(logged: list[logging.LogRecord]) -> None:
    """A column that the baseline lacks changes nothing for the others and is logged once, not per batch."""
    watched = WatchedPipeline(REPLAY, [baseline_of(reference_rows(), "prices")])
    for _ in range(3):
        watched.send([{**row, "weight": 1.5} for row in rows_like(1, 50)])
    watched.pipeline.drain()
    (window,) = watched.windows_of()
    assert set(window.findings["column"]) == {"size", "colour", ""}
    assert said(logged, "column without a baseline") == [{"model": "prices", "version": "", "column": "feature.weight"}]


def test_missing_feature_is_all_missing() -> None:
    """A column that no span has any more is missing in every row: ratio 1, no score, the others as ever."""
    watched = WatchedPipeline(REPLAY, [baseline_of(reference_rows(), "prices")])
    watched.send([{"colour": row["colour"]} for row in rows_like(1, 200)])
    watched.pipeline.drain()
    (window,) = watched.windows_of()
    quality = quality_of(window, "size")
    assert quality["missing"] == quality["rows"] == 200
    assert score_of(window, "size") is None
    assert score_of(window, "colour") is not None
    missing = window.points(0).filter((pl.col("metric") == "ml_feature_missing_ratio") & (pl.col("feature") == "size"))
    assert missing["value"].to_list() == [1.0]


def test_values_of_another_type_are_counted_and_missing() -> None:
    """Texts in a numeric column are type mismatches and missing values; the numbers beside them still count."""
    watched = WatchedPipeline(REPLAY, [baseline_of(reference_rows(), "prices")])
    rows = rows_like(1, 200)
    changed = [{**row, "size": f"{row['size']:.3f}"} if number % 4 == 0 else row for number, row in enumerate(rows)]
    assert watched.send(changed).rejected_spans == 0
    watched.pipeline.drain()
    (window,) = watched.windows_of()
    quality = quality_of(window, "size")
    assert (quality["type_mismatch"], quality["missing"], quality["rows"]) == (50, 50, 200)
    assert finding_of(window, "size")["rows"] == 150
    kept = [row["size"] for number, row in enumerate(rows) if number % 4]
    assert quality["mean"] == pytest.approx(float(np.mean(kept)))


def test_first_batch_of_a_known_model_is_read_as_its_baseline_says() -> None:
    """Numbers sent as texts from the very first span are mismatches, not a new category each."""
    watched = WatchedPipeline(REPLAY, [baseline_of(reference_rows(), "prices")])
    watched.send([{**row, "size": "12"} for row in rows_like(1, 50)])
    watched.pipeline.drain()
    (window,) = watched.windows_of()
    assert quality_of(window, "size")["type_mismatch"] == 50
    assert score_of(window, "colour") is not None


def test_non_finite_values_are_counted_apart() -> None:
    """NaN and infinities enter no score and no mean; they are counted, and the finite values are scored."""
    watched = WatchedPipeline(REPLAY, [baseline_of(reference_rows(), "prices")])
    rows = rows_like(1, 300)
    for number, value in enumerate((float("nan"), float("inf"), float("-inf"))):
        rows[number]["size"] = value
    watched.send(rows)
    watched.pipeline.drain()
    alone = WatchedPipeline(REPLAY, [baseline_of(reference_rows(), "prices")])
    alone.send(rows[3:])
    alone.pipeline.drain()
    (window,), (without,) = watched.windows_of(), alone.windows_of()
    assert quality_of(window, "size")["non_finite"] == 3
    assert score_of(window, "size") == score_of(without, "size")
    assert quality_of(window, "size")["mean"] == quality_of(without, "size")["mean"]


def test_future_spans_are_rejected_by_the_clock_and_only_by_it() -> None:
    """More than five minutes ahead is refused live; a replay, for which the clock plays no part, takes it."""
    for config, rejected in ((LIVE, 3), (REPLAY, 0)):
        watched = WatchedPipeline(config, [baseline_of(reference_rows(), "prices")])
        ends_ns = [START_NS + 5 * MINUTE_NS] * 4 + [START_NS + 5 * MINUTE_NS + 1] * 3
        receipt = watched.send(rows_like(1, 7), ends_ns)
        assert receipt.rejected_spans == rejected
        assert watched.spans(SpanOutcome.REJECTED, "future") == rejected
        assert watched.spans(SpanOutcome.ACCEPTED) == 7 - rejected


def test_flood_of_feature_names_is_bounded() -> None:
    """10,000 names from one client: as many columns as allowed are kept, the values of others counted as dropped."""
    watched = WatchedPipeline({**REPLAY, "attributes": {"max_columns": 500}})
    for start in range(0, 10_000, 100):
        watched.send([{f"name_{start + column}": 1.0 for column in range(100)} for _ in range(2)], model="flood")
    assert watched.spans(SpanOutcome.ACCEPTED) == 200
    assert watched.telemetry.values_dropped.value(reason="too_many_columns") == 2 * (10_000 - 500)
    columns = {name for batch in watched.predictions for name in batch.rows.schema.names if name.startswith("feature.")}
    assert len(columns) == 500
    watched.pipeline.drain()
    (window,) = watched.windows_of("flood")
    assert window.findings.filter(pl.col("column") != "")["column"].n_unique() == 500
    watched.assert_ledger_holds()


def test_flood_in_one_span_leaves_a_known_model_whole() -> None:
    """A client that invents 10,000 names on one span neither stops the model's own columns nor other models."""
    watched = WatchedPipeline(REPLAY, [baseline_of(reference_rows(), name) for name in ("prices", "delays")])
    flood = {f"name_{number}": 1.0 for number in range(10_000)}
    watched.send([{**flood, **rows_like(1, 1)[0]}])
    assert watched.telemetry.values_dropped.value(reason="too_many_columns") >= 8_000
    watched.send(rows_like(2, 100))
    watched.send(rows_like(3, 100), model="delays")
    watched.pipeline.drain()
    for model, rows in (("prices", 101), ("delays", 100)):
        (window,) = watched.windows_of(model)
        assert quality_of(window, "size")["rows"] == rows
        assert score_of(window, "size") is not None
    assert quality_of(watched.windows_of()[0], "size")["missing"] <= 1


def test_late_rows_revise_their_window() -> None:
    """Rows that come after a window's evaluation evaluate it again with all its rows; the verdict stays as it was."""
    watched = WatchedPipeline(LIVE, [baseline_of(reference_rows(), "prices", windows=["100rows"])])
    watched.send(rows_like(1, 200), START_NS)
    watched.clock.advance(120)
    watched.send(rows_like(2, 10), START_NS + 2 * MINUTE_NS)
    assert [(each.window_index, each.revision) for each in watched.evaluated] == [(0, 0)]
    watched.send([{"size": 50.0, "colour": "red"}] * 300, START_NS + 30 * SECOND_NS)
    assert len(watched.evaluated) == 1, "not for each late batch"
    watched.tick(revise=False)
    assert len(watched.evaluated) == 1
    watched.tick(revise=True)
    first, again = watched.evaluated
    assert (again.window_index, again.revision, again.end_ns) == (0, 1, first.end_ns)
    assert quality_of(again, "size")["rows"] == 500
    before, after = finding_of(first, "size"), finding_of(again, "size")
    assert after["value"] > before["value"]
    assert (after["detected"], after["reason"]) == (before["detected"], before["reason"])
    assert watched.telemetry.rows.value(outcome=RowOutcome.LATE) == 0


def test_idle_model_is_closed_by_the_clock() -> None:
    """A model without further rows has its window evaluated once it has been idle for a minute."""
    watched = WatchedPipeline(LIVE, [baseline_of(reference_rows(), "prices")])
    watched.send(rows_like(1, 50))
    watched.clock.advance(59)
    watched.tick(revise=False)
    assert watched.evaluated == []
    watched.clock.advance(61)
    watched.tick(revise=False)
    assert [each.start_ns for each in watched.evaluated] == [START_NS]


def test_draining_live_traffic_leaves_open_windows_alone() -> None:
    """What is not over is not evaluated at a stop: it would look like a window of few rows."""
    watched = WatchedPipeline(LIVE, [baseline_of(reference_rows(), "prices")])
    watched.send(rows_like(1, 50))
    watched.pipeline.drain()
    assert watched.evaluated == []


def test_predictions_and_probabilities_are_scored_in_their_roles() -> None:
    """A prediction and a feature of one name are two columns."""
    rows = reference_rows().with_columns(prediction=pl.col("colour"))
    watched = WatchedPipeline(REPLAY, [baseline_of(rows, "prices")])
    watched.send([{**row, "ml.prediction.prediction": row["colour"], "prediction": 1.0} for row in rows_like(1, 100)])
    watched.pipeline.drain()
    (window,) = watched.windows_of()
    roles = window.findings.filter(pl.col("column") == "prediction")["role"].unique().to_list()
    assert roles == [Role.PREDICTION]
    assert window.classes["rows"].sum() == 100


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), cuts=st.lists(st.integers(0, 400), max_size=8))
def test_how_rows_are_cut_into_requests_does_not_matter(seed: int, cuts: list[int]) -> None:
    """The same rows in any order and any requests give the same findings to the last bit, by windows of time."""
    config = {"window": {"lengths": ["1h", "3h"], "clock": "data", "out_of_orderness": "12h"}}
    rows, times = rows_like(5, 400), [START_NS + number * MINUTE_NS for number in range(400)]
    baseline = baseline_of(reference_rows(), "prices")
    whole, cut = WatchedPipeline(config, [baseline]), WatchedPipeline(config, [baseline])
    whole.send(rows, times)
    order = np.random.default_rng(seed).permutation(400)
    edges = [0, *sorted(cuts), 400]
    for start, stop in pairwise(edges):
        part = order[start:stop].tolist()
        cut.send([rows[i] for i in part], [times[i] for i in part])
    for watched in (whole, cut):
        watched.pipeline.drain()
        assert sum(quality_of(each, "size")["rows"] for each in watched.evaluated) == 800
    expected, actual = (pl.concat([each.findings for each in watched.evaluated]) for watched in (whole, cut))
    # Sums of distances depend on the order of adding, samples on the spans' ids, which follow the order here.
    counted = ~pl.col("method").is_in(["wasserstein", *SAMPLED])
    assert actual.filter(counted).equals(expected.filter(counted))


def test_learning_does_not_hold_up_other_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """While one baseline is being learned, requests are answered; its own rows wait and are then counted."""
    go_on = threading.Event()
    task = Learning.task

    def slow(self: Learning) -> Callable[[], Baseline | None]:
        learn = task(self)
        return lambda: learn() if go_on.wait(60) else None

    monkeypatch.setattr(Learning, "task", slow)
    watched = WatchedPipeline(REPLAY, [baseline_of(reference_rows(), "prices")])
    rows = reference_rows().to_dicts()
    for number, model in enumerate(("new", "prices", "new", "prices")):
        attributes = [{f"ml.feature.{name}": value for name, value in row.items()} for row in rows]
        body = request_of(attributes, [START_NS] * len(rows), identity(model), number * len(rows))
        watched.pipeline.accept([Request(Signal.TRACES, body)])
        watched.pipeline.work(0.1)
    assert watched.telemetry.rows.value(outcome=RowOutcome.COUNTED) == 2 * len(rows)
    assert watched.telemetry.pending_rows.value() == 2 * len(rows)
    go_on.set()
    watched.pipeline.settle()
    assert watched.telemetry.rows.value(outcome=RowOutcome.COUNTED) == 4 * len(rows)
    watched.assert_ledger_holds()
