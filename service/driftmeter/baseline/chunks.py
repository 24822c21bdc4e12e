"""The baseline cut into time-ordered chunks: how much undrifted data differs from itself."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from driftmeter.methods import DECIDING, METHODS
from driftmeter.methods.groupings import build_groupings
from driftmeter.methods.score import score, to_squared_scale
from driftmeter.model.baseline import Chunks, ColumnBaseline
from driftmeter.model.bins import NumericBins
from driftmeter.model.counts import Counts
from driftmeter.model.layout import Layout
from driftmeter.model.windows import WindowLength
from driftmeter.summary.fold import fold

_CELLS_MAX = 20_000_000
"""Chunks × bins compared in one query: bounds memory at some 500 MB."""


def chunk_slots(
    window: WindowLength, rows: int, times_ns: npt.NDArray[np.int64] | None
) -> tuple[npt.NDArray[np.int32], int] | None:
    """The chunk of each row and the number of chunks, in time order; None when the window cannot be cut here.

    Windows by rows are cut in file order, and rows of a last partial chunk belong to the extra chunk number n. Windows
    by time need timestamps; only spans of time that hold rows become chunks.
    """
    if window.by_rows:
        return (np.arange(rows) // window.rows).astype(np.int32), rows // window.rows
    if times_ns is None:
        return None
    starts, slots = np.unique(times_ns // window.length_ns, return_inverse=True)
    return slots.astype(np.int32), len(starts)


def chunk_statistics(column: ColumnBaseline, values: pa.Array, slots: npt.NDArray[np.int32], chunks: int) -> Chunks:
    """The deciding statistic of every chunk of one column against the rest of the baseline."""
    coarse, layout = _coarse(column)
    windows = int(slots.max()) + 1
    rows = pa.RecordBatch.from_pydict({column.column.field: values})
    counts = Counts.zeros(layout, windows)
    fold(layout, rows, slots, counts)
    total = counts.bins.sum(axis=0).astype(np.float64)
    observed = counts.bins[:chunks].astype(np.float64)
    compared = observed.sum(axis=1)
    groupings = build_groupings((coarse,))
    step = max(1, _CELLS_MAX // layout.size)
    spec = METHODS[DECIDING]
    parts = []
    for first in range(0, chunks, step):
        part = observed[first : first + step]
        scores = score([spec], groupings, total - part, part).values[DECIDING][:, 0]
        parts.append(to_squared_scale(spec, scores, compared[first : first + step]))
    squared = np.concatenate(parts) if parts else np.empty(0)
    return Chunks(compared.astype(np.int64), squared)


def _coarse(column: ColumnBaseline) -> tuple[ColumnBaseline, Layout]:
    """The column with just the bins that the deciding statistic reads: 35 instead of 1,100."""
    bins = column.bins
    if isinstance(bins, NumericBins) and column.cuts is not None:
        bins = NumericBins(np.union1d(column.cuts.quantile_starts, bins.edges[-1:]))
    coarse = ColumnBaseline(
        column.column, bins, column.cuts, np.zeros(bins.size, np.uint64), 0, 0, column.mean, column.stddev,
        column.minimum, column.maximum,
    )  # fmt: skip
    return coarse, Layout((column.column,), (bins,), np.zeros(1))
