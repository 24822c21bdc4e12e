"""Kullback-Leibler divergence."""

import numpy as np
import numpy.typing as npt
import polars as pl

from driftmeter.methods.sampling import Sampling
from driftmeter.methods.shares import shares, where_both_sides
from driftmeter.methods.spec import Bins, MethodSpec, Scale

_PSEUDO_COUNT = 0.5
"""Added to every count, as for the population stability index: an empty bin has a finite logarithm."""


def kullback_leibler(expected: pl.Expr, observed: pl.Expr) -> pl.Expr:
    """Divergence of the window's smoothed shares from the baseline's.

    Σ p·ln(p / q) with p = (expected + ½) / Σ (expected + ½), and q from `observed` likewise.

    Args:
        expected: Baseline's counts of one group, uint64 or float64, shape (bins,).
        observed: Window's counts of the same bins, uint64 or float64, shape (bins,).

    Returns:
        One float64 per group in [0, ∞), nats. Bins empty on one or both sides are smoothed like any other, so which
        bins are listed matters; nan when either side has no rows.

    Cost: O(bins), one logarithm a bin.

    >>> counts = pl.DataFrame({"expected": [1, 3], "observed": [3, 1]})
    >>> round(counts.select(kullback_leibler(pl.col("expected"), pl.col("observed"))).item(), 6)
    0.338919

    Kullback and Leibler, 1951, https://doi.org/10.1214/aoms/1177729694.
    """
    p, q = shares(expected + _PSEUDO_COUNT), shares(observed + _PSEUDO_COUNT)
    # Rounding can leave the sum a few units of the last place below zero.
    return where_both_sides(_terms(p, q).sum().clip(lower_bound=0.0), expected, observed)


def _terms(p: pl.Expr, q: pl.Expr) -> pl.Expr:
    return p * (p / q).log()


def noise(sampling: Sampling) -> npt.NDArray[np.float64]:
    """`a`, exact: about (bins - 1) / 2."""
    return sampling.rows * sampling.expected_sum(lambda sides: _terms(*sides.shares(_PSEUDO_COUNT)))


SPEC = MethodSpec(
    key="kullback_leibler",
    title="Kullback-Leibler divergence",
    expression=kullback_leibler,
    bins=Bins.QUANTILE_32,
    numeric=True,
    categorical=True,
    scale=Scale.LINEAR,
    unit="nats",
    range=(0.0, float("inf")),
    symmetric=False,
    ordinal=False,
    noise=noise,
    reference=(
        "Kullback and Leibler, On information and sufficiency, 1951, https://doi.org/10.1214/aoms/1177729694; the"
        " smoothing: Krichevsky and Trofimov, 1981, https://doi.org/10.1109/TIT.1981.1056331"
    ),
    agrees_with="scipy.stats.entropy(expected + ½, observed + ½), to 1e-9.",
    formula="Σ p·ln(p / q), with ½ added to every count of both sides before shares are taken",
    undefined=(
        "Empty bins are smoothed like any other, so a bin that is empty on both sides still has a (small) weight; nan"
        " when either side has no rows."
    ),
    cost="O(bins), one logarithm a bin.",
    misleads=(
        "It has no upper limit and is ruled by bins that the window lacks: one such bin counts the more, the more rows"
        " the window has. It is not the same in the other direction (here: the baseline against the window, as"
        " Evidently computes it). Without drift it is about (bins - 1) / 2 · (1/n + 1/N), not 0."
    ),
)
