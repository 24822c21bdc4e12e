"""Members of JSON texts as attributes: `{"a": 1, "b": {"c": [2, 3]}}` is `a` and, with two rows, `b.c`."""
# ruff: noqa: PLR0913, PLR2004 - kernels take arrays one by one, and know bytes by value.

import numpy as np
import polars as pl

from driftmeter.columnar.arrays import array_fits, store_array, store_element
from driftmeter.columnar.json_text import (
    LIST,
    LIST_END,
    OBJECT,
    OBJECT_END,
    QUOTE,
    has_escapes,
    skip_number,
    skip_space,
    skip_string,
    skip_value,
    unescape,
)
from driftmeter.columnar.keys import intern_key
from driftmeter.columnar.layout import (
    ARRAY,
    ATTRIBUTE_TYPE,
    ATTRIBUTE_VALUE,
    ATTRIBUTES,
    BOOL,
    DOUBLE,
    EMPTY,
    EXTRAS,
    FULL,
    INT,
    INVALID_JSON,
    KEY_FIELD,
    KEY_ROOM_BYTES,
    KEYS,
    MEMBERS,
    NAME_ROOM,
    NAME_TOO_LONG,
    NAMES_FULL,
    NESTED,
    NUMBER,
    OUT_KEY_OFFSET,
    OUT_LENGTH,
    OUT_TYPE,
    OUT_VALUE,
    STRING,
    TEXT_ROOM,
    TOO_MANY_COLUMNS,
    Flat,
)
from driftmeter.columnar.memory import Bytes, as_int64, load8, store8
from driftmeter.columnar.naming import TARGET_FIELD, TARGET_LENGTH, TARGET_OFFSET, Naming
from driftmeter.columnar.texts import texts_of
from driftmeter.columnar.values import store
from driftmeter.columnar.wire import fail
from driftmeter.model.compiled import kernel

NAME_BYTES_MAX = 1_024
"""Longest name of a column with its prefix, in bytes."""

_COMMA = 0x2C
_DIGITS_EXACT = 18  # Any whole number of so many digits fits into int64.


def room_for_json(size: int) -> int:
    """Bytes of the buffer for a request of `size` bytes: itself, names of columns, unescaped texts."""
    return size + KEY_ROOM_BYTES + size


def read_numbers(buffer: Bytes, flat: Flat) -> None:
    """Give the numbers of all JSON texts their values, as many at a time as there are."""
    attributes = flat.attributes[: flat.state[ATTRIBUTES]]
    rows = np.flatnonzero(attributes[:, ATTRIBUTE_TYPE] == NUMBER)
    if rows.size:
        attributes[rows, ATTRIBUTE_TYPE] = STRING
        texts = pl.Series(texts_of(buffer, attributes, rows))
        attributes[rows, ATTRIBUTE_VALUE] = texts.cast(pl.Float64).to_numpy().view(np.int64)
        attributes[rows, ATTRIBUTE_TYPE] = DOUBLE


@kernel
def read_json(buffer: Bytes, target: int, naming: Naming, flat: Flat) -> int:
    """Make attributes of the JSON text in the OUT words; 0, or -1 when there is no room.

    What is no JSON becomes one attribute that is dropped and counted. Leaves `OUT_KEY_OFFSET` as it is.

    Args:
        buffer: The request.
        target: Row of `naming.targets`.
        naming: Names, and which prefix the members' get.
        flat: Receives attributes and keys.
    """
    state = flat.state
    state[EXTRAS] = 1
    kind, begin, end = state[OUT_TYPE], state[OUT_VALUE], state[OUT_VALUE] + state[OUT_LENGTH]
    special = naming.targets[target, TARGET_FIELD]
    if special >= 0:
        if kind == STRING and end - begin >= 2 and _is_plain_text(buffer, begin, end):
            state[OUT_VALUE], state[OUT_LENGTH] = begin + 1, end - begin - 2
        state[OUT_TYPE] = NESTED if kind == ARRAY else kind
        return _store_out(flat, special)
    if kind == EMPTY:
        return 0
    first = skip_space(buffer, begin, end)
    stop = skip_value(buffer, begin, end) if kind == STRING else -1
    if stop < 0 or skip_space(buffer, stop, end) != end:
        state[OUT_TYPE] = EMPTY
        return _store_out(flat, INVALID_JSON)
    if load8(buffer, first) == OBJECT:
        return _read_object(buffer, first + 1, stop, target, naming, flat)
    return _read_member(buffer, first, stop, -1, -1, target, naming, flat)


@kernel
def _is_plain_text(buffer: Bytes, begin: int, end: int) -> bool:
    """Whether a range is one JSON text without escapes."""
    return (
        load8(buffer, begin) == QUOTE and skip_string(buffer, begin, end) == end and not has_escapes(buffer, begin, end)
    )


@kernel
def _store_out(flat: Flat, field: int) -> int:
    state = flat.state
    row = state[ATTRIBUTES]
    if row >= flat.attributes.shape[0]:
        return fail(state, 0, FULL)
    store(flat.attributes, row, field, state[OUT_TYPE], state[OUT_VALUE], state[OUT_LENGTH])
    state[ATTRIBUTES] = row + 1
    return 0


@kernel
def _read_object(buffer: Bytes, position: int, end: int, target: int, naming: Naming, flat: Flat) -> int:
    """Read the members of a checked object from behind its brace on, and of the objects among their values."""
    outer = -1  # Where the name of the member stands that the current object is the value of.
    while position < end:
        position = skip_space(buffer, position, end)
        byte = load8(buffer, position)
        if byte == OBJECT_END:
            if outer < 0:
                return 0
            outer = -1
            position += 1
        elif byte == _COMMA:
            position += 1
        else:
            name = position
            position = skip_space(buffer, skip_string(buffer, name, end), end)
            position = skip_space(buffer, position + 1, end)  # Behind the colon.
            if load8(buffer, position) == OBJECT and outer < 0:
                outer = name
                position += 1
                continue
            stop = skip_value(buffer, position, end)
            if _read_member(buffer, position, stop, outer, name, target, naming, flat) < 0:
                return -1
            position = stop
    return 0


@kernel
def _read_member(
    buffer: Bytes, position: int, stop: int, outer: int, name: int, target: int, naming: Naming, flat: Flat
) -> int:
    """Make an attribute of one value, whose name stands at `name`, inside the object named at `outer`."""
    state = flat.state
    state[MEMBERS] += 1
    length = _write_name(buffer, outer, name, stop, target, naming, flat)
    if length < 0:
        state[OUT_TYPE] = EMPTY
        return _store_out(flat, length)
    keys = state[KEYS]
    key_row = state[OUT_KEY_OFFSET]
    key = intern_key(buffer, state[NAME_ROOM], length, naming, flat)
    state[OUT_KEY_OFFSET] = key_row
    if key < 0:
        return -1
    if state[KEYS] > keys:
        state[NAME_ROOM] += length
    field = flat.keys[key, KEY_FIELD]
    if field < 0:  # An empty name behind the prefix.
        return 0
    if load8(buffer, position) == LIST:
        return _read_list(buffer, position, stop, field, flat)
    _read_scalar(buffer, position, stop, flat)
    return _store_out(flat, field)


@kernel
def _write_name(buffer: Bytes, outer: int, name: int, end: int, target: int, naming: Naming, flat: Flat) -> int:
    """Write a column's whole name into the free room; its length, or why there is none. A bare value is `value`."""
    state, size = flat.state, naming.targets[target, TARGET_LENGTH]
    start = naming.targets[target, TARGET_OFFSET]
    outer_stop = skip_string(buffer, outer, end) if outer >= 0 else 0
    name_stop = skip_string(buffer, name, end) if name >= 0 else 0
    most = size + (outer_stop - outer if outer >= 0 else 0) + (name_stop - name if name >= 0 else 5)
    begin = to = state[NAME_ROOM]
    if most > 6 * NAME_BYTES_MAX:  # An escape has six bytes for one.
        return NAME_TOO_LONG
    # Names come first in the room behind the request, and texts after them.
    if begin + most > (buffer.size + KEY_ROOM_BYTES) // 2:
        state[NAMES_FULL] = 1
        return TOO_MANY_COLUMNS
    for i in range(size):
        store8(buffer, to + i, load8(naming.text, start + i))
    to += size
    if outer >= 0:
        to = unescape(buffer, outer + 1, outer_stop - 1, to)
        store8(buffer, to, 0x2E)
        to += 1
    if name >= 0:
        to = unescape(buffer, name + 1, name_stop - 1, to)
    else:
        for i in range(5):
            store8(buffer, to + i, load8(naming.text, naming.text.size - 5 + i))
        to += 5
    return int(to - begin) if to - begin <= NAME_BYTES_MAX else NAME_TOO_LONG


@kernel
def _read_list(buffer: Bytes, position: int, stop: int, field: int, flat: Flat) -> int:
    """An array of scalars is an array; one that holds arrays or objects is a value of a wrong type."""
    state, count = flat.state, 0
    row, texts, begin = state[ATTRIBUTES], state[TEXT_ROOM], position
    position = skip_space(buffer, position + 1, stop)
    while load8(buffer, position) != LIST_END:
        byte = load8(buffer, position)
        if byte in (LIST, OBJECT):
            state[TEXT_ROOM] = texts
            state[OUT_TYPE], state[OUT_VALUE], state[OUT_LENGTH] = NESTED, begin, stop - begin
            return _store_out(flat, field)
        if byte == _COMMA:
            position = skip_space(buffer, position + 1, stop)
            continue
        after = skip_value(buffer, position, stop)
        _read_scalar(buffer, position, after, flat)
        count += 1
        if array_fits(row, count) and store_element(flat, row + count) < 0:
            return -1
        position = skip_space(buffer, after, stop)
    if row >= flat.attributes.shape[0]:
        return fail(state, 0, FULL)
    store_array(flat, field, count)
    return 0


@kernel
def _read_scalar(buffer: Bytes, position: int, stop: int, flat: Flat) -> None:
    """Put a checked value into the OUT words; an object is a value of a wrong type."""
    state = flat.state
    byte = load8(buffer, position)
    state[OUT_VALUE], state[OUT_LENGTH] = position, stop - position
    if byte == QUOTE:
        state[OUT_TYPE] = STRING
        begin, end = position + 1, stop - 1
        if has_escapes(buffer, begin, end):
            begin = state[TEXT_ROOM]
            end = state[TEXT_ROOM] = unescape(buffer, position + 1, stop - 1, begin)
        state[OUT_VALUE], state[OUT_LENGTH] = begin, end - begin
    elif byte == OBJECT:
        state[OUT_TYPE] = NESTED
    elif byte in (0x74, 0x66):  # true, false
        state[OUT_TYPE], state[OUT_VALUE] = BOOL, int(byte == 0x74)
    elif byte == 0x6E:  # null
        state[OUT_TYPE] = EMPTY
    elif byte == 0x4E:
        state[OUT_TYPE], state[OUT_VALUE] = DOUBLE, as_int64(np.nan)
    elif byte == 0x49 or load8(buffer, position + 1) == 0x49:
        state[OUT_TYPE], state[OUT_VALUE] = DOUBLE, as_int64(np.inf if byte == 0x49 else -np.inf)
    elif skip_number(buffer, position, stop)[1] and stop - position <= _DIGITS_EXACT:
        state[OUT_TYPE], state[OUT_VALUE] = INT, _whole(buffer, position, stop)
    else:
        state[OUT_TYPE] = NUMBER


@kernel
def _whole(buffer: Bytes, position: int, stop: int) -> int:
    negative = load8(buffer, position) == 0x2D
    value = 0
    for i in range(position + int(negative), stop):
        value = value * 10 + load8(buffer, i) - 0x30
    return -value if negative else value
