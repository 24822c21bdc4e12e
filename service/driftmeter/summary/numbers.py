"""Numbers to counts: all numeric columns of a batch in one compiled call."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from driftmeter.model.bins import NumericBins
from driftmeter.model.cells import CELLS, MAGNITUDE, ONE_CELL
from driftmeter.model.compiled import inlined, kernel
from driftmeter.model.counts import Tally
from driftmeter.model.exact import NO_NUMBER, bits_of, exponent_of
from driftmeter.model.layout import Layout
from driftmeter.summary.arrow import child_of, data_of, double_at, is_valid, offset_of, validity_of
from driftmeter.summary.moments import BLOCK_ROWS, add_moments
from driftmeter.summary.slots import Into, Slots

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_LAST_CELL = float(CELLS)
_MISSING, _NON_FINITE = int(Tally.MISSING), int(Tally.NON_FINITE)


class NumberTables(NamedTuple):
    """Bins of the n numeric columns of a layout, one after the other.

    Attributes:
        column: int64 (n,): each one's number in the layout.
        bins: int64 (n, 4): its first bin, first edge, first look-up cell, and steps of the search among the edges of
            one cell.
        scale: float64 (n, 5): its first edge, last edge, the value about which is summed, and the origin and the number
            per unit of its `Cells`.
        cells: int64 (n, 3): the floor, shift and middle of its `Cells`.
        edges: float64: edges, each column's followed by infinities as far as a search looks.
        lookup: int32: edges before each cell.
    """

    column: Ints
    bins: Ints
    scale: Floats
    cells: Ints
    edges: Floats
    lookup: npt.NDArray[np.int32]


def number_tables(layout: Layout) -> NumberTables:
    """Tables of a layout."""
    column = [i for i, each in enumerate(layout.bins) if isinstance(each, NumericBins)]
    bins, scale, cells, edges, lookup = [], [], [], [], []
    first_edge = first_cell = 0
    for i in column:
        each = layout.bins[i]
        assert isinstance(each, NumericBins)  # noqa: S101 - by `column`.
        in_one_cell = int(np.diff(each.lookup).max())
        steps = in_one_cell.bit_length()
        padded = np.concatenate((each.edges, np.full(1 << steps, np.inf)))
        bins.append((layout.offsets[i], first_edge, first_cell, steps))
        scale.append((each.edges[0], each.edges[-1], layout.centers[i], each.cells.origin, each.cells.per_unit))
        cells.append((each.cells.floor, each.cells.shift, each.cells.middle))
        edges.append(padded)
        lookup.append(each.lookup)
        first_edge += len(padded)
        first_cell += len(each.lookup)
    return NumberTables(
        np.array(column, np.int64),
        np.array(bins, np.int64).reshape(-1, 4),
        np.array(scale, np.float64).reshape(-1, 5),
        np.array(cells, np.int64).reshape(-1, 3),
        np.concatenate([*edges, np.empty(0)]),
        np.concatenate([*lookup, np.empty(0, np.int32)]),
    )


@kernel
def count_numbers(batch: int, children: Ints, tables: NumberTables, slots: Slots, values: Floats, into: Into) -> None:
    """Count all numeric columns of a batch.

    Args:
        batch: Address of its `struct ArrowArray`.
        children: int64 (n,): the batch's column for each numeric column of the layout, of float64; -1 for none.
        tables: Bins.
        slots: Windows of the rows.
        values: float64 (BLOCK_ROWS,): room to work in.
        into: What is counted into.
    """
    for number in range(len(children)):
        array = child_of(batch, children[number]) if children[number] >= 0 else 0
        for slot in range(len(slots.bounds) - 1):
            first, stop = slots.bounds[slot], slots.bounds[slot + 1]
            if array == 0:
                into.tallies[slot, tables.column[number], _MISSING] += np.uint64(stop - first)
                continue
            for begin in range(first, stop, BLOCK_ROWS):
                end = min(begin + BLOCK_ROWS, stop)
                tallies = into.tallies[slot, tables.column[number]]
                count = _gather(array, slots.order, begin, end, values, tallies)
                _count_block(values[:count], number, tables, slot, into)


@kernel
def _gather(
    array: int,
    order: npt.NDArray[np.int32],
    begin: int,
    end: int,
    values: Floats,
    tallies: npt.NDArray[np.uint64],
) -> int:
    """Copy the finite values of some rows, count the others; return how many were copied."""
    validity, data, offset = validity_of(array), data_of(array), offset_of(array)
    in_order = len(order) == 0
    count = missing = 0
    for i in range(begin, end):
        item = offset + (i if in_order else int(order[i]))
        value = double_at(data, item)
        valid = is_valid(validity, item)
        values[count] = value + 0.0  # A negative zero becomes a zero: which of them is the smaller is no question.
        count += int(valid & (exponent_of(value) != NO_NUMBER))
        missing += int(not valid)
    tallies[_MISSING] += np.uint64(missing)
    tallies[_NON_FINITE] += np.uint64(end - begin - missing - count)
    return count


@kernel
def _count_block(values: Floats, number: int, tables: NumberTables, slot: int, into: Into) -> None:
    """Count up to BLOCK_ROWS finite values of one column and window."""
    if len(values) == 0:
        return
    _count_bins(values, number, tables, into.bins[slot])
    column = tables.column[number]
    extremes = into.extremes[slot, column]
    low, high, center = tables.scale[number, 0], tables.scale[number, 1], tables.scale[number, 2]
    add_moments(values, low, high, center, into.sums[slot, column], extremes)


@inlined
def _even_cell(distance: float, per_unit: float) -> np.uint64:
    """As `cells_of` has it. Unsigned, or numba would look for negative indices."""
    cell = distance * per_unit
    # Not a number, infinity times zero, is the first cell.
    cell = cell if cell > 0.0 else 0.0  # noqa: FURB136 - `max` would keep it.
    return np.uint64(min(cell, _LAST_CELL))


@inlined
def _growing_cell(distance: float, floor: int, shift: int, middle: int) -> np.uint64:
    """As `cells_of` has it."""
    bits = bits_of(distance)
    steps = max((bits & MAGNITUDE) - floor, 0) >> shift
    return np.uint64(min(max(middle - steps if bits < 0 else middle + steps, 0), CELLS))


@kernel
def _count_bins(values: Floats, number: int, tables: NumberTables, counts: npt.NDArray[np.uint64]) -> None:
    """Count finite values into the bins of one column.

    The search of a cell's edges takes the same steps for each value, and none is a branch: searches of several values
    run side by side, and nothing is guessed wrong.
    """
    first_bin, first_edge, first_cell, steps = tables.bins[number]
    high, origin, per_unit = tables.scale[number, 1], tables.scale[number, 3], tables.scale[number, 4]
    floor, shift, middle = tables.cells[number]
    growing = shift < ONE_CELL
    edges, lookup = tables.edges[first_edge:], tables.lookup[first_cell:]
    for i in range(len(values)):
        value = values[i]
        distance = value - origin
        cell = _growing_cell(distance, floor, shift, middle) if growing else _even_cell(distance, per_unit)
        edge = np.uint64(lookup[cell])
        for step in range(steps - 1, -1, -1):
            width = np.uint64(1) << np.uint64(step)
            # A shifted truth value stays one; the same as a product is made a branch.
            edge += np.uint64(edges[edge + width - np.uint64(1)] <= value) << np.uint64(step)
        counts[np.uint64(first_bin) + edge + np.uint64(value > high)] += np.uint64(1)
