"""Cramér-von Mises distance."""

import numpy as np
import numpy.typing as npt
import polars as pl

from driftmeter.methods.sampling import Sampling
from driftmeter.methods.shares import shares, where_both_sides
from driftmeter.methods.spec import Bins, MethodSpec, Scale


def cramer_von_mises(expected: pl.Expr, observed: pl.Expr, gap: pl.Expr, gap_before: pl.Expr) -> pl.Expr:
    """Root of the mean squared difference of the two cumulative distributions, over the rows of both sides.

    √(Σ h·(F - G)²) with cumulative shares F of `expected` and G of `observed` at the bins' right edges and h the bins'
    shares of the rows of both sides together.

    Args:
        expected: Baseline's counts of one group in bin order, uint64 or float64, shape (bins,).
        observed: Window's counts of the same bins, uint64 or float64, shape (bins,).
        gap: F - G at the bins' right edges, float64, shape (bins,).
        gap_before: F - G at the bins' left edges, float64, shape (bins,); only the error needs it.

    Returns:
        One float64 per group in [0, 1/√3], a difference of probabilities. Bins empty on both sides change nothing;
        nan when either side has no rows.

    Cost: O(bins).

    >>> bins = pl.DataFrame({
    ...     "expected": [2, 2, 0], "observed": [0, 2, 2], "gap": [0.5, 0.5, 0.0], "gap_before": [0.0, 0.5, 0.5]})
    >>> round(bins.select(cramer_von_mises(*(pl.col(name) for name in bins.columns))).item() ** 2, 6)  # 6/8 · 1/4
    0.1875

    Anderson, 1962, https://doi.org/10.1214/aoms/1177704477.
    """
    del gap_before
    total = (_rows(expected, observed) * gap.pow(2)).sum() / _rows(expected, observed).sum()
    return where_both_sides(total.sqrt(), expected, observed)


def error_bound(expected: pl.Expr, observed: pl.Expr, gap: pl.Expr, gap_before: pl.Expr) -> pl.Expr:
    """How far the distance of the rows can be from the one of the bins.

    Inside a bin with shares p and q, F - G is between its value at the left edge less q and that value plus p: the
    largest and the smallest of these squares, summed, bound the square of the rows' distance. One float64 per group;
    nan when either side has no rows.

    >>> bins = pl.DataFrame({
    ...     "expected": [2, 2, 0], "observed": [0, 2, 2], "gap": [0.5, 0.5, 0.0], "gap_before": [0.0, 0.5, 0.5]})
    >>> error = bins.select(error_bound(*(pl.col(name) for name in bins.columns))).item()
    >>> round(error, 6)  # d - 0, which is more than √(5/8) - d
    0.433013
    """
    rows = _rows(expected, observed)
    distance = ((rows * gap.pow(2)).sum() / rows.sum()).sqrt()
    smallest, largest = gap_limits(expected, observed, gap_before)
    low, high = ((rows * limit.pow(2)).sum() / rows.sum() for limit in (smallest, largest))
    return where_both_sides(pl.max_horizontal(distance - low.sqrt(), high.sqrt() - distance), expected, observed)


def gap_limits(expected: pl.Expr, observed: pl.Expr, gap_before: pl.Expr) -> tuple[pl.Expr, pl.Expr]:
    """Smallest and largest magnitude that F - G can have inside each bin, whatever the order of its rows.

    Args:
        expected: Baseline's counts, shape (bins,).
        observed: Window's counts, shape (bins,).
        gap_before: F - G at the bins' left edges, shape (bins,).
    """
    lowest, highest = gap_before - shares(observed), gap_before + shares(expected)
    return pl.max_horizontal(lowest, -highest).clip(lower_bound=0.0), pl.max_horizontal(-lowest, highest)


def _rows(expected: pl.Expr, observed: pl.Expr) -> pl.Expr:
    """Rows of both sides by bin, as floats."""
    return expected.cast(pl.Float64) + observed


def noise(sampling: Sampling) -> npt.NDArray[np.float64]:
    """`a`, exact: Σ p·(1 - F)·(F + (1 - 2·F) / (N + n)), the second part because h holds the window's rows too.

    G is a mean of n indicators: E[(F - G)²] = F·(1 - F) / n, and its third moment with the bin's own share gives the
    rest.
    """
    p, below = sampling.shares, sampling.below
    rows = (sampling.totals + sampling.rows)[sampling.column]
    return sampling.sum(p * (1 - below) * (below + (1 - 2 * below) / rows))


SPEC = MethodSpec(
    key="cramer_von_mises",
    title="Cramér-von Mises distance",
    expression=cramer_von_mises,
    inputs=("expected", "observed", "gap", "gap_before"),
    bins=Bins.FINE,
    numeric=True,
    categorical=False,
    scale=Scale.SQUARED,
    unit="difference of probabilities",
    range=(0.0, 3**-0.5),
    symmetric=True,
    ordinal=True,
    extras={"error": error_bound},
    noise=noise,
    reference=(
        "Anderson, On the distribution of the two-sample Cramér-von Mises criterion, 1962,"
        " https://doi.org/10.1214/aoms/1177704477"
    ),
    agrees_with=(
        "scipy.stats.cramervonmises_2samp within the error bound: its statistic is n·N / (n + N) times the square of"
        " this distance, for rows without ties; with ties Anderson's sum over the rows."
    ),
    formula="√(Σ h·(F - G)²), F and G the cumulative shares at the bins' right edges, h the share of both sides' rows",
    error_bound=(
        "The rows' own distance is between the roots of Σ h·min g² and Σ h·max g², g going over all that F - G can be"
        " inside the bin: from its value at the left edge less q to that value plus p. Exact where a bin holds one"
        " value."
    ),
    cost="O(bins).",
    misleads=(
        "Like Kolmogorov-Smirnov it sees the middle far better than the tails. It says how far the distributions"
        " differ in probability, not how far the values have moved."
    ),
)
