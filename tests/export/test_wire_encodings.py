"""Remote-write and OTLP bytes, read back by the published message definitions."""

import math
from typing import Any

import cramjam
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from _generated.remote_pb2 import WriteRequest
from driftmeter.export.metrics import RESULT_METRICS, MetricKind
from driftmeter.export.otlp.encode import OtlpSource, batches, encode_metrics_request
from driftmeter.export.points import LABELS, STALE_BITS, as_points, stale_values
from driftmeter.export.remote_write.encode import encode_write_request
from export_samples import (
    KEY,
    evaluated,
    points,
    read_metrics_request,
    read_write_request,
    series_of,
    translated,
)

_SOURCE = OtlpSource("driftmeter", "here", "0.1.0", 1_600_000_000_000_000_000)
_NUMBERS = [spec.prometheus_name for spec in RESULT_METRICS if spec.kind is not MetricKind.HISTOGRAM]
_TIMES_MS = st.integers(1, 2**40)

_text = st.one_of(
    st.just(""), st.text(max_size=8), st.text(min_size=120, max_size=140), st.sampled_from(["é" * 64, "\0", '"'])
)
_rows = st.lists(
    st.fixed_dictionaries(
        {
            "metric": st.sampled_from(_NUMBERS),
            **{label: _text for label in LABELS if label != "le"},
            "value": st.floats(allow_nan=False),
            "timestamp_ms": _TIMES_MS,
        }
    ),
    max_size=30,
    unique_by=lambda row: tuple(row[name] for name in ("metric", *LABELS) if name != "le"),
)


@settings(max_examples=150, deadline=None)
@given(rows=_rows, job=_text)
def test_remote_write_carries_every_point_exactly(rows: list[dict[str, Any]], job: str) -> None:
    """Any labels, values and times come back equal; labels are sorted, unique and never empty."""
    table = points(rows)
    more = {"instance": "here", **({"job": job} if job else {})}
    assert read_write_request(encode_write_request(table, job, "here")) == series_of(table, **more)


@settings(max_examples=150, deadline=None)
@given(rows=_rows)
def test_otlp_carries_every_point_exactly(rows: list[dict[str, Any]]) -> None:
    """Any labels, values and times come back equal, under names that translate into those of remote write."""
    table = points(rows)
    found = translated(read_metrics_request(encode_metrics_request(table, _SOURCE)))
    assert found == series_of(table, job="driftmeter", instance="here")


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=20))
@settings(max_examples=50, deadline=None)
def test_remote_write_takes_any_time(times_ms: list[int]) -> None:
    """Times of all lengths of varint are right, negative ones too."""
    table = points(
        {"metric": "ml_feature_mean", "feature": str(i), "value": 1.0, "timestamp_ms": t}
        for i, t in enumerate(times_ms)
    )
    assert read_write_request(encode_write_request(table, "", "")) == series_of(table)


def test_the_body_is_a_bare_snappy_block() -> None:
    """The framed format would be refused; the block format declares its length first."""
    body = encode_write_request(evaluated(1).points(5), "job", "instance")
    assert not body.startswith(b"\xff\x06\x00\x00sNaPpY")
    assert (
        len(WriteRequest.FromString(bytes(cramjam.snappy.decompress_raw(body))).timeseries)
        == evaluated(1).points(5).height
    )


def test_stale_markers_keep_their_bits_and_flags() -> None:
    """Remote write carries the very NaN of the specification, OTLP the flag without a value; a plain NaN is neither."""
    table = evaluated(1).points(5).head(2)
    plain = table.head(1).with_columns(value=pl.lit(math.nan), feature=pl.lit("plain"))
    both = pl.concat([table.with_columns(stale_values(2)), plain])
    body = bytes(cramjam.snappy.decompress_raw(encode_write_request(both, "job", "")))
    assert body.count(STALE_BITS.to_bytes(8, "little")) == 2
    assert read_write_request(encode_write_request(both, "job", "")).keys() == series_of(both, job="job").keys()
    request = read_metrics_request(encode_metrics_request(both, _SOURCE))
    data_points = [
        point for metric in request.resource_metrics[0].scope_metrics[0].metrics for point in metric.gauge.data_points
    ]
    assert [(point.flags, point.WhichOneof("value")) for point in data_points] == [
        (1, None),
        (1, None),
        (0, "as_double"),
    ]


def _histogram(model: str, counts: tuple[float, ...]) -> list[dict[str, Any]]:
    name = "ml_inference_duration_seconds"
    labels = {"model": model, "timestamp_ms": 9}
    total = 0.0
    rows: list[dict[str, Any]] = [{"metric": f"{name}_sum", "value": 1.25, **labels}]
    for bound, count in zip(("0.5", "2.5", "10", "+Inf"), counts, strict=True):
        total += count
        rows.insert(0, {"metric": f"{name}_bucket", "le": bound, "value": total, **labels})
    return [*rows, {"metric": f"{name}_count", "value": total, **labels}]


def test_histograms_are_put_together() -> None:
    """Points of buckets, in any order, become one data point per series, with counts per bucket."""
    table = points([*_histogram("b", (1, 0, 2, 4)), *_histogram("a", (0, 0, 0, 1))])
    request = read_metrics_request(encode_metrics_request(table, _SOURCE))
    (metric,) = request.resource_metrics[0].scope_metrics[0].metrics
    assert (metric.name, metric.unit) == ("ml.inference.duration", "s")
    first, second = metric.histogram.data_points
    assert list(first.bucket_counts) == [0, 0, 0, 1]
    assert list(second.bucket_counts) == [1, 0, 2, 4]
    assert list(second.explicit_bounds) == [0.5, 2.5, 10]
    assert (second.count, second.sum, second.start_time_unix_nano) == (7, 1.25, _SOURCE.start_ns)
    assert translated(request) == series_of(table, job="driftmeter", instance="here")


def test_a_histogram_that_ends_is_flagged() -> None:
    """Every series that Prometheus makes of it ends, so bounds and buckets stay; one that goes on has no flags."""
    table = points([*_histogram("a", (1, 0, 2, 4)), *_histogram("b", (1, 0, 2, 4))])
    ended = table.filter(model="a").with_columns(stale_values(6))
    request = read_metrics_request(encode_metrics_request(pl.concat([ended, table.filter(model="b")]), _SOURCE))
    first, second = request.resource_metrics[0].scope_metrics[0].metrics[0].histogram.data_points
    assert (first.flags, first.count, first.HasField("sum"), list(first.bucket_counts)) == (1, 0, True, [0, 0, 0, 0])
    assert first.explicit_bounds == second.explicit_bounds
    assert (second.flags, second.count, list(second.bucket_counts)) == (0, 7, [1, 0, 2, 4])


def test_counters_say_since_when_they_count() -> None:
    """Counters and histograms have the start, cumulative temporality and are monotonic; gauges have no start."""
    rows = [{"metric": name, "value": 1.0, "timestamp_ms": 9} for name in ("ml_predictions_total", "ml_feature_mean")]
    request = read_metrics_request(encode_metrics_request(points(rows), _SOURCE))
    gauge, counter = request.resource_metrics[0].scope_metrics[0].metrics
    assert gauge.gauge.data_points[0].start_time_unix_nano == 0
    assert counter.sum.is_monotonic
    assert counter.sum.data_points[0].start_time_unix_nano == _SOURCE.start_ns
    assert counter.unit == "{prediction}"


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_batches_hold_no_more_than_allowed_and_whole_histograms(limit: int) -> None:
    """Every point is in one batch, every histogram whole in one, and the count is that of data points."""
    rows = [{"metric": "ml_feature_mean", "feature": str(i), "value": 1.0, "timestamp_ms": 9} for i in range(5)]
    table = points([*rows, *_histogram("a", (1, 2, 3, 4)), *_histogram("b", (1, 1, 1, 1))])
    found: dict[Any, Any] = {}
    for part, count in batches(table, limit):
        request = read_metrics_request(encode_metrics_request(as_points(part), _SOURCE))
        metrics = request.resource_metrics[0].scope_metrics[0].metrics
        assert sum(len(metric.gauge.data_points) + len(metric.histogram.data_points) for metric in metrics) == count
        assert count <= limit
        found |= translated(request)
    assert found == series_of(table, job="driftmeter", instance="here")


def test_nothing_becomes_an_empty_request() -> None:
    """No points are no series, not an error."""
    table = points([])
    assert read_write_request(encode_write_request(table, "job", "instance")) == {}
    assert batches(table, 10) == []


def test_a_large_table_is_encoded_whole() -> None:
    """100,000 series come back whole: the kernel has no limit of its own."""
    base = evaluated(1).points(5)
    many = pl.concat([base.with_columns(method=pl.lit(f"m{i}")) for i in range(100_000 // base.height)])
    request = WriteRequest.FromString(bytes(cramjam.snappy.decompress_raw(encode_write_request(many, "job", "i"))))
    assert len(request.timeseries) == many.height
    assert {label.value for label in request.timeseries[-1].labels} >= {KEY.model, f"m{100_000 // base.height - 1}"}
