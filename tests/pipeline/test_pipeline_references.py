"""Several references for one model, and baselines that come and change while the service runs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from driftmeter.baseline.book import BaselineFile, ChangedFiles
from driftmeter.baseline.file import baseline_from_bytes, baseline_to_bytes
from driftmeter.model.baseline import Baseline
from driftmeter.model.findings import BASELINE_DRIFT
from driftmeter.telemetry.metrics import GivenUpReason, ReloadResult, RowOutcome
from export_samples import StillClock
from watched_pipeline import MINUTE_NS, START_NS, WatchedPipeline, baseline_of

HOUR_NS = 60 * MINUTE_NS


def _rows(number: int, mean: float, rows: int = 60) -> list[Mapping[str, float]]:
    return [{"x": float(x)} for x in np.random.default_rng(number).normal(mean, 1, rows)]


def _baseline(version: str = "", mean: float = 0.0, rows: int = 2_000) -> Baseline:
    return baseline_of(pl.DataFrame({"x": np.random.default_rng(99).normal(mean, 1, rows)}), "prices", version)


def _changed(*baselines: Baseline) -> ChangedFiles:
    files = []
    for baseline in baselines:
        content = baseline_to_bytes(baseline)
        files.append(BaselineFile(Path("b.parquet"), baseline_from_bytes(content), content))
    return ChangedFiles(tuple(files))


def _config(*references: object, **more: Any) -> dict[str, Any]:
    return {
        "window": {"lengths": ["5m"], "out_of_orderness": "1s"},
        "baseline": {"references": list(references), "learn_rows": 100},
        "detect": {"min_rows": 10},
        **more,
    }


def _minutes(pipeline: WatchedPipeline, means: Sequence[float], first: int = 0, **model: str) -> None:
    """A window of five minutes for each mean."""
    for number, mean in enumerate(means, first):
        at_ns = START_NS + number * 5 * MINUTE_NS + 2 * 10**9  # Past what is out of order.
        pipeline.clock.ns = at_ns + 1
        pipeline.send(_rows(number + 1_000 * len(model), mean), at_ns, **model)


def _scores(pipeline: WatchedPipeline, baseline: str, **model: str) -> list[float | None]:
    """The headline score of each window against one reference."""
    found: list[float | None] = []
    for window in pipeline.windows_of(**model):
        ours = window.findings.filter((pl.col("baseline") == baseline) & (pl.col("column") == "x"))
        found += ours.filter(pl.col("method") == "jensen_shannon")["value"].to_list()
    return found


def test_windows_are_compared_with_each_reference() -> None:
    """Each has findings under its own label: nothing at first where there is nothing yet, then its own distances."""
    config = _config("file", "previous", {"rolling": "1h"})
    pipeline = WatchedPipeline(config, [_baseline()], clock=StillClock(START_NS))
    _minutes(pipeline, [0.0] * 10 + [3.0] * 8)
    file, previous, rolling = (_scores(pipeline, label) for label in ("file", "previous", "rolling"))
    assert len(file) == len(previous) == len(rolling) == 17
    assert None not in file
    assert previous[0] is None
    assert rolling[:6] == [None] * 6  # Half an hour has to pass first.
    assert None not in rolling[6:]
    jump = [file[10], previous[10], rolling[10]]
    assert all(each is not None and each > 0.7 for each in jump)
    assert (previous[11] or 1) < 0.5 < (file[11] or 0)
    moved = pl.concat([each.findings for each in pipeline.evaluated]).filter(pl.col("method") == BASELINE_DRIFT)
    assert set(moved["baseline"]) == {"rolling"}
    assert moved["value"][0] < 0.3 < moved["value"][-1]
    points = pipeline.evaluated[-1].points(0).filter(pl.col("metric") == "ml_baseline_drift_score")
    assert points.select("baseline", "window", "value").rows() == [("rolling", "5m", moved["value"][-1])]


def test_another_versions_live_traffic() -> None:
    """Version 4 is compared with the same window of version 3, in the bins of version 3, as it was when it was due."""
    config = _config("file") | {
        "models": [{"version": "4", "baseline": {"references": ["file", {"version": "3"}]}}],
    }
    pipeline = WatchedPipeline(config, [_baseline("3"), _baseline("4", mean=50)], clock=StillClock(START_NS))
    for number in range(4):
        mean = float(number)
        _minutes(pipeline, [mean], number, version="3")
        _minutes(pipeline, [mean + (number == 2) * 3], number, version="4", stage="")
    ours = _scores(pipeline, "version 3", version="4")
    assert len(ours) == 3
    assert [each is not None and each < 0.5 for each in ours] == [True, True, False]
    by_file = _scores(pipeline, "file", version="4")
    assert by_file[0] is not None
    assert by_file[0] < 0.5  # That of version 3, not the far one of its own.
    assert _scores(pipeline, "version 3", version="3") == []


def test_a_baseline_that_comes_later_ends_the_learning() -> None:
    """Rows that waited are counted against the file; what was being learned is not used any more."""
    pipeline = WatchedPipeline(_config("file"), clock=StillClock(START_NS))
    pipeline.send(_rows(1, 0.0), START_NS)
    assert pipeline.telemetry.models_without_baseline.value() == 1
    pipeline.pipeline.reload(_changed(_baseline()))
    assert pipeline.telemetry.models_without_baseline.value() == 0
    assert pipeline.telemetry.rows.value(outcome=RowOutcome.COUNTED) == 60
    pipeline.assert_ledger_holds()
    _minutes(pipeline, [0.0] * 3, 1)
    assert set(pl.concat([each.findings for each in pipeline.evaluated])["baseline"]) == {"file"}


def test_a_changed_baseline_with_other_bins_gives_open_windows_up() -> None:
    """Windows that are open are given up and counted; those that come are compared with the new one."""
    pipeline = WatchedPipeline(_config("file"), [_baseline()], clock=StillClock(START_NS))
    _minutes(pipeline, [0.0] * 3)
    pipeline.pipeline.reload(_changed(_baseline(mean=50)))
    assert pipeline.telemetry.windows_given_up.value(reason=GivenUpReason.OTHER_BINS) == 1
    assert pipeline.telemetry.baseline_reloads.value(result=ReloadResult.OK) == 1
    _minutes(pipeline, [50.0] * 3, 3)
    scores = _scores(pipeline, "file")
    assert len(scores) == 4
    assert all(each is not None and each < 0.5 for each in scores)
    pipeline.assert_ledger_holds()


def test_a_changed_baseline_with_the_same_bins_keeps_open_windows() -> None:
    """The same counts with other knowledge about them: no row is lost."""
    baseline = _baseline()
    pipeline = WatchedPipeline(_config("file"), [baseline], clock=StillClock(START_NS))
    _minutes(pipeline, [0.0] * 3)
    other = baseline_of(pl.DataFrame({"x": np.random.default_rng(99).normal(0, 1, 2_000)}), "prices", "", ["100rows"])
    assert other.layout.fingerprint == baseline.layout.fingerprint
    pipeline.pipeline.reload(_changed(other))
    assert pipeline.telemetry.windows_given_up.value(reason=GivenUpReason.OTHER_BINS) == 0
    _minutes(pipeline, [0.0] * 2, 3)
    rows = [each.findings["rows"].max() for each in pipeline.windows_of()]
    assert rows == [60] * 4  # The fifth window is open.


def test_a_new_version_finds_its_own_baseline_after_a_reload() -> None:
    """A version that appears takes the file that came for it; others keep theirs."""
    pipeline = WatchedPipeline(_config("file"), [_baseline()], clock=StillClock(START_NS))
    _minutes(pipeline, [0.0] * 2, version="1")
    pipeline.pipeline.reload(_changed(_baseline("2", mean=50)))
    assert pipeline.telemetry.windows_given_up.value(reason=GivenUpReason.OTHER_BINS) == 0
    _minutes(pipeline, [50.0] * 3, 2, version="2")
    assert all(each is not None and each < 0.5 for each in _scores(pipeline, "file", version="2"))
    shown = pipeline.telemetry.expose()
    assert shown.count("driftmeter_model_baseline_info{") == 2


def test_mistakes_and_files_that_go_change_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """They are said and counted."""
    pipeline = WatchedPipeline(_config("file"), [_baseline()], clock=StillClock(START_NS))
    _minutes(pipeline, [0.0] * 2)
    with caplog.at_level("WARNING"):
        pipeline.pipeline.reload(ChangedFiles(mistakes=("a.parquet: damaged",), gone=(Path("b.parquet"),)))
    assert "a.parquet: damaged" in caplog.text
    assert "b.parquet" in caplog.text
    assert pipeline.telemetry.baseline_reloads.value(result=ReloadResult.FAILED) == 1
    _minutes(pipeline, [0.0], 2)
    assert len(pipeline.windows_of()) == 2


def test_columns_that_do_not_fit_are_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """What the baseline has and live rows lack, or have as something else, is in the log in words, one time."""
    rows = pl.DataFrame({"x": np.arange(500.0), "gone": np.arange(500.0), "town": ["a", "b"] * 250})
    pipeline = WatchedPipeline(_config("file"), [baseline_of(rows, "prices")], clock=StillClock(START_NS))
    with caplog.at_level("WARNING"):
        for number in range(4):
            at_ns = START_NS + number * 5 * MINUTE_NS + 2 * 10**9
            pipeline.clock.ns = at_ns + 1
            pipeline.send([{"x": 1.0, "town": 7.0, "new": 1.0}] * 20, at_ns)
    said = [record.getMessage() for record in caplog.records if "do not fit" in record.getMessage()]
    assert len(said) == 2
    assert "missing live: feature gone;" in said[0]
    assert "feature town (categorical there, numeric live)" in said[1]
