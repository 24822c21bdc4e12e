"""A whole request of traces or logs into the flat arrays of `layout`."""
# ruff: noqa: PLR0913, PLR2004
# Kernels: they take arrays one by one, leave at the first fault, and know tags by number.

from driftmeter.columnar.attributes import any_attribute
from driftmeter.columnar.entry import bears
from driftmeter.columnar.layout import (
    ARRAY,
    ATTRIBUTE_FIELD,
    ATTRIBUTE_TYPE,
    ATTRIBUTES,
    ATTRIBUTES_LIMIT,
    FIELDS,
    FULL,
    KEY_ROOM_BYTES,
    NAME_ROOM,
    RESOURCE_FIRST,
    RESOURCE_STOP,
    SCOPE_ARRAYS,
    SCOPE_BEARING,
    SCOPE_FIRST,
    SCOPE_RESOURCE_FIRST,
    SCOPE_RESOURCE_STOP,
    SCOPE_SPECIAL,
    SCOPE_STOP,
    SCOPES,
    SPANS,
    SPECIALS,
    TEXT_LIMIT,
    TEXT_ROOM,
    TOO_MANY_ELEMENTS,
    Flat,
)
from driftmeter.columnar.memory import Bytes
from driftmeter.columnar.naming import Naming
from driftmeter.columnar.record import decode_record
from driftmeter.columnar.schema import LOGS, RESOURCE, SCOPE, Table
from driftmeter.columnar.span import decode_span
from driftmeter.columnar.wire import fail, read_size, read_tag, skip_field
from driftmeter.model.compiled import inlined, kernel

# Tags of the fields that are read: field number * 8 + wire type.
_OWNED_BY_RESOURCE = 0x0A
_RESOURCE, _SCOPE, _OWNED_BY_SCOPE, _ENTRIES = 0x0A, 0x0A, 0x12, 0x12
_RESOURCE_ATTRIBUTES, _SCOPE_ATTRIBUTES = 0x0A, 0x1A


@kernel
def decode_request(
    buffer: Bytes, size: int, root: int, not_after_ns: int, naming: Naming, table: Table, flat: Flat
) -> int:
    """Decode the first `size` bytes; return 0, or -1 with the fault in the state.

    Spans and log records that are not feature-bearing, have no time, are later than `not_after_ns` or break a rule are
    counted and not kept. Resources and scopes without an entry that is kept leave nothing either. `root` is TRACES or
    LOGS of `schema`.
    """
    state, stack = flat.state, flat.stack
    state[ATTRIBUTES : TOO_MANY_ELEMENTS + 1] = 0
    state[NAME_ROOM], state[TEXT_ROOM] = size, size + KEY_ROOM_BYTES
    state[ATTRIBUTES_LIMIT], state[TEXT_LIMIT] = naming.limits[0], naming.limits[1]
    state[FIELDS] = SPECIALS
    flat.slots[:] = -1
    flat.positions[:, 1] = -1
    position = 0
    while position < size:
        tag, position = read_tag(buffer, position, size, state)
        if position < 0:
            return -1
        if tag == _OWNED_BY_RESOURCE:
            begin, position = read_size(buffer, position, size, state)
            if position < 0 or _resource(buffer, begin, position, root, not_after_ns, naming, table, flat) < 0:
                return -1
        else:
            position = skip_field(buffer, position, size, tag, root, 0, table, stack, state)
            if position < 0:
                return -1
    return 0


@kernel
def _owner_attributes(
    buffer: Bytes, position: int, end: int, message: int, naming: Naming, table: Table, flat: Flat
) -> int:
    """Attributes of a Resource or an InstrumentationScope."""
    state, stack = flat.state, flat.stack
    attribute_tag, depth = (_RESOURCE_ATTRIBUTES, 2) if message == RESOURCE else (_SCOPE_ATTRIBUTES, 3)
    while position < end:
        tag, position = read_tag(buffer, position, end, state)
        if position < 0:
            return -1
        if tag == attribute_tag:
            position = any_attribute(buffer, position, end, depth + 1, naming, table, flat)
        else:
            position = skip_field(buffer, position, end, tag, message, depth, table, stack, state)
        if position < 0:
            return -1
    return position


@kernel
def _collect_owner(
    buffer: Bytes, position: int, end: int, message: int, owner: int, naming: Naming, table: Table, flat: Flat
) -> int:
    """Attributes of the Resource of a ResourceSpans, or of the scope of a ScopeSpans, wherever they stand in it.

    They are needed before the first entry, and may come last or in several pieces. Other fields are checked later.
    """
    state, stack = flat.state, flat.stack
    depth = 1 if owner == RESOURCE else 2
    while position < end:
        tag, position = read_tag(buffer, position, end, state)
        if position < 0:
            return -1
        if tag & 7 == 2:  # Only steps over lengths: the entries in them come later.
            begin, position = read_size(buffer, position, end, state)
            # Both owners are field 1.
            if position < 0 or (
                tag == _RESOURCE and _owner_attributes(buffer, begin, position, owner, naming, table, flat) < 0
            ):
                return -1
        else:
            position = skip_field(buffer, position, end, tag, message, depth, table, stack, state)
            if position < 0:
                return -1
    return position


@kernel
def _resource(
    buffer: Bytes, position: int, end: int, root: int, not_after_ns: int, naming: Naming, table: Table, flat: Flat
) -> int:
    state, stack = flat.state, flat.stack
    state[RESOURCE_FIRST] = state[ATTRIBUTES]
    spans = state[SPANS]
    if _collect_owner(buffer, position, end, root + 1, RESOURCE, naming, table, flat) < 0:
        return -1
    state[RESOURCE_STOP] = state[ATTRIBUTES]
    while position < end:
        tag, position = read_tag(buffer, position, end, state)
        if position < 0:
            return -1
        if tag == _OWNED_BY_SCOPE:
            begin, position = read_size(buffer, position, end, state)
            if position < 0 or _scope(buffer, begin, position, root, not_after_ns, naming, table, flat) < 0:
                return -1
        elif tag == _RESOURCE:
            position = read_size(buffer, position, end, state)[1]
        else:
            position = skip_field(buffer, position, end, tag, root + 1, 1, table, stack, state)
        if position < 0:
            return -1
    if state[SPANS] == spans:
        state[ATTRIBUTES] = state[RESOURCE_FIRST]
    return position


@kernel
def _begin_scope(flat: Flat, first: int) -> int:
    """Write the next free row of `flat.scopes`: the resource's attributes and those from `first` on; -1 without room.

    The row is taken once an entry in it is kept; until then the next scope writes to the same.
    """
    state, scopes = flat.state, flat.scopes
    row = state[SCOPES]
    if row >= scopes.shape[0]:
        return fail(state, 0, FULL)
    scopes[row, SCOPE_RESOURCE_FIRST], scopes[row, SCOPE_RESOURCE_STOP] = state[RESOURCE_FIRST], state[RESOURCE_STOP]
    scopes[row, SCOPE_FIRST], scopes[row, SCOPE_STOP] = first, state[ATTRIBUTES]
    scopes[row, SCOPE_SPECIAL : SCOPE_SPECIAL + SPECIALS] = -1
    scopes[row, SCOPE_BEARING] = scopes[row, SCOPE_ARRAYS] = 0
    for level in (SCOPE_RESOURCE_FIRST, SCOPE_FIRST):
        for attribute in range(scopes[row, level], scopes[row, level + 1]):
            field = flat.attributes[attribute, ATTRIBUTE_FIELD]
            scopes[row, SCOPE_ARRAYS] |= int(flat.attributes[attribute, ATTRIBUTE_TYPE] == ARRAY)
            if 0 <= field < SPECIALS:
                scopes[row, SCOPE_SPECIAL + field] = attribute
            elif field >= SPECIALS:
                scopes[row, SCOPE_BEARING] |= bears(flat, field)
    return int(row)


@inlined
def _entry(
    buffer: Bytes,
    position: int,
    end: int,
    scope: int,
    root: int,
    not_after_ns: int,
    naming: Naming,
    table: Table,
    flat: Flat,
) -> int:
    if root == LOGS:
        return decode_record(buffer, position, end, scope, not_after_ns, naming, table, flat)
    return decode_span(buffer, position, end, scope, not_after_ns, naming, table, flat)


@kernel
def _scope(
    buffer: Bytes, position: int, end: int, root: int, not_after_ns: int, naming: Naming, table: Table, flat: Flat
) -> int:
    state, stack = flat.state, flat.stack
    first, spans = state[ATTRIBUTES], state[SPANS]
    if _collect_owner(buffer, position, end, root + 2, SCOPE, naming, table, flat) < 0:
        return -1
    scope = _begin_scope(flat, first)
    if scope < 0:
        return -1
    while position < end:
        tag, position = read_tag(buffer, position, end, state)
        if position < 0:
            return -1
        if tag == _ENTRIES:
            begin, position = read_size(buffer, position, end, state)
            if position < 0 or _entry(buffer, begin, position, scope, root, not_after_ns, naming, table, flat) < 0:
                return -1
        elif tag == _SCOPE:
            position = read_size(buffer, position, end, state)[1]
        else:
            position = skip_field(buffer, position, end, tag, root + 2, 2, table, stack, state)
        if position < 0:
            return -1
    if state[SPANS] > spans:
        state[SCOPES] = scope + 1
    else:
        state[ATTRIBUTES] = first
    return position
