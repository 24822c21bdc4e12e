"""Planted drifts: that they are what they say, and that they are found."""

import numpy as np
import pytest

from accuracy import detection
from accuracy.detection import LEAD, PERIOD, SOON, Plan, judged
from accuracy.shifts import SHIFTS, STEPS, draw


def test_every_drift_changes_its_columns_alone_and_keeps_rows() -> None:
    """Each shift gives other values for at most two known columns, as many as there were."""
    rng = np.random.default_rng(0)
    rows = draw(rng, 6_000)
    since = np.repeat(np.arange(6.0), 1_000)
    for shift in SHIFTS:
        changed = shift.change(rng, rows, since)
        assert 1 <= len(changed) <= 2
        for name, values in changed.items():
            assert len(values) == 6_000
            assert not np.array_equal(values, rows[name])


@pytest.mark.parametrize(
    ("key", "mean", "spread"), [("mean_0.5", 0.5, 1.0), ("variance", 0, 1.5), ("heavy_tails", 0, 1)]
)
def test_moments_are_as_told(key: str, mean: float, spread: float) -> None:
    """Means and spreads of the changed column, within what 200,000 rows tell."""
    rng = np.random.default_rng(1)
    rows = draw(rng, 200_000)
    change = next(each.change for each in SHIFTS if each.key == key)
    values = change(rng, rows, np.zeros(200_000))["amount"].astype(float)
    assert values.mean() == pytest.approx(mean, abs=0.02)
    assert values.std() == pytest.approx(spread, abs=0.1)


def test_delay_counts_windows_from_the_begin_of_the_drift() -> None:
    """Found in the second window, in the fourth, never, and already drifted before: that one does not count."""
    plan = Plan(rows=1, repeats=4)
    drifted = np.zeros((4, PERIOD))
    drifted[0, LEAD + 1 :], drifted[1, LEAD + 3 :] = 1, 1
    drifted[3, LEAD - 1 :] = 1
    found = judged(drifted.ravel(), plan)
    assert (found.soon, found.ever, found.delay) == pytest.approx((1 / 3, 2 / 3, 3))
    assert STEPS >= SOON


def test_half_a_standard_deviation_in_one_column_of_many_is_found_within_three_windows() -> None:
    """One column of 100, 1,000 rows a window, defaults."""
    assert detection.one_among_many(seed=1, repeats=2).soon == 1
