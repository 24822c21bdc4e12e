"""Constant columns, ages of the newest value and repeated rows: as surprising as they are without drift."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from driftmeter.baseline.build import build_baseline
from driftmeter.detect.config import DetectConfig
from driftmeter.detect.detector import Detector
from driftmeter.detect.null import Measured, Nulls, Surprise, build_nulls, surprises, whole_surprises
from driftmeter.detect.reference import FixedReference
from driftmeter.methods import DECIDING_METHODS
from driftmeter.methods.ratios import RATIOS
from driftmeter.model.baseline import Baseline, Chunks, ColumnBaseline, Compared, Comparison
from driftmeter.model.bins import NumericBins
from driftmeter.model.columns import Column, Role
from driftmeter.model.counts import Counts
from driftmeter.model.window_counts import WindowCounts
from driftmeter.model.windows import parse_window
from driftmeter.summary.fold import fold
from rows import DAY_NS, KEY, Floats, dataset, predictions

NOISE = {key: np.array([5.0]) for key in DECIDING_METHODS}
Ints = npt.NDArray[np.int64]


def chunks_of(rows: int, ratios: dict[str, Ints], whole: dict[str, Ints] | None = None) -> Chunks:
    """Days of one column, of so many rows each, with nothing but what these ratios count."""
    k = len(next(iter({**ratios, **(whole or {})}.values())))
    still = {key: np.zeros((k, 1), np.int64) for key in RATIOS} | {key: each[:, None] for key, each in ratios.items()}
    squared = np.random.default_rng(k).gamma(2.0, 0.1, (k, 1))
    compared = Compared(np.full((k, 1), 1e6), dict.fromkeys(DECIDING_METHODS, squared))
    sizes, blocks = np.full(k, rows), np.arange(k) * 4 // k
    return Chunks(
        np.arange(k) * DAY_NS, sizes, blocks, sizes[:, None], still, {Comparison.REST: compared}, whole=whole or {}
    )


def nulls_of(chunks: Chunks) -> Nulls:
    """What days look like without drift."""
    counts = np.array([0, 1_000_000, 0], np.uint64)
    column = ColumnBaseline(Column(Role.FEATURE, "x"), NumericBins(np.array([0.0])), None, counts, 0, 0)
    end_ns = len(chunks.rows) * DAY_NS - 1
    baseline = Baseline("m", "", "file", 1_000_000, 0, end_ns, (column,), ("24h",), {"24h": chunks})
    return build_nulls(baseline, Comparison.REST, parse_window("24h"), NOISE, 100)


def window(rows: int, key: str, hits: float) -> Measured:
    """One window in which a ratio counts so much."""
    table = np.array([[float(rows)]])
    still = {each: np.zeros((1, 1)) for each in DECIDING_METHODS}
    counted = {each: np.array([[hits if each == key else 0.0]]) for each in RATIOS}
    return Measured(None, table[0], table, np.array([[1e6]]), still, counted, {}, {key: np.array([[hits]])})


def judged(nulls: Nulls, rows: int, key: str, hits: float) -> Surprise:
    """How surprising that window is, of the column."""
    return surprises(nulls, window(rows, key, hits), NOISE)[key]


def ages(random: np.random.Generator, values: int, count: int) -> Ints:
    """Steps of time after the last of so many instants at random, in each of some windows."""
    newest = random.random((count, values)).max(axis=1)
    return np.asarray(np.rint((1 - newest) * 1_000), np.int64)


@pytest.mark.parametrize("values", [20, 100, 1_000])
def test_ages_of_values_at_random_are_no_surprise(values: int) -> None:
    """At most so many windows as stated are as surprising as that, whatever the number of values."""
    random = np.random.default_rng(values)
    found = []
    for _ in range(100):
        nulls = nulls_of(chunks_of(values, {"freshness_ratio": ages(random, values, 60)}))
        found += [
            judged(nulls, values, "freshness_ratio", float(each)).pvalue[0, 0] for each in ages(random, values, 20)
        ]
    for level in (0.1, 0.01, 0.001):
        assert np.mean(np.array(found) <= level) <= level + 4 * np.sqrt(level / len(found))


def test_nights_are_usual_and_silence_is_not() -> None:
    """Where the last third of every day has no rows, that age is no surprise; half a day is."""
    random = np.random.default_rng(2)
    nights = 333 + random.integers(-15, 16, 60)
    nulls = nulls_of(chunks_of(1_000, {"freshness_ratio": nights}))
    usual, silent = (judged(nulls, 1_000, "freshness_ratio", hits) for hits in (345.0, 700.0))
    assert usual.pvalue[0, 0] > 0.05
    assert silent.pvalue[0, 0] < 1e-9
    assert silent.excess[0, 0] == pytest.approx(0.7 - 1 / 3, abs=0.02)
    fresh = judged(nulls, 1_000, "freshness_ratio", 1.0)
    assert (fresh.effect[0, 0], fresh.pvalue[0, 0]) == (0, pytest.approx(1))


@pytest.mark.parametrize(("rows", "low", "high"), [(100, 0.3, 1.0), (1_000, 1e-3, 2e-2), (5_000, 0.0, 1e-8)])
def test_a_rare_value_may_be_absent_from_few_rows(rows: int, low: float, high: float) -> None:
    """With 0.5 % of another value, 100 equal ones are usual, and 5,000 are not: their chance is 0.995 to that power."""
    random = np.random.default_rng(3)
    nulls = nulls_of(chunks_of(2_000, {"constant_ratio": random.binomial(2_000, 0.995, 60)}))
    found = judged(nulls, rows, "constant_ratio", float(rows)).pvalue[0, 0]
    assert low <= found <= high
    assert found == pytest.approx(0.995**rows, rel=1.0, abs=1e-8)


def test_only_a_constant_column_is_surprising() -> None:
    """All values the same where none had a tenth: a great surprise; all but one: none, and no effect."""
    chunks = chunks_of(1_000, {"constant_ratio": np.random.default_rng(4).integers(60, 100, 60)})
    constant, nearly = (judged(nulls_of(chunks), 500, "constant_ratio", hits) for hits in (500.0, 499.0))
    assert constant.pvalue[0, 0] < 1e-100
    assert constant.excess[0, 0] == pytest.approx(0.92, abs=0.01)
    assert (nearly.pvalue[0, 0], nearly.excess[0, 0]) == (1, 0)


def test_a_column_that_is_constant_at_times_is_no_surprise() -> None:
    """Where one day in ten has one value alone, another such day is as likely as that."""
    tops = np.where(np.arange(60) % 10 == 0, 1_000, 80)
    found = judged(nulls_of(chunks_of(1_000, {"constant_ratio": tops})), 1_000, "constant_ratio", 1_000.0)
    assert found.pvalue[0, 0] == pytest.approx(0.1)


def test_repeated_rows_are_judged_by_the_days_of_the_baseline() -> None:
    """The chance of as many is that of the beta-binomial that the days are drawn from."""
    random = np.random.default_rng(5)
    rows, mean, precision = 2_000, 0.05, 40.0
    daily = random.binomial(rows, random.beta(mean * precision, (1 - mean) * precision, 400))
    nulls = nulls_of(chunks_of(rows, {}, {"duplicate_ratio": daily, "incomplete_ratio": np.zeros(400, np.int64)}))
    own = stats.betabinom(rows, mean * precision, (1 - mean) * precision)
    for hits in (120, 250, 400):
        found = whole_surprises(nulls, window(rows, "duplicate_ratio", float(hits)))["duplicate_ratio"]
        assert found.pvalue[0, 0] == pytest.approx(own.sf(hits - 1), rel=0.5)
    dropped = whole_surprises(nulls, window(rows, "incomplete_ratio", 20.0))["incomplete_ratio"]
    assert dropped.pvalue[0, 0] < 1e-15
    assert dropped.excess[0, 0] == pytest.approx(0.01, rel=0.02)


def test_what_chunks_do_not_count_has_no_null() -> None:
    """Without tables, with unknown numbers and with too few days nothing is said; the rest stays as it is."""
    chunks = chunks_of(1_000, {"freshness_ratio": np.full(60, -1)})
    kept = {key: each for key, each in chunks.ratios.items() if key != "constant_ratio"}
    nulls = nulls_of(replace(chunks, ratios=kept))
    for key in ("constant_ratio", "freshness_ratio"):
        assert nulls.ratios[key].rows[0] == 0
        found = judged(nulls, 1_000, key, 1_000.0)
        assert np.isnan([found.pvalue[0, 0], found.effect[0, 0], found.excess[0, 0]]).all()
    assert np.isfinite(judged(nulls, 1_000, "missing_ratio", 10.0).pvalue[0, 0])
    found = whole_surprises(nulls, window(1_000, "duplicate_ratio", 10.0))["duplicate_ratio"]
    assert np.isnan(found.pvalue[0, 0])
    few = nulls_of(chunks_of(1_000, {}, {"duplicate_ratio": np.zeros(10, np.int64)}))
    assert few.whole == {}
    some = np.where(np.arange(60) < 30, -1, 100)
    known: Floats = nulls_of(chunks_of(1_000, {}, {"duplicate_ratio": some})).whole["duplicate_ratio"].hits
    assert known[0] == 3_000


@pytest.mark.parametrize(("shift", "scale"), [(0.3, 1.0), (0.0, 1.5), (-2.0, 0.2), (0.05, 30.0)])
def test_a_mean_does_not_move_unseen(shift: float, scale: float) -> None:
    """The normalised Wasserstein distance is at least that of the means, and a spread by half as large is one, too."""
    random = np.random.default_rng(6)
    usual, values = random.normal(size=20_000), random.normal(shift, scale, 5_000)
    baseline = build_baseline(dataset({"x": usual}), "m", "", [])
    counts = Counts.zeros(baseline.layout)
    batch = predictions(np.zeros(5_000, np.int64), {"x": values})
    fold(baseline.layout, batch.rows, np.zeros(5_000, np.int32), counts)
    seen = WindowCounts(parse_window("24h"), 0, 0, DAY_NS, 0, counts)
    evaluation = Detector(KEY, baseline, [FixedReference(baseline)], DetectConfig()).evaluate([seen])
    (found,) = evaluation.findings.filter(column="x", method="wasserstein_normalised")["value"].to_list()
    mean, stddev = evaluation.quality.filter(column="x").select("mean", "stddev").row(0)
    assert (mean, stddev) == (pytest.approx(values.mean()), pytest.approx(values.std()))
    assert found >= abs(mean - usual.mean()) / usual.std() - 1e-3
    assert found >= 0.29
