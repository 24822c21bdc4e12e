"""Population stability index with Azure Machine Learning's treatment of empty bins."""

import numpy as np
import numpy.typing as npt
import polars as pl

from driftmeter.methods.population_stability_index import REFERENCE
from driftmeter.methods.sampling import Sampling, Sides
from driftmeter.methods.shares import where_both_sides
from driftmeter.methods.spec import Bins, MethodSpec, Scale


def population_stability_index_azure(expected: pl.Expr, observed: pl.Expr) -> pl.Expr:
    """Symmetrised Kullback-Leibler divergence of counts, each raised by one, over the rows.

    Σ (q - p)·ln(q / p) with p = (expected + 1) / Σ expected, and q from `observed` likewise: the ones are not in the
    divisor, so neither adds up to 1.

    Args:
        expected: Baseline's counts of one group, uint64 or float64, shape (bins,).
        observed: Window's counts of the same bins, uint64 or float64, shape (bins,).

    Returns:
        One float64 per group in [0, ∞), nats. Bins empty on one or both sides are smoothed like any other, so which
        bins are listed matters; nan when either side has no rows.

    Cost: O(bins), one logarithm a bin.

    >>> counts = pl.DataFrame({"expected": [1, 3], "observed": [0, 4]})
    >>> psi = counts.select(population_stability_index_azure(pl.col("expected"), pl.col("observed")))
    >>> round(psi.item(), 6)  # (1/4 - 2/4)·ln(1/2) + (5/4 - 4/4)·ln(5/4)
    0.229073

    Jeffreys, 1946, https://doi.org/10.1098/rspa.1946.0056; Yurdakul and Naranjo, 2020,
    https://doi.org/10.21314/JRMV.2020.227.
    """
    total = _terms((expected + 1) / expected.sum(), (observed + 1) / observed.sum()).sum()
    return where_both_sides(total, expected, observed)


def _terms(p: pl.Expr, q: pl.Expr) -> pl.Expr:
    return (q - p) * (q / p).log()


def noise(sampling: Sampling) -> npt.NDArray[np.float64]:
    """`a`, exact."""

    def terms(sides: Sides) -> pl.Expr:
        return _terms((sides.expected + 1) / sides.rows_expected, (sides.observed + 1) / sides.rows_observed)

    return sampling.rows * sampling.expected_sum(terms)


SPEC = MethodSpec(
    key="population_stability_index_azure",
    title="Population stability index, Azure Machine Learning's convention",
    expression=population_stability_index_azure,
    bins=Bins.STURGES,
    numeric=True,
    categorical=True,
    scale=Scale.LINEAR,
    unit="nats",
    range=(0.0, float("inf")),
    symmetric=True,
    ordinal=False,
    noise=noise,
    reference=f"{REFERENCE}; bins: Sturges, The choice of a class interval, 1926, "
    "https://doi.org/10.1080/01621459.1926.10502161",
    agrees_with=(
        "The formula of Azure Machine Learning's model monitoring, to 1e-9, where the bins are the same: Azure makes"
        " Sturges' bins anew over the range of both sides, as many as the smaller side's rows give. Unseen categories"
        " are one bin here."
    ),
    formula="Σ (q - p)·ln(q / p), p = (count + 1) / rows of the baseline, q of the window likewise",
    undefined=(
        "Empty bins are smoothed like any other, so a bin that is empty on both sides still has a (small) weight; nan"
        " when either side has no rows."
    ),
    cost="O(bins), one logarithm a bin.",
    misleads=(
        "The ones weigh more in the smaller side, and shares do not add up to 1: windows of few rows are far from 0"
        " without drift. Equal-width bins go blind on heavy tails, and what is out of range is in the outermost bins."
    ),
)
