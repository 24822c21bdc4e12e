"""Points as an OTLP `ExportMetricsServiceRequest` (opentelemetry-proto, `metrics/v1/metrics.proto`).

Data points are written by the compiled kernel; Python writes what stands around them, once per metric.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, DataPointFlags, Metric
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from driftmeter.export.cutting import cut, label_bytes
from driftmeter.export.metrics import FAMILIES, RESULT_METRICS, MetricKind, MetricSpec
from driftmeter.export.points import LABELS, is_stale
from driftmeter.export.wire import Bytes, LabelShape, Tails, encode_rows, fixed64, varints

_ATTRIBUTES = {label: label for label in LABELS if label != "le"}
_NUMBER_SHAPE = LabelShape(row_tag=0x0A, label_tag=0x3A, any_value=True)  # Gauge.data_points, attributes = 7.
_HISTOGRAM_SHAPE = LabelShape(row_tag=0x0A, label_tag=0x4A, any_value=True)  # Histogram.data_points, attributes = 9.
_NS_PER_MS = 1_000_000
_POINT_BYTES = 100
"""More than what a data point has besides its attributes and buckets."""
_BUCKET_BYTES = 16

REQUEST_BYTES_MAX = 3 * 2**20
"""Most bytes of the data points of one request. gRPC servers take 4 MiB by default."""


@dataclass(frozen=True, slots=True)
class OtlpSource:
    """Who sends.

    Attributes:
        service_name: `service.name`; becomes the label `job` in Prometheus.
        instance_id: `service.instance.id`; becomes the label `instance` in Prometheus.
        version: Version of this service.
        start_ns: Since when counters count, nanoseconds since the Unix epoch; 0 when unknown.
    """

    service_name: str
    instance_id: str
    version: str
    start_ns: int


def batches(
    points: pl.DataFrame, data_points_max: int, bytes_max: int = REQUEST_BYTES_MAX
) -> list[tuple[pl.DataFrame, int]]:
    """Splits points into what one request each may hold, never a histogram in two.

    Args:
        points: `POINTS_SCHEMA`; each series at most once.
        data_points_max: Most data points of one request. A histogram is one data point, whatever its buckets.
        bytes_max: Most bytes of the data points of one request; a single one may have more.

    Returns:
        Points and their number of data points, per request, in order.
    """
    numbers, histograms = _split(points)
    found = []
    for part, width in ((numbers, 1), (histograms, _histogram_width(histograms))):
        sizes = label_bytes(part.gather_every(width)) + _POINT_BYTES + _BUCKET_BYTES * width
        ranges = cut(sizes, data_points_max, bytes_max)
        found += [(part.slice(first * width, count * width), count) for first, count in ranges]
    return found


def encode_metrics_request(points: pl.DataFrame, source: OtlpSource) -> bytes:
    """The bytes of one request.

    Args:
        points: `POINTS_SCHEMA`; each series at most once, histograms whole. Stale markers become data points
            with the flag `NO_RECORDED_VALUE`.
        source: Resource, scope and start time.
    """
    numbers, histograms = _split(points)
    metrics = _number_metrics(numbers, source.start_ns) + _histogram_metrics(histograms, source.start_ns)
    scope = InstrumentationScope(name="driftmeter", version=source.version).SerializeToString()
    resource = Resource(
        attributes=[
            _attribute("service.name", source.service_name),
            _attribute("service.instance.id", source.instance_id),
        ]
    ).SerializeToString()
    scope_metrics = _field(1, scope) + b"".join(_field(2, metric) for metric in metrics)
    return _field(1, _field(1, resource) + _field(2, scope_metrics))


def _split(points: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Numbers by family; parts of histograms by family and series: buckets by bound, then count, then sum."""
    known = points.join(FAMILIES, on="metric", how="inner", maintain_order="left")
    histogram = pl.col("kind") == MetricKind.HISTOGRAM.value
    bound = pl.col("le").replace("+Inf", "inf").cast(pl.Float64, strict=False)
    numbers = known.filter(~histogram).sort("family", maintain_order=True)
    return numbers, known.filter(histogram).with_columns(bound=bound).sort("family", *_ATTRIBUTES, "metric", "bound")


def _histogram_width(histograms: pl.DataFrame) -> int:
    """Points of one histogram: its buckets, the last one infinite, its count and its sum."""
    return histograms.get_column("le").n_unique() + 1 if histograms.height else 1


def _number_metrics(numbers: pl.DataFrame, start_ns: int) -> list[bytes]:
    """One `Metric` message for each gauge and counter in `numbers`."""
    data, offsets = encode_rows(numbers, _ATTRIBUTES, _NUMBER_SHAPE, _number_tails(numbers, start_ns))
    return [
        _metric(RESULT_METRICS[family], data[offsets[start] : offsets[end]].tobytes())
        for family, start, end in _runs(numbers)
    ]


def _number_tails(numbers: pl.DataFrame, start_ns: int) -> Tails:
    """Times, and value or flags, of every `NumberDataPoint`.

    A start of 0 means unknown, in which it says what an absent one says; on gauges it stays 0.
    """
    values = numbers.get_column("value").to_numpy()
    stale = is_stale(values)
    counter = (numbers.get_column("kind") == MetricKind.COUNTER.value).to_numpy()
    tails = np.empty((numbers.height, 27), np.uint8)
    tails[:, 0] = 0x11  # start_time_unix_nano = 2.
    tails[:, 1:9] = fixed64(np.where(counter, np.int64(start_ns), np.int64(0)))
    tails[:, 9] = 0x19  # time_unix_nano = 3.
    tails[:, 10:18] = fixed64(numbers.get_column("timestamp_ms").to_numpy() * _NS_PER_MS)
    tails[:, 18] = np.where(stale, 0x40, 0x21)  # flags = 8, or as_double = 4.
    tails[:, 19:27] = fixed64(values)
    tails[stale, 19] = DataPointFlags.DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK
    return Tails(tails, np.where(stale, 20, 27).astype(np.int64))


def _histogram_metrics(histograms: pl.DataFrame, start_ns: int) -> list[bytes]:
    """One `Metric` message for each histogram in `histograms`."""
    width = _histogram_width(histograms)
    if width == 1:
        return []
    series = histograms.gather_every(width)
    cells = histograms.get_column("value").to_numpy().reshape(-1, width)
    bounds = histograms.get_column("bound").to_numpy()[: width - 3]
    tails = _histogram_tails(cells, bounds, series.get_column("timestamp_ms").to_numpy() * _NS_PER_MS, start_ns)
    data, offsets = encode_rows(series, _ATTRIBUTES, _HISTOGRAM_SHAPE, tails)
    return [
        _metric(RESULT_METRICS[family], data[offsets[start] : offsets[end]].tobytes())
        for family, start, end in _runs(series)
    ]


def _histogram_tails(
    cells: npt.NDArray[np.float64], bounds: npt.NDArray[np.float64], times_ns: npt.NDArray[np.int64], start_ns: int
) -> Tails:
    """Times, count, sum, buckets and bounds of every `HistogramDataPoint`, and the flags of those that end.

    Those have zeros and bounds all the same: Prometheus ends as many series as it sees buckets.
    """
    rows = len(cells)
    stale = is_stale(cells[:, -2])
    cells = np.where(stale[:, None], 0.0, cells)
    buckets = np.diff(cells[:, :-2], axis=1, prepend=0.0).astype(np.uint64)  # Cumulative in points, not in OTLP.
    starts = np.full(rows, start_ns, np.int64)

    def tagged(tag: int, content: Bytes, *length: int) -> Bytes:
        return np.hstack([np.tile(np.array([tag, *length], np.uint8), (rows, 1)), content.reshape(rows, -1)])

    flags = np.full((rows, 1), DataPointFlags.DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK, np.uint8)
    tails = np.hstack(
        [
            tagged(0x11, fixed64(starts)),  # start_time_unix_nano = 2.
            tagged(0x19, fixed64(times_ns)),  # time_unix_nano = 3.
            tagged(0x21, fixed64(cells[:, -2].astype(np.uint64))),  # count = 4.
            tagged(0x29, fixed64(cells[:, -1])),  # sum = 5.
            tagged(0x32, fixed64(buckets), *_varint(8 * buckets.shape[1])),  # bucket_counts = 6, packed.
            tagged(
                0x3A, np.tile(fixed64(bounds).reshape(1, -1), (rows, 1)), *_varint(8 * len(bounds))
            ),  # explicit_bounds.
            tagged(0x50, flags),  # flags = 10; left out where there are none.
        ]
    )
    return Tails(tails, np.where(stale, tails.shape[1], tails.shape[1] - 2).astype(np.int64))


def _runs(sorted_by_family: pl.DataFrame) -> list[tuple[int, int, int]]:
    """Family, first row and end row of each run of one family."""
    family = sorted_by_family.get_column("family")
    lengths = family.rle().struct.unnest()
    ends = lengths.get_column("len").cum_sum()
    return list(zip(lengths.get_column("value"), ends - lengths.get_column("len"), ends, strict=True))


def _metric(spec: MetricSpec, data_points: bytes) -> bytes:
    """A `Metric` message around encoded data points."""
    header = Metric(name=spec.otlp_name, description=spec.description, unit=spec.unit).SerializeToString()
    cumulative = bytes([0x10, AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE])
    if spec.kind is MetricKind.COUNTER:
        return header + _field(7, data_points + cumulative + b"\x18\x01")  # is_monotonic = 3.
    if spec.kind is MetricKind.HISTOGRAM:
        return header + _field(9, data_points + cumulative)
    return header + _field(5, data_points)


def _attribute(key: str, value: str) -> KeyValue:
    return KeyValue(key=key, value=AnyValue(string_value=value))


def _field(number: int, content: bytes) -> bytes:
    """A length-delimited field with a number below 16."""
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    content, sizes = varints(np.array([value], np.int64))
    return content[0, : sizes[0]].tobytes()
