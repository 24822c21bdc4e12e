"""A whole ExportTraceServiceRequest into the flat arrays of `layout`."""
# ruff: noqa: PLR0913, PLR2004
# Kernels: they take arrays one by one, leave at the first fault, and know tags by number.

from driftmeter.columnar.attributes import any_attribute
from driftmeter.columnar.layout import (
    ATTRIBUTE_FIELD,
    ATTRIBUTES,
    FIELDS,
    FULL,
    IDENTITY_TOO_LONG,
    KEY_BEARING,
    KEY_OF_FIELD,
    RESOURCE_FIRST,
    RESOURCE_STOP,
    SCOPE_BEARING,
    SCOPE_FIRST,
    SCOPE_RESOURCE_FIRST,
    SCOPE_RESOURCE_STOP,
    SCOPE_SPECIAL,
    SCOPE_STOP,
    SCOPES,
    SPANS,
    SPECIALS,
    Flat,
)
from driftmeter.columnar.memory import Bytes
from driftmeter.columnar.naming import Naming
from driftmeter.columnar.schema import REQUEST, RESOURCE, RESOURCE_SPANS, SCOPE, SCOPE_SPANS, Table
from driftmeter.columnar.span import decode_span
from driftmeter.columnar.wire import fail, read_size, read_tag, skip_field
from driftmeter.model.compiled import kernel

# Tags of the fields that are read: field number * 8 + wire type.
_RESOURCE_SPANS = 0x0A
_RESOURCE, _SCOPE, _SCOPE_SPANS, _SPAN = 0x0A, 0x0A, 0x12, 0x12
_RESOURCE_ATTRIBUTES, _SCOPE_ATTRIBUTES = 0x0A, 0x1A


@kernel
def decode_request(buffer: Bytes, size: int, not_after_ns: int, naming: Naming, table: Table, flat: Flat) -> int:
    """Decode the first `size` bytes; return 0, or -1 with the fault in the state.

    Spans that are not feature-bearing, have no end, end after `not_after_ns` or belong to a model with too long a name
    are counted and not kept. Resources and scopes without a span that is kept leave nothing either.
    """
    state, stack = flat.state, flat.stack
    state[ATTRIBUTES : IDENTITY_TOO_LONG + 1] = 0
    state[FIELDS] = SPECIALS
    flat.slots[:] = -1
    flat.positions[:, 1] = -1
    position = 0
    while position < size:
        tag, position = read_tag(buffer, position, size, state)
        if position < 0:
            return -1
        if tag == _RESOURCE_SPANS:
            begin, position = read_size(buffer, position, size, state)
            if position < 0 or _resource_spans(buffer, begin, position, not_after_ns, naming, table, flat) < 0:
                return -1
        else:
            position = skip_field(buffer, position, size, tag, REQUEST, 0, table, stack, state)
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
    buffer: Bytes, position: int, end: int, message: int, naming: Naming, table: Table, flat: Flat
) -> int:
    """Attributes of the Resource of a ResourceSpans, or of the scope of a ScopeSpans, wherever they stand in it.

    They are needed before the first span, and may come last or in several pieces. Other fields are checked later.
    """
    state, stack = flat.state, flat.stack
    owner = RESOURCE if message == RESOURCE_SPANS else SCOPE
    depth = 1 if message == RESOURCE_SPANS else 2
    while position < end:
        tag, position = read_tag(buffer, position, end, state)
        if position < 0:
            return -1
        if tag & 7 == 2:  # Only steps over lengths: the spans in them come later.
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
def _resource_spans(
    buffer: Bytes, position: int, end: int, not_after_ns: int, naming: Naming, table: Table, flat: Flat
) -> int:
    state, stack = flat.state, flat.stack
    state[RESOURCE_FIRST] = state[ATTRIBUTES]
    spans = state[SPANS]
    if _collect_owner(buffer, position, end, RESOURCE_SPANS, naming, table, flat) < 0:
        return -1
    state[RESOURCE_STOP] = state[ATTRIBUTES]
    while position < end:
        tag, position = read_tag(buffer, position, end, state)
        if position < 0:
            return -1
        if tag == _SCOPE_SPANS:
            begin, position = read_size(buffer, position, end, state)
            if position < 0 or _scope_spans(buffer, begin, position, not_after_ns, naming, table, flat) < 0:
                return -1
        elif tag == _RESOURCE:
            position = read_size(buffer, position, end, state)[1]
        else:
            position = skip_field(buffer, position, end, tag, RESOURCE_SPANS, 1, table, stack, state)
        if position < 0:
            return -1
    if state[SPANS] == spans:
        state[ATTRIBUTES] = state[RESOURCE_FIRST]
    return position


@kernel
def _begin_scope(flat: Flat, first: int) -> int:
    """Write the next free row of `flat.scopes`: the resource's attributes and those from `first` on; -1 without room.

    The row is taken once a span in it is kept; until then the next scope writes to the same.
    """
    state, scopes = flat.state, flat.scopes
    row = state[SCOPES]
    if row >= scopes.shape[0]:
        return fail(state, 0, FULL)
    scopes[row, SCOPE_RESOURCE_FIRST], scopes[row, SCOPE_RESOURCE_STOP] = state[RESOURCE_FIRST], state[RESOURCE_STOP]
    scopes[row, SCOPE_FIRST], scopes[row, SCOPE_STOP] = first, state[ATTRIBUTES]
    scopes[row, SCOPE_SPECIAL : SCOPE_SPECIAL + SPECIALS] = -1
    scopes[row, SCOPE_BEARING] = 0
    for level in (SCOPE_RESOURCE_FIRST, SCOPE_FIRST):
        for attribute in range(scopes[row, level], scopes[row, level + 1]):
            field = flat.attributes[attribute, ATTRIBUTE_FIELD]
            if field < SPECIALS:
                scopes[row, SCOPE_SPECIAL + field] = attribute
            else:
                scopes[row, SCOPE_BEARING] |= _bearing(flat, field)
    return int(row)


@kernel
def _bearing(flat: Flat, field: int) -> int:
    """1 when a span with this column is feature-bearing."""
    return int(flat.keys[flat.keys[field, KEY_OF_FIELD], KEY_BEARING])


@kernel
def _scope_spans(
    buffer: Bytes, position: int, end: int, not_after_ns: int, naming: Naming, table: Table, flat: Flat
) -> int:
    state, stack = flat.state, flat.stack
    first, spans = state[ATTRIBUTES], state[SPANS]
    if _collect_owner(buffer, position, end, SCOPE_SPANS, naming, table, flat) < 0:
        return -1
    scope = _begin_scope(flat, first)
    if scope < 0:
        return -1
    while position < end:
        tag, position = read_tag(buffer, position, end, state)
        if position < 0:
            return -1
        if tag == _SPAN:
            begin, position = read_size(buffer, position, end, state)
            if position < 0 or decode_span(buffer, begin, position, scope, not_after_ns, naming, table, flat) < 0:
                return -1
        elif tag == _SCOPE:
            position = read_size(buffer, position, end, state)[1]
        else:
            position = skip_field(buffer, position, end, tag, SCOPE_SPANS, 2, table, stack, state)
        if position < 0:
            return -1
    if state[SPANS] > spans:
        state[SCOPES] = scope + 1
    else:
        state[ATTRIBUTES] = first
    return position
