"""Undrifted traffic: the flights of a year with their days or weeks shuffled, and synthetic columns."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from accuracy.engine import SEGMENT, Columns
from driftmeter.model.windows import DAY_NS, WEEK_NS

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

FLIGHTS = Path(__file__).parents[1] / "service/driftmeter/demo/flights.parquet"
FEATURES = (
    "carrier", "origin", "distance", "hour", "weekday", "temp", "humid", "wind_speed", "precip", "pressure", "visib",
    "plane_age", "seats",
)  # fmt: skip
WEEKS = 52
DAYS_IN_WEEK = 7

RHO = 0.9
"""How much of a day's effect the next day keeps."""
DAY_EFFECT = 0.3
"""Standard deviation of the effect of a day, in standard deviations of the column."""


@dataclass(frozen=True, eq=False)
class Rows:
    """Some traffic.

    Attributes:
        columns: Its rows by column.
        times_ns: int64 (rows,): when each row was predicted, nanoseconds since the epoch.
        sources: int64 (rows,): the source day or week that each row was taken from; rows of one are not independent.
    """

    columns: Columns
    times_ns: Ints
    sources: Ints

    def between(self, start_ns: int, end_ns: int) -> "Rows":
        """Rows of start_ns <= time < end_ns."""
        picked = (self.times_ns >= start_ns) & (self.times_ns < end_ns)
        columns = {name: values[picked] for name, values in self.columns.items()}
        return Rows(columns, self.times_ns[picked], self.sources[picked])


def read_flights() -> Rows:
    """52 weeks of flights in the order of their scheduled departure, from 1 January 2013 (UTC)."""
    flights = pl.read_parquet(FLIGHTS).sort("scheduled", maintain_order=True)
    times = flights["scheduled"].dt.timestamp("ns").to_numpy()
    first = int(times[0]) // DAY_NS * DAY_NS
    within = times < first + WEEKS * WEEK_NS
    columns: dict[str, npt.NDArray[np.generic]] = {}
    for name in FEATURES:
        series = flights[name]
        text = series.dtype == pl.String
        columns[name] = (series if text else series.cast(pl.Float64)).to_numpy()[within]
    times = times[within] - first
    return Rows(columns, times, times // DAY_NS)


def shuffle(rows: Rows, unit_ns: int, rng: np.random.Generator) -> Rows:
    """Whole days or weeks in another order: nothing drifts any more, and rows of one unit stay together."""
    units = rows.times_ns // unit_ns
    places = rng.permutation(int(units.max()) + 1)
    return Rows(rows.columns, places[units] * unit_ns + rows.times_ns % unit_ns, units)


def autoregressive(rng: np.random.Generator, columns: int, days: int, rows: int, windows_per_day: int = 1) -> Rows:
    """Normal columns of standard deviation 1 whose mean wanders from day to day: AR(1), ρ = 0.9, by 0.3.

    Args:
        rng: Random numbers.
        columns: How many, independent of each other.
        days: How many days.
        rows: Rows in each window.
        windows_per_day: Windows in a day, all with the day's effect.
    """
    effect = np.empty((days, columns))
    effect[0] = rng.standard_normal(columns)
    for day in range(1, days):
        effect[day] = RHO * effect[day - 1] + np.sqrt(1 - RHO**2) * rng.standard_normal(columns)
    per_day = rows * windows_per_day
    values = rng.standard_normal((columns, days * per_day))
    values += DAY_EFFECT * np.repeat(effect.T, per_day, axis=1)
    times = np.repeat(np.arange(days) * DAY_NS, per_day) + np.tile(np.arange(per_day) * (DAY_NS // per_day), days)
    return Rows({f"x{number}": each for number, each in enumerate(values)}, times, np.zeros(len(times), np.int64))


def independent(rng: np.random.Generator, columns: int, windows: int, window_ns: int, rows: int, segments: int) -> Rows:
    """Independent normal columns, in segments of equal size.

    Args:
        rng: Random numbers.
        columns: How many.
        windows: How many windows.
        window_ns: Length of each.
        rows: Rows in each window.
        segments: How many segments, one after the other in the rows of a window.
    """
    times = np.repeat(np.arange(windows) * window_ns, rows) + np.tile(np.arange(rows) * (window_ns // rows), windows)
    values: dict[str, npt.NDArray[np.generic]] = {
        f"x{number}": rng.standard_normal(len(times)) for number in range(columns)
    }
    values[SEGMENT] = np.array([f"s{number}" for number in range(segments)])[np.arange(len(times)) % segments]
    return Rows(values, times, np.zeros(len(times), np.int64))
