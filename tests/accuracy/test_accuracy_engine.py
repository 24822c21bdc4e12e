"""The tables watch with the detector's own parts: they must say what the detector says."""

import numpy as np
import pytest

from accuracy import engine, traffic
from accuracy.drawn import draw_baseline, draw_windows
from accuracy.rates import alarms
from driftmeter.model.windows import WEEK_NS, parse_window

DAY, HOUR = parse_window("24h"), parse_window("1h")


@pytest.mark.parametrize("every_effect", [True, False])
def test_watch_and_detector_give_the_same_verdicts(*, every_effect: bool) -> None:
    """On wandering columns with two weeks of drift, window by window, by the level that each chooses."""
    rows = traffic.autoregressive(np.random.default_rng(5), 3, 84, 200)
    drifting = (rows.times_ns >= 10 * WEEK_NS) & (rows.times_ns < 11 * WEEK_NS)
    columns = {name: values.astype(np.float64) + 2.0 * drifting for name, values in rows.columns.items()}
    rows = traffic.Rows(columns, rows.times_ns, rows.sources)
    known, live = rows.between(0, 8 * WEEK_NS), rows.between(8 * WEEK_NS, 12 * WEEK_NS)
    baseline = engine.build(known.columns, known.times_ns, [DAY])
    config = engine.config(1.0, every_effect=every_effect)
    watch = engine.Watch(baseline, DAY, [config])
    levels = watch.drift_levels(engine.count(baseline, live.columns, live.times_ns, DAY))[0]
    expected = engine.judge(baseline, engine.count(baseline, live.columns, live.times_ns, DAY), config)
    assert (levels < watch.levels([1.0])[0][0]).astype(float).tolist() == expected.tolist()
    assert 0 < expected.sum() < len(expected)


def test_independent_counts_raise_the_alarms_asked_for() -> None:
    """Ten columns, a thousand rows an hour, ten alarms a week allowed: no more, and at least a fifth of it."""
    rng = np.random.default_rng(11)
    drawn = draw_baseline(rng, 10, 1_000, HOUR, 8 * 168)
    watch = engine.Watch(drawn.baseline, HOUR, [engine.config(every_effect=True)])
    levels = watch.drift_levels(draw_windows(rng, drawn, 1_000, HOUR, 8 * 168, 4 * 168))[0]
    found = alarms((levels < watch.levels([10.0])[0][0]).astype(np.float64)).sum() / 4
    assert 2 <= found <= 12  # Four weeks with 10 a week have 40; 48 are more than a standard deviation too many.


def test_days_that_depend_on_each_other_do_not_keep_a_model_drifted() -> None:
    """Half a year of wandering days: within the time that may be drifted, with room for the wandering itself."""
    rows = traffic.autoregressive(np.random.default_rng(2), 10, 52 * 7, 300)
    known, live = rows.between(0, 26 * WEEK_NS), rows.between(26 * WEEK_NS, 52 * WEEK_NS)
    baseline = engine.build(known.columns, known.times_ns, [DAY])
    watch = engine.Watch(baseline, DAY, [engine.config(every_effect=True)])
    levels = watch.drift_levels(engine.count(baseline, live.columns, live.times_ns, DAY))[0]
    drifted = levels < watch.levels([1.0])[0][0]
    assert alarms(drifted.astype(np.float64)).sum() / 26 <= 1
    assert drifted.mean() < 0.5
