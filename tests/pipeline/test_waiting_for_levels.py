"""What windows are judged by takes a while to work out: windows wait for it, requests do not, and all is said."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from driftmeter import due
from driftmeter.baseline.build import build_baseline
from driftmeter.baseline.data import ColumnOptions, to_dataset
from driftmeter.baseline.file import baseline_from_bytes, baseline_to_bytes
from driftmeter.calibrate import calibrated_for
from driftmeter.config import Config
from driftmeter.detect.judge import calibration_of
from driftmeter.detect.preparing import Preparation
from driftmeter.errors import TransientError
from driftmeter.model.baseline import Baseline, Comparison
from driftmeter.model.predictions import ModelKey
from driftmeter.model.request import Request, Signal
from driftmeter.model.windows import parse_window
from driftmeter.overrides import ModelConfig
from driftmeter.telemetry.metrics import GivenUpReason, RowOutcome
from otlp_samples import Scalar
from restarting import Restarting
from spans import identity, request_of
from watched_pipeline import MINUTE_NS, START_NS, WatchedPipeline

HOUR_NS = 60 * MINUTE_NS
CONFIG = {
    "window": {"lengths": ["1h"], "out_of_orderness": "1s"},
    "baseline": {"references": ["file", "previous", {"rolling": "7d"}]},
    "detect": {"min_rows": 10, "false_alarms_per_week": 2},
}


def _baseline(model: str, rows: int = 12_000) -> Baseline:
    """Two weeks of rows."""
    times = pl.Series(START_NS - 14 * 24 * HOUR_NS + np.arange(rows) * (14 * 24 * HOUR_NS // rows))
    frame = pl.DataFrame({"time": times.cast(pl.Datetime("ns")), "x": np.random.default_rng(1).normal(size=rows)})
    built = build_baseline(to_dataset(frame, ColumnOptions("time"), "rows"), model, "", [parse_window("1h")])
    return baseline_from_bytes(baseline_to_bytes(built))


def _request(model: str, hour: int, shift: float = 0.0) -> Request:
    """Fifty rows of an hour."""
    values = np.random.default_rng(hour).normal(shift, size=50).tolist()
    spans: list[dict[str, Scalar]] = [{"ml.feature.x": float(each)} for each in values]
    return Request(Signal.TRACES, request_of(spans, [_end_ns(hour)] * 50, identity(model), hour * 50))


def _end_ns(hour: int) -> int:
    return START_NS + hour * HOUR_NS + 2 * 10**9


@contextmanager
def _held(monkeypatch: pytest.MonkeyPatch, cells: int) -> Iterator[threading.Event]:
    """What takes so many cells to work out waits until it is let go, or the block ends."""
    let_go, work = threading.Event(), Preparation.work

    def held(self: Preparation, go_on: Callable[[], bool] = lambda: True) -> None:
        if self.replayed_cells == cells:
            let_go.wait(60)
        work(self, go_on)

    with monkeypatch.context() as patch:
        patch.setattr(Preparation, "work", held)
        yield let_go
        let_go.set()


def _settings(config: Config, baseline: Baseline) -> ModelConfig:
    return config.for_model(ModelKey(baseline.model, baseline.version, ""))


def test_requests_and_other_models_do_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """While one model's level is worked out requests are counted, and another model's windows judged."""
    config = Config.model_validate(CONFIG)
    slow, quick = _baseline("slow"), _baseline("quick", 11_999)
    quick, _ = calibrated_for(quick, _settings(config, quick))
    watched = WatchedPipeline(CONFIG, [slow, quick])
    with _held(monkeypatch, 3 * len(slow.chunks["1h"].rows)) as let_go:
        for hour in range(4):
            watched.clock.ns = _end_ns(hour) + 1
            for model in ("slow", "quick"):
                watched.pipeline.accept([_request(model, hour)])
                watched.pipeline.work(0.1)
                while model == "quick" and watched.pipeline.has_work and len(watched.windows_of("quick")) < hour:
                    watched.pipeline.work(0.1)
        waiting = watched.pipeline.is_behind
        assert watched.telemetry.rows.value(outcome=RowOutcome.COUNTED) == 8 * 50
        assert [each.window_index for each in watched.windows_of("quick")] == [0, 1, 2]
        assert not watched.windows_of("slow")
        let_go.set()
        watched.pipeline.settle()
    assert [each.window_index for each in watched.windows_of("slow")] == [0, 1, 2]
    assert watched.windows_of("slow")[-1].model["detected"].is_not_null().any()
    assert (waiting, watched.pipeline.is_behind) == (True, False)
    watched.assert_ledger_holds()


@pytest.mark.parametrize("snapshot", [True, False])
def test_windows_that_waited_are_judged_after_a_restart(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, snapshot: bool
) -> None:
    """What waits when the service ends is judged by the next one, in order, as if it had not waited."""
    baseline = _baseline("slow")
    shifts = [0.0, 0.0, 3.0, 3.0, 3.0, 0.0]
    with Restarting(CONFIG, (baseline,)) as still, Restarting(CONFIG, (baseline,), tmp_path) as it:
        for hour, shift in enumerate(shifts):
            still.clock.ns = _end_ns(hour) + 1
            still.take(_request("slow", hour, shift))
        with _held(monkeypatch, 3 * len(baseline.chunks["1h"].rows)):
            for hour, shift in enumerate(shifts):
                it.clock.ns = _end_ns(hour) + 1
                it.pipeline.accept([_request("slow", hour, shift)])
                it.pipeline.work(0.1)
            assert not it.seen.evaluated
            if snapshot:
                it.pipeline.drain()
                it.snapshot()
        assert not it.seen.evaluated
        it.restart()
        assert it.seen.evaluated.keys() == still.seen.evaluated.keys()
        assert len(it.seen.evaluated) == len(shifts) - 1
        for place, window in still.seen.evaluated.items():
            assert it.seen.evaluated[place].findings.equals(window.findings)
            assert it.seen.evaluated[place].model.equals(window.model)
        assert any(window.model["detected"].any() for window in it.seen.evaluated.values())


def test_a_level_that_is_in_the_file_is_not_worked_out_again() -> None:
    """After calibrating for a configuration a service with it replays nothing, whatever windows are compared with."""
    config, baseline = Config.model_validate(CONFIG), _baseline("slow")
    kept, _ = calibrated_for(baseline, _settings(config, baseline))
    found = []
    for each in (baseline, baseline_from_bytes(baseline_to_bytes(kept))):
        watched = WatchedPipeline(CONFIG, [each])
        watched.pipeline.accept([_request("slow", 0)])
        preparation = watched.pipeline._models[ModelKey("slow", "", "")].preparation
        assert preparation is not None
        found.append(preparation.replayed_cells)
    assert found == [3 * len(baseline.chunks["1h"].rows), 0]
    kinds = (Comparison.REST, Comparison.PREVIOUS, Comparison.ROLLING)
    expected = {calibration_of(baseline, kind, config.detect, config.window.parsed).level for kind in kinds}
    assert set(kept.levels.values()) == expected


def test_it_is_given_up_when_the_service_stops() -> None:
    """Asked before each block whether to go on; nobody waits for it for ever then."""
    calibration = calibration_of(_baseline("slow"), Comparison.REST, Config.model_validate(CONFIG).detect)
    preparation = Preparation([{"": calibration}], [parse_window("1h")])
    answers = iter([True, False])
    with pytest.raises(TransientError, match="told to stop"):
        preparation.work(lambda: next(answers))
    assert preparation.is_done
    assert not calibration.knows_level


def test_windows_that_take_too_much_memory_hold_the_service_up_until_it_is_to_stop(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Beyond the memory for windows that wait the pipeline waits too; told to stop it waits no more and loses none."""
    baseline = _baseline("slow")
    monkeypatch.setattr(due, "HELD_BYTES_MAX", 1_000)
    with Restarting(CONFIG, (baseline,), tmp_path) as it:
        with _held(monkeypatch, 3 * len(baseline.chunks["1h"].rows)):
            for hour in range(3):
                it.clock.ns = _end_ns(hour) + 1
                it.pipeline.accept([_request("slow", hour)])
            working = threading.Thread(target=it.pipeline.work, args=(0.1,))
            working.start()
            working.join(0.5)
            held_up = working.is_alive()
            it.pipeline.hurry()
            working.join(5)
            assert (held_up, working.is_alive()) == (True, False)
            it.pipeline.drain()
            it.snapshot()
        assert not it.seen.evaluated
        it.restart()
        assert len(it.seen.evaluated) == 2


def test_windows_that_waited_for_a_baseline_that_is_gone_are_counted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """After a start with other bins what waited cannot be judged: it is given up with its reason, not silently."""
    baseline = _baseline("slow")
    with Restarting(CONFIG, (baseline,), tmp_path) as it:
        with _held(monkeypatch, 3 * len(baseline.chunks["1h"].rows)):
            for hour in range(3):
                it.clock.ns = _end_ns(hour) + 1
                it.pipeline.accept([_request("slow", hour)])
            it.pipeline.hurry()
            it.pipeline.drain()
            it.snapshot()
        it.baselines = (_baseline("slow", 11_999),)
        it.restart()
        assert not it.seen.evaluated
        assert it.telemetry.windows_given_up.value(reason=GivenUpReason.OTHER_BINS) == 3
