"""What the service does about snapshots, recovery and its end when something goes wrong there."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import polars as pl
import pytest

from driftmeter.accounts import Accounts
from driftmeter.app import Service
from driftmeter.baseline.file import write_baseline
from driftmeter.config import Config
from driftmeter.errors import DriftmeterError, TransientError
from driftmeter.export.exporter import Exporter
from driftmeter.journal.archive import Archive
from driftmeter.journal.entries import RowsEntry
from driftmeter.journal.store import DiskJournal
from driftmeter.keeper import Keeper
from driftmeter.model.receipt import Receipt
from driftmeter.model.request import Request, Signal
from driftmeter.telemetry.metrics import RowOutcome
from export_samples import StillClock
from spans import identity, request_of
from watched_pipeline import START_NS, baseline_of

Result = TypeVar("Result")
ROWS = pl.DataFrame({"size": np.random.default_rng(0).normal(size=500)})


async def at_once(work: Callable[[], Result]) -> Result:
    """Runs work here: nothing else is going on."""
    return work()


def service_in(directory: Path, clock: StillClock | None = None) -> Service:
    """A service that nobody has started, with its state in a directory and a baseline for the model `prices`."""
    file = directory / "prices.parquet"
    if not file.exists():
        write_baseline(baseline_of(ROWS, "prices"), file)
    config = Config.model_validate({
        "journal": {"directory": str(directory / "state"), "min_free_bytes": 0},
        "window": {"lengths": ["1m", "5m"], "out_of_orderness": "1s"},
        "baseline": {"files": [str(file)]},
        "export": {"scrape": {"listen": None}},
    })  # fmt: skip
    return Service(config, clock or StillClock(START_NS))


def keeper_of(service: Service) -> Keeper:
    """The keeper of its state."""
    assert service._keeper is not None
    return service._keeper


def rows(first: int, count: int = 10, end_ns: int = START_NS) -> Request:
    """A request of so many spans."""
    values = [{"ml.feature.size": float(number)} for number in range(count)]
    return Request(Signal.TRACES, request_of(values, [end_ns] * count, identity("prices"), first))


def keep(service: Service) -> bool:
    """Takes a snapshot."""

    async def keeping() -> bool:
        return await keeper_of(service).keep(at_once, at_once=True)

    return asyncio.run(keeping())


def snapshots_in(directory: Path) -> list[int]:
    """Sequences of the snapshots on disk."""
    assert isinstance(directory, Path)
    return [int(path.stem) for path in sorted((directory / "state" / "snapshots").glob("*.snapshot"))]


def test_an_archive_that_cannot_be_trimmed_does_not_keep_snapshots_from_being_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The snapshot is there, the fault is counted, and it is not the snapshot that is said to have failed."""

    def fail(_: Archive) -> None:
        raise PermissionError("read-only")

    monkeypatch.setattr(Archive, "trim", fail)
    service = service_in(tmp_path)
    assert service._pipeline.accept([rows(0)]) == [Receipt()]
    assert keep(service)
    assert snapshots_in(tmp_path) == [1]
    assert service.telemetry.snapshots.value(result="ok") == 1
    assert service.telemetry.internal_errors.value() == 1
    service._close()


def test_a_fault_in_taking_the_state_is_counted_and_the_next_snapshot_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exporter that cannot tell its state once: one snapshot failed, the next one is on disk."""
    state, faults = Exporter.state, [AssertionError("state")]

    def fail_once(self: Exporter) -> object:
        if faults:
            raise faults.pop()
        return state(self)

    monkeypatch.setattr(Exporter, "state", fail_once)
    service = service_in(tmp_path)
    service._pipeline.accept([rows(0)])
    assert not keep(service)
    assert service.telemetry.snapshots.value(result="failed") == 1
    assert keep(service)
    assert snapshots_in(tmp_path) == [1]
    service._close()


def test_recovery_can_be_given_up_and_is_made_by_the_next_start(tmp_path: Path) -> None:
    """A service told to stop while it recovers stops at the next entry; nothing of the journal is lost by it."""
    service = service_in(tmp_path)
    service._pipeline.accept([rows(0)])
    service._pipeline.accept([rows(100)])
    service._close()
    again = service_in(tmp_path)
    asked = iter([False, True])
    with pytest.raises(TransientError, match="told to stop"):
        keeper_of(again).replay(lambda: next(asked))
    again._close()
    last = service_in(tmp_path)
    keeper_of(last).replay(lambda: False)
    assert last.telemetry.rows.value(outcome=RowOutcome.COUNTED) == 20
    last._close()


def test_windows_that_a_replay_closes_are_counted_before_anything_is_shown(tmp_path: Path) -> None:
    """Counters of evaluated windows stand after recovery where they stood before the crash: none steps back."""
    clock = StillClock(START_NS)
    service = service_in(tmp_path, clock)
    for minute in range(4):
        end_ns = START_NS + minute * 60 * 10**9
        clock.ns = end_ns
        service._pipeline.accept([rows(100 * minute, end_ns=end_ns)])
        service._pipeline.settle()
    before = service._exporter.counters.points(0)
    assert before.filter(pl.col("metric") == "ml_evaluated_windows_total")["value"].sum() == 2
    service._close()
    again = service_in(tmp_path, clock)
    keeper_of(again).replay(lambda: False)
    after = again._exporter.counters.points(0)
    order = ["metric", "labels"] if "labels" in after.columns else after.columns
    assert after.sort(order).equals(before.sort(order))
    again._close()


def test_state_that_fell_behind_the_journal_is_neither_kept_nor_counted_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault behind the commit: its sender has its answer, later ones try again, and a new start puts it right."""
    take_in, faults = Accounts.take_in, [MemoryError("accounts")]

    def fail_once(self: Accounts, entry: RowsEntry) -> None:
        if faults:
            raise faults.pop()
        take_in(self, entry)

    monkeypatch.setattr(Accounts, "take_in", fail_once)
    service = service_in(tmp_path)
    assert service._pipeline.accept([rows(0)]) == [Receipt()]
    (refused,) = service._pipeline.accept([rows(100)])
    assert isinstance(refused, TransientError)
    assert not keep(service)
    assert snapshots_in(tmp_path) == []
    service._close()
    again = service_in(tmp_path)
    keeper_of(again).replay(lambda: False)
    assert again.telemetry.rows.value(outcome=RowOutcome.COUNTED) == 10
    (taken,) = again._pipeline.accept([rows(100)])
    assert not isinstance(taken, DriftmeterError)
    again._close()


def test_what_could_not_be_written_down_is_written_with_what_comes_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tick that closes windows while the disk is full is in the journal once there is room: a replay is the same."""
    clock = StillClock(START_NS)
    service = service_in(tmp_path, clock)
    service._pipeline.accept([rows(0)])
    append, full = DiskJournal.append, [True]

    def append_unless_full(self: DiskJournal, entry: object) -> int:
        if full:
            raise TransientError("full")
        return append(self, entry)  # type: ignore[arg-type]

    monkeypatch.setattr(DiskJournal, "append", append_unless_full)
    clock.ns += 3 * 60 * 10**9
    service._pipeline.tick(revise=False)
    service._pipeline.settle()
    full.clear()
    late = rows(100)  # For the window that has been evaluated.
    service._pipeline.accept([late])
    clock.ns += 10**9
    service._pipeline.tick(revise=True)
    service._pipeline.settle()
    shown = service._exporter.current_points()
    service._close()
    again = service_in(tmp_path, clock)
    keeper_of(again).replay(lambda: False)
    assert again._exporter.current_points().sort(shown.columns).equals(shown.sort(shown.columns))
    again._close()
