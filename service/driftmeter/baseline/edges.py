"""Bins from reference values."""

import math

import numpy as np
import numpy.typing as npt
import polars as pl

from driftmeter.methods.groupings import STURGES_DISTINCT_MAX, sturges_edges
from driftmeter.model.baseline import Cuts, Floats
from driftmeter.model.bins import CATEGORIES_MAX, OTHER_NAMES_MAX, CategoryBins, NumericBins
from driftmeter.model.compiled import frozen, jit

FINE_QUANTILES = 1_024
"""Quantile edges of a continuous column: KS from them is within 1/1,024 of exact."""

QUANTILE_BINS = 32
"""Reference quantile bins of the headline score."""

DISCRETE_VALUES_MAX = 256
"""Columns of no more distinct values get one bin per value."""

_DECILES = 10
_NANNYML_DISTINCT_MAX = 50
_NANNYML_DISTINCT_SHARE_MAX = 0.1
_REMEMBERED = slice(CATEGORIES_MAX, CATEGORIES_MAX + OTHER_NAMES_MAX)
_BLOCK = 4_096  # Numbers whose sum is taken before it is added to the rest.


def numeric_bins(values: npt.NDArray[np.generic]) -> tuple[NumericBins, Cuts]:
    """Fine bins and coarser cuts of reference values.

    Args:
        values: Finite numbers (n,), n >= 1, in the reference's own dtype: numpy's `doane` rule treats integers in
            its own way.
    """
    return bins_of_sorted(np.sort(values.astype(np.float64)), integer=np.issubdtype(values.dtype, np.integer))


def bins_of_sorted(numbers: Floats, *, integer: bool) -> tuple[NumericBins, Cuts]:
    """Fine bins and coarser cuts of reference values, without copying them.

    Args:
        numbers: Finite numbers (n,), n >= 1, ascending.
        integer: Whether the reference holds them as integers.
    """
    steps = count_steps(frozen(numbers))
    distinct = (
        numbers[np.append(0, 1 + np.flatnonzero(numbers[1:] != numbers[:-1]))] if steps < DISCRETE_VALUES_MAX else None
    )
    ends = numbers[[0, -1]]
    starts = _quantile_starts(numbers, distinct)
    deciles = _decile_cuts(numbers, distinct)
    few = distinct is not None and len(distinct) <= min(
        _NANNYML_DISTINCT_MAX, _NANNYML_DISTINCT_SHARE_MAX * len(numbers)
    )
    discrete = few or steps == 0
    doane = distinct if discrete and distinct is not None else doane_edges(numbers, integer=integer)
    edges = [starts, ends[1:], deciles, doane]
    if distinct is not None:
        # The next float after each value ends that value's own bin, so that values between two are told apart.
        edges += [distinct, np.nextafter(distinct[:-1], np.inf)]
    else:
        edges.append(_quantiles(numbers, np.linspace(0, 1, FINE_QUANTILES + 1)))
    if distinct is None or len(distinct) > STURGES_DISTINCT_MAX:
        edges.append(sturges_edges(float(numbers[0]), float(numbers[-1]), len(numbers)))
    union = np.unique(np.concatenate(edges))
    inside = union[(union >= ends[0]) & (union <= ends[1])]
    return NumericBins(inside), Cuts(starts, deciles, doane, discrete)


def _quantile_starts(numbers: Floats, distinct: Floats | None) -> Floats:
    """Left ends of the reference's quantile bins; the last bin ends with the largest number.

    Columns of few distinct values get a bin for each, and a largest number that is as frequent as a whole bin gets one
    of its own: merged with its neighbours it would hide, say, all change of a column of zeros and ones.
    """
    if distinct is not None and len(distinct) <= QUANTILE_BINS:
        return distinct
    quantiles = _quantiles(numbers, np.linspace(0, 1, QUANTILE_BINS + 1))
    at_the_end = len(numbers) - int(np.searchsorted(numbers, numbers[-1]))
    return quantiles if at_the_end * QUANTILE_BINS >= len(numbers) else quantiles[:-1]


def _decile_cuts(numbers: Floats, distinct: Floats | None) -> Floats:
    """Inner deciles; few distinct values are told apart, and a constant from both what is below and above it."""
    if distinct is not None and len(distinct) == 1:
        with np.errstate(over="ignore"):  # Behind the largest number there is infinity.
            return np.array([distinct[0], np.nextafter(distinct[0], np.inf)])
    if distinct is not None and len(distinct) <= _DECILES:
        return distinct[1:]
    return _quantiles(numbers, np.linspace(0.1, 0.9, 9))


def _quantiles(numbers: Floats, shares: Floats) -> Floats:
    """Distinct quantiles of sorted numbers, none beyond the smallest or the largest of them.

    Those that `numpy.quantile` gives, bit for bit, from the two numbers that each lies between alone.
    """
    places = (len(numbers) - 1) * shares
    left = np.floor(places)
    weight = places - left
    low = numbers[left.astype(np.int64)]
    high = numbers[np.minimum(left + 1, len(numbers) - 1).astype(np.int64)]
    # A range that overflows is halved first: its ends are so large that halving them is exact.
    scale = 1.0 if math.isfinite(float(numbers[-1]) - float(numbers[0])) else 0.5
    low, high = low * scale, high * scale
    step = high - low
    between = np.where(weight >= 0.5, high - step * (1 - weight), low + step * weight) / scale  # noqa: PLR2004 - half.
    return np.asarray(np.unique(np.clip(between, numbers[0], numbers[-1])))


def doane_edges(numbers: Floats, *, integer: bool) -> Floats:
    """Edges by numpy's `doane` rule, in one pass; one bin over the whole range where the rule finds none.

    The number of bins is that of `numpy.histogram_bin_edges(..., bins="doane")`, which would need room for three more
    copies of the numbers. Doane, "Aesthetic frequency classifications", 1976, doi:10.1080/00031305.1976.10479172.

    Args:
        numbers: Finite numbers (n,), n >= 1, ascending; feature units.
        integer: Whether they are held as integers, whose bins numpy makes no narrower than one.
    """
    low, high, rows = float(numbers[0]), float(numbers[-1]), len(numbers)
    bins = 1
    with np.errstate(all="ignore"):
        spread = high - low
        if rows > 2 and spread > 0 and math.isfinite(spread):  # noqa: PLR2004 - skewness needs three.
            skewness = _skewness(frozen(numbers))
            error = math.sqrt(6.0 * (rows - 2) / ((rows + 1.0) * (rows + 3)))
            width = spread / (1.0 + np.log2(rows) + np.log2(1.0 + abs(skewness) / error))
            width = max(width, 1.0) if integer and width > 0 else width
            bins = math.ceil(spread / width) if width > 0 and math.isfinite(skewness) else 1
        edges = np.linspace(low, high, bins + 1)
    usable = bool(np.isfinite(edges).all() and (np.diff(edges) > 0).all())
    return edges if usable else np.array([low, high])


@jit
def count_steps(numbers: Floats) -> int:
    """How often sorted numbers grow."""
    steps = 0
    for i in range(1, len(numbers)):
        steps += int(numbers[i] != numbers[i - 1])
    return steps


@jit(error_model="numpy", fastmath={"reassoc", "contract", "nsz"})
def _skewness(numbers: Floats) -> float:
    """Mean cube of standardised sorted numbers, of which not all are equal.

    Sums are of distances from the smallest as parts of the range: nothing is lost where all numbers are large and near
    each other, and nothing overflows. They are taken over blocks, so that no error grows long.
    """
    rows, low, spread = len(numbers), numbers[0], numbers[-1] - numbers[0]
    mean = squares = cubes = 0.0
    for first in range(0, rows, _BLOCK):
        part = 0.0
        for value in numbers[first : first + _BLOCK]:
            part += (value - low) / spread
        mean += part / rows
    for first in range(0, rows, _BLOCK):
        second = third = 0.0
        for value in numbers[first : first + _BLOCK]:
            distance = (value - low) / spread - mean
            second += distance * distance
            third += distance * distance * distance
        squares += second / rows
        cubes += third / rows
    return cubes / (squares * math.sqrt(squares))


def category_bins(values: pl.Series) -> CategoryBins:
    """Bins of reference strings (nulls left out): most frequent first, ties by name."""
    return bins_of_names(values.rename("name").drop_nulls().value_counts(name="rows"))[0]


def bins_of_names(counts: pl.DataFrame) -> tuple[CategoryBins, npt.NDArray[np.uint64]]:
    """Bins of reference strings, most frequent first, ties by name; and the rows of each bin.

    Args:
        counts: Each different `name`, and its `rows`.
    """
    ranked = counts.sort(["rows", "name"], descending=[True, False])
    names, rare = (ranked["name"][part].to_list() for part in (slice(0, CATEGORIES_MAX), _REMEMBERED))
    bins = CategoryBins(tuple(names), tuple(rare), ranked.height > CATEGORIES_MAX + OTHER_NAMES_MAX)
    rows = ranked["rows"]
    other = int(rows[CATEGORIES_MAX:].sum())
    return bins, np.array([*rows[:CATEGORIES_MAX].to_list(), other, 0], np.uint64)
