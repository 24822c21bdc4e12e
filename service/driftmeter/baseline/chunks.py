"""The baseline cut into time-ordered chunks: how much undrifted data differs from itself.

Each chunk is compared with all chunks outside its own block, about a quarter of the baseline's time, not with all
chunks but itself: neighbouring days are alike, so a chunk lies closer to a rest that holds its neighbours than a window
of live traffic ever will.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from driftmeter.baseline.timeline import Timeline
from driftmeter.methods import METHODS
from driftmeter.methods.groupings import build_groupings
from driftmeter.methods.ratios import MISSING, NON_FINITE, OUT_OF_RANGE, RATIOS, TYPE_MISMATCH, UNSEEN
from driftmeter.methods.spec import Bins
from driftmeter.model.baseline import Chunks, ColumnBaseline, Compared, Comparison, blocks_of
from driftmeter.model.bins import NumericBins
from driftmeter.model.counts import Counts, Tally
from driftmeter.model.windows import WindowLength
from driftmeter.summary.distances import jensen_shannon_squared, wasserstein

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_BLOCK_ROWS = 2**20  # Rows whose windows are numbered at a time.
DISTANT_ROWS_MIN = 100
"""Values that a chunk needs to count for `Chunks.distant`: as windows need by default."""

_JENSEN_SHANNON, _WASSERSTEIN = METHODS["jensen_shannon"].key, METHODS["wasserstein_normalised"].key


class Cut(NamedTuple):
    """Rows cut into chunks of one window length.

    Attributes:
        chunks: How many chunks there are.
        starts_ns: int64 (chunks,), ascending: first instant of each chunk's window, or the time of the first row of
            chunks by rows; None without timestamps, and where these are not in order.
        ends_ns: int64 (chunks,): first instant after each chunk's window, or the greatest time in chunks by rows; None
            as for starts.
        rows: int64 (chunks,): rows of each chunk.
        blocks: int64 (chunks,): the block of each chunk, ascending from 0.
    """

    chunks: int
    starts_ns: Ints | None
    ends_ns: Ints | None
    rows: Ints
    blocks: Ints


Expectation = Callable[[Cut, Floats], tuple[Floats, Ints]]
"""What chunks are compared with: from counts (chunks, or one more for rows in none; bins) as float64 to expected counts
(e, bins) and, for each chunk, which of these is its own, -1 for none. Linear in the counts."""


def cut_rows(window: WindowLength, timeline: Timeline, rows: int) -> Cut | None:
    """Rows cut in the order of time; None when the window cannot be cut here.

    Windows by rows are cut in file order, and a last partial one is no chunk. Windows by time need timestamps; only
    spans of time that hold rows become chunks.
    """
    windows = timeline.windows(window)
    if windows is None:
        return None
    count = rows // window.rows if window.by_rows else windows.count
    starts = None if windows.starts_ns is None else windows.starts_ns[:count]
    in_order = starts is not None and bool((np.diff(starts) >= 0).all())
    sizes = np.zeros(windows.count, np.int64)
    for first in range(0, rows, _BLOCK_ROWS):
        slots = timeline.slots(window, first, min(first + _BLOCK_ROWS, rows))
        sizes += np.bincount(slots, minlength=windows.count)
    starts = starts if in_order else None
    ends = None if starts is None or windows.high_ns is None else windows.high_ns[:count]
    return Cut(count, starts, ends, sizes[:count], blocks_of(count))


def against_rest(cut: Cut, counts: Floats) -> tuple[Floats, Ints]:
    """Everything outside the chunk's own block."""
    firsts = np.flatnonzero(np.diff(cut.blocks, prepend=-1))
    inside = np.add.reduceat(counts[: cut.chunks], firsts, axis=0)
    return counts.sum(axis=0) - inside, cut.blocks


def against_previous(cut: Cut, counts: Floats) -> tuple[Floats, Ints]:
    """The chunk before; the first has none."""
    return counts[: cut.chunks], np.arange(cut.chunks) - 1


EXPECTATIONS: Mapping[Comparison, Expectation] = MappingProxyType(
    {Comparison.REST: against_rest, Comparison.PREVIOUS: against_previous}
)
"""Comparisons that every baseline holds."""


class ColumnChunks(NamedTuple):
    """One column's part of the tables: each (chunks,)."""

    values: Ints
    ratios: dict[str, Ints]
    compared: dict[Comparison, tuple[Floats, dict[str, Floats]]]
    distant: dict[str, Floats]


def column_chunks(
    column: ColumnBaseline,
    counts: Counts,
    cut: Cut,
    expectations: Mapping[Comparison, Expectation] = EXPECTATIONS,
) -> ColumnChunks:
    """One column's part of the tables.

    Args:
        column: The column.
        counts: Its counts by chunk, with one more for rows in none where there are such; of the column's layout.
        cut: The chunks, at least two: a single one has no rest.
        expectations: What chunks are compared with.
    """
    bins = counts.bins.astype(np.float64)
    values = counts.bins[: cut.chunks].sum(axis=1).astype(np.int64)
    beyond = _beyond_rest(counts, cut, *against_rest(cut, bins))
    numeric = isinstance(column.bins, NumericBins)
    tallies = counts.tallies[: cut.chunks, 0].astype(np.int64)
    nothing = np.zeros(cut.chunks, np.int64)
    ratios = {
        MISSING.key: tallies[:, Tally.MISSING],
        TYPE_MISMATCH.key: tallies[:, Tally.MISMATCH],
        NON_FINITE.key: tallies[:, Tally.NON_FINITE],
        OUT_OF_RANGE.key: beyond if numeric else nothing,
        UNSEEN.key: nothing if numeric else beyond,
    }
    measures = _Measures(column)
    compared = {
        kind: measures.compare(counts.bins[: cut.chunks], *expectation(cut, bins))
        for kind, expectation in expectations.items()
    }
    return ColumnChunks(values, ratios, compared, _distant(measures, counts, cut, bins))


def _distant(measures: "_Measures", counts: Counts, cut: Cut, bins: Floats) -> dict[str, Floats]:
    """`Chunks.distant` of one column: per method key, float64 (2, blocks)."""
    rest, own = against_rest(cut, bins)
    inside = bins.sum(axis=0) - rest
    observed = counts.bins[: cut.chunks]
    values = observed.sum(axis=1).astype(np.float64)
    found = {key: np.full((2, len(rest)), np.nan) for key in (_JENSEN_SHANNON, _WASSERSTEIN)}
    for block in range(len(rest)):
        without = np.maximum(rest - inside[block], 0.0)  # The block's own row is not used.
        rows, squared = measures.compare(observed, without, np.where(own == block, -1, own))
        for key, statistic in squared.items():
            usable = (values >= DISTANT_ROWS_MIN) & (rows > 0) & np.isfinite(statistic)
            if usable.any():
                noise = 1 / values[usable] + 1 / rows[usable]
                found[key][:, block] = statistic[usable].mean(), noise.mean()
    return found


def _beyond_rest(counts: Counts, cut: Cut, rest: Floats, against: Ints) -> Ints:
    """int64 (chunks,): values that the rest's range does not reach, or categories that it does not have."""
    own = counts.bins[: cut.chunks]
    there = rest > 0
    extremes = counts.extremes[:, 0]
    if not np.isfinite(extremes).any():  # Categories: only numbers have a smallest one.
        return np.array([own[i, ~there[e]].sum() for i, e in enumerate(against)], np.int64)
    first, last = there.argmax(axis=1), rest.shape[1] - 1 - there[:, ::-1].argmax(axis=1)
    below, above, values = np.zeros((3, cut.chunks), np.int64)
    for block in range(len(rest)):
        mine = own[against == block]
        below[against == block] = mine[:, : first[block]].sum(axis=1)
        above[against == block] = mine[:, last[block] + 1 :].sum(axis=1)
        values[against == block] = mine.sum(axis=1)
    low, high = extremes[: cut.chunks, 0], extremes[: cut.chunks, 1]
    others = [extremes[: cut.chunks][cut.blocks != block] for block in range(len(rest))]
    lowest = np.array([each[:, 0].min(initial=np.inf) for each in others])[against]
    highest = np.array([each[:, 1].max(initial=-np.inf) for each in others])[against]
    # Within the outermost bins that the rest has only the chunk's extremes tell: at least one value is beyond.
    below = np.maximum(below, (low < lowest) & np.isfinite(lowest))
    above = np.maximum(above, (high > highest) & np.isfinite(highest))
    return np.asarray(np.minimum(below + above, values))


class _Measures:
    """The deciding statistics of one column on their squared scale."""

    def __init__(self, column: ColumnBaseline) -> None:
        groupings = build_groupings((column,))
        self._group = groupings[Bins.QUANTILE_32].group
        fine = groupings[Bins.FINE]
        self._width = fine.right - fine.left
        self._spread = column.stddev if isinstance(column.bins, NumericBins) else 0.0

    def compare(
        self, observed: npt.NDArray[np.uint64], expected: Floats, against: Ints
    ) -> tuple[Floats, dict[str, Floats]]:
        """Values that each window is compared with, and the statistics by method key."""
        expected, against = np.ascontiguousarray(expected, np.float64), against.astype(np.int64)
        observed = np.ascontiguousarray(observed)
        rows = np.where(against >= 0, expected.sum(axis=1)[against], 0.0)
        squared = {_JENSEN_SHANNON: jensen_shannon_squared(observed, expected, against, self._group)}
        if self._spread > 0 and np.isfinite(self._spread):
            distance = wasserstein(observed, expected, against, self._width)
            with np.errstate(over="ignore"):
                squared[_WASSERSTEIN] = (distance / self._spread) ** 2
        else:
            squared[_WASSERSTEIN] = np.full(len(observed), np.nan)
        return rows, squared


def chunk_tables(cut: Cut, columns: Sequence[ColumnChunks]) -> Chunks:
    """The tables of all columns."""

    def table(parts: Iterable[npt.NDArray[np.generic]]) -> npt.NDArray[np.generic]:
        return np.stack(list(parts), axis=1)

    kinds = list(columns[0].compared)
    return Chunks(
        starts_ns=cut.starts_ns,
        rows=cut.rows,
        blocks=cut.blocks,
        values=table(each.values for each in columns).astype(np.int64),
        ratios={key: table(each.ratios[key] for each in columns).astype(np.int64) for key in RATIOS},
        compared={
            kind: Compared(
                table(each.compared[kind][0] for each in columns).astype(np.float64),
                {
                    key: table(each.compared[kind][1][key] for each in columns).astype(np.float64)
                    for key in (_JENSEN_SHANNON, _WASSERSTEIN)
                },
            )
            for kind in kinds
        },
        distant={
            key: np.stack([each.distant[key] for each in columns], axis=2) for key in (_JENSEN_SHANNON, _WASSERSTEIN)
        },
    )
