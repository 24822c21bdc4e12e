"""Entries: what is journalled comes back equal; what is none is refused."""

from collections.abc import Mapping
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given

from driftmeter.errors import DamagedError
from driftmeter.journal.entries import (
    LEARNED_KIND,
    QUARANTINED_KIND,
    ROWS_KIND,
    TICK_KIND,
    BaselineEntry,
    BatchEntry,
    Entry,
    LearnedEntry,
    QuarantinedEntry,
    RetriedEntry,
    RowsEntry,
    TickEntry,
    decode,
    encode,
)
from driftmeter.model.blobs import Buffer
from driftmeter.model.bundle import Tree, pack
from driftmeter.model.predictions import ModelKey, Predictions
from rows import predictions

_REASONS: st.SearchStrategy[Mapping[str, int]] = st.dictionaries(
    st.text(max_size=5), st.integers(0, 1 << 70), max_size=3
)
_NAMES = st.text(max_size=5)
_COUNTS = st.integers(0, 1 << 40)
_TIMES = st.integers(-(1 << 63), (1 << 63) - 1)


@st.composite
def _predictions(draw: st.DrawFn) -> Predictions:
    """Rows with a number and a category, both at times missing, some with the wrong type; at times a slice."""
    rows = draw(st.integers(0, 6))
    numbers: list[float | str | None] = draw(st.lists(st.none() | st.floats(), min_size=rows, max_size=rows))
    texts: list[float | str | None] = draw(st.lists(st.none() | st.text(max_size=3), min_size=rows, max_size=rows))
    times = draw(st.lists(_TIMES, min_size=rows, max_size=rows))
    key = ModelKey(draw(_NAMES), draw(_NAMES), draw(_NAMES))
    batch = predictions(times, {"x": numbers, "c": texts}, key=key).rows
    taken = batch.slice(draw(st.integers(0, rows)))
    wrong = draw(st.lists(st.integers(0, max(0, taken.num_rows - 1)), unique=True)) if taken.num_rows else []
    return Predictions(key, taken, {"feature.x": np.array(sorted(wrong), np.uint32)} if wrong else {})


_BATCHES = st.builds(BatchEntry, _predictions(), _COUNTS, _COUNTS, _COUNTS)
_ROWS = st.builds(RowsEntry, _TIMES, _COUNTS, _COUNTS, _REASONS, _REASONS, st.lists(_BATCHES, max_size=3).map(tuple))
_OTHERS: st.SearchStrategy[Entry] = (
    st.builds(TickEntry, _TIMES, st.booleans())
    | st.builds(LearnedEntry, st.builds(ModelKey, _NAMES, _NAMES, _NAMES), _COUNTS)
    | st.builds(QuarantinedEntry, _COUNTS, _COUNTS, _COUNTS)
    | st.builds(RetriedEntry, _COUNTS, _TIMES, _COUNTS, _COUNTS)
    | st.builds(BaselineEntry, st.binary(max_size=99), _TIMES)
)


def _payload(parts: list[Buffer]) -> memoryview:
    return memoryview(b"".join(parts))


def _comparable(entry: RowsEntry) -> Any:
    """Everything in an entry, missing values and NaN included, as values that can be compared."""
    return (
        *(entry.now_ns, entry.received, entry.ignored, dict(entry.rejected), dict(entry.dropped_values)),
        [
            (
                *(batch.predictions.key, batch.spans, batch.duplicates, batch.without_identity),
                batch.predictions.rows.schema,
                [
                    [str(value.as_py()) for value in column.cast(_plain(column.type))]
                    for column in batch.predictions.rows
                ],
                {name: numbers.tolist() for name, numbers in batch.predictions.mismatches.items()},
            )
            for batch in entry.batches
        ],
    )


def _plain(kind: pa.DataType) -> pa.DataType:
    """Nanoseconds as integers: Python's times are coarser."""
    return pa.int64() if pa.types.is_timestamp(kind) or pa.types.is_duration(kind) else kind


@given(_ROWS)
def test_rows_come_back(entry: RowsEntry) -> None:
    """Every row, count, reason and mismatch of a request comes back as it was."""
    kind, parts = encode(entry)
    decoded = decode(kind, _payload(parts))

    assert kind == ROWS_KIND
    assert isinstance(decoded, RowsEntry)
    assert _comparable(decoded) == _comparable(entry)


@given(_OTHERS)
def test_other_entries_come_back(entry: Entry) -> None:
    """Ticks, learned baselines and quarantined batches come back equal and of their type."""
    kind, parts = encode(entry)
    decoded = decode(kind, _payload(parts))

    assert decoded == entry
    assert type(decoded) is type(entry)


def _rows(count: int) -> RowsEntry:
    numbers: dict[str, Any] = {
        f"number {number}": np.random.default_rng(number).normal(size=count) for number in range(20)
    }
    columns = {**numbers, "category": [f"value {row % 7}" for row in range(count)]}
    return RowsEntry(1, count, 0, {}, {}, (BatchEntry(predictions(np.arange(count), columns), count, 0, 0),))


def test_a_slice_does_not_bring_its_parent() -> None:
    """An entry of a few rows cut from many is as large as one of a few rows."""
    batch = _rows(10_000).batches[0].predictions
    cut = Predictions(batch.key, batch.rows.slice(5000, 10), {})
    entry = RowsEntry(1, 10, 0, {}, {}, (BatchEntry(cut, 10, 0, 0),))
    kind, parts = encode(entry)
    payload = _payload(parts)
    decoded = decode(kind, payload)

    assert len(payload) < len(_payload(encode(_rows(10))[1])) * 1.1
    assert isinstance(decoded, RowsEntry)
    assert decoded.batches[0].predictions.rows.equals(cut.rows)


def test_reading_copies_no_column() -> None:
    """Columns are views of the payload."""
    kind, parts = encode(_rows(1000))
    payload = np.frombuffer(_payload(parts), np.uint8)
    decoded = decode(kind, payload.data)

    assert isinstance(decoded, RowsEntry)
    column = decoded.batches[0].predictions.rows.column("feature.number 7")
    assert np.shares_memory(column.to_numpy(), payload)


_FIELDS = predictions([1], {"x": [1.0]}).rows


@pytest.mark.parametrize(
    ("kind", "tree"),
    [
        (0, [1, True]),
        (255, [1, True]),
        (TICK_KIND, []),
        (TICK_KIND, [1, 1]),
        (TICK_KIND, {"now_ns": 1}),
        (ROWS_KIND, [1, True]),
        (LEARNED_KIND, ["a", "b", "c", None]),
        (QUARANTINED_KIND, [1, 2]),
        (ROWS_KIND, [1, 2, 3, {"a": "b"}, {}, []]),
        (ROWS_KIND, [1, 2, 3, {"a": -1}, {}, []]),
        (ROWS_KIND, [1, 2, 3, {}, {}, [1]]),
        (ROWS_KIND, [1, 2, 3, {}, {}, [["a", "b", "c", pa.record_batch({"x": [1.0]}), {}, 1, 0, 0]]]),
        (ROWS_KIND, [1, 2, 3, {}, {}, [["a", "b", "c", _FIELDS, {"feature.x": [1]}, 1, 0, 0]]]),
        (ROWS_KIND, [1, 2, 3, {}, {}, [["a", "b", "c", _FIELDS, {"feature.x": np.array([1], np.uint32)}, 1, 0, 0]]]),
        (ROWS_KIND, [1, 2, 3, {}, {}, [["a", "b", "c", _FIELDS, {"feature.y": np.array([0], np.uint32)}, 1, 0, 0]]]),
        (ROWS_KIND, [1, 2, 3, {}, {}, [["a", "b", "c", _FIELDS, {"feature.x": np.array([0])}, 1, 0, 0]]]),
    ],
)
def test_other_trees_are_refused(kind: int, tree: Tree) -> None:
    """A payload that is not of its kind, or of a kind that nobody knows, is damage."""
    with pytest.raises(DamagedError):
        decode(kind, _payload(pack(tree)))


@given(_ROWS, st.integers(0, 6), st.data())
def test_damaged_entries_are_refused_or_other_entries(entry: RowsEntry, kind: int, data: st.DataObject) -> None:
    """Cut or changed bytes raise DamagedError or give some entry; nothing else."""
    changed = bytearray(_payload(encode(entry)[1]))
    for _ in range(data.draw(st.integers(0, 3))):
        changed[data.draw(st.integers(0, len(changed) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        decode(kind, memoryview(bytes(changed[: data.draw(st.integers(0, len(changed)))])))
    except DamagedError:
        return
