"""Population stability index with Evidently's treatment of empty bins."""

import numpy as np
import numpy.typing as npt
import polars as pl

from driftmeter.methods.population_stability_index import REFERENCE
from driftmeter.methods.sampling import Sampling, Sides
from driftmeter.methods.shares import TINY, shares, where_both_sides
from driftmeter.methods.spec import Bins, MethodSpec, Scale

_FILL = 1e-4
"""What Evidently puts in the place of an empty share, unless a share of that side is as small itself."""

_FILL_BELOW_SMALLEST = 1e-6
"""Then the fill is so many times the smallest share."""

_MANY = 1e300
"""More rows than any bin has."""


def population_stability_index_evidently(expected: pl.Expr, observed: pl.Expr) -> pl.Expr:
    """Symmetrised Kullback-Leibler divergence of shares, empty ones replaced by a small number.

    Σ (p - q)·ln(p / q) over bins that are not empty on both sides. A share of 0 is replaced by 0.0001, or by a
    millionth of the same side's smallest share above 0 where that one is at most 0.0001.

    Args:
        expected: Baseline's counts of one group, uint64 or float64, shape (bins,).
        observed: Window's counts of the same bins, uint64 or float64, shape (bins,).

    Returns:
        One float64 per group in [0, ∞), nats. Bins empty on both sides add nothing; nan when either side has no rows.

    Cost: O(bins), one logarithm a bin.

    >>> counts = pl.DataFrame({"expected": [1, 3], "observed": [0, 4]})
    >>> psi = counts.select(population_stability_index_evidently(pl.col("expected"), pl.col("observed")))
    >>> round(psi.item(), 6)  # (1/4 - 1/10⁴)·ln(2500) + (3/4 - 1)·ln(3/4)
    2.02715

    Jeffreys, 1946, https://doi.org/10.1098/rspa.1946.0056; Yurdakul and Naranjo, 2020,
    https://doi.org/10.21314/JRMV.2020.227.
    """
    p, q = _filled(expected), _filled(observed)
    return where_both_sides((_terms(p, q) * (expected + observed > 0)).sum(), expected, observed)


def _filled(counts: pl.Expr) -> pl.Expr:
    """Shares of one group without zeros; they need not add up to 1 any more."""
    # A condition as a number: branching over bins costs several times as much.
    empty = (counts == 0).cast(pl.Float64)
    smallest = (counts + empty * _MANY).min() / counts.sum()
    fill = pl.when(smallest <= _FILL).then(smallest * _FILL_BELOW_SMALLEST).otherwise(_FILL)
    return shares(counts) + empty * fill


def _terms(p: pl.Expr, q: pl.Expr) -> pl.Expr:
    return (p - q) * (p / q).log()


def noise(sampling: Sampling) -> npt.NDArray[np.float64]:
    """`a`, exact.

    Raises:
        ValueError: A window has so many rows that a share of one row is no larger than the fill, which then depends on
            the smallest of its shares.
    """
    if sampling.rows * _FILL >= 1:
        raise ValueError(f"{sampling.rows} rows: the noise is known of windows of less than {1 / _FILL:g} rows")

    def terms(sides: Sides) -> pl.Expr:
        p, q = sides.shares()
        # A bin that is empty in the baseline is empty in all that is drawn from it, and adds nothing.
        return _terms(p + TINY, q + (sides.observed == 0).cast(pl.Float64) * _FILL) * (sides.expected > 0)

    return sampling.rows * sampling.expected_sum(terms)


SPEC = MethodSpec(
    key="population_stability_index_evidently",
    title="Population stability index, Evidently's convention",
    expression=population_stability_index_evidently,
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
        "Evidently's formula, to 1e-9, where the bins are the same: Evidently makes Sturges' bins anew from the rows of"
        " both sides, which gives these ones when the window lies in the baseline's range and log₂ of both sides' rows"
        " rounds up to the same number as that of the baseline's. Unseen categories are one bin here."
    ),
    formula=(
        "Σ (p - q)·ln(p / q); a share of 0 is replaced by 0.0001, or by a millionth of its side's smallest share above"
        " 0 if that is at most 0.0001"
    ),
    cost="O(bins), one logarithm a bin.",
    misleads=(
        "It depends on the rows and on the number of bins as much as on drift: one row of 1,000 in a bin that the other"
        " side lacks adds 0.002, and 0.018 as soon as that side has some other bin with one row of 100,000, because the"
        " fill then falls to a millionth of it. Equal-width bins go blind on heavy tails, and what is out of range is"
        " in the outermost bins."
    ),
)
