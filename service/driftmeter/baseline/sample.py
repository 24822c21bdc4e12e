"""The sample of rows that a baseline keeps, for methods that look at several columns at once."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from driftmeter.baseline.data import TIME_FIELD, Rows
from driftmeter.model.baseline import ColumnBaseline
from driftmeter.model.layout import Layout
from driftmeter.model.sample import BASELINE_ROWS_MAX, RowSample, rows_max
from driftmeter.summary.fold import sample_of


def sampled(columns: Sequence[ColumnBaseline], data: Rows) -> tuple[ColumnBaseline, ...]:
    """The columns with their values in a sample of the rows: one more pass over these."""
    layout = Layout(
        tuple(each.column for each in columns), tuple(each.bins for each in columns), np.zeros(len(columns))
    )
    fields, most = [each.field for each in layout.columns], rows_max(len(columns), BASELINE_ROWS_MAX)
    sample, first = RowSample.empty(len(columns)), 0
    for rows in data.batches(fields, times=data.timed):
        sample = sample_of(layout, _ordered(keyed(rows, first)), sample, most)
        first += rows.num_rows
    return with_sample(columns, sample)


def with_sample(columns: Sequence[ColumnBaseline], sample: RowSample) -> tuple[ColumnBaseline, ...]:
    """The columns with their values in the sample, its rows in the order of their times."""
    values = sample.values[np.argsort(sample.times_ns, kind="stable")]
    return tuple(
        replace(column, sample=np.ascontiguousarray(each)) for column, each in zip(columns, values.T, strict=True)
    )


def keyed(rows: pa.RecordBatch, first: int) -> pa.RecordBatch:
    """Rows with their numbers as keys.

    Args:
        rows: Rows of a file.
        first: Number of the first one: of rows that are read in parts, all numbers differ.
    """
    keys = np.arange(first, first + rows.num_rows, dtype=np.uint64)
    return rows.append_column("span_key", pa.array(keys))


def _ordered(rows: pa.RecordBatch) -> pa.RecordBatch:
    """Rows with times: their keys where they have none, so that they stay in their order."""
    if TIME_FIELD in rows.schema.names:
        return rows
    numbers = rows.column("span_key").cast(pa.int64())
    return rows.append_column(TIME_FIELD, numbers.cast(pa.timestamp("ns", tz="UTC")))
