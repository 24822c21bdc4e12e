"""Every command, configuration and snippet of the pages about baselines, windows and the journal is run here."""

import datetime as dt
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml

from driftmeter.clock import SystemClock
from driftmeter.journal.files import RealFiles
from driftmeter.journal.quarantine import DiskQuarantine
from driftmeter.model.request import Request, Signal
from driftmeter.model.windows import HOUR_NS
from otlp_samples import usual_request
from pages import blocks, commands, run, some_rows
from programs import wait_until
from service_process import complete, run_service
from spans import identity, request_of, requests_of, send

ROWS = 600
PAGES = ("docs/baselines.md", "docs/windows.md", "docs/decisions.md", "docs/journal.md")


@dataclass(frozen=True)
class Reader:
    """What the reader has: training data, and the state of a service that ran with the page's directory.

    Attributes:
        folder: Where the commands are run.
    """

    folder: Path

    def run(self, line: str) -> str:
        """Run one line in the folder, where the default directory is that of the service."""
        environment = {**os.environ, "DRIFTMETER_JOURNAL__DIRECTORY": str(self.folder / "state")}
        return run(line, self.folder, environment)


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    """Rows of ten days sent to a service that archives at once; three requests in quarantine."""
    folder = tmp_path_factory.mktemp("reader")
    train = some_rows(dt.datetime(2026, 1, 1, tzinfo=dt.UTC), 30)
    random = np.random.default_rng(1)
    train.with_columns(
        country=random.choice(["DE", "FR", "IT"], train.height),
        query=random.choice(["how much is it", "where is it", "cheap flights to Rome"], train.height),
        vector=random.normal(size=(train.height, 8)),
    ).write_parquet(folder / "train.parquet")
    state = folder / "state"
    config = complete({"window": {"clock": "data", "lengths": ["24h"]}, "journal": _archiving(state)}, folder)
    with run_service(config, folder) as service:
        send(service.otlp, *_live_requests())
        more = count(100)  # The archive takes what a snapshot covers, and both go on while something comes.
        wait_until("the archive holds them", lambda: bool(send(service.otlp, _ping(next(more)))) and _archived(state))
        service.stop()
    quarantine = DiskQuarantine(RealFiles(), state / "quarantine", 1 << 20)
    for seed in range(3):
        quarantine.keep(Request(Signal.TRACES, usual_request(10, seed)), 10, ValueError("no idea"), 0)
    return Reader(folder)


def _archiving(state: Path) -> dict[str, Any]:
    return {"directory": str(state), "segment_bytes": 100_000, "snapshot_interval": "1s"}


def _ping(number: int) -> bytes:
    return request_of([{}], [SystemClock().now_ns()], identity("ping"), number)


def _archived(state: Path) -> bool:
    return {"model=flights", "model=price"} <= {path.name for path in (state / "archive").glob("model=*")}


def _live_requests() -> Iterator[bytes]:
    """Ten days of the price model up to an hour ago, then flights, and more prices."""
    now = pl.Series([SystemClock().now_ns() // HOUR_NS * HOUR_NS]).cast(pl.Datetime("ns", "UTC"))[0]
    rows = some_rows(now - dt.timedelta(days=10), 10).filter(pl.col("time") < now - dt.timedelta(hours=1))
    table = rows.select(
        pl.col("age").alias("ml.feature.age"),
        pl.col("region").alias("ml.feature.region"),
        pl.col("price").alias("ml.prediction.price"),
    )
    ends_ns = rows["time"].dt.timestamp("ns").to_list()
    half = table.height // 2
    yield from requests_of(table[:half], ends_ns[:half], identity("price", "3"))
    yield request_of([{"ml.feature.distance": 1.0 * i} for i in range(ROWS)], [ends_ns[-1]] * ROWS, identity("flights"))
    yield from requests_of(table[half:], ends_ns[half:], identity("price", "3"), first_number=half)


@pytest.mark.parametrize("page", ["docs/baselines.md", "docs/journal.md"])
def test_commands_succeed_in_the_order_they_are_given(reader: Reader, page: str) -> None:
    """Each line of the page, but for those that look at a running service, does what it says."""
    lines = [line for line in commands(page) if not _beside_service(line)]
    assert len(lines) >= 5
    there = json.loads(reader.run("driftmeter journal inspect --config driftmeter.yaml --json"))["segments"][-1]["last"]
    for line in lines:
        # Entry 1234 of the page's journal is the last one of ours; who is at a terminal is asked before a drop.
        ours = line.replace(" 1234", f" {there}").replace(" drop 3", " drop 3 --yes")
        assert reader.run(ours).strip(), line


def _beside_service(line: str) -> bool:
    """Whether a command is about the machine that it runs on: tests/cli looks at those."""
    return " doctor" in line


def test_every_command_of_these_pages_is_run_here() -> None:
    """No page about running the service has a command that no test knows."""
    assert {page for page in PAGES if commands(page)} == {"docs/baselines.md", "docs/journal.md"}
    others = [line for page in PAGES for line in commands(page) if _beside_service(line)]
    assert others == ["driftmeter doctor"]


def test_archive_is_read_as_the_page_says(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page's lines for polars find the rows of a day."""
    (snippet,) = blocks("docs/journal.md", "python")
    monkeypatch.chdir(reader.folder)
    date = pl.read_parquet(reader.folder / "state/archive/model=flights/**/*.parquet")["event_time"].dt.date()[0]
    lines = snippet.replace("pl.date(2026, 11, 21)", f"pl.date({date.year}, {date.month}, {date.day})")
    names: dict[str, Any] = {}
    exec(lines.replace("rows.filter", "found = rows.filter"), names)  # noqa: S102 - the page's own lines.
    assert names["found"].height == ROWS


@pytest.mark.parametrize("page", PAGES)
def test_configurations_are_accepted(reader: Reader, page: str) -> None:
    """Each configuration on the page passes `driftmeter config check` beside a directory of its own."""
    for number, block in enumerate(blocks(page, "yaml")):
        file = reader.folder / f"page-{number}.yaml"
        config = {**yaml.safe_load(block), "journal": {"directory": str(reader.folder / "other")}}
        file.write_text(yaml.safe_dump(config), encoding="utf-8")
        assert "good" in reader.run(f"driftmeter config check {file.name}")
