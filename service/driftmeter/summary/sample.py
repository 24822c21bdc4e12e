"""Rows to a bounded sample of them: hashes of all rows, and the values of those few whose hashes are the smallest."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from driftmeter.model.compiled import inlined, kernel
from driftmeter.model.sample import TRACE_BYTES, RowSample
from driftmeter.summary.arrow import (
    byte_at,
    child_of,
    data_of,
    dictionary_of,
    double_at,
    int32_at,
    int64_at,
    is_valid,
    length_of,
    offset_of,
    texts_of,
    validity_of,
)

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_STEP, _FIRST, _SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
"""Of splitmix64: Steele et al., Fast splittable pseudorandom number generators, https://doi.org/10.1145/2660193.2660195"""

_KEY, _INDEX, _TIME, _TRACE = range(4)
_TYPES = {
    "span_key": pa.uint64(),
    "row_index": pa.uint16(),
    "event_time": pa.timestamp("ns", tz="UTC"),
    "trace_id": pa.binary(),
}


class Places(NamedTuple):
    """Where a layout's columns and the fixed ones are in a batch.

    Attributes:
        fixed: int64 (4,): columns of the batch with the key, the row's number in its span, time and trace; -1 for none.
        numbers: int64 (n,): columns of the batch for the numeric columns; -1 for none.
        number_columns: int64 (n,): their numbers in the layout.
        names: int64 (m,): the same for the categorical columns.
        name_columns: int64 (m,): their numbers in the layout.
        bins: int32: bin in its column of each distinct name of each categorical column, -1 for none.
    """

    fixed: Ints
    numbers: Ints
    number_columns: Ints
    names: Ints
    name_columns: Ints
    bins: npt.NDArray[np.int32]


def fixed_places(schema: pa.Schema) -> Ints:
    """`Places.fixed` of a schema."""
    positions = [(schema.get_field_index(name), of_type) for name, of_type in _TYPES.items()]
    there = [at if at >= 0 and schema.field(at).type == of_type else -1 for at, of_type in positions]
    return np.array(there, np.int64)


def hash_rows(batch: int, rows: int, places: Places) -> npt.NDArray[np.uint64]:
    """Hashes of the keys of a batch's rows, none when it has no keys.

    Args:
        batch: Address of its `struct ArrowArray`.
        rows: How many it has.
        places: Where its columns are.
    """
    hashes = np.empty(rows if places.fixed[_KEY] >= 0 else 0, np.uint64)
    if len(hashes):
        _hash_rows(batch, places.fixed, hashes)
    return hashes


def sample_rows(
    batch: int,
    rows: npt.NDArray[np.int32],
    hashes: npt.NDArray[np.uint64],
    places: Places,
    before: RowSample,
    most: int,
) -> RowSample:
    """The sample of one window after some rows of a batch; `before` itself when none of them belongs to it.

    Args:
        batch: Address of the batch's `struct ArrowArray`.
        rows: int32: rows of the batch that are of the window.
        hashes: Of all rows of the batch.
        places: Where its columns are.
        before: The sample so far.
        most: Rows that it has at most.
    """
    found = hashes[rows]
    chosen = np.flatnonzero(found <= before.keys[-1]) if before.size == most else np.arange(len(found))
    if len(chosen) > most:
        limit = np.partition(found[chosen], most - 1)[most - 1]
        chosen = chosen[found[chosen] <= limit]  # All that are as small: `lowest` knows which of them.
    if not len(chosen):
        return before
    taken = rows[chosen]
    size = len(taken)
    sample = RowSample(
        hashes[taken],
        np.zeros(size, np.int64),
        np.zeros((size, TRACE_BYTES), np.uint8),
        np.full((size, before.values.shape[1]), np.nan),
    )
    _take_rows(batch, taken, places, sample.times_ns, sample.traces, sample.values)
    return before.merged(sample.lowest(most), most)


@inlined
def _mixed(state: np.uint64) -> np.uint64:
    state = (state ^ (state >> np.uint64(30))) * np.uint64(_FIRST)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(_SECOND)
    return state ^ (state >> np.uint64(31))


@kernel
def _hash_rows(batch: int, fixed: Ints, hashes: npt.NDArray[np.uint64]) -> None:
    keys = child_of(batch, fixed[_KEY])
    numbers = child_of(batch, fixed[_INDEX]) if fixed[_INDEX] >= 0 else 0
    first_key, keys_at = offset_of(keys), data_of(keys)
    first_number, numbers_at = (offset_of(numbers), data_of(numbers)) if numbers != 0 else (0, 0)
    for i in range(len(hashes)):
        number = 0
        if numbers != 0:
            place = 2 * (first_number + i)
            number = byte_at(numbers_at, place) | (byte_at(numbers_at, place + 1) << 8)
        key = np.uint64(int64_at(keys_at, first_key + i)) + np.uint64(number + 1) * np.uint64(_STEP)
        hashes[i] = _mixed(key)


@kernel
def _take_rows(
    batch: int, rows: npt.NDArray[np.int32], places: Places, times_ns: Ints, traces: npt.NDArray[np.uint8], out: Floats
) -> None:
    """Copy times, traces and values of some rows."""
    if places.fixed[_TIME] >= 0:
        times = child_of(batch, places.fixed[_TIME])
        for i in range(len(rows)):
            times_ns[i] = int64_at(data_of(times), offset_of(times) + int(rows[i]))
    if places.fixed[_TRACE] >= 0:
        _take_traces(child_of(batch, places.fixed[_TRACE]), rows, traces)
    for number in range(len(places.numbers)):
        if places.numbers[number] >= 0:
            column = out[:, places.number_columns[number]]
            array = child_of(batch, places.numbers[number])
            validity, data, offset = validity_of(array), data_of(array), offset_of(array)
            for i in range(len(rows)):
                if is_valid(validity, offset + int(rows[i])):
                    column[i] = double_at(data, offset + int(rows[i])) + 0.0
    first = 0
    for number in range(len(places.names)):
        if places.names[number] >= 0:
            array = child_of(batch, places.names[number])
            codes = length_of(dictionary_of(array))
            _take_names(array, rows, places.bins[first : first + codes], out[:, places.name_columns[number]])
            first += codes


@kernel
def _take_traces(array: int, rows: npt.NDArray[np.int32], traces: npt.NDArray[np.uint8]) -> None:
    """Ids of another length than a trace id's are none."""
    ends, texts, offset = data_of(array), texts_of(array), offset_of(array)
    for i in range(len(rows)):
        start = int32_at(ends, offset + int(rows[i]))
        if int32_at(ends, offset + int(rows[i]) + 1) - start == TRACE_BYTES:
            for byte in range(TRACE_BYTES):
                traces[i, byte] = byte_at(texts, start + byte)


@kernel
def _take_names(array: int, rows: npt.NDArray[np.int32], bins: npt.NDArray[np.int32], column: Floats) -> None:
    """The number of each row's bin; rows whose code is in no dictionary are missing, as they are counted."""
    validity, data, offset = validity_of(array), data_of(array), offset_of(array)
    for i in range(len(rows)):
        item = offset + int(rows[i])
        code = int32_at(data, item)
        if is_valid(validity, item) and 0 <= code < len(bins) and bins[code] >= 0:
            column[i] = float(bins[code])
