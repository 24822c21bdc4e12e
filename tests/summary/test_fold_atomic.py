"""A batch that cannot be counted changes nothing."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from driftmeter.model.bins import CategoryBins
from driftmeter.model.counts import Counts
from driftmeter.summary.fold import fold, get_ready
from rows import assert_same_counts, layout_of, record_batch

LAYOUT = layout_of({"x": [0.0, 1.0], "y": [0.0, 1.0], "c": CategoryBins(("a",))})
GOOD = record_batch({"x": [0.5, None], "y": [0.5, 2.0], "c": ["a", "new"]})
SLOTS = np.zeros(2, np.int32)
TEXT = pa.RecordBatch.from_pydict({"feature.x": pa.array([0.5, 1.0]), "feature.y": pa.array(["a", "b"])})
BYTES = pa.RecordBatch.from_pydict(
    {"feature.x": pa.array([0.5, 1.0]), "feature.c": pa.array([b"\xff", b"a"]).dictionary_encode()}
)


@pytest.mark.parametrize(
    ("rows", "slots", "mismatches"),
    [
        (TEXT, SLOTS, {}),
        (BYTES, SLOTS, {}),
        (GOOD, np.array([0, 1], np.int32), {}),
        (GOOD, np.array([-1, 0], np.int32), {}),
        (GOOD, np.zeros(1, np.int32), {}),
        (GOOD, np.zeros(3, np.int32), {}),
        (GOOD, SLOTS, {"feature.c": np.array([2], np.uint32)}),
        (GOOD, SLOTS, {"feature.x": np.array([0], np.uint32), "feature.y": np.array(["?"])}),
    ],
    ids=["text", "bytes", "window", "negative window", "few windows", "many windows", "row", "no row"],
)
def test_broken_input_leaves_counts_as_they_were(
    rows: pa.RecordBatch, slots: npt.NDArray[np.int32], mismatches: dict[str, npt.NDArray[Any]]
) -> None:
    """Types, windows and rows that do not fit raise before the first count is changed, of any column."""
    counts, before = Counts.zeros(LAYOUT), Counts.zeros(LAYOUT)
    for each in (counts, before):
        fold(LAYOUT, GOOD, SLOTS, each)
    with pytest.raises((ValueError, IndexError)):
        fold(LAYOUT, rows, slots, counts, mismatches)
    assert_same_counts(counts, before)


def test_counts_of_another_layout_are_refused() -> None:
    """Compiled code checks no bounds, so this is checked before."""
    other = layout_of({"x": [0.0, 1.0]})
    counts = Counts.zeros(other)
    with pytest.raises(ValueError, match="another layout"):
        fold(LAYOUT, GOOD, SLOTS, counts)
    assert_same_counts(counts, Counts.zeros(other))


def test_codes_beyond_the_dictionary_are_missing() -> None:
    """A batch that was never validated cannot make the compiled code read elsewhere."""
    broken = pa.DictionaryArray.from_arrays(pa.array([0, 7, -3], pa.int32()), pa.array(["a"]), safe=False)
    layout = layout_of({"c": CategoryBins(("a",))})
    counts = Counts.zeros(layout)
    fold(layout, pa.RecordBatch.from_arrays([broken], names=["feature.c"]), np.zeros(3, np.int32), counts)
    assert counts.bins[0].tolist() == [1, 0, 0]
    assert counts.tallies[0, 0].tolist() == [2, 0, 0]


def test_schemas_may_change_from_batch_to_batch() -> None:
    """Columns are found anew wherever a schema puts them, for more schemas than are remembered."""
    get_ready(LAYOUT)
    counts, expected = Counts.zeros(LAYOUT), Counts.zeros(LAYOUT)
    for extra in [*range(6), 0, 5]:
        fold(LAYOUT, GOOD, SLOTS, expected)
        columns = [pa.array([1.0, 2.0])] * extra + GOOD.columns[::-1]
        names = [f"feature.extra{i}" for i in range(extra)] + GOOD.schema.names[::-1]
        fold(LAYOUT, pa.RecordBatch.from_arrays(columns, names=names), SLOTS, counts)
    assert_same_counts(counts, expected)
