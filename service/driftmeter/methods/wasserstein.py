"""Wasserstein distance."""

import numpy as np
import numpy.typing as npt
import polars as pl

from driftmeter.methods.sampling import Sampling
from driftmeter.methods.shares import TINY, shares, where_both_sides
from driftmeter.methods.spec import Bins, MethodSpec, Scale


def wasserstein(  # noqa: PLR0913 - columns of one table, in the order of `inputs`.
    expected: pl.Expr,
    observed: pl.Expr,
    left: pl.Expr,
    right: pl.Expr,
    tail: pl.Expr,
    gap: pl.Expr,
    gap_before: pl.Expr,
) -> pl.Expr:
    """Area between the two cumulative distributions: how far the mass has moved, on average.

    ∫ |F - G| dx, with F of `expected` and G of `observed` linear inside each bin, plus Σ tail / Σ observed, which is
    the integral's exact part beyond the reference's range.

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
        One float64 per group in [0, ∞), feature units. Bins empty on both sides are intervals like any other; nan when
        either side has no rows.

    Cost: O(bins).

    >>> bins = pl.DataFrame({
    ...     "expected": [2, 2, 0], "observed": [0, 2, 2], "left": [0.0, 1.0, 2.0], "right": [1.0, 2.0, 3.0],
    ...     "tail": [0.0, 0.0, 0.0], "gap": [0.5, 0.5, 0.0], "gap_before": [0.0, 0.5, 0.5]})
    >>> bins.select(wasserstein(*(pl.col(name) for name in bins.columns))).item()
    1.0

    Vallender, 1974, https://doi.org/10.1137/1118101.
    """
    # A line from a to b has mean magnitude (|a| + |b|) / 2 when it keeps its sign, (a² + b²) / (2·(|a| + |b|)) when it
    # changes it: less by |a·b| / |b - a|.
    crossing = (gap * gap_before).clip(upper_bound=0.0) / ((gap - gap_before).abs() + TINY)
    inside = ((right - left) * ((gap.abs() + gap_before.abs()) / 2 + crossing)).sum()
    beyond = tail.abs().sum() / observed.sum()
    # Rounding can leave the area a few units of the last place below zero.
    return where_both_sides(inside.clip(lower_bound=0.0) + beyond, expected, observed)


def error_bound(  # noqa: PLR0913 - as the method.
    expected: pl.Expr,
    observed: pl.Expr,
    left: pl.Expr,
    right: pl.Expr,
    tail: pl.Expr,
    gap: pl.Expr,
    gap_before: pl.Expr,
) -> pl.Expr:
    """How far the distance of the rows can be from the one of the bins: Σ width · (p + q) / 2.

    Inside a bin of share p the true F is anywhere between its values at the edges, hence at most width · p / 2 of area
    away from the line; G likewise. One float64 per group, feature units; nan when either side has no rows.

    >>> bins = pl.DataFrame({
    ...     "expected": [2, 2, 0], "observed": [0, 2, 2], "left": [0.0, 1.0, 2.0], "right": [1.0, 2.0, 3.0],
    ...     "tail": [0.0, 0.0, 0.0], "gap": [0.5, 0.5, 0.0], "gap_before": [0.0, 0.5, 0.5]})
    >>> bins.select(error_bound(*(pl.col(name) for name in bins.columns))).item()
    1.0
    """
    del tail, gap, gap_before  # The part beyond the range is exact.
    bound = ((right - left) * (shares(expected) + shares(observed))).sum() / 2
    return where_both_sides(bound, expected, observed)


def noise(sampling: Sampling) -> npt.NDArray[np.float64]:
    """`a`, by draws, none of which has values beyond the range; feature units squared."""
    return sampling.rows * sampling.area_squared


SPEC = MethodSpec(
    key="wasserstein",
    title="Wasserstein distance (earth mover's distance)",
    expression=wasserstein,
    inputs=("expected", "observed", "left", "right", "tail", "gap", "gap_before"),
    bins=Bins.FINE,
    numeric=True,
    categorical=False,
    scale=Scale.SQUARED,
    unit="feature units",
    range=(0.0, float("inf")),
    symmetric=False,  # Only the window has values beyond the range, so the two sides cannot be exchanged.
    ordinal=True,
    extras={"error": error_bound},
    noise=noise,
    reference=(
        "Vallender, Calculation of the Wasserstein distance between probability distributions on the line, 1974,"
        " https://doi.org/10.1137/1118101"
    ),
    agrees_with="scipy.stats.wasserstein_distance within the error bound.",
    formula="∫ |F - G| dx inside the reference's range, F and G linear inside a bin, + Σ tail / Σ observed beyond it",
    error_bound="The rows' own distance is within Σ width · (p + q) / 2; the part beyond the range is exact.",
    cost="O(bins).",
    misleads=(
        "It is in the feature's own unit, so columns cannot be compared with each other. A single absurd value moves"
        " it: one row of 1e9 among 1,000 is a distance of 1e6."
    ),
)
