"""Hours of the week: what a column looks like in each, and which of them a window's rows are of."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from driftmeter.model.windows import HOUR_NS

HOURS_OF_WEEK = 168
"""Hours of a week, numbered from Monday 00:00 UTC."""

_MONDAY_HOURS = 72
"""From Monday 00:00 to Thursday 00:00, when 1970 began."""


def hours_of_week(times_ns: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """int64, the shape of `times_ns`: the hour of the week, 0 to 167, of times in nanoseconds since 1970."""
    hours: npt.NDArray[np.int64] = (times_ns // HOUR_NS + _MONDAY_HOURS) % HOURS_OF_WEEK
    return hours


@dataclass(frozen=True, eq=False)
class ColumnSeasons:
    """Counts of one column by hour of the week, without empty bins.

    Attributes:
        starts: int64 (169,): where each hour's bins begin in `places`, and their number.
        places: uint32 (n,): bins that are not empty, ascending within an hour.
        bins: uint64 (n,): their counts.
        tallies: uint64 (168, len(Tally)).
    """

    starts: npt.NDArray[np.int64]
    places: npt.NDArray[np.uint32]
    bins: npt.NDArray[np.uint64]
    tallies: npt.NDArray[np.uint64]

    @classmethod
    def of(cls, bins: npt.NDArray[np.uint64], tallies: npt.NDArray[np.uint64]) -> "ColumnSeasons":
        """From uint64 (168, bins) and uint64 (168, len(Tally)): all of them."""
        hours, places = np.nonzero(bins)
        starts = np.searchsorted(hours, np.arange(HOURS_OF_WEEK + 1)).astype(np.int64)
        return cls(starts, places.astype(np.uint32), bins[hours, places], tallies.copy())
