"""What is exported goes on after a restart as if there had been none."""

import random
from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftmeter.errors import DamagedError
from driftmeter.export.counters import (
    AWAY_NS_MAX,
    DURATION_BOUNDS_SECONDS,
    SILENCE_NS,
    ResultCounters,
    bucket_durations,
)
from driftmeter.export.evaluated import EvaluatedWindow
from driftmeter.export.schedule import Due, EventSchedule, Schedule, WallSchedule
from driftmeter.model.bundle import Tree
from driftmeter.model.predictions import ModelKey
from export_samples import KEY, StillClock, evaluated
from stored_states import again, assert_damage_is_named

_NOW_NS = StillClock().now_ns()
_SECOND_NS = 10**9
_NOTHING = np.zeros(len(DURATION_BOUNDS_SECONDS) + 1, np.int64)
_OTHER = ModelKey("prices", "", "")


def _count(counters: ResultCounters, key: ModelKey, rng: random.Random) -> None:
    durations = np.array([rng.randrange(10**10) for _ in range(rng.randrange(1, 5))], np.int64)
    counters.add_predictions(key, len(durations), 1, *bucket_durations(durations))


def _restarted_counters(counters: ResultCounters) -> ResultCounters:
    fresh = ResultCounters(77)
    fresh.restore(again(counters.state()))
    return fresh


def _restarted(schedule: Schedule, counters: ResultCounters) -> tuple[Schedule, ResultCounters]:
    fresh = _restarted_counters(counters)
    other: Schedule = WallSchedule(fresh) if isinstance(schedule, WallSchedule) else EventSchedule(fresh)
    other.restore(again(schedule.state()))
    return other, fresh


def _same(expected: pl.DataFrame, actual: pl.DataFrame) -> bool:
    """Whether two tables of points are equal, stale markers bit for bit."""
    bits = [frame.get_column("value").to_numpy().view(np.uint64).tolist() for frame in (expected, actual)]
    return bits[0] == bits[1] and expected.drop("value").equals(actual.drop("value"))


def _random_window(rng: random.Random) -> EvaluatedWindow:
    return evaluated(
        rng.randrange(6),
        key=rng.choice([KEY, _OTHER]),
        window=rng.choice(["1h", "24h"]),
        revision=rng.randrange(2),
        columns=rng.sample((("temp", "feature"), ("wind", "feature"), ("late", "prediction")), k=rng.randint(1, 3)),
        detected=rng.choice([True, False, None]),
    )


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), event_time=st.booleans())
def test_restarts_change_nothing_of_what_is_sent(seed: int, event_time: bool) -> None:  # noqa: FBT001  # Drawn.
    """Windows, counts, silence and ticks in any order, restarted anywhere: the same frames at the same times.

    Restarts within `AWAY_NS_MAX`, that is: longer ones give silent models more time.
    """
    rng = random.Random(seed)  # noqa: S311  # Not for secrets.
    counters = ResultCounters(5)
    schedule: Schedule = EventSchedule(counters) if event_time else WallSchedule(counters)
    restarted, again_counters = _restarted(schedule, counters)
    now_ns = _NOW_NS
    for _ in range(25):
        step = rng.choice(["publish", "count", "due", "restart"])
        if step == "publish":
            window = _random_window(rng)
            for each, sums in ((schedule, counters), (restarted, again_counters)):
                sums.add_findings(window.findings)
                each.publish(window, window.points(0))
        elif step == "count":
            key, portion = rng.choice([KEY, _OTHER]), rng.randrange(10**6)
            for sums in (counters, again_counters):
                _count(sums, key, random.Random(portion))  # noqa: S311  # Not for secrets.
        elif step == "restart":
            restarted, again_counters = _restarted(restarted, again_counters)
        else:
            passed_ns = rng.choice([0, 10**6, 30 * _SECOND_NS, AWAY_NS_MAX, SILENCE_NS])
            if passed_ns > AWAY_NS_MAX:
                _assert_same_due(schedule.due(now_ns, tick=True), restarted.due(now_ns, tick=True))
            now_ns += passed_ns
            tick = passed_ns >= 30 * _SECOND_NS or rng.random() < 0.5
            _assert_same_due(schedule.due(now_ns, tick=tick), restarted.due(now_ns, tick=tick))
    assert _same(schedule.current.snapshot(0), restarted.current.snapshot(0))
    assert _same(counters.points(0), again_counters.points(0))
    assert counters.start_ns == again_counters.start_ns == 5


def _assert_same_due(expected: Due, actual: Due) -> None:
    assert (expected.dropped, expected.forgotten) == (actual.dropped, actual.forgotten)
    assert [frame.height for frame in expected.frames] == [frame.height for frame in actual.frames]
    for one, other in zip(expected.frames, actual.frames, strict=True):
        assert _same(one, other)


def test_durations_add_up_whatever_the_batches() -> None:
    """The sum of durations depends on the durations alone, not on how rows were cut into batches, and is exact."""
    rng = random.Random(1)  # noqa: S311  # Not for secrets.
    durations = np.array([rng.randrange(10**11) for _ in range(3_000)], np.int64)
    sums = set()
    for size in (1, 7, 1_000, 3_000):
        counters = ResultCounters(0)
        for first in range(0, len(durations), size):
            part = durations[first : first + size]
            counters.add_predictions(KEY, len(part), 0, *bucket_durations(part))
        (total,) = counters.points(0).filter(metric="ml_inference_duration_seconds_sum").get_column("value")
        sums.add(total)
    assert sums == {int(durations.sum()) / 10**9}


def test_absurd_durations_do_not_overflow() -> None:
    """Spans of centuries add up without turning negative."""
    longest = np.iinfo(np.int64).max
    _, sum_ns = bucket_durations(np.full(1_000, longest, np.int64))
    assert sum_ns == 1_000 * int(longest)


def test_counters_that_go_on_are_not_begun_again() -> None:
    """No zero is sent for a counter from before a restart, out of a snapshot or counted again from the journal."""
    counters = ResultCounters(1)
    counters.add_predictions(KEY, 10, 1, _NOTHING, 0)
    assert counters.begin().height > 0
    counters = _restarted_counters(counters)
    counters.add_predictions(_OTHER, 3, 0, _NOTHING, 0)
    counters.go_on()
    assert counters.begin().is_empty()
    counters.add_predictions(ModelKey("new", "", ""), 3, 0, _NOTHING, 0)
    assert set(counters.begin().get_column("model")) == {"new"}


def test_an_outage_is_no_silence() -> None:
    """Counters do not end because the service was away for a day; what was silent before goes on being silent."""
    counters = ResultCounters(1)
    counters.add_predictions(KEY, 10, 1, _NOTHING, 0)
    counters.expire(0)
    counters = _restarted_counters(counters)
    day_ns = 24 * 3_600 * _SECOND_NS
    assert counters.expire(day_ns).is_empty()
    assert counters.expire(day_ns + SILENCE_NS - AWAY_NS_MAX).is_empty()
    assert counters.expire(day_ns + SILENCE_NS - AWAY_NS_MAX + 1).height > 0


def test_the_models_that_end_are_named() -> None:
    """A tick at which counters end says whose, once, so that other series of these models can end too."""
    counters = ResultCounters(1)
    counters.add_predictions(KEY, 10, 1, _NOTHING, 0)
    schedule = WallSchedule(counters)
    assert schedule.due(_NOW_NS, tick=True).forgotten == ()
    assert schedule.due(_NOW_NS + SILENCE_NS + 1, tick=True).forgotten == (KEY,)
    assert schedule.due(_NOW_NS + 2 * SILENCE_NS, tick=True).forgotten == ()


def test_another_clock_is_named() -> None:
    """State of a service on the clock of the wall is no state of one on that of the data."""
    with pytest.raises(DamagedError, match=r"window\.clock"):
        EventSchedule(ResultCounters(0)).restore(again(WallSchedule(ResultCounters(0)).state()))


def _full_state(event_time: bool) -> tuple[Tree, Tree]:  # noqa: FBT001  # Drawn by pytest.
    """States of counters and a schedule in which everything there is occurs."""
    rng = random.Random(3)  # noqa: S311  # Not for secrets.
    counters = ResultCounters(1)
    schedule: Schedule = EventSchedule(counters) if event_time else WallSchedule(counters)
    for step in range(12):
        window = _random_window(rng)
        _count(counters, window.key, rng)
        counters.add_findings(window.findings)
        schedule.publish(window, window.points(0))
        if step == 8:
            schedule.due(_NOW_NS, tick=True)
    return counters.state(), schedule.state()


@pytest.mark.parametrize("event_time", [False, True])
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_damaged_state_is_named(event_time: bool, seed: int) -> None:  # noqa: FBT001  # Drawn by pytest.
    """Whatever is wrong with stored counters or a stored schedule, it is an error with a name or does no harm."""
    counters, schedule = _full_state(event_time)
    make: Callable[[ResultCounters], Schedule] = EventSchedule if event_time else WallSchedule
    assert_damage_is_named(counters, lambda tree: ResultCounters(0).restore(tree), seed)
    assert_damage_is_named(schedule, lambda tree: make(ResultCounters(0)).restore(tree), seed)
