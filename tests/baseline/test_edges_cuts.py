"""Edges of numeric columns, and the coarser bins that are made of them."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from driftmeter.baseline.edges import DISCRETE_VALUES_MAX, FINE_QUANTILES, numeric_bins
from driftmeter.methods.groupings import STURGES_DISTINCT_MAX, build_groupings, sturges_edges
from driftmeter.methods.spec import Bins
from driftmeter.model.baseline import ColumnBaseline
from driftmeter.model.bins import NumericBins
from driftmeter.model.columns import Column, Role
from rows import Floats, bin_numbers

FINITE = st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=True)
VALUES = st.one_of(
    st.lists(st.integers(-5, 5).map(float), min_size=1, max_size=200),
    st.lists(st.sampled_from([0.1, 0.2, 0.1 + 0.2, 0.3, 1 / 3]), min_size=1, max_size=50),
    st.lists(FINITE, min_size=1, max_size=300),
    st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=300),
)


def column_of(values: npt.NDArray[np.generic]) -> ColumnBaseline:
    """A column with its edges and cuts; counts play no part here."""
    bins, cuts = numeric_bins(values)
    return ColumnBaseline(Column(Role.FEATURE, "x"), bins, cuts, np.zeros(bins.size, np.uint64), 0, 0)


def regrouped(column: ColumnBaseline, convention: Bins, values: Floats) -> Floats:
    """Counts of values in a convention's bins, by way of the fine bins."""
    assert isinstance(column.bins, NumericBins)
    edges = column.bins.edges
    fine = np.bincount(bin_numbers(edges, values), minlength=len(edges) + 2).astype(np.float64)
    return np.asarray(build_groupings((column,))[convention].regroup(fine[None, :])[0])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(-1e3, 1e3), min_size=21, max_size=300, unique=True))
def test_sturges_bins_regroup_to_numpys_histogram(values: list[float]) -> None:
    """Beyond 20 distinct values the bins are those of numpy's `sturges`, and all of them are fine edges, open-ended."""
    numbers = np.array(values)
    bins, cuts = numeric_bins(numbers)
    counts = np.bincount(bin_numbers(bins.edges, numbers), minlength=bins.size).astype(np.uint64)
    column = ColumnBaseline(Column(Role.FEATURE, "x"), bins, cuts, counts, 0, 0)
    edges = np.histogram_bin_edges(numbers, bins="sturges")
    np.testing.assert_array_equal(sturges_edges(numbers.min(), numbers.max(), len(numbers)), edges)
    if np.count_nonzero(column.counts) <= STURGES_DISTINCT_MAX:  # Nearly all values in one fine bin.
        return
    assert np.isin(edges, bins.edges).all()
    beyond = np.concatenate([numbers, [numbers.min() - 1, numbers.max() + 5]])
    open_ended = np.histogram(np.clip(beyond, edges[0], edges[-1]), edges)[0]
    np.testing.assert_array_equal(regrouped(column, Bins.STURGES, beyond), open_ended)


def test_sturges_bins_of_few_values_are_one_each() -> None:
    """A column of at most 20 distinct values has a bin for each, and one for everything else."""
    numbers = np.repeat(np.arange(20.0) ** 2, 5)
    bins, cuts = numeric_bins(numbers)
    counts = np.bincount(bin_numbers(bins.edges, numbers), minlength=bins.size).astype(np.uint64)
    column = ColumnBaseline(Column(Role.FEATURE, "x"), bins, cuts, counts, 0, 0)
    seen = np.array([-3.0, 0.0, 2.0, 4.0, 4.0, 361.0, 400.0])
    assert regrouped(column, Bins.STURGES, seen).tolist() == [1, 0, 2, *[0] * 16, 1, 3]


def test_sturges_bins_are_those_that_evidently_and_azure_make() -> None:
    """For a window in the reference's range, Evidently's bins of both sides, and Azure's of equally many rows."""
    random = np.random.default_rng(4)
    reference = random.normal(size=5_000)
    edges = sturges_edges(reference.min(), reference.max(), len(reference))
    window = random.choice(reference, 100)
    np.testing.assert_array_equal(np.histogram_bin_edges(np.concatenate([reference, window]), bins="sturges"), edges)
    azure_bins = int(np.ceil(np.log2(min(5_000, 5_000)) + 1))
    low, width = reference.min(), (reference.max() - reference.min()) / azure_bins
    np.testing.assert_allclose([low + place * width for place in range(azure_bins + 1)], edges, rtol=1e-12)


@pytest.mark.parametrize(
    ("low", "high"),
    [(-1.7e308, 1.7e308), (1.0, float(np.nextafter(1, 2))), (0.0, 5e-324)],
    ids=["wide", "near", "tiny"],
)
def test_ranges_that_cannot_be_cut_are_one_bin(low: float, high: float) -> None:
    """Where the width overflows, or edges would coincide, all values are in one bin."""
    assert sturges_edges(low, high, 1_000).tolist() == [low, high]


def near(values: Floats) -> Floats:
    """The values, the floats next to them, points between them and far outside."""
    middle = values[:-1] / 2 + values[1:] / 2
    with np.errstate(over="ignore"):
        around = [values, np.nextafter(values, -np.inf), np.nextafter(values, np.inf), middle]
    every = np.concatenate([*around, np.array([-1e308, 1e308])])
    return np.asarray(every[np.isfinite(every)])


@settings(max_examples=300, deadline=None)
@given(VALUES)
@example([-1.7e308, 0.0, 1.7e308])
@example([1e200, 2e200, 5e200])
@example([1.0, float(np.nextafter(1, 2)), float(np.nextafter(1, 2))])
@example([5e-324, 0.0, 1e-323])
@example([7.0])
@example([-0.0, 0.0])
def test_every_cut_is_a_fine_edge(values: list[float]) -> None:
    """Edges ascend strictly from the smallest to the largest value, and every coarser cut is one of them."""
    numbers = np.array(values)
    bins, cuts = numeric_bins(numbers)
    assert np.isfinite(bins.edges).all()
    assert (bins.edges[1:] > bins.edges[:-1]).all()
    assert bins.edges[0] == numbers.min()
    assert bins.edges[-1] == numbers.max()
    for each in (cuts.quantile_starts, cuts.deciles, cuts.doane):
        # A constant is cut right behind itself too, which is where the bin above the range begins.
        with np.errstate(over="ignore"):
            behind = np.nextafter(bins.edges[-1], np.inf)
        assert np.isin(each, np.append(bins.edges, behind)).all()
        assert (each[1:] > each[:-1]).all()
    assert cuts.quantile_starts[0] == cuts.doane[0] == numbers.min()
    assert cuts.doane[-1] == numbers.max()


@settings(max_examples=200, deadline=None)
@given(VALUES)
def test_quantile_bins_regroup_to_numpys_histogram(values: list[float]) -> None:
    """The quantile bins hold what numpy's histogram over the same starts holds; out of range stays apart."""
    numbers = np.array(values)
    column = column_of(numbers)
    assert column.cuts is not None
    observed, starts, top = near(numbers), column.cuts.quantile_starts, numbers.max()
    groups = regrouped(column, Bins.QUANTILE_32, observed)
    inside = observed[(observed >= starts[0]) & (observed <= top)]
    edges = np.append(starts, top if top > starts[-1] else np.inf)
    np.testing.assert_array_equal(groups[1:-1], np.histogram(inside, edges)[0])
    assert groups[0] == (observed < starts[0]).sum()
    assert groups[-1] == (observed > top).sum()


@pytest.mark.parametrize("distinct", [1, 2, 32])
def test_few_values_have_a_quantile_bin_each(distinct: int) -> None:
    """A column of zeros and ones shows all its change: no value shares a bin with another."""
    values = np.repeat(np.arange(float(distinct)), 5)
    column = column_of(values)
    assert regrouped(column, Bins.QUANTILE_32, values).tolist() == [0, *[5] * distinct, 0]


def test_continuous_columns_have_32_equal_bins() -> None:
    """Of many different values each bin holds a thirty-second, the maximum in the last."""
    values = np.random.default_rng(3).normal(size=32_000)
    assert regrouped(column_of(values), Bins.QUANTILE_32, values).tolist() == [0, *[1000] * 32, 0]


@pytest.mark.parametrize(("copies", "alone"), [(20, False), (60, True), (900, True)])
def test_frequent_maximum_has_a_quantile_bin_of_its_own(copies: int, alone: bool) -> None:  # noqa: FBT001
    """A value at the end as frequent as a bin is not merged with its neighbours."""
    values = np.concatenate([np.linspace(0, 1, 1000), np.full(copies, 2.0)])
    groups = regrouped(column_of(values), Bins.QUANTILE_32, values)
    assert (groups[-2] == copies) == alone


@settings(max_examples=200, deadline=None)
@given(VALUES)
def test_deciles_are_open_ended_and_take_their_left_edge(values: list[float]) -> None:
    """A value at a decile counts right of it; nothing is out of range."""
    numbers = np.array(values)
    column = column_of(numbers)
    assert column.cuts is not None
    observed = near(numbers)
    expected = np.bincount(
        np.searchsorted(column.cuts.deciles, observed, side="right"), minlength=len(column.cuts.deciles) + 1
    )
    np.testing.assert_array_equal(regrouped(column, Bins.DECILE, observed), expected)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=300))
def test_doane_bins_regroup_to_numpys_histogram(values: list[float]) -> None:
    """Of columns with many values: numpy's own histogram, the last bin closed, and one bin for all the rest."""
    numbers = np.array([*values, *np.linspace(-1, 1, 60)])
    column = column_of(numbers)
    assert column.cuts is not None
    assert not column.cuts.discrete
    edges = np.histogram_bin_edges(numbers, bins="doane")
    np.testing.assert_array_equal(column.cuts.doane, edges)
    observed = near(numbers)
    inside = np.histogram(observed, edges)[0]
    np.testing.assert_array_equal(
        regrouped(column, Bins.DOANE, observed), np.append(inside, len(observed) - inside.sum())
    )


def test_doane_bins_of_integers_follow_numpys_rule_for_integers() -> None:
    """Numpy makes no bins narrower than one for integers; the same values as floats give others."""
    whole = np.repeat(np.arange(60), np.arange(1, 61))
    np.testing.assert_array_equal(
        numeric_bins(whole)[1].doane, np.histogram_bin_edges(whole, bins="doane").astype(np.float64)
    )
    wide, narrow = numeric_bins(whole)[1].doane, numeric_bins(whole / 1000)[1].doane
    few = np.arange(100) % 3 + np.where(np.arange(100) > 50, 0, 3)
    assert len(wide) == len(narrow)
    assert np.diff(np.histogram_bin_edges(few, bins="doane")).min() >= 1


@pytest.mark.parametrize(
    ("distinct", "copies", "discrete"), [(50, 10, True), (50, 9, False), (51, 100, False), (2, 10, True), (1, 1, True)]
)
def test_few_values_make_a_discrete_column(distinct: int, copies: int, discrete: bool) -> None:  # noqa: FBT001
    """At most 50 distinct values that are at most a tenth of the rows: one bin each, as NannyML does."""
    values = np.repeat(np.arange(distinct, dtype=np.float64), copies)
    assert numeric_bins(values)[1].discrete == discrete


def test_unseen_values_of_a_discrete_column_go_to_the_leftover() -> None:
    """Values between, beside and beyond the known ones are counted apart, by the smallest of margins."""
    column = column_of(np.repeat([1.0, 2.0, 4.0], 20))
    observed = np.array([1.0, 2.0, 2.0, 4.0, 1.5, 3.0, np.nextafter(2, 3), np.nextafter(2, 1), 0.0, 9.0])
    assert regrouped(column, Bins.DOANE, observed).tolist() == [1, 2, 1, 6]


def test_number_of_edges_is_bounded() -> None:
    """A continuous column has its quantile and Doane edges, a discrete one two per value; no column has more."""
    values = np.random.default_rng(0).lognormal(sigma=3, size=200_000)
    bins, cuts = numeric_bins(values)
    assert FINE_QUANTILES <= len(bins.edges) <= FINE_QUANTILES + len(cuts.doane) + 41
    discrete, _ = numeric_bins(np.repeat(np.arange(float(DISCRETE_VALUES_MAX)), 3))
    assert len(discrete.edges) <= 2 * DISCRETE_VALUES_MAX + 33 + 9 + 20


def test_constant_reference_shows_what_is_below_and_above() -> None:
    """The deciles of a constant tell smaller and larger values from it, so that PSI sees them."""
    column = column_of(np.full(100, 5.0))
    observed = np.array([4.0, 5.0, 5.0, 6.0, 7.0, 8.0])
    assert regrouped(column, Bins.DECILE, observed).tolist() == [1, 2, 3]
