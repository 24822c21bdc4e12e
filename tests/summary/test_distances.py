"""The compiled distances are those of the methods in polars."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftmeter.baseline.build import build_baseline
from driftmeter.methods import METHODS
from driftmeter.methods.groupings import build_groupings
from driftmeter.methods.score import score
from driftmeter.methods.spec import Bins
from driftmeter.model.baseline import ColumnBaseline
from driftmeter.summary.distances import Filled, Scale, compare, compare_following
from rows import Floats, dataset

KEYS = ("jensen_shannon", "wasserstein")


def columns_of(seed: int) -> list[dict[str, object]]:
    """Continuous, discrete, heavy-tailed and categorical values."""
    random = np.random.default_rng(seed)
    return [
        {"x": random.normal(size=2000)},
        {"x": random.integers(0, 9, 2000).astype(float)},
        {"x": random.lognormal(0, 3, 2000)},
        {"x": random.choice(list("abcdef"), 2000).tolist()},
    ]


def one_column(seed: int, sort: int) -> tuple[ColumnBaseline, ...]:
    """A baseline of one column of some sort."""
    return build_baseline(dataset(columns_of(seed)[sort]), "m", "", []).columns  # type: ignore[arg-type]


def scale_of(columns: tuple[ColumnBaseline, ...]) -> Scale:
    """How its bins are looked at."""
    groupings = build_groupings(columns)
    fine = groupings[Bins.FINE]
    return Scale(groupings[Bins.QUANTILE_32].group, fine.right - fine.left)


def defined(columns: tuple[ColumnBaseline, ...], expected: Floats, observed: Floats) -> list[float]:
    """Squared Jensen-Shannon distance and Wasserstein distance of one window, as the methods define them."""
    values = score([METHODS[key] for key in KEYS], build_groupings(columns), expected[None], observed[None]).values
    return [float(values["jensen_shannon"][0, 0]) ** 2, float(values["wasserstein"][0, 0])]


def check(columns: tuple[ColumnBaseline, ...], found: list[Floats], exact: list[list[float]]) -> None:
    """Both distances are these, of columns of categories the first alone."""
    for key, mine, theirs in zip(KEYS, found, np.array(exact).T, strict=True):
        if METHODS[key].numeric if columns[0].cuts else METHODS[key].categorical:
            np.testing.assert_allclose(mine, theirs, rtol=1e-9, atol=1e-12)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10**6), st.integers(0, 3), st.sampled_from([0, 1, 30, 5000]))
def test_agree_with_the_methods(seed: int, sort: int, rows: int) -> None:
    """Any windows inside the range, against several expectations, whole numbers or not, to 1e-9."""
    random = np.random.default_rng(seed)
    columns = one_column(seed, sort)
    size = columns[0].bins.size
    observed = np.array([random.multinomial(rows, random.dirichlet(np.full(size, 0.3))) for _ in range(5)], np.uint64)
    expected = np.stack([columns[0].counts.astype(np.float64), random.random(size) * 10, np.zeros(size)])
    against = random.integers(-1, 3, 5)
    exact = [
        [np.nan, np.nan] if e < 0 else defined(columns, expected[e], window.astype(np.float64))
        for e, window in zip(against, observed, strict=True)
    ]
    check(columns, [*compare(Filled.of(observed), expected, against, scale_of(columns))], exact)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10**6), st.integers(0, 3), st.sampled_from([1, 30, 5000]))
def test_windows_against_those_before_agree_with_the_methods(seed: int, sort: int, rows: int) -> None:
    """Any runs of windows added up, moving forth and back, some empty, to 1e-9."""
    random = np.random.default_rng(seed)
    columns = one_column(seed, sort)
    share = random.dirichlet(np.full(columns[0].bins.size, 0.3))
    observed = random.multinomial(rows, share, 8).astype(np.uint64)
    observed[3] = 0
    first = random.integers(0, 9, 8)
    last = np.minimum(first + random.integers(0, 4, 8), 8)
    runs = [observed[begin:end].sum(axis=0) for begin, end in zip(first, last, strict=True)]
    exact = [
        defined(columns, *pair) for pair in zip(np.array(runs, np.float64), observed.astype(np.float64), strict=True)
    ]
    counted, *found = compare_following(Filled.of(observed), first, last, scale_of(columns))
    assert counted.tolist() == [run.sum() for run in runs]
    check(columns, found, exact)


def test_filled_bins_are_the_counts() -> None:
    """Parts joined, cut and added up again are what the table of counts gives."""
    counts = np.random.default_rng(2).poisson(0.4, (9, 7)).astype(np.uint64)
    counts[4] = 0
    filled = Filled.joined([Filled.of(counts[:2]), Filled.of(counts[2:])])
    assert filled.sums().tolist() == counts.sum(axis=1).tolist()
    assert filled.sums(filled.bins > 3).tolist() == counts[:, 4:].sum(axis=1).tolist()
    assert filled.first(3).sums().tolist() == counts[:3].sum(axis=1).tolist()
    group = np.array([0, 0, 1, 1, 1, 0, 2, 2, 2])
    assert filled.by(group, 4).tolist() == [counts[group == number].sum(axis=0).tolist() for number in range(4)]
    part = filled.slice(3, 8)
    assert part.by(np.arange(5), 5).tolist() == counts[3:8].tolist()


def test_nothing_to_compare_is_nan() -> None:
    """No rows on either side, and no other side at all."""
    observed = Filled.of(np.array([[1, 2], [0, 0], [1, 1]], np.uint64))
    expected: Floats = np.array([[1.0, 1.0], [0.0, 0.0]])
    scale = Scale(np.array([0, 1]), np.ones(2))
    assert np.isnan(compare(observed, expected, np.array([-1, 0, 1]), scale)).all()
    assert compare(observed.first(1), expected, np.zeros(1, np.int64), scale)[1][0] == pytest.approx(1 / 6)
    rows, *distances = compare_following(observed, np.array([0, 0, 1]), np.array([0, 1, 2]), scale)
    assert rows.tolist() == [0, 3, 0]
    assert np.isnan(distances).all()
