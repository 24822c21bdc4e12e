"""`driftmeter demo`, as a new user runs it, but without a terminal."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime

import polars as pl
import pytest

from components import free_port
from driftmeter.clock import SystemClock
from end_to_end.flights_by_hand import FLIGHTS
from service_process import driftmeter

DEMO_SECONDS_MAX = 180


@dataclass(frozen=True)
class Demo:
    """One run.

    Attributes:
        output: What it printed.
        seconds: How long it took.
        days: Verdicts of the features, one row per day: window_start, column, detected.
    """

    output: str
    seconds: float
    days: pl.DataFrame

    def drifted_days(self, column: str, month: int | None = None) -> int:
        """On how many days of 2013 a feature was called drifted."""
        rows = self.days.filter(pl.col("column") == column)
        if month is not None:
            rows = rows.filter(pl.col("window_start").dt.month() == month)
        return int(rows["detected"].sum())


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """The demo, run once."""
    out, clock = tmp_path_factory.mktemp("demo"), SystemClock()
    started = clock.monotonic_seconds()
    addresses = [f"127.0.0.1:{free_port()}" for _ in range(2)]
    done = driftmeter(
        "demo", "--out", out, "--listen", addresses[0], "--scrape", addresses[1], timeout_seconds=2 * DEMO_SECONDS_MAX
    )
    assert done.returncode == 0, done.stdout + done.stderr
    findings = pl.read_parquet(out / "findings.parquet")
    days = findings.filter(
        (pl.col("role") == "feature")
        & (pl.col("method") == "jensen_shannon")
        & (pl.col("window_start") < datetime(2014, 1, 1, tzinfo=UTC))
    )
    return Demo(done.stdout, clock.monotonic_seconds() - started, days.select("window_start", "column", "detected"))


def test_demo_is_over_in_time(demo: Demo) -> None:
    """Without a terminal it ends by itself within three minutes."""
    assert demo.seconds < DEMO_SECONDS_MAX


def test_demo_loses_nothing(demo: Demo) -> None:
    """Predictions made, accepted and counted are all the flights after February."""
    line = re.search(r"Predictions: ([\d,]+) made, ([\d,]+) accepted, ([\d,]+) counted", demo.output)
    assert line is not None, demo.output
    served = pl.read_parquet(FLIGHTS).filter(pl.col("scheduled") >= datetime(2013, 3, 1, tzinfo=UTC)).height
    assert [int(number.replace(",", "")) for number in line.groups()] == [served] * 3


def test_demo_finds_what_drifts(demo: Demo) -> None:
    """Temperature: most of May, all summer, hardly any day of December."""
    assert demo.drifted_days("temp", 5) > 31 / 2
    for month, days in ((6, 30), (7, 31), (8, 31), (9, 30)):
        assert demo.drifted_days("temp", month) == days
    assert demo.drifted_days("temp", 12) <= 3


@pytest.mark.parametrize("column", ["hour", "weekday", "carrier", "origin", "distance"])
def test_demo_leaves_alone_what_does_not(demo: Demo, column: str) -> None:
    """Columns that stay as they were are called drifted on no day, distance on at most two."""
    assert demo.days.filter(pl.col("column") == column).height >= 300
    assert demo.drifted_days(column) <= (2 if column == "distance" else 0)


def test_demo_says_where_the_results_are(demo: Demo) -> None:
    """The summary names the file of findings and how to ask `/metrics`."""
    assert "findings.parquet" in demo.output
    assert "/metrics" in demo.output
