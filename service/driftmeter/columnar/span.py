"""One span into a row of `Flat.spans` and its attributes into rows of `Flat.attributes`."""
# ruff: noqa: PLR0913, PLR0911
# Kernels: they take arrays one by one, leave at the first fault, and know tags by number.

from driftmeter.columnar.attributes import span_attribute
from driftmeter.columnar.identity import sampling_threshold, span_key, valid_id
from driftmeter.columnar.layout import (
    ATTRIBUTE_LENGTH,
    ATTRIBUTE_TYPE,
    ATTRIBUTES,
    DOUBLE,
    EMPTY,
    FULL,
    FUTURE,
    IDENTITY_TOO_LONG,
    IGNORED,
    MODEL,
    NO_TIMESTAMP,
    POSITIONS,
    RECEIVED,
    SCOPE_BEARING,
    SCOPE_SPECIAL,
    SPAN_DROPPED,
    SPAN_END,
    SPAN_ERROR,
    SPAN_FIRST,
    SPAN_ID,
    SPAN_KEY,
    SPAN_SCOPE,
    SPAN_SPECIAL,
    SPAN_START,
    SPAN_STOP,
    SPAN_THRESHOLD,
    SPAN_TRACE_ID,
    SPANS,
    SPECIALS,
    STAGE,
    STRING,
    UTF8,
    Flat,
    Ints,
)
from driftmeter.columnar.memory import Bytes, load64, valid_utf8
from driftmeter.columnar.naming import Naming
from driftmeter.columnar.schema import SPAN, STATUS, Table
from driftmeter.columnar.wire import fail, read_size, read_tag, read_varint, skip_field
from driftmeter.model.compiled import kernel

# Tags of the fields that are read: field number * 8 + wire type.
_TRACE_ID, _SPAN_ID, _TRACE_STATE, _ATTRIBUTES = 0x0A, 0x12, 0x1A, 0x4A
_START, _END, _DROPPED, _STATUS = 0x39, 0x41, 0x50, 0x7A
_STATUS_CODE = 0x18
_STATUS_ERROR = 2
SPAN_DEPTH = 3
"""Level of a span below the request, its resource spans and its scope spans."""

IDENTITY_BYTES_MAX = 256
"""Longest name of a model, version or stage: they stand in every series of every request that goes out."""


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
            position = skip_field(buffer, position, end, tag, STATUS, SPAN_DEPTH + 1, table, stack, state)
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
    return skip_field(buffer, position, end, tag, SPAN, SPAN_DEPTH, table, stack, state)


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
    row = state[SPANS]
    if row >= flat.spans.shape[0]:
        return fail(state, position, FULL)
    span, owner = flat.spans[row], flat.scopes[scope]
    span[:] = 0
    span[SPAN_TRACE_ID] = span[SPAN_ID] = -1
    for special in range(SPECIALS):
        span[SPAN_SPECIAL + special] = owner[SCOPE_SPECIAL + special]
    bearing = owner[SCOPE_BEARING]
    first = state[ATTRIBUTES]
    begin, ordinal = position, 0
    while position < end:
        tag, position = read_tag(buffer, position, end, state)
        if position < 0:
            return -1
        if tag == _ATTRIBUTES:
            row = state[ATTRIBUTES]
            position = span_attribute(buffer, position, end, ordinal, SPAN_DEPTH + 1, naming, table, flat)
            place = ordinal & (POSITIONS - 1)
            ordinal += 1
            field = flat.positions[place, 2]
            if 0 <= field < SPECIALS:
                span[SPAN_SPECIAL + field] = row
            bearing |= flat.positions[place, 3]
        else:
            position = _span_field(buffer, position, end, tag, span, table, flat)
        if position < 0:
            return -1
    span[SPAN_FIRST], span[SPAN_STOP], span[SPAN_SCOPE] = first, state[ATTRIBUTES], scope
    state[RECEIVED] += 1
    refusal = _refusal(flat, span, bearing, not_after_ns)
    if refusal:
        state[refusal] += 1
        state[ATTRIBUTES] = first
        return position
    span[SPAN_KEY] = span_key(buffer, span[SPAN_TRACE_ID], span[SPAN_ID], begin, end)
    state[SPANS] += 1
    return position


@kernel
def _refusal(flat: Flat, span: Ints, bearing: int, not_after_ns: int) -> int:
    """The counter of the state that a span not to be kept belongs to; 0 for a span to be kept."""
    model = span[SPAN_SPECIAL + MODEL]
    if bearing == 0 or model < 0:
        return IGNORED
    kind = flat.attributes[model, ATTRIBUTE_TYPE]
    if kind == EMPTY or kind > DOUBLE or (kind == STRING and flat.attributes[model, ATTRIBUTE_LENGTH] == 0):
        return IGNORED
    if span[SPAN_END] == 0:
        return NO_TIMESTAMP
    # The time is unsigned on the wire: what does not fit into int64 is a far future.
    if span[SPAN_END] < 0 or span[SPAN_END] > not_after_ns:
        return FUTURE
    for part in range(MODEL, STAGE + 1):
        value = span[SPAN_SPECIAL + part]
        if (
            value >= 0
            and flat.attributes[value, ATTRIBUTE_TYPE] == STRING
            and flat.attributes[value, ATTRIBUTE_LENGTH] > IDENTITY_BYTES_MAX
        ):
            return IDENTITY_TOO_LONG
    return 0
