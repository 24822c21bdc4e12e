"""Categories, missing columns and values of the wrong type."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftmeter.model.bins import CategoryBins
from driftmeter.model.counts import Counts, Tally
from driftmeter.summary.fold import fold
from rows import assert_same_counts, layout_of, record_batch

BINS = CategoryBins(("a", "b", ""), ("rare", "rarer"))
PLACE = {"a": 0, "b": 1, "": 2, "rare": 3, "rarer": 3}
UNSEEN = 4


def count(column: pa.Array, bins: CategoryBins = BINS) -> Counts:
    """Counts of one categorical column."""
    layout = layout_of({"c": bins})
    counts = Counts.zeros(layout)
    fold(layout, pa.RecordBatch.from_pydict({"feature.c": column}), np.zeros(len(column), np.int32), counts)
    return counts


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(st.none(), st.sampled_from([*PLACE, "new", "A", "ünï"])), max_size=50), st.integers(0, 50))
def test_categories_are_counted_by_name(values: list[str | None], first: int) -> None:
    """Known names in their own bins, rare ones in `other`, new ones in `unseen`, null in none; slices too."""
    column = pa.array(values, pa.string()).dictionary_encode().slice(min(first, len(values)))
    kept = values[min(first, len(values)) :]
    expected = np.bincount([PLACE.get(value, UNSEEN) for value in kept if value is not None], minlength=5)
    counts = count(column)
    np.testing.assert_array_equal(counts.bins[0], expected)
    assert counts.tallies[0, 0, Tally.MISSING] == kept.count(None)


def test_null_in_the_dictionary_is_missing() -> None:
    """A code that points to a null value is missing, and so is a null code; the empty text is a value."""
    column = pa.DictionaryArray.from_arrays(pa.array([0, 1, None, 1, 2], pa.int32()), pa.array(["a", None, ""]))
    counts = count(column)
    assert counts.bins[0].tolist() == [1, 0, 1, 0, 0]
    assert counts.tallies[0, 0, Tally.MISSING] == 3


@pytest.mark.parametrize("index", [pa.int8(), pa.int32(), pa.int64()])
def test_any_index_type_is_read(index: pa.DataType) -> None:
    """The width of the codes makes no difference; nor does a dictionary with unused or repeated names."""
    column = pa.DictionaryArray.from_arrays(pa.array([3, 0, None], index), pa.array(["b", "unused", "x", "b"]))
    counts = count(column)
    assert counts.bins[0].tolist() == [0, 2, 0, 0, 0]


def test_unknown_names_are_other_when_not_all_names_are_remembered() -> None:
    """Where the reference had too many names to remember, an unknown one may have been among them."""
    assert count(pa.array(["zzz"]).dictionary_encode(), CategoryBins(("a",), ("b",), True)).bins[0].tolist() == [
        0,
        1,
        0,
    ]


def test_no_category_at_all() -> None:
    """A column without a single reference value still counts: everything is unseen."""
    assert count(pa.array(["x", None]).dictionary_encode(), CategoryBins(())).bins[0].tolist() == [0, 1]


def test_absent_column_is_missing_in_every_row() -> None:
    """A batch without one of the columns counts it as missing, per window; unknown columns are not looked at."""
    layout = layout_of({"x": [0.0, 1.0], "c": BINS})
    counts = Counts.zeros(layout, 3)
    fold(layout, record_batch({"y": [1.0, 2.0, 3.0]}), np.array([0, 2, 2], np.int32), counts)
    assert counts.rows.tolist() == [1, 0, 2]
    assert counts.tallies[:, :, Tally.MISSING].tolist() == [[1, 1], [0, 0], [2, 2]]
    assert counts.bins.sum() == 0


def test_mismatches_are_counted_in_their_rows_windows() -> None:
    """A value of the wrong type is missing, and counted as a mismatch in the window of its row."""
    layout = layout_of({"x": [0.0, 1.0], "y": [0.0, 1.0]})
    counts = Counts.zeros(layout, 2)
    batch = record_batch({"x": [0.0, None, None, 1.0], "y": [0.0, 0.0, 0.0, 0.0]})
    wrong = {"feature.x": np.array([1, 2], np.uint32), "feature.gone": np.array([0], np.uint32)}
    fold(layout, batch, np.array([0, 0, 1, 1], np.int32), counts, wrong)
    assert counts.tallies[:, 0, Tally.MISMATCH].tolist() == [1, 1]
    assert counts.tallies[:, 0, Tally.MISSING].tolist() == [1, 1]
    assert counts.tallies[:, 1].sum() == 0


def test_batches_with_their_own_dictionaries_add_up() -> None:
    """Each batch may number its categories in its own way."""
    layout = layout_of({"c": BINS})
    split, whole = Counts.zeros(layout), Counts.zeros(layout)
    for part in (["b", "a", None], ["new", "b", "rare"]):
        fold(layout, record_batch({"c": part}), np.zeros(3, np.int32), split)
    fold(layout, record_batch({"c": ["b", "a", None, "new", "b", "rare"]}), np.zeros(6, np.int32), whole)
    assert_same_counts(split, whole)
