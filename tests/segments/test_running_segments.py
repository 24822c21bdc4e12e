"""Segments of a running service: what is said of them, what they may take, and what becomes of those not wanted."""

import logging
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from driftmeter.baseline.build import build_baseline
from driftmeter.baseline.data import ColumnOptions, to_dataset
from driftmeter.baseline.file import baseline_from_bytes, baseline_to_bytes
from driftmeter.config import Config
from driftmeter.errors import ConfigError
from driftmeter.explaining.explain import Question, explain
from driftmeter.explaining.rows import TimedRows
from driftmeter.export.config import ExportConfig
from driftmeter.export.evaluated import EvaluatedWindow
from driftmeter.export.exporter import Exporter
from driftmeter.journal.blob_store import BlobStore
from driftmeter.model.baseline import Baseline
from driftmeter.model.predictions import ModelKey
from driftmeter.model.request import Request, Signal
from driftmeter.model.segments import label_of
from driftmeter.model.windows import parse_window
from driftmeter.telemetry.metrics import Telemetry, WithheldReason
from export_samples import StillClock
from otlp_samples import Scalar
from restarting import Restarting
from spans import identity, request_of
from watched_pipeline import MINUTE_NS, START_NS, WatchedPipeline

HOUR_NS = 60 * MINUTE_NS
HOUR = parse_window("1h")
COUNTRIES = ("DE", "FR", "IT")
CONFIG: dict[str, Any] = {
    "window": {"lengths": ["1h"], "out_of_orderness": "1s"},
    "detect": {"min_rows": 10, "false_alarms_per_week": 1},
    "segments": {"country": 2},
}
KEY = ModelKey("prices", "", "")


@pytest.fixture
def warnings() -> Iterator[list[str]]:
    """What the service logs, however logging is set up otherwise."""
    said: list[str] = []

    class Keeping(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(f"{record.getMessage()} {getattr(record, 'driftmeter_fields', {})}")

    logger, handler = logging.getLogger("driftmeter"), Keeping()
    logger.addHandler(handler)
    yield said
    logger.removeHandler(handler)


def _rows(seed: int, size: int, shift: float = 0.0, missing: float = 0.0) -> pl.DataFrame:
    """Rows of three countries; of France's, other values and missing ones."""
    random = np.random.default_rng(seed)
    countries = random.choice(COUNTRIES, size)
    french = countries == "FR"
    x = random.normal(size=size) + shift * french
    y = random.normal(size=size)
    y[french & (random.random(size) < missing)] = np.nan
    return pl.DataFrame({"x": x, "y": y, "country": countries}).with_columns(pl.col("y").fill_nan(None))


@cache
def _baseline() -> Baseline:
    """Two weeks of hours; Germany and France have a segment of their own."""
    hours = np.repeat(np.arange(24 * 14), 60)
    times = pl.Series(START_NS - 14 * 24 * HOUR_NS + hours * HOUR_NS + HOUR_NS // 2).cast(pl.Datetime("ns", "UTC"))
    rows = _rows(1, len(hours)).with_columns(time=times)
    data = to_dataset(rows, ColumnOptions.of("time", segments=["country"]), "rows")
    built = build_baseline(data, "prices", "", [HOUR], segments=["country"], segment_values=2)
    return baseline_from_bytes(baseline_to_bytes(built))


def _spans(rows: pl.DataFrame) -> list[dict[str, Scalar]]:
    names = {"x": "ml.feature.x", "y": "ml.feature.y", "country": "ml.segment.country"}
    return rows.rename(names).to_dicts()


def _send(it: WatchedPipeline, hour: int, rows: pl.DataFrame) -> None:
    it.clock.ns = START_NS + hour * HOUR_NS + 3 * 10**9
    it.send(_spans(rows), it.clock.ns - 10**9)


def _detected(windows: list[EvaluatedWindow], segment: str, column: str, method: str) -> list[bool | None]:
    mine = [each.findings for each in windows if each.segment == segment]
    found = pl.concat(mine).filter((pl.col("column") == column) & (pl.col("method") == method))
    detected: list[bool | None] = found["detected"].to_list()
    return detected


def test_missing_values_of_one_segment_are_found_there() -> None:
    """Ratios are judged in segments as in the model: none missing, then one in eight in one country."""
    it = WatchedPipeline(CONFIG, [_baseline()], clock=StillClock(START_NS))
    for hour in range(8):
        _send(it, hour, _rows(100 + hour, 240, missing=0.125 if hour > 2 else 0.0))
    french = next(label for label in _baseline().segments if label.endswith("FR"))
    found = _detected(it.windows_of(), french, "y", "missing_ratio")
    assert found[:3] == [False] * 3
    assert found[-2:] == [True] * 2
    others = [each for each in _baseline().segments if each != french]
    assert not any(any(_detected(it.windows_of(), each, "y", "missing_ratio")) for each in others)
    assert not any(_detected(it.windows_of(), french, "x", "missing_ratio"))


def test_no_more_is_counted_of_segments_than_is_said() -> None:
    """Their windows have no samples; quality and classes are worked out for the model alone."""
    it = WatchedPipeline(CONFIG, [_baseline()], clock=StillClock(START_NS))
    for hour in range(3):
        _send(it, hour, _rows(hour, 200))
    scored = it.pipeline._models[KEY]._scored
    assert scored is not None
    start_ns = START_NS + HOUR_NS
    whole = scored.windows.counted(HOUR, start_ns)
    assert whole is not None
    assert whole.samples[0].size > 100
    for part in scored.segments._parts.values():
        counts = part.windows.counted(HOUR, start_ns)
        assert counts is not None
        assert int(counts.rows[0]) > 10
        assert counts.samples[0].size == 0
        assert counts.contents[0].repeated(int(counts.rows[0])) == 0  # Of whole rows still.
    for window in it.windows_of():
        assert window.quality.is_empty() == bool(window.segment)


@pytest.mark.parametrize(
    ("lengths", "segments"), [(["1h"], {}), (["1h", "24h"], {"country": 2}), (["1h"], {"plan": 1})]
)
def test_all_windows_of_a_model_share_its_series(lengths: list[str], segments: dict[str, int]) -> None:
    """The parts of all lengths and segments are the whole."""
    config = CONFIG | {"window": {"lengths": lengths}, "segments": segments}
    it = WatchedPipeline(config, [_baseline()], clock=StillClock(START_NS))
    _send(it, 0, _rows(1, 20))
    model = it.pipeline._models[KEY]
    assert model._scored is not None
    labels = model._scored.segments.labels
    assert sum(model.share_of(each) for each in ["", *labels]) * len(lengths) == pytest.approx(1)


def test_series_of_a_model_and_its_segments_stay_within_the_budget() -> None:
    """What does not fit is withheld and counted, counters of features too; those that drifted come first."""
    names = [f"f{number}" for number in range(40)]
    random = np.random.default_rng(3)

    def rows(size: int, shift: float) -> pl.DataFrame:
        table = pl.DataFrame({name: random.normal(size=size) + shift * (name == "f39") for name in names})
        return table.with_columns(country=pl.Series(random.choice(["DE", "FR"], size)))

    hours = np.repeat(np.arange(24 * 14), 40)
    times = pl.Series(START_NS - 14 * 24 * HOUR_NS + hours * HOUR_NS).cast(pl.Datetime("ns", "UTC"))
    options = ColumnOptions.of("time", segments=["country"])
    data = to_dataset(rows(len(hours), 0.0).with_columns(time=times), options, "rows")
    baseline = build_baseline(data, "prices", "", [HOUR], segments=["country"])
    it = WatchedPipeline(CONFIG, [baseline], clock=StillClock(START_NS))
    telemetry, series_max = Telemetry(), 390
    exporter = Exporter(ExportConfig(max_series=series_max), telemetry, StillClock(START_NS))
    for hour in range(7):
        spans = rows(200, 3.0 if hour > 1 else 0.0).to_dicts()
        it.clock.ns = START_NS + hour * HOUR_NS + 3 * 10**9
        it.send([{("ml.segment.country" if k == "country" else k): v for k, v in row.items()} for row in spans],
                it.clock.ns - 10**9)  # fmt: skip
    for window in it.windows_of():
        exporter.publish(window)
    exporter._take_due(tick=True)
    shown = exporter.current_points().filter(~pl.col("metric").str.starts_with("ml_evaluated_windows"))
    assert shown.height <= series_max + 3 * 3
    scores = shown.filter((pl.col("metric") == "ml_feature_drift_score") & (pl.col("feature") == "f39"))
    assert scores["segment"].sort().to_list() == ["", "country=DE", "country=FR"]
    counters = shown.filter(pl.col("metric") == "ml_feature_drifted_windows_total")
    assert counters.select("feature", "value").rows() == [("f39", 3.0)]  # Forty would be more than a tenth.
    assert telemetry.samples_withheld.value(reason=WithheldReason.MAX_SERIES) > 0


def test_segments_that_are_not_configured_any_more_are_given_up(tmp_path: Path, warnings: list[str]) -> None:
    """A restart without them says so, and gives back the room that their windows took on disk."""
    live = list[int]()
    with Restarting(CONFIG, (_baseline(),), tmp_path) as it:
        for hour in range(4):
            it.clock.ns = START_NS + hour * HOUR_NS + 3 * 10**9
            ends = [it.clock.ns - 10**9] * 100
            it.take(Request(Signal.TRACES, request_of(_spans(_rows(hour, 100)), ends, identity("prices"), hour * 100)))
        it.snapshot()
        it.snapshot()  # Counts of what is over are in blobs by now.
        for config in (CONFIG, CONFIG | {"segments": {}}):
            it.config = config
            it.restart()
            blobs = it.journal.blobs
            assert isinstance(blobs, BlobStore)
            live.append(sum(each.live_bytes for each in blobs.sizes().values()))
    assert 0 < live[1] < 0.7 * live[0]
    (said,) = [each for each in warnings if "segments that are not configured any more" in each]
    assert "country=FR" in said


def test_a_baseline_without_segments_is_said(warnings: list[str]) -> None:
    """A learned one has none: the log says so, and what to do."""
    config = CONFIG | {"baseline": {"learn_rows": 100}}
    it = WatchedPipeline(config, clock=StillClock(START_NS))
    _send(it, 0, _rows(1, 200))
    (said,) = [each for each in warnings if "has no segments" in each]
    assert "baseline (learned) has no segments by country" in said
    assert "--segment country" in said


def test_a_segment_is_explained_as_it_was_judged() -> None:
    """Value, level and verdict of each window are the service's, of the segment's rows and baseline alone."""
    it = WatchedPipeline(CONFIG, [_baseline()], clock=StillClock(START_NS))
    sent = [_rows(50 + hour, 240, shift=2.0 if hour > 2 else 0.0) for hour in range(7)]
    for hour, rows in enumerate(sent):
        _send(it, hour, rows)
    timed = [
        rows.with_columns(time=pl.lit(START_NS + hour * HOUR_NS + 2 * 10**9).cast(pl.Datetime("ns", "UTC")))
        for hour, rows in enumerate(sent[:-1])
    ]
    data = to_dataset(pl.concat(timed), ColumnOptions.of("time", segments=["country"]), "rows")
    assert data.times_ns is not None
    timed_rows = TimedRows(KEY, "rows", HOUR_NS, np.unique(data.times_ns // HOUR_NS), lambda _start, _end: data)
    config = Config.model_validate(CONFIG).for_model(KEY)
    labels = config.labels_of(_baseline().segments)
    for label in labels:
        question = Question("x", None, HOUR, 6, segment=label, segments=labels)
        found = explain(question, timed_rows, _baseline(), config.detect, [HOUR])
        windows = [each for each in it.windows_of() if each.segment == label]
        deciding = pl.concat([each.findings for each in windows]).filter(
            (pl.col("column") == "x") & (pl.col("method") == "jensen_shannon")
        )
        assert [each.value for each in found.history] == deciding["value"].to_list()
        assert [each.detected for each in found.history] == deciding["detected"].to_list()
        assert found.level == windows[-1].model["level"][0]
        assert found.segment == label
        assert found.verdict is (label == label_of("country", "FR")) or label.endswith("other")
    with pytest.raises(ConfigError, match=r"--segment country=XX: is not judged: .*country=FR"):
        explain(
            Question("x", None, HOUR, segment="country=XX", segments=labels),
            timed_rows,
            _baseline(),
            config.detect,
            [HOUR],
        )
