"""Tails of the beta-binomial distribution against scipy's."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from driftmeter.detect.beta_binomial import tails


@settings(deadline=None)
@given(
    st.integers(1, 3000), st.floats(0, 1), st.floats(1e-6, 1 - 1e-6), st.floats(1e-2, 1e7)
)  # fmt: skip
def test_tails_are_scipys(rows: int, part: float, mean: float, precision: float) -> None:
    """At least and at most so many of the rows, for any mean and precision."""
    hits = round(part * rows)
    upper, lower = tails(*(np.array([float(each)]) for each in (hits, rows, mean, precision)))
    mass = stats.betabinom(rows, mean * precision, (1 - mean) * precision).pmf(np.arange(rows + 1))
    assert upper[0] == pytest.approx(mass[hits:].sum(), rel=1e-6, abs=1e-9)
    assert lower[0] == pytest.approx(mass[: hits + 1].sum(), rel=1e-6, abs=1e-9)


def test_small_tails_keep_their_digits() -> None:
    """Far out no difference of large numbers is taken."""
    upper, _ = tails(*(np.array([each]) for each in (200.0, 1000.0, 0.01, 1e4)))
    exact = stats.betabinom(1000, 100, 9900).pmf(np.arange(200, 1001)).sum()
    assert 0 < upper[0] < 1e-60
    assert upper[0] == pytest.approx(exact, rel=1e-6)


def test_many_rows_take_little_time_and_room() -> None:
    """A million rows are summed only where there is anything to sum."""
    upper, lower = tails(*(np.array([each]) for each in (100_500.0, 1e6, 0.1, 1e9)))
    normal = stats.norm.sf(499.5 / np.sqrt(1e6 * 0.1 * 0.9))
    assert upper[0] == pytest.approx(normal, rel=0.02)
    assert upper[0] + lower[0] == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(
    ("hits", "rows", "mean", "precision"), [(0, 0, 0.5, 1), (1, 10, np.nan, 1), (1, 10, 0.5, np.nan), (2, 1, 0.5, 1)]
)
def test_nothing_known_is_nan(hits: float, rows: float, mean: float, precision: float) -> None:
    """Without rows or parameters there is no probability."""
    found = tails(*(np.array([float(each)]) for each in (hits, rows, mean, precision)))
    assert np.isnan(found).all()
