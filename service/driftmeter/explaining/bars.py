"""Distributions of the baseline and of a window side by side, in few ranges or categories."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from driftmeter.methods import DECIDING, METHODS
from driftmeter.methods.groupings import build_groupings
from driftmeter.model.baseline import ColumnBaseline
from driftmeter.model.bins import NumericBins

Floats = npt.NDArray[np.float64]

_RANGES = 16
_CATEGORIES = 15
_MOVED = 8
_VALUES_MAX = 24
"""Distinct values of a discrete column that have a bar each."""
_TAIL = 0.005
"""Share of a side's values at either end that need not have ranges of their own."""


@dataclass(frozen=True)
class Bar:
    """A range or category: its share of the values in the baseline and in the window, and of the distance between."""

    label: str
    baseline: float
    window: float
    contribution: float | None = None


def moved_most(column: ColumnBaseline, expected: Floats, observed: Floats) -> list[Bar]:
    """Groups of the deciding method by what they add to the squared distance, the most first.

    Jensen-Shannon divergence, base 2, is a sum over bins of (p log2(p/m) + q log2(q/m)) / 2 with m = (p + q) / 2: its
    terms are never negative and say which bins moved.
    """
    if not expected.sum() or not observed.sum():
        return []
    grouping = build_groupings((column,))[METHODS[DECIDING].bins]
    p = np.bincount(grouping.group, expected) / expected.sum()
    q = np.bincount(grouping.group, observed) / observed.sum()
    m = (p + q) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = (np.where(p > 0, p * np.log2(p / m), 0) + np.where(q > 0, q * np.log2(q / m), 0)) / 2
    total = terms.sum()
    labels = _group_labels(column, grouping.group)
    order = np.argsort(-terms, kind="stable")[:_MOVED]
    return [
        Bar(labels[at], float(p[at]), float(q[at]), float(terms[at] / total)) for at in order.tolist() if terms[at] > 0
    ]


def _group_labels(column: ColumnBaseline, group: npt.NDArray[np.int64]) -> list[str]:
    if not isinstance(column.bins, NumericBins):
        return [*column.bins.categories, "(rarer ones)", "(unseen)"]
    bounds = [np.flatnonzero(group == number) for number in range(int(group.max()) + 1)]
    return [_range_label(column.bins.edges, int(found[0]), int(found[-1])) for found in bounds]


def histogram_of(
    column: ColumnBaseline, expected: Floats, observed: Floats, low: float | None = None, high: float | None = None
) -> list[Bar]:
    """Shares of both sides in few ranges, or of the commonest categories.

    Args:
        column: The column.
        expected: float64 (bins,): counts of the baseline.
        observed: float64 (bins,): counts of the window.
        low: Smallest value of the window, for how far it goes below the baseline's range; None when not known.
        high: Largest value.
    """
    p, q = expected / max(expected.sum(), 1), observed / max(observed.sum(), 1)
    if not isinstance(column.bins, NumericBins):
        return _category_bars(column, p, q)
    starts = _range_starts(column, p, q)
    ends = [*(start - 1 for start in starts[1:]), len(p) - 1]
    bars = [
        Bar(
            _range_label(column.bins.edges, first, last),
            float(p[first : last + 1].sum()),
            float(q[first : last + 1].sum()),
        )
        for first, last in zip(starts, ends, strict=True)
    ]
    if low is not None and bars[0].window:
        bars[0] = replace(bars[0], label=f"{bars[0].label} (from {low:.4g})")
    if high is not None and bars[-1].window:
        bars[-1] = replace(bars[-1], label=f"{bars[-1].label} (to {high:.4g})")
    return [bar for number, bar in enumerate(bars) if 0 < number < len(bars) - 1 or bar.baseline or bar.window]


def _category_bars(column: ColumnBaseline, p: Floats, q: Floats) -> list[Bar]:
    labels = _group_labels(column, np.arange(len(p)))
    named = np.argsort(-np.maximum(p[:-2], q[:-2]), kind="stable")
    shown = [at for at in named[:_CATEGORIES].tolist() if p[at] or q[at]]
    bars = [Bar(labels[at], float(p[at]), float(q[at])) for at in shown]
    rest = named[_CATEGORIES:]
    if len(rest):
        bars.append(Bar(f"({len(rest)} more)", float(p[rest].sum()), float(q[rest].sum())))
    return bars + [Bar(labels[at], float(p[at]), float(q[at])) for at in (-2, -1) if p[at] or q[at]]


def _range_starts(column: ColumnBaseline, p: Floats, q: Floats) -> list[int]:
    """Fine bins at which ranges begin: the first below the baseline's range, the last above it.

    Distinct values of discrete columns, else about equal widths over where nearly all of both sides' values are.
    """
    assert isinstance(column.bins, NumericBins)  # noqa: S101 - by the caller.
    edges, last = column.bins.edges, len(p) - 1
    if column.cuts is not None and column.cuts.discrete and len(edges) <= _VALUES_MAX:
        return list(range(last + 1))
    inside = np.cumsum(p[1:last]), np.cumsum(q[1:last])
    reached = [
        (np.searchsorted(each, _TAIL * each[-1]), np.searchsorted(each, (1 - _TAIL) * each[-1])) for each in inside
    ]
    low, high = edges[min(at for at, _ in reached)], edges[min(max(at for _, at in reached) + 1, len(edges) - 1)]
    cuts = low + (high / _RANGES - low / _RANGES) * np.arange(_RANGES + 1)
    nearest = np.clip(np.searchsorted(edges, cuts), 0, len(edges) - 1)
    return sorted({0, 1, *(nearest + 1).tolist(), last})


def _range_label(edges: Floats, first: int, last: int) -> str:
    """Ends of the fine bins from `first` to `last`, of which 0 is below the first edge."""
    if last == 0:
        return f"below {edges[0]:.4g}"
    if first == len(edges) + 1:
        return f"above {edges[-1]:.4g}"
    low = "lowest" if first == 0 else f"{edges[first - 1]:.4g}"
    if last > len(edges):
        return f"{low} and above"
    high = edges[min(last, len(edges) - 1)]
    return low if float(f"{high:.4g}") == float(low) else f"{low} to {high:.4g}"
