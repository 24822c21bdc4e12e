"""`driftmeter demo`, as a new user runs it, but without a terminal."""

import re
import shlex
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime

import polars as pl
import pytest

from components import free_port
from end_to_end.flights_by_hand import FLIGHTS
from service_process import driftmeter

DEMO_PATIENCE_SECONDS = 600


@dataclass(frozen=True)
class Demo:
    """One run.

    Attributes:
        output: What it printed.
        findings: Of the deciding method for the features, in order.
    """

    output: str
    findings: pl.DataFrame

    @property
    def days(self) -> pl.DataFrame:
        """One row per feature and day of 2013."""
        return self.findings.filter(pl.col("window_start") < datetime(2014, 1, 1, tzinfo=UTC))

    def drifted_days(self, column: str, month: int | None = None) -> int:
        """On how many days of 2013 a feature was called drifted."""
        rows = self.days.filter(pl.col("column") == column)
        if month is not None:
            rows = rows.filter(pl.col("window_start").dt.month() == month)
        return int(rows["detected"].sum())


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """The demo, run once."""
    out = tmp_path_factory.mktemp("demo")
    addresses = [f"127.0.0.1:{free_port()}" for _ in range(2)]
    done = driftmeter(
        "demo", "--out", out, "--listen", addresses[0], "--scrape", addresses[1], timeout_seconds=DEMO_PATIENCE_SECONDS
    )
    assert done.returncode == 0, done.stdout + done.stderr
    findings = pl.read_parquet(out / "findings.parquet").filter(
        (pl.col("role") == "feature") & (pl.col("method") == "jensen_shannon")
    )
    return Demo(done.stdout, findings)


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


@pytest.mark.parametrize("column", ["hour", "weekday", "carrier", "origin"])
def test_demo_leaves_alone_what_does_not(demo: Demo, column: str) -> None:
    """Columns that stay as they were are called drifted on no day."""
    assert demo.days.filter(pl.col("column") == column).height >= 300
    assert demo.drifted_days(column) == 0


def test_demo_sees_when_people_fly_home(demo: Demo) -> None:
    """Distance drifts around the Fourth of July, Labor Day and Christmas, and on one weekend in August."""
    drifted = demo.days.filter(pl.col("column") == "distance", pl.col("detected"))
    holidays = {f"12-{day}" for day in range(22, 32)} | {"07-06", "07-07", "07-08", "09-01", "09-02", "09-03"}
    assert set(drifted["window_start"].dt.strftime("%m-%d")) <= holidays | {"08-18", "08-19", "08-20"}


def test_demo_says_where_the_results_are(demo: Demo) -> None:
    """The summary names the file of findings and a command that works when the demo is over."""
    command = re.search(r"^Look: (.*)$", demo.output, re.MULTILINE)
    assert command is not None, demo.output
    assert "findings.parquet" in command[1]
    shown = subprocess.run(shlex.split(command[1]), capture_output=True, text=True, check=True)
    assert "temp" in shown.stdout
    assert "/metrics" not in demo.output  # Nobody answers there any more.


def test_demo_tells_each_month(demo: Demo) -> None:
    """One line for each of the ten, December included."""
    lines = re.findall(r"^(\w{3}): ", demo.output, re.MULTILINE)
    assert lines == ["Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]


def test_demo_shows_the_last_day_that_was_judged(demo: Demo) -> None:
    """The year's last hours in UTC are too few flights to judge: score, noise and rows are of the day before."""
    last = demo.findings.filter(pl.col("detected").is_not_null()).group_by("column").last()
    rows = dict(last.select("column", "rows").iter_rows())
    assert rows["carrier"] > 500
    for column in ("carrier", "temp", "plane_age"):
        line = re.search(rf"^ {column} +[\d.]+ +[\d.]+ +([\d,]+) ", demo.output, re.MULTILINE)
        assert line is not None, demo.output
        assert int(line[1].replace(",", "")) == rows[column]
