"""Ratios that are judged like methods: what share of a column's rows lacks a proper value, of all repeats another."""

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
        of_time: True when it is a share of the window's time, in steps of 1/`quality.TIME_STEPS`.
        of_chunks: True when only the baseline's chunks say what is usual: it has no value for the baseline as a whole.
        all_only: Whether nothing but all of the rows is drift.
        both_ways: Whether less of it than usual is drift, too.
        default_min_effect: Smallest effect worth an alarm: how far from the usual ratio, beyond noise, 0 to 1.
    """

    key: str
    title: str
    numeric: bool
    categorical: bool
    of_values: bool
    of_time: bool = False
    of_chunks: bool = False
    all_only: bool = False
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

CONSTANT = RatioSpec(
    key="constant_ratio",
    title="Values that are the commonest one; all of them in a constant column",
    numeric=True,
    categorical=True,
    of_values=True,
    of_chunks=True,
    all_only=True,
    both_ways=False,
    default_min_effect=0.005,
)
FRESHNESS = RatioSpec(
    key="freshness_ratio",
    title="Age of the newest value at the window's end",
    numeric=True,
    categorical=True,
    of_values=False,
    of_time=True,
    of_chunks=True,
    both_ways=False,
    default_min_effect=0.25,
)

RATIOS: Mapping[str, RatioSpec] = MappingProxyType(
    {each.key: each for each in (MISSING, TYPE_MISMATCH, NON_FINITE, OUT_OF_RANGE, UNSEEN, CONSTANT, FRESHNESS)}
)
"""Every ratio of a column by its key, in the order in which they are listed."""

DUPLICATES = RatioSpec(
    key="duplicate_ratio",
    title="Rows that repeat another one",
    numeric=False,
    categorical=False,
    of_values=False,
    of_chunks=True,
    both_ways=False,
    default_min_effect=0.05,
)
INCOMPLETE = RatioSpec(
    key="incomplete_ratio",
    title="Rows whose sender dropped attributes",
    numeric=False,
    categorical=False,
    of_values=False,
    of_chunks=True,
    both_ways=False,
    default_min_effect=0.005,
)

MODEL_RATIOS: Mapping[str, RatioSpec] = MappingProxyType({each.key: each for each in (DUPLICATES, INCOMPLETE)})
"""Every ratio of a model's whole rows by its key: findings on no column, role `model`."""

ROWS = "rows"
"""The `method` of a model's volume, rows per window: a finding on no column, role `model`."""

MODEL_KEYS: tuple[str, ...] = (*MODEL_RATIOS, ROWS)
"""Everything that is judged of a model as a whole."""
