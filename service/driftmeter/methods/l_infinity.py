"""L-infinity distance."""

import polars as pl

from driftmeter.methods.shares import shares, where_both_sides
from driftmeter.methods.spec import Bins, MethodSpec, Scale


def l_infinity(expected: pl.Expr, observed: pl.Expr) -> pl.Expr:
    """Largest difference of the shares of any one category.

    max |p - q| with shares p of `expected` and q of `observed`.

    Args:
        expected: Baseline's counts of one group, uint64 or float64, shape (bins,).
        observed: Window's counts of the same bins, uint64 or float64, shape (bins,).

    Returns:
        One float64 per group in [0, 1], a difference of probabilities. Bins empty on both sides change nothing;
        nan when either side has no rows.

    Cost: O(bins).

    >>> counts = pl.DataFrame({"expected": [2, 1, 1], "observed": [1, 1, 2]})
    >>> counts.select(l_infinity(pl.col("expected"), pl.col("observed"))).item()
    0.25

    Waggoner, 2015, https://doi.org/10.48550/arXiv.1412.2314.
    """
    return where_both_sides((shares(expected) - shares(observed)).abs().max(), expected, observed)


SPEC = MethodSpec(
    key="l_infinity",
    title="L-infinity distance",
    expression=l_infinity,
    bins=Bins.QUANTILE_32,
    numeric=False,
    categorical=True,
    scale=Scale.SQUARED,
    unit="difference of probabilities",
    range=(0.0, 1.0),
    symmetric=True,
    ordinal=False,
    reference=(
        "Waggoner, Lp testing and learning of discrete distributions, 2015, https://doi.org/10.48550/arXiv.1412.2314"
    ),
    agrees_with="NannyML 0.13.1 on its car-loan data, to 1e-9.",
    formula="max |p - q| over categories",
    misleads="It reports the one category that changed most: a small change of all of them together stays invisible.",
)
