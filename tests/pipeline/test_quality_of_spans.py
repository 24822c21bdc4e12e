"""Data quality the whole way: known rows sent as spans come out as the metrics that can be worked out by hand."""

from typing import Any

import numpy as np
import polars as pl
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from driftmeter.export.evaluated import EvaluatedWindow
from driftmeter.model.request import Request, Signal
from otlp_samples import Scalar, make_request, make_span
from spans import identity
from watched_pipeline import MINUTE_NS, SECOND_NS, START_NS, WatchedPipeline, baseline_of

REPLAY: dict[str, Any] = {"window": {"lengths": ["1h"], "clock": "data"}}
ROWS = 400


def reference_rows() -> pl.DataFrame:
    """A number from 0 to 100 and one of 300 names, of which 44 are too rare to be counted by themselves."""
    random = np.random.default_rng(0)
    names = [f"n{i}" for i in range(256) for _ in range(10)] + [f"rare{i}" for i in range(44)]
    return pl.DataFrame({"size": random.uniform(0, 100, len(names)), "name": random.permutation(names)})


def spans_of(number: int) -> tuple[dict[str, Scalar], dict[str, Any]]:
    """Attributes and further fields of one of the rows: sizes 0.0 to 99.75, each with what makes it special."""
    end_ns = START_NS + (number % 50) * MINUTE_NS
    attributes: dict[str, Scalar] = {"ml.feature.size": number / 4, "ml.feature.name": "n7"}
    if number < 20:
        del attributes["ml.feature.size"]
    elif number < 30:
        attributes["ml.feature.size"] = "a text"
    elif number < 34:
        attributes["ml.feature.size"] = float("nan")
    elif number < 42:
        attributes["ml.feature.size"] = 1_000.0
    if number >= 360:
        attributes["ml.feature.name"] = "rare3"
    elif number >= 350:
        attributes["ml.feature.name"] = "never seen"
    dropped = 3 if number % 100 == 99 else 0
    return attributes, {"end_time_unix_nano": end_ns, "dropped_attributes_count": dropped}


def sent() -> EvaluatedWindow:
    """The one window of all rows, and of ten that are sent again as other spans."""
    watched = WatchedPipeline(REPLAY, [baseline_of(reference_rows(), "prices")])
    spans: list[Span] = []
    for number in [*range(ROWS), *range(100, 110)]:
        attributes, fields = spans_of(number)
        start = fields["end_time_unix_nano"] - SECOND_NS
        spans.append(make_span(attributes, len(spans), start_time_unix_nano=start, **fields))
    body = make_request(spans, identity("prices")).SerializeToString()
    assert watched.accept(Request(Signal.TRACES, body)).rejected_spans == 0
    watched.pipeline.drain()
    (window,) = watched.windows_of()
    return window


def values(points: pl.DataFrame, feature: str = "") -> dict[str, float]:
    """Values of the model's or a feature's metrics, quantiles under their names."""
    mine = points.filter((pl.col("feature") == feature) & (pl.col("baseline") == ""))
    return {row["metric"] + row["quantile"]: row["value"] for row in mine.iter_rows(named=True)}


def test_known_rows_come_out_as_known_metrics() -> None:
    """Every data-quality metric of a window, by hand."""
    points = sent().points(0)
    rows = ROWS + 10
    size = values(points, "size")
    expected = {
        "ml_feature_missing_ratio": 30 / rows,
        "ml_feature_type_mismatch_ratio": 10 / rows,
        "ml_feature_non_finite_ratio": 4 / rows,
        "ml_feature_out_of_range_ratio": 8 / rows,
        "ml_feature_constant": 0.0,
        "ml_feature_max": 1_000.0,
        "ml_feature_min": 42 / 4,
        "ml_feature_freshness_seconds": 660.0,
    }
    assert {name: size[name] for name in expected} == expected
    numbers = np.array([1_000.0] * 8 + [number / 4 for number in [*range(42, ROWS), *range(100, 110)]])
    assert abs(size["ml_feature_mean"] - numbers.mean()) < 1e-9
    assert abs(size["ml_feature_stddev"] - numbers.std()) < 1e-9
    median = np.quantile(numbers, 0.5, method="inverted_cdf")
    assert abs(size["ml_feature_quantile0.5"] - median) < 0.5
    assert 99.75 < size["ml_feature_quantile0.99"] <= 1_000  # Beyond the range there is one bin, up to the largest.
    name = values(points, "name")
    expected = {
        "ml_feature_missing_ratio": 0.0,
        "ml_feature_unseen_ratio": 10 / rows,
        "ml_feature_other_ratio": 40 / rows,
        "ml_feature_freshness_seconds": 660.0,
    }
    assert {metric: name[metric] for metric in expected} == expected
    model = values(points)
    assert model["ml_model_window_rows"] == rows
    assert model["ml_model_incomplete_rows_ratio"] == 4 / rows
    assert (
        model["ml_model_duplicate_rows_ratio"] == (10 + 29 + 3 + 7) / rows
    )  # Sent again; without a number; NaN; 1,000.
