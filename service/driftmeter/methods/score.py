"""All methods on all columns of many windows: one query per grouping of the bins."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import numpy.typing as npt
import polars as pl

from driftmeter.methods.curves import add_by_group, curves
from driftmeter.methods.spec import Bins, MethodSpec, Scale
from driftmeter.model.compiled import frozen

Floats = npt.NDArray[np.float64]

_SUMS = (pl.col("expected").sum().alias("rows_expected"), pl.col("observed").sum().alias("rows_observed"))

# ∫ (F - G) dx inside the range, F and G linear in each bin, and the exact part beyond its ends.
_SHIFT = (
    ((pl.col("right") - pl.col("left")) * (pl.col("gap") + pl.col("gap_before"))).sum() / 2
    + (pl.col("tail").last() - pl.col("tail").first()) / pl.col("observed").sum()
).alias("shift")

_CELLS = 1 << 20
"""Windows × groups of bins scored by one query, but at least one window: what is computed on the way takes some 200 MB
at most, whatever the number of windows, and less time than in one piece (measured with 3 windows of 1,000 columns)."""


@dataclass(frozen=True, eq=False)
class Grouping:
    """How the fine bins of all columns are regrouped for the methods that share one convention.

    Attributes:
        bins: The convention.
        group: int64 (fine bins,): the group each fine bin is added to; groups of a column are neighbours.
        column: int64 (groups,): the column each group belongs to, ascending.
        left: float64 (groups,): left ends, feature units; only for `Bins.FINE`, else empty.
        right: float64 (groups,): right ends.
        lowest: int64 (columns,): each column's first group.
        highest: int64 (columns,): each column's last group.
        numeric: bool (columns,): which columns are numeric.
        spread: float64 (columns,): standard deviation of the baseline's values, feature units; nan for categorical.
    """

    bins: Bins
    group: npt.NDArray[np.int64]
    column: npt.NDArray[np.int64]
    left: Floats
    right: Floats
    lowest: npt.NDArray[np.int64]
    highest: npt.NDArray[np.int64]
    numeric: npt.NDArray[np.bool_]
    spread: Floats

    def regroup(self, counts: Floats) -> Floats:
        """Sums of `counts` (windows, fine bins) per group: (windows, groups)."""
        if self.bins is Bins.FINE:
            return counts
        sums = np.zeros((len(counts), len(self.column)))
        add_by_group(frozen(counts), frozen(self.group), sums)
        return sums


@dataclass(frozen=True, eq=False)
class Scores:
    """What methods give on w windows of c columns; `nan` where a method does not apply or has nothing to compare.

    Attributes:
        values: Per method key, float64 (w, c), the method's own unit.
        pvalues: Per method key that has one, float64 (w, c).
        shifts: float64 (w, c): mean of each window less that of its expectation, feature units, within the error of
            `wasserstein`; nan without rows, 0 for categorical columns, and no numbers without methods on `Bins.FINE`.
    """

    values: dict[str, Floats]
    pvalues: dict[str, Floats]
    shifts: Floats


def score(
    specs: Iterable[MethodSpec],
    groupings: Mapping[Bins, Grouping],
    expected: Floats,
    observed: Floats,
    tails: Floats | None = None,
) -> Scores:
    """Compare every window of every column with its expectation.

    Args:
        specs: The methods.
        groupings: One per convention the methods use.
        expected: float64 (1 or w, fine bins): baseline counts.
        observed: float64 (w, fine bins): window counts.
        tails: float64 (w, c, 2): sums of distances below and above the reference range, less those of as many rows of
            what is expected; zero when not given.
    """
    by_bins: dict[Bins, list[MethodSpec]] = {}
    for spec in specs:
        by_bins.setdefault(spec.bins, []).append(spec)
    scores = Scores({}, {}, np.empty((len(observed), 0)))
    for bins, group_specs in by_bins.items():
        shifts = _score_grouping(group_specs, groupings[bins], expected, observed, tails, scores)
        scores = scores if shifts is None else replace(scores, shifts=shifts)
    return scores


def _score_grouping(
    specs: list[MethodSpec],
    grouping: Grouping,
    expected: Floats,
    observed: Floats,
    tails: Floats | None,
    scores: Scores,
) -> Floats | None:
    """Put the scores of one grouping's methods into `scores`; returns the shifts where the grouping has edges."""
    aggregates = [*_SUMS, *(aggregate for spec in specs for aggregate in _aggregates(spec))]
    aggregates += [_SHIFT] if grouping.bins is Bins.FINE else []
    regrouped, parts = grouping.regroup(expected), []
    step = max(1, _CELLS // len(grouping.column))
    for first in range(0, len(observed), step):
        block = slice(first, first + step)
        frame = _frame(
            grouping,
            regrouped if len(regrouped) == 1 else regrouped[block],
            grouping.regroup(observed[block]),
            None if tails is None else tails[block],
        )
        parts.append(frame.group_by("key", maintain_order=True).agg(*aggregates))
    result = pl.concat(parts)

    def table(name: str) -> Floats:
        return result[name].cast(pl.Float64).to_numpy().reshape(-1, len(grouping.numeric))

    for spec in specs:
        applies = np.where(grouping.numeric, spec.numeric, spec.categorical)
        values = np.where(applies, table(f"{spec.key}.value"), np.nan)
        scores.values[spec.key] = values
        if spec.pvalue is not None:
            inputs = {extra: table(f"{spec.key}.{extra}") for extra in spec.extras}
            inputs |= {name: table(name) for name in ("rows_expected", "rows_observed")} | {"value": values}
            scores.pvalues[spec.key] = np.where(np.isnan(values), np.nan, spec.pvalue(inputs))
    return table("shift") if grouping.bins is Bins.FINE else None


def _frame(grouping: Grouping, expected: Floats, observed: Floats, tails: Floats | None) -> pl.DataFrame:
    """What the methods read: one row per group of each window and column, counts regrouped already."""
    windows, columns = len(observed), len(grouping.numeric)
    data: dict[str, npt.NDArray[np.generic]] = {
        "key": (np.arange(windows)[:, None] * columns + grouping.column).ravel(),
        "expected": np.broadcast_to(expected, observed.shape).ravel(),
        "observed": observed.ravel(),
    }
    if grouping.bins is Bins.FINE:
        distance = np.zeros(observed.shape)
        if tails is not None:
            distance[:, grouping.lowest] = tails[:, :, 0]
            distance[:, grouping.highest] += tails[:, :, 1]
        data["left"], data["right"] = np.tile(grouping.left, windows), np.tile(grouping.right, windows)
        data["tail"] = distance.ravel()
        data["spread"] = np.tile(grouping.spread[grouping.column], windows)
        running = curves(expected, observed, grouping.lowest)
        data |= zip(("gap", "gap_before", "pooled"), (each.ravel() for each in running), strict=True)
    # Groups stand one after the other: told so, polars takes slices instead of hashing every key.
    return pl.DataFrame(data).with_columns(pl.col("key").set_sorted())


@cache
def _aggregates(spec: MethodSpec) -> tuple[pl.Expr, ...]:
    """A method's expressions, built once: that takes as long as half of what they compute.

    Extras serve p-values. Those of methods without one are for whoever asks: they cost more than all values together.
    """
    wanted = {"value": spec.expression, **(spec.extras if spec.pvalue else {})}
    return tuple(
        expression(*(pl.col(name) for name in spec.inputs)).alias(f"{spec.key}.{extra}")
        for extra, expression in wanted.items()
    )


def to_squared_scale(spec: MethodSpec, values: Floats, rows: Floats) -> Floats:
    """Q of a method's values over windows of `rows` rows: the scale on which noise adds."""
    match spec.scale:
        case Scale.SQUARED:
            with np.errstate(over="ignore"):  # Feature units may be huge; infinite leaves as null.
                return values**2
        case Scale.LINEAR:
            return values
        case Scale.PER_ROW:
            with np.errstate(divide="ignore", invalid="ignore"):
                return values / rows
    raise AssertionError(spec.scale)
