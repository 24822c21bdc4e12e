"""Total variation distance."""

import polars as pl

from driftmeter.methods.shares import shares, where_both_sides
from driftmeter.methods.spec import Bins, MethodSpec, Scale


def total_variation(expected: pl.Expr, observed: pl.Expr) -> pl.Expr:
    """Share of rows that would have to change their category to make both sides equal.

    ½ Σ |p - q| with shares p of `expected` and q of `observed`.

    Args:
        expected: Baseline's counts of one group, uint64 or float64, shape (bins,).
        observed: Window's counts of the same bins, uint64 or float64, shape (bins,).

    Returns:
        One float64 per group in [0, 1], a difference of probabilities. Bins empty on both sides change nothing;
        nan when either side has no rows.

    Cost: O(bins).

    >>> counts = pl.DataFrame({"expected": [2, 1, 1], "observed": [1, 1, 2]})
    >>> counts.select(total_variation(pl.col("expected"), pl.col("observed"))).item()
    0.25

    Gibbs and Su, 2002, https://doi.org/10.1111/j.1751-5823.2002.tb00178.x.
    """
    total = (shares(expected) - shares(observed)).abs().sum()
    # Rounding can leave the sum a few units of the last place above 2.
    return where_both_sides((total / 2).clip(0.0, 1.0), expected, observed)


SPEC = MethodSpec(
    key="total_variation",
    title="Total variation distance",
    expression=total_variation,
    bins=Bins.QUANTILE_32,
    numeric=False,
    categorical=True,
    scale=Scale.SQUARED,
    unit="difference of probabilities",
    range=(0.0, 1.0),
    symmetric=True,
    ordinal=False,
    reference=(
        "Gibbs and Su, On choosing and bounding probability metrics, 2002,"
        " https://doi.org/10.1111/j.1751-5823.2002.tb00178.x"
    ),
    agrees_with="The formula in numpy on the same categories, to 1e-9.",
    formula="½ Σ |p - q| over categories",
    misleads=(
        "It adds the noise of all categories: with many rare ones it is far from 0 without drift, so read it beside its"
        " noise floor."
    ),
)
