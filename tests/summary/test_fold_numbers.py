"""Numbers are counted where numpy would put them, whatever the numbers and the edges."""

import math

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from driftmeter.model.bins import NumericBins
from driftmeter.model.counts import Counts, Moment, Tally
from driftmeter.summary.fold import fold
from rows import Floats, assert_same_counts, bin_numbers, layout_of, record_batch

ANY_FLOAT = st.floats(allow_nan=True, allow_infinity=True, allow_subnormal=True)
FINITE = st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=True)
ORDINARY = st.floats(-100, 100, allow_subnormal=False)
SHAPES = ("normal", "lognormal", "clustered", "grid", "cauchy")
TINY = st.integers(-40, 40).map(lambda steps: steps * 5e-324)


def count(edges: Floats, values: pa.Array, slots: npt.NDArray[np.int32] | None = None, windows: int = 1) -> Counts:
    """Counts of one numeric column."""
    layout = layout_of({"x": edges})
    counts = Counts.zeros(layout, windows)
    where = np.zeros(len(values), np.int32) if slots is None else slots
    fold(layout, pa.RecordBatch.from_pydict({"feature.x": values}), where, counts)
    return counts


def numpy_counts(edges: Floats, values: list[float | None]) -> tuple[npt.NDArray[np.int64], int, int]:
    """Bins, missing and non-finite by numpy alone."""
    missing = sum(value is None for value in values)
    numbers = np.array([value for value in values if value is not None], np.float64)
    finite = numbers[np.isfinite(numbers)]
    bins = np.bincount(bin_numbers(edges, finite), minlength=len(edges) + 2)
    return bins, missing, len(numbers) - len(finite)


def edges_and_values(numbers: st.SearchStrategy[float]) -> st.SearchStrategy[tuple[Floats, list[float | None]]]:
    """Edges, and values of which many are an edge or the float next to one."""

    @st.composite
    def draw(draw: st.DrawFn) -> tuple[Floats, list[float | None]]:
        edges = np.unique(np.array(draw(st.lists(numbers, min_size=1, max_size=40)), np.float64))
        near = st.sampled_from(
            [f for e in edges.tolist() for f in (e, math.nextafter(e, -math.inf), math.nextafter(e, math.inf))]
        )
        values = draw(st.lists(st.one_of(st.none(), near, numbers, ANY_FLOAT), max_size=60))
        return edges, values

    return draw()


@settings(max_examples=300, deadline=None)
@given(st.one_of(edges_and_values(ORDINARY), edges_and_values(FINITE), edges_and_values(TINY)))
@example((np.array([-1.7e308, 0.0, 1.7e308]), [1e308, -1e308, 1.7e308, 0.0, -0.0, 5e-324]))
@example((np.array([0.0, 5e-324]), [0.0, 5e-324, 1e-323, -5e-324, math.nan, math.inf, -math.inf, None]))
@example((np.array([3.0]), [3.0, math.nextafter(3, 4), math.nextafter(3, 2)]))
def test_bins_are_numpys(case: tuple[Floats, list[float | None]]) -> None:
    """Every value is in the bin that searchsorted gives; missing and non-finite ones are in none."""
    edges, values = case
    counts = count(edges, pa.array(values, pa.float64()))
    bins, missing, non_finite = numpy_counts(edges, values)
    np.testing.assert_array_equal(counts.bins[0], bins)
    assert counts.tallies[0, 0, Tally.MISSING] == missing
    assert counts.tallies[0, 0, Tally.NON_FINITE] == non_finite
    assert counts.rows[0] == len(values) == counts.bins.sum() + missing + non_finite


@settings(max_examples=100, deadline=None)
@given(
    st.integers(1, 3000),
    st.integers(0, 2**32 - 1),
    st.sampled_from(SHAPES),
)
def test_look_up_table_is_exact_for_many_edges(size: int, seed: int, shape: str) -> None:
    """With up to thousands of edges, even or all in one look-up cell, each edge opens its own bin."""
    random = np.random.default_rng(seed)
    drawn = {
        "normal": random.normal(size=size),
        "cauchy": random.standard_cauchy(size),
        "lognormal": random.lognormal(sigma=6, size=size),
        "clustered": np.concatenate([1 + np.arange(size) * 2.3e-16, [1e9]]),
        "grid": np.arange(size) / 7,
    }[shape]
    edges = np.unique(drawn)
    values = np.concatenate([edges, np.nextafter(edges, -np.inf), np.nextafter(edges, np.inf), random.choice(edges, 9)])
    counts = count(edges, pa.array(values))
    np.testing.assert_array_equal(counts.bins[0], np.bincount(bin_numbers(edges, values), minlength=len(edges) + 2))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.one_of(st.none(), ORDINARY), min_size=1, max_size=100), st.integers(0, 70), st.integers(0, 70))
def test_slices_with_null_bitmaps_count_their_own_rows(values: list[float | None], first: int, dropped: int) -> None:
    """A slice at any offset reads its own part of the values and of the bitmap."""
    first = min(first, len(values))
    dropped = min(dropped, len(values) - first)
    edges = np.array([-50.0, 0.0, 50.0])
    part = pa.array(values, pa.float64()).slice(first, len(values) - first - dropped)
    bins, missing, _ = numpy_counts(edges, values[first : len(values) - dropped])
    counts = count(edges, part)
    np.testing.assert_array_equal(counts.bins[0], bins)
    assert counts.tallies[0, 0, Tally.MISSING] == missing


@pytest.mark.parametrize("kind", [pa.float32(), pa.int64(), pa.uint8()])
def test_other_number_types_are_read_as_float64(kind: pa.DataType) -> None:
    """A column that is not float64 is converted, nulls and offset kept."""
    column = pa.array([9, 1, None, 2, 3], kind).slice(1)
    counts = count(np.array([1.0, 2.0]), column)
    assert counts.bins[0].tolist() == [0, 1, 1, 1]
    assert counts.tallies[0, 0, Tally.MISSING] == 1


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50), st.floats(-1e6, 1e6))
def test_moments_are_numpys(values: list[float], center: float) -> None:
    """Sums about the centre and tails are the exact ones, rounded once; smallest and largest agree with numpy."""
    layout = layout_of({"x": [-10.0, 10.0]}, center)
    counts = Counts.zeros(layout)
    fold(layout, record_batch({"x": [*values, math.nan, math.inf, None]}), np.zeros(len(values) + 3, np.int32), counts)
    numbers, moments = np.array(values), counts.moments()[0, 0]
    assert moments[Moment.DEVIATION] == math.fsum(numbers - center)
    assert moments[Moment.SQUARE] == math.fsum((numbers - center) ** 2)
    assert moments[Moment.TAIL_BELOW] == math.fsum(-10 - numbers[numbers < -10])
    assert moments[Moment.TAIL_ABOVE] == math.fsum(numbers[numbers > 10] - 10)
    assert moments[Moment.MIN] == numbers.min()
    assert moments[Moment.MAX] == numbers.max()


def test_no_finite_value_leaves_no_smallest_and_no_largest() -> None:
    """Smallest and largest of nothing are the infinities that any value replaces."""
    counts = count(np.array([0.0]), pa.array([math.nan, None, math.inf], pa.float64()))
    assert counts.moments()[0, 0].tolist() == [0, 0, 0, 0, math.inf, -math.inf]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(-5, 5), st.integers(0, 3)), min_size=1, max_size=60), st.data())
def test_adding_parts_equals_counting_at_once(rows: list[tuple[int, int]], data: st.DataObject) -> None:
    """Rows cut into parts anywhere, counted apart and added, give the counts of all rows."""
    layout = layout_of({"x": [-3.0, 0.0, 1.0, 3.0]}, 0.5)
    batch = record_batch({"x": [None if x == 5 else float(x) for x, _ in rows]})
    slots = np.array([slot for _, slot in rows], np.int32)
    whole, summed = Counts.zeros(layout, 4), Counts.zeros(layout, 4)
    fold(layout, batch, slots, whole)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(rows)), max_size=5)))
    for first, last in zip([0, *cuts], [*cuts, len(rows)], strict=True):
        part = Counts.zeros(layout, 4)
        fold(layout, batch.slice(first, last - first), slots[first:last], part)
        summed.add(part)
    assert_same_counts(whole, summed)
    for slot in range(4):
        own = Counts.zeros(layout)
        fold(layout, batch.filter(pa.array(slots == slot)), np.zeros((slots == slot).sum(), np.int32), own)
        assert_same_counts(own, whole.window(slot))


def test_empty_batch_counts_nothing() -> None:
    """No rows change nothing, with and without the column."""
    for batch in (record_batch({"x": []}), record_batch({"y": []})):
        layout = layout_of({"x": [0.0, 1.0]})
        counts = Counts.zeros(layout)
        fold(layout, batch, np.empty(0, np.int32), counts)
        assert_same_counts(counts, Counts.zeros(layout))


def test_edges_too_close_or_too_far_have_no_look_up_scale() -> None:
    """A range without a finite scale falls back to one cell, silently."""
    for edges in ([0.0, 5e-324], [-1.7e308, 1.7e308], [4.0]):
        bins = NumericBins(np.array(edges))
        assert bins.cells.per_unit == 0
        assert bins.lookup[:2].tolist() == [0, len(edges)]
