"""Hours of the week, and rows counted by them."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from driftmeter.errors import ConfigError
from driftmeter.model.counts import Counts, PackedCounts, Tally
from driftmeter.model.layout import Layout
from driftmeter.model.seasons import HOURS_OF_WEEK, ColumnSeasons, hours_of_week
from driftmeter.summary.fold import fold
from rows import ONE_COLUMN, assert_same_counts, predictions

BY_HOUR = Layout(ONE_COLUMN.columns, ONE_COLUMN.bins, ONE_COLUMN.centers, zone="UTC")


def test_hours_are_those_of_the_calendar() -> None:
    """Hour 0 is Monday 00:00 UTC, before and after 1970 alike."""
    times = [datetime(1969, 12, 1, tzinfo=UTC) + timedelta(hours=7 * each, minutes=59) for each in range(90_000)]
    expected = [time.weekday() * 24 + time.hour for time in times]
    times_ns = np.array([int(time.timestamp()) * 10**9 for time in times])
    assert hours_of_week(times_ns).tolist() == expected


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Asia/Kathmandu"])
def test_hours_go_by_the_clocks_of_a_time_zone(zone: str) -> None:
    """As Python's own calendar has it, winter and summer, and in a zone that is off by three quarters of an hour."""
    starts = [datetime(2013, 1, 1, tzinfo=UTC) + timedelta(minutes=37 * each) for each in range(15_000)]
    times = [time.astimezone(ZoneInfo(zone)) for time in starts]
    expected = [time.weekday() * 24 + time.hour for time in times]
    times_ns = np.array([int(time.timestamp()) * 10**9 for time in starts])
    assert hours_of_week(times_ns, zone).tolist() == expected


def test_an_unknown_time_zone_is_named() -> None:
    """The message says which one, and how they are written."""
    with pytest.raises(ConfigError, match="'Berlin': there is none of this name; write one such as Europe/Berlin"):
        hours_of_week(np.zeros(1, np.int64), "Berlin")


def test_rows_are_counted_by_window_and_hour() -> None:
    """Each row is counted in the hour of its own event time; packed, stored and added counts have the same."""
    random = np.random.default_rng(5)
    times, slots = random.integers(0, 10**18, 500), random.integers(0, 3, 500).astype(np.int32)
    counts = Counts.zeros(BY_HOUR, 3)
    fold(BY_HOUR, predictions(times, {"x": np.ones(500)}).rows, slots, counts)
    expected = np.zeros((3, HOURS_OF_WEEK), np.uint64)
    np.add.at(expected, (slots, hours_of_week(times)), 1)
    np.testing.assert_array_equal(counts.hours, expected)
    first = counts.window(0)
    packed = PackedCounts.from_state(first.packed().state(), BY_HOUR)
    assert_same_counts(packed.dense(BY_HOUR), first)
    assert_same_counts(Counts.from_state(counts.state(), BY_HOUR), counts)
    twice = packed.dense(BY_HOUR)
    twice.add(packed)
    np.testing.assert_array_equal(twice.hours, 2 * expected[:1])


def test_other_layouts_count_no_hours() -> None:
    """Counting by hour costs nothing where it was not asked for."""
    counts = Counts.zeros(ONE_COLUMN, 2)
    fold(ONE_COLUMN, predictions([1, 2], {"x": [1.0, 2.0]}).rows, np.array([0, 1], np.int32), counts)
    assert counts.hours.shape == (2, 0)


def test_seasons_leave_out_empty_bins() -> None:
    """What is kept of a column's hours is every count that is not zero, by hour and place."""
    random = np.random.default_rng(6)
    bins = (random.integers(0, 5, (HOURS_OF_WEEK, 9)) * random.integers(0, 2, (HOURS_OF_WEEK, 9))).astype(np.uint64)
    bins[[0, 5, 167]] = 0
    seasons = ColumnSeasons.of(bins, np.zeros((HOURS_OF_WEEK, len(Tally)), np.uint64))
    dense = np.zeros_like(bins)
    for hour in range(HOURS_OF_WEEK):
        part = slice(seasons.starts[hour], seasons.starts[hour + 1])
        dense[hour, seasons.places[part]] = seasons.bins[part]
    np.testing.assert_array_equal(dense, bins)
    assert np.count_nonzero(bins) == len(seasons.bins)
