"""One span into a row of `Flat.spans` and its attributes into rows of `Flat.attributes`."""
# ruff: noqa: PLR0913, PLR0911
# Kernels: they take arrays one by one, leave at the first fault, and know tags by number.

from driftmeter.columnar.entry import ENTRY_DEPTH, begin_entry, end_entry, read_attribute
from driftmeter.columnar.identity import identify, sampling_threshold, valid_id
from driftmeter.columnar.layout import (
    POSITIONS,
    SPAN_DROPPED,
    SPAN_END,
    SPAN_ERROR,
    SPAN_ID,
    SPAN_START,
    SPAN_THRESHOLD,
    SPAN_TRACE_ID,
    SPANS,
    UTF8,
    Flat,
    Ints,
)
from driftmeter.columnar.memory import Bytes, load64, valid_utf8
from driftmeter.columnar.naming import Naming
from driftmeter.columnar.schema import SPAN, STATUS, TRACES, Table
from driftmeter.columnar.wire import fail, read_size, read_tag, read_varint, skip_field
from driftmeter.model.compiled import kernel

# Tags of the fields that are read: field number * 8 + wire type.
_TRACE_ID, _SPAN_ID, _TRACE_STATE, _ATTRIBUTES = 0x0A, 0x12, 0x1A, 0x4A
_START, _END, _DROPPED, _STATUS = 0x39, 0x41, 0x50, 0x7A
_STATUS_CODE = 0x18
_STATUS_ERROR = 2


@kernel
def _status(buffer: Bytes, position: int, end: int, span: Ints, table: Table, flat: Flat) -> int:
    """Read whether a Status says ERROR; the code is an int32, so the bits above 32 do not count."""
    state, stack = flat.state, flat.stack
    while position < end:
        tag, position = read_tag(buffer, position, end, state)
        if position < 0:
            return -1
        if tag == _STATUS_CODE:
            code, position = read_varint(buffer, position, end, state)
            span[SPAN_ERROR] = int(code & 0xFFFF_FFFF == _STATUS_ERROR)
        else:
            position = skip_field(buffer, position, end, tag, STATUS, ENTRY_DEPTH + 1, table, stack, state)
        if position < 0:
            return -1
    return position


@kernel
def _span_field(buffer: Bytes, position: int, end: int, tag: int, span: Ints, table: Table, flat: Flat) -> int:
    """Read one field of a span other than its attributes; return the position behind it."""
    state, stack = flat.state, flat.stack
    if tag in (_START, _END) and position + 8 <= end:
        span[SPAN_START if tag == _START else SPAN_END] = load64(buffer, position)
        return position + 8
    if tag in (_TRACE_ID, _SPAN_ID):
        begin, stop = read_size(buffer, position, end, state)
        valid = stop >= 0 and valid_id(buffer, begin, stop - begin, 16 if tag == _TRACE_ID else 8)
        span[SPAN_TRACE_ID if tag == _TRACE_ID else SPAN_ID] = begin if valid else -1
        return stop
    if tag == _TRACE_STATE:
        begin, stop = read_size(buffer, position, end, state)
        if stop >= 0:
            if not valid_utf8(buffer, begin, stop - begin):
                return fail(state, begin, UTF8)
            span[SPAN_THRESHOLD] = sampling_threshold(buffer, begin, stop)
        return stop
    if tag == _DROPPED:
        value, position = read_varint(buffer, position, end, state)
        span[SPAN_DROPPED] = value & 0xFFFF_FFFF
        return position
    if tag == _STATUS:
        begin, stop = read_size(buffer, position, end, state)
        return stop if stop < 0 else _status(buffer, begin, stop, span, table, flat)
    return skip_field(buffer, position, end, tag, SPAN, ENTRY_DEPTH, table, stack, state)


@kernel
def decode_span(
    buffer: Bytes,
    position: int,
    end: int,
    scope: int,
    not_after_ns: int,
    naming: Naming,
    table: Table,
    flat: Flat,
) -> int:
    """Decode one span into the next free row, and keep it when it is to be counted."""
    state = flat.state
    if begin_entry(flat, scope, position) < 0:
        return -1
    span = flat.spans[state[SPANS]]
    bearing, begin, ordinal = 0, position, 0
    while position < end:
        tag, position = read_tag(buffer, position, end, state)
        if position < 0:
            return -1
        if tag == _ATTRIBUTES:
            position = read_attribute(buffer, position, end, ordinal, span, naming, table, flat)
            bearing |= flat.positions[ordinal & (POSITIONS - 1), 3]
            ordinal += 1
        else:
            position = _span_field(buffer, position, end, tag, span, table, flat)
        if position < 0:
            return -1
    if end_entry(flat, bearing, ordinal, not_after_ns):
        identify(buffer, flat, begin, end, TRACES)
    return position
