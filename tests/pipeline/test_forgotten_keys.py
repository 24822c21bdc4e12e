"""A span that is sent again after its key was forgotten is late, whatever windows there are by then."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from driftmeter.baseline.file import hashed
from driftmeter.model.baseline import Baseline
from driftmeter.model.request import Request
from driftmeter.telemetry.metrics import RowOutcome
from otlp_samples import array
from restarting import Restarting
from traffic import BASELINES, CONFIG, ROWS, Sent, requests_of
from watched_pipeline import MINUTE_NS, SECOND_NS, START_NS, WatchedPipeline, baseline_of

DAY_NS = 24 * 60 * MINUTE_NS
WINDOW: dict[str, Any] = CONFIG["window"]


def spans(it: Restarting, first: int, count: int, model: str = "prices") -> Request:
    """Spans of a model that end now."""
    (request,) = requests_of([Sent(first + number, model, "row", it.clock.now_ns()) for number in range(count)])
    return request


def outcomes(it: Restarting) -> dict[str, int]:
    """Spans by what became of them."""
    it.assert_ledger_holds()
    return {outcome: it.rows(outcome) for outcome in ("counted", "late", "duplicate")}


@pytest.mark.parametrize(
    ("window", "baselines"),
    [
        ({"allowed_lateness": "3h"}, BASELINES),
        ({"lengths": ["1m", "6h"]}, BASELINES),
        ({}, [hashed(baseline_of(ROWS.with_columns(pl.col("size") * 2), "prices"))]),
    ],
)
def test_windows_that_take_older_rows_after_a_restart(
    tmp_path: Path, window: dict[str, Any], baselines: Sequence[Baseline]
) -> None:
    """With another lateness, other lengths or another baseline than before, nothing is counted a second time."""
    with Restarting(CONFIG, BASELINES, tmp_path) as it:
        body = spans(it, 0, 10)
        it.take(body)
        it.tick(3_600)
        recent = spans(it, 50, 2)
        it.take(recent)
        it.tick(1)
        it.snapshot()
        it.config, it.baselines = {**CONFIG, "window": {**WINDOW, **window}}, baselines
        for _ in range(2):
            it.restart()
        it.take(body, recent)
        assert outcomes(it) == {"counted": 12, "late": 10, "duplicate": 2}


def test_a_model_that_waits_for_its_baseline_counts_nothing_twice(tmp_path: Path) -> None:
    """What is sent again while and after it waits is a duplicate or late; what waited is counted, restarts or not."""
    with Restarting(CONFIG, BASELINES, tmp_path) as it:
        body = spans(it, 0, 30, "new")
        it.take(body)
        it.tick(1_800)
        it.take(body)
        assert outcomes(it) == {"counted": 0, "late": 0, "duplicate": 30}
        it.take(spans(it, 100, 20, "new"))
        it.tick()
        it.restart()
        it.take(body)
        assert outcomes(it) == {"counted": 0, "late": 30, "duplicate": 30}
        it.tick()
        it.snapshot()
        it.restart()
        it.take(spans(it, 200, 60, "new"))
        it.tick()
        it.take(body)
        assert outcomes(it) == {"counted": 110, "late": 60, "duplicate": 30}


def test_a_replay_of_many_days_is_counted_in_full() -> None:
    """By event time alone: rows that wait over more days than windows take them are counted with their baseline."""
    it = WatchedPipeline({"window": {"lengths": ["1h"], "clock": "data"}, "baseline": {"learn_rows": 100}})
    days = [[{"size": float(number % 7 + day % 5)} for number in range(4)] for day in range(40)]
    for day, rows in enumerate(days):
        it.send(rows, START_NS + day * DAY_NS)
        it.tick(revise=True)
    it._sent = 0
    it.send(days[0], START_NS)
    it.pipeline.drain()
    it.assert_ledger_holds()
    assert it.telemetry.rows.value(outcome=RowOutcome.COUNTED) == 160
    assert it.telemetry.rows.value(outcome=RowOutcome.LATE) == 4
    assert sum(int(each.quality["rows"][0]) for each in it.evaluated) == 160
    assert it.evaluated[-1].start_ns == START_NS + 39 * DAY_NS


def test_late_spans_do_not_wait() -> None:
    """Rows that windows would not take teach no baseline either: spans of arrays are late as a whole."""
    it = WatchedPipeline({"window": {"lengths": ["1m"], "allowed_lateness": "1h"}, "baseline": {"learn_rows": 100}})
    it.send([{"size": 1.0}], START_NS)
    it.send([{"size": array(1.0, 2.0)}, {"size": 3.0}], [START_NS - 3_700 * SECOND_NS, START_NS])
    it.assert_ledger_holds()
    assert it.telemetry.rows.value(outcome=RowOutcome.LATE) == 1
    assert it.telemetry.pending_rows.value() == 2
    (model,) = it.pipeline._models.values()
    assert model.learning is not None
    assert model.learning.rows == 2
