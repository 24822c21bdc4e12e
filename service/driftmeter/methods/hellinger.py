"""Hellinger distance."""

import numpy as np
import numpy.typing as npt
import polars as pl

from driftmeter.methods.sampling import Sampling
from driftmeter.methods.shares import shares, where_both_sides
from driftmeter.methods.spec import Bins, MethodSpec, Scale

REFERENCE = (
    "Hellinger, Neue Begründung der Theorie quadratischer Formen von unendlichvielen Veränderlichen, 1909,"
    " https://doi.org/10.1515/crll.1909.136.210"
)
FORMULA = "√(½ Σ (√p - √q)²)"


def hellinger(expected: pl.Expr, observed: pl.Expr) -> pl.Expr:
    """Euclidean distance of the roots of the shares, scaled to 1.

    √(½ Σ (√p - √q)²) with shares p of `expected` and q of `observed`.

    Args:
        expected: Baseline's counts of one group, uint64 or float64, shape (bins,).
        observed: Window's counts of the same bins, uint64 or float64, shape (bins,).

    Returns:
        One float64 per group in [0, 1], no unit. 0: the same shares; 1: no bin in common. Bins empty on both sides add
        nothing; nan when either side has no rows.

    Cost: O(bins), two roots a bin.

    >>> counts = pl.DataFrame({"expected": [1, 1, 0], "observed": [0, 1, 1]})
    >>> round(counts.select(hellinger(pl.col("expected"), pl.col("observed"))).item(), 6)
    0.707107

    Hellinger, 1909, https://doi.org/10.1515/crll.1909.136.210.
    """
    total = _terms(shares(expected), shares(observed)).sum()
    # Rounding can leave the sum a few units of the last place above 2.
    return where_both_sides((total / 2).clip(0.0, 1.0).sqrt(), expected, observed)


def _terms(p: pl.Expr, q: pl.Expr) -> pl.Expr:
    """What each bin adds to twice the square of the distance."""
    return (p.sqrt() - q.sqrt()).pow(2)


def noise(sampling: Sampling) -> npt.NDArray[np.float64]:
    """`a`, exact: (bins - 1) / 8 and a little more where bins have few rows."""
    return sampling.rows * sampling.expected_sum(lambda sides: _terms(*sides.shares())) / 2


SPEC = MethodSpec(
    key="hellinger",
    title="Hellinger distance",
    expression=hellinger,
    bins=Bins.QUANTILE_32,
    numeric=True,
    categorical=True,
    scale=Scale.SQUARED,
    unit="none",
    range=(0.0, 1.0),
    symmetric=True,
    ordinal=False,
    noise=noise,
    reference=REFERENCE,
    agrees_with="The formula in numpy on the same bins, to 1e-9.",
    formula=FORMULA,
    cost="O(bins), two roots a bin.",
    misleads=(
        "It gives rare bins more weight than Jensen-Shannon does, so a few rows in unseen categories move it. It"
        " saturates at 1 once no bin is shared, and does not see movement inside a bin."
    ),
)
