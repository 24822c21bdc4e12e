"""All methods on all columns of many windows: one query per grouping of the bins."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import polars as pl

from driftmeter.methods.spec import Bins, MethodSpec, Scale

Floats = npt.NDArray[np.float64]

_SUMS = (pl.col("expected").sum().alias("rows_expected"), pl.col("observed").sum().alias("rows_observed"))


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
    """

    bins: Bins
    group: npt.NDArray[np.int64]
    column: npt.NDArray[np.int64]
    left: Floats
    right: Floats
    lowest: npt.NDArray[np.int64]
    highest: npt.NDArray[np.int64]
    numeric: npt.NDArray[np.bool_]

    def regroup(self, counts: Floats) -> Floats:
        """Sums of `counts` (windows, fine bins) per group: (windows, groups)."""
        size = len(self.column)
        return np.stack([np.bincount(self.group, weights=row, minlength=size) for row in counts])


@dataclass(frozen=True, eq=False)
class Scores:
    """What methods give on w windows of c columns; `nan` where a method does not apply or has nothing to compare.

    Attributes:
        values: Per method key, float64 (w, c), the method's own unit.
        pvalues: Per method key that has one, float64 (w, c).
    """

    values: dict[str, Floats]
    pvalues: dict[str, Floats]


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
        tails: float64 (w, c, 2): sums of distances below and above the reference range; zero when not given.
    """
    scores = Scores({}, {})
    by_bins: dict[Bins, list[MethodSpec]] = {}
    for spec in specs:
        by_bins.setdefault(spec.bins, []).append(spec)
    for bins, group_specs in by_bins.items():
        grouping = groupings[bins]
        frame = _frame(grouping, expected, observed, tails)
        _score_grouping(group_specs, grouping, frame, scores)
    return scores


def _frame(grouping: Grouping, expected: Floats, observed: Floats, tails: Floats | None) -> pl.DataFrame:
    windows, groups, columns = len(observed), len(grouping.column), len(grouping.numeric)
    regrouped = grouping.regroup(expected)
    data: dict[str, npt.NDArray[np.generic]] = {
        "key": (np.arange(windows)[:, None] * columns + grouping.column).ravel(),
        "expected": np.broadcast_to(regrouped, (windows, groups)).ravel(),
        "observed": grouping.regroup(observed).ravel(),
    }
    if grouping.bins is Bins.FINE:
        distance = np.zeros((windows, groups))
        if tails is not None:
            distance[:, grouping.lowest] = tails[:, :, 0]
            distance[:, grouping.highest] += tails[:, :, 1]
        data["left"], data["right"] = np.tile(grouping.left, windows), np.tile(grouping.right, windows)
        data["tail"] = distance.ravel()
    return pl.DataFrame(data)


def _score_grouping(specs: list[MethodSpec], grouping: Grouping, frame: pl.DataFrame, scores: Scores) -> None:
    columns = len(grouping.numeric)
    aggregates = [aggregate for spec in specs for aggregate in _aggregates(spec)]
    result = frame.group_by("key", maintain_order=True).agg(*_SUMS, *aggregates)

    def table(name: str) -> Floats:
        return result[name].cast(pl.Float64).to_numpy().reshape(-1, columns)

    for spec in specs:
        applies = np.where(grouping.numeric, spec.numeric, spec.categorical)
        values = np.where(applies, table(f"{spec.key}.value"), np.nan)
        scores.values[spec.key] = values
        if spec.pvalue is not None:
            inputs = {extra: table(f"{spec.key}.{extra}") for extra in spec.extras}
            inputs |= {name: table(name) for name in ("rows_expected", "rows_observed")} | {"value": values}
            scores.pvalues[spec.key] = np.where(np.isnan(values), np.nan, spec.pvalue(inputs))


@cache
def _aggregates(spec: MethodSpec) -> tuple[pl.Expr, ...]:
    """A method's expressions, built once: that takes as long as half of what they compute."""
    return tuple(
        expression(*(pl.col(name) for name in spec.inputs)).alias(f"{spec.key}.{extra}")
        for extra, expression in {"value": spec.expression, **spec.extras}.items()
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
