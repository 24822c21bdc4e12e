"""What every drift method must keep; each check takes a spec and one case and raises AssertionError when broken."""

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl
from hypothesis import strategies as st

from driftmeter.methods import MethodSpec, Scale
from methods.method_bins import bins_frame, number, pvalue

COUNTS = st.integers(0, 1000)


@dataclass(frozen=True)
class Case:
    """One group of bins: first below, last above the reference's range, where the baseline has no rows.

    `order` is a permutation of the bins; `times` a whole number to multiply counts by.
    """

    bins: pl.DataFrame
    order: list[int]
    times: int


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Groups in which both sides have rows; at least three inside bins, two of them with rows."""
    inside = draw(st.integers(3, 12))
    sizes = st.lists(COUNTS, min_size=inside - 2, max_size=inside - 2)
    some = st.lists(st.integers(1, 1000), min_size=2, max_size=2)
    expected = np.array([0, *draw(some), *draw(sizes), 0])
    observed = np.array([draw(COUNTS), *draw(some), *draw(sizes), draw(COUNTS)])
    widths = draw(st.lists(st.sampled_from([0.001, 0.5, 1.0, 3.0, 1e6]), min_size=inside, max_size=inside))
    low = draw(st.sampled_from([-1e6, 0.0, 17.5]))
    edges = np.cumsum([low, 0.0, *widths, 0.0])
    distance = draw(st.sampled_from([0.25, 1.0, 1e5]))
    tail = np.zeros(inside + 2)
    tail[[0, -1]] = observed[[0, -1]] * distance
    order = draw(st.permutations(range(inside + 2)))
    return Case(bins_frame(expected, observed, edges, tail), order, draw(st.integers(2, 10)))


def with_counts(bins: pl.DataFrame, expected: pl.Expr, observed: pl.Expr) -> pl.DataFrame:
    """The bins with other counts and without values beyond the range."""
    return bins.with_columns(expected.alias("expected"), observed.alias("observed"), tail=pl.lit(0.0))


def check_identical_is_zero(spec: MethodSpec, case: Case) -> None:
    """Identical counts, one or more bins, give exactly 0, and p = 1."""
    same = with_counts(case.bins, pl.col("expected"), pl.col("expected"))
    for bins in (same, same.slice(1, 1)):
        assert number(spec, bins) == 0.0
        if spec.pvalue is not None:
            assert pvalue(spec, bins) == 1.0


def check_proportional_is_zero(spec: MethodSpec, case: Case) -> None:
    """The same shares of another number of rows give 0 but for rounding; smoothed (`LINEAR`) methods come near it."""
    same = with_counts(case.bins, pl.col("expected"), pl.col("expected") * case.times)
    if spec.scale is Scale.LINEAR:
        large = with_counts(case.bins, pl.col("expected") * 100_000, pl.col("expected") * 100_000 * case.times)
        assert 0.0 <= number(spec, large) < 1e-3
    else:
        # A share is rounded at 1e-16; Jensen-Shannon is the root of a sum of such errors.
        assert 0.0 <= number(spec, same) < 1e-7


def check_finite_and_in_range(spec: MethodSpec, case: Case) -> None:
    """Every number is finite and inside the declared range, and p-values are inside [0, 1]."""
    value = number(spec, case.bins)
    assert math.isfinite(value)
    assert spec.range[0] <= value <= spec.range[1]
    for extra in spec.extras:
        assert math.isfinite(number(spec, case.bins, extra))
        assert number(spec, case.bins, extra) >= 0.0
    if spec.pvalue is not None:
        assert 0.0 <= pvalue(spec, case.bins) <= 1.0


def check_symmetric_if_declared(spec: MethodSpec, case: Case) -> None:
    """Exchanging both sides changes nothing where the method says so."""
    if spec.symmetric:
        swapped = case.bins.with_columns(expected="observed", observed="expected")
        assert math.isclose(number(spec, swapped), number(spec, case.bins), rel_tol=1e-9, abs_tol=1e-9)


def check_order_is_ignored_unless_ordinal(spec: MethodSpec, case: Case) -> None:
    """Another order of the bins changes nothing unless the method depends on it."""
    if not spec.ordinal:
        assert math.isclose(number(spec, case.bins[case.order]), number(spec, case.bins), rel_tol=1e-9, abs_tol=1e-9)


def check_rows_times_ten(spec: MethodSpec, case: Case) -> None:
    """With ten times the rows distances stay, smoothed ones converge, per-row statistics grow tenfold; p falls."""
    tails = pl.col("tail") * 10
    ten = case.bins.with_columns(pl.col("expected", "observed") * 10, tail=tails)
    before, after = number(spec, case.bins), number(spec, ten)
    if spec.scale is Scale.SQUARED:
        assert math.isclose(after, before, rel_tol=1e-9, abs_tol=1e-9)
    elif spec.scale is Scale.LINEAR:
        counts = pl.col("expected", "observed") + 1
        thousand = number(spec, case.bins.with_columns(counts * 1_000))
        assert math.isclose(number(spec, case.bins.with_columns(counts * 10_000)), thousand, abs_tol=0.01)
    elif case.bins.filter(pl.col("expected") + pl.col("observed") > 0).height > 2:
        assert math.isclose(after, 10 * before, rel_tol=1e-9, abs_tol=1e-9)
    if spec.pvalue is not None:
        assert pvalue(spec, ten) <= pvalue(spec, case.bins)


def check_no_rows_is_nan(spec: MethodSpec, case: Case) -> None:
    """Without rows on either or both sides, or without bins, the number, its extras and its p-value are nan."""
    none = pl.lit(0, pl.UInt64)
    empty = [
        with_counts(case.bins, none, none),
        with_counts(case.bins, none, pl.col("observed")),
        with_counts(case.bins, pl.col("expected"), none),
        case.bins.clear(),
    ]
    for bins in empty:
        assert math.isnan(number(spec, bins))
        assert all(math.isnan(number(spec, bins, extra)) for extra in spec.extras)
        if spec.pvalue is not None:
            assert math.isnan(pvalue(spec, bins))


def check_bins_empty_on_both_sides(spec: MethodSpec, case: Case) -> None:
    """A further bin without rows changes nothing, except where the method says that it is smoothed."""
    last = case.bins.tail(1).with_columns(expected=pl.lit(0, pl.UInt64), observed=pl.lit(0, pl.UInt64), tail=0.0)
    last = last.with_columns(left="right")
    more = pl.concat([case.bins, last, last])
    if "smoothed" not in spec.undefined:
        assert math.isclose(number(spec, more), number(spec, case.bins), rel_tol=1e-9, abs_tol=1e-9)


def check_inputs_are_not_changed(spec: MethodSpec, case: Case) -> None:
    """The columns of counts are the same after as before."""
    before = case.bins.to_dict(as_series=False)
    number(spec, case.bins)
    for extra in spec.extras:
        number(spec, case.bins, extra)
    assert case.bins.to_dict(as_series=False) == before


def check_dtypes_agree(spec: MethodSpec, case: Case) -> None:
    """Counts as uint64 and as float64 give the same number."""
    floats = case.bins.with_columns(pl.col("expected", "observed").cast(pl.Float64))
    assert number(spec, floats) == number(spec, case.bins)


CASE_CHECKS: tuple[Callable[[MethodSpec, Case], None], ...] = (
    check_identical_is_zero,
    check_proportional_is_zero,
    check_finite_and_in_range,
    check_symmetric_if_declared,
    check_order_is_ignored_unless_ordinal,
    check_rows_times_ten,
    check_no_rows_is_nan,
    check_bins_empty_on_both_sides,
    check_inputs_are_not_changed,
    check_dtypes_agree,
)
"""Checks that hold for every case."""


def check_declares_what_it_takes(spec: MethodSpec) -> None:
    """Parameters of the expression and of every extra are the declared inputs, in order."""
    for expression in (spec.expression, *spec.extras.values()):
        assert tuple(inspect.signature(expression).parameters) == spec.inputs


def check_documents_itself(spec: MethodSpec) -> None:
    """The docstring has shape, unit or range, emptiness, cost, example and paper; the spec's texts are there."""
    text = inspect.getdoc(spec.expression) or ""
    places = [text.find(part) for part in ("Args:", "shape (bins,)", "Returns:", "nan when", "Cost:", ">>>", "doi.org")]
    assert -1 not in places
    assert places == sorted(places)
    assert "https://doi.org/10." in spec.reference
    written = (spec.title, spec.unit, spec.formula, spec.agrees_with, spec.error_bound, spec.undefined, spec.cost)
    assert all(part.strip() for part in (*written, spec.misleads))
    assert spec.numeric or spec.categorical
    assert spec.range[0] < spec.range[1]


SPEC_CHECKS: tuple[Callable[[MethodSpec], None], ...] = (check_declares_what_it_takes, check_documents_itself)
"""Checks of the declaration alone."""
