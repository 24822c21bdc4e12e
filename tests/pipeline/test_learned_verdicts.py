"""A learned baseline is provisional until it has seen a week of its own windows; then verdicts begin."""

import numpy as np
import polars as pl
import pytest

from driftmeter.detect.live_chunks import LiveChunks
from driftmeter.detect.null import Measured
from driftmeter.methods import DECIDING_METHODS
from driftmeter.methods.ratios import RATIOS
from driftmeter.model.baseline import Comparison
from driftmeter.model.counts import Counts
from driftmeter.model.window_counts import WindowCounts
from driftmeter.model.windows import parse_window
from export_samples import StillClock
from rows import DAY_NS, HOUR_NS, ONE_COLUMN
from stored_states import again, assert_damage_is_named
from watched_pipeline import START_NS, WatchedPipeline

CONFIG = {
    "window": {"lengths": ["1h"], "out_of_orderness": "1s"},
    "baseline": {"learn_rows": 400},
    "detect": {"min_rows": 10},
}


def _hours(pipeline: WatchedPipeline, first: int, last: int, mean: float = 0.0) -> None:
    random = np.random.default_rng(first)
    for number in range(first, last):
        at_ns = START_NS + number * HOUR_NS + 2 * 10**9  # Past what is out of order.
        pipeline.clock.ns = at_ns + 1
        pipeline.send([{"x": float(x)} for x in random.normal(mean, 1, 50)], at_ns)


def _verdicts(pipeline: WatchedPipeline) -> pl.DataFrame:
    findings = pl.concat([each.findings for each in pipeline.windows_of()])
    return findings.filter((pl.col("method") == "jensen_shannon") & (pl.col("column") == "x"))


def test_verdicts_begin_after_a_week() -> None:
    """No verdict in the first week; then a jump is called drift; the metric says since when it is not provisional."""
    pipeline = WatchedPipeline(CONFIG, clock=StillClock(START_NS))
    _hours(pipeline, 0, 100)
    assert set(_verdicts(pipeline)["reason"]) == {"provisional"}
    pipeline.tick(revise=False)
    assert 'provisional="true"' in pipeline.telemetry.expose()
    _hours(pipeline, 100, 200)
    _hours(pipeline, 200, 206, mean=4.0)
    pipeline.tick(revise=False)
    found = _verdicts(pipeline)
    begun = found.filter(pl.col("detected").is_not_null())
    assert 160 <= begun["window_index"].min() <= 172  # type: ignore[operator]
    assert begun["detected"].to_list()[-5:] == [False, True, True, True, True]
    assert not begun["detected"][:-4].any()
    assert set(begun["baseline"]) == {"learned"}
    shown = pipeline.telemetry.expose()
    assert 'provisional="false"' in shown
    assert 'provisional="true"' not in shown
    pipeline.assert_ledger_holds()


def _measured(number: int, columns: int) -> Measured:
    random = np.random.default_rng(number)
    return Measured(
        starts_ns=None,
        rows=np.array([100.0]),
        values=np.full((1, columns), 99.0),
        compared=np.full((1, columns), 1_000.0),
        squared={key: random.random((1, columns)) for key in DECIDING_METHODS},
        hits={key: random.integers(0, 9, (1, columns)).astype(np.float64) for key in RATIOS},
    )


def _window(number: int, name: str = "6h") -> WindowCounts:
    length = parse_window(name)
    start_ns = number * length.hop_ns
    return WindowCounts(length, number, start_ns, start_ns + length.length_ns, 0, Counts.zeros(ONE_COLUMN))


def test_live_windows_are_kept_as_chunks() -> None:
    """What was measured of each window stands in the tables, in four blocks of time."""
    live = LiveChunks(3)
    for number in range(40):
        live.observe(_window(number), _measured(number, 3))
    (chunks,) = live.chunks().values()
    compared = chunks.compared[Comparison.REST]
    for number in (0, 17, 39):
        measured = _measured(number, 3)
        for key in DECIDING_METHODS:
            np.testing.assert_array_equal(compared.squared[key][number], measured.squared[key][0])
        for key in RATIOS:
            np.testing.assert_array_equal(chunks.ratios[key][number], measured.hits[key][0])
    assert chunks.starts_ns is not None
    assert chunks.starts_ns.tolist() == [number * 6 * HOUR_NS for number in range(40)]
    assert sorted(set(chunks.blocks.tolist())) == [0, 1, 2, 3]
    assert (compared.rows == 1_000).all()


@pytest.mark.parametrize(("windows", "name", "enough"), [(27, "6h", False), (28, "6h", True), (19, "12h", False)])
def test_enough_is_a_week_and_twenty_windows(windows: int, name: str, *, enough: bool) -> None:
    """Both are needed: twenty windows of some length, and seven days."""
    live = LiveChunks(1)
    for number in range(windows):
        live.observe(_window(number, name), _measured(number, 1))
    assert live.enough == enough


def test_windows_that_overlap_are_taken_once() -> None:
    """Of hopping windows the disjoint ones are chunks, under the name of the length alone."""
    live = LiveChunks(1)
    for number in range(48):
        live.observe(_window(number, "24h every 1h"), _measured(number, 1))
    assert set(live.chunks()) == {"24h"}
    assert (live.first_ns, live.last_ns) == (0, 2 * DAY_NS)


@pytest.mark.parametrize(("room", "lengths"), [(40, {"6h", "24h"}), (37, {"6h", "24h"}), (30, {"24h"})])
def test_lengths_without_room_for_all_of_the_time_are_left_out(
    monkeypatch: pytest.MonkeyPatch, room: int, lengths: set[str]
) -> None:
    """A level is so many alarms in all of the time: windows of the first three quarters of it cannot say."""
    monkeypatch.setattr("driftmeter.detect.live_chunks.CELLS_MAX", room)
    live = LiveChunks(1)
    for number in range(40):
        live.observe(_window(number), _measured(number, 1))
    for number in range(10):
        live.observe(_window(number, "24h"), _measured(number, 1))
    assert set(live.chunks()) == lengths


def test_live_windows_survive_a_restart() -> None:
    """Stored and restored, the tables are the same; damage is named."""
    live, other = LiveChunks(2), LiveChunks(2)
    for number in range(9):
        live.observe(_window(number), _measured(number, 2))
        other.observe(_window(number), _measured(number, 2))
        tree = again(other.state())
        other = LiveChunks(2)
        other.restore(tree)
    (one,), (two,) = live.chunks().values(), other.chunks().values()
    np.testing.assert_array_equal(one.values, two.values)
    for key in DECIDING_METHODS:
        ours, theirs = (each.compared[Comparison.REST].squared[key] for each in (one, two))
        np.testing.assert_array_equal(ours, theirs)
    assert (live.first_ns, live.last_ns) == (other.first_ns, other.last_ns)
    assert_damage_is_named(other.state(), LiveChunks(2).restore, 1)
