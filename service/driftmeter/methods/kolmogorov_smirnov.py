"""Kolmogorov-Smirnov statistic."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.special import kolmogorov

from driftmeter.methods.sampling import Sampling
from driftmeter.methods.shares import shares, where_both_sides
from driftmeter.methods.spec import Bins, MethodSpec, Scale


def kolmogorov_smirnov(expected: pl.Expr, observed: pl.Expr, gap: pl.Expr) -> pl.Expr:
    """Largest difference of the two cumulative distributions at the bins' edges.

    max |F - G| over the bins' right edges, with cumulative shares F of `expected` and G of `observed`.

    Args:
        expected: Baseline's counts of one group in bin order, uint64 or float64, shape (bins,).
        observed: Window's counts of the same bins, uint64 or float64, shape (bins,).
        gap: F - G at the bins' right edges, float64, shape (bins,).

    Returns:
        One float64 per group in [0, 1], a difference of probabilities. At most the statistic of the rows themselves,
        and less than it by no more than `error_bound`. Bins empty on both sides change nothing; nan when either side
        has no rows.

    Cost: O(bins).

    >>> bins = pl.DataFrame({"expected": [2, 1, 1], "observed": [1, 1, 2], "gap": [0.25, 0.25, 0.0]})
    >>> bins.select(kolmogorov_smirnov(*(pl.col(name) for name in bins.columns))).item()
    0.25

    Smirnov, 1948, https://doi.org/10.1214/aoms/1177730256.
    """
    return where_both_sides(gap.abs().max().clip(0.0, 1.0), expected, observed)


def error_bound(expected: pl.Expr, observed: pl.Expr, gap: pl.Expr) -> pl.Expr:
    """How much the statistic of the rows can exceed the one of the bins: max over bins of min(p, q).

    Inside a bin with shares p and q, F - G is at most its value at the left edge plus p, and at most its value at the
    right edge plus q. One float64 per group in [0, 1]; nan when either side has no rows.

    >>> bins = pl.DataFrame({"expected": [2, 1, 1], "observed": [1, 1, 2], "gap": [0.25, 0.25, 0.0]})
    >>> bins.select(error_bound(*(pl.col(name) for name in bins.columns))).item()
    0.25
    """
    del gap
    return where_both_sides(pl.min_horizontal(shares(expected), shares(observed)).max(), expected, observed)


def pvalue(groups: Mapping[str, npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
    """Asymptotic two-sided p-values, conservative by the binning's error.

    K(√(n·N / (n + N)) · max(0, D - error)) with Kolmogorov's limiting survival function K (`scipy.special.kolmogorov`).

    Args:
        groups: `value`, `error`, `rows_expected` and `rows_observed`, each float64 of shape (groups,).

    Returns:
        Float64 of shape (groups,) in [0, 1]; nan where the value is nan.
    """
    distance = np.maximum(0.0, groups["value"] - groups["error"])
    with np.errstate(invalid="ignore"):  # No rows on both sides: 0 / 0, and the value is nan there anyway.
        rows = groups["rows_expected"] * groups["rows_observed"] / (groups["rows_expected"] + groups["rows_observed"])
    return np.asarray(kolmogorov(np.sqrt(rows) * distance), dtype=np.float64)


def noise(sampling: Sampling) -> npt.NDArray[np.float64]:
    """`a`, by draws: at most Kolmogorov's π² / 12, less where few bins have rows."""
    return sampling.rows * sampling.largest_gap_squared


SPEC = MethodSpec(
    key="kolmogorov_smirnov",
    title="Kolmogorov-Smirnov statistic",
    expression=kolmogorov_smirnov,
    inputs=("expected", "observed", "gap"),
    bins=Bins.FINE,
    numeric=True,
    categorical=False,
    scale=Scale.SQUARED,
    unit="difference of probabilities",
    range=(0.0, 1.0),
    symmetric=True,
    ordinal=True,
    extras={"error": error_bound},
    pvalue=pvalue,
    noise=noise,
    reference=(
        "Smirnov, Table for estimating the goodness of fit of empirical distributions, 1948,"
        " https://doi.org/10.1214/aoms/1177730256"
    ),
    agrees_with=(
        "scipy.stats.ks_2samp within the error bound; NannyML 0.13.1 within it and the 2e-4 of NannyML's own 10,000"
        " equal-width bins. Its p-value is `scipy.special.kolmogorov` at max(0, D - error)."
    ),
    formula="max |F - G| over the bins' edges, F and G the cumulative shares",
    error_bound="The rows' own statistic is larger by at most max over bins of min(p, q); never smaller.",
    cost="O(bins).",
    misleads=(
        "It sees shifts of the middle far better than changes in the tails. On discrete columns a bin may hold much of"
        " the mass, and the error bound, hence the p-value, is then large. Rows of production are not independent, so"
        " the p-value calls far too much drift."
    ),
)
