"""Faults of data quality that shift no distribution, sent as spans: each is called by its own verdict."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import polars as pl
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from driftmeter.baseline.build import build_baseline
from driftmeter.baseline.data import ColumnOptions, to_dataset
from driftmeter.export.evaluated import EvaluatedWindow
from driftmeter.model.baseline import Baseline
from driftmeter.model.request import Request, Signal
from driftmeter.model.windows import parse_window
from otlp_samples import Scalar, make_request, make_span
from spans import identity
from watched_pipeline import MINUTE_NS, SECOND_NS, START_NS, WatchedPipeline, finding_of

HOUR_NS = 60 * MINUTE_NS
HOURS, ROWS, FAULTY = 8, 400, 4
"""Hours that are sent, rows of each, and the first hour with the fault."""

CONFIG: dict[str, Any] = {"window": {"lengths": ["1h"], "clock": "data"}, "detect": {"false_alarms_per_week": 1.0}}
JUDGED = (("size", "constant_ratio"), ("size", "freshness_ratio"), ("", "duplicate_ratio"), ("", "incomplete_ratio"))
Attributes = dict[str, Scalar]


@cache
def baseline() -> Baseline:
    """Three weeks of 200 rows an hour at random times, of a number and one of five names."""
    random = np.random.default_rng(1)
    rows = 21 * 24 * 200
    times = START_NS - 30 * 24 * HOUR_NS + random.integers(0, 21 * 24 * HOUR_NS, rows)
    frame = pl.DataFrame(
        {
            "time": pl.Series(times).cast(pl.Datetime("ns")),
            "size": random.normal(50, 10, rows),
            "name": random.choice(list("abcde"), rows),
        }
    )
    return build_baseline(to_dataset(frame, ColumnOptions.of("time"), "rows"), "prices", "", [parse_window("1h")])


def constant(hour: list[tuple[int, Attributes, int]]) -> list[tuple[int, Attributes, int]]:
    """All sizes of the hour are the same usual one."""
    return [(at, {**attributes, "ml.feature.size": 50.0}, 0) for at, attributes, _ in hour]


def silent(hour: list[tuple[int, Attributes, int]]) -> list[tuple[int, Attributes, int]]:
    """No size after the first 20 minutes of the hour."""
    early = [(at, dict(attributes)) for at, attributes, _ in hour]
    for at, attributes in early:
        if at % HOUR_NS > 20 * MINUTE_NS:
            del attributes["ml.feature.size"]
    return [(at, attributes, 0) for at, attributes in early]


def repeated(hour: list[tuple[int, Attributes, int]]) -> list[tuple[int, Attributes, int]]:
    """Every second row is sent again, as another span."""
    return [(at, hour[place // 2 * 2][1], 0) for place, (at, _, _) in enumerate(hour)]


def incomplete(hour: list[tuple[int, Attributes, int]]) -> list[tuple[int, Attributes, int]]:
    """Senders say of a tenth of the rows that they dropped attributes."""
    return [(at, attributes, int(place % 10 == 0)) for place, (at, attributes, _) in enumerate(hour)]


def sent(fault: Callable[[list[tuple[int, Attributes, int]]], list[tuple[int, Attributes, int]]]) -> WatchedPipeline:
    """A pipeline after some usual hours and some with a fault."""
    random = np.random.default_rng(2)
    watched = WatchedPipeline(CONFIG, [baseline()])
    spans: list[Span] = []
    for number in range(HOURS):
        at = np.sort(START_NS + number * HOUR_NS + random.integers(0, HOUR_NS, ROWS)).tolist()
        sizes, names = random.normal(50, 10, ROWS).tolist(), random.choice(list("abcde"), ROWS).tolist()
        hour: list[tuple[int, Attributes, int]] = [
            (time, {"ml.feature.size": size, "ml.feature.name": name}, 0)
            for time, size, name in zip(at, sizes, names, strict=True)
        ]
        for time, attributes, dropped in fault(hour) if number >= FAULTY else hour:
            fields = {"end_time_unix_nano": time, "dropped_attributes_count": dropped}
            spans.append(make_span(attributes, len(spans), start_time_unix_nano=time - SECOND_NS, **fields))
    body = make_request(spans, identity("prices")).SerializeToString()
    assert watched.accept(Request(Signal.TRACES, body)).rejected_spans == 0
    watched.pipeline.drain()
    return watched


def verdicts(windows: list[EvaluatedWindow], column: str, method: str) -> list[bool | None]:
    """What was said of a column by one method, window by window."""
    return [finding_of(each, column, method)["detected"] for each in windows]


def points(window: EvaluatedWindow, metric: str, **labels: str) -> list[float]:
    """Values of a metric."""
    mine = [pl.col("metric") == metric, *(pl.col(label) == value for label, value in labels.items())]
    return window.points(0).filter(mine)["value"].to_list()


@pytest.mark.parametrize(
    ("fault", "column", "method"),
    [
        (constant, "size", "constant_ratio"),
        (silent, "size", "freshness_ratio"),
        (repeated, "", "duplicate_ratio"),
        (incomplete, "", "incomplete_ratio"),
    ],
)
def test_a_fault_is_called_by_its_own_verdict(
    fault: Callable[[list[tuple[int, Attributes, int]]], list[tuple[int, Attributes, int]]], column: str, method: str
) -> None:
    """From its second window on, and no other of these verdicts is; without the fault none is."""
    windows = sent(fault).windows_of()
    assert len(windows) == HOURS
    for other_column, other in JUDGED:
        found = verdicts(windows, other_column, other)
        if other == method:
            assert found == [False] * (FAULTY + 1) + [True] * (HOURS - FAULTY - 1)
        elif not (fault in (constant, silent) and other == "duplicate_ratio"):  # Five names are five different rows.
            assert not any(found)
            assert None not in found
    last, finding = windows[-1], finding_of(windows[-1], column, method)
    assert (finding["null_source"], finding["reason"]) == ("own", None)
    if column == "":
        assert points(last, "ml_model_quality_detected", method=method) == [1.0]
        assert points(windows[0], "ml_model_quality_detected", method=method) == [0.0]


def test_what_a_verdict_says_is_sent() -> None:
    """A constant column has drifted, and its model; one that fell silent is stale, by how much is its statistic."""
    last = sent(constant).windows_of()[-1]
    assert points(last, "ml_feature_drift_detected", feature="size") == [1.0]
    assert points(last, "ml_model_drift_detected") == [1.0]
    assert points(last, "ml_feature_drift_statistic", feature="size", method="constant_ratio") == [1.0]
    last = sent(silent).windows_of()[-1]
    assert points(last, "ml_feature_drift_stale", feature="size") == [1.0]
    assert points(last, "ml_feature_drift_stale", feature="name") == [0.0]
    (share,) = points(last, "ml_feature_drift_statistic", feature="size", method="freshness_ratio")
    assert 2 / 3 <= share < 0.72


def test_without_times_nothing_is_said_of_age() -> None:
    """A baseline of rows without times, and one whose file counts none of it, give the reason and no verdict."""
    plain = baseline()
    older = {
        name: type(each)(
            **{
                **each.__dict__,
                "ratios": {
                    key: table for key, table in each.ratios.items() if key not in ("constant_ratio", "freshness_ratio")
                },
                "whole": {},
            }
        )
        for name, each in plain.chunks.items()
    }
    watched = WatchedPipeline(CONFIG, [Baseline(**{**plain.__dict__, "chunks": older})])
    random = np.random.default_rng(3)
    rows = [{"size": each, "name": "a"} for each in random.normal(50, 10, ROWS).tolist()]
    watched.send(rows, [START_NS + number * SECOND_NS for number in range(ROWS)])
    watched.pipeline.drain()
    (window,) = watched.windows_of()
    for column, method in JUDGED:
        finding = finding_of(window, column, method)
        assert (finding["detected"], finding["reason"], finding["null_source"]) == (None, "not_counted", None)
        assert finding["value"] is not None
    assert finding_of(window, "size", "missing_ratio")["detected"] is False
