"""What a restart with another configuration costs, and what one without a directory does."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from driftmeter.baseline.file import hashed
from restarting import Restarting
from traffic import BASELINE, BASELINES, CONFIG, OTHER_BASELINE, Sent, requests_of
from watched_pipeline import START_NS, baseline_of


def send(it: Restarting, first: int, *models: str) -> None:
    """Ten spans of each model."""
    spans = [
        Sent(first + 10 * place + number, model, "row", START_NS)
        for place, model in enumerate(models)
        for number in range(10)
    ]
    it.take(*requests_of(spans))
    it.assert_ledger_holds()


@pytest.mark.parametrize("snapshot", [False, True])
def test_another_baseline_gives_up_open_windows_and_nothing_else(
    tmp_path: Path,
    snapshot: bool,  # noqa: FBT001
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is said, other models go on, and what was seen is still known; entries behind the snapshot count anew."""
    other = hashed(baseline_of(pl.DataFrame({"size": np.random.default_rng(5).normal(size=200)}), "prices"))
    with Restarting(CONFIG, BASELINES, tmp_path) as it:
        send(it, 0, "prices", "delays")
        if snapshot:
            it.snapshot()
        send(it, 100, "prices", "delays")
        it.baselines = (other, OTHER_BASELINE)
        with caplog.at_level(logging.WARNING):
            it.restart()
        assert ("its open windows are given up" in caplog.text) == snapshot
        send(it, 0, "prices", "delays")
        assert it.rows("duplicate") == 20
        assert it.rows("counted") == 40
        it.close_all_windows()
        rows = {
            key.model: int(window.quality["rows"][0])
            for ((key, length, *_), _), window in it.seen.evaluated.items()
            if length == "5m"
        }
    assert rows == {"prices": 10 if snapshot else 20, "delays": 20}


def test_a_baseline_that_is_gone_is_learned(tmp_path: Path) -> None:
    """The start is not stopped, and rows wait for a baseline of their own."""
    with Restarting(CONFIG, BASELINES, tmp_path) as it:
        send(it, 0, "prices")
        it.snapshot()
        it.baselines = ()
        it.restart()
        send(it, 100, "prices")
        assert it.telemetry.pending_rows.value() == 10


def test_a_baseline_that_came_counts_what_waited(tmp_path: Path) -> None:
    """Rows that wait for a baseline are counted when a start brings one, and once only."""
    with Restarting(CONFIG, (), tmp_path) as it:
        send(it, 0, "prices")
        it.snapshot()
        it.baselines = (BASELINE,)
        for _ in range(2):
            it.restart()
            assert (it.rows("counted"), it.telemetry.pending_rows.value()) == (10, 0)
            it.assert_ledger_holds()
        it.snapshot()
        it.restart()
        assert it.rows("counted") == 10


@pytest.mark.parametrize("lengths", [["1m"], ["1m", "10m"], ["2m", "40rows"]])
def test_other_lengths_begin_anew(tmp_path: Path, lengths: list[str]) -> None:
    """Open windows are given up, and nothing else."""
    with Restarting(CONFIG, BASELINES, tmp_path) as it:
        send(it, 0, "prices")
        it.snapshot()
        config: dict[str, Any] = {**CONFIG, "window": {**CONFIG["window"], "lengths": lengths}}
        it.config = config
        it.restart()
        send(it, 0, "prices")
        send(it, 100, "prices")
        assert (it.rows("counted"), it.rows("duplicate")) == (20, 10)


def test_other_lengths_of_one_model_leave_the_others_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """An entry of `models` is changed: the open windows of its models are given up, those of others go on."""
    with Restarting(CONFIG, BASELINES, tmp_path) as it:
        send(it, 0, "prices", "delays")
        it.snapshot()
        it.config = {**CONFIG, "models": [{"model": "price*", "window": {"lengths": ["5m every 1m"]}}]}
        with caplog.at_level(logging.WARNING):
            it.restart()
        assert caplog.text.count("its open windows are given up") == 1
        it.close_all_windows()
        rows = {key.model for (key, length, *_), _ in it.seen.evaluated if length == "5m"}
    assert rows == {"delays"}


def test_without_a_directory_a_restart_begins_anew() -> None:
    """What was acknowledged was accepted in memory, as `journal.directory: null` says."""
    with Restarting(CONFIG, BASELINES) as it:
        send(it, 0, "prices")
        assert it.rows("counted") == 10
        it.pipeline.close()
        it.start()
        assert it.rows("counted") == 0
        send(it, 0, "prices")
        assert (it.rows("counted"), it.rows("duplicate")) == (10, 0)
