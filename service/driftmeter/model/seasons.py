"""Hours of the week: what a column looks like in each, and which of them a window's rows are of.

People live by local time: where clocks are put forward, the rush hour is another hour in UTC half of the year.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from driftmeter.errors import ConfigError
from driftmeter.model.windows import HOUR_NS

HOURS_OF_WEEK = 168
"""Hours of a week, numbered from Monday 00:00, in the time zone of the baseline."""
UTC = "UTC"

_MONDAY_HOURS = 72
"""From Monday 00:00 to Thursday 00:00, when 1970 began."""


def hours_of_week(times_ns: npt.NDArray[np.int64], zone: str = UTC) -> npt.NDArray[np.int64]:
    """int64 (n,): the hour of the week, 0 to 167, by the clocks of a time zone.

    Args:
        times_ns: int64 (n,), nanoseconds since 1970 in UTC.
        zone: Name of the time zone, as in the IANA database: `Europe/Berlin`.

    Raises:
        ConfigError: There is no such time zone.
    """
    hours: npt.NDArray[np.int64] = (local_ns(times_ns, zone) // HOUR_NS + _MONDAY_HOURS) % HOURS_OF_WEEK
    return hours


def check_zone(zone: str) -> None:
    """Raise ConfigError when there is no such time zone."""
    hours_of_week(np.zeros(1, np.int64), zone)


def local_ns(times_ns: npt.NDArray[np.int64], zone: str) -> npt.NDArray[np.int64]:
    """What the clocks of a time zone show, as if it were UTC; arguments and errors as for `hours_of_week`."""
    if zone == UTC:
        return times_ns
    times = pl.Series(times_ns).cast(pl.Datetime("ns", UTC))
    try:
        local = times.dt.convert_time_zone(zone)
    except pl.exceptions.ComputeError as error:
        raise ConfigError(f"time zone {zone!r}: there is none of this name; write one such as Europe/Berlin") from error
    return local.dt.replace_time_zone(None).to_physical().to_numpy()


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
