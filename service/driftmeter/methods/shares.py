"""Counts to shares, and what every method does about emptiness."""

import polars as pl

TINY = 1e-300
"""Far below any share or count, far above the smallest float64: added to a divisor or a logarithm's argument it turns
0 / 0 into 0 and 0 · ln 0 into 0 and changes nothing else. Branching on zero instead costs several times as much."""


def shares(counts: pl.Expr) -> pl.Expr:
    """Each bin's share of its group's rows: float64, shape (bins,); nan when the group has no rows.

    Equal counts give equal shares to the last bit; counts in the same proportion differ by rounding, about 1e-16.
    """
    return counts / counts.sum()


def where_both_sides(value: pl.Expr, expected: pl.Expr, observed: pl.Expr) -> pl.Expr:
    """One number per group: `value` where both sides have rows, else nan."""
    return pl.when((expected.sum() > 0) & (observed.sum() > 0)).then(value).otherwise(float("nan"))
