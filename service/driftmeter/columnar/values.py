"""AnyValue messages: scalars, and arrays that are checked here and read by `arrays`."""
# ruff: noqa: PLR0911, PLR0912, PLR2004, C901
# Kernels: they take arrays one by one, leave at the first fault, and know tags by number.

from driftmeter.columnar.layout import (
    ARRAY,
    ATTRIBUTE_FIELD,
    ATTRIBUTE_LENGTH,
    ATTRIBUTE_TYPE,
    ATTRIBUTE_VALUE,
    BOOL,
    BYTES,
    DOUBLE,
    INT,
    NESTED,
    OUT_LENGTH,
    OUT_TYPE,
    OUT_VALUE,
    REFERENCE,
    STRING,
    UTF8,
    Flat,
    Ints,
)
from driftmeter.columnar.memory import Bytes, load8, load64, valid_utf8
from driftmeter.columnar.schema import ANY_VALUE, MESSAGE, Table
from driftmeter.columnar.wire import (
    DELIMITED,
    FIXED64,
    VARINT_TYPE,
    fail,
    read_size,
    read_tag,
    read_varint,
    skip_field,
    walk,
)
from driftmeter.model.compiled import inlined, kernel

_STRING_VALUE, _BOOL_VALUE, _INT_VALUE, _DOUBLE_VALUE = 1, 2, 3, 4  # Fields of AnyValue by number.
_ARRAY_VALUE, _MAP_VALUE, _BYTES_VALUE, _REFERENCE_VALUE = 5, 6, 7, 8


@inlined
def store(attributes: Ints, row: int, field: int, kind: int, value: int, length: int) -> None:
    """Write one attribute."""
    attributes[row, ATTRIBUTE_FIELD] = field
    attributes[row, ATTRIBUTE_TYPE] = kind
    attributes[row, ATTRIBUTE_VALUE] = value
    attributes[row, ATTRIBUTE_LENGTH] = length


@inlined
def usual_scalar(buffer: Bytes, position: int, stop: int, state: Ints) -> bool:
    """Try the form in which every exporter writes a scalar of less than 128 bytes: tag, length of a text, value.

    Args:
        buffer: The request.
        position: First byte of the AnyValue.
        stop: Its end, at least two bytes later.
        state: Receives what was read in its OUT words.

    Returns:
        Whether it has that form and is right. Otherwise it has another form, right or wrong.
    """
    tag = load8(buffer, position)
    if tag == 0x21 and position + 9 == stop:
        state[OUT_TYPE], state[OUT_VALUE] = DOUBLE, load64(buffer, position + 1)
    elif tag == 0x0A and load8(buffer, position + 1) == stop - position - 2:
        if not valid_utf8(buffer, position + 2, stop - position - 2):
            return False
        state[OUT_TYPE], state[OUT_VALUE], state[OUT_LENGTH] = STRING, position + 2, stop - position - 2
    elif tag in (0x18, 0x10):
        number, after = read_varint(buffer, position + 1, stop, state)
        if after != stop:
            return False
        state[OUT_TYPE] = INT if tag == 0x18 else BOOL
        state[OUT_VALUE] = number if tag == 0x18 else int(number != 0)
    else:
        return False
    return True


@inlined
def usual_element(buffer: Bytes, position: int, end: int, state: Ints) -> int:
    """Try the usual form of an element of an array; return the position behind it, or -1 for another form."""
    if position + 4 > end or load8(buffer, position) != 0x0A:
        return -1
    size = load8(buffer, position + 1)
    stop = position + 2 + size
    if size >= 0x80 or size < 2 or stop > end or not usual_scalar(buffer, position + 2, stop, state):
        return -1
    return stop


@kernel
def _usual_array(buffer: Bytes, position: int, end: int, state: Ints) -> bool:
    """Whether all elements of an ArrayValue have the usual form, and so are right."""
    while 0 <= position < end:
        position = usual_element(buffer, position, end, state)
    return position >= 0


@kernel
def parse_value(buffer: Bytes, position: int, end: int, depth: int, table: Table, flat: Flat) -> int:
    """Read an AnyValue into the OUT words of the state, on top of what an earlier one of the same attribute left."""
    state, stack = flat.state, flat.stack
    while position < end:
        tag, position = read_tag(buffer, position, end, state)
        if position < 0:
            return -1
        wire, number = tag & 7, tag >> 3
        if wire == VARINT_TYPE and number in (_BOOL_VALUE, _INT_VALUE, _REFERENCE_VALUE):
            value, position = read_varint(buffer, position, end, state)
            if position < 0:
                return -1
            state[OUT_TYPE] = BOOL if number == _BOOL_VALUE else INT if number == _INT_VALUE else REFERENCE
            state[OUT_VALUE] = int(value != 0) if number == _BOOL_VALUE else value
        elif wire == FIXED64 and number == _DOUBLE_VALUE and position + 8 <= end:
            state[OUT_TYPE], state[OUT_VALUE] = DOUBLE, load64(buffer, position)
            position += 8
        elif wire == DELIMITED and number in (_STRING_VALUE, _BYTES_VALUE):
            begin, position = read_size(buffer, position, end, state)
            if position < 0:
                return -1
            if number == _STRING_VALUE and not valid_utf8(buffer, begin, position - begin):
                return fail(state, begin, UTF8)
            state[OUT_TYPE] = STRING if number == _STRING_VALUE else BYTES
            state[OUT_VALUE], state[OUT_LENGTH] = begin, position - begin
        elif wire == DELIMITED and number in (_ARRAY_VALUE, _MAP_VALUE):
            begin, position = read_size(buffer, position, end, state)
            if position < 0:
                return -1
            if number == _MAP_VALUE or not _usual_array(buffer, begin, position, state):
                message = table[ANY_VALUE, number] - MESSAGE
                if walk(buffer, begin, position, message, depth + 1, table, stack, state) < 0:
                    return -1
            state[OUT_TYPE] = ARRAY if number == _ARRAY_VALUE else NESTED
        else:
            position = skip_field(buffer, position, end, tag, ANY_VALUE, depth, table, stack, state)
            if position < 0:
                return -1
    return position
