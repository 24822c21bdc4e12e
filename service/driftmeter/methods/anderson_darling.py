"""Anderson-Darling distance."""

import math

import numpy as np
import numpy.typing as npt
import polars as pl

from driftmeter.methods.cramer_von_mises import gap_limits
from driftmeter.methods.sampling import Sampling
from driftmeter.methods.shares import shares, where_both_sides
from driftmeter.methods.spec import Bins, MethodSpec, Scale
from driftmeter.model.compiled import frozen, inlined, kernel

_ENDS = 1e-15
"""A cumulative share within this of 0 or 1 is 0 or 1: one row of 10¹⁵ is larger, rounding is smaller."""

_NEGLIGIBLE = 1e-10
"""Chances below this are left out of an expectation."""


def anderson_darling(
    expected: pl.Expr, observed: pl.Expr, gap: pl.Expr, gap_before: pl.Expr, pooled: pl.Expr
) -> pl.Expr:
    """Difference of the two cumulative distributions in units of its own spread, root mean square over both sides.

    √(Σ h·(F - G)² / (H·(1 - H))) with cumulative shares F of `expected`, G of `observed` and H of both together at the
    bins' right edges, and h the bins' shares of the rows of both sides together.

    Args:
        expected: Baseline's counts of one group in bin order, uint64 or float64, shape (bins,).
        observed: Window's counts of the same bins, uint64 or float64, shape (bins,).
        gap: F - G at the bins' right edges, float64, shape (bins,).
        gap_before: F - G at the bins' left edges, float64, shape (bins,); only the error needs it.
        pooled: H at the bins' right edges, float64, shape (bins,).

    Returns:
        One float64 per group in [0, ∞), no unit. Where H is 1, so are F and G, and nothing is added. Bins empty on
        both sides change nothing; nan when either side has no rows.

    Cost: O(bins).

    >>> bins = pl.DataFrame({
    ...     "expected": [2, 2, 0], "observed": [0, 2, 2], "gap": [0.5, 0.5, 0.0], "gap_before": [0.0, 0.5, 0.5],
    ...     "pooled": [0.25, 0.75, 1.0]})
    >>> squared = bins.select(anderson_darling(*(pl.col(name) for name in bins.columns))).item() ** 2
    >>> round(squared, 6)  # 6/8 · 1/4 · 16/3
    1.0

    Scholz and Stephens, 1987, https://doi.org/10.1080/01621459.1987.10478517.
    """
    del gap_before
    return where_both_sides(_squared(expected, observed, gap, pooled).sqrt(), expected, observed)


def _squared(expected: pl.Expr, observed: pl.Expr, gap: pl.Expr, pooled: pl.Expr) -> pl.Expr:
    rows = expected.cast(pl.Float64) + observed
    spread = (pooled * (1 - pooled)).clip(lower_bound=_ENDS)
    return (rows * gap.pow(2) / spread).sum() / rows.sum()


def error_bound(expected: pl.Expr, observed: pl.Expr, gap: pl.Expr, gap_before: pl.Expr, pooled: pl.Expr) -> pl.Expr:
    """How far the distance of the rows can be from the one of the bins.

    The largest and the smallest that (F - G)² / (H·(1 - H)) can be inside each bin, summed, bound the square of the
    rows' distance. In a bin that begins at H = 0 or ends at H = 1 the difference is at most its larger share m, and
    H, or 1 - H, at least λ times the difference, λ being the smaller side's share of all rows: so the quotient is at
    most m / λ over the other factor. One float64 per group; nan when either side has no rows.

    >>> bins = pl.DataFrame({
    ...     "expected": [2, 2, 0], "observed": [0, 2, 2], "gap": [0.5, 0.5, 0.0], "gap_before": [0.0, 0.5, 0.5],
    ...     "pooled": [0.25, 0.75, 1.0]})
    >>> round(bins.select(error_bound(*(pl.col(name) for name in bins.columns))).item(), 6)  # 1 - 0; else √(10/3) - 1
    1.0
    """
    rows = expected.cast(pl.Float64) + observed
    p, q, before = shares(expected), shares(observed), pooled - rows / rows.sum()
    smallest, largest = gap_limits(expected, observed, gap_before)
    smaller_side = pl.min_horizontal(expected.sum(), observed.sum()) / rows.sum()
    at_left, at_right = before * (1 - before), pooled * (1 - pooled)
    at_an_end = (before < _ENDS) | (pooled > 1 - _ENDS)
    both_ends = (before < _ENDS) & (pooled > 1 - _ENDS)
    other = pl.when(both_ends).then(0.5).otherwise(pl.max_horizontal(before, 1 - pooled))
    inside = largest.pow(2) / pl.min_horizontal(at_left, at_right).clip(lower_bound=_ENDS)
    highest = pl.when(at_an_end).then(pl.max_horizontal(p, q) / smaller_side / other).otherwise(inside)
    holds_the_middle = (before < 0.5) & (pooled > 0.5)  # noqa: PLR2004 - where H·(1 - H) is largest.
    widest = (
        pl.when(holds_the_middle).then(0.25).otherwise(pl.max_horizontal(at_left, at_right).clip(lower_bound=_ENDS))
    )
    low = (rows * smallest.pow(2) / widest).sum() / rows.sum()
    high = (rows * highest).sum() / rows.sum()
    distance = _squared(expected, observed, gap, pooled).sqrt()
    return where_both_sides(pl.max_horizontal(distance - low.sqrt(), high.sqrt() - distance), expected, observed)


def noise(sampling: Sampling) -> npt.NDArray[np.float64]:
    """`a`, exact: Σ over bins and over the window's possible rows up to there, which are binomial."""
    bounds = np.append(sampling.starts, len(sampling.expected))
    sums = np.zeros(len(sampling.starts))
    _expected_sums(frozen(sampling.expected), frozen(bounds), sampling.rows, sums)
    return sampling.rows * sums / (sampling.totals + sampling.rows)


@kernel
def _expected_sums(
    expected: npt.NDArray[np.float64], bounds: npt.NDArray[np.int64], rows: int, sums: npt.NDArray[np.float64]
) -> None:
    """Expectations of Σ rows of both sides·(F - G)² / (H·(1 - H)) of each column; every column has rows."""
    for column in range(len(sums)):
        total, below = 0.0, 0.0
        for place in range(bounds[column], bounds[column + 1]):
            total += expected[place]
        for place in range(bounds[column], bounds[column + 1]):
            below += expected[place]
            if expected[place] > 0 and below < total:  # At F = 1 both are 1.
                sums[column] += _expected_term(expected[place], below, total, rows)


@inlined
def _expected_term(expected: float, below: float, total: float, rows: int) -> float:
    """Expectation of what one bin adds."""
    share, odds = below / total, below / (total - below)
    likeliest = int((rows + 1) * share)
    ways = math.lgamma(rows + 1) - math.lgamma(likeliest + 1) - math.lgamma(rows - likeliest + 1)
    most = math.exp(ways + likeliest * math.log(share) + (rows - likeliest) * math.log(1 - share))
    # Of the window's rows up to the bin's right edge, so many on average are in the bin itself.
    own, both, found = expected / below, 1 / (total + rows), 0.0
    for step in (1, -1):
        count, chance = likeliest, most
        if step < 0:
            chance *= count / ((rows - count + 1) * odds)
            count -= 1
        while 0 <= count <= rows and chance > _NEGLIGIBLE:
            pooled, gap = (below + count) * both, share - count / rows
            found += chance * (expected + count * own) * gap * gap / max(pooled * (1 - pooled), _ENDS)
            if step > 0:
                chance *= (rows - count) / (count + 1) * odds
            else:
                chance *= count / ((rows - count + 1) * odds)
            count += step
    return found


SPEC = MethodSpec(
    key="anderson_darling",
    title="Anderson-Darling distance",
    expression=anderson_darling,
    inputs=("expected", "observed", "gap", "gap_before", "pooled"),
    bins=Bins.FINE,
    numeric=True,
    categorical=False,
    scale=Scale.SQUARED,
    unit="none",
    range=(0.0, float("inf")),
    symmetric=True,
    ordinal=True,
    extras={"error": error_bound},
    noise=noise,
    reference=(
        "Scholz and Stephens, K-sample Anderson-Darling tests, 1987, https://doi.org/10.1080/01621459.1987.10478517"
    ),
    agrees_with=(
        "scipy.stats.anderson_ksamp(midrank=False) within the error bound: its statistic before it is standardised is"
        " n·N / (n + N) times the square of this distance."
    ),
    formula=(
        "√(Σ h·(F - G)² / (H·(1 - H))), F, G and H the cumulative shares of the baseline, the window and both at the"
        " bins' right edges, h the share of both sides' rows"
    ),
    error_bound=(
        "The rows' own distance is between the roots of the smallest and the largest that the sum can be, whatever the"
        " order of the rows inside each bin. Wide for the outermost bins when one side has few rows."
    ),
    cost="O(bins).",
    misleads=(
        "It weighs the tails: a handful of rows beyond all others of a large baseline can outweigh a shift of the"
        " middle. As a test it grows with the rows, and rows of production are not independent."
    ),
)
