"""Keys of attributes: numbered once per request, and expected again where the last entry had them."""

from driftmeter.columnar.layout import (
    COLUMN,
    FIELDS,
    FULL,
    KEY_BEARING,
    KEY_FIELD,
    KEY_HASH,
    KEY_LENGTH,
    KEY_OF_FIELD,
    KEY_OFFSET,
    KEYS,
    SEED,
    Flat,
)
from driftmeter.columnar.memory import Bytes, equal, hash_bytes
from driftmeter.columnar.naming import Naming, classify
from driftmeter.columnar.wire import fail
from driftmeter.model.compiled import kernel


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
    if field == COLUMN:  # The next number.
        field = state[FIELDS]
        state[FIELDS] = field + 1
    keys[key, KEY_HASH], keys[key, KEY_OFFSET], keys[key, KEY_LENGTH] = hashed, offset, length
    keys[key, KEY_FIELD], keys[key, KEY_BEARING] = field, bearing
    if field >= 0:
        keys[field, KEY_OF_FIELD] = key
    return int(key)


@kernel
def remember(flat: Flat, place: int, key: int) -> None:
    """Expect a key at a place of the next span."""
    flat.positions[place, 0] = flat.keys[key, KEY_OFFSET]
    flat.positions[place, 1] = flat.keys[key, KEY_LENGTH]
    flat.positions[place, 2] = flat.keys[key, KEY_FIELD]
    flat.positions[place, 3] = flat.keys[key, KEY_BEARING]
