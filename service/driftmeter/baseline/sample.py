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
        sample = sample_of(layout, keyed(rows, first), sample, most)
        first += rows.num_rows
    return with_sample(columns, sample)


def with_sample(columns: Sequence[ColumnBaseline], sample: RowSample) -> tuple[ColumnBaseline, ...]:
    """The columns with their values in the sample, its rows in the order of their times."""
    values = sample.values[np.argsort(sample.times_ns, kind="stable")]
    return tuple(
        replace(column, sample=np.ascontiguousarray(each)) for column, each in zip(columns, values.T, strict=True)
    )


def keyed(rows: pa.RecordBatch, first: int) -> pa.RecordBatch:
    """Rows with what a sample needs: their numbers as keys, and as times where they have none.

    Args:
        rows: Rows of a file, with `TIME_FIELD` where they have times.
        first: Number of the first one: of rows that are read in parts, all numbers differ.
    """
    numbers = np.arange(first, first + rows.num_rows, dtype=np.int64)
    with_keys = rows.append_column("span_key", pa.array(numbers.astype(np.uint64)))
    if TIME_FIELD in rows.schema.names:
        return with_keys
    return with_keys.append_column(TIME_FIELD, pa.array(numbers).cast(pa.timestamp("ns", tz="UTC")))
