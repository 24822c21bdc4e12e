"""The flights data and its daily Jensen-Shannon distances by numpy and scipy: nothing here uses the service's code."""

from datetime import UTC, datetime
from functools import cache

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.spatial.distance import jensenshannon

from components import ROOT

FLIGHTS = ROOT / "service" / "driftmeter" / "demo" / "flights.parquet"
CATEGORIES = ("carrier", "origin")
NUMBERS = (
    "distance", "hour", "weekday", "temp", "humid", "wind_speed", "precip", "pressure", "visib", "plane_age", "seats",
)  # fmt: skip
FEATURES = (*CATEGORIES, *NUMBERS)
DAY_SECONDS = 86_400
_QUANTILE_BINS = 32


@cache
def flights_of(*months: int) -> pl.DataFrame:
    """Flights scheduled in these months of 2013 in UTC, by their time: `scheduled` and `FEATURES`, strings and numbers.

    Numbers are float64: the file's narrower ones, each exactly.
    """
    frame = pl.read_parquet(FLIGHTS).filter(
        pl.col("scheduled").dt.month().is_in(months) & (pl.col("scheduled") < datetime(2014, 1, 1, tzinfo=UTC))
    )
    numbers = [pl.col(name).cast(pl.Float64) for name in NUMBERS]
    return frame.sort("scheduled", maintain_order=True).select("scheduled", *CATEGORIES, *numbers)


def seconds(frame: pl.DataFrame) -> npt.NDArray[np.int64]:
    """Unix time of each row."""
    return frame["scheduled"].dt.epoch("s").to_numpy()


def bin_starts(reference: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Left ends of the reference's bins, as docs/methods.md describes them: 32 quantile bins.

    Few distinct values have a bin each; a maximum that 1/32 of the rows have has a bin of its own.
    """
    distinct, rows = np.unique(reference, return_counts=True)
    if len(distinct) <= _QUANTILE_BINS:
        return distinct
    quantiles = np.unique(np.quantile(reference, np.linspace(0, 1, _QUANTILE_BINS + 1)))
    return quantiles if rows[-1] >= len(reference) / _QUANTILE_BINS else quantiles[:-1]


def numeric_distance(reference: npt.NDArray[np.float64], window: npt.NDArray[np.float64]) -> float:
    """Distance to base 2 over the reference's bins and what lies outside of them; missing values left out."""
    reference, window = reference[~np.isnan(reference)], window[~np.isnan(window)]
    starts, highest = bin_starts(reference), reference.max()

    def shares(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        inside = np.histogram(values[values <= highest], [*starts, np.inf])[0]
        counts = np.array([np.sum(values < starts[0]), *inside, np.sum(values > highest)], np.float64)
        return np.asarray(counts / counts.sum())

    return float(jensenshannon(shares(reference), shares(window), base=2))


def category_distance(reference: list[str], window: list[str]) -> float:
    """Distance to base 2 over the reference's categories and one bin for all others."""
    names = sorted(set(reference))

    def shares(values: list[str]) -> npt.NDArray[np.float64]:
        counts = [values.count(name) for name in names]
        return np.array([*counts, len(values) - sum(counts)]) / len(values)

    return float(jensenshannon(shares(reference), shares(window), base=2))


def distance(name: str, reference: pl.DataFrame, window: pl.DataFrame) -> float:
    """Distance of one feature of some rows from the reference's."""
    if name in CATEGORIES:
        return category_distance(reference[name].drop_nulls().to_list(), window[name].drop_nulls().to_list())
    return numeric_distance(reference[name].to_numpy(), window[name].to_numpy())


def daily_distances(reference: pl.DataFrame, replayed: pl.DataFrame) -> dict[tuple[int, str], float]:
    """Distance of each feature on each UTC day, by the day's end in Unix time and the feature's name."""
    days = seconds(replayed) // DAY_SECONDS
    return {
        (int(day + 1) * DAY_SECONDS, name): distance(name, reference, replayed.filter(pl.Series(days == day)))
        for day in np.unique(days)
        for name in FEATURES
    }
