"""Categories to counts: all categorical columns of a batch in one compiled call.

A batch numbers its categories in its own way: first the bin of each distinct name is found, then rows are counted.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from driftmeter.model.bins import CategoryBins
from driftmeter.model.compiled import kernel
from driftmeter.model.counts import Tally
from driftmeter.model.layout import Layout
from driftmeter.summary.arrow import (
    byte_at,
    child_of,
    data_of,
    dictionary_of,
    int32_at,
    is_valid,
    length_of,
    offset_of,
    texts_of,
    validity_of,
)
from driftmeter.summary.slots import Into, Slots

Ints = npt.NDArray[np.int64]
Places = npt.NDArray[np.int32]
Octets = npt.NDArray[np.uint8]

_MISSING = int(Tally.MISSING)
_HASH_START, _HASH_STEP = -3750763034362895579, 1099511628211  # FNV-1a of 64 bits.


class NameTables(NamedTuple):
    """Names of the n categorical columns of a layout, one after the other.

    Attributes:
        column: int64 (n,): each one's number in the layout.
        bins: int64 (n, 4): its first bin, the bin of unknown names, its first entry of `table`, and the number of its
            entries less one, a power of two less one.
        table: int32: hash tables of names by their texts, open addressing, -1 for empty entries.
        names: int64 (names, 3): first byte of each name's text, the byte after it, and its bin in its column.
        texts: uint8: all texts.
    """

    column: Ints
    bins: Ints
    table: Places
    names: Ints
    texts: Octets


def name_tables(layout: Layout) -> NameTables:
    """Tables of a layout."""
    numbered = [(i, each) for i, each in enumerate(layout.bins) if isinstance(each, CategoryBins)]
    texts = [name.encode("utf-8", "surrogatepass") for _, each in numbered for name in _names(each)]
    ends = np.cumsum([0, *map(len, texts)], dtype=np.int64)
    places = [np.arange(len(_names(each))).clip(max=len(each.categories)) for _, each in numbered]
    names = np.stack((ends[:-1], ends[1:], np.concatenate([*places, np.empty(0, np.int64)])), axis=1)
    sizes = [2 << len(_names(each)).bit_length() for _, each in numbered]
    starts = np.cumsum([0, *sizes], dtype=np.int64)
    bins = [
        (layout.offsets[i], each.unknown, start, size - 1)
        for (i, each), start, size in zip(numbered, starts.tolist(), sizes, strict=False)
    ]
    tables = NameTables(
        np.array([i for i, _ in numbered], np.int64),
        np.array(bins, np.int64).reshape(-1, 4),
        np.full(int(starts[-1]), -1, np.int32),
        names.astype(np.int64),
        np.frombuffer(b"".join(texts), np.uint8),
    )
    _enter(tables, np.cumsum([0, *map(len, places)], dtype=np.int64))
    return tables


def _names(bins: CategoryBins) -> Sequence[str]:
    """Names in the order of their bins: those of rare ones all have the one after the last category's."""
    return (*bins.categories, *bins.others)


@kernel
def _hash(address: int, length: int) -> int:
    """Hash of the bytes at an address."""
    state = _HASH_START
    for i in range(length):
        state = (state ^ byte_at(address, i)) * _HASH_STEP
    return state ^ (state >> 32)


@kernel
def _find(tables: NameTables, number: int, address: int, length: int) -> int:
    """Entry of one column's table that holds a text, or the empty one where it belongs."""
    first, mask = tables.bins[number, 2], tables.bins[number, 3]
    entry = _hash(address, length) & mask
    while True:
        name = tables.table[first + entry]
        if name < 0:
            return int(first + entry)
        start, end = tables.names[name, 0], tables.names[name, 1]
        same = end - start == length
        for i in range(length):
            if not same:
                break
            same = int(tables.texts[start + i]) == byte_at(address, i)
        if same:
            return int(first + entry)
        entry = (entry + 1) & mask


@kernel
def _enter(tables: NameTables, bounds: Ints) -> None:
    """Fill the hash tables; the first of equal names counts. `bounds`: each column's first name, then their number."""
    for number in range(len(bounds) - 1):
        for name in range(bounds[number], bounds[number + 1]):
            start, end = tables.names[name, 0], tables.names[name, 1]
            entry = _find(tables, number, tables.texts.ctypes.data + start, end - start)
            if tables.table[entry] < 0:
                tables.table[entry] = name


@kernel
def distinct_names(batch: int, children: Ints) -> int:
    """Number of distinct names of all categorical columns of a batch together."""
    count = 0
    for child in children:
        if child >= 0:
            count += length_of(dictionary_of(child_of(batch, child)))
    return count


@kernel
def find_places(batch: int, children: Ints, tables: NameTables, places: Places) -> None:
    """Find the bin of each distinct name of a batch.

    Args:
        batch: Address of its `struct ArrowArray`.
        children: int64 (n,): the batch's column for each categorical column of the layout, of
            dictionary<int32, string>; -1 for none.
        tables: Names.
        places: int32 (distinct_names(batch, children),): receives the bin in its column of each, -1 for null.
    """
    first = 0
    for number in range(len(children)):
        if children[number] < 0:
            continue
        names = dictionary_of(child_of(batch, children[number]))
        validity, ends, texts = validity_of(names), data_of(names), texts_of(names)
        for code in range(length_of(names)):
            item = offset_of(names) + code
            place = -1
            if is_valid(validity, item):
                start = int32_at(ends, item)
                name = tables.table[_find(tables, number, texts + start, int32_at(ends, item + 1) - start)]
                place = tables.names[name, 2] if name >= 0 else tables.bins[number, 1]
            places[first + code] = place
        first += length_of(names)


@kernel
def count_names(batch: int, children: Ints, tables: NameTables, slots: Slots, places: Places, into: Into) -> None:
    """Count all categorical columns of a batch; what is given is as in `find_places`, which found the places."""
    first = 0
    for number in range(len(children)):
        array = child_of(batch, children[number]) if children[number] >= 0 else 0
        codes = length_of(dictionary_of(array)) if array != 0 else 0
        for slot in range(len(slots.bounds) - 1):
            begin, end = slots.bounds[slot], slots.bounds[slot + 1]
            missing = end - begin
            if array != 0 and begin < end:
                bins = into.bins[slot, tables.bins[number, 0] :]
                missing = _count_run(array, slots.order, begin, end, places[first : first + codes], bins)
            into.tallies[slot, tables.column[number], _MISSING] += np.uint64(missing)
        first += codes


@kernel
def _count_run(array: int, order: Places, begin: int, end: int, places: Places, bins: npt.NDArray[np.uint64]) -> int:
    """Count rows of one window into the bins of one column; return how many have no name."""
    validity, data, offset = validity_of(array), data_of(array), offset_of(array)
    in_order = len(order) == 0
    missing = 0
    for i in range(begin, end):
        item = offset + (i if in_order else int(order[i]))
        code = int32_at(data, item)
        place = -1
        if is_valid(validity, item) and 0 <= code < len(places):
            place = int(places[code])
        if place >= 0:
            bins[place] += np.uint64(1)
        else:
            missing += 1
    return missing
