"""Ratios of rows that are judged like methods: what share of a column's rows lacks a proper value."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True, kw_only=True)
class RatioSpec:
    """One ratio.

    Attributes:
        key: Its `method` in findings and configuration.
        title: Name in documentation.
        numeric: Applies to numeric columns.
        categorical: Applies to categorical columns.
        of_values: True when it is a share of the rows with a value, false when of all rows.
        both_ways: Whether less of it than usual is drift, too.
        default_min_effect: Smallest effect worth an alarm: how far from the usual ratio, beyond noise, 0 to 1.
    """

    key: str
    title: str
    numeric: bool
    categorical: bool
    of_values: bool
    both_ways: bool
    default_min_effect: float


MISSING = RatioSpec(
    key="missing_ratio",
    title="Rows without a value",
    numeric=True,
    categorical=True,
    of_values=False,
    both_ways=True,
    default_min_effect=0.005,
)
TYPE_MISMATCH = RatioSpec(
    key="type_mismatch_ratio",
    title="Rows with a value of the wrong type",
    numeric=True,
    categorical=True,
    of_values=False,
    both_ways=False,
    default_min_effect=0.005,
)
NON_FINITE = RatioSpec(
    key="non_finite_ratio",
    title="Rows with NaN or an infinity",
    numeric=True,
    categorical=False,
    of_values=False,
    both_ways=False,
    default_min_effect=0.005,
)
OUT_OF_RANGE = RatioSpec(
    key="out_of_range_ratio",
    title="Values beyond the baseline's smallest and largest",
    numeric=True,
    categorical=False,
    of_values=True,
    both_ways=False,
    default_min_effect=0.01,
)
UNSEEN = RatioSpec(
    key="unseen_ratio",
    title="Values that the baseline never had",
    numeric=False,
    categorical=True,
    of_values=True,
    both_ways=False,
    default_min_effect=0.01,
)

RATIOS: Mapping[str, RatioSpec] = MappingProxyType(
    {each.key: each for each in (MISSING, TYPE_MISMATCH, NON_FINITE, OUT_OF_RANGE, UNSEEN)}
)
"""Every ratio by its key, in the order in which they are listed."""

ROWS = "rows"
"""The `method` of a model's volume, rows per window: a finding on no column, role `model`."""
