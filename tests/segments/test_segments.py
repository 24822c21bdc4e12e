"""Segments: groups of a model's rows, judged like the model itself against their own part of the baseline."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from driftmeter.baseline.book import BaselineFile, ChangedFiles
from driftmeter.baseline.build import build_baseline
from driftmeter.baseline.data import ColumnOptions, to_dataset
from driftmeter.baseline.file import baseline_from_bytes, baseline_to_bytes
from driftmeter.config import Config
from driftmeter.detect.judge import calibrations_of
from driftmeter.export.evaluated import EvaluatedWindow
from driftmeter.model.baseline import Baseline, Comparison
from driftmeter.model.predictions import ModelKey
from driftmeter.model.request import Request, Signal
from driftmeter.model.windows import parse_window
from driftmeter.telemetry.metrics import GivenUpReason
from export_samples import StillClock
from otlp_samples import Scalar
from restarting import Restarting
from spans import identity, request_of
from watched_pipeline import MINUTE_NS, START_NS, WatchedPipeline

HOUR_NS = 60 * MINUTE_NS
COUNTRIES = ("DE", "FR", "IT")
MEANS = {"DE": 0.0, "FR": 5.0, "IT": 10.0, "XX": 20.0}
CONFIG: dict[str, Any] = {
    "window": {"lengths": ["1h"], "out_of_orderness": "1s"},
    "detect": {"min_rows": 10, "false_alarms_per_week": 1},
    "segments": {"country": 2},
}


def _values(number: int, countries: Sequence[str | None], shifts: Mapping[str, float]) -> list[float]:
    random = np.random.default_rng(number)
    return [float(random.normal(MEANS[each or "XX"] + shifts.get(each or "XX", 0.0))) for each in countries]


def _reference(countries: Sequence[str | None], hours: int = 24 * 14, rows: int = 40) -> pl.DataFrame:
    """So many rows an hour; a country is the commoner, the earlier it is named."""
    chosen = np.random.default_rng(4).choice(len(countries), hours * rows, p=_shares(len(countries)))
    names = [countries[place] for place in chosen.tolist()]
    times = START_NS - 14 * 24 * HOUR_NS + np.repeat(np.arange(hours), rows) * HOUR_NS + HOUR_NS // 2
    return pl.DataFrame(
        {
            "time": pl.Series(times).cast(pl.Datetime("ns", "UTC")),
            "x": _values(5, names, {}),
            "country": names,
        }
    )


def _shares(count: int) -> list[float]:
    weights = np.arange(count, 0, -1.0)
    return list(weights / weights.sum())


@cache
def _baseline(
    countries: tuple[str | None, ...] = (*COUNTRIES, "XX"), segments: tuple[str, ...] = ("country",)
) -> Baseline:
    options = ColumnOptions.of("time", segments=["country"])
    data = to_dataset(_reference(countries), options, "rows")
    return build_baseline(data, "prices", "", [parse_window("1h")], segments=segments, segment_values=2)


def _hours(pipeline: WatchedPipeline, shifts: Sequence[Mapping[str, float]], rows: int = 160) -> None:
    """An hour of rows for each entry: what is added to the values of which country."""
    for number, shift in enumerate(shifts):
        at_ns = START_NS + number * HOUR_NS + 2 * 10**9
        pipeline.clock.ns = at_ns + 1
        chosen = np.random.default_rng(1_000 + number).choice(4, rows, p=_shares(4)).tolist()
        countries = [(*COUNTRIES, "XX")[place] for place in chosen]
        values = _values(2_000 + number, countries, shift)
        pipeline.send(
            [{"x": x, "ml.segment.country": country} for x, country in zip(values, countries, strict=True)], at_ns
        )


def _hour(it: Restarting, number: int, rows: int = 40) -> None:
    """Rows of an hour of its own, some late, and a look at the clock."""
    at_ns = START_NS + number * HOUR_NS + 20 * MINUTE_NS
    it.clock.ns = at_ns
    countries = [(*COUNTRIES, "XX")[place % 4] for place in range(rows)]
    values = _values(3_000 + number, countries, {})
    ends = [at_ns - (HOUR_NS if place == 7 and number else 0) for place in range(rows)]
    spans: list[dict[str, Scalar]] = [
        {"ml.feature.x": x, "ml.segment.country": country} for x, country in zip(values, countries, strict=True)
    ]
    it.take(Request(Signal.TRACES, request_of(spans, ends, identity("prices"), number * rows)))
    it.tick(1)


def _alarms(windows: Sequence[EvaluatedWindow]) -> dict[str, list[bool | None]]:
    """The verdicts on the model and its segments, window by window."""
    found: dict[str, list[bool | None]] = {}
    for window in windows:
        found.setdefault(window.segment, []).extend(window.model["detected"].to_list())
    return found


def test_a_shift_in_one_segment_is_found_there_and_named() -> None:
    """Findings, verdicts and points of that segment say so; those of the other segments do not."""
    pipeline = WatchedPipeline(CONFIG, [_baseline()], clock=StillClock(START_NS))
    _hours(pipeline, [{}] * 4 + [{"FR": 4.0}] * 5)
    alarms = _alarms(pipeline.windows_of())
    assert set(alarms) == {"", "country=DE", "country=FR", "country=other"}
    assert alarms["country=DE"] == alarms["country=other"] == [False] * 8
    assert alarms["country=FR"][:4] == [False] * 4
    assert alarms["country=FR"][-1] is True
    last = next(each for each in reversed(pipeline.windows_of()) if each.segment == "country=FR")
    assert set(last.findings["segment"]) == set(last.model["segment"]) == {"country=FR"}
    points = last.points(0).filter(pl.col("metric") == "ml_model_drift_detected")
    assert points.select("segment", "value").rows() == [("country=FR", 1.0)]
    whole = next(each for each in reversed(pipeline.windows_of()) if not each.segment)
    assert set(whole.points(0)["segment"]) == {""}
    pipeline.assert_ledger_holds()


def test_rows_of_segments_are_the_models() -> None:
    """Each row of a window is in exactly one segment of the column, rows without a value among the others."""
    pipeline = WatchedPipeline(CONFIG, [_baseline()], clock=StillClock(START_NS))
    rows = [{"x": 1.0, "ml.segment.country": each} for each in ("DE", "DE", "FR", "new", "other", "IT")]
    pipeline.send([*rows, {"x": 1.0}], START_NS + 1)
    pipeline.send([{"x": 1.0}] * 3, START_NS + 2)
    pipeline.clock.ns = START_NS + HOUR_NS + 2 * 10**9
    pipeline.send([{"x": 1.0}], pipeline.clock.ns)
    counted = {each.segment: each.findings["rows"].max() for each in pipeline.windows_of()}
    assert counted == {"": 10, "country=DE": 2, "country=FR": 1, "country=other": 7}


def test_a_baseline_without_segments_gives_no_verdict() -> None:
    """All rows are then among others, whose reason is that there is no baseline; the model itself is judged."""
    pipeline = WatchedPipeline(CONFIG, [_baseline(segments=())], clock=StillClock(START_NS))
    _hours(pipeline, [{}] * 3)
    alarms = _alarms(pipeline.windows_of())
    assert alarms == {"": [False, False], "country=other": [None, None]}
    other = pl.concat([each.findings for each in pipeline.windows_of() if each.segment])
    deciding = other.filter(pl.col("method").is_in(["jensen_shannon", "missing_ratio", "rows"]))
    assert set(deciding["reason"]) == {"no_baseline"}


def test_the_whole_is_the_sum_of_its_segments() -> None:
    """Segments of a baseline are counted in its bins, each row in one of them."""
    baseline = _baseline((*COUNTRIES, None))
    assert list(baseline.segments) == ["country=DE", "country=FR", "country=other"]
    parts = baseline.segments.values()
    assert sum(each.rows for each in parts) == baseline.rows
    assert np.array_equal(sum(each.counts for each in parts), baseline.counts)
    assert np.array_equal(sum(each.tallies for each in parts), baseline.tallies)
    assert {each.layout.fingerprint for each in parts} == {baseline.layout.fingerprint}
    chunks = [each.chunks["1h"] for each in parts]
    assert np.array_equal(sum(each.rows for each in chunks), baseline.chunks["1h"].rows)
    assert [each.column.name for each in baseline.columns] == ["x"]


def test_segments_are_kept_in_the_file() -> None:
    """What is read is what was written, and the content hash is of the segments too."""
    baseline = _baseline()
    read = baseline_from_bytes(baseline_to_bytes(baseline))
    assert list(read.segments) == list(baseline.segments)
    for label, expected in baseline.segments.items():
        found = read.segments[label]
        assert (found.rows, found.start_ns, found.end_ns) == (expected.rows, expected.start_ns, expected.end_ns)
        assert np.array_equal(found.counts, expected.counts)
        assert [each.noise for each in found.columns] == [each.noise for each in expected.columns]
        own, theirs = found.chunks["1h"], expected.chunks["1h"]
        assert np.array_equal(own.values, theirs.values)
        for key, squared in theirs.compared[Comparison.REST].squared.items():
            assert np.array_equal(own.compared[Comparison.REST].squared[key], squared, equal_nan=True)
    without = baseline_from_bytes(baseline_to_bytes(_baseline(segments=())))
    assert not without.segments
    assert without.content_hash != read.content_hash
    assert baseline_from_bytes(baseline_to_bytes(read)).content_hash == read.content_hash


def test_the_budget_is_the_models_and_its_segments_together() -> None:
    """One level for all: no higher than the model's alone, and its replay has the alarms of all of them."""
    config = Config.model_validate(CONFIG | {"detect": {"min_rows": 10, "false_alarms_per_week": 5}})
    baseline, windows = _baseline(), config.window.parsed
    labels = list(baseline.segments)
    alone = calibrations_of(baseline, Comparison.REST, config.detect, windows, [])[""]
    together = calibrations_of(baseline, Comparison.REST, config.detect, windows, labels)
    assert {each.level for each in together.values()} == {together[""].level}
    assert together[""].level < alone.level
    assert together[""].replay().alarms(alone.level) > alone.replay().alarms(alone.level)
    assert together[""].settings != alone.settings


@pytest.mark.parametrize("snapshots", [frozenset[int](), frozenset({2, 5})])
def test_segments_go_on_after_a_crash(tmp_path: Path, snapshots: frozenset[int]) -> None:
    """What is said of segments is what a service that never stopped says, out of snapshots and the journal's tail."""
    baseline = baseline_from_bytes(baseline_to_bytes(_baseline()))
    config = CONFIG | {"baseline": {"references": ["file", "previous"]}}
    with Restarting(config, (baseline,)) as still, Restarting(config, (baseline,), tmp_path) as it:
        for number in range(8):
            for each in (still, it):
                _hour(each, number)
            if number in snapshots:
                it.snapshot()
            if number in (3, 6):
                it.restart()
        expected, found = still.seen.evaluated, it.seen.evaluated
    assert found.keys() == expected.keys()
    assert sum(revision == 0 for _, revision in found) == 4 * 7
    assert {segment for (*_, segment), revision in found if revision} == {"", "country=other"}  # Of late rows.
    for place, window in expected.items():
        assert found[place].findings.equals(window.findings)
        assert found[place].model.equals(window.model)


def test_only_so_many_values_are_judged_by_themselves() -> None:
    """The commonest of the baseline; when that has more, its others are not those of today, and are not used."""
    known = ["country=DE", "country=FR", "country=other", "plan=free", "plan=other"]
    config = Config.model_validate({"segments": {"country": 2, "plan": 3}})
    assert config.for_model(ModelKey("m", "", "")).labels_of(known) == known
    few = Config.model_validate({"segments": {"country": 1}, "models": [{"model": "n", "segments": {"plan": 1}}]})
    assert few.for_model(ModelKey("m", "", "")).labels_of(known) == ["country=DE"]
    assert few.for_model(ModelKey("n", "", "")).labels_of(known) == ["plan=free", "plan=other"]


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_windows_of_segments_are_the_same_however_rows_come(data: st.DataObject) -> None:
    """Rows that wait for others are in the windows that they would be in if they came one by one."""
    ages = data.draw(st.lists(st.integers(0, 90), min_size=1, max_size=40))
    places = data.draw(st.lists(st.integers(0, 3), min_size=len(ages), max_size=len(ages)))
    cuts = data.draw(st.lists(st.booleans(), min_size=len(ages), max_size=len(ages)))
    ends = [START_NS + number * 10 * MINUTE_NS - age * MINUTE_NS for number, age in enumerate(ages)]
    rows: list[dict[str, Scalar]] = [
        {"x": float(number), "ml.segment.country": (*COUNTRIES, "XX")[p]} for number, p in enumerate(places)
    ]
    found = []
    for together in (False, True):
        config = CONFIG | {"window": {"lengths": ["1h"], "out_of_orderness": "10s", "clock": "data"}}
        pipeline = WatchedPipeline(config, [_baseline()], clock=StillClock(START_NS))
        pipeline.clock.ns = START_NS + 24 * HOUR_NS
        for number, (row, end_ns) in enumerate(zip(rows, ends, strict=True)):
            pipeline.send([row], end_ns)
            if together and cuts[number]:
                pipeline.tick(revise=False)
        pipeline.pipeline.drain()
        newest: dict[tuple[str, int | None], int] = {}
        for window in pipeline.windows_of():
            newest[window.segment, window.start_ns] = max(window.findings["rows"].to_list(), default=0)
        found.append(newest)
        starts = {start_ns for _, start_ns in newest}
        for start_ns in starts:
            assert newest["", start_ns] == sum(n for (name, at), n in newest.items() if name and at == start_ns)
    assert found[0] == found[1]


def test_open_windows_of_segments_that_a_new_file_lacks_are_counted() -> None:
    """The same bins without their segments: windows of two countries are given up, all others go on."""
    pipeline = WatchedPipeline(CONFIG, [_baseline()], clock=StillClock(START_NS))
    _hours(pipeline, [{}] * 2)
    content = baseline_to_bytes(_baseline(segments=()))
    without = baseline_from_bytes(content)
    pipeline.pipeline.reload(ChangedFiles((BaselineFile(Path("b.parquet"), without, content),)))
    assert without.layout.fingerprint == _baseline().layout.fingerprint
    assert pipeline.telemetry.windows_given_up.value(reason=GivenUpReason.OTHER_SEGMENTS) == 2
    assert pipeline.telemetry.windows_given_up.value(reason=GivenUpReason.OTHER_BINS) == 0


STEPS = st.lists(
    st.one_of(
        st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9_000)), min_size=1, max_size=12),
        st.sampled_from(["tick", "snapshot", "restart"]),
    ),
    max_size=16,
)


@pytest.mark.parametrize("lengths", [["1h"], ["1h", "5rows"]])
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_a_restart_changes_no_segment(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[str], steps: list[list[tuple[int, int]] | str]
) -> None:
    """Whatever waits, is late or due when it stops: all is as if it had not, and segments add up to the model."""
    window = {"lengths": lengths, "out_of_orderness": "10s", "allowed_lateness": "2h", "idle_after": "5m"}
    config, baseline = CONFIG | {"window": window}, (_baseline(),)
    directory = tmp_path_factory.mktemp("state")
    with Restarting(config, baseline) as still, Restarting(config, baseline, directory) as it:
        sent = 0
        for step in [*steps, "restart", "tick", "tick"]:
            if isinstance(step, list):
                spans: list[dict[str, Scalar]] = [
                    {"ml.feature.x": float(place), "ml.segment.country": (*COUNTRIES, "XX")[place]} for place, _ in step
                ]
                ends = [it.clock.ns - age * 10**9 for _, age in step]
                for each in (still, it):
                    each.take(Request(Signal.TRACES, request_of(spans, ends, identity("prices"), sent)))
                sent += len(spans)
            elif step == "tick":
                for each in (still, it):
                    each.tick(1_000)
            elif step == "snapshot":
                it.snapshot()
            else:
                it.restart()
        expected, found = still.seen, it.seen
        assert still.close_all_windows() == it.close_all_windows()
        rows = {name: int.from_bytes(counts[:8], "little") for name, counts in it.seen.final().items()}
        for (key, length, start_ns, segment), count in rows.items():
            if length == "1h" and not segment:
                assert count == sum(rows.get((key, length, start_ns, label), 0) for label in _baseline().segments)
    assert found.counts == expected.counts
    for place, evaluated in expected.evaluated.items():
        assert found.evaluated[place].findings.equals(evaluated.findings), place
