"""Alarms in a series of verdicts, their rate, and how sure that rate is."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

RESAMPLES = 2_000
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Rate:
    """Alarms a week.

    Attributes:
        alarms: How many there were.
        weeks: In how much time.
        low: Lower end of the 95 % interval, alarms a week.
        high: Upper end.
    """

    alarms: int
    weeks: float
    low: float
    high: float

    @property
    def per_week(self) -> float:
        """Alarms a week."""
        return self.alarms / self.weeks


def alarms(drifted: Floats) -> npt.NDArray[np.bool_]:
    """Where a model goes from no drift to drift.

    Args:
        drifted: float64 (windows,) in the order of time: 1 drifted, 0 not, nan no verdict, which changes nothing.
            Before the first there was no drift.

    Returns:
        bool (windows,).
    """
    known = ~np.isnan(drifted)
    verdicts = drifted[known] > 0
    begins = np.zeros(len(drifted), np.bool_)
    begins[known] = verdicts & ~np.concatenate(([False], verdicts[:-1]))
    return begins


def clustered_rate(begins: npt.NDArray[np.bool_], clusters: Ints, windows_per_week: float, seed: int) -> Rate:
    """Alarms a week with an interval by resampling whole clusters: windows of one cluster are not independent.

    A few clusters or alarms say little by themselves: the interval reaches at least as far as the exact one of a
    Poisson count (Garwood 1936, https://doi.org/10.1093/biomet/28.3-4.437).

    Args:
        begins: bool (windows,): an alarm begins here.
        clusters: int64 (windows,): the source day, source week or trial that each window was made of.
        windows_per_week: Windows in a week.
        seed: Of the resampling.
    """
    _, cluster = np.unique(clusters, return_inverse=True)
    counts = np.bincount(cluster, weights=begins)
    weeks = np.bincount(cluster) / windows_per_week
    picked = np.random.default_rng(seed).integers(len(counts), size=(RESAMPLES, len(counts)))
    rates = counts[picked].sum(axis=1) / weeks[picked].sum(axis=1)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(rates, [tail, 1 - tail])
    total, time = int(counts.sum()), float(weeks.sum())
    at_least = stats.chi2.ppf(tail, 2 * total) / 2 if total else 0.0
    at_most = stats.chi2.ppf(1 - tail, 2 * total + 2) / 2
    return Rate(total, time, float(min(low, at_least / time)), float(max(high, at_most / time)))


def most_alarms(drift_levels: Floats) -> int:
    """The most alarms that any level raises: where windows are few, episodes run into each other before there are more.

    Args:
        drift_levels: float64 (windows,): the level from which on there is drift in each; nan for no verdict.
    """
    known = drift_levels[~np.isnan(drift_levels)]
    before = np.concatenate(([np.inf], known[:-1]))
    falls = known < before
    # Levels above where a fall ends and up to where it began have an alarm there.
    places = np.concatenate((known[falls], before[falls]))
    steps = np.repeat([1, -1], int(falls.sum()))
    distinct, inverse = np.unique(places, return_inverse=True)
    counts = np.cumsum(np.bincount(inverse, steps, minlength=len(distinct)))
    return int(counts.max(initial=0))
