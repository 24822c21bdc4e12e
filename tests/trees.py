"""Random trees for bundles, and what it means that two are the same."""

from typing import Any

import hypothesis.strategies as st
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from hypothesis.extra import numpy as hnp

from driftmeter.model.bundle import Tree

_ARRAY_TYPES = (
    hnp.boolean_dtypes()
    | hnp.integer_dtypes(endianness="?")
    | hnp.unsigned_integer_dtypes(endianness="?")
    | hnp.floating_dtypes(endianness="?", sizes=(16, 32, 64))
    | hnp.complex_number_dtypes(endianness="?", sizes=(64, 128))
)


@st.composite
def record_batches(draw: st.DrawFn) -> pa.RecordBatch:
    """Numbers, texts and categories, some missing, at times a slice of more rows."""
    rows = draw(st.integers(0, 12))
    numbers = draw(st.lists(st.none() | st.floats(), min_size=rows, max_size=rows))
    texts = draw(st.lists(st.none() | st.text(max_size=5), min_size=rows, max_size=rows))
    flags = draw(st.lists(st.none() | st.booleans(), min_size=rows, max_size=rows))
    batch = pa.record_batch(
        [
            pa.array(numbers, pa.float64()),
            pa.array(texts, pa.string()),
            pa.array(texts, pa.string()).dictionary_encode(),
            pa.array(flags, pa.bool_()),
        ],
        names=["number", "text", "category", draw(st.text(max_size=3))],
    )
    first = draw(st.integers(0, rows))
    return batch.slice(first, draw(st.integers(0, rows - first)))


def arrays() -> st.SearchStrategy[npt.NDArray[Any]]:
    """Arrays of any numeric type and shape, some not in C order."""
    made = hnp.arrays(_ARRAY_TYPES, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
    return made | made.map(np.transpose)


def trees() -> st.SearchStrategy[Tree]:
    """Anything that can be packed."""
    texts = st.text(max_size=5) | st.text(st.characters(categories=["Cs"]), max_size=3)
    leaves: st.SearchStrategy[Tree] = (
        st.none()
        | st.booleans()
        | st.integers()
        | st.integers(-(1 << 200), 1 << 200)
        | st.floats(allow_nan=False)
        | st.just(float("nan"))
        | texts
        | st.binary(max_size=20)
        | arrays()
        | record_batches()
    )
    return st.recursive(
        leaves,
        lambda below: st.lists(below, max_size=4) | st.dictionaries(texts, below, max_size=4),
        max_leaves=12,
    )


def same(one: Tree, other: Tree) -> bool:
    """Whether two trees are equal in type, order and every bit, NaN and negative zero included."""
    if isinstance(one, np.ndarray):
        return (
            isinstance(other, np.ndarray)
            and (one.dtype, one.shape) == (other.dtype, other.shape)
            and one.tobytes() == other.tobytes()
        )
    if isinstance(one, pa.RecordBatch):
        return (
            isinstance(other, pa.RecordBatch)
            and one.schema == other.schema
            and str(one.to_pydict()) == str(other.to_pydict())
        )
    if isinstance(one, list):
        return isinstance(other, list) and len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return isinstance(other, dict) and list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, float):
        return isinstance(other, float) and repr(one) == repr(other)
    return type(one) is type(other) and one == other
