"""Bins from reference values."""

import numpy as np
import numpy.typing as npt
import polars as pl

from driftmeter.model.baseline import Cuts
from driftmeter.model.bins import CATEGORIES_MAX, OTHER_NAMES_MAX, CategoryBins, NumericBins

FINE_QUANTILES = 1_024
"""Quantile edges of a continuous column: KS from them is within 1/1,024 of exact."""

DISCRETE_VALUES_MAX = 256
"""Columns of no more distinct values get one bin per value."""

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
    quantiles = np.unique(np.quantile(numbers, np.linspace(0, 1, 33)))
    deciles = np.unique(np.quantile(numbers, np.linspace(0.1, 0.9, 9)))
    few = len(distinct) <= _NANNYML_DISTINCT_MAX and len(distinct) <= _NANNYML_DISTINCT_SHARE_MAX * len(numbers)
    discrete = few or len(distinct) == 1
    doane = distinct if discrete else np.histogram_bin_edges(values, bins="doane").astype(np.float64)
    edges = [quantiles, deciles, doane]
    if len(distinct) <= DISCRETE_VALUES_MAX:
        # The next float after each value ends that value's own bin, so that values between two are told apart.
        edges += [distinct, np.nextafter(distinct[:-1], np.inf)]
    else:
        edges.append(np.quantile(numbers, np.linspace(0, 1, FINE_QUANTILES + 1)))
    union = np.unique(np.concatenate(edges))
    inside = union[(union >= distinct[0]) & (union <= distinct[-1])]
    return NumericBins(inside), Cuts(quantiles, deciles, doane, discrete)


def category_bins(values: pl.Series) -> CategoryBins:
    """Bins of reference strings (nulls left out): most frequent first, ties by name."""
    counts = values.drop_nulls().value_counts(name="rows").sort(["rows", values.name], descending=[True, False])
    names = counts[values.name].to_list()
    rare = names[CATEGORIES_MAX:]
    return CategoryBins(tuple(names[:CATEGORIES_MAX]), tuple(rare[:OTHER_NAMES_MAX]), len(rare) > OTHER_NAMES_MAX)
