"""How surprising a window is against the baseline's own chunks, and when nothing can be said."""

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from driftmeter.detect.null import CHUNKS_MIN, Null, build_null, surprise
from driftmeter.model.baseline import Baseline, Chunks, ColumnBaseline
from driftmeter.model.bins import NumericBins
from driftmeter.model.columns import Column, Role
from driftmeter.model.windows import parse_window
from rows import DAY_NS, HOUR_NS, Floats

NOISE = 5.0
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


def column_of(chunks: Mapping[str, Chunks], rows: int = 1_000_000) -> ColumnBaseline:
    """A column whose counts and chunks are given."""
    counts = np.array([0, rows, 0], np.uint64)
    return ColumnBaseline(
        Column(Role.FEATURE, "x"), NumericBins(np.array([0.0])), None, counts, 0, 0, chunks=dict(chunks)
    )


def baseline_of(
    column: ColumnBaseline, name: str = "file", start_ns: int | None = 0, end_ns: int | None = 30 * DAY_NS - 1
) -> Baseline:
    """A baseline of that column alone, over 30 days unless told otherwise."""
    return Baseline("m", "", name, 1_000_000, start_ns, end_ns, (column,), tuple(column.chunks))


def chunks_of(squared: Floats, rows: int = 1000) -> Chunks:
    """Chunks of equal size."""
    return Chunks(np.full(len(squared), rows), squared)


def gammas(count: int, shape: float = 2.0, mean: float = 0.2) -> Floats:
    """Squared distances of undrifted chunks."""
    return np.random.default_rng(count).gamma(shape, mean / shape, count)


def null(baseline: Baseline, window: str = "24h") -> Null:
    """The null of the baseline's only column."""
    return build_null(baseline, baseline.columns[0], parse_window(window), NOISE, MIN_ROWS)


def test_own_chunks_are_fitted() -> None:
    """B is what the mean of Q exceeds sampling by, k the inverse variance of Q over its expectation, K the chunks."""
    squared = gammas(400)
    fitted = null(baseline_of(column_of({"24h": chunks_of(squared)})))
    sampling = NOISE * (1 / 1000 + 1 / 999_000)
    assert fitted.natural == pytest.approx(squared.mean() - sampling)
    assert fitted.shape == pytest.approx(1 / np.var(squared / squared.mean(), ddof=1))
    assert (fitted.chunks, fitted.source, fitted.reason) == (400, "own", "")


def test_less_variation_than_sampling_gives_no_natural_part() -> None:
    """B is never negative."""
    fitted = null(baseline_of(column_of({"24h": chunks_of(gammas(50, mean=1e-6))})))
    assert fitted.natural == 0


def test_constant_chunks_have_a_finite_shape() -> None:
    """A column that never moves has no variance: k is large, and finite."""
    column = column_of({"24h": chunks_of(np.zeros(50))})
    fitted = build_null(baseline_of(column), column, parse_window("24h"), 0.0, MIN_ROWS)
    assert np.isfinite(fitted.shape)
    assert fitted.shape > 1e5
    assert fitted.natural == 0


@pytest.mark.parametrize(
    ("baseline", "window", "reason"),
    [
        (baseline_of(column_of({"24h": chunks_of(gammas(50))}), name="learned"), "24h", "provisional"),
        (baseline_of(column_of({"24h": chunks_of(gammas(50))}), start_ns=None, end_ns=None), "24h", "no_timestamps"),
        (
            baseline_of(column_of({"24h": chunks_of(gammas(50))}), end_ns=6 * DAY_NS - 1),
            "24h",
            "no_weekly_cycle",
        ),
        (baseline_of(column_of({"24h": chunks_of(gammas(CHUNKS_MIN - 1))})), "24h", "too_few_chunks"),
        (baseline_of(column_of({})), "24h", "too_few_chunks"),
        (baseline_of(column_of({"24h": chunks_of(gammas(90), rows=99)})), "24h", "too_few_chunks"),
        (baseline_of(column_of({"24h": chunks_of(np.full(90, np.nan))})), "24h", "too_few_chunks"),
        (baseline_of(column_of({"7d": chunks_of(gammas(50))})), "24h", "too_few_chunks"),
        (baseline_of(column_of({"1h": chunks_of(gammas(50))})), "100rows", "too_few_chunks"),
    ],
)
def test_reasons_why_there_is_no_verdict(baseline: Baseline, window: str, reason: str) -> None:
    """Learned, without times, under a week, too few chunks of enough rows: each has its own word."""
    found = null(baseline, window)
    assert (found.reason, found.source) == (reason, "")
    assert np.isnan(found.shape)


def test_short_windows_need_no_week() -> None:
    """A day of hours is enough for windows of an hour."""
    baseline = baseline_of(column_of({"1h": chunks_of(gammas(24))}), end_ns=DAY_NS - 1)
    assert null(baseline, "1h").source == "own"


def test_a_week_of_daytimes_is_a_week() -> None:
    """Partial first and last days count whole."""
    column = column_of({"24h": chunks_of(gammas(30))})
    assert null(baseline_of(column, start_ns=9 * HOUR_NS, end_ns=6 * DAY_NS + 17 * HOUR_NS)).source == "own"


def test_too_few_chunks_borrow_from_the_next_shorter_length() -> None:
    """The longest length that has enough chunks is used, and said to be borrowed."""
    column = column_of(
        {
            "24h": chunks_of(gammas(10)),
            "5m": chunks_of(gammas(400)),
            "1h": chunks_of(gammas(100)),
            "10rows": chunks_of(gammas(99)),
        }
    )
    borrowed = null(baseline_of(column))
    assert (borrowed.source, borrowed.chunks) == ("borrowed", 100)


def test_same_length_under_another_name_is_its_own() -> None:
    """Chunks of 24h serve a window of 1d."""
    assert null(baseline_of(column_of({"24h": chunks_of(gammas(50))})), "1d").source == "own"


def test_row_windows_need_no_timestamps() -> None:
    """Where rows have no times, windows by rows still have their verdict, and borrow from fewer rows."""
    column = column_of({"500rows": chunks_of(gammas(50)), "1000rows": chunks_of(gammas(25))})
    baseline = baseline_of(column, start_ns=None, end_ns=None)
    assert null(baseline, "500rows").source == "own"
    assert null(baseline, "1000rows").source == "own"
    assert (null(baseline, "5000rows").source, null(baseline, "5000rows").chunks) == ("borrowed", 25)
