"""Wasserstein distance in standard deviations of the baseline."""

import numpy as np
import numpy.typing as npt
import polars as pl

from driftmeter.methods import wasserstein as in_feature_units
from driftmeter.methods.sampling import Sampling
from driftmeter.methods.spec import Bins, MethodSpec, Scale


def wasserstein_normalised(  # noqa: PLR0913 - columns of one table, in the order of `inputs`.
    expected: pl.Expr,
    observed: pl.Expr,
    left: pl.Expr,
    right: pl.Expr,
    tail: pl.Expr,
    gap: pl.Expr,
    gap_before: pl.Expr,
    spread: pl.Expr,
) -> pl.Expr:
    """How far the mass has moved, on average, in standard deviations of the baseline.

    (∫ |F - G| dx + Σ tail / Σ observed) / σ, see `wasserstein`.

    Args:
        expected: Baseline's counts of one group in bin order, uint64 or float64, shape (bins,).
        observed: Window's counts of the same bins, uint64 or float64, shape (bins,).
        left: Left edges, feature units, float64, shape (bins,).
        right: Right edges, feature units, float64, shape (bins,).
        tail: Sum of the distances to the range of the observed values beyond it, feature units, shape (bins,).
        gap: F - G at the bins' right edges, float64, shape (bins,).
        gap_before: F - G at the bins' left edges, float64, shape (bins,).
        spread: σ, the standard deviation of the baseline's finite values, the same in every bin, shape (bins,).

    Returns:
        One float64 per group in [0, ∞), standard deviations; nan when either side has no rows, and without spread.

    Cost: O(bins).

    >>> bins = pl.DataFrame({
    ...     "expected": [2, 2, 0], "observed": [0, 2, 2], "left": [0.0, 1.0, 2.0], "right": [1.0, 2.0, 3.0],
    ...     "tail": [0.0, 0.0, 0.0], "gap": [0.5, 0.5, 0.0], "gap_before": [0.0, 0.5, 0.5], "spread": [0.5, 0.5, 0.5]})
    >>> bins.select(wasserstein_normalised(*(pl.col(name) for name in bins.columns))).item()
    2.0

    Vallender, 1974, https://doi.org/10.1137/1118101.
    """
    return _in_spreads(in_feature_units.wasserstein(expected, observed, left, right, tail, gap, gap_before), spread)


def error_bound(  # noqa: PLR0913 - as the method.
    expected: pl.Expr,
    observed: pl.Expr,
    left: pl.Expr,
    right: pl.Expr,
    tail: pl.Expr,
    gap: pl.Expr,
    gap_before: pl.Expr,
    spread: pl.Expr,
) -> pl.Expr:
    """The bound of `wasserstein` in standard deviations: one float64 per group, nan where the distance is.

    >>> bins = pl.DataFrame({
    ...     "expected": [2, 2, 0], "observed": [0, 2, 2], "left": [0.0, 1.0, 2.0], "right": [1.0, 2.0, 3.0],
    ...     "tail": [0.0, 0.0, 0.0], "gap": [0.5, 0.5, 0.0], "gap_before": [0.0, 0.5, 0.5], "spread": [0.5, 0.5, 0.5]})
    >>> bins.select(error_bound(*(pl.col(name) for name in bins.columns))).item()
    2.0
    """
    return _in_spreads(in_feature_units.error_bound(expected, observed, left, right, tail, gap, gap_before), spread)


def _in_spreads(distance: pl.Expr, spread: pl.Expr) -> pl.Expr:
    """Without spread there is nothing to measure in: a constant column is judged by its bins alone."""
    sigma = spread.max()
    return pl.when(sigma > 0).then(distance / sigma).otherwise(float("nan"))


def noise(sampling: Sampling) -> npt.NDArray[np.float64]:
    """`a`, by draws; nan without spread."""
    return np.asarray(in_feature_units.noise(sampling) / np.where(sampling.spread > 0, sampling.spread, np.nan) ** 2)


SPEC = MethodSpec(
    key="wasserstein_normalised",
    title="Normalised Wasserstein distance",
    expression=wasserstein_normalised,
    inputs=(*in_feature_units.SPEC.inputs, "spread"),
    bins=Bins.FINE,
    numeric=True,
    categorical=False,
    scale=Scale.SQUARED,
    unit="standard deviations of the baseline",
    range=(0.0, float("inf")),
    symmetric=False,  # As for `wasserstein`; and the spread is the baseline's.
    ordinal=True,
    extras={"error": error_bound},
    noise=noise,
    default_min_effect=0.1,
    reference=in_feature_units.SPEC.reference,
    agrees_with="scipy.stats.wasserstein_distance over numpy.std of the baseline's values, within the error bound.",
    formula="(∫ |F - G| dx + Σ tail / Σ observed) / σ, σ the standard deviation of the baseline's finite values",
    error_bound="The rows' own distance is within Σ width · (p + q) / 2 / σ; the part beyond the range is exact.",
    undefined="nan when either side has no rows, and when the baseline's values are all the same (σ = 0).",
    cost="O(bins).",
    misleads=(
        "Heavy tails: where a few values make up σ, a shift of all the others is a small part of it. A single absurd"
        " value moves it: one row a thousand σ away among 1,000 is a distance of 1."
    ),
)
