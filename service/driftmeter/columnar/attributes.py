"""Attributes of resources, scopes, spans and log records: wire bytes into rows of `Flat.attributes`."""
# ruff: noqa: PLR0913, PLR2004
# Kernels: they take arrays one by one, leave at the first fault, and know tags by number.

from driftmeter.columnar.arrays import read_array
from driftmeter.columnar.json_members import read_json
from driftmeter.columnar.keys import intern_key, remember
from driftmeter.columnar.layout import (
    ARRAY,
    ATTRIBUTES,
    EMPTY,
    FULL,
    JSON,
    KEY_FIELD,
    NESTED,
    OUT_KEY_LENGTH,
    OUT_KEY_OFFSET,
    OUT_LENGTH,
    OUT_TYPE,
    OUT_VALUE,
    POSITIONS,
    PREDICTION_ID,
    UTF8,
    Flat,
    Ints,
)
from driftmeter.columnar.memory import Bytes, equal, load8, valid_utf8
from driftmeter.columnar.naming import Naming
from driftmeter.columnar.schema import KEY_VALUE, Table
from driftmeter.columnar.values import parse_value, store, usual_scalar
from driftmeter.columnar.wire import DELIMITED, fail, read_size, read_tag, skip_field
from driftmeter.model.compiled import inlined, kernel

_KEY, _VALUE = 1, 2  # Fields of KeyValue by number.


@kernel
def _parse_key_value(buffer: Bytes, position: int, end: int, depth: int, table: Table, flat: Flat) -> int:
    """Read a KeyValue of any form into the OUT words of the state."""
    state, stack = flat.state, flat.stack
    first = position
    state[OUT_KEY_OFFSET], state[OUT_KEY_LENGTH], state[OUT_TYPE] = position, 0, EMPTY
    while position < end:
        tag, position = read_tag(buffer, position, end, state)
        if position < 0:
            return -1
        wire, number = tag & 7, tag >> 3
        if wire == DELIMITED and number in (_KEY, _VALUE):
            begin, position = read_size(buffer, position, end, state)
            if position < 0:
                return -1
            if number == _VALUE:
                if parse_value(buffer, begin, position, depth + 1, table, flat) < 0:
                    return -1
            elif valid_utf8(buffer, begin, position - begin):
                state[OUT_KEY_OFFSET], state[OUT_KEY_LENGTH] = begin, position - begin
            else:
                return fail(state, begin, UTF8)
        else:
            position = skip_field(buffer, position, end, tag, KEY_VALUE, depth, table, stack, state)
            if position < 0:
                return -1
    if state[OUT_TYPE] in (NESTED, ARRAY):
        state[OUT_VALUE], state[OUT_LENGTH] = first, end - first
    return position


@kernel
def any_attribute(buffer: Bytes, position: int, end: int, depth: int, naming: Naming, table: Table, flat: Flat) -> int:
    """Decode the KeyValue whose length stands at `position`, whatever its form; return the position behind it.

    The attribute becomes row `state[ATTRIBUTES]` of `flat.attributes`, followed by its elements when it is an array;
    members of a JSON text become a row each; a key that means nothing none. Its key's row is left in
    `state[OUT_KEY_OFFSET]`.
    """
    state = flat.state
    begin, stop = read_size(buffer, position, end, state)
    if stop < 0 or _parse_key_value(buffer, begin, stop, depth, table, flat) < 0:
        return -1
    key = intern_key(buffer, state[OUT_KEY_OFFSET], state[OUT_KEY_LENGTH], naming, flat)
    if key < 0:
        return -1
    state[OUT_KEY_OFFSET] = key
    field = flat.keys[key, KEY_FIELD]
    if field <= JSON:
        return stop if read_json(buffer, JSON - field, naming, flat) >= 0 else -1
    if field >= 0:
        row = state[ATTRIBUTES]
        if row >= flat.attributes.shape[0]:
            return fail(state, position, FULL)
        if state[OUT_TYPE] == ARRAY and field >= PREDICTION_ID:
            return stop if read_array(buffer, begin, stop, depth, field, table, flat) >= 0 else -1
        kind = NESTED if state[OUT_TYPE] == ARRAY else state[OUT_TYPE]
        store(flat.attributes, row, field, kind, state[OUT_VALUE], state[OUT_LENGTH])
        state[ATTRIBUTES] = row + 1
    return stop


@inlined
def usual_attribute(buffer: Bytes, position: int, end: int, state: Ints) -> int:
    """Try the form in which every exporter writes a scalar attribute; return the position behind it, or -1.

    Length, tag and length of the key, the key, tag and length of the value, tag of the scalar, the scalar; every
    length below 128. -1 says that it has another form, right or wrong. The OUT words hold what was read; the key's
    text is not checked yet.
    """
    if position >= end:
        return -1
    size = load8(buffer, position)
    key = position + 3
    stop = position + 1 + size
    if size >= 0x80 or size < 6 or stop > end or load8(buffer, position + 1) != 0x0A:
        return -1
    key_length = load8(buffer, position + 2)
    value = key + key_length
    # Two bytes of the value's header, then the scalar's tag and at least one byte.
    if value + 4 > stop or load8(buffer, value) != 0x12 or load8(buffer, value + 1) != stop - value - 2:
        return -1
    if not usual_scalar(buffer, value + 2, stop, state):
        return -1
    state[OUT_KEY_OFFSET], state[OUT_KEY_LENGTH] = key, key_length
    return stop


@inlined
def span_attribute(
    buffer: Bytes, position: int, end: int, ordinal: int, depth: int, naming: Naming, table: Table, flat: Flat
) -> int:
    """Decode an entry's n-th attribute; entries usually repeat the keys of the one before in the same places."""
    state, positions = flat.state, flat.positions
    stop = usual_attribute(buffer, position, end, state)
    place = ordinal & (POSITIONS - 1)
    if stop < 0:
        stop = any_attribute(buffer, position, end, depth, naming, table, flat)
        if stop >= 0:
            remember(flat, place, state[OUT_KEY_OFFSET])
        return stop
    offset, length = state[OUT_KEY_OFFSET], state[OUT_KEY_LENGTH]
    if length != positions[place, 1] or not equal(buffer, positions[place, 0], offset, length):
        if not valid_utf8(buffer, offset, length):
            return fail(state, offset, UTF8)
        key = intern_key(buffer, offset, length, naming, flat)
        if key < 0:
            return -1
        remember(flat, place, key)
    field = positions[place, 2]
    if field >= 0:
        row = state[ATTRIBUTES]
        if row >= flat.attributes.shape[0]:
            return fail(state, position, FULL)
        store(flat.attributes, row, field, state[OUT_TYPE], state[OUT_VALUE], state[OUT_LENGTH])
        state[ATTRIBUTES] = row + 1
    elif field <= JSON and read_json(buffer, JSON - field, naming, flat) < 0:
        return -1
    return stop
