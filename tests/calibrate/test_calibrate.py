"""What a baseline can promise: budgets, the level that is kept in its file, the shifts that are still seen."""

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

from driftmeter.baseline.build import build_baseline
from driftmeter.baseline.config import BaselineConfig
from driftmeter.baseline.file import read_baseline, write_baseline
from driftmeter.calibrate import budgets, calibrated, calibrated_for, check_detect, detectable, windows_of
from driftmeter.detect.config import DetectConfig
from driftmeter.detect.detector import Detector
from driftmeter.detect.judge import calibration_of
from driftmeter.detect.reference import FixedReference
from driftmeter.errors import BaselineError, ConfigError
from driftmeter.model.baseline import Baseline, Comparison
from driftmeter.model.counts import Counts
from driftmeter.model.window_counts import WindowCounts
from driftmeter.model.windows import parse_window
from driftmeter.overrides import ModelConfig
from driftmeter.references import comparable
from driftmeter.summary.fold import fold
from driftmeter.window.config import WindowConfig
from rows import DAY_NS, HOUR_NS, KEY, dataset, predictions

HOUR = parse_window("1h")
EVERYTHING = DetectConfig(min_effect=dict.fromkeys(DetectConfig().min_effects("x"), 0.0))
"""However small an effect: false alarms are then those of surprise alone."""


@cache
def baseline(weeks: float = 4, rows: int = 150) -> Baseline:
    """Hours of independent rows: three numbers, and a category that is sometimes missing."""
    random = np.random.default_rng(7)
    hours = np.repeat(np.arange(int(weeks * 168)), rows)
    columns = {f"x{i}": random.normal(size=len(hours)) for i in range(3)}
    colors = random.choice(["red", "green", "blue"], len(hours)).astype(object)
    colors[random.random(len(hours)) < 0.02] = None
    stamps = pl.Series(hours * HOUR_NS + 1).cast(pl.Datetime("ns"))
    data = dataset({**columns, "t": stamps, "color": colors.tolist()}, "t")
    return build_baseline(data, "price", "3", [HOUR])


def test_budgets_rise_with_what_is_asked() -> None:
    """The more false alarms are allowed, the higher the level; never more are replayed than asked for."""
    found = budgets(calibration_of(baseline(), Comparison.REST, EVERYTHING), 3.0)
    asked = [each.alarms_per_week for each in found]
    assert asked == sorted(asked)
    assert 3.0 in asked
    known = [each for each in found if not np.isnan(each.level)]
    assert [each.alarms_per_week for each in found if np.isnan(each.level)] == [0.05, 0.1, 0.2]
    assert [each.level for each in known] == sorted(each.level for each in known)
    assert all(each.replayed < each.alarms_per_week for each in known)
    assert known[-1].replayed > 0.3 * known[-1].alarms_per_week


@pytest.mark.parametrize("asked", [1.0, 5.0])
def test_independent_hours_keep_what_was_asked_for(asked: float) -> None:
    """Twelve further weeks of the same rows raise no more alarms than asked for, and some."""
    config = EVERYTHING.model_copy(update={"false_alarms_per_week": asked})
    anchor, weeks, rows = baseline(), 12, 150
    detector = Detector(KEY, anchor, [FixedReference(anchor)], config, [HOUR])
    random = np.random.default_rng(99)
    alarms, drifts = 0, False
    for hour in range(0, weeks * 168, 24):
        counts = Counts.zeros(anchor.layout, 24)
        n = 24 * rows
        colors = random.choice(["red", "green", "blue"], n).astype(object)
        colors[random.random(n) < 0.02] = None
        batch = predictions(
            np.zeros(n, np.int64), {**{f"x{i}": random.normal(size=n) for i in range(3)}, "color": colors.tolist()}
        )
        fold(anchor.layout, batch.rows, np.repeat(np.arange(24, dtype=np.int32), rows), counts)
        windows = [
            WindowCounts(HOUR, hour + i, (hour + i) * HOUR_NS, (hour + i + 1) * HOUR_NS, 0, counts.window(i))
            for i in range(24)
        ]
        for verdict in detector.evaluate(windows).model["detected"].to_list():
            alarms += bool(verdict) and not drifts
            drifts = bool(verdict)
    expected = asked * weeks
    assert alarms <= expected + 3 * np.sqrt(expected)
    assert alarms >= expected / 10


def test_level_is_kept_in_the_file_and_used(tmp_path: Path) -> None:
    """Written, read and looked up by its settings; content hash and all else stay; other settings have their own."""
    first = write_baseline(baseline(), tmp_path / "b.parquet")
    kept, calibration = calibrated(first, EVERYTHING)
    write_baseline(kept, tmp_path / "b.parquet")
    again = read_baseline(tmp_path / "b.parquet")
    assert again.levels == {calibration.settings: calibration.level}
    assert again.content_hash == first.content_hash
    other = EVERYTHING.model_copy(update={"false_alarms_per_week": 4.0})
    names = {calibration_of(again, Comparison.REST, each).settings for each in (EVERYTHING, other, DetectConfig())}
    assert len(names) == 3
    pretended = dict.fromkeys(again.levels, 0.123)
    assert calibration_of(replace(again, levels=pretended), Comparison.REST, EVERYTHING).level == 0.123


def test_edited_levels_are_refused(tmp_path: Path) -> None:
    """They are not part of the content hash, and have one of their own."""
    path = tmp_path / "b.parquet"
    write_baseline(calibrated(baseline(), EVERYTHING)[0], path)
    table = pq.ParquetFile(path).read()
    header = json.loads(table.schema.metadata[b"driftmeter.baseline"])
    header["levels"] = dict.fromkeys(header["levels"], (0.4).hex())
    pq.write_table(table.replace_schema_metadata({b"driftmeter.baseline": json.dumps(header).encode()}), path)
    with pytest.raises(BaselineError, match="levels in it do not match"):
        read_baseline(path)


def test_smallest_drift_that_is_seen_is_what_exceeds() -> None:
    """A shift a little larger than stated is more surprising than the level, a much smaller one is not."""
    config = EVERYTHING.model_copy(update={"false_alarms_per_week": 1.0})
    anchor = baseline()
    calibration = calibration_of(anchor, Comparison.REST, config)
    row = detectable(anchor, calibration, config, HOUR).row(0, named=True)
    assert (row["column"], row["role"], row["rows"]) == ("x0", "feature", 150)
    shift = row["wasserstein_normalised"]
    random = np.random.default_rng(5)
    exceeds = []
    for factor in (0.3, 1.3):
        detector = Detector(KEY, anchor, [FixedReference(anchor)], config, [HOUR])
        counts = Counts.zeros(anchor.layout, 40)
        values = random.normal(size=40 * 150) + factor * shift
        batch = predictions(np.zeros(len(values), np.int64), {"x0": values})
        fold(anchor.layout, batch.rows, np.repeat(np.arange(40, dtype=np.int32), 150), counts)
        windows = [WindowCounts(HOUR, i, i * HOUR_NS, (i + 1) * HOUR_NS, 0, counts.window(i)) for i in range(40)]
        findings = detector.evaluate(windows).findings.filter(column="x0", method="wasserstein_normalised")
        exceeds.append(float(np.mean(findings["pvalue"].to_numpy() < calibration.level)))
    assert exceeds[0] < 0.2
    assert exceeds[1] > 0.6
    missing = detectable(anchor, calibration, config, HOUR).filter(column="color")["missing_ratio"][0]
    assert 0.02 < missing < 0.2


def test_budget_that_a_baseline_cannot_support_is_refused() -> None:
    """The message says what is reachable, and what it would take."""
    with pytest.raises(ConfigError, match=r"covers 4 weeks: it supports 0\.25 or more; .* at least 10 weeks"):
        check_detect(baseline(), DetectConfig(false_alarms_per_week=0.1), [HOUR])
    check_detect(baseline(), DetectConfig(false_alarms_per_week=0.25), [HOUR])


def test_verdicts_of_such_a_budget_are_left_out() -> None:
    """The service does not refuse to start, it gives no verdicts: `uncalibrated`."""
    anchor = baseline()
    config = DetectConfig(false_alarms_per_week=0.1)
    counts = Counts.zeros(anchor.layout)
    batch = predictions(np.zeros(150, np.int64), {"x0": np.random.default_rng(1).normal(size=150)})
    fold(anchor.layout, batch.rows, np.zeros(150, np.int32), counts)
    window = WindowCounts(HOUR, 0, 0, HOUR_NS, 0, counts)
    evaluation = Detector(KEY, anchor, [FixedReference(anchor)], config, [HOUR]).evaluate([window])
    row = evaluation.findings.filter(column="x0", method="jensen_shannon").row(0, named=True)
    assert (row["detected"], row["reason"], row["null_source"]) == (None, "uncalibrated", "own")
    assert row["pvalue"] is not None
    assert evaluation.model["detected"].to_list() == [None]


def test_effect_of_a_method_that_does_not_fit_is_refused() -> None:
    """Categories have no Wasserstein distance; a wildcard that also names numbers may set one."""
    effect = {"min_effect": {"wasserstein_normalised": 0.2}}
    with pytest.raises(ConfigError, match=r"features\.color\.min_effect\.wasserstein_normalised: does not fit"):
        check_detect(baseline(), DetectConfig.model_validate({"features": {"color": effect}}), [HOUR])
    check_detect(baseline(), DetectConfig.model_validate({"features": {"*": effect}}), [HOUR])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"min_effect": {"jensen_shanon": 0.1}}, "there is no method 'jensen_shanon'"),
        ({"min_effect": {"hellinger": 0.1}}, "hellinger informs and decides nothing"),
        ({"features": {"x": {"min_effect": {"psi": 1}}}}, "there is no method 'psi'"),
        ({"needed": 4, "of": 3}, "needed must be at most of"),
        ({"keeps": 3, "needed": 2}, "keeps at most needed"),
        ({"maintenance": [{"start": "2025-01-02T00:00:00Z", "end": "2025-01-01T00:00:00Z"}]}, "end after its start"),
    ],
)
def test_settings_that_contradict_are_refused(given: dict[str, object], message: str) -> None:
    """Each with words that say what is wrong."""
    with pytest.raises(ValueError, match=message):
        DetectConfig.model_validate(given)


def test_weightless_columns_have_no_say() -> None:
    """A column of weight 0 drifts by itself, and the model does not; it does not raise the level either."""
    config = EVERYTHING.model_copy(
        update={"features": DetectConfig.model_validate({"features": {"x*": {"weight": 0}}}).features}
    )
    calibration = calibration_of(baseline(), Comparison.REST, config)
    units = calibration.units
    assert units.weights.tolist()[:-1] == [0, 0, 0, 1]
    assert set(units.column[units.counts].tolist()) == {3}
    anchor = baseline()
    counts = Counts.zeros(anchor.layout, 3)
    batch = predictions(np.zeros(450, np.int64), {"x0": np.full(450, 9.0), "color": ["red", "green", "blue"] * 150})
    fold(anchor.layout, batch.rows, np.repeat(np.arange(3, dtype=np.int32), 150), counts)
    windows = [WindowCounts(HOUR, i, i * HOUR_NS, (i + 1) * HOUR_NS, 0, counts.window(i)) for i in range(3)]
    evaluation = Detector(KEY, anchor, [FixedReference(anchor)], config, [HOUR]).evaluate(windows)
    assert evaluation.findings.filter(column="x0", method="jensen_shannon")["detected"].to_list() == [False, True, True]
    missing = evaluation.findings.filter(column="x1", method="missing_ratio")["detected"].to_list()
    assert missing == [False, True, True]
    assert evaluation.model["drifted_features"].to_list() == [0, 0, 0]
    assert evaluation.model["detected"].to_list() == [False, False, False]


def test_maintenance_mutes_verdicts_and_not_scores() -> None:
    """A window that lies in it, if only in part, neither counts nor resets."""
    anchor = baseline()
    maintenance = [{"start": "1970-01-01T01:30:00Z", "end": "1970-01-01T02:00:00", "model": "mod*"}]
    config = DetectConfig.model_validate({"maintenance": maintenance})
    counts = Counts.zeros(anchor.layout, 3)
    batch = predictions(np.zeros(450, np.int64), {"x0": np.full(450, 9.0)})
    fold(anchor.layout, batch.rows, np.repeat(np.arange(3, dtype=np.int32), 150), counts)
    windows = [WindowCounts(HOUR, i, i * HOUR_NS, (i + 1) * HOUR_NS, 0, counts.window(i)) for i in range(3)]
    findings = Detector(KEY, anchor, [FixedReference(anchor)], config, [HOUR]).evaluate(windows).findings
    mine = findings.filter(column="x0", method="jensen_shannon")
    assert mine["detected"].to_list() == [False, None, True]
    assert mine["reason"].to_list() == [None, "maintenance", None]
    assert mine["value"].null_count() == 0


def test_windows_are_those_named_or_those_of_the_file() -> None:
    """By default all lengths that the baseline has chunks of."""
    assert windows_of(baseline(), None) == [HOUR]
    assert windows_of(baseline(), ["24h"])[0].length_ns == DAY_NS


@pytest.mark.parametrize("window", ["2h", "24h", "24h every 6h"])
def test_windows_that_borrow_are_judged_by_the_level_of_what_they_borrow_from(window: str) -> None:
    """Without chunks of that length there is nothing else to replay; a level without a replay would mean nothing."""
    anchor, borrowing = baseline(), parse_window(window)
    own, others = (calibration_of(anchor, Comparison.REST, EVERYTHING, [each]) for each in (HOUR, borrowing))
    assert set(others.nulls_of(borrowing).source) == {"borrowed"}
    assert (others.level_of(borrowing), others.settings) == (own.level, own.settings)
    assert own.level < 0.1


def test_few_chunks_of_a_length_are_no_replay() -> None:
    """Ten days are too few to judge days by: hours are replayed, from which they borrow."""
    days = np.repeat(np.arange(240), 50)
    stamps = pl.Series(days * HOUR_NS + 1).cast(pl.Datetime("ns"))
    data = dataset({"x": np.random.default_rng(2).normal(size=len(days)), "t": stamps}, "t")
    anchor = build_baseline(data, "price", "3", [HOUR, parse_window("24h")])
    config = EVERYTHING.model_copy(update={"min_rows": 20})
    own, day = (calibration_of(anchor, Comparison.REST, config, [parse_window(each)]) for each in ("1h", "24h"))
    assert len(day.replay().model) == 240
    assert day.level == own.level < 0.1


def test_a_level_without_a_replay_is_none_and_is_not_taken_for_another() -> None:
    """Of a rolling span that the baseline was not built for nothing is known; what is kept says nothing of its own."""
    anchor = baseline()
    references = BaselineConfig.model_validate({"references": ["file", {"rolling": "2d"}]})
    two = ModelConfig(WindowConfig.model_validate({"lengths": ["1h"]}), references, EVERYTHING)
    kept, _ = calibrated_for(anchor, two)
    seven, other = (calibration_of(each, Comparison.ROLLING, two.detect, [HOUR])
                    for each in (kept, comparable(kept, two.baseline)))  # fmt: skip
    assert np.isnan(other.level)
    assert seven.settings != other.settings
    assert not seven.knows_level
    assert seven.level < 0.5
