"""What a drift method declares about itself: the one source for documentation, validation, tests and exports."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import polars as pl

from driftmeter.methods.sampling import Sampling

Expression = Callable[..., pl.Expr]
"""Columns of one group's bins in, one float64 per group out."""

PValue = Callable[[Mapping[str, npt.NDArray[np.float64]]], npt.NDArray[np.float64]]
"""Arrays of equal shape (groups,) by name in, p-values of that shape out."""


Noise = Callable[[Sampling], npt.NDArray[np.float64]]
"""Windows drawn from c columns in, `a` of each out, float64 (c,)."""


class Bins(StrEnum):
    """Which grouping of a numeric column's fine bins a method reads.

    Categorical columns have one grouping, whatever this says: the categories, `other`, `unseen`.
    """

    QUANTILE_32 = "quantile_32"
    """Below the reference's range, 32 quantile bins [qᵢ, qᵢ₊₁) of the reference, above its range. Columns of at most 32
    distinct values have a bin for each; a maximum that makes up at least 1/32 of the rows has a bin of its own."""

    DECILE = "decile"
    """Ten reference deciles; the first and the last are open-ended, so nothing is out of range. Columns of at most 10
    distinct values are cut at each."""

    DOANE = "doane"
    """numpy's `doane` histogram of the reference, the last bin closed, and one bin for everything outside. Columns of
    at most 50 distinct values that make up at most 10 % of the rows have one bin per value instead."""

    STURGES = "sturges"
    """numpy's `sturges` histogram of the reference, equal widths; the first and the last bin are open-ended. A column
    whose reference fills at most 20 of the fine bins has one bin for each of these, and one for everything else: so
    each value of a column of at most 20 distinct values is one bin."""

    FINE = "fine"
    """All fine bins in the order of their edges, the one below the reference's range first, the one above it last."""


class Scale(StrEnum):
    """How a method's number `d` becomes the statistic `Q` on which sampling noise adds."""

    SQUARED = "squared"
    """Q = d²."""

    LINEAR = "linear"
    """Q = d."""

    PER_ROW = "per_row"
    """Q = d / rows observed."""


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class MethodSpec:
    """One drift method.

    `expression` and every function in `extras` take the columns named by `inputs`, in that order, each a `pl.Expr` of
    one group's bins, shape (bins,), in bin order: `expected` and `observed` are counts (uint64 or float64); `left` and
    `right` are a bin's edges in feature units (float64, bins are [left, right)); `tail` is, per bin, the sum over the
    observed values beyond the reference's range of their distance to it, less what as many expected rows have there
    (float64, feature units, zero inside);
    `gap` and `gap_before` are F - G at a bin's right and left edge, F being the share of the expected rows up to there
    and G of the observed ones, and `pooled` is that share of the rows of both together at the right edge (float64, nan
    where a side has no rows); `spread` is the standard deviation of the baseline's values (float64, feature units, the
    same in every bin). All but the counts are there for `Bins.FINE` alone. They return one float64 per group under
    `group_by(...).agg` or `select`: nan where a side has no rows.

    Attributes:
        key: Name in configuration, labels and findings.
        title: Name in documentation.
        expression: The method.
        inputs: Names of the columns passed to `expression` and `extras`, in order.
        bins: Which grouping it reads for numeric columns; without meaning when `numeric` is false.
        numeric: Applies to numeric columns.
        categorical: Applies to categorical columns.
        scale: How its number becomes the statistic on which noise adds. `PER_ROW` numbers grow with the rows, the
            others estimate a distance that does not depend on them.
        unit: Unit of the number, for people.
        range: Smallest and largest value; the largest may be infinite.
        symmetric: Exchanging `expected` and `observed` gives the same number.
        ordinal: Depends on the order of the bins.
        extras: Further aggregates by name, such as `error` (bound on the number's distance from the one computed from
            the rows) or `dof` (degrees of freedom).
        pvalue: P-values from arrays named `value`, `rows_expected`, `rows_observed` and as in `extras`; None where the
            method has no null distribution of its own.
        noise: What sampling alone adds: `a` of E[Q] = a (1/n + 1/N), which is n E[Q] of windows of n rows drawn from
            the expected counts; nan where the method gives nan. None where nothing quicker is known than to score
            draws.
        default_min_effect: Smallest effect worth an alarm, in the method's unit; None where users must choose it.
        reference: The paper, with DOI.
        agrees_with: Whose published numbers it reproduces, and how closely.
        formula: The formula, p and q being the shares of expected and observed rows by bin.
        error_bound: How far the number can be from the one computed from the rows themselves.
        undefined: What zeros and empty sides give.
        cost: What one group costs.
        misleads: When not to believe it.
    """

    key: str
    title: str
    expression: Expression
    inputs: tuple[str, ...] = ("expected", "observed")
    bins: Bins
    numeric: bool
    categorical: bool
    scale: Scale
    unit: str
    range: tuple[float, float]
    symmetric: bool
    ordinal: bool
    extras: Mapping[str, Expression] = field(default_factory=lambda: MappingProxyType({}))
    pvalue: PValue | None = None
    noise: Noise | None = None
    default_min_effect: float | None = None
    reference: str
    agrees_with: str
    formula: str
    error_bound: str = "None: exact on its bins."
    undefined: str = "A bin that is empty on both sides adds nothing; nan when either side has no rows."
    cost: str = "O(bins)."
    misleads: str
