"""References that a baseline, or another version, cannot serve: seen in metrics, findings and words."""

from collections.abc import Mapping

import numpy as np
import polars as pl
import pytest

from driftmeter.baseline.build import build_baseline
from driftmeter.baseline.config import BaselineConfig
from driftmeter.baseline.data import ColumnOptions, to_dataset
from driftmeter.baseline.file import baseline_from_bytes, baseline_to_bytes
from driftmeter.detect.config import DetectConfig
from driftmeter.detect.judge import calibration_of
from driftmeter.model.baseline import Baseline, Comparison
from driftmeter.model.predictions import ModelKey
from driftmeter.model.windows import parse_duration_ns, parse_window
from driftmeter.references import comparable, shortcomings
from export_samples import StillClock
from watched_pipeline import MINUTE_NS, START_NS, WatchedPipeline

HOUR_NS = 60 * MINUTE_NS
WEEKS = 5


def _baseline(rolling: str) -> Baseline:
    """Five weeks of hours, their means wandering, compared over so long a time."""
    hours = np.repeat(np.arange(24 * 7 * WEEKS), 60)
    random = np.random.default_rng(1)
    wander = random.normal(size=24 * 7 * WEEKS).cumsum() / 6
    times = pl.Series(START_NS - WEEKS * 7 * 24 * HOUR_NS + hours * HOUR_NS).cast(pl.Datetime("ns"))
    frame = pl.DataFrame({"time": times, "x": random.normal(size=len(hours)) + wander[hours]})
    data = to_dataset(frame, ColumnOptions("time"), "rows")
    built = build_baseline(data, "prices", "", [parse_window("1h")], rolling_ns=parse_duration_ns(rolling))
    return baseline_from_bytes(baseline_to_bytes(built))


def _sent(pipeline: WatchedPipeline, hours: int, **model: str) -> None:
    for hour in range(hours):
        pipeline.clock.ns = START_NS + hour * HOUR_NS + 3 * 10**9
        values = np.random.default_rng(hour).normal(size=40).tolist()
        pipeline.send([{"x": float(each)} for each in values], pipeline.clock.ns - 10**9, **model)


@pytest.mark.parametrize(("built", "reason"), [("1d", None), ("7d", "not_compared")])
def test_a_rolling_reference_is_judged_over_the_span_that_the_file_knows(built: str, reason: str | None) -> None:
    """Verdicts where both are one day; else scores, and the reason, and never verdicts by the null of another span."""
    config = {
        "window": {"lengths": ["1h"], "out_of_orderness": "1s"},
        "baseline": {"references": ["file", {"rolling": "1d"}]},
        "detect": {"min_rows": 10, "false_alarms_per_week": 5},
    }
    pipeline = WatchedPipeline(config, [_baseline(built)], clock=StillClock(START_NS))
    _sent(pipeline, 30)
    findings = pl.concat([each.findings for each in pipeline.windows_of()]).filter(
        (pl.col("baseline") == "rolling") & (pl.col("method") == "jensen_shannon") & (pl.col("window_index") > 26)
    )
    assert findings["value"].null_count() == 0
    assert findings["reason"].unique().to_list() == [reason]
    assert findings["detected"].is_null().all() == (reason is not None)


def test_the_spans_give_other_levels_and_nulls() -> None:
    """A wandering column is further from a week than from a day; what is built over one is not used for the other."""
    day, week = _baseline("1d"), _baseline("7d")
    assert (day.rolling_ns, week.rolling_ns) == (24 * HOUR_NS, 7 * 24 * HOUR_NS)
    assert day.content_hash != week.content_hash
    config = BaselineConfig.model_validate({"references": ["file", {"rolling": "1d"}]})
    assert comparable(day, config) is day
    detect = DetectConfig(min_rows=10)
    nulls = [calibration_of(each, Comparison.ROLLING, detect).nulls_of(parse_window("1h")) for each in (day, week)]
    natural = [each.methods["wasserstein_normalised"].natural[0] for each in nulls]
    assert natural[0] < 0.7 * natural[1]
    stripped = comparable(week, config).chunks["1h"].compared
    assert set(stripped) == set(week.chunks["1h"].compared) - {Comparison.ROLLING}


def test_shortcomings_say_what_to_build() -> None:
    """Another span, no hours of the week, a learned baseline: each with what helps."""
    config = BaselineConfig.model_validate(
        {"references": ["file", {"rolling": "3d"}, {"seasonal": "hour-of-week"}, "previous"]}
    )
    span, season = shortcomings(_baseline("7d"), config)
    assert "--rolling 3d" in span
    assert "configure rolling: 7d" in span
    assert "--seasonal hour-of-week" in season
    learned = shortcomings(_baseline("7d").labelled("prices", "", "learned"), config)
    assert [each.split()[0] for each in learned] == ["rolling", "a", "previous"]


def test_a_version_that_is_not_there_is_a_metric() -> None:
    """One that has no rows counts; once it has learned a baseline, the other version takes its bins and is compared."""
    config = {
        "window": {"lengths": ["1h"], "out_of_orderness": "1s"},
        "baseline": {"learn_rows": 100},
        "models": [{"model": "prices", "version": "2", "baseline": {"references": [{"version": "1"}]}}],
    }
    pipeline = WatchedPipeline(config, clock=StillClock(START_NS))

    def waiting() -> float:
        pipeline.tick(revise=False)
        return pipeline.telemetry.models_without_version.value()

    _sent(pipeline, 5, version="2")
    assert waiting() == 1
    for hour in range(5, 12):
        pipeline.clock.ns = START_NS + hour * HOUR_NS + 3 * 10**9
        for version in ("1", "2"):
            values: list[Mapping[str, float]] = [
                {"x": float(each)} for each in np.random.default_rng(hour).normal(size=40)
            ]
            pipeline.send(values, pipeline.clock.ns - 10**9, version=version)
    assert waiting() == 0
    first, second = (pipeline.pipeline._models[ModelKey("prices", version, "")] for version in ("1", "2"))
    assert first.fingerprint == second.fingerprint
    findings = pl.concat([each.findings for each in pipeline.windows_of("prices", "2")[-2:]])
    mine = findings.filter((pl.col("baseline") == "version 1") & (pl.col("method") == "jensen_shannon"))
    assert mine["value"].to_list() == [0.0, 0.0]  # The same rows.
    pipeline.assert_ledger_holds()
