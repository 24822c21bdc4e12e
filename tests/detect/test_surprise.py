"""How surprising a window is against the baseline's own chunks, and when nothing can be said."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from driftmeter.detect.null import (
    CHUNKS_MIN,
    Measured,
    Nulls,
    build_nulls,
    covered_ns,
    surprise,
    surprises,
    volume_surprise,
)
from driftmeter.methods import DECIDING_METHODS
from driftmeter.methods.ratios import RATIOS
from driftmeter.model.baseline import Baseline, Chunks, ColumnBaseline, Compared, Comparison
from driftmeter.model.bins import NumericBins
from driftmeter.model.columns import Column, Role
from driftmeter.model.windows import WEEK_NS, parse_window
from rows import DAY_NS, HOUR_NS, Floats

A = 5.0
NOISE = {key: np.array([A]) for key in DECIDING_METHODS}
MIN_ROWS = 100


def one(squared: float, mean: float, shape: float, chunks: float) -> float:
    """`surprise` of a single window."""
    return float(surprise(*(np.array([each]) for each in (squared, mean, shape, chunks)))[0])


@given(
    st.floats(0, 100), st.floats(1e-6, 100), st.floats(0.05, 1e4), st.integers(2, 5000)
)  # fmt: skip
def test_is_the_tail_of_scipys_f(squared: float, mean: float, shape: float, chunks: int) -> None:
    """P = upper tail of F(2k, 2kK) at Q / mean."""
    expected = stats.f.sf(squared / mean, 2 * shape, 2 * shape * chunks)
    assert one(squared, mean, shape, chunks) == pytest.approx(expected, rel=1e-9, abs=1e-300)


@pytest.mark.parametrize(("shape", "chunks", "ratio"), [(0.7, 20, 3.0), (1.5, 20, 2.5), (4.0, 30, 2.0), (2.0, 5, 4.0)])
def test_agrees_with_draws_of_the_stated_model(shape: float, chunks: int, ratio: float) -> None:
    """Gamma windows around a mean that is itself the average of K gamma chunks, within five standard errors."""
    random = np.random.default_rng(1)
    draws = 200_000
    window = random.gamma(shape, 1 / shape, draws)
    average = random.gamma(shape * chunks, 1 / (shape * chunks), draws)
    seen = np.mean(window / average >= ratio)
    expected = one(ratio, 1.0, shape, chunks)
    assert seen == pytest.approx(expected, abs=5 * np.sqrt(expected / draws))


def test_few_chunks_make_wider_tails() -> None:
    """The less is known of the mean, the less surprising the same distance is."""
    tails = [one(5.0, 1.0, 1.0, chunks) for chunks in (5, 20, 100, 10_000)]
    assert tails == sorted(tails, reverse=True)
    assert tails[-1] == pytest.approx(stats.gamma.sf(5.0, 1.0), rel=0.01)


def test_ends_of_the_range() -> None:
    """No distance is no surprise; any distance where none is expected is the greatest; no null gives no number."""
    assert one(0, 1, 2, 30) == 1
    assert one(1e-9, 0, 1e6, 30) == 0
    assert 0.4 < one(0, 0, 1e6, 30) <= 1
    assert np.isnan(one(np.nan, 1, 2, 30))
    assert np.isnan(one(1, np.nan, np.nan, 0))


def chunks_of(
    squared: Floats,
    rows: int = 1000,
    hits: Mapping[str, npt.NDArray[np.generic]] | None = None,
    length_ns: int = DAY_NS,
) -> Chunks:
    """Chunks of equal size of one column, with the same statistic for each method."""
    k = len(squared)
    ratios = {key: np.zeros((k, 1), np.int64) for key in RATIOS}
    ratios |= {key: np.asarray(each, np.int64)[:, None] for key, each in (hits or {}).items()}
    compared = Compared(np.full((k, 1), 999_000.0), dict.fromkeys(DECIDING_METHODS, squared[:, None]))
    return Chunks(
        np.arange(k) * length_ns,
        np.full(k, rows),
        np.arange(k) * 4 // max(k, 1),
        np.full((k, 1), rows),
        ratios,
        {Comparison.REST: compared},
    )


def baseline_of(
    chunks: Mapping[str, Chunks], name: str = "file", start_ns: int | None = 0, end_ns: int | None = 30 * DAY_NS - 1
) -> Baseline:
    """A baseline of one column with these chunks, over 30 days unless told otherwise."""
    counts = np.array([0, 1_000_000, 0], np.uint64)
    column = ColumnBaseline(Column(Role.FEATURE, "x"), NumericBins(np.array([0.0])), None, counts, 0, 0)
    return Baseline("m", "", name, 1_000_000, start_ns, end_ns, (column,), tuple(chunks), dict(chunks))


def gammas(count: int, shape: float = 2.0, mean: float = 0.2) -> Floats:
    """Squared distances of undrifted chunks."""
    return np.random.default_rng(count).gamma(shape, mean / shape, count)


def nulls(baseline: Baseline, window: str = "24h", block: int | None = None) -> Nulls:
    """The null of the baseline's only column."""
    return build_nulls(baseline, Comparison.REST, parse_window(window), NOISE, MIN_ROWS, block)


@pytest.mark.parametrize("key", DECIDING_METHODS)
def test_own_chunks_are_fitted(key: str) -> None:
    """B is what the mean of Q exceeds sampling by, k the inverse variance of Q over its expectation, K the chunks."""
    squared = gammas(400)
    fitted = nulls(baseline_of({"24h": chunks_of(squared)}))
    sampling = A * (1 / 1000 + 1 / 999_000)
    assert fitted.methods[key].natural[0] == pytest.approx(squared.mean() - sampling)
    assert fitted.methods[key].shape[0] == pytest.approx(1 / np.var(squared / squared.mean(), ddof=1))
    assert (fitted.methods[key].chunks[0], fitted.source[0], fitted.reason[0]) == (400, "own", None)


def test_a_block_is_left_out() -> None:
    """The null for the chunks of one block is fitted to all others, and nothing of it depends on the block."""
    squared = gammas(400)
    other = np.where(np.arange(400) < 100, 77.0, squared)
    with_it, without = (nulls(baseline_of({"24h": chunks_of(each)}), block=0).methods for each in (squared, other))
    for key in DECIDING_METHODS:
        assert with_it[key].chunks[0] == 300
        assert with_it[key].natural[0] == without[key].natural[0] == pytest.approx(squared[100:].mean(), abs=0.01)


def test_less_variation_than_sampling_gives_no_natural_part() -> None:
    """B is never negative."""
    fitted = nulls(baseline_of({"24h": chunks_of(gammas(50, mean=1e-6))}))
    assert fitted.methods["jensen_shannon"].natural[0] == 0


def test_constant_chunks_have_a_finite_shape() -> None:
    """A column that never moves has no variance: k is large, and finite."""
    none = {key: np.zeros(1) for key in DECIDING_METHODS}
    baseline = baseline_of({"24h": chunks_of(np.zeros(50))})
    fitted = build_nulls(baseline, Comparison.REST, parse_window("24h"), none, MIN_ROWS).methods["jensen_shannon"]
    assert np.isfinite(fitted.shape[0])
    assert fitted.shape[0] > 1e5
    assert fitted.natural[0] == 0


DAYS = chunks_of(gammas(50))


@pytest.mark.parametrize(
    ("baseline", "window", "reason"),
    [
        (baseline_of({}, name="learned"), "24h", "provisional"),
        (baseline_of({"24h": DAYS}, start_ns=None, end_ns=None), "24h", "no_timestamps"),
        (baseline_of({"24h": DAYS}, end_ns=6 * DAY_NS - 1), "24h", "no_weekly_cycle"),
        (baseline_of({"24h": chunks_of(gammas(CHUNKS_MIN - 1))}), "24h", "too_few_chunks"),
        (baseline_of({}), "24h", "too_few_chunks"),
        (baseline_of({"24h": chunks_of(gammas(90), rows=99)}), "24h", "too_few_chunks"),
        (baseline_of({"24h": chunks_of(np.full(90, np.nan))}), "24h", "too_few_chunks"),
        (baseline_of({"7d": DAYS}), "24h", "too_few_chunks"),
        (baseline_of({"1h": DAYS}), "100rows", "too_few_chunks"),
    ],
)
def test_reasons_why_there_is_no_verdict(baseline: Baseline, window: str, reason: str) -> None:
    """Learned, without times, under a week, too few chunks of enough rows: each has its own word."""
    found = nulls(baseline, window)
    assert (found.reason[0], found.source[0]) == (reason, None)
    assert np.isnan(found.methods["jensen_shannon"].shape[0])


def test_comparison_that_the_baseline_lacks_has_no_null() -> None:
    """Chunks that were not compared with the one before say nothing of windows that are."""
    found = build_nulls(baseline_of({"24h": DAYS}), Comparison.PREVIOUS, parse_window("24h"), NOISE, MIN_ROWS)
    assert found.reason[0] == "not_compared"


def test_short_windows_need_no_week() -> None:
    """A day of hours is enough for windows of an hour."""
    assert nulls(baseline_of({"1h": chunks_of(gammas(24))}, end_ns=DAY_NS - 1), "1h").source[0] == "own"


def test_a_week_of_daytimes_is_a_week() -> None:
    """Partial first and last days count whole."""
    baseline = baseline_of({"24h": DAYS}, start_ns=9 * HOUR_NS, end_ns=6 * DAY_NS + 17 * HOUR_NS)
    assert nulls(baseline).source[0] == "own"


def test_too_few_chunks_borrow_from_the_next_shorter_length() -> None:
    """The longest length that has enough chunks is used, and said to be borrowed; the volume is not."""
    chunks = {"24h": 10, "5m": 400, "1h": 100, "10rows": 99}
    borrowed = nulls(baseline_of({name: chunks_of(gammas(count)) for name, count in chunks.items()}))
    assert (borrowed.source[0], borrowed.methods["jensen_shannon"].chunks[0]) == ("borrowed", 100)
    assert borrowed.volume is None


def test_same_length_under_another_name_is_its_own() -> None:
    """Chunks of 24h serve a window of 1d."""
    assert nulls(baseline_of({"24h": DAYS}), "1d").source[0] == "own"


def test_row_windows_need_no_timestamps() -> None:
    """Where rows have no times, windows by rows still have their verdict, and borrow from fewer rows."""
    chunks = {"500rows": chunks_of(gammas(50)), "1000rows": chunks_of(gammas(25))}
    baseline = baseline_of(chunks, start_ns=None, end_ns=None)
    assert nulls(baseline, "500rows").source[0] == nulls(baseline, "1000rows").source[0] == "own"
    longer = nulls(baseline, "5000rows")
    assert (longer.source[0], longer.methods["jensen_shannon"].chunks[0]) == ("borrowed", 25)


def measured(hits: int, rows: int, key: str = "missing_ratio", usual: tuple[float, float] | None = None) -> Measured:
    """A window with so many rows that a ratio counts."""
    counted = {each: np.array([[float(hits if each == key else 0)]]) for each in RATIOS}
    expected = {} if usual is None else {key: (np.array([[usual[0]]]), np.array([[usual[1]]]))}
    return Measured(
        np.zeros(1, np.int64),
        np.array([float(rows)]),
        np.array([[float(rows)]]),
        np.array([[1e6]]),
        {each: np.zeros((1, 1)) for each in DECIDING_METHODS},
        counted,
        expected,
    )


@pytest.mark.parametrize(("hits", "rows"), [(0, 500), (1, 500), (5, 1000), (40, 1000), (3, 100_000)])
def test_steady_ratio_is_judged_by_jeffreys_predictive(hits: int, rows: int) -> None:
    """Chunks that vary as sampling does: beta-binomial with X + 1/2 and N - X + 1/2, both ways for missing values."""
    k, size, ratio = 60, 1000, 0.004
    drawn = np.full(k, ratio * size)  # Less variation than sampling gives: none beyond it.
    baseline = baseline_of({"24h": chunks_of(gammas(k), size, {"missing_ratio": drawn})})
    found = surprises(nulls(baseline), measured(hits, rows), NOISE)["missing_ratio"]
    x, n = drawn.sum(), k * size
    exact = stats.betabinom(rows, x + 0.5, n - x + 0.5)
    assert found.pvalue[0, 0] == pytest.approx(min(1, 2 * min(exact.sf(hits - 1), exact.cdf(hits))), rel=1e-6)


def test_ratio_that_varies_by_the_day_is_judged_by_its_own_variation() -> None:
    """The correlation of beta-binomial chunks is found again, and a usual day is then no surprise."""
    random = np.random.default_rng(3)
    k, size, mean, precision = 400, 2000, 0.05, 30.0
    daily = random.binomial(size, random.beta(mean * precision, (1 - mean) * precision, k))
    fitted = nulls(baseline_of({"24h": chunks_of(gammas(k), size, {"missing_ratio": daily})}))
    assert fitted.ratios["missing_ratio"].correlation[0] == pytest.approx(1 / (precision + 1), rel=0.25)
    steady = stats.betabinom(size, mean * k * size, (1 - mean) * k * size)
    day = int(mean * size * 1.8)
    assert steady.sf(day - 1) < 1e-8
    own = stats.betabinom(size, mean * precision, (1 - mean) * precision).sf(day - 1)
    found = surprises(fitted, measured(day, size), NOISE)["missing_ratio"]
    assert found.pvalue[0, 0] / 2 == pytest.approx(own, rel=0.35)
    assert found.excess[0, 0] < found.effect[0, 0]


def test_p_values_of_undrifted_ratios_are_even() -> None:
    """Drawn from the model itself, at most so many windows as stated are as surprising as that."""
    random = np.random.default_rng(8)
    k, size, mean, precision = 200, 1000, 0.02, 50.0
    found = []
    for _ in range(150):
        ratios = random.beta(mean * precision, (1 - mean) * precision, k + 10)
        daily = random.binomial(size, ratios)
        fitted = nulls(baseline_of({"24h": chunks_of(gammas(k), size, {"unseen_ratio": daily[:k]})}))
        found += [
            surprises(fitted, measured(int(each), size, "unseen_ratio"), NOISE)["unseen_ratio"].pvalue[0, 0]
            for each in daily[k:]
        ]
    for level in (0.2, 0.05, 0.01):
        seen, error = np.mean(np.array(found) <= level), np.sqrt(level / len(found))
        assert seen <= level + 4 * error
    assert np.mean(np.array(found) <= 0.2) > 0.1


def test_jump_from_none_is_a_great_surprise() -> None:
    """A baseline without missing values, and 1 % of a thousand rows."""
    baseline = baseline_of({"24h": chunks_of(gammas(60))})
    found = surprises(nulls(baseline), measured(10, 1000, usual=(0.0, 60_000.0)), NOISE)["missing_ratio"]
    assert found.pvalue[0, 0] < 1e-15
    assert found.excess[0, 0] == pytest.approx(0.01, rel=0.01)


def test_fewer_than_usual_is_no_drift_of_what_should_not_be_there() -> None:
    """Less unseen values than the baseline had are no effect; less missing ones are."""
    hits = {key: np.full(60, 100.0) for key in ("missing_ratio", "unseen_ratio")}
    fitted = nulls(baseline_of({"24h": chunks_of(gammas(60), hits=hits)}))
    found = surprises(fitted, measured(0, 1000, "other"), NOISE)
    assert found["unseen_ratio"].effect[0, 0] == 0
    assert found["unseen_ratio"].pvalue[0, 0] == 1
    assert found["missing_ratio"].effect[0, 0] == pytest.approx(0.1, rel=0.02)
    assert found["missing_ratio"].pvalue[0, 0] < 1e-20


def test_volume_is_judged_by_the_hour_of_the_week() -> None:
    """Quiet nights are no surprise at night, and are one by day; the spread is that of the same hours."""
    random = np.random.default_rng(4)
    hours = np.arange(4 * 168)
    usual = np.where(hours % 24 < 6, 200.0, 5000.0)
    rows = random.lognormal(np.log(usual), 0.1).astype(np.int64)
    chunks = chunks_of(gammas(len(hours)), length_ns=HOUR_NS)
    chunks = Chunks(chunks.starts_ns, rows, chunks.blocks, chunks.values, chunks.ratios, chunks.compared)
    fitted = nulls(baseline_of({"1h": chunks}, end_ns=4 * WEEK_NS - 1), "1h")
    volume = fitted.volume
    assert volume is not None
    assert volume.season_ns == WEEK_NS
    assert volume.variance == pytest.approx(0.01, rel=0.3)
    window = measured(0, 210)
    night = volume_surprise(volume, window)[1]
    late = Measured(np.array([12 * HOUR_NS]), window.rows, window.values, window.compared, {}, {})
    away, day = volume_surprise(volume, late)
    assert night.pvalue[0, 0] > 0.1
    assert away[0, 0] == pytest.approx(np.log(210 / 5000), abs=0.2)
    assert day.pvalue[0, 0] < 1e-12
    assert day.excess[0, 0] > 2


@pytest.mark.parametrize(("seasonal", "usual"), [(True, True), (False, False)])
def test_clocks_put_forward_are_no_change_of_volume(seasonal: bool, usual: bool) -> None:  # noqa: FBT001 - a parameter.
    """By the clocks of a seasonal baseline eight o'clock is as busy in summer as in winter; by UTC it is not."""
    hours = np.arange(4 * 168)
    starts = int(np.datetime64("2025-01-06T00:00", "ns").astype(np.int64)) + hours * HOUR_NS
    by_clock = np.where((hours + 1) % 24 < 8, 200, 5000)  # In winter Berlin is an hour ahead.
    rows = np.random.default_rng(4).lognormal(np.log(by_clock), 0.1).astype(np.int64)
    chunks = replace(chunks_of(gammas(len(hours)), length_ns=HOUR_NS), starts_ns=starts, rows=rows)
    known = baseline_of({"1h": chunks}, start_ns=int(starts[0]), end_ns=int(starts[-1]) + HOUR_NS - 1)
    if seasonal:
        known = replace(known, hours=np.ones(168, np.int64), zone="Europe/Berlin")
    window = measured(0, 5000)
    for day in ("2025-02-10T07:00", "2025-04-14T06:00"):
        eight = np.array([int(np.datetime64(day, "ns").astype(np.int64))])
        found = volume_surprise(nulls(known, "1h").volume, replace(window, starts_ns=eight))[1]
        assert (found.pvalue[0, 0] > 1e-3) == (usual or day < "2025-03")


def test_gaps_of_more_than_a_week_are_not_covered() -> None:
    """A few rows long after all others make no baseline longer; nights and weekends without rows make none shorter."""
    days = np.array([0, 1, 2, 3, 4, 7, 8, 9, 300])
    chunks = replace(chunks_of(gammas(9)), starts_ns=days * DAY_NS)
    assert covered_ns(baseline_of({"24h": chunks}, end_ns=301 * DAY_NS - 1)) == 11 * DAY_NS
    assert covered_ns(baseline_of({}, end_ns=301 * DAY_NS - 1)) == 301 * DAY_NS
