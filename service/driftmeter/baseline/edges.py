"""Bins from reference values."""

import math

import numpy as np
import numpy.typing as npt
import polars as pl

from driftmeter.model.baseline import Cuts, Floats
from driftmeter.model.bins import CATEGORIES_MAX, OTHER_NAMES_MAX, CategoryBins, NumericBins

FINE_QUANTILES = 1_024
"""Quantile edges of a continuous column: KS from them is within 1/1,024 of exact."""

QUANTILE_BINS = 32
"""Reference quantile bins of the headline score."""

DISCRETE_VALUES_MAX = 256
"""Columns of no more distinct values get one bin per value."""

_DECILES = 10
_NANNYML_DISTINCT_MAX = 50
_NANNYML_DISTINCT_SHARE_MAX = 0.1


def numeric_bins(values: npt.NDArray[np.generic]) -> tuple[NumericBins, Cuts]:
    """Fine bins and coarser cuts of reference values.

    Args:
        values: Finite numbers (n,), n >= 1, in the reference's own dtype: numpy's `doane` rule treats integers in
            its own way.
    """
    numbers = np.sort(values.astype(np.float64))
    distinct = np.unique(numbers)
    starts = _quantile_starts(numbers, distinct)
    deciles = _decile_cuts(numbers, distinct)
    few = len(distinct) <= _NANNYML_DISTINCT_MAX and len(distinct) <= _NANNYML_DISTINCT_SHARE_MAX * len(numbers)
    discrete = few or len(distinct) == 1
    doane = distinct if discrete else _doane(values)
    edges = [starts, distinct[-1:], deciles, doane]
    if len(distinct) <= DISCRETE_VALUES_MAX:
        # The next float after each value ends that value's own bin, so that values between two are told apart.
        edges += [distinct, np.nextafter(distinct[:-1], np.inf)]
    else:
        edges.append(_quantiles(numbers, np.linspace(0, 1, FINE_QUANTILES + 1)))
    union = np.unique(np.concatenate(edges))
    inside = union[(union >= distinct[0]) & (union <= distinct[-1])]
    return NumericBins(inside), Cuts(starts, deciles, doane, discrete)


def _quantile_starts(numbers: Floats, distinct: Floats) -> Floats:
    """Left ends of the reference's quantile bins; the last bin ends with the largest number.

    Columns of few distinct values get a bin for each, and a largest number that is as frequent as a whole bin gets one
    of its own: merged with its neighbours it would hide, say, all change of a column of zeros and ones.
    """
    if len(distinct) <= QUANTILE_BINS:
        return distinct
    quantiles = _quantiles(numbers, np.linspace(0, 1, QUANTILE_BINS + 1))
    at_the_end = np.count_nonzero(numbers == numbers[-1])
    return quantiles if at_the_end * QUANTILE_BINS >= len(numbers) else quantiles[:-1]


def _decile_cuts(numbers: Floats, distinct: Floats) -> Floats:
    """Inner deciles; few distinct values are told apart, and a constant from both what is below and above it."""
    if len(distinct) == 1:
        with np.errstate(over="ignore"):  # Behind the largest number there is infinity.
            return np.array([distinct[0], np.nextafter(distinct[0], np.inf)])
    return distinct[1:] if len(distinct) <= _DECILES else _quantiles(numbers, np.linspace(0.1, 0.9, 9))


def _quantiles(numbers: Floats, shares: Floats) -> Floats:
    """Distinct quantiles of sorted numbers, none beyond the smallest or the largest of them."""
    # A range that overflows is halved first: its ends are so large that halving them is exact.
    scale = 1.0 if math.isfinite(float(numbers[-1]) - float(numbers[0])) else 0.5
    quantiles = np.quantile(numbers * scale, shares) / scale
    return np.asarray(np.unique(np.clip(quantiles, numbers[0], numbers[-1])))


def _doane(values: npt.NDArray[np.generic]) -> Floats:
    """Edges by numpy's `doane` rule; one bin over the whole range where numpy finds none."""
    with np.errstate(all="ignore"):
        try:
            edges: Floats = np.histogram_bin_edges(values, bins="doane").astype(np.float64)
        except (ValueError, OverflowError):  # Values too close to each other, or too large for their third power.
            edges = np.empty(0)
    usable = len(edges) > 1 and bool(np.isfinite(edges).all() and (np.diff(edges) > 0).all())
    return edges if usable else np.array([values.min(), values.max()], np.float64)


def category_bins(values: pl.Series) -> CategoryBins:
    """Bins of reference strings (nulls left out): most frequent first, ties by name."""
    counts = values.drop_nulls().value_counts(name="rows").sort(["rows", values.name], descending=[True, False])
    names = counts[values.name].to_list()
    rare = names[CATEGORIES_MAX:]
    return CategoryBins(tuple(names[:CATEGORIES_MAX]), tuple(rare[:OTHER_NAMES_MAX]), len(rare) > OTHER_NAMES_MAX)
