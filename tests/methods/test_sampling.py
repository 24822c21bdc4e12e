"""What sampling adds to each method: what the method says itself against windows drawn independently and scored."""

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from scipy import stats

from driftmeter.baseline.edges import category_bins, numeric_bins
from driftmeter.methods import METHODS, MethodSpec, Scale
from driftmeter.methods.groupings import build_groupings
from driftmeter.methods.sampling import Sampling, draw_uniforms
from driftmeter.methods.score import score, to_squared_scale
from driftmeter.model.baseline import ColumnBaseline
from driftmeter.model.columns import Column, Role
from rows import bin_numbers

Floats = npt.NDArray[np.float64]

ROWS, DRAWS = 1_000, 2_000
KNOWING = {key: spec for key, spec in METHODS.items() if spec.noise is not None}


def numeric(values: Floats) -> ColumnBaseline:
    """A column of numbers."""
    bins, cuts = numeric_bins(values)
    counts = np.bincount(bin_numbers(bins.edges, values), minlength=bins.size).astype(np.uint64)
    spread = float(values.std())
    return ColumnBaseline(Column(Role.FEATURE, "x"), bins, cuts, counts, 0, 0, float(values.mean()), spread)


def categories(counts: list[int]) -> ColumnBaseline:
    """A column of categories with so many rows each; none in `other` and `unseen`."""
    names = pl.Series("value", [str(number) for number in range(len(counts))]).gather(
        np.repeat(range(len(counts)), counts)
    )
    bins = category_bins(names)
    filled = np.zeros(bins.size, np.uint64)
    filled[: len(counts)] = sorted(counts, reverse=True)
    return ColumnBaseline(Column(Role.FEATURE, "c"), bins, None, filled, 0, 0)


def columns(kind: str) -> tuple[ColumnBaseline, ...]:
    """Large and small baselines, heavy tails, few values, one value; categories, rare ones, two, one."""
    random = np.random.default_rng(3)
    if kind == "categorical":
        return categories([500, 300, 200]), categories([100_000, 1, 1, 5, 20]), categories([60, 40]), categories([7])
    numbers = [random.normal(size=20_000), random.normal(size=300), random.lognormal(0, 2, 5_000)]
    numbers += [random.integers(0, 5, 4_000).astype(float), np.full(50, 3.0)]
    return tuple(numeric(each) for each in numbers)


def sampling_of(spec: MethodSpec, of: tuple[ColumnBaseline, ...], draws: int) -> Sampling:
    """Windows drawn from these columns."""
    grouping = build_groupings(of)[spec.bins]
    expected = grouping.regroup(np.concatenate([each.counts for each in of]).astype(np.float64)[None, :])[0]
    uniforms = draw_uniforms(np.random.default_rng(8), draws, ROWS)
    width = grouping.right - grouping.left
    return Sampling(ROWS, expected, grouping.lowest, width, grouping.spread, uniforms)


@pytest.mark.parametrize("kind", ["numeric", "categorical"])
def test_noise_is_what_drawn_windows_have(kind: str) -> None:
    """The mean of n Q over independent multinomial windows, within five standard errors, for every method."""
    of, random = columns(kind), np.random.default_rng(4)
    specs = [spec for spec in KNOWING.values() if (spec.numeric if kind == "numeric" else spec.categorical)]
    shares = [each.counts / each.counts.sum() for each in of]
    drawn = np.concatenate([random.multinomial(ROWS, share, DRAWS) for share in shares], axis=1).astype(np.float64)
    counts = np.concatenate([each.counts for each in of]).astype(np.float64)[None, :]
    scores = score(specs, build_groupings(of), counts, drawn)
    for spec in specs:
        squared = to_squared_scale(spec, scores.values[spec.key], np.full((DRAWS, len(of)), float(ROWS))) * ROWS
        mean, error = squared.mean(axis=0), squared.std(axis=0) / np.sqrt(DRAWS)
        assert spec.noise is not None
        found = spec.noise(sampling_of(spec, of, 2 * DRAWS))
        assert np.array_equal(np.isnan(found), np.isnan(mean)), spec.key
        # Drawn methods have an error of their own; rounding is all there is where nothing varies.
        off = np.abs(found - mean) - 1e-9 * np.maximum(1, np.abs(mean))
        assert (np.isnan(mean) | (off <= 5 * np.sqrt(1.5) * error)).all(), (spec.key, found, mean, error)


@pytest.mark.parametrize("share", [0.5, 0.1, 0.001])
def test_two_bins_by_the_binomial_distribution(share: float) -> None:
    """Hellinger and chi-square of two categories are sums over a thousand and one possible windows, to 1e-9."""
    of = (categories([100_000 - int(100_000 * share), int(100_000 * share)]),)
    possible = np.arange(ROWS + 1)
    chance = stats.binom.pmf(possible, ROWS, share)
    q = possible / ROWS
    hellinger = ((np.sqrt(q) - np.sqrt(share)) ** 2 + (np.sqrt(1 - q) - np.sqrt(1 - share)) ** 2) / 2
    window = np.stack([possible, ROWS - possible])
    side = np.array([[share], [1 - share]])
    means = (window + 100_000 * side) / (100_000 + ROWS)
    chi_square = sum(
        np.maximum(np.abs(count - rows * means) - 0.5, 0) ** 2 / (rows * means)
        for count, rows in ((window, ROWS), (100_000 * side, 100_000))
    ).sum(axis=0)
    for key, terms in (("hellinger", ROWS * hellinger), ("chi_square", chi_square)):
        noise = METHODS[key].noise
        assert noise is not None
        assert noise(sampling_of(METHODS[key], of, 1))[0] == pytest.approx((chance * terms).sum(), rel=1e-9)


def test_many_equal_bins_come_near_their_limits() -> None:
    """1/6, 1 and π²/12 times n for Cramér-von Mises, Anderson-Darling and Kolmogorov-Smirnov without ties."""
    of = (numeric(np.random.default_rng(0).random(1_000_000)),)
    limits = {
        "cramer_von_mises": (1 / 6, 1e-3),
        "anderson_darling": (1.0, 5e-3),
        "kolmogorov_smirnov": (np.pi**2 / 12, 0.06),
    }
    for key, (limit, error) in limits.items():
        noise = METHODS[key].noise
        assert noise is not None
        assert noise(sampling_of(METHODS[key], of, 4_000))[0] == pytest.approx(limit, rel=error)


def test_only_categories_distances_need_draws() -> None:
    """All other methods say themselves what sampling adds to them."""
    assert set(METHODS) - set(KNOWING) == {"l_infinity", "total_variation"}
    assert all(METHODS[key].scale is Scale.SQUARED for key in set(METHODS) - set(KNOWING))


def test_curves_of_each_column_are_its_own() -> None:
    """Running shares begin anew with each column, and end at exactly 1."""
    of = columns("numeric")
    sampling = sampling_of(METHODS["energy"], of, 1)
    bounds = np.append(sampling.starts, len(sampling.expected))
    for place, column in enumerate(of):
        inside = slice(bounds[place], bounds[place + 1])
        running = np.cumsum(column.counts) / column.counts.sum()
        assert np.array_equal(sampling.below[inside], running)
        assert np.array_equal(sampling.before[inside], np.append(0.0, running[:-1]))


def test_uniforms_are_uniform_and_in_order() -> None:
    """Ascending in each draw; all together uniform; the k-th of 1,000 is k / 1,001 on average."""
    drawn = draw_uniforms(np.random.default_rng(1), 500, ROWS)
    assert (np.diff(drawn, axis=1) >= 0).all()
    assert ((drawn >= 0) & (drawn < 1)).all()
    # One number of each draw, since those of one draw depend on each other.
    picked = np.random.default_rng(2).permuted(drawn, axis=1)[:, 0]
    assert stats.kstest(picked, "uniform").pvalue > 0.01
    expected = np.arange(1, ROWS + 1) / (ROWS + 1)
    assert np.abs(drawn.mean(axis=0) - expected).max() < 5 * 0.5 / np.sqrt(ROWS) / np.sqrt(500)


def test_evidently_says_for_how_many_rows_it_knows() -> None:
    """From 10,000 rows on its fill depends on all shares together."""
    spec = METHODS["population_stability_index_evidently"]
    few = sampling_of(spec, (categories([50, 50]),), 1)
    assert spec.noise is not None
    many = Sampling(10_000, few.expected, few.starts, few.width, few.spread, few.uniforms)
    with pytest.raises(ValueError, match="less than 10000 rows"):
        spec.noise(many)
