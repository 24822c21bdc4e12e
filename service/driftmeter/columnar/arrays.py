"""Arrays in attributes: their elements into rows of `Flat.attributes` behind the array's own."""
# ruff: noqa: PLR0913 - kernels take arrays one by one.

from driftmeter.columnar.layout import (
    ARRAY,
    ATTRIBUTES,
    ATTRIBUTES_MAX,
    ELEMENT,
    ELEMENTS_MAX,
    EMPTY,
    EXTRAS,
    FULL,
    NESTED,
    OUT_LENGTH,
    OUT_TYPE,
    OUT_VALUE,
    Flat,
)
from driftmeter.columnar.memory import Bytes
from driftmeter.columnar.schema import ANY_VALUE, ARRAY_VALUE, KEY_VALUE, Table
from driftmeter.columnar.values import parse_value, store, usual_element
from driftmeter.columnar.wire import fail, read_size, read_tag, skip_field
from driftmeter.model.compiled import kernel

_VALUE, _ARRAY, _ELEMENTS = 0x12, 0x2A, 0x0A  # Tags: field number * 8 + wire type.
_SCALAR_TAGS = (0x0A, 0x10, 0x18, 0x21, 0x32, 0x3A, 0x40)
"""Other members of AnyValue's oneof: each takes away what an array before it held."""


@kernel
def store_element(flat: Flat, row: int) -> int:
    """Write the OUT words as the element in `row`; 0, or -1 when the rows are used up."""
    if row >= flat.attributes.shape[0]:
        flat.state[ATTRIBUTES] = flat.attributes.shape[0]  # Says where room is wanted.
        return fail(flat.state, 0, FULL)
    state = flat.state
    store(flat.attributes, row, ELEMENT, state[OUT_TYPE], state[OUT_VALUE], state[OUT_LENGTH])
    return 0


@kernel
def store_array(flat: Flat, field: int, count: int) -> None:
    """Write the array whose `count` elements were stored behind the first free row of attributes."""
    state = flat.state
    row = state[ATTRIBUTES]
    kept = array_fits(row, count)
    store(flat.attributes, row, field, ARRAY, row + 1 if kept else -1, count)
    state[ATTRIBUTES] = row + 1 + (count if kept else 0)
    state[EXTRAS] = 1


@kernel
def array_fits(row: int, count: int) -> bool:
    """Whether an array in `row` with so many elements is kept."""
    return bool(count <= ELEMENTS_MAX and row + count < ATTRIBUTES_MAX)


@kernel
def read_array(buffer: Bytes, position: int, end: int, depth: int, field: int, table: Table, flat: Flat) -> int:
    """Read a KeyValue that was checked and holds an array, once more; 0, or -1 when the rows are used up.

    Several values of one KeyValue are one AnyValue, whose arrays are one array unless something else stands between.
    """
    state, count = flat.state, 0
    while position < end:
        tag, position = read_tag(buffer, position, end, state)
        if tag == _VALUE:
            begin, position = read_size(buffer, position, end, state)
            count = _read_value(buffer, begin, position, depth + 1, count, table, flat)
            if count < 0:
                return -1
        else:
            position = skip_field(buffer, position, end, tag, KEY_VALUE, depth, table, flat.stack, state)
    store_array(flat, field, count)
    return 0


@kernel
def _read_value(buffer: Bytes, position: int, end: int, depth: int, count: int, table: Table, flat: Flat) -> int:
    """Number of elements after this AnyValue, `count` before it."""
    state = flat.state
    while position < end:
        tag, position = read_tag(buffer, position, end, state)
        if tag == _ARRAY:
            begin, position = read_size(buffer, position, end, state)
            count = _read_elements(buffer, begin, position, depth + 1, count, table, flat)
            if count < 0:
                return -1
        else:
            count = 0 if tag in _SCALAR_TAGS else count
            position = skip_field(buffer, position, end, tag, ANY_VALUE, depth, table, flat.stack, state)
    return count


@kernel
def _read_elements(buffer: Bytes, position: int, end: int, depth: int, count: int, table: Table, flat: Flat) -> int:
    """Number of elements after this ArrayValue, `count` before it."""
    state = flat.state
    row = state[ATTRIBUTES]
    while position < end:
        after = usual_element(buffer, position, end, state)
        if after < 0:
            tag, position = read_tag(buffer, position, end, state)
            if tag != _ELEMENTS:
                position = skip_field(buffer, position, end, tag, ARRAY_VALUE, depth, table, flat.stack, state)
                continue
            begin, after = read_size(buffer, position, end, state)
            state[OUT_TYPE] = EMPTY
            parse_value(buffer, begin, after, depth + 1, table, flat)
            if state[OUT_TYPE] in (NESTED, ARRAY):
                state[OUT_TYPE], state[OUT_VALUE], state[OUT_LENGTH] = NESTED, begin, after - begin
        position = after
        count += 1
        if array_fits(row, count) and store_element(flat, row + count) < 0:
            return -1
    return count
