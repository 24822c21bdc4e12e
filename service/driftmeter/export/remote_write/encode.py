"""Points as a remote-write 1.0 request (https://prometheus.io/docs/specs/prw/remote_write_spec/).

`WriteRequest{1: TimeSeries{1: Label{1: name, 2: value}, 2: Sample{1: double value, 2: int64 timestamp}}}`, in snappy's
block format. Labels stand in the order of their names, as the specification asks; empty ones are left out.
"""

from collections.abc import Iterator

import cramjam
import numpy as np
import polars as pl

from driftmeter.export.cutting import cut, label_bytes
from driftmeter.export.points import LABELS
from driftmeter.export.wire import LabelShape, Tails, encode_rows, fixed64, varints

_SHAPE = LabelShape(row_tag=0x0A, label_tag=0x0A, any_value=False)
_COLUMNS = dict(sorted([("__name__", "metric"), *((label, label) for label in ("job", "instance", *LABELS))]))
_SAMPLE_TAG, _VALUE_TAG, _TIMESTAMP_TAG = 0x12, 0x09, 0x10
_SERIES_BYTES = 100
"""More than what a series has besides the values of its labels and the names of those from the points table."""

REQUEST_BYTES_MAX = 4 * 2**20
"""Most bytes of a request before compression. Prometheus takes 32 MiB, other receivers less."""


def request_parts(
    points: pl.DataFrame, job: str, instance: str, samples_max: int, bytes_max: int = REQUEST_BYTES_MAX
) -> Iterator[pl.DataFrame]:
    """Points in parts of one request each, in order.

    Args:
        points: `POINTS_SCHEMA`; each series at most once.
        job: Value of the label `job` of every series.
        instance: Value of the label `instance` of every series.
        samples_max: Most samples of one request.
        bytes_max: Most bytes of one request before compression; a single series may have more.
    """
    common = _SERIES_BYTES + len(job.encode()) + len(instance.encode())
    return (points.slice(first, count) for first, count in cut(label_bytes(points) + common, samples_max, bytes_max))


def encode_write_request(points: pl.DataFrame, job: str, instance: str) -> bytes:
    """The body of one request: every point is one series with one sample.

    Args:
        points: `POINTS_SCHEMA`; each series at most once.
        job: Value of the label `job` of every series; empty for none.
        instance: Value of the label `instance` of every series; empty for none.
    """
    tails = _samples(points)
    frame = points.with_columns(job=pl.lit(job), instance=pl.lit(instance))
    body, _ = encode_rows(frame, _COLUMNS, _SHAPE, tails)
    return bytes(cramjam.snappy.compress_raw(body.data))


def _samples(points: pl.DataFrame) -> Tails:
    """The `samples` field of every series: uint8 of shape (rows, 21), and the used sizes."""
    timestamps, timestamp_sizes = varints(points.get_column("timestamp_ms").to_numpy())
    values = fixed64(points.get_column("value").to_numpy())
    sizes = timestamp_sizes + 10
    rows = len(points)
    columns = (
        np.full((rows, 1), _SAMPLE_TAG, np.uint8),
        sizes.astype(np.uint8)[:, None],
        np.full((rows, 1), _VALUE_TAG, np.uint8),
        values,
        np.full((rows, 1), _TIMESTAMP_TAG, np.uint8),
        timestamps,
    )
    return Tails(np.hstack(columns), sizes + 2)
