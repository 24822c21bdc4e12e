"""Explanations of windows: the same numbers and verdicts as the engine's, whatever they are explained from."""

import functools
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from archive_samples import Sample, rows_entry, write_journal
from driftmeter.analyze import analyze
from driftmeter.baseline.build import build_baseline
from driftmeter.baseline.data import ColumnOptions, Dataset, to_dataset
from driftmeter.detect.config import DetectConfig
from driftmeter.errors import BaselineError, ConfigError
from driftmeter.explaining.bars import histogram_of, moved_most
from driftmeter.explaining.explain import Question, explain
from driftmeter.explaining.facts import Explanation
from driftmeter.explaining.rows import TimedRows
from driftmeter.explaining.sources import archived_rows
from driftmeter.journal.files import RealFiles
from driftmeter.methods import DECIDING
from driftmeter.methods.sequential import SEQUENTIAL
from driftmeter.model.baseline import Baseline
from driftmeter.model.bins import CategoryBins
from driftmeter.model.predictions import ModelKey
from driftmeter.model.windows import parse_window
from rows import DAY_NS, HOUR_NS, dataset, predictions

FLIGHTS = Path(__file__).resolve().parents[2] / "service" / "driftmeter" / "demo" / "flights.parquet"
FEATURES = ("carrier", "origin", "hour", "temp", "wind_speed")
DAY = parse_window("24h")
KEY = ModelKey("flight-delay", "1", "")
CONFIG = DetectConfig()


@functools.cache
def flights() -> tuple[Dataset, Dataset, Baseline]:
    """January and February, what came after, and a baseline of the former."""
    rows = pl.read_parquet(FLIGHTS).select("scheduled", *FEATURES)
    known = pl.col("scheduled") < pl.datetime(2013, 3, 1, time_zone="UTC")
    options = ColumnOptions("scheduled")
    before, after = (to_dataset(rows.filter(part), options, "flights") for part in (known, ~known))
    return before, after, build_baseline(before, KEY.model, KEY.version, [DAY])


def of_file(data: Dataset) -> TimedRows:
    """Rows of a file."""
    assert data.times_ns is not None
    hours = np.unique(data.times_ns // HOUR_NS)
    return TimedRows(KEY, "flights", HOUR_NS, hours, lambda _start, _end: data)


def day_ns(month: int, day: int) -> int:
    """First instant of a day of 2013."""
    return int(datetime(2013, month, day, tzinfo=UTC).timestamp()) * 10**9


def asked(feature: str, time_ns: int | None, history: int = 10, config: DetectConfig = CONFIG) -> Explanation:
    """The explanation of one day of flights."""
    _, after, baseline = flights()
    question = Question(feature, time_ns, DAY, history)
    return explain(question, of_file(after), baseline, config, [DAY])


@pytest.mark.parametrize(
    ("feature", "month", "drifted"), [("temp", 7, True), ("temp", 3, False), ("carrier", 7, False)]
)
def test_numbers_and_verdicts_are_those_of_analyze(feature: str, month: int, drifted: bool) -> None:  # noqa: FBT001
    """The day explained and those before it have the values, p-values and verdicts that `analyze` finds."""
    before, after, _ = flights()
    day = 28  # Late enough in the file for the run-up to be as good as the whole.
    findings = analyze(before, after, [DAY], CONFIG, KEY.model, KEY.version).findings.filter(
        (pl.col("column") == feature) & ~pl.col("method").is_in(list(SEQUENTIAL))
    )
    found = asked(feature, day_ns(month, day) + 5 * HOUR_NS)
    assert found.start == f"2013-{month:02}-28T00:00:00Z"
    assert found.verdict is drifted
    assert found.said.startswith("Drifted" if drifted else "Not drifted")
    today = findings.filter(pl.col("window_start").dt.epoch("ns") == day_ns(month, day))
    assert len(found.statistics) == today.height
    for each in found.statistics:
        row = today.filter(pl.col("method") == each.method).to_dicts()[0]
        assert (each.value, each.effect, each.detected) == (row["value"], row["effect"], row["detected"]), each.method
        assert each.pvalue == row["pvalue"]
    days = findings.filter(method=DECIDING).with_columns(start=pl.col("window_start").dt.epoch("ns")).sort("start")
    past = days.filter(pl.col("start") <= day_ns(month, day)).tail(len(found.history))
    assert [each.value for each in found.history] == past["value"].to_list()
    assert [each.detected for each in found.history] == past["detected"].to_list()


def test_a_window_exceeds_when_the_engine_says_so() -> None:
    """The sequence of windows that exceed gives the verdicts by the rule: 2 of 3 begin drift, none of 3 end it."""
    found = asked("temp", day_ns(5, 20), history=40)
    flags = [each.exceeds for each in found.history]
    assert {True, False} <= set(flags)
    for number in range(2, len(flags)):
        count = sum(bool(flag) for flag in flags[number - 2 : number + 1])
        if count >= found.needed:
            assert found.history[number].detected
        if not count:
            assert found.history[number].detected is False


def test_the_words_name_level_null_and_rule() -> None:
    """What a verdict is made of: the level, the baseline's chunks, and how far its own days are from one another."""
    found = asked("temp", day_ns(7, 4))
    assert found.level is not None
    assert 0 < found.level < 1
    assert [each.method for each in found.nulls] == ["jensen_shannon", "wasserstein_normalised"]
    assert all((each.source, each.chunks, each.reason) == ("own", 59, None) for each in found.nulls)
    assert all(each.natural is not None and each.natural > 0 for each in found.nulls)
    assert found.said == "Drifted: 3 of the last 3 windows that could be judged exceeded; 2 of 3 are needed."
    assert found.quality["mean"]["window"] == pytest.approx(81.82, abs=0.01)


def test_too_few_rows_are_no_verdict() -> None:
    """Whatever they say, with the reason in words."""
    found = asked("temp", day_ns(7, 4), config=DetectConfig(min_rows=800))
    assert (found.verdict, found.reason) == (None, "insufficient")
    assert found.said == "No verdict: the window has too few rows with a value."
    assert [each.exceeds for each in found.statistics if each.method == DECIDING] == [None]


def test_a_baseline_without_times_gives_no_verdict() -> None:
    """The scores are there all the same."""
    _, after, _ = flights()
    baseline = build_baseline(dataset({"temp": np.arange(500.0)}), "m", "", [DAY])
    rows = of_file(after)
    found = explain(Question("temp", day_ns(7, 4), DAY), rows, baseline, CONFIG, [DAY])
    assert (found.verdict, found.reason, found.level) == (None, "no_timestamps", None)
    assert found.statistics[0].value is not None
    assert found.nulls[0].reason == "no_timestamps"


@pytest.mark.parametrize(
    ("feature", "time_ns", "message"),
    [
        ("tmep", None, "there is no feature 'tmep' in the baseline: did you mean temp?"),
        ("zzzz", None, "did you mean carrier, origin, hour, temp, wind_speed?"),
        (
            "temp",
            0,
            "the window of 24h from 1970-01-01T00:00:00Z is not there, or has no rows; there are windows",
        ),
    ],
)
def test_what_is_not_there_is_said_with_what_is(feature: str, time_ns: int | None, message: str) -> None:
    """Unknown features with near ones, windows without rows with those that have some."""
    with pytest.raises(ConfigError) as caught:
        asked(feature, time_ns)
    assert message in str(caught.value)


def test_a_column_left_out_of_the_baseline_says_why() -> None:
    """It was all missing, or of another type."""
    _, after, _ = flights()
    baseline = build_baseline(dataset({"temp": np.arange(500.0), "empty": [None] * 500}), "m", "", [])
    with pytest.raises(ConfigError, match="'empty' is not in the baseline: it was left out, since all its values"):
        explain(Question("empty", None, DAY), of_file(after), baseline, CONFIG, [DAY])


def test_windows_by_rows_are_refused() -> None:
    """They have no time to be asked for by."""
    _, after, baseline = flights()
    with pytest.raises(ConfigError, match="only windows by time"):
        explain(Question("temp", None, parse_window("500rows")), of_file(after), baseline, CONFIG, [DAY])


def test_features_come_before_predictions_of_the_same_name() -> None:
    """The other one is there under its field's name."""
    random = np.random.default_rng(1)
    times = pl.Series(np.arange(300) * HOUR_NS).cast(pl.Datetime("ns"))
    frame = pl.DataFrame({"t": times, "answer": random.normal(size=300), "size": random.normal(size=300)})
    options = ColumnOptions.of("t", predictions=["answer=size"])
    data = to_dataset(frame, options, "rows")
    baseline = build_baseline(data, "m", "", [DAY])
    rows = of_file(data)
    roles = [
        explain(Question(name, None, DAY), rows, baseline, CONFIG, [DAY]).role for name in ("size", "prediction.size")
    ]
    assert roles == ["feature", "prediction"]


def archived(directory: Path, *, cut: int = 3) -> TimedRows:
    """Three July days of the flights in a real archive, in several segments."""
    _, after, _ = flights()
    assert after.times_ns is not None
    inside = (after.times_ns >= day_ns(7, 2)) & (after.times_ns < day_ns(7, 5))
    part = after.rows.take(np.flatnonzero(inside))
    columns = {name: part.column(name) for name in part.schema.names}
    batch = predictions(after.times_ns[inside], columns, key=KEY)
    sample = Sample(files=RealFiles(), directory=directory)
    segments = [[rows_entry(batch.keep(np.arange(batch.rows.num_rows) % cut == number))] for number in range(cut)]
    for segment in write_journal(sample.files, segments, directory):
        sample.archive.add(segment)
    return archived_rows(directory, KEY.model, None, None)


def test_the_archive_and_a_file_say_the_same(tmp_path: Path) -> None:
    """Rows archived by model and hour, in parts, are explained as those of the file."""
    rows = archived(tmp_path)
    assert rows.key == KEY
    _, _, baseline = flights()
    for feature in ("temp", "carrier"):
        ours = explain(Question(feature, day_ns(7, 4), DAY), rows, baseline, CONFIG, [DAY])
        theirs = asked(feature, day_ns(7, 4))
        assert len(ours.history) == 3
        assert ours.histogram == theirs.histogram
        assert ours.statistics[0].value == theirs.statistics[0].value
        assert ours.rows == theirs.rows == 776


def test_the_newest_window_is_that_of_the_newest_rows(tmp_path: Path) -> None:
    """Without a time, and also for windows shorter than an hour."""
    rows = archived(tmp_path)
    _, _, baseline = flights()
    found = explain(Question("temp", None, parse_window("30m")), rows, baseline, CONFIG, [DAY])
    assert found.start >= "2013-07-04T22:00:00Z"
    assert 0 < found.rows < 100


def test_models_and_versions_that_are_not_archived_are_named(tmp_path: Path) -> None:
    """With what is there."""
    archived(tmp_path)
    with pytest.raises(ConfigError, match="no rows of model 'other' in it; it has model 'flight-delay', version '1'"):
        archived_rows(tmp_path, "other", None, None)
    with pytest.raises(ConfigError, match="no rows of model 'flight-delay', version '2'"):
        archived_rows(tmp_path, KEY.model, "2", None)
    with pytest.raises(ConfigError, match="it has no rows at all"):
        archived_rows(tmp_path / "nowhere", KEY.model, None, None)


def test_a_damaged_archive_file_is_named(tmp_path: Path) -> None:
    """Rather than explained as rows that never came."""
    rows = archived(tmp_path)
    path = max(tmp_path.rglob("archive/**/*.parquet"))
    path.write_bytes(b"PAR1" + bytes(100))
    _, _, baseline = flights()
    with pytest.raises(BaselineError, match=r"\.parquet: cannot be read"):
        explain(Question("temp", None, DAY), rows, baseline, CONFIG, [DAY])


def test_contributions_add_up_to_the_distance() -> None:
    """What moved most, over all bins, is the squared Jensen-Shannon distance: by hand for two categories."""
    _, _, baseline = flights()
    column = next(each for each in baseline.columns if each.column.name == "origin")
    expected, observed = np.array([50.0, 30, 20, 0, 0]), np.array([10.0, 30, 20, 0, 40])
    assert isinstance(column.bins, CategoryBins)
    moved = moved_most(column, expected, observed)
    assert [bar.label for bar in moved] == ["(unseen)", column.bins.categories[0]]
    unseen = 0.4 * np.log2(0.4 / 0.2)
    first = 0.5 * np.log2(0.5 / 0.3) + 0.1 * np.log2(0.1 / 0.3)
    assert [bar.contribution for bar in moved] == pytest.approx([unseen / (unseen + first), first / (unseen + first)])
    assert (moved[0].baseline, moved[0].window) == (0, 0.4)


@pytest.mark.parametrize("feature", FEATURES)
def test_histograms_hold_all_values_once(feature: str) -> None:
    """Shares of either side add up to one, over ranges in order, few enough for a screen."""
    found = asked(feature, day_ns(8, 8))
    assert sum(bar.baseline for bar in found.histogram) == pytest.approx(1)
    assert sum(bar.window for bar in found.histogram) == pytest.approx(1)
    assert 1 < len(found.histogram) <= 26
    assert len({bar.label for bar in found.histogram}) == len(found.histogram)


@pytest.mark.parametrize("values", [np.zeros(300), np.arange(300.0), np.array([1e308, -1e308] * 150)])
def test_histograms_of_odd_baselines(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> None:
    """Constant, discrete and overflowing columns; a window without values, and one far away."""
    baseline = build_baseline(dataset({"x": values}), "m", "", [])
    column = baseline.columns[0]
    expected = column.counts.astype(np.float64)
    for observed in (np.zeros(len(expected)), np.eye(len(expected))[-1] * 7):
        bars = histogram_of(column, expected, observed)
        assert sum(bar.baseline for bar in bars) == pytest.approx(1)
        assert sum(bar.window for bar in bars) == pytest.approx(1 if observed.any() else 0)


def test_days_are_cut_in_utc() -> None:
    """The window of an instant is the one that holds it."""
    assert asked("temp", day_ns(7, 4)).start == asked("temp", day_ns(7, 5) - 1).start == "2013-07-04T00:00:00Z"
    assert asked("temp", day_ns(7, 5)).start == "2013-07-05T00:00:00Z"
    assert DAY.length_ns == DAY_NS


def test_windows_that_overlap_have_the_verdict_of_the_last_that_is_judged() -> None:
    """A day in steps of six hours: the one that begins last before the instant, and the days that are judged before."""
    _, after, baseline = flights()
    hopping = parse_window("24h every 6h")
    found = explain(Question("temp", day_ns(7, 4) + 13 * HOUR_NS, hopping), of_file(after), baseline, CONFIG, [hopping])
    assert found.start == "2013-07-04T12:00:00Z"
    assert [each.start for each in found.history[-3:]] == [
        "2013-07-03T00:00:00Z",
        "2013-07-04T00:00:00Z",
        "2013-07-04T12:00:00Z",
    ]
    assert found.verdict is True
    assert found.verdict == found.history[-2].detected
    assert found.said.endswith(
        "the verdict on the window from 2013-07-04T00:00:00Z, which stands until the next is over."
    )


def test_without_rows_in_between_overlapping_windows_keep_apart() -> None:
    """A gap in the rows lets no window be judged with others that it overlaps: they go by time, not by number."""
    _, after, baseline = flights()
    assert after.times_ns is not None
    gap = (after.times_ns >= day_ns(7, 1)) & (after.times_ns < day_ns(7, 2) + 7 * HOUR_NS)
    rows = Dataset(after.rows.filter(pa.array(~gap)), after.times_ns[~gap])
    hopping = parse_window("24h every 6h")
    found = explain(Question("temp", day_ns(7, 4), hopping), of_file(rows), baseline, CONFIG, [hopping])
    starts = [each.start for each in found.history]
    assert all(start.endswith("T00:00:00Z") for start in starts)
    assert "2013-07-01T00:00:00Z" not in starts


def test_values_beyond_the_range_say_how_far_they_go() -> None:
    """A unit error is visible as such: all values are above the range, up to a thousand times as large."""
    _, after, baseline = flights()
    assert after.times_ns is not None
    inside = (after.times_ns >= day_ns(7, 2)) & (after.times_ns < day_ns(7, 3))
    temp = after.rows.column("feature.temp").filter(pa.array(inside))
    scaled = pa.array(np.asarray(temp.to_numpy(zero_copy_only=False)) * 1_000, pa.float64())
    rows = Dataset(pa.RecordBatch.from_pydict({"feature.temp": scaled}), after.times_ns[inside])
    question = Question("temp", None, DAY, others=("rolling", "previous"))
    found = explain(question, of_file(rows), baseline, CONFIG, [DAY])
    last = found.histogram[-1]
    assert last.window == 1
    assert last.label.startswith("above 64.4 (to ")
    assert found.quality["max"]["window"] == pytest.approx(float(np.nanmax(scaled.to_numpy())))
    assert found.notes[-1].startswith("Explained against the baseline itself; rolling, previous are")
