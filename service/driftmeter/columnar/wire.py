"""Protobuf's wire format: tags, numbers, lengths, and walking over messages that only have to be valid.

Accepts and refuses exactly what protobuf's own C parser (upb) does. What is less than obvious about that: a tag has at
most 5 bytes and 32 bits, a length at most 5 bytes and 31 bits, a number at most 10 bytes with the bits above 64
ignored; field number 0 is refused except inside unknown groups; messages and groups nest 100 levels below the request;
texts of known fields are UTF-8 even when a later field overwrites them; a known field with another wire type is an
unknown field.

Every function that can fail returns -1 as the position and leaves offset and reason in `state`.
"""
# ruff: noqa: PLR0913, PLR0911, PLR0912, PLR2004, C901
# Kernels: they take arrays one by one, leave at the first fault, and know bytes by value.

from driftmeter.columnar.layout import (
    DEPTH,
    ERROR_OFFSET,
    ERROR_REASON,
    GROUP,
    TAG,
    TRUNCATED,
    UTF8,
    VARINT,
    Ints,
)
from driftmeter.columnar.memory import Bytes, load8, valid_utf8
from driftmeter.columnar.schema import FIELDS_MAX, MESSAGE, TEXT, UNKNOWN, Table
from driftmeter.model.compiled import inlined, kernel

VARINT_TYPE, FIXED64, DELIMITED, START_GROUP, END_GROUP, FIXED32 = range(6)
"""Wire types."""

_DEPTH_MAX = 100
_TAG_MAX = 0xFFFF_FFFF
_SIZE_MAX = 0x7FFF_FFFF


@inlined
def fail(state: Ints, position: int, reason: int) -> int:
    """Note the first fault and return -1."""
    state[ERROR_OFFSET] = position
    state[ERROR_REASON] = reason
    return -1


@kernel
def _read_long(buffer: Bytes, position: int, end: int, bytes_max: int) -> tuple[int, int]:
    value = 0
    for i in range(bytes_max):
        if position + i >= end:
            return 0, -1
        byte = load8(buffer, position + i)
        value |= (byte & 0x7F) << (7 * i)
        if byte < 0x80:
            return value, position + i + 1
    return 0, -1


@inlined
def read_varint(buffer: Bytes, position: int, end: int, state: Ints) -> tuple[int, int]:
    """A number as the bits of an int64, and the position behind it."""
    if position < end:
        byte = load8(buffer, position)
        if byte < 0x80:
            return byte, position + 1
    value, after = _read_long(buffer, position, end, 10)
    if after < 0:
        return 0, fail(state, position, VARINT)
    return value, after


@inlined
def read_tag(buffer: Bytes, position: int, end: int, state: Ints) -> tuple[int, int]:
    """A tag (field number * 8 + wire type), and the position behind it."""
    if position < end:
        byte = load8(buffer, position)
        if byte < 0x80:
            return byte, position + 1
    value, after = _read_long(buffer, position, end, 5)
    if after < 0 or value > _TAG_MAX:
        return 0, fail(state, position, TAG)
    return value, after


@inlined
def read_size(buffer: Bytes, position: int, end: int, state: Ints) -> tuple[int, int]:
    """Begin and end of the bytes whose length stands at `position`; the end is -1 when they do not fit."""
    if position < end:
        byte = load8(buffer, position)
        if byte < 0x80:
            if position + 1 + byte <= end:
                return position + 1, position + 1 + byte
            return 0, fail(state, position, TRUNCATED)
    size, begin = _read_long(buffer, position, end, 5)
    if begin < 0 or size > _SIZE_MAX or begin + size > end:
        return 0, fail(state, position, TRUNCATED)
    return begin, begin + size


@kernel
def skip_scalar(buffer: Bytes, position: int, end: int, wire: int, state: Ints) -> int:
    """Position behind a number of the given wire type."""
    if wire == VARINT_TYPE:
        return read_varint(buffer, position, end, state)[1]
    if wire == FIXED64:
        return position + 8 if position + 8 <= end else fail(state, position, TRUNCATED)
    if wire == FIXED32:
        return position + 4 if position + 4 <= end else fail(state, position, TRUNCATED)
    return fail(state, position, TAG)


@inlined
def kind_of(table: Table, message: int, number: int) -> int:
    """What a field of a message holds; everything in a group is unknown."""
    if message < 0 or number >= FIELDS_MAX:
        return UNKNOWN
    return int(table[message, number])


@kernel
def walk(
    buffer: Bytes, position: int, end: int, message: int, depth: int, table: Table, stack: Ints, state: Ints
) -> int:
    """Check a message, or the rest of a group, with everything in it; return the position behind it.

    Args:
        buffer: The request.
        position: First byte of the content.
        end: Where the message ends; for a group, where the message around it ends.
        message: Row of `table`; `-1 - number` for a group with that field number.
        depth: Level below the request, which is 0.
        table: From `build_table`.
        stack: Room for the messages around the current one, shape (101, 2).
        state: Faults go here.
    """
    base = depth
    if depth > _DEPTH_MAX:
        return fail(state, position, DEPTH)
    while True:
        if position == end and message < 0:
            return fail(state, position, GROUP)
        closed = position == end
        if not closed:
            start = position
            tag, position = read_tag(buffer, position, end, state)
            if position < 0:
                return -1
            wire, number = tag & 7, tag >> 3
            closed = wire == END_GROUP
            if closed and message != -1 - number:
                return fail(state, start, GROUP)
        if closed:
            if depth == base:
                return position
            depth, end, message = depth - 1, stack[depth - 1, 0], stack[depth - 1, 1]
            continue
        if number == 0 and message >= 0:
            return fail(state, start, TAG)
        inner_end, inner = -1, 0
        if wire == DELIMITED:
            position, stop = read_size(buffer, position, end, state)
            if stop < 0:
                return -1
            kind = kind_of(table, message, number)
            if kind == TEXT and not valid_utf8(buffer, position, stop - position):
                return fail(state, position, UTF8)
            inner_end, inner = (stop, kind - MESSAGE) if kind >= MESSAGE else (-1, 0)
            position = position if kind >= MESSAGE else stop
        elif wire == START_GROUP:
            inner_end, inner = end, -1 - number
        else:
            position = skip_scalar(buffer, position, end, wire, state)
            if position < 0:
                return -1
        if inner_end >= 0:
            if depth == _DEPTH_MAX:
                return fail(state, position, DEPTH)
            stack[depth, 0], stack[depth, 1] = end, message
            depth, end, message = depth + 1, inner_end, inner


@kernel
def skip_field(
    buffer: Bytes, position: int, end: int, tag: int, message: int, depth: int, table: Table, stack: Ints, state: Ints
) -> int:
    """Check one field whose tag was read and whose content is not needed; return the position behind it.

    `message` and `depth` are those of the message the field stands in.
    """
    wire, number = tag & 7, tag >> 3
    if number == 0:
        return fail(state, position, TAG)
    if wire == DELIMITED:
        begin, stop = read_size(buffer, position, end, state)
        if stop < 0:
            return -1
        kind = kind_of(table, message, number)
        if kind >= MESSAGE:
            return walk(buffer, begin, stop, kind - MESSAGE, depth + 1, table, stack, state)
        if kind == TEXT and not valid_utf8(buffer, begin, stop - begin):
            return fail(state, begin, UTF8)
        return stop
    if wire == START_GROUP:
        return walk(buffer, position, end, -1 - number, depth + 1, table, stack, state)
    if wire == END_GROUP:
        return fail(state, position, GROUP)
    return skip_scalar(buffer, position, end, wire, state)
