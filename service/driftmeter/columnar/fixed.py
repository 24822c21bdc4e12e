"""The fields every batch has: times, ids, status, weight."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from driftmeter.columnar.layout import (
    SPAN_ANONYMOUS,
    SPAN_DROPPED,
    SPAN_END,
    SPAN_ERROR,
    SPAN_ID,
    SPAN_KEY,
    SPAN_START,
    SPAN_THRESHOLD,
    SPAN_TRACE_ID,
    Flat,
    Ints,
    Source,
)
from driftmeter.columnar.memory import Bytes, load8
from driftmeter.columnar.rows import Rows
from driftmeter.model.compiled import kernel
from driftmeter.model.predictions import FIXED_FIELDS

_TYPES = {field.name: field.type for field in FIXED_FIELDS}
_THRESHOLD_END = 2**56


class _Room(NamedTuple):
    """What `_fill` writes."""

    words: Ints  # Event time, span key, duration: shape (3, n).
    weights: npt.NDArray[np.float64]
    dropped: npt.NDArray[np.uint32]
    errors: npt.NDArray[np.uint8]  # Bits, least significant first.
    id_offsets: npt.NDArray[np.int32]  # Of trace ids and span ids: shape (2, n + 1).
    trace_ids: npt.NDArray[np.uint8]
    span_ids: npt.NDArray[np.uint8]


def fixed_arrays(source: Source, spans: Ints, rows: Rows, prediction_ids: pa.Array) -> tuple[list[pa.Array], int]:
    """Arrays for `FIXED_FIELDS`, one value per row, and the number of entries that have no ids of any sort.

    The rows of one entry differ in `row_index` and prediction id.

    Args:
        source: The requests.
        spans: The batch's spans or log records.
        rows: What rows these make.
        prediction_ids: One per row.
    """
    arrays, anonymous = _of_entries(source, spans)
    if rows.of_entry is not None:
        which = pa.array(rows.of_entry)
        arrays = {name: array.take(which) for name, array in arrays.items()}
    row_index = pa.Array.from_buffers(_TYPES["row_index"], rows.count, [None, pa.py_buffer(rows.index)], 0)
    arrays |= {"prediction_id": prediction_ids, "row_index": row_index}
    return [arrays[name] for name in _TYPES], anonymous


def _of_entries(source: Source, spans: Ints) -> tuple[dict[str, pa.Array], int]:
    """Arrays with one value per span or log record, by field."""
    rows = spans.size
    room = _Room(
        words=np.empty((3, rows), np.int64),
        weights=np.empty(rows, np.float64),
        dropped=np.empty(rows, np.uint32),
        errors=np.zeros((rows + 7) // 8, np.uint8),
        id_offsets=np.empty((2, rows + 1), np.int32),
        trace_ids=np.empty(16 * rows, np.uint8),
        span_ids=np.empty(8 * rows, np.uint8),
    )
    anonymous = fill_fixed(source.buffer, source.flat, spans, room)
    event_time, span_key, duration = (pa.py_buffer(words) for words in room.words)
    trace_ids = [None, pa.py_buffer(room.id_offsets[0]), pa.py_buffer(room.trace_ids)]
    span_ids = [None, pa.py_buffer(room.id_offsets[1]), pa.py_buffer(room.span_ids)]
    buffers = {
        "event_time": [None, event_time],
        "span_key": [None, span_key],
        "trace_id": trace_ids,
        "span_id": span_ids,
        "duration": [None, duration],
        "error": [None, pa.py_buffer(room.errors)],
        "weight": [None, pa.py_buffer(room.weights)],
        "dropped_attributes_count": [None, pa.py_buffer(room.dropped)],
    }
    return {name: pa.Array.from_buffers(_TYPES[name], rows, parts, 0) for name, parts in buffers.items()}, anonymous


@kernel
def fill_fixed(buffer: Bytes, flat: Flat, spans: Ints, room: _Room) -> int:
    """Write the fixed fields of the given spans; return how many of these have no ids of any sort.

    A span without a start, or with one after its end, has duration 0. Weight is 1 / sampling probability, from the
    threshold T of 2^56 below which spans were rejected: 2^56 / (2^56 - T).
    """
    trace_end = span_end = anonymous = 0
    room.id_offsets[:, 0] = 0
    for i in range(spans.size):
        span = flat.spans[spans[i]]
        start, end = span[SPAN_START], span[SPAN_END]
        room.words[0, i], room.words[1, i] = end, span[SPAN_KEY]
        room.words[2, i] = end - start if 0 < start <= end else 0
        room.weights[i] = float(_THRESHOLD_END) / float(_THRESHOLD_END - span[SPAN_THRESHOLD])
        room.dropped[i] = span[SPAN_DROPPED]
        anonymous += span[SPAN_ANONYMOUS]
        if span[SPAN_ERROR]:
            room.errors[i >> 3] |= 1 << (i & 7)
        if span[SPAN_TRACE_ID] >= 0:
            for k in range(16):
                room.trace_ids[trace_end + k] = load8(buffer, span[SPAN_TRACE_ID] + k)
            trace_end += 16
        if span[SPAN_ID] >= 0:
            for k in range(8):
                room.span_ids[span_end + k] = load8(buffer, span[SPAN_ID] + k)
            span_end += 8
        room.id_offsets[0, i + 1], room.id_offsets[1, i + 1] = trace_end, span_end
    return int(anonymous)
