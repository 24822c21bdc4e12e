"""What windows and the baseline's chunks are both asked of their quality, from their counts."""

import numpy as np
import numpy.typing as npt

from driftmeter.model.bins import CategoryBins
from driftmeter.model.counts import Counts, Tally
from driftmeter.model.layout import Layout

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

TIME_STEPS = 1_000
"""Steps that a window's time is counted in. An age is as long as the gap after the last of n instants, a share of the
window that is Beta(1, n) distributed for instants at random: so a beta-binomial distribution fits it."""


def commonest_of(layout: Layout, counts: Counts) -> Ints:
    """Values in the fullest bin: int64 (w, c).

    It is all values only where they are one and the same: of numbers in one bin that differ, and of categories without
    a bin of their own, one is left out.
    """
    firsts, last = layout.offsets[:-1], layout.offsets[1:] - 1
    values = np.add.reduceat(counts.bins, firsts, axis=1)
    most = np.maximum.reduceat(counts.bins, firsts, axis=1)
    numeric = np.array([not isinstance(each, CategoryBins) for each in layout.bins])
    finite = counts.tallies[:, :, Tally.NON_FINITE] == 0
    of_numbers = finite & (counts.extremes[:, :, 0] == counts.extremes[:, :, 1])
    of_names = (most == values) & (counts.bins[:, last] < values) & (counts.bins[:, last - 1] < values)
    alike = np.where(numeric, of_numbers, of_names) & (values > 0)
    return np.where(alike, values, np.minimum(most, np.maximum(values, 1) - 1)).astype(np.int64)


def steps_of_age(age: Floats, length: Floats) -> Floats:
    """Ages as steps of the time of windows, whole numbers up to `TIME_STEPS`, the shape of both together.

    Args:
        age: float64: of the newest value at the window's end, seconds; nan where it is not known.
        length: float64: of the window, seconds.

    Returns:
        float64; nan where the age is not known, and of windows without a length.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(length > 0, age / length, np.nan)
    return np.asarray(np.rint(np.clip(share, 0.0, 1.0) * TIME_STEPS))
