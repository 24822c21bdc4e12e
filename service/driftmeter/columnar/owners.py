"""Resources and scopes: their attributes once per key, and what every entry in them needs to know of these.

Entries must not look at each attribute of their owners: a request of 1 MiB has room for thousands of both.
"""

from driftmeter.columnar.layout import (
    ARRAY,
    ATTRIBUTE_FIELD,
    ATTRIBUTE_LENGTH,
    ATTRIBUTE_TYPE,
    ATTRIBUTE_VALUE,
    ATTRIBUTE_WORDS,
    ATTRIBUTES,
    ELEMENTS_MAX,
    KEY_BEARING,
    KEY_LAST,
    KEY_OF_FIELD,
    KEY_RESOURCE_ROW,
    KEY_SCOPE_ROW,
    PREDICTION_ID,
    SCOPE_ARRAYS,
    SCOPE_BEARING,
    SCOPE_ELEMENTS,
    SCOPE_FIRST,
    SCOPE_HAS_ARRAYS,
    SCOPE_HASH,
    SCOPE_OVERLONG,
    SCOPE_RESOURCE_FIRST,
    SCOPE_RESOURCE_STOP,
    SCOPE_SPECIAL,
    SCOPE_SQUARES,
    SCOPE_STOP,
    SCOPE_WORDS,
    SPECIALS,
    VISITED,
    Flat,
    Ints,
)
from driftmeter.model.compiled import inlined, kernel


@inlined
def size_of(flat: Flat, row: int) -> int:
    """Rows of an attribute: itself and the elements behind it."""
    is_array = flat.attributes[row, ATTRIBUTE_TYPE] == ARRAY and flat.attributes[row, ATTRIBUTE_VALUE] >= 0
    return 1 + (flat.attributes[row, ATTRIBUTE_LENGTH] if is_array else 0)


@kernel
def keep_last(flat: Flat, first: int) -> None:
    """Take away the attributes from row `first` on that a later one of the same key overwrites."""
    attributes, keys, stop = flat.attributes, flat.keys, flat.state[ATTRIBUTES]
    row = first
    while row < stop:
        if attributes[row, ATTRIBUTE_FIELD] >= 0:
            keys[attributes[row, ATTRIBUTE_FIELD], KEY_LAST] = row
        row += size_of(flat, row)
    row = to = first
    while row < stop:
        size, field = size_of(flat, row), attributes[row, ATTRIBUTE_FIELD]
        if field < 0 or keys[field, KEY_LAST] == row:
            if to < row:
                for i in range(size):
                    for word in range(ATTRIBUTE_WORDS):
                        attributes[to + i, word] = attributes[row + i, word]
                if size > 1:
                    attributes[to, ATTRIBUTE_VALUE] = to + 1
            to += size
        row += size
    flat.state[ATTRIBUTES] = to


@kernel
def begin_resource(flat: Flat, first: int, hashed: int) -> None:
    """Summarise the attributes from row `first` on as those of the current resource."""
    owner, stop = flat.resource, flat.state[ATTRIBUTES]
    owner[:] = 0
    owner[SCOPE_SPECIAL : SCOPE_SPECIAL + SPECIALS] = -1
    owner[SCOPE_RESOURCE_FIRST], owner[SCOPE_RESOURCE_STOP], owner[SCOPE_HASH] = first, stop, hashed
    _summarise(flat, owner, first, stop, KEY_RESOURCE_ROW)


@kernel
def begin_scope(flat: Flat, scope: int, first: int, hashed: int) -> None:
    """Summarise the attributes from row `first` on as those of a scope of the current resource."""
    owner, stop = flat.scopes[scope], flat.state[ATTRIBUTES]
    for word in range(SCOPE_WORDS):
        owner[word] = flat.resource[word]
    owner[SCOPE_FIRST], owner[SCOPE_STOP], owner[SCOPE_HASH] = first, stop, hashed
    _summarise(flat, owner, first, stop, KEY_SCOPE_ROW)


@kernel
def _summarise(flat: Flat, owner: Ints, first: int, stop: int, level: int) -> None:
    attributes, keys = flat.attributes, flat.keys
    row = first
    while row < stop:
        field = attributes[row, ATTRIBUTE_FIELD]
        if field >= PREDICTION_ID:
            if level == KEY_SCOPE_ROW:
                count_array(flat, owner, _resource_row(flat, owner, field), -1)
            count_array(flat, owner, row, 1)
            owner[SCOPE_HAS_ARRAYS] |= int(attributes[row, ATTRIBUTE_TYPE] == ARRAY)
        if field >= 0:
            keys[field, level] = row
            if field < SPECIALS:
                owner[SCOPE_SPECIAL + field] = row
            else:
                owner[SCOPE_BEARING] |= keys[keys[field, KEY_OF_FIELD], KEY_BEARING]
        flat.state[VISITED] += 1
        row += size_of(flat, row)


@inlined
def _resource_row(flat: Flat, owner: Ints, field: int) -> int:
    """The resource's attribute of this field, -1 for none.

    The key's word may be left from another resource, so it is believed only when the field stands there.
    """
    row, first, stop = flat.keys[field, KEY_RESOURCE_ROW], owner[SCOPE_RESOURCE_FIRST], owner[SCOPE_RESOURCE_STOP]
    return int(row) if first <= row < stop and flat.attributes[row, ATTRIBUTE_FIELD] == field else -1


@inlined
def owner_row(flat: Flat, owner: Ints, field: int) -> int:
    """The attribute of this field that entries of a scope inherit, -1 for none."""
    row = flat.keys[field, KEY_SCOPE_ROW]
    if owner[SCOPE_FIRST] <= row < owner[SCOPE_STOP] and flat.attributes[row, ATTRIBUTE_FIELD] == field:
        return int(row)
    return _resource_row(flat, owner, field)


@inlined
def count_array(flat: Flat, sums: Ints, row: int, times: int) -> None:
    """Add an array to the sums of a scope (`times` is 1) or take it away (-1); nothing for what is none."""
    if row >= 0 and flat.attributes[row, ATTRIBUTE_TYPE] == ARRAY:
        # Longer ones are alike in being refused, and squares of these stay far below 2^63.
        length = min(flat.attributes[row, ATTRIBUTE_LENGTH], ELEMENTS_MAX + 1)
        sums[SCOPE_ARRAYS] += times
        sums[SCOPE_ELEMENTS] += times * length
        sums[SCOPE_SQUARES] += times * length * length
        sums[SCOPE_OVERLONG] += times * int(length > 0 and flat.attributes[row, ATTRIBUTE_VALUE] < 0)
