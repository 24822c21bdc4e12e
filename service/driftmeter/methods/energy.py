"""Energy distance."""

import numpy as np
import numpy.typing as npt
import polars as pl

from driftmeter.methods.cramer_von_mises import gap_limits
from driftmeter.methods.sampling import Sampling
from driftmeter.methods.shares import shares, where_both_sides
from driftmeter.methods.spec import Bins, MethodSpec, Scale

_INPUTS = ("expected", "observed", "left", "right", "tail", "gap", "gap_before")


def energy(  # noqa: PLR0913 - columns of one table, in the order of `inputs`.
    expected: pl.Expr,
    observed: pl.Expr,
    left: pl.Expr,
    right: pl.Expr,
    tail: pl.Expr,
    gap: pl.Expr,
    gap_before: pl.Expr,
) -> pl.Expr:
    """Root of twice the squared area between the two cumulative distributions.

    √(2 ∫ (F - G)² dx), with F of `expected` and G of `observed` linear inside each bin. Beyond the reference's range
    only the mean distance of the rows is known, not how they lie: of all that the integral can be there, from nothing
    to q · Σ tail / Σ observed with q the share of the rows beyond that end, half is taken.

    Args:
        expected: Baseline's counts of one group in bin order, uint64 or float64, shape (bins,).
        observed: Window's counts of the same bins, uint64 or float64, shape (bins,).
        left: Left edges, feature units, float64, shape (bins,). Bins touch; a bin out of range has no width.
        right: Right edges, feature units, float64, shape (bins,).
        tail: Sum of the distances to the range of the observed values beyond it, feature units, float64, shape
            (bins,); zero for bins inside.
        gap: F - G at the bins' right edges, float64, shape (bins,).
        gap_before: F - G at the bins' left edges, float64, shape (bins,).

    Returns:
        One float64 per group in [0, ∞), square root of feature units. Bins empty on both sides are intervals like any
        other; nan when either side has no rows.

    Cost: O(bins).

    >>> bins = pl.DataFrame({
    ...     "expected": [2, 2, 0], "observed": [0, 2, 2], "left": [0.0, 1.0, 2.0], "right": [1.0, 2.0, 3.0],
    ...     "tail": [0.0, 0.0, 0.0], "gap": [0.5, 0.5, 0.0], "gap_before": [0.0, 0.5, 0.5]})
    >>> round(bins.select(energy(*(pl.col(name) for name in bins.columns))).item() ** 2, 6)  # 2·(1/12 + 1/4 + 1/12)
    0.833333

    Székely and Rizzo, 2013, https://doi.org/10.1016/j.jspi.2013.03.018.
    """
    return where_both_sides(_distance(observed, right - left, tail, gap, gap_before), expected, observed)


def _distance(observed: pl.Expr, width: pl.Expr, tail: pl.Expr, gap: pl.Expr, gap_before: pl.Expr) -> pl.Expr:
    # The mean square of a line from a to b is (a² + a·b + b²) / 3.
    inside = (width * (gap.pow(2) + gap * gap_before + gap_before.pow(2))).sum() / 3
    return (2 * inside + _beyond(observed, tail)).clip(lower_bound=0.0).sqrt()


def _beyond(observed: pl.Expr, tail: pl.Expr) -> pl.Expr:
    """The most that ∫ (F - G)² dx can be beyond both ends of the range: there F is 0 or 1 and G at most the share."""
    return (shares(observed) * tail.abs()).sum() / observed.sum()


def error_bound(  # noqa: PLR0913 - as the method.
    expected: pl.Expr,
    observed: pl.Expr,
    left: pl.Expr,
    right: pl.Expr,
    tail: pl.Expr,
    gap: pl.Expr,
    gap_before: pl.Expr,
) -> pl.Expr:
    """How far the distance of the rows can be from the one of the bins.

    Inside a bin with shares p and q, F - G is between its value at the left edge less q and that value plus p: the
    smallest and the largest of these squares, times the bin's width, bound the integral, and beyond the range it is
    between nothing and twice what was taken. One float64 per group, square root of feature units; nan when either
    side has no rows.

    >>> bins = pl.DataFrame({
    ...     "expected": [2, 2, 0], "observed": [0, 2, 2], "left": [0.0, 1.0, 2.0], "right": [1.0, 2.0, 3.0],
    ...     "tail": [0.0, 0.0, 0.0], "gap": [0.5, 0.5, 0.0], "gap_before": [0.0, 0.5, 0.5]})
    >>> round(bins.select(error_bound(*(pl.col(name) for name in bins.columns))).item(), 6)  # d - 0; else √3 - d
    0.912871
    """
    width, beyond = right - left, _beyond(observed, tail)
    smallest, largest = gap_limits(expected, observed, gap_before)
    distance = _distance(observed, width, tail, gap, gap_before)
    low = (2 * (width * smallest.pow(2)).sum()).sqrt()
    high = (2 * ((width * largest.pow(2)).sum() + beyond)).sqrt()
    return where_both_sides(pl.max_horizontal(distance - low, high - distance), expected, observed)


def noise(sampling: Sampling) -> npt.NDArray[np.float64]:
    """`a`, exact: nothing drawn is beyond the range."""
    return 2 * sampling.rows * sampling.squared_gap


SPEC = MethodSpec(
    key="energy",
    title="Energy distance",
    expression=energy,
    inputs=_INPUTS,
    bins=Bins.FINE,
    numeric=True,
    categorical=False,
    scale=Scale.SQUARED,
    unit="square root of feature units",
    range=(0.0, float("inf")),
    symmetric=False,  # Only the window has values beyond the range, so the two sides cannot be exchanged.
    ordinal=True,
    extras={"error": error_bound},
    noise=noise,
    reference=(
        "Székely and Rizzo, Energy statistics: a class of statistics based on distances, 2013,"
        " https://doi.org/10.1016/j.jspi.2013.03.018"
    ),
    agrees_with="scipy.stats.energy_distance within the error bound.",
    formula=(
        "√(2 ∫ (F - G)² dx) inside the reference's range, F and G linear inside a bin, and beyond each of its ends half"
        " of q·Σ tail / Σ observed, q being the share of the rows there"
    ),
    error_bound=(
        "The rows' own distance is between the roots of twice Σ width · min g² and of twice Σ width · max g² and all of"
        " q·Σ tail / Σ observed, g going over all that F - G can be inside the bin. So a window all of which is beyond"
        " the range is known to a factor of √2."
    ),
    cost="O(bins).",
    misleads=(
        "It is in the root of the feature's own unit, so columns cannot be compared with each other, and a mean that"
        " moves four times as far doubles it only."
    ),
)
