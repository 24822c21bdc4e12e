"""Population stability index."""

import numpy as np
import numpy.typing as npt
import polars as pl

from driftmeter.methods.sampling import Sampling
from driftmeter.methods.shares import shares, where_both_sides
from driftmeter.methods.spec import Bins, MethodSpec, Scale

_PSEUDO_COUNT = 0.5
"""Added to every count, so that an empty bin has a finite logarithm whose size the rows decide. Replacing zero
shares by the smallest float64 instead gives 81, 11 and 1.1 for 100, 1,000 and 100,000 rows of N(0, 1) and N(1, 1),
whose index is 1, on ten equal-width bins of both; with one half it is 1.00, 0.97 and 0.93. One half is
Jeffreys' prior: Krichevsky and Trofimov, 1981, https://doi.org/10.1109/TIT.1981.1056331."""

REFERENCE = (
    "Jeffreys, An invariant form for the prior probability in estimation problems, 1946,"
    " https://doi.org/10.1098/rspa.1946.0056; as an index of stability: Yurdakul and Naranjo, Statistical properties of"
    " the population stability index, 2020, https://doi.org/10.21314/JRMV.2020.227"
)


def population_stability_index(expected: pl.Expr, observed: pl.Expr) -> pl.Expr:
    """Symmetrised Kullback-Leibler divergence of smoothed shares.

    Σ (p - q)·ln(p / q) with p = (expected + ½) / Σ (expected + ½), and q from `observed` likewise.

    Args:
        expected: Baseline's counts of one group, uint64 or float64, shape (bins,).
        observed: Window's counts of the same bins, uint64 or float64, shape (bins,).

    Returns:
        One float64 per group in [0, ∞), nats. Bins empty on one or both sides are smoothed like any other, so which
        bins are listed matters; nan when either side has no rows.

    Cost: O(bins), one logarithm a bin.

    >>> counts = pl.DataFrame({"expected": [1, 3], "observed": [3, 1]})
    >>> round(counts.select(population_stability_index(pl.col("expected"), pl.col("observed"))).item(), 6)
    0.677838

    Jeffreys, 1946, https://doi.org/10.1098/rspa.1946.0056; Yurdakul and Naranjo, 2020,
    https://doi.org/10.21314/JRMV.2020.227.
    """
    p, q = shares(expected + _PSEUDO_COUNT), shares(observed + _PSEUDO_COUNT)
    return where_both_sides(_terms(p, q).sum(), expected, observed)


def _terms(p: pl.Expr, q: pl.Expr) -> pl.Expr:
    return (p - q) * (p / q).log()


def noise(sampling: Sampling) -> npt.NDArray[np.float64]:
    """`a`, exact: about bins - 1."""
    return sampling.rows * sampling.expected_sum(lambda sides: _terms(*sides.shares(_PSEUDO_COUNT)))


SPEC = MethodSpec(
    key="population_stability_index",
    title="Population stability index",
    expression=population_stability_index,
    bins=Bins.DECILE,
    numeric=True,
    categorical=True,
    scale=Scale.LINEAR,
    unit="nats",
    range=(0.0, float("inf")),
    symmetric=True,
    ordinal=False,
    noise=noise,
    reference=REFERENCE,
    agrees_with="Cases by hand; the divergence of two normal distributions on deciles, within the smoothing.",
    formula="Σ (p - q)·ln(p / q), with ½ added to every count of both sides before shares are taken",
    undefined=(
        "Empty bins are smoothed like any other, so a bin that is empty on both sides still has a (small) weight; nan"
        " when either side has no rows."
    ),
    cost="O(bins), one logarithm a bin.",
    misleads=(
        "The customary limits 0.1 and 0.25 ignore the rows: without drift it is about (bins - 1)·(1/n + 1/N), which for"
        " 100 rows and ten bins is already 0.09. Numbers of other tools differ by how they treat empty bins. The"
        " smoothing pulls windows of few rows towards equal shares."
    ),
)
