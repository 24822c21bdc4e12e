"""Jensen-Shannon distance, the headline score."""

import numpy as np
import numpy.typing as npt
import polars as pl

from driftmeter.methods.sampling import Sampling
from driftmeter.methods.shares import TINY, shares, where_both_sides
from driftmeter.methods.spec import Bins, MethodSpec, Scale

_LN_2 = 0.6931471805599453

REFERENCE = (
    "Lin, Divergence measures based on the Shannon entropy, 1991, https://doi.org/10.1109/18.61115; that its root is a"
    " metric: Endres and Schindelin, 2003, https://doi.org/10.1109/TIT.2003.813506"
)
FORMULA = "√(½ Σ p·log₂(p / m) + ½ Σ q·log₂(q / m)), m = (p + q) / 2"


def jensen_shannon(expected: pl.Expr, observed: pl.Expr) -> pl.Expr:
    """Square root of the Jensen-Shannon divergence to base 2.

    √(½ Σ p·log₂(p / m) + ½ Σ q·log₂(q / m)) with shares p of `expected`, q of `observed`, and m = (p + q) / 2.

    Args:
        expected: Baseline's counts of one group, uint64 or float64, shape (bins,).
        observed: Window's counts of the same bins, uint64 or float64, shape (bins,).

    Returns:
        One float64 per group in [0, 1], square root of bits. 0: the same shares; 1: no bin in common. Bins empty on
        one side are ordinary, bins empty on both add nothing; nan when either side has no rows.

    Cost: O(bins), two logarithms a bin.

    >>> counts = pl.DataFrame({"expected": [1, 1, 0], "observed": [0, 1, 1]})
    >>> round(counts.select(jensen_shannon(pl.col("expected"), pl.col("observed"))).item(), 6)
    0.707107

    Lin, 1991, https://doi.org/10.1109/18.61115; Endres and Schindelin, 2003, https://doi.org/10.1109/TIT.2003.813506.
    """
    p, q = shares(expected), shares(observed)
    # Rounding can leave the sum a few units of the last place outside [0, 2 ln 2].
    divergence = (_terms(p, q).sum() / (2 * _LN_2)).clip(0.0, 1.0)
    return where_both_sides(divergence.sqrt(), expected, observed)


def _terms(p: pl.Expr, q: pl.Expr) -> pl.Expr:
    """What each bin adds to twice the divergence, nats."""
    return p * ((p + TINY) * 2 / (p + q + 2 * TINY)).log() + q * ((q + TINY) * 2 / (p + q + 2 * TINY)).log()


def noise(sampling: Sampling) -> npt.NDArray[np.float64]:
    """`a`, exact: (bins - 1) / (8 ln 2) and a little more where bins have few rows."""
    return sampling.rows * sampling.expected_sum(lambda sides: _terms(*sides.shares())) / (2 * _LN_2)


SPEC = MethodSpec(
    key="jensen_shannon",
    title="Jensen-Shannon distance",
    expression=jensen_shannon,
    bins=Bins.QUANTILE_32,
    numeric=True,
    categorical=True,
    scale=Scale.SQUARED,
    unit="square root of bits",
    range=(0.0, 1.0),
    symmetric=True,
    ordinal=False,
    noise=noise,
    default_min_effect=0.1,
    reference=REFERENCE,
    agrees_with="scipy.spatial.distance.jensenshannon (base 2) on the same bins, to 1e-9.",
    formula=FORMULA,
    cost="O(bins), two logarithms a bin.",
    misleads=(
        "It saturates: once every row is out of range or in unseen categories it is 1, however far away they are. It"
        " does not see movement inside a bin. Without drift it is not 0 but about the noise floor, which falls as"
        " 1 / √rows."
    ),
)
