"""The level by replay: against a plain Python replay, level by level."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftmeter.detect.level import DRIFTED_TIME_MAX, LEVEL_MAX, Replayed, choose_level, drift_levels, replay
from driftmeter.detect.verdict import Rule, Verdicts
from rows import DAY_NS, HOUR_NS, Floats

RULES = st.sampled_from([Rule(2, 3, 1), Rule(2, 3, 2), Rule(1, 1, 1), Rule(3, 5, 2)])
SURPRISES = st.sampled_from([0.0, 1e-9, 0.001, 0.01, 0.02, 0.1, 0.3, 1.0, np.inf, np.nan])


def tables(units: int, windows: int) -> st.SearchStrategy[Floats]:
    """Surprises of some units in some windows."""
    row = st.lists(SURPRISES, min_size=units, max_size=units)
    return st.lists(row, min_size=windows, max_size=windows).map(np.array)


def verdicts_at(level: float, table: Floats, rule: Rule) -> Floats:
    """What live windows with these surprises are called at a level."""
    made = Verdicts(table.shape[1], rule)
    return np.array([made.judge(i, 0, row < level, ~np.isnan(row)) for i, row in enumerate(table)])


@settings(deadline=None)
@given(tables(3, 12), RULES, st.sampled_from([1e-12, 0.0005, 0.005, 0.015, 0.2, 0.5, 2.0]))
def test_is_what_live_windows_are_called_at_every_level(table: Floats, rule: Rule, level: float) -> None:
    """Above a window's number it drifts, below it does not, by the very rule of live windows."""
    levels = drift_levels(table, rule)
    expected = verdicts_at(level, table, rule)
    np.testing.assert_array_equal(np.where(np.isnan(levels), np.nan, levels < level), expected)


@settings(deadline=None)
@given(tables(2, 30), tables(2, 4), st.sampled_from([0.0005, 0.005, 0.015, 0.2, 0.5]))
def test_lengths_are_replayed_together(hours: Floats, days: Floats, level: float) -> None:
    """The model drifts while the newest window of any length does; an alarm is where that begins."""
    rule = Rule()
    lengths = [((np.arange(30) + 1) * HOUR_NS, hours), ((np.arange(4) + 1) * 8 * HOUR_NS, days)]
    found = replay([(ends, drift_levels(table, rule)) for ends, table in lengths])
    events: dict[int, dict[int, bool]] = {}
    for number, (ends, table) in enumerate(lengths):
        for end, row in zip(ends.tolist(), verdicts_at(level, table, rule), strict=True):
            if not np.isnan(row).all():
                events.setdefault(end, {})[number] = bool(np.nanmax(row))
    alarms, drifts, newest = 0, False, {0: False, 1: False}
    for end in sorted(events):
        newest |= events[end]
        alarms += any(newest.values()) and not drifts
        drifts = any(newest.values())
    assert found.alarms(level) == alarms


def replayed_of(levels: Floats, step_ns: int = HOUR_NS) -> Replayed:
    """A model with these numbers, one window after the other."""
    return Replayed((np.arange(len(levels)) + 1) * step_ns, np.asarray(levels, np.float64))


def claimed(found: Replayed, level: float) -> float:
    """The alarms of a level as they count: with one more, and what a count varies by."""
    return found.alarms(level) + float(np.sqrt(found.alarms(level))) + 1


@settings(deadline=None)
@given(
    st.lists(st.floats(1e-6, 1), min_size=40, max_size=120).map(np.array),
    st.sampled_from([1.0, 2.0, 5.0]),
    st.sampled_from([1.0, 3.0]),
)
def test_no_level_below_the_chosen_one_has_too_many_alarms(levels: Floats, weeks: float, asked: float) -> None:
    """At the level and all smaller ones (alarms + √alarms + 1) / weeks is at most what was asked; a naive search."""
    found = replayed_of(levels)
    level = choose_level(found, weeks, asked)
    for smaller in [level, *levels[levels < level], *(levels[levels < level] * 1.0000001)]:
        if smaller <= level:
            assert claimed(found, smaller) / weeks <= asked
    assert found.drifted_time(level) <= DRIFTED_TIME_MAX
    beyond = [
        each
        for each in np.sort(levels).tolist()
        if claimed(found, np.nextafter(each, 2)) / weeks > asked
        or found.drifted_time(np.nextafter(each, 2)) > DRIFTED_TIME_MAX
    ]
    if level < LEVEL_MAX:  # It lies among the levels that have the same alarms as the last one within the limits.
        assert level <= beyond[0]
        assert found.alarms(level) == found.alarms(beyond[0])


def test_is_in_the_middle_between_two_surprises() -> None:
    """Of all levels that give the same alarms, the geometric middle."""
    quiet = np.ones(100)
    quiet[[10, 40, 70]] = 1e-6, 1e-4, 1e-2
    assert choose_level(replayed_of(quiet), 5.0, 1.0) == pytest.approx(1e-3)
    assert replayed_of(quiet).alarms(1e-3) == 2


def test_too_short_a_baseline_has_no_level() -> None:
    """Not even one alarm in all its time may be claimed to be allowed."""
    assert np.isnan(choose_level(replayed_of(np.ones(100)), 0.9, 1.0))
    assert not np.isnan(choose_level(replayed_of(np.ones(100)), 1.0, 1.0))


def test_episodes_that_run_into_each_other_do_not_raise_the_level() -> None:
    """Where drift all the time is a single alarm, the time in drift is what is bounded."""
    levels = np.random.default_rng(1).random(56)
    found = replayed_of(levels, DAY_NS)
    level = choose_level(found, 8.0, 5.0)
    assert found.alarms(2.0) == 1
    assert 0.1 < found.drifted_time(level) <= DRIFTED_TIME_MAX


def test_a_baseline_that_never_moves_has_the_largest_level() -> None:
    """No chunk with a large enough effect: nothing is known but that such windows are rare."""
    assert choose_level(replayed_of(np.full(56, np.inf), DAY_NS), 8.0, 1.0) == LEVEL_MAX


def test_nothing_to_replay_is_quiet() -> None:
    """No windows, or none with a verdict."""
    empty = replay([])
    assert empty.alarms(0.5) == 0
    none = replay([(np.arange(5), np.full((5, 2), np.nan)), (np.arange(3), np.empty((3, 0)))])
    assert none.model.tolist() == []
    assert np.isnan(choose_level(none, 8.0, 1.0))
