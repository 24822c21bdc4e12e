"""The baseline cut into time-ordered chunks: how much undrifted data differs from itself.

Each chunk is compared with all chunks outside its own block, about a quarter of the baseline's time, not with all
chunks but itself: neighbouring days are alike, so a chunk lies closer to a rest that holds its neighbours than a window
of live traffic ever will.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from driftmeter.baseline.timeline import Timeline
from driftmeter.methods import METHODS
from driftmeter.methods.groupings import build_groupings
from driftmeter.methods.ratios import (
    CONSTANT,
    FRESHNESS,
    MISSING,
    NON_FINITE,
    OUT_OF_RANGE,
    RATIOS,
    TYPE_MISMATCH,
    UNSEEN,
)
from driftmeter.methods.spec import Bins
from driftmeter.model.baseline import Chunks, ColumnBaseline, Compared, Comparison, blocks_of
from driftmeter.model.bins import NumericBins
from driftmeter.model.counts import NEVER_NS, Counts, Tally
from driftmeter.model.layout import Layout
from driftmeter.model.quality import commonest_of, steps_of_age
from driftmeter.model.windows import WindowLength
from driftmeter.summary.distances import Filled, Scale, compare, compare_following

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


class Several(NamedTuple):
    """Some chunks one after the other, each compared with one of several expectations.

    Attributes:
        first: The first of them.
        expected: float64 (e, bins): counts.
        against: int64 (n,): which of these each is compared with; -1 for none.
    """

    first: int
    expected: Floats
    against: Ints


class Following(NamedTuple):
    """All chunks, each compared with some that follow one another, added up.

    Attributes:
        first: int64 (chunks,): the first of these.
        last: int64 (chunks,): the one after the last.
        there: bool (chunks,): whether the chunk is compared at all.
    """

    first: Ints
    last: Ints
    there: npt.NDArray[np.bool_]


Expectation = Callable[[Cut, Floats], Iterator[Several] | Following]
"""What chunks are compared with: from one column's counts by block, float64 (blocks + 1, bins), rows in no chunk being
the last; all chunks in their order."""


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


def against_rest(cut: Cut, by_block: Floats) -> Iterator[Several]:
    """Everything outside the chunk's own block."""
    yield Several(0, _outside(by_block), cut.blocks)


def _outside(by_block: Floats) -> Floats:
    """float64 (blocks, bins): everything outside each block."""
    return np.asarray(by_block.sum(axis=0) - by_block[:-1])


def against_previous(cut: Cut, by_block: Floats) -> Following:  # noqa: ARG001 - by chunks, not by blocks.
    """The chunk before; the first has none."""
    last = np.arange(cut.chunks)
    return Following(np.maximum(last - 1, 0), last, last > 0)


EXPECTATIONS: Mapping[Comparison, Expectation] = MappingProxyType(
    {Comparison.REST: against_rest, Comparison.PREVIOUS: against_previous}
)
"""Comparisons that every baseline holds."""


class ChunkCounts(NamedTuple):
    """One column's counts of k windows: the chunks, and one more for rows in none where there are such.

    Attributes:
        filled: Its bins.
        tallies: uint64 (k, len(Tally)).
        extremes: float64 (k, 2): smallest and largest value, +inf and -inf when there is none.
        commonest: int64 (k,): values that are the commonest one, see `commonest_of`.
        newest: int64 (k,): time of the newest value; `NEVER_NS` where there is none, or it is not known.
    """

    filled: Filled
    tallies: npt.NDArray[np.uint64]
    extremes: Floats
    commonest: Ints
    newest: Ints

    @classmethod
    def of(cls, layout: Layout, parts: Iterable[Counts]) -> "ChunkCounts":
        """From counts of one column, some windows after the other; of no part more than this is kept."""
        each = [
            (
                Filled.of(part.bins), part.tallies[:, 0].copy(), part.extremes[:, 0].copy(),
                commonest_of(layout, part)[:, 0], part.newest[:, 0].copy(),
            )
            for part in parts
        ]  # fmt: skip
        filled, *others = zip(*each, strict=True)
        return cls(Filled.joined(filled), *map(np.concatenate, others))


class ColumnChunks(NamedTuple):
    """One column's part of the tables: each (chunks,)."""

    values: Ints
    ratios: dict[str, Ints]
    compared: dict[Comparison, tuple[Floats, dict[str, Floats]]]
    distant: dict[str, Floats]


def column_chunks(
    column: ColumnBaseline,
    counts: ChunkCounts,
    cut: Cut,
    expectations: Mapping[Comparison, Expectation] = EXPECTATIONS,
) -> ColumnChunks:
    """One column's part of the tables.

    Args:
        column: The column.
        counts: Its counts by chunk.
        cut: The chunks, at least two: a single one has no rest.
        expectations: What chunks are compared with.
    """
    observed = counts.filled.first(cut.chunks)
    blocks = int(cut.blocks[-1]) + 1
    block_of = np.full(len(counts.tallies), blocks)
    block_of[: cut.chunks] = cut.blocks
    by_block = counts.filled.by(block_of, blocks + 1)
    numeric = isinstance(column.bins, NumericBins)
    beyond = _beyond_rest(observed, cut, _outside(by_block) > 0, counts.extremes if numeric else None)
    tallies = counts.tallies[: cut.chunks].astype(np.int64)
    nothing = np.zeros(cut.chunks, np.int64)
    ratios = {
        MISSING.key: tallies[:, Tally.MISSING],
        TYPE_MISMATCH.key: tallies[:, Tally.MISMATCH],
        NON_FINITE.key: tallies[:, Tally.NON_FINITE],
        OUT_OF_RANGE.key: beyond if numeric else nothing,
        UNSEEN.key: nothing if numeric else beyond,
        CONSTANT.key: counts.commonest[: cut.chunks],
        FRESHNESS.key: _age_steps(cut, counts.newest[: cut.chunks]),
    }
    measures = _Measures(column, observed)
    compared = {kind: measures.compare(expectation(cut, by_block)) for kind, expectation in expectations.items()}
    return ColumnChunks(measures.values, ratios, compared, _distant(measures, cut, by_block))


def _age_steps(cut: Cut, newest: Ints) -> Ints:
    """int64 (chunks,): age of each chunk's newest value in steps of its time; -1 where that is not known."""
    absent = newest == NEVER_NS
    if cut.starts_ns is None or cut.ends_ns is None or absent.all():
        return np.full(cut.chunks, -1, np.int64)
    lengths = (cut.ends_ns - cut.starts_ns) / 1e9
    ages = np.where(absent, lengths, np.maximum(cut.ends_ns - np.where(absent, cut.ends_ns, newest), 0) / 1e9)
    steps = steps_of_age(ages, lengths)
    return np.where(np.isnan(steps), -1, steps).astype(np.int64)


def _distant(measures: "_Measures", cut: Cut, by_block: Floats) -> dict[str, Floats]:
    """`Chunks.distant` of one column: per method key, float64 (2, blocks)."""
    rest = _outside(by_block)
    found = {key: np.full((2, len(rest)), np.nan) for key in (_JENSEN_SHANNON, _WASSERSTEIN)}
    for block in range(len(rest)):
        without = np.maximum(rest - by_block[block], 0.0)  # The block's own row is not used.
        part = Several(0, without, np.where(cut.blocks == block, -1, cut.blocks))
        rows, squared = measures.compare(iter([part]))
        for key, statistic in squared.items():
            usable = (measures.values >= DISTANT_ROWS_MIN) & (rows > 0) & np.isfinite(statistic)
            if usable.any():
                noise = 1 / measures.values[usable] + 1 / rows[usable]
                found[key][:, block] = statistic[usable].mean(), noise.mean()
    return found


def _beyond_rest(observed: Filled, cut: Cut, there: npt.NDArray[np.bool_], extremes: Floats | None) -> Ints:
    """int64 (chunks,): values in categories that the rest does not have, or that its range does not reach.

    Args:
        observed: The chunks.
        cut: Their blocks.
        there: bool (blocks, bins): which bins have rows outside each block.
        extremes: float64 (k, 2): smallest and largest value of each chunk; None of categories.
    """
    bounds = np.searchsorted(cut.blocks, np.arange(len(there) + 1))
    own = [observed.slice(first, last) for first, last in itertools.pairwise(bounds)]
    if extremes is None:
        return np.concatenate([part.sums(~some[part.bins]) for part, some in zip(own, there, strict=True)])
    firsts, lasts = there.argmax(axis=1), there.shape[1] - 1 - there[:, ::-1].argmax(axis=1)
    below = np.concatenate([part.sums(part.bins < first) for part, first in zip(own, firsts, strict=True)])
    above = np.concatenate([part.sums(part.bins > last) for part, last in zip(own, lasts, strict=True)])
    low, high = extremes[: cut.chunks].T
    others = [extremes[: cut.chunks][cut.blocks != block] for block in range(len(there))]
    lowest = np.array([each[:, 0].min(initial=np.inf) for each in others])[cut.blocks]
    highest = np.array([each[:, 1].max(initial=-np.inf) for each in others])[cut.blocks]
    # Within the outermost bins that the rest has only the chunk's extremes tell: at least one value is beyond.
    below = np.maximum(below, (low < lowest) & np.isfinite(lowest))
    above = np.maximum(above, (high > highest) & np.isfinite(highest))
    return np.asarray(np.minimum(below + above, observed.sums()))


class _Measures:
    """The deciding statistics of one column's chunks on their squared scale.

    Attributes:
        values: int64 (chunks,): values of each chunk.
    """

    def __init__(self, column: ColumnBaseline, observed: Filled) -> None:
        groupings = build_groupings((column,))
        fine = groupings[Bins.FINE]
        self._scale = Scale(groupings[Bins.QUANTILE_32].group, fine.right - fine.left)
        self._spread = column.stddev if isinstance(column.bins, NumericBins) else 0.0
        self._observed = observed
        self.values = observed.sums()

    def compare(self, expected: Iterator[Several] | Following) -> tuple[Floats, dict[str, Floats]]:
        """Values that each chunk is compared with, 0 where there is nothing, and the statistics by method key."""
        if isinstance(expected, Following):
            parts = [self._following(expected)]
        else:
            parts = [self._several(each) for each in expected]
        rows, divergence, distance = np.concatenate(parts, axis=1)
        squared = {_JENSEN_SHANNON: divergence, _WASSERSTEIN: np.full(len(rows), np.nan)}
        if self._spread > 0 and np.isfinite(self._spread):
            with np.errstate(over="ignore"):
                squared[_WASSERSTEIN] = (distance / self._spread) ** 2
        return rows, squared

    def _several(self, part: Several) -> Floats:
        """float64 (3, n): rows and both distances."""
        rows = np.where(part.against >= 0, part.expected.sum(axis=1)[part.against], 0.0)
        observed = self._observed.slice(part.first, part.first + len(part.against))
        return np.stack([rows, *compare(observed, part.expected, part.against, self._scale)])

    def _following(self, expected: Following) -> Floats:
        rows, *distances = compare_following(self._observed, expected.first, expected.last, self._scale)
        nothing = [np.where(expected.there, each, np.nan) for each in distances]
        return np.stack([np.where(expected.there, rows, 0.0), *nothing])


def chunk_tables(cut: Cut, columns: Sequence[ColumnChunks], whole: Mapping[str, Ints] = MappingProxyType({})) -> Chunks:
    """The tables of all columns, and what ratios of whole rows count."""

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
        whole=whole,
    )
