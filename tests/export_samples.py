"""Findings, windows and points for tests of what is exported, and oracles that read what was sent."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import cramjam
import numpy as np
import polars as pl
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality

from _generated.remote_pb2 import WriteRequest
from driftmeter.export.evaluated import EvaluatedWindow
from driftmeter.export.points import CLASSES_SCHEMA, LABELS, POINTS_SCHEMA, QUALITY_SCHEMA
from driftmeter.model.findings import FINDINGS_SCHEMA, MODEL_FINDINGS_SCHEMA
from driftmeter.model.predictions import ModelKey
from driftmeter.model.windows import parse_window

SeriesKey = frozenset[tuple[str, str]]
"""Labels of a series, `__name__` included, those without a value left out."""

DAY = datetime(2013, 1, 1, tzinfo=UTC)
KEY = ModelKey("delays", "3", "production")
COLUMNS = (("temp", "feature"), ("carrier", "feature"), ("late", "prediction"), ("late", "probability"))


class StillClock:
    """A clock that moves when told to."""

    def __init__(self, now_ns: int = 1_700_000_000_000_000_000) -> None:
        self.ns = now_ns

    def now_ns(self) -> int:
        """Wall-clock time, nanoseconds since the Unix epoch."""
        return self.ns

    def monotonic_seconds(self) -> float:
        """The same in seconds."""
        return self.ns / 1e9

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.ns += int(seconds * 1e9)


def finding(**changed: Any) -> dict[str, Any]:
    """One row of findings, with these fields changed."""
    return {
        "model": KEY.model,
        "version": KEY.version,
        "stage": KEY.stage,
        "segment": "",
        "column": "temp",
        "role": "feature",
        "window": "24h",
        "window_index": 0,
        "window_start": DAY,
        "window_end": DAY + timedelta(days=1),
        "revision": 0,
        "rows": 900,
        "baseline": "file",
        "method": "jensen_shannon",
        "value": 0.25,
        "noise_floor": 0.05,
        "effect": 0.2,
        "pvalue": 0.001,
        "null_source": "own",
        "detected": True,
        "reason": None,
    } | changed


def model_finding(**changed: Any) -> dict[str, Any]:
    """What a window says about the model as a whole, with these fields changed."""
    same = {name: each for name, each in finding().items() if name in MODEL_FINDINGS_SCHEMA}
    return same | {"level": 0.01, "drifted_features": 1, "drifted_features_ratio": 0.5} | changed


def model_findings(rows: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
    """Rows as a table of model findings."""
    return pl.DataFrame(list(rows), schema=MODEL_FINDINGS_SCHEMA)


def findings(rows: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
    """Rows as a findings table."""
    return pl.DataFrame(list(rows), schema=FINDINGS_SCHEMA)


def quality(rows: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
    """Rows as a quality table; fields not given are null."""
    same = {"model": KEY.model, "version": KEY.version, "stage": KEY.stage, "window": "24h"}
    return pl.DataFrame([{**dict.fromkeys(QUALITY_SCHEMA), **same, **row} for row in rows], schema=QUALITY_SCHEMA)


def classes(rows: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
    """Rows as a classes table."""
    same = {"model": KEY.model, "version": KEY.version, "stage": KEY.stage, "window": "24h"}
    return pl.DataFrame([{**same, **row} for row in rows], schema=CLASSES_SCHEMA)


def evaluated(  # noqa: PLR0913  # Tests change one thing at a time.
    index: int = 0,
    *,
    key: ModelKey = KEY,
    window: str = "24h",
    revision: int = 0,
    columns: Sequence[tuple[str, str]] = COLUMNS,
    value: float | None = None,
    detected: bool | None = True,
) -> EvaluatedWindow:
    """A day's window of a model: two methods on each column, quality of each feature, two classes.

    The value of every finding is `value`, or by default (100 + index) / 1000, which tells windows apart.
    """
    length = parse_window(window)
    start = DAY + timedelta(microseconds=index * length.length_ns / 1000)
    end = start + timedelta(microseconds=length.length_ns / 1000)
    same = {
        "model": key.model,
        "version": key.version,
        "stage": key.stage,
        "window": window,
        "window_index": index,
        "window_start": start,
        "window_end": end,
        "revision": revision,
        "value": (100 + index) / 1000 if value is None else value,
    }
    rows = [
        finding(
            **same, column=column, role=role, method=method, detected=detected if method == "jensen_shannon" else None
        )
        for column, role in columns
        for method in ("jensen_shannon", "hellinger")
    ]
    identity = {"model": key.model, "version": key.version, "stage": key.stage, "window": window}
    counted = {"rows": 900, "missing": 9, "type_mismatch": 0, "mean": 12.5, "stddev": 3.0, "min": -1.0, "max": 40.0}
    return EvaluatedWindow(
        key,
        length,
        index,
        nanoseconds(start),
        nanoseconds(end),
        revision,
        findings(rows),
        quality([{**counted, **identity, "column": column, "role": role} for column, role in columns]),
        classes([{**identity, "column": "late", "class": name, "rows": 450} for name in ("yes", "no")]),
        model_findings([_of_model(same, rows)]),
    )


def _of_model(same: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The model's verdict by those of its columns."""
    judged = {
        row["column"]: row["detected"] for row in rows if row["role"] == "feature" and row["detected"] is not None
    }
    verdicts = [row["detected"] for row in rows if row["detected"] is not None]
    drifted = sum(judged.values())
    return model_finding(
        **{name: each for name, each in same.items() if name in MODEL_FINDINGS_SCHEMA},
        detected=any(verdicts) if verdicts else None,
        drifted_features=drifted if verdicts else None,
        drifted_features_ratio=drifted / len(judged) if judged else None,
    )


def nanoseconds(moment: datetime) -> int:
    """Nanoseconds since the Unix epoch, exactly."""
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1000


def points(rows: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
    """Rows as a points table; labels not given are empty."""
    empty = dict.fromkeys(LABELS, "")
    return pl.DataFrame([{**empty, **row} for row in rows], schema=POINTS_SCHEMA)


def series_of(table: pl.DataFrame, **more: str) -> dict[SeriesKey, tuple[float, int]]:
    """Value and time of every series of a points table, by its labels; `more` are further labels of each."""
    found = {}
    for row in table.iter_rows(named=True):
        labels = {"__name__": row["metric"], **{label: row[label] for label in LABELS if row[label]}, **more}
        key = frozenset(labels.items())
        assert key not in found, f"{labels} stands twice"
        found[key] = (row["value"], row["timestamp_ms"])
    return found


def read_write_request(body: bytes) -> dict[SeriesKey, tuple[float, int]]:
    """Value and time of every series of a remote-write body, after checking what the specification demands of each."""
    request = WriteRequest.FromString(bytes(cramjam.snappy.decompress_raw(body)))
    found = {}
    for series in request.timeseries:
        names = [label.name for label in series.labels]
        assert names == sorted(set(names)), "labels are unique and sorted by name"
        assert all(label.name and label.value for label in series.labels), "no label is empty"
        assert "__name__" in names
        assert len(series.samples) == 1
        key = frozenset((label.name, label.value) for label in series.labels)
        assert key not in found, f"{key} stands twice in one request"
        found[key] = (series.samples[0].value, series.samples[0].timestamp)
    return found


def read_metrics_request(body: bytes) -> ExportMetricsServiceRequest:
    """An OTLP body by the published classes; fails when it holds fields that they do not know."""
    request = ExportMetricsServiceRequest.FromString(body)
    assert len(ExportMetricsServiceRequest.FromString(body).SerializeToString()) == request.ByteSize()
    return request


def translated(request: ExportMetricsServiceRequest) -> dict[SeriesKey, tuple[float, int]]:
    """The series that Prometheus makes of OTLP metrics with its default strategy: names, units, suffixes, labels.

    Written from Prometheus' documentation (github.com/prometheus/otlptranslator), as far as gauges without unit `1`,
    cumulative sums and explicit histograms go.
    """
    found: dict[SeriesKey, tuple[float, int]] = {}
    for resource_metrics in request.resource_metrics:
        resource = attributes(resource_metrics.resource.attributes)
        assert set(resource) == {"service.name", "service.instance.id"}, "further ones would make a target_info"
        identity = {"job": resource["service.name"], "instance": resource["service.instance.id"]}
        for metric in (metric for scope in resource_metrics.scope_metrics for metric in scope.metrics):
            for name, labels, value, time_ns in _samples(metric):
                found[frozenset({"__name__": name, **labels, **identity}.items())] = (value, time_ns // 1_000_000)
    return found


def attributes(pairs: Iterable[KeyValue]) -> dict[str, str]:
    """OTLP attributes that hold strings, none of them empty."""
    found = {}
    for pair in pairs:
        assert pair.value.WhichOneof("value") == "string_value"
        assert pair.value.string_value
        assert pair.key not in found
        found[pair.key] = pair.value.string_value
    return found


def prometheus_name(otlp_name: str, unit: str, *, counter: bool) -> str:
    """The name that Prometheus gives a metric: words of the name, then its unit unless a word says it, then `total`."""
    words = [word for word in otlp_name.replace(".", "_").split("_") if word]
    unit_word = {"s": "seconds", "By": "bytes", "%": "percent"}.get(unit, "" if unit.startswith("{") else unit)
    if unit_word and unit_word not in words:
        words.append(unit_word)
    if counter:
        words = [word for word in words if word != "total"] + ["total"]
    elif unit == "1":
        words = [word for word in words if word != "ratio"] + ["ratio"]
    return "_".join(words)


def _samples(metric: Any) -> Iterator[tuple[str, dict[str, str], float, int]]:
    """Name, labels, value and time (ns) of each sample that Prometheus stores for a metric."""
    kind = metric.WhichOneof("data")
    name = prometheus_name(metric.name, metric.unit, counter=kind == "sum")
    data = getattr(metric, kind)
    if kind != "gauge":
        assert data.aggregation_temporality == AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
    for point in data.data_points:
        labels = attributes(point.attributes)
        if kind != "histogram":
            value = float("nan") if point.flags & 1 else point.as_double
            yield name, labels, value, point.time_unix_nano
            continue
        bounds = [*(f"{bound:g}" for bound in point.explicit_bounds), "+Inf"]
        for bound, count in zip(bounds, np.cumsum(point.bucket_counts), strict=True):
            yield f"{name}_bucket", {**labels, "le": bound}, float(count), point.time_unix_nano
        yield f"{name}_sum", labels, point.sum, point.time_unix_nano
        yield f"{name}_count", labels, float(point.count), point.time_unix_nano
