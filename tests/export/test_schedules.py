"""What is sent when, on the clock of the wall and on that of the data."""

import math
import random

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftmeter.export import schedule as schedule_module
from driftmeter.export.counters import DURATION_BOUNDS_SECONDS, ResultCounters
from driftmeter.export.evaluated import EvaluatedWindow
from driftmeter.export.points import is_stale
from driftmeter.export.schedule import Due, EventSchedule, Schedule, WallSchedule
from driftmeter.model.predictions import ModelKey
from driftmeter.telemetry.metrics import DropReason
from export_samples import KEY, SeriesKey, StillClock, evaluated, series_of

_NOW_NS = StillClock().now_ns()
_NOTHING = np.zeros(len(DURATION_BOUNDS_SECONDS) + 1, np.int64)


def _publish(schedule: Schedule, *windows: EvaluatedWindow) -> None:
    for window in windows:
        schedule.publish(window, window.points(0))


def _scores(due: Due) -> list[tuple[float, int]]:
    frames = pl.concat(due.frames)
    rows = frames.filter((pl.col("metric") == "ml_feature_drift_score") & (pl.col("feature") == "temp"))
    return rows.select("value", "timestamp_ms").rows()


def _assert_sendable(dues: list[Due]) -> None:
    """Each frame has each series once, and times of every series strictly increase over all frames."""
    last: dict[SeriesKey, int] = {}
    for frame in (frame for due in dues for frame in due.frames):
        for key, (_, time_ms) in series_of(frame).items():
            assert time_ms > last.get(key, -1), key
            last[key] = time_ms


def test_windows_that_close_together_are_sent_one_by_one() -> None:
    """Each value is sent once, in order, at different times up to now."""
    schedule = WallSchedule(ResultCounters(1))
    _publish(schedule, *(evaluated(index) for index in range(4)))
    due = schedule.due(_NOW_NS, tick=False)
    now_ms = _NOW_NS // 10**6
    assert _scores(due) == [((100 + i) / 1000, now_ms - 3 + i) for i in range(4)]
    assert schedule.due(_NOW_NS, tick=False).frames == ()


def test_a_tick_repeats_the_newest_values_with_the_counters() -> None:
    """At every tick each model's newest values are sent again, stamped now, and the counters with them."""
    counters = ResultCounters(1)
    counters.add_predictions(KEY, 10, 1, _NOTHING, 0)
    schedule = WallSchedule(counters)
    _publish(schedule, evaluated(0), evaluated(1), evaluated(5, key=ModelKey("other", "", "")))
    first = schedule.due(_NOW_NS, tick=True)
    second = schedule.due(_NOW_NS + 30 * 10**9, tick=True)
    assert len(second.frames) == 1
    assert [value for value, _ in _scores(second)] == [0.101, 0.105]
    assert set(second.frames[0].get_column("timestamp_ms")) == {_NOW_NS // 10**6 + 30_000}
    predictions = pl.concat(second.frames).filter(pl.col("metric") == "ml_predictions_total")
    assert predictions.get_column("value").to_list() == [10.0]
    _assert_sendable([first, second])


def test_windows_evaluated_late_are_sent_before_the_current_one_again() -> None:
    """After an outage the newest rows may come first: each older window is sent once, and the newest value stands."""
    schedule = WallSchedule(ResultCounters(1))
    _publish(schedule, evaluated(0), evaluated(5))
    first = schedule.due(_NOW_NS, tick=True)
    _publish(schedule, *(evaluated(index) for index in (3, 1, 2, 4)))
    second = schedule.due(_NOW_NS + 10**9, tick=False)
    _publish(schedule, evaluated(7), evaluated(6))
    third = schedule.due(_NOW_NS + 2 * 10**9, tick=False)
    assert [value for value, _ in _scores(second)] == [0.101, 0.102, 0.103, 0.104, 0.105]
    assert [value for value, _ in _scores(third)] == [0.106, 0.107]
    assert second.dropped == third.dropped == {}
    _assert_sendable([first, second, third])


def test_a_late_window_ends_its_own_series_and_revives_those_of_the_current_one() -> None:
    """What only the late window has does not linger; what it does not have is there again afterwards."""
    schedule = WallSchedule(ResultCounters(1))
    _publish(schedule, evaluated(5, columns=(("temp", "feature"),)))
    schedule.due(_NOW_NS, tick=False)
    _publish(schedule, evaluated(1, columns=(("wind", "feature"),)))
    due = schedule.due(_NOW_NS + 10**9, tick=False)
    shown: dict[SeriesKey, float] = {}
    for frame in due.frames:
        shown |= {key: value for key, (value, _) in series_of(frame).items()}
    assert {key: value for key, value in shown.items() if not math.isnan(value)} == {
        key: value for key, (value, _) in series_of(schedule.current.snapshot(0)).items()
    }
    assert is_stale(np.array([value for key, value in shown.items() if ("feature", "wind") in key])).all()


def test_new_values_of_older_windows_are_counted() -> None:
    """A window that changes when a later one is current is not sent again, and its points are counted as revised."""
    schedule = WallSchedule(ResultCounters(1))
    _publish(schedule, evaluated(1), evaluated(2))
    schedule.due(_NOW_NS, tick=False)
    revised = evaluated(1, revision=1, value=0.9)
    _publish(schedule, revised, evaluated(2, revision=1, value=0.8))
    due = schedule.due(_NOW_NS + 10**9, tick=False)
    assert [value for value, _ in _scores(due)] == [0.8]
    assert due.dropped == {DropReason.REVISED: revised.points(0).height}


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), event_time=st.booleans())
def test_every_window_is_sent_or_counted(seed: int, event_time: bool) -> None:  # noqa: FBT001  # Drawn by hypothesis.
    """Whatever is published in whatever order and portions, each window's points go out or are in a counter."""
    rng = random.Random(seed)  # noqa: S311  # Not for secrets.
    schedule: Schedule = (EventSchedule if event_time else WallSchedule)(ResultCounters(0))
    windows = [evaluated(index, revision=r, value=0.5 + index / 100 + r / 1000) for index in range(6) for r in range(2)]
    rng.shuffle(windows)
    dues: list[Due] = []
    while windows:
        portion = rng.randint(1, 4)
        _publish(schedule, *windows[:portion])
        del windows[:portion]
        dues.append(schedule.due(_NOW_NS + len(dues) * 10**9, tick=False))
    sent = {value for due in dues if due.frames for value, _ in _scores(due)}
    dropped = sum(sum(due.dropped.values()) for due in dues)
    assert len(sent) * evaluated(0).points(0).height + dropped == 12 * evaluated(0).points(0).height
    if not event_time:
        assert {0.5 + index / 100 for index in range(6)} <= sent


def test_a_silent_models_counters_stand_for_an_hour_and_end() -> None:
    """They are sent at every tick of that hour, get stale markers at one tick, and are sent no more."""
    counters = ResultCounters(1)
    counters.add_predictions(KEY, 10, 1, _NOTHING, 0)
    schedule = WallSchedule(counters)
    totals: list[float] = []
    for tick in range(130):
        for frame in schedule.due(_NOW_NS + tick * 30 * 10**9, tick=True).frames:
            totals += frame.filter(metric="ml_predictions_total").get_column("value").to_list()
    assert totals[:-1] == [0.0] + [10.0] * 121
    assert is_stale(np.array(totals[-1:])).all()


def test_two_sendings_within_a_millisecond_do_not_collide() -> None:
    """Times go on increasing even when the clock does not."""
    schedule = WallSchedule(ResultCounters(1))
    _publish(schedule, evaluated(0))
    dues = [schedule.due(_NOW_NS, tick=True) for _ in range(3)]
    _assert_sendable(dues)


def test_a_silent_model_is_marked_stale_at_one_tick() -> None:
    """The tick after the silence carries stale markers, the one after that nothing."""
    schedule = WallSchedule(ResultCounters(1))
    _publish(schedule, evaluated(0))
    schedule.due(_NOW_NS, tick=True)
    later_ns = _NOW_NS + 4 * 86_400 * 10**9
    stale = schedule.due(later_ns, tick=True)
    assert is_stale(pl.concat(stale.frames).get_column("value").to_numpy()).all()
    assert schedule.due(later_ns + 10**9, tick=True).frames == ()


def test_event_time_stamps_each_window_with_its_end_once() -> None:
    """Ticks send nothing; every window goes out with its own end, whatever the clock says."""
    schedule = EventSchedule(ResultCounters(0))
    windows = [evaluated(index) for index in range(3)]
    _publish(schedule, *windows)
    due = schedule.due(_NOW_NS, tick=True)
    ends_ms = [(window.end_ns or 0) // 10**6 for window in windows]
    assert _scores(due) == [((100 + i) / 1000, end_ms) for i, end_ms in enumerate(ends_ms)]
    assert schedule.due(_NOW_NS + 10**12, tick=True).frames == ()


def test_event_time_sends_by_the_ends_of_windows() -> None:
    """Windows of several models and lengths go out by their ends: Prometheus takes no new series far in the past."""
    schedule = EventSchedule(ResultCounters(0))
    _publish(
        schedule, evaluated(2), evaluated(1, key=ModelKey("other", "", "")), evaluated(5, window="1h"), evaluated(3)
    )
    times_ms = [frame.get_column("timestamp_ms")[0] for frame in schedule.due(_NOW_NS, tick=False).frames]
    assert len(times_ms) == 4
    assert times_ms == sorted(times_ms)


def test_event_time_drops_what_prometheus_would_refuse() -> None:
    """Revisions and older windows are not sent again but counted, in points; `/metrics` still shows a revision."""
    schedule = EventSchedule(ResultCounters(0))
    _publish(schedule, evaluated(0), evaluated(2))
    schedule.due(_NOW_NS, tick=False)
    revised, older = evaluated(2, revision=1, value=0.9), evaluated(1)
    _publish(schedule, revised, older)
    due = schedule.due(_NOW_NS, tick=False)
    assert due.frames == ()
    assert due.dropped == {
        DropReason.REVISED: revised.points(0).height,
        DropReason.OUT_OF_ORDER: older.points(0).height,
    }
    current = schedule.current.snapshot(0)
    assert set(current.filter(pl.col("metric") == "ml_feature_drift_score").get_column("value")) == {0.9}


def test_event_time_needs_an_end() -> None:
    """A window without one is counted, not sent at a made-up time."""
    schedule = EventSchedule(ResultCounters(0))
    window = evaluated(0)
    window = EvaluatedWindow(KEY, window.window, 0, None, None, 0, window.findings)
    _publish(schedule, window)
    due = schedule.due(_NOW_NS, tick=False)
    assert due.frames == ()
    assert due.dropped == {DropReason.NO_TIMESTAMP: window.points(0).height}


def test_event_time_counters_carry_what_was_counted_at_publication() -> None:
    """Each window's samples of the counters are those of its own moment, and none is sent twice for one time."""
    counters = ResultCounters(0)
    schedule = EventSchedule(counters)
    for index in range(3):
        counters.add_predictions(KEY, 10, 0, _NOTHING, 0)
        _publish(schedule, evaluated(index))
    _publish(schedule, evaluated(71, window="1h"))  # Ends with the third day.
    due = schedule.due(_NOW_NS, tick=False)
    totals = pl.concat(due.frames).filter(pl.col("metric") == "ml_predictions_total")
    assert totals.get_column("value").to_list() == [10.0, 20.0, 30.0]
    _assert_sendable([due])


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), event_time=st.booleans())
def test_any_order_of_windows_can_be_sent(seed: int, event_time: bool) -> None:  # noqa: FBT001  # Drawn by hypothesis.
    """Whatever is published in whatever order, no series goes back in time; in event time none is sent twice."""
    rng = random.Random(seed)  # noqa: S311  # Not for secrets.
    counters = ResultCounters(0)
    schedule: Schedule = EventSchedule(counters) if event_time else WallSchedule(counters)
    dues = []
    now_ns = _NOW_NS
    for _ in range(12):
        window = evaluated(
            rng.randrange(6),
            window=rng.choice(["1h", "24h"]),
            revision=rng.randrange(3),
            columns=rng.sample((("temp", "feature"), ("wind", "feature"), ("late", "prediction")), k=rng.randint(1, 3)),
            detected=rng.choice([True, False, None]),
        )
        counters.add_findings(window.findings)
        _publish(schedule, window)
        if rng.random() < 0.5:
            now_ns += rng.choice([0, 10**6, 10**9])
            dues.append(schedule.due(now_ns, tick=rng.random() < 0.5))
    _assert_sendable([*dues, schedule.due(now_ns, tick=True)])


def test_pending_windows_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """When nobody fetches what is due, the oldest windows give way and are counted."""
    monkeypatch.setattr(schedule_module, "PENDING_WINDOWS_MAX", 2)
    for schedule in (WallSchedule(ResultCounters(1)), EventSchedule(ResultCounters(0))):
        _publish(schedule, *(evaluated(index) for index in range(3)))
        due = schedule.due(_NOW_NS, tick=False)
        assert due.dropped == {DropReason.QUEUE_FULL: evaluated(0).points(0).height}
        assert [value for value, _ in _scores(due)] == [0.101, 0.102]
