"""Chi-square statistic of two samples."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.special import chdtrc

from driftmeter.methods.sampling import Sampling, Sides
from driftmeter.methods.shares import TINY, where_both_sides
from driftmeter.methods.spec import Bins, MethodSpec, Scale

_YATES = 0.5
"""Yates' correction for one degree of freedom: each difference is brought closer to zero by this many rows."""


def chi_square(expected: pl.Expr, observed: pl.Expr) -> pl.Expr:
    """Pearson's statistic of the table, 2 by bins, of both sides' counts.

    Σ (count - mean count)² / mean count over both sides and all bins that are not empty on both, mean count = side's
    rows · bin's rows / all rows; with Yates' correction when exactly two bins are left.

    Args:
        expected: Baseline's counts of one group, uint64 or float64, shape (bins,).
        observed: Window's counts of the same bins, uint64 or float64, shape (bins,).

    Returns:
        One float64 per group in [0, ∞), no unit; without drift about `degrees_of_freedom`, with drift it grows with
        the rows. Bins empty on both sides are left out; 0 when one bin is left; nan when either side has no rows.

    Cost: O(bins).

    >>> counts = pl.DataFrame({"expected": [10, 10, 20], "observed": [20, 20, 20]})
    >>> round(counts.select(chi_square(pl.col("expected"), pl.col("observed"))).item(), 6)
    2.777778

    Pearson, 1900, https://doi.org/10.1080/14786440009463897; Yates, 1934, https://doi.org/10.2307/2983604.
    """
    # As floats before any product: counts of 2^32 rows would overflow 64 bits, and differences may be negative.
    e, o = expected.cast(pl.Float64), observed.cast(pl.Float64)
    rows_e, rows_o = e.sum(), o.sum()
    total = _terms(e, o, rows_e, rows_o, (expected + observed > 0).sum()).sum()
    rows = rows_e + rows_o
    return where_both_sides(total * (rows / rows_e) * (rows / rows_o), expected, observed)


def _terms(e: pl.Expr, o: pl.Expr, rows_e: pl.Expr, rows_o: pl.Expr, filled: pl.Expr) -> pl.Expr:
    """What each bin adds, but for a factor, where so many bins are not empty on both sides."""
    # count - mean count, equal but for its sign on both sides; written so that equal proportions give exactly 0.
    excess = ((e * rows_o - o * rows_e) / (rows_e + rows_o)).abs()
    correction = pl.when(filled == 2).then(_YATES).otherwise(0.0)  # noqa: PLR2004
    return (excess - correction).clip(lower_bound=0.0).pow(2) / (e + o + TINY)


def noise(sampling: Sampling) -> npt.NDArray[np.float64]:
    """`a`, exact: about `degrees_of_freedom`, less where Yates' correction is made."""

    def terms(sides: Sides) -> pl.Expr:
        return _terms(sides.expected, sides.observed, sides.rows_expected, sides.rows_observed, sides.filled)

    rows = sampling.totals + sampling.rows
    return sampling.expected_sum(terms) * (rows / sampling.totals) * (rows / sampling.rows)


def degrees_of_freedom(expected: pl.Expr, observed: pl.Expr) -> pl.Expr:
    """Bins that are not empty on both sides, less one: one float64 per group; nan when either side has no rows.

    >>> counts = pl.DataFrame({"expected": [10, 0, 20], "observed": [20, 0, 0]})
    >>> counts.select(degrees_of_freedom(pl.col("expected"), pl.col("observed"))).item()
    1.0
    """
    return where_both_sides((expected + observed > 0).sum().cast(pl.Float64) - 1.0, expected, observed)


def pvalue(groups: Mapping[str, npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
    """Upper tail of the chi-square distribution at the statistic.

    Args:
        groups: `value` and `dof`, each float64 of shape (groups,).

    Returns:
        Float64 of shape (groups,) in [0, 1]; 1 where no degree of freedom is left, nan where the value is nan.
    """
    value, dof = groups["value"], groups["dof"]
    tail = np.asarray(chdtrc(np.maximum(dof, 1.0), value), dtype=np.float64)
    return np.where(dof == 0.0, 1.0, tail)


SPEC = MethodSpec(
    key="chi_square",
    title="Chi-square statistic",
    expression=chi_square,
    bins=Bins.QUANTILE_32,
    numeric=True,
    categorical=True,
    scale=Scale.PER_ROW,
    unit="none",
    range=(0.0, float("inf")),
    symmetric=True,
    ordinal=False,
    extras={"dof": degrees_of_freedom},
    pvalue=pvalue,
    noise=noise,
    reference=(
        "Pearson, On the criterion that a given system of deviations..., 1900,"
        " https://doi.org/10.1080/14786440009463897; Yates, Contingency tables involving small numbers and the χ² test,"
        " 1934, https://doi.org/10.2307/2983604"
    ),
    agrees_with=(
        "scipy.stats.chi2_contingency and NannyML 0.13.1 to a relative 1e-9, as long as at most one category is unseen"
        " (NannyML counts each unseen category by itself, here they are one)."
    ),
    formula="Σ over both sides and all bins of (count - mean count)² / mean count; Yates' correction for two bins",
    undefined=(
        "Bins empty on both sides are left out; 0 (p = 1) when one bin is left; nan when either side has no rows."
    ),
    misleads=(
        "It grows with the rows: any difference, however small, becomes significant. Rows of production are not"
        " independent, so its p-value calls most days drifted on data without drift. Bins with a handful of rows make"
        " the p-value inexact; nothing is pooled."
    ),
)
