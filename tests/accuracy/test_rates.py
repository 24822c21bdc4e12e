"""Counting alarms and how sure their rate is."""

import numpy as np
import pytest
from scipy import stats

from accuracy.rates import alarms, clustered_rate, most_alarms

NAN = np.nan


def test_an_alarm_is_a_model_going_from_no_drift_to_drift() -> None:
    """Windows without a verdict change nothing; drift in the first window is an alarm."""
    drifted = np.array([1, 1, NAN, 1, 0, NAN, 1, 0, 0, 1])
    assert np.flatnonzero(alarms(drifted)).tolist() == [0, 6, 9]


def test_rate_is_alarms_by_weeks() -> None:
    """Ten alarms in 20 weeks of seven windows are half an alarm a week, and the interval holds that."""
    begins = np.zeros(140, np.bool_)
    begins[::14] = True
    rate = clustered_rate(begins, np.arange(140) // 7, 7, seed=0)
    assert (rate.alarms, rate.weeks, rate.per_week) == (10, 20, 0.5)
    assert rate.low < 0.5 < rate.high


def test_interval_is_never_narrower_than_that_of_a_poisson_count() -> None:
    """One cluster says nothing of its own variation: the exact limits of the count stand in."""
    begins = np.zeros(70, np.bool_)
    begins[:3] = True
    rate = clustered_rate(begins, np.zeros(70, np.int64), 7, seed=0)
    assert rate.low == pytest.approx(stats.gamma(3).ppf(0.025) / 10)
    assert rate.high == pytest.approx(stats.gamma(4).ppf(0.975) / 10)


def test_alarms_of_one_cluster_widen_the_interval() -> None:
    """The same alarms, gathered in one of ten clusters, are less sure than spread over all of them."""
    spread, gathered = np.zeros(700, np.bool_), np.zeros(700, np.bool_)
    spread[::35], gathered[:40:2] = True, True
    clusters = np.arange(700) // 70
    assert spread.sum() == gathered.sum()
    wide, narrow = (clustered_rate(each, clusters, 7, seed=0) for each in (gathered, spread))
    assert wide.high - wide.low > 1.5 * (narrow.high - narrow.low)


def test_most_alarms_are_those_of_the_best_level() -> None:
    """Counted by trying every level, on random drift levels with gaps."""
    rng = np.random.default_rng(3)
    for _ in range(20):
        levels = rng.integers(1, 6, 30) / 10
        levels[rng.random(30) < 0.1] = NAN
        tried = [
            int(alarms(np.where(np.isnan(levels), NAN, levels < level)).sum())
            for level in (0.15, 0.25, 0.35, 0.45, 0.55)
        ]
        assert most_alarms(levels) == max(tried)
