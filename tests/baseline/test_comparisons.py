"""What a baseline's chunks are compared with beside the rest of it: by hand, and as windows are compared live."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from driftmeter.baseline.build import build_baseline
from driftmeter.baseline.chunks import Following, cut_rows
from driftmeter.baseline.comparisons import SeasonTables, against_rolling
from driftmeter.baseline.data import Dataset
from driftmeter.baseline.file import read_baseline, write_baseline
from driftmeter.baseline.timeline import Timeline
from driftmeter.detect.reference import Expected
from driftmeter.detect.rolling import RollingReference
from driftmeter.errors import BaselineError
from driftmeter.model.baseline import Comparison
from driftmeter.model.counts import Counts, Tally
from driftmeter.model.layout import Layout
from driftmeter.model.seasons import HOURS_OF_WEEK, hours_of_week
from driftmeter.model.window_counts import WindowCounts
from driftmeter.model.windows import parse_window
from driftmeter.summary.fold import fold
from rows import DAY_NS, HOUR_NS, ONE_COLUMN, dataset

MONDAY_NS = 4 * DAY_NS
Floats = npt.NDArray[np.float64]


def _times(rows: int, days: int) -> npt.NDArray[np.int64]:
    """Times by day alone on most days: nights and some days have no rows."""
    random = np.random.default_rng(3)
    times = MONDAY_NS + random.integers(0, days * DAY_NS, rows)
    awake = (times // HOUR_NS % 24 > 7) & (times // DAY_NS % 5 != 2)
    return np.sort(times[awake])


def _data(times: npt.NDArray[np.int64], x: Floats) -> Dataset:
    return dataset({"time": times.astype("datetime64[ns]"), "x": x}, "time")


@pytest.mark.parametrize("length", ["6h", "24h"])
def test_chunks_and_windows_are_compared_with_the_same_days(length: str) -> None:
    """A rolling reference that sees the chunks as windows expects what the table of chunks says, to the piece."""
    times = _times(3_000, 40)
    window = parse_window(length)
    data = _data(times, np.random.default_rng(4).uniform(0, 3, len(times)))
    timeline = Timeline(data, [window])
    cut = cut_rows(window, timeline, len(times))
    assert cut is not None
    assert cut.starts_ns is not None
    span_ns = 14 * 6 * HOUR_NS if length == "6h" else 14 * DAY_NS  # Pieces are single windows then.
    counts = Counts.zeros(ONE_COLUMN, cut.chunks)
    fold(ONE_COLUMN, data.rows, timeline.slots(window, 0, len(times)), counts)
    found = against_rolling(span_ns)(cut, np.empty((0, 0)))
    assert isinstance(found, Following)
    reference = RollingReference("rolling", ONE_COLUMN, span_ns)
    compared = 0
    for number, start_ns in enumerate(cut.starts_ns.tolist()):
        own = counts.window(number)
        live = WindowCounts(window, number, start_ns, start_ns + window.length_ns, 0, own)
        expected = reference.expect(live, own)
        reference.observe(live, own, drifted=False)
        assert (expected is None) == (not found.there[number])
        if expected is not None:
            days = counts.bins[found.first[number] : found.last[number]]
            np.testing.assert_array_equal(expected.counts, days.sum(axis=0))
            compared += 1
    assert compared > cut.chunks // 2


def test_chunks_without_times_are_compared_with_nothing() -> None:
    """Rolling goes by time: windows by rows of unknown time have none."""
    window, data = parse_window("10rows"), dataset({"x": np.arange(100.0)})
    cut = cut_rows(window, Timeline(data, [window]), 100)
    assert cut is not None
    found = against_rolling(DAY_NS)(cut, np.empty((0, 0)))
    assert isinstance(found, Following)
    assert not found.there.any()


@pytest.mark.parametrize("length", ["1h", "24h", "37rows"])
def test_chunks_are_compared_with_their_hours_outside_their_block(length: str) -> None:
    """By hand: the rows of other blocks, each weighed by the share that its hour has in the chunk."""
    times = _times(2_000, 60)
    random = np.random.default_rng(5)
    x = random.uniform(0, 3, len(times)) * (hours_of_week(times) / HOURS_OF_WEEK)
    window, data = parse_window(length), _data(times, x)
    timeline = Timeline(data, [window])
    cut = cut_rows(window, timeline, len(times))
    assert cut is not None
    (column,) = build_baseline(data, "m", "", []).columns
    hours = SeasonTables(data, timeline, {window: cut}, "UTC").counting(column)
    for first in range(0, len(times), 300):
        hours.add(data.rows.slice(first, 300), first)
    layout = Layout((column.column,), (column.bins,), np.zeros(1))
    expectation = hours.expectations()[window][Comparison.SEASONAL]
    expected_by_hour = expectation(cut, np.empty((0, 0)))
    assert not isinstance(expected_by_hour, Following)
    parts = list(expected_by_hour)
    found = np.concatenate([part.expected for part in parts])
    against = np.concatenate([part.against + part.first for part in parts])
    alone = Counts.zeros(layout, len(times))
    fold(layout, data.rows, np.arange(len(times), dtype=np.int32), alone)
    slots = timeline.slots(window, 0, len(times))
    block_of = np.append(cut.blocks, cut.blocks.max() + 1)[np.minimum(slots, cut.chunks)]
    for chunk in range(0, cut.chunks, max(1, cut.chunks // 9)):
        expected = _by_hand(hours_of_week(times), slots == chunk, block_of != cut.blocks[chunk], alone.bins)
        assert against[chunk] == chunk
        np.testing.assert_allclose(found[chunk], expected.counts, rtol=1e-9)


def _by_hand(
    hours: npt.NDArray[np.int64],
    chunk: npt.NDArray[np.bool_],
    rest: npt.NDArray[np.bool_],
    bins: npt.NDArray[np.uint64],
) -> Expected:
    mix = np.bincount(hours[chunk], minlength=HOURS_OF_WEEK) / chunk.sum()
    usual = np.bincount(hours[rest], minlength=HOURS_OF_WEEK)
    weights = (
        np.where(usual[hours] > 0, mix[hours] / np.maximum(usual[hours], 1), 0) + mix[usual == 0].sum() / rest.sum()
    )
    weights = np.where(rest, weights, 0.0)
    lost = mix[usual == 0].sum()
    rows = 1 / (np.sum(mix[usual > 0] ** 2 / usual[usual > 0]) + lost**2 / rest.sum())
    return Expected(weights @ bins.astype(np.float64) * rows, float(rows), np.zeros((1, len(Tally))))


def test_seasonal_baselines_hold_their_hours(tmp_path: Path) -> None:
    """Rows and counts by hour of the week are in the file, and chunks are compared by them; others have none of it."""
    times = _times(4_000, 30)
    random = np.random.default_rng(6)
    frame = {
        "time": times.astype("datetime64[ns]"),
        "x": random.normal(size=len(times)),
        "c": random.choice(["a", "b"], len(times)).tolist(),
    }
    windows = [parse_window("24h"), parse_window("100rows")]
    data = dataset(frame, "time")
    built = build_baseline(data, "m", "", windows, season_zone="UTC")
    assert built.hours is not None
    assert int(built.hours.sum()) == len(times)
    assert built.layout.zone == "UTC"
    write_baseline(built, tmp_path / "b.parquet")
    read = read_baseline(tmp_path / "b.parquet")
    assert read.hours is not None
    np.testing.assert_array_equal(read.hours, built.hours)
    for mine, theirs in zip(built.columns, read.columns, strict=True):
        assert mine.seasons is not None
        assert theirs.seasons is not None
        for name in ("starts", "places", "bins", "tallies"):
            np.testing.assert_array_equal(getattr(mine.seasons, name), getattr(theirs.seasons, name))
    seasonal = read.chunks["24h"].compared[Comparison.SEASONAL].squared["jensen_shannon"]
    assert np.isfinite(seasonal).all()
    plain = build_baseline(data, "m", "", windows)
    assert (plain.hours, plain.columns[0].seasons) == (None, None)
    assert Comparison.SEASONAL not in plain.chunks["24h"].compared
    write_baseline(plain, tmp_path / "p.parquet")
    assert read_baseline(tmp_path / "p.parquet").hours is None
    assert replace(plain, hours=built.hours).layout.fingerprint != plain.layout.fingerprint


def test_seasons_need_times() -> None:
    """Without timestamps there are no hours: the message says what to do."""
    with pytest.raises(BaselineError, match="--timestamp"):
        build_baseline(dataset({"x": np.arange(100.0)}), "m", "", [], season_zone="UTC")
