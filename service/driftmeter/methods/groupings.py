"""How a baseline's fine bins are regrouped for each method's convention."""

import numpy as np
import numpy.typing as npt

from driftmeter.methods.score import Grouping
from driftmeter.methods.spec import Bins
from driftmeter.model.baseline import ColumnBaseline, Cuts
from driftmeter.model.bins import NumericBins

STURGES_DISTINCT_MAX = 20
"""Fine bins with rows up to which each has a bin of its own in `Bins.STURGES`: Evidently's limit of distinct values."""

Ints = npt.NDArray[np.int64]


def build_groupings(columns: tuple[ColumnBaseline, ...]) -> dict[Bins, Grouping]:
    """One grouping per convention over all columns, in their order."""
    return {bins: _grouping(bins, columns) for bins in Bins}


def _grouping(bins: Bins, columns: tuple[ColumnBaseline, ...]) -> Grouping:
    parts = [_groups_of(bins, each) for each in columns]
    sizes = np.array([int(part.max()) + 1 for part in parts], dtype=np.int64)
    starts = np.concatenate(([0], np.cumsum(sizes)))[:-1]
    ends = [_ends(each) for each in columns] if bins is Bins.FINE else []
    return Grouping(
        bins=bins,
        group=np.concatenate([part + start for part, start in zip(parts, starts, strict=True)]),
        column=np.repeat(np.arange(len(columns)), sizes),
        left=np.concatenate([left for left, _ in ends]) if ends else np.empty(0),
        right=np.concatenate([right for _, right in ends]) if ends else np.empty(0),
        lowest=starts,
        highest=starts + sizes - 1,
        numeric=np.array([isinstance(each.bins, NumericBins) for each in columns]),
        spread=np.array([each.stddev for each in columns]),
    )


def _groups_of(bins: Bins, column: ColumnBaseline) -> Ints:
    """int64 (bins.size,): the group of each fine bin of one column; groups are numbered without gaps."""
    if not isinstance(column.bins, NumericBins) or column.cuts is None or bins is Bins.FINE:
        return np.arange(column.bins.size)
    edges, cuts = column.bins.edges, column.cuts
    match bins:
        case Bins.QUANTILE_32:
            return _quantile_groups(edges, cuts.quantile_starts)
        case Bins.DECILE:
            inside = np.searchsorted(cuts.deciles, edges, side="right")
            return np.concatenate(([0], inside, [len(cuts.deciles)]))
        case Bins.DOANE:
            return _doane_groups(edges, cuts)
        case Bins.STURGES:
            return _sturges_groups(edges, column.counts)
    raise AssertionError(bins)


def _quantile_groups(edges: npt.NDArray[np.float64], starts: npt.NDArray[np.float64]) -> Ints:
    """Groups of [below] + quantile bins + [above]; the last bin ends with the maximum."""
    return np.concatenate(([0], np.searchsorted(starts, edges, side="right"), [len(starts) + 1]))


def _doane_groups(edges: npt.NDArray[np.float64], cuts: Cuts) -> Ints:
    """Groups of the histogram's bins, the last one closed, and one leftover group for everything else."""
    if cuts.discrete:
        place = np.searchsorted(cuts.doane, edges)
        known = cuts.doane[np.minimum(place, len(cuts.doane) - 1)] == edges
        leftover = len(cuts.doane)
        return np.concatenate(([leftover], np.where(known, place, leftover), [leftover]))
    last = len(cuts.doane) - 2
    inside = np.clip(np.searchsorted(cuts.doane, edges, side="right") - 1, 0, last)
    return np.concatenate(([last + 1], inside, [last + 1]))


def _sturges_groups(edges: npt.NDArray[np.float64], counts: npt.NDArray[np.uint64]) -> Ints:
    """Groups of the equal-width bins, open-ended; one per fine bin with rows, and one for the rest, where few have."""
    filled = counts > 0
    if np.count_nonzero(filled) <= STURGES_DISTINCT_MAX:
        return np.where(filled, np.cumsum(filled) - 1, np.count_nonzero(filled))
    inner = sturges_edges(edges[0], edges[-1], int(counts.sum()))[1:-1]
    inside = np.searchsorted(inner, edges, side="right")
    return np.concatenate(([0], inside, inside[-1:]))


def sturges_edges(low: float, high: float, rows: int) -> npt.NDArray[np.float64]:
    """Edges of the histogram of `rows` real numbers between `low` and `high` by Sturges' rule, as numpy makes them.

    1 + log₂(rows) bins, rounded up, of equal width; one bin where the range is too wide or too narrow to be cut.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        # numpy divides the range by its width and rounds up: so the number of bins is rounded as it is there.
        width = (high - low) / (np.log2(rows) + 1)
        edges = np.linspace(low, high, int(np.ceil((high - low) / width)) + 1) if 0 < width < np.inf else np.empty(0)
    usable = len(edges) > 1 and bool((np.diff(edges) > 0).all())
    return edges if usable else np.array([low, high])


def _ends(column: ColumnBaseline) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Left and right ends of one column's fine bins; zero width for the maximum's own and the open ends."""
    if not isinstance(column.bins, NumericBins):
        zeros = np.zeros(column.bins.size)
        return zeros, zeros
    edges = column.bins.edges
    left = np.concatenate(([edges[0]], edges, [edges[-1]]))
    right = np.concatenate(([edges[0]], edges[1:], [edges[-1], edges[-1]]))
    return left, right
