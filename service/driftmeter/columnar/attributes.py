"""Attributes of resources, scopes and spans: wire bytes into rows of `Flat.attributes`."""
# ruff: noqa: PLR0913, PLR0911, PLR2004, C901
# Kernels: they take arrays one by one, leave at the first fault, and know tags by number.

from driftmeter.columnar.layout import (
    ATTRIBUTE_FIELD,
    ATTRIBUTE_LENGTH,
    ATTRIBUTE_TYPE,
    ATTRIBUTE_VALUE,
    ATTRIBUTES,
    BOOL,
    BYTES,
    DOUBLE,
    EMPTY,
    FIELDS,
    FULL,
    INT,
    KEY_BEARING,
    KEY_FIELD,
    KEY_HASH,
    KEY_LENGTH,
    KEY_OF_FIELD,
    KEY_OFFSET,
    KEYS,
    NESTED,
    OUT_KEY_LENGTH,
    OUT_KEY_OFFSET,
    OUT_LENGTH,
    OUT_TYPE,
    OUT_VALUE,
    POSITIONS,
    REFERENCE,
    SEED,
    STRING,
    UTF8,
    Flat,
    Ints,
)
from driftmeter.columnar.memory import Bytes, equal, hash_bytes, load8, load64, valid_utf8
from driftmeter.columnar.naming import Naming, classify
from driftmeter.columnar.schema import ANY_VALUE, KEY_VALUE, MESSAGE, Table
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

_VALUE = 2  # Fields of KeyValue and AnyValue by number.
_KEY = 1
_STRING_VALUE, _BOOL_VALUE, _INT_VALUE, _DOUBLE_VALUE = 1, 2, 3, 4
_ARRAY_VALUE, _MAP_VALUE, _BYTES_VALUE, _REFERENCE_VALUE = 5, 6, 7, 8


@kernel
def intern_key(buffer: Bytes, offset: int, length: int, naming: Naming, flat: Flat) -> int:
    """Row of a key in `flat.keys`, new keys being classified by `naming`; -1 when there is no room."""
    keys, slots, state = flat.keys, flat.slots, flat.state
    hashed = hash_bytes(buffer, offset, length, state[SEED])
    mask = slots.size - 1
    slot = hashed & mask
    while slots[slot] >= 0:
        key = slots[slot]
        if (
            keys[key, KEY_HASH] == hashed
            and keys[key, KEY_LENGTH] == length
            and equal(buffer, keys[key, KEY_OFFSET], offset, length)
        ):
            return int(key)
        slot = (slot + 1) & mask
    key = state[KEYS]
    if 2 * (key + 1) > slots.size:
        return fail(state, offset, FULL)
    state[KEYS] = key + 1
    slots[slot] = key
    field, bearing = classify(buffer, offset, length, naming)
    if field < 0 and bearing >= 0:  # A column: the next number.
        field = state[FIELDS]
        state[FIELDS] = field + 1
    keys[key, KEY_HASH], keys[key, KEY_OFFSET], keys[key, KEY_LENGTH] = hashed, offset, length
    keys[key, KEY_FIELD], keys[key, KEY_BEARING] = field, max(bearing, 0)
    if field >= 0:
        keys[field, KEY_OF_FIELD] = key
    return int(key)


@kernel
def _parse_value(buffer: Bytes, position: int, end: int, depth: int, table: Table, flat: Flat) -> int:
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
            message = table[ANY_VALUE, number] - MESSAGE
            if position < 0 or walk(buffer, begin, position, message, depth + 1, table, stack, state) < 0:
                return -1
            state[OUT_TYPE] = NESTED
        else:
            position = skip_field(buffer, position, end, tag, ANY_VALUE, depth, table, stack, state)
            if position < 0:
                return -1
    return position


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
                if _parse_value(buffer, begin, position, depth + 1, table, flat) < 0:
                    return -1
            elif valid_utf8(buffer, begin, position - begin):
                state[OUT_KEY_OFFSET], state[OUT_KEY_LENGTH] = begin, position - begin
            else:
                return fail(state, begin, UTF8)
        else:
            position = skip_field(buffer, position, end, tag, KEY_VALUE, depth, table, stack, state)
            if position < 0:
                return -1
    if state[OUT_TYPE] == NESTED:
        state[OUT_VALUE], state[OUT_LENGTH] = first, end - first
    return position


@kernel
def any_attribute(buffer: Bytes, position: int, end: int, depth: int, naming: Naming, table: Table, flat: Flat) -> int:
    """Decode the KeyValue whose length stands at `position`, whatever its form; return the position behind it.

    The attribute becomes row `state[ATTRIBUTES]` of `flat.attributes`, or none when its key means nothing.
    Its key's row is left in `state[OUT_KEY_OFFSET]`.
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
    if field >= 0:
        row = state[ATTRIBUTES]
        if row >= flat.attributes.shape[0]:
            return fail(state, position, FULL)
        store(flat.attributes, row, field, state[OUT_TYPE], state[OUT_VALUE], state[OUT_LENGTH])
        state[ATTRIBUTES] = row + 1
    return stop


@inlined
def store(attributes: Ints, row: int, field: int, kind: int, value: int, length: int) -> None:
    """Write one attribute."""
    attributes[row, ATTRIBUTE_FIELD] = field
    attributes[row, ATTRIBUTE_TYPE] = kind
    attributes[row, ATTRIBUTE_VALUE] = value
    attributes[row, ATTRIBUTE_LENGTH] = length


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
    tag = load8(buffer, value + 2)
    if tag == 0x21 and value + 11 == stop:
        state[OUT_TYPE], state[OUT_VALUE] = DOUBLE, load64(buffer, value + 3)
    elif tag == 0x0A and load8(buffer, value + 3) == stop - value - 4:
        if not valid_utf8(buffer, value + 4, stop - value - 4):
            return -1
        state[OUT_TYPE], state[OUT_VALUE], state[OUT_LENGTH] = STRING, value + 4, stop - value - 4
    elif tag in (0x18, 0x10):
        number, after = read_varint(buffer, value + 3, stop, state)
        if after != stop:
            return -1
        state[OUT_TYPE] = INT if tag == 0x18 else BOOL
        state[OUT_VALUE] = number if tag == 0x18 else int(number != 0)
    else:
        return -1
    state[OUT_KEY_OFFSET], state[OUT_KEY_LENGTH] = key, key_length
    return stop


@inlined
def span_attribute(
    buffer: Bytes, position: int, end: int, ordinal: int, depth: int, naming: Naming, table: Table, flat: Flat
) -> int:
    """Decode a span's n-th attribute; spans usually repeat the keys of the span before in the same places."""
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
    return stop


@kernel
def remember(flat: Flat, place: int, key: int) -> None:
    """Expect a key at a place of the next span."""
    flat.positions[place, 0] = flat.keys[key, KEY_OFFSET]
    flat.positions[place, 1] = flat.keys[key, KEY_LENGTH]
    flat.positions[place, 2] = flat.keys[key, KEY_FIELD]
    flat.positions[place, 3] = flat.keys[key, KEY_BEARING]
