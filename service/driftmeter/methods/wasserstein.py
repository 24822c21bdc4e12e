"""Wasserstein distance."""

import polars as pl

from driftmeter.methods.shares import TINY, cumulative_shares, shares, where_both_sides
from driftmeter.methods.spec import Bins, MethodSpec, Scale


def wasserstein(expected: pl.Expr, observed: pl.Expr, left: pl.Expr, right: pl.Expr, tail: pl.Expr) -> pl.Expr:
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

    Returns:
        One float64 per group in [0, ∞), feature units. Bins empty on both sides are intervals like any other; nan when
        either side has no rows.

    Cost: O(bins), eight running sums.

    >>> bins = pl.DataFrame({
    ...     "expected": [2, 2, 0], "observed": [0, 2, 2], "left": [0.0, 1.0, 2.0], "right": [1.0, 2.0, 3.0],
    ...     "tail": [0.0, 0.0, 0.0]})
    >>> bins.select(wasserstein(*(pl.col(name) for name in bins.columns))).item()
    1.0

    Vallender, 1974, https://doi.org/10.1137/1118101.
    """
    width = right - left
    gap = cumulative_shares(expected) - cumulative_shares(observed)  # F - G at the right edges.
    # A line from a to b has mean magnitude (|a| + |b|) / 2 when it keeps its sign, (a² + b²) / (2·(|a| + |b|)) when it
    # changes it: less by |a·b| / |b - a|. The first part is summed by edge, so that the running sums are made once.
    trapezes = (gap.abs() * (width + width.shift(-1, fill_value=0.0))).sum() / 2
    # b - a is not p - q, which is rounded otherwise and may be 0 where a and b have different signs. The first bin
    # starts from a = 0 and changes no sign: its null is left out of the sum.
    products = (gap * gap.shift(1)).clip(upper_bound=0.0)
    crossings = (width * products / (gap.diff().abs() + TINY)).sum()
    beyond = tail.sum() / observed.sum()
    # Rounding of the first two can leave a few units of the last place below zero.
    return where_both_sides((trapezes + crossings).clip(lower_bound=0.0) + beyond, expected, observed)


def error_bound(expected: pl.Expr, observed: pl.Expr, left: pl.Expr, right: pl.Expr, tail: pl.Expr) -> pl.Expr:
    """How far the distance of the rows can be from the one of the bins: Σ width · (p + q) / 2.

    Inside a bin of share p the true F is anywhere between its values at the edges, hence at most width · p / 2 of area
    away from the line; G likewise. One float64 per group, feature units; nan when either side has no rows.

    >>> bins = pl.DataFrame({
    ...     "expected": [2, 2, 0], "observed": [0, 2, 2], "left": [0.0, 1.0, 2.0], "right": [1.0, 2.0, 3.0],
    ...     "tail": [0.0, 0.0, 0.0]})
    >>> bins.select(error_bound(*(pl.col(name) for name in bins.columns))).item()
    1.0
    """
    del tail  # Its part is exact.
    bound = ((right - left) * (shares(expected) + shares(observed))).sum() / 2
    return where_both_sides(bound, expected, observed)


SPEC = MethodSpec(
    key="wasserstein",
    title="Wasserstein distance (earth mover's distance)",
    expression=wasserstein,
    inputs=("expected", "observed", "left", "right", "tail"),
    bins=Bins.FINE,
    numeric=True,
    categorical=False,
    scale=Scale.SQUARED,
    unit="feature units",
    range=(0.0, float("inf")),
    symmetric=False,  # Only the window has values beyond the range, so the two sides cannot be exchanged.
    ordinal=True,
    extras={"error": error_bound},
    reference=(
        "Vallender, Calculation of the Wasserstein distance between probability distributions on the line, 1974,"
        " https://doi.org/10.1137/1118101"
    ),
    agrees_with="scipy.stats.wasserstein_distance within the error bound.",
    formula="∫ |F - G| dx inside the reference's range, F and G linear inside a bin, + Σ tail / Σ observed beyond it",
    error_bound="The rows' own distance is within Σ width · (p + q) / 2; the part beyond the range is exact.",
    cost="O(bins), eight running sums.",
    misleads=(
        "It is in the feature's own unit, so columns cannot be compared with each other. A single absurd value moves"
        " it: one row of 1e9 among 1,000 is a distance of 1e6."
    ),
)
