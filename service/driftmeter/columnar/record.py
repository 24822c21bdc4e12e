"""One log record into a row of `Flat.spans` and its attributes into rows of `Flat.attributes`."""
# ruff: noqa: PLR0913 - kernels take arrays one by one.

from driftmeter.columnar.entry import ENTRY_DEPTH, begin_entry, end_entry, read_attribute
from driftmeter.columnar.identity import identify, valid_id
from driftmeter.columnar.layout import (
    POSITIONS,
    SPAN_DROPPED,
    SPAN_END,
    SPAN_ID,
    SPAN_START,
    SPAN_TRACE_ID,
    SPANS,
    Flat,
    Ints,
)
from driftmeter.columnar.memory import Bytes, load64
from driftmeter.columnar.naming import Naming
from driftmeter.columnar.schema import LOG_RECORD, LOGS, Table
from driftmeter.columnar.wire import read_size, read_tag, read_varint, skip_field
from driftmeter.model.compiled import kernel

# Tags of the fields that are read: field number * 8 + wire type.
_TIME, _ATTRIBUTES, _DROPPED, _TRACE_ID, _SPAN_ID, _OBSERVED = 0x09, 0x32, 0x38, 0x4A, 0x52, 0x59


@kernel
def _record_field(buffer: Bytes, position: int, end: int, tag: int, record: Ints, table: Table, flat: Flat) -> int:
    """Read one field other than the attributes; return the position behind it. `SPAN_START` is when it was seen."""
    state, stack = flat.state, flat.stack
    if tag in (_TIME, _OBSERVED) and position + 8 <= end:
        record[SPAN_END if tag == _TIME else SPAN_START] = load64(buffer, position)
        return position + 8
    if tag in (_TRACE_ID, _SPAN_ID):
        begin, stop = read_size(buffer, position, end, state)
        valid = stop >= 0 and valid_id(buffer, begin, stop - begin, 16 if tag == _TRACE_ID else 8)
        record[SPAN_TRACE_ID if tag == _TRACE_ID else SPAN_ID] = begin if valid else -1
        return stop
    if tag == _DROPPED:
        value, position = read_varint(buffer, position, end, state)
        record[SPAN_DROPPED] = value & 0xFFFF_FFFF
        return position
    return skip_field(buffer, position, end, tag, LOG_RECORD, ENTRY_DEPTH, table, stack, state)


@kernel
def decode_record(
    buffer: Bytes,
    position: int,
    end: int,
    scope: int,
    not_after_ns: int,
    naming: Naming,
    table: Table,
    flat: Flat,
) -> int:
    """Decode one log record into the next free row, and keep it when it is to be counted.

    Its time is when it happened, or when it was first seen. It has no duration, no status and no weight; its body is
    checked and not looked at.
    """
    state = flat.state
    if begin_entry(flat, scope, position) < 0:
        return -1
    record = flat.spans[state[SPANS]]
    bearing, begin, ordinal = 0, position, 0
    while position < end:
        tag, position = read_tag(buffer, position, end, state)
        if position < 0:
            return -1
        if tag == _ATTRIBUTES:
            position = read_attribute(buffer, position, end, ordinal, record, naming, table, flat)
            bearing |= flat.positions[ordinal & (POSITIONS - 1), 3]
            ordinal += 1
        else:
            position = _record_field(buffer, position, end, tag, record, table, flat)
        if position < 0:
            return -1
    if record[SPAN_END] == 0:
        record[SPAN_END] = record[SPAN_START]
    record[SPAN_START] = 0
    if end_entry(flat, bearing, ordinal, not_after_ns):
        identify(buffer, flat, begin, end, LOGS)
    return position
