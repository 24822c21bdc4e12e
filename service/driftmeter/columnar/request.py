"""Requests of traces or logs into the flat arrays of `layout`."""
# ruff: noqa: PLR0913, PLR2004
# Kernels: they take arrays one by one, leave at the first fault, and know tags by number.

from driftmeter.columnar.attributes import any_attribute
from driftmeter.columnar.identity import owner_hash
from driftmeter.columnar.layout import (
    ATTRIBUTES,
    ATTRIBUTES_LIMIT,
    FIELDS,
    FULL,
    HASH,
    KEY_ROOM_BYTES,
    NAME_ROOM,
    NAMES_FULL,
    REQUESTS,
    SCOPE_HASH,
    SCOPES,
    SPANS,
    SPECIALS,
    TEXT_LIMIT,
    TEXT_ROOM,
    TOO_MANY_ELEMENTS,
    VISITED,
    Flat,
    Ints,
)
from driftmeter.columnar.memory import IDENTITY_SEED, Bytes
from driftmeter.columnar.naming import Naming
from driftmeter.columnar.owners import begin_resource, begin_scope, keep_last
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
def decode_requests(
    buffer: Bytes, ends: Ints, root: int, not_after_ns: int, naming: Naming, table: Table, flat: Flat
) -> int:
    """Decode requests that stand one behind the other; return 0, or -1 with the first fault in the state.

    Each is a message of its own, of which nothing reaches beyond its end. Spans and log records that are not
    feature-bearing, have no time, are later than `not_after_ns` or break a rule are counted and not kept. Resources and
    scopes without an entry that is kept leave nothing either.

    Args:
        buffer: The requests' bytes.
        ends: Where each request ends.
        root: TRACES or LOGS of `schema`.
        not_after_ns: Latest time that is taken.
        naming: Names of attributes.
        table: From `build_table`.
        flat: Receives what was found.
    """
    state = flat.state
    size = ends[-1] if ends.size else 0
    state[ATTRIBUTES : TOO_MANY_ELEMENTS + 1] = 0
    state[NAMES_FULL] = state[VISITED] = state[REQUESTS] = 0
    state[NAME_ROOM], state[TEXT_ROOM] = size, size + KEY_ROOM_BYTES
    state[ATTRIBUTES_LIMIT], state[TEXT_LIMIT] = naming.limits[0], naming.limits[1]
    state[FIELDS] = SPECIALS
    flat.slots[:] = -1
    flat.positions[:, 1] = -1
    position = 0
    for end in ends:
        if _request(buffer, position, end, root, not_after_ns, naming, table, flat) < 0:
            return -1
        position = end
        state[REQUESTS] += 1
    return 0


@kernel
def _request(
    buffer: Bytes, position: int, end: int, root: int, not_after_ns: int, naming: Naming, table: Table, flat: Flat
) -> int:
    state, stack = flat.state, flat.stack
    while position < end:
        tag, position = read_tag(buffer, position, end, state)
        if position < 0:
            return -1
        if tag == _OWNED_BY_RESOURCE:
            begin, position = read_size(buffer, position, end, state)
            if position < 0 or _resource(buffer, begin, position, root, not_after_ns, naming, table, flat) < 0:
                return -1
        else:
            position = skip_field(buffer, position, end, tag, root, 0, table, stack, state)
            if position < 0:
                return -1
    return position


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
    The pieces are hashed into `state[HASH]`.
    """
    state, stack = flat.state, flat.stack
    depth = 1 if owner == RESOURCE else 2
    while position < end:
        tag, position = read_tag(buffer, position, end, state)
        if position < 0:
            return -1
        if tag & 7 == 2:  # Only steps over lengths: the entries in them come later.
            begin, position = read_size(buffer, position, end, state)
            if position < 0:
                return -1
            if tag == _RESOURCE:  # Both owners are field 1.
                state[HASH] = owner_hash(buffer, begin, position, state[HASH])
                if _owner_attributes(buffer, begin, position, owner, naming, table, flat) < 0:
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
    first, spans = state[ATTRIBUTES], state[SPANS]
    state[HASH] = IDENTITY_SEED
    if _collect_owner(buffer, position, end, root + 1, RESOURCE, naming, table, flat) < 0:
        return -1
    keep_last(flat, first)
    begin_resource(flat, first, state[HASH])
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
        state[ATTRIBUTES] = first
    return position


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
    state[HASH] = flat.resource[SCOPE_HASH]
    if _collect_owner(buffer, position, end, root + 2, SCOPE, naming, table, flat) < 0:
        return -1
    scope = state[SCOPES]
    if scope >= flat.scopes.shape[0]:
        return fail(state, 0, FULL)
    # The row is taken once an entry in it is kept; until then the next scope writes to the same.
    keep_last(flat, first)
    begin_scope(flat, scope, first, state[HASH])
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
