"""Compiled operations on sets of 64-bit keys: an open-addressing table and sorted arrays.

A key is stored multiplied by an odd number that no sender knows (modulo 2^64, which loses nothing): its high bits are
its home in the table, so that nobody can prepare keys that collide, and the table read from its start is sorted but for
the order within runs of neighbours. A table has more slots behind the last home instead of wrapping around, for the
same reason. 0 stands for an empty slot; the key 0 is a flag of its own.
"""

import numpy as np
import numpy.typing as npt

from driftmeter.model.compiled import inlined, kernel

Keys = npt.NDArray[np.uint64]
Numbers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

COUNT, HAS_ZERO, LOGGED = 0, 1, 2
"""Places in a table's numbers: keys in it, whether 0 is one of them, keys in its log."""

_LOOKED_AT = 3
NUMBERS = 4
"""How many numbers a table has."""

_AHEAD = 16
"""Keys whose slots are looked at ahead of their turn, so that the memory's latencies overlap."""


@kernel
def admit(  # noqa: PLR0913 - the arrays of a table and of a batch.
    keys: Keys,
    row_index: npt.NDArray[np.uint16],
    seen: Flags,
    multiplier: int,
    first: int,
    slots: Keys,
    shift: int,
    numbers: Numbers,
    limit: int,
    log: Keys,
    fresh: Flags,
) -> int:
    """Insert the keys of spans that are in neither the table nor `seen`, from row `first` on.

    Args:
        keys: uint64 (rows,).
        row_index: uint16 (rows,): 0 at the first row of each span.
        seen: bool (rows,): known from elsewhere; of no length when nothing is.
        multiplier: Odd.
        first: Row to begin with.
        slots: The table.
        shift: 64 less the logarithm of the number of homes.
        numbers: The table's; changed.
        limit: Keys that the table may hold.
        log: Takes the inserted keys, multiplied; has room for all.
        fresh: bool (rows,): takes whether a row's span was not known.

    Returns:
        The row at which the table was full; the number of rows when all are done.
    """
    rows = len(keys)
    some_seen = len(seen) > 0
    touched = np.uint64(0)
    for row in range(first, rows):
        ahead = row + _AHEAD
        if ahead < rows:
            touched |= slots[np.int64((keys[ahead] * np.uint64(multiplier)) >> np.uint64(shift))]
        if row > 0 and row_index[row] != 0:
            fresh[row] = fresh[row - 1]
            continue
        fresh[row] = False
        if some_seen and seen[row]:
            continue
        key = keys[row] * np.uint64(multiplier)
        if key == 0:
            if numbers[HAS_ZERO] != 0:
                continue
            if numbers[COUNT] >= limit:
                return row
            numbers[HAS_ZERO] = 1
        else:
            place = _find(slots, shift, key)
            if place < len(slots) and slots[place] == key:
                continue
            if place == len(slots) or numbers[COUNT] >= limit:
                return row
            slots[place] = key
        numbers[COUNT] += 1
        log[numbers[LOGGED]] = key
        numbers[LOGGED] += 1
        fresh[row] = True
    numbers[_LOOKED_AT] = np.int64(touched)  # Else the compiler leaves the looks ahead out.
    return rows


@inlined
def _find(slots: Keys, shift: int, key: int) -> int:
    """Slot of a multiplied key, else the empty one where it belongs, else the number of slots."""
    place = np.int64(np.uint64(key) >> np.uint64(shift))
    while place < len(slots) and slots[place] != 0 and slots[place] != key:
        place += 1
    return int(place)


@kernel
def probe(keys: Keys, multiplier: int, slots: Keys, shift: int, has_zero: int, seen: Flags) -> None:
    """Set `seen` of the rows whose key is in the table."""
    for row in range(len(keys)):
        key = keys[row] * np.uint64(multiplier)
        if key == 0:
            if has_zero != 0:
                seen[row] = True
            continue
        place = _find(slots, shift, key)
        if place < len(slots) and slots[place] == key:
            seen[row] = True


@kernel
def probe_sorted(keys: Keys, multiplier: int, known: Keys, seen: Flags) -> None:
    """Set `seen` of the rows whose key, multiplied, is in the ascending array `known`.

    Multiplied keys are evenly spread, so a key is near where its share of the range says: few pages are touched.
    """
    size = len(known)
    if size == 0:
        return
    lowest, highest = known[0], known[size - 1]
    scale = (size - 1) / (float(highest - lowest) + 1.0)
    for row in range(len(keys)):
        key = keys[row] * np.uint64(multiplier)
        if key < lowest or key > highest:
            continue
        guess = min(int(float(key - lowest) * scale), size - 1)
        step = 1
        if known[guess] <= key:
            left = guess
            while left + step < size and known[left + step] <= key:
                left += step
                step *= 2
            right = min(left + step, size)
        else:
            right = guess
            while right - step >= 0 and known[right - step] > key:
                right -= step
                step *= 2
            left = max(right - step, 0)
        while right - left > 1:
            middle = (left + right) >> 1
            if known[middle] <= key:
                left = middle
            else:
                right = middle
        if known[left] == key:
            seen[row] = True


@kernel
def move(old: Keys, first: int, last: int, slots: Keys, shift: int) -> bool:
    """Insert what slots [first, last) of an old table hold into a larger one; false when it lacks room."""
    for index in range(first, last):
        key = old[index]
        if key != 0:
            place = _find(slots, shift, key)
            if place == len(slots):
                return False
            slots[place] = key
    return True


@kernel
def gap(slots: Keys, first: int) -> int:
    """First empty slot from `first` on, else the number of slots: no key before it belongs behind it."""
    place = first
    while place < len(slots) and slots[place] != 0:
        place += 1
    return place


@kernel
def take_sorted(slots: Keys, first: int, last: int, taken: Keys) -> int:
    """Copy the keys of slots [first, last) in ascending order; returns how many. Both ends are gaps."""
    count = 0
    for index in range(first, last):
        key = slots[index]
        if key == 0:
            continue
        place = count
        while place > 0 and taken[place - 1] > key:
            taken[place] = taken[place - 1]
            place -= 1
        taken[place] = key
        count += 1
    return count


@kernel
def remove(slots: Keys, shift: int, numbers: Numbers, keys: Keys, removed: Flags) -> None:
    """Take multiplied keys out of the table; sets `removed` of those that were in it."""
    size = len(slots)
    for index in range(len(keys)):
        key = keys[index]
        if key == 0:
            removed[index] = numbers[HAS_ZERO] != 0
            if removed[index]:
                numbers[HAS_ZERO] = 0
                numbers[COUNT] -= 1
            continue
        hole = _find(slots, shift, key)
        removed[index] = hole < size and slots[hole] == key
        if not removed[index]:
            continue
        numbers[COUNT] -= 1
        place = hole + 1
        while place < size and slots[place] != 0:
            if np.int64(slots[place] >> np.uint64(shift)) <= hole:  # It may stand in the hole: nearer to its home.
                slots[hole] = slots[place]
                hole = place
            place += 1
        slots[hole] = 0
