"""Rows, columns, bins and counts as tests need them, built by the shortest way that is still the real one."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from driftmeter.baseline.data import ColumnOptions, Dataset, to_dataset
from driftmeter.model.bins import Bins, CategoryBins, NumericBins
from driftmeter.model.columns import Column, Role
from driftmeter.model.counts import Counts
from driftmeter.model.layout import Layout
from driftmeter.model.predictions import FIXED_FIELDS, ModelKey, Predictions

Floats = npt.NDArray[np.float64]

KEY = ModelKey("model", "1", "")
SECOND_NS = 10**9
MINUTE_NS = 60 * SECOND_NS
HOUR_NS = 60 * MINUTE_NS
DAY_NS = 24 * HOUR_NS

ONE_COLUMN = Layout((Column(Role.FEATURE, "x"),), (NumericBins(np.array([0.0, 1.0, 2.0, 3.0])),), np.zeros(1))
"""One numeric feature `x` with bins below 0, [0, 1), [1, 2), [2, 3), {3} and above 3."""


def layout_of(columns: Mapping[str, npt.ArrayLike | CategoryBins], center: float = 0.0) -> Layout:
    """Features by name: the edges of a numeric one, or the bins of a categorical one."""
    bins: list[Bins] = [
        each if isinstance(each, CategoryBins) else NumericBins(np.asarray(each, np.float64))
        for each in columns.values()
    ]
    return Layout(
        tuple(Column(Role.FEATURE, name) for name in columns), tuple(bins), np.full(len(bins), center, np.float64)
    )


def column_array(values: Sequence[float | str | None] | npt.NDArray[np.float64] | pa.Array) -> pa.Array:
    """float64, or dictionary<int32, string> when the values are strings."""
    if isinstance(values, pa.Array):
        return values
    if isinstance(values, np.ndarray):
        return pa.array(values, pa.float64())
    if any(isinstance(value, str) for value in values):
        return pa.array(values, pa.string()).dictionary_encode()
    return pa.array(values, pa.float64())


def record_batch(columns: Mapping[str, Sequence[float | str | None] | npt.NDArray[np.float64]]) -> pa.RecordBatch:
    """Feature columns alone, without the fixed fields, as `fold` reads them."""
    return pa.RecordBatch.from_pydict({f"feature.{name}": column_array(values) for name, values in columns.items()})


def predictions(
    times_ns: Sequence[int] | npt.NDArray[np.int64],
    columns: Mapping[str, Sequence[float | str | None] | npt.NDArray[np.float64]],
    mismatches: Mapping[str, Sequence[int]] | None = None,
    key: ModelKey = KEY,
) -> Predictions:
    """A batch with all fixed fields; names without a role's prefix are features."""
    times = np.asarray(times_ns, np.int64)
    rows = len(times)
    fixed = {
        "event_time": pa.array(times).cast(pa.timestamp("ns", tz="UTC")),
        "span_key": pa.array(np.arange(rows), pa.uint64()),
        "row_index": pa.array(np.zeros(rows), pa.uint16()),
        "trace_id": pa.array([b""] * rows, pa.binary()),
        "span_id": pa.array([b""] * rows, pa.binary()),
        "prediction_id": pa.nulls(rows, pa.string()),
        "duration": pa.array(np.zeros(rows, np.int64)).cast(pa.duration("ns")),
        "error": pa.array(np.zeros(rows, np.bool_)),
        "weight": pa.array(np.ones(rows)),
        "dropped_attributes_count": pa.array(np.zeros(rows), pa.uint32()),
    }
    assert list(fixed) == [each.name for each in FIXED_FIELDS]
    data = {
        name if name.startswith(("feature.", "prediction.", "probability.")) else f"feature.{name}": column_array(each)
        for name, each in columns.items()
    }
    arrays = fixed | data
    schema = pa.schema([*FIXED_FIELDS, *(pa.field(name, each.type) for name, each in data.items())])
    return Predictions(
        key,
        pa.RecordBatch.from_arrays(list(arrays.values()), schema=schema),
        {f"feature.{name}": np.array(rows, np.uint32) for name, rows in (mismatches or {}).items()},
    )


def dataset(
    columns: Mapping[str, Sequence[object] | npt.NDArray[np.generic] | pl.Series], timestamp: str | None = None
) -> Dataset:
    """Reference or current rows; every column but the timestamp is a feature."""
    return to_dataset(pl.DataFrame(dict(columns)), ColumnOptions(timestamp), "rows")


def bin_numbers(edges: Floats, values: Floats) -> npt.NDArray[np.int64]:
    """Where numpy puts finite values: 0 below, i in [edges[i-1], edges[i]), m at the last of m edges, m + 1 above."""
    return np.asarray(np.searchsorted(edges, values, side="right") + (values > edges[-1]))


def assert_same_counts(left: Counts, right: Counts) -> None:
    """All is equal, bit for bit."""
    np.testing.assert_array_equal(left.rows, right.rows)
    np.testing.assert_array_equal(left.bins, right.bins)
    np.testing.assert_array_equal(left.tallies, right.tallies)
    np.testing.assert_array_equal(left.sums, right.sums)
    np.testing.assert_array_equal(left.extremes, right.extremes)
    np.testing.assert_array_equal(left.hours, right.hours)
    np.testing.assert_array_equal(left.newest, right.newest)
    np.testing.assert_array_equal(left.dropped, right.dropped)
    assert len(left.contents) == len(right.contents)
    for one, other in zip(left.contents, right.contents, strict=True):
        np.testing.assert_array_equal(one.hashes, other.hashes)
        np.testing.assert_array_equal(one.rows, other.rows)


def assert_same_samples(left: Counts, right: Counts) -> None:
    """The sampled rows of all windows are equal, bit for bit."""
    for one, other in zip(left.samples, right.samples, strict=True):
        np.testing.assert_array_equal(one.keys, other.keys)
        np.testing.assert_array_equal(one.times_ns, other.times_ns)
        np.testing.assert_array_equal(one.traces, other.traces)
        np.testing.assert_array_equal(one.values.view(np.int64), other.values.view(np.int64))
