"""What spans and log records have in common: both are entries of a request, and become rows of `Flat.spans`."""
# ruff: noqa: PLR0913 - kernels take arrays one by one.

from driftmeter.columnar.attributes import span_attribute
from driftmeter.columnar.layout import (
    ARRAY_LENGTHS,
    ATTRIBUTE_FIELD,
    ATTRIBUTE_LENGTH,
    ATTRIBUTE_TYPE,
    ATTRIBUTES,
    ATTRIBUTES_LIMIT,
    DOUBLE,
    EMPTY,
    EXTRAS,
    FULL,
    FUTURE,
    IGNORED,
    KEY_BEARING,
    KEY_LAST,
    KEY_OF_FIELD,
    MEMBERS,
    MODEL,
    NAMES_TOO_LONG,
    NO_TIMESTAMP,
    POSITIONS,
    PREDICTION_ID,
    RECEIVED,
    SCOPE_ARRAYS,
    SCOPE_BEARING,
    SCOPE_ELEMENTS,
    SCOPE_HAS_ARRAYS,
    SCOPE_OVERLONG,
    SCOPE_RESOURCE_FIRST,
    SCOPE_SPECIAL,
    SCOPE_SQUARES,
    SPAN_BEARING,
    SPAN_END,
    SPAN_FIRST,
    SPAN_ID,
    SPAN_ROWS,
    SPAN_SCOPE,
    SPAN_SPECIAL,
    SPAN_STOP,
    SPAN_TRACE_ID,
    SPANS,
    SPECIALS,
    STAGE,
    STRING,
    TEXT_LIMIT,
    TOO_MANY_ATTRIBUTES,
    TOO_MANY_ELEMENTS,
    UNUSUAL,
    Flat,
    Ints,
)
from driftmeter.columnar.memory import Bytes
from driftmeter.columnar.naming import Naming
from driftmeter.columnar.owners import count_array, owner_row
from driftmeter.columnar.schema import Table
from driftmeter.columnar.wire import fail
from driftmeter.model.compiled import inlined, kernel

ENTRY_DEPTH = 3
"""Level of a span or log record below the request, its resource and its scope."""

RESOURCE_LEVEL, SCOPE_LEVEL, OWN = range(3)
LEVELS = 3
"""Levels at which attributes stand; the nearer one wins."""


@inlined
def level_of(flat: Flat, span: int, level: int) -> tuple[int, int]:
    """First attribute and end of an entry's resource (0), scope (1) or own attributes (2)."""
    if level == OWN:
        return flat.spans[span, SPAN_FIRST], flat.spans[span, SPAN_STOP]
    scope = flat.spans[span, SPAN_SCOPE]
    first = SCOPE_RESOURCE_FIRST + 2 * level
    return flat.scopes[scope, first], flat.scopes[scope, first + 1]


@inlined
def begin_entry(flat: Flat, scope: int, position: int) -> int:
    """Clear the next free row; 0, or -1 when there is none."""
    state = flat.state
    row = state[SPANS]
    if row >= flat.spans.shape[0]:
        return fail(state, position, FULL)
    span, owner = flat.spans[row], flat.scopes[scope]
    span[:] = 0
    span[SPAN_TRACE_ID] = span[SPAN_ID] = -1
    for special in range(SPECIALS):
        span[SPAN_SPECIAL + special] = owner[SCOPE_SPECIAL + special]
    span[SPAN_FIRST], span[SPAN_SCOPE] = state[ATTRIBUTES], scope
    state[EXTRAS] = state[MEMBERS] = 0
    return 0


@inlined
def read_attribute(
    buffer: Bytes, position: int, end: int, ordinal: int, span: Ints, naming: Naming, table: Table, flat: Flat
) -> int:
    """Read the n-th attribute of the entry in row `span`; return the position behind it."""
    row = flat.state[ATTRIBUTES]
    position = span_attribute(buffer, position, end, ordinal, ENTRY_DEPTH + 1, naming, table, flat)
    field = flat.positions[ordinal & (POSITIONS - 1), 2]
    if 0 <= field < SPECIALS:
        span[SPAN_SPECIAL + field] = row
    return position


@inlined
def end_entry(flat: Flat, bearing: int, attributes: int, not_after_ns: int) -> bool:
    """Decide whether the entry that was read is kept, and count it."""
    state = flat.state
    row = state[SPANS]
    span = flat.spans[row]
    owner = flat.scopes[span[SPAN_SCOPE]]
    span[SPAN_STOP], span[SPAN_ROWS] = state[ATTRIBUTES], 1
    state[RECEIVED] += 1
    bearing |= owner[SCOPE_BEARING]
    if state[EXTRAS]:
        bearing |= _read_again(flat, span)
    span[SPAN_BEARING] = bearing
    refusal = _refusal(flat, span, bearing, not_after_ns)
    if refusal == 0 and attributes + state[MEMBERS] > state[ATTRIBUTES_LIMIT]:
        refusal = TOO_MANY_ATTRIBUTES
    unusual = state[EXTRAS] | owner[SCOPE_HAS_ARRAYS]
    if refusal == 0 and unusual:
        rows = _count_rows(flat, row)
        span[SPAN_ROWS] = rows
        # An entry whose arrays are all empty says nothing.
        refusal = -rows if rows < 0 else IGNORED if rows == 0 else 0
    if refusal:
        state[refusal] += 1
        state[ATTRIBUTES] = span[SPAN_FIRST]
        return False
    state[SPANS] = row + 1
    state[UNUSUAL] += unusual
    return True


@kernel
def bears(flat: Flat, field: int) -> int:
    """What an entry with this column says something about, bits of `KEY_BEARING`."""
    return int(flat.keys[flat.keys[field, KEY_OF_FIELD], KEY_BEARING])


@kernel
def _read_again(flat: Flat, span: Ints) -> int:
    """Find special attributes and columns among members of JSON texts; return what these say something about."""
    bearing = 0
    for row in range(span[SPAN_FIRST], span[SPAN_STOP]):
        field = flat.attributes[row, ATTRIBUTE_FIELD]
        if 0 <= field < SPECIALS:
            span[SPAN_SPECIAL + field] = row
        elif field >= SPECIALS:
            bearing |= bears(flat, field)
    return bearing


@kernel
def _refusal(flat: Flat, span: Ints, bearing: int, not_after_ns: int) -> int:
    """The counter of the state that an entry not to be kept belongs to; 0 for one to be kept."""
    model = span[SPAN_SPECIAL + MODEL]
    if bearing == 0 or model < 0:
        return IGNORED
    kind = flat.attributes[model, ATTRIBUTE_TYPE]
    if kind == EMPTY or kind > DOUBLE or (kind == STRING and flat.attributes[model, ATTRIBUTE_LENGTH] == 0):
        return IGNORED
    if span[SPAN_END] == 0:
        return NO_TIMESTAMP
    # The time is unsigned on the wire: what does not fit into int64 is a far future.
    if span[SPAN_END] < 0 or span[SPAN_END] > not_after_ns:
        return FUTURE
    for special in range(MODEL, STAGE + 1):
        row = span[SPAN_SPECIAL + special]
        is_text = row >= 0 and flat.attributes[row, ATTRIBUTE_TYPE] == STRING
        if is_text and flat.attributes[row, ATTRIBUTE_LENGTH] > flat.state[TEXT_LIMIT]:
            return NAMES_TOO_LONG
    return 0


@kernel
def _count_rows(flat: Flat, span: int) -> int:
    """Rows of an entry: the length of all its arrays, 1 without any; else minus the counter of what is wrong.

    Arrays that a nearer level or a later duplicate overwrites do not count. The sums of the owners' arrays are taken
    over, and changed for the time being by what the entry has of its own.
    """
    keys, attributes = flat.keys, flat.attributes
    first, stop = level_of(flat, span, OWN)
    owner = flat.scopes[flat.spans[span, SPAN_SCOPE]]
    arrays, elements = owner[SCOPE_ARRAYS], owner[SCOPE_ELEMENTS]
    squares, overlong = owner[SCOPE_SQUARES], owner[SCOPE_OVERLONG]
    for row in range(first, stop):
        if attributes[row, ATTRIBUTE_FIELD] >= PREDICTION_ID:
            keys[attributes[row, ATTRIBUTE_FIELD], KEY_LAST] = row
    for row in range(first, stop):
        field = attributes[row, ATTRIBUTE_FIELD]
        if field >= PREDICTION_ID and keys[field, KEY_LAST] == row:
            if arrays:
                count_array(flat, owner, owner_row(flat, owner, field), -1)
            count_array(flat, owner, row, 1)
    rows = _rows_by(owner)
    owner[SCOPE_ARRAYS], owner[SCOPE_ELEMENTS] = arrays, elements
    owner[SCOPE_SQUARES], owner[SCOPE_OVERLONG] = squares, overlong
    return rows


@inlined
def _rows_by(sums: Ints) -> int:
    """Rows of an entry whose arrays have these sums."""
    if sums[SCOPE_OVERLONG] > 0:
        return -TOO_MANY_ELEMENTS
    if sums[SCOPE_ARRAYS] == 0:
        return 1
    length = sums[SCOPE_ELEMENTS] // sums[SCOPE_ARRAYS]
    alike = sums[SCOPE_ELEMENTS] == sums[SCOPE_ARRAYS] * length and sums[SCOPE_SQUARES] == sums[SCOPE_ELEMENTS] * length
    return length if alike else -ARRAY_LENGTHS
