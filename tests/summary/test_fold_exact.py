"""No order of rows, and no way to cut them into batches and panes, changes a bit of the counts."""

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from driftmeter.model.bins import CategoryBins
from driftmeter.model.counts import Counts, Moment
from driftmeter.summary.fold import fold
from driftmeter.summary.moments import BLOCK_ROWS
from rows import Floats, assert_same_counts, layout_of, record_batch

LARGEST = np.finfo(np.float64).max
ANY = st.floats(allow_nan=True, allow_infinity=True)
SMALL = st.floats(-10, 10)
MIXED = st.one_of(
    SMALL, st.sampled_from([0.0, -0.0, 5e-324, -5e-324, 1e-310, LARGEST, -LARGEST, 1e16, -1e16, 1.0, 1e-9]), ANY
)
ROWS = st.one_of(
    *(st.lists(st.tuples(each, st.sampled_from(["a", "b", "new", None])), max_size=40) for each in (SMALL, MIXED, ANY))
)
CENTERS = st.one_of(SMALL, st.floats(allow_nan=False, allow_infinity=False))
COLUMNS: dict[str, list[float] | CategoryBins] = {"x": [-1.0, 0.0, 1.0, 3.0], "c": CategoryBins(("a", "b"))}


def batch_of(rows: Sequence[tuple[float, str | None]]) -> pa.RecordBatch:
    """One numeric and one categorical column."""
    return pa.RecordBatch.from_pydict(
        {
            "feature.x": pa.array([x for x, _ in rows], pa.float64()),
            "feature.c": pa.array([c for _, c in rows], pa.string()).dictionary_encode(),
        }
    )


def count(values: Floats, center: float = 0.0) -> Counts:
    """Counts of one numeric column between -1 and 1."""
    layout = layout_of({"x": [-1.0, 1.0]}, center)
    counts = Counts.zeros(layout)
    fold(layout, record_batch({"x": values}), np.zeros(len(values), np.int32), counts)
    return counts


def rounded(terms: Floats) -> float:
    """The exact sum, rounded once; infinite beyond the largest double."""
    exact = sum(map(Fraction, terms.tolist()), Fraction(0))
    try:
        return float(exact)
    except OverflowError:
        return math.inf if exact > 0 else -math.inf


@settings(max_examples=300, deadline=None)
@given(ROWS, CENTERS, st.data())
def test_any_order_and_any_cuts_give_the_same_bits(
    rows: list[tuple[float, str | None]], center: float, data: st.DataObject
) -> None:
    """Rows shuffled, cut into batches, spread over panes, and panes added packed or dense: all bits are the same."""
    layout = layout_of(COLUMNS, center)
    whole = Counts.zeros(layout)
    fold(layout, batch_of(rows), np.zeros(len(rows), np.int32), whole)
    shuffled = data.draw(st.permutations(rows))
    panes = Counts.zeros(layout, 3)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(rows)), max_size=4)))
    for first, last in zip([0, *cuts], [*cuts, len(rows)], strict=True):
        slots = data.draw(st.lists(st.integers(0, 2), min_size=last - first, max_size=last - first))
        fold(layout, batch_of(shuffled[first:last]), np.array(slots, np.int32), panes)
    total = Counts.zeros(layout)
    for number in data.draw(st.permutations(range(3))):
        pane = panes.window(number)
        total.add(pane.packed() if data.draw(st.booleans()) else pane)
    assert_same_counts(total, whole)
    assert total.extremes.tobytes() == whole.extremes.tobytes()


@pytest.mark.parametrize("scale", [1.0, 1e-300, 1e-160, 1e150, 1e15, 5e-324])
@pytest.mark.parametrize("spread", ["normal", "lognormal", "outlier", "integers", "constant"])
def test_many_rows_sum_exactly(scale: float, spread: str) -> None:
    """Blocks of near magnitudes, and of far ones, agree with fsum to the last bit, over several blocks."""
    random = np.random.default_rng(5)
    rows = 3 * BLOCK_ROWS + 17
    values = {
        "normal": random.normal(size=rows),
        "lognormal": random.lognormal(sigma=9, size=rows) * random.choice([-1, 1], rows),
        "outlier": np.concatenate((random.normal(size=rows - 1), [-1e15])),
        "integers": random.integers(-5, 5, rows).astype(np.float64),
        "constant": np.full(rows, 7.0),
    }[spread] * scale
    for center in (0.0, float(values[0]), 0.1):
        moments = count(values, center).moments()[0, 0]
        deviations = values - center
        with np.errstate(over="ignore"):
            squares = np.minimum(deviations**2, LARGEST)
        assert moments[Moment.DEVIATION] == math.fsum(deviations)
        assert moments[Moment.SQUARE] == rounded(squares)
        assert moments[Moment.TAIL_ABOVE] == math.fsum(values[values > 1] - 1)
        assert moments[Moment.TAIL_BELOW] == math.fsum(-1 - values[values < -1])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(st.integers(-1074, 500).map(lambda p: 2.0**p), SMALL), min_size=1, max_size=30), CENTERS)
@example([1.0, 2.0**-60], 0.0)
@example([1.0, 2.0**-105], 0.0)
@example([2.0**400, 2.0**-1074], 0.0)
def test_terms_of_any_distance_sum_exactly(values: list[float], center: float) -> None:
    """Terms too far apart to be added together are added one by one; what overflows counts as the largest double."""
    moments = count(np.array(values), center).moments()[0, 0]
    with np.errstate(over="ignore"):
        deviations = np.clip(np.array(values) - center, -LARGEST, LARGEST)
        squares = np.minimum(deviations**2, LARGEST)
    for moment, terms in ((Moment.DEVIATION, deviations), (Moment.SQUARE, squares)):
        assert moments[moment] == rounded(terms)


def test_overflowing_terms_count_as_the_largest_double() -> None:
    """A square or a difference beyond the largest double is that one."""
    moments = count(np.array([-LARGEST]), LARGEST).moments()[0, 0]
    assert moments[Moment.DEVIATION] == -LARGEST
    assert moments[Moment.SQUARE] == LARGEST
    assert moments[Moment.TAIL_BELOW] == LARGEST


def test_negative_zero_is_zero() -> None:
    """Which of the two zeros came first leaves no trace in the extremes."""
    left, right = count(np.array([0.0, -0.0])), count(np.array([-0.0, 0.0]))
    assert left.extremes.tobytes() == right.extremes.tobytes()
