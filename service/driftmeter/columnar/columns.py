"""Attributes of one batch's spans into columns: cells, states, validity bits and dictionary codes."""
# ruff: noqa: PLR0913 - kernels take arrays one by one, and hold all their loops.

import numpy as np
import numpy.typing as npt

from driftmeter.columnar.entry import LEVELS, OWN, level_of
from driftmeter.columnar.grouping import hash_value, same_value
from driftmeter.columnar.layout import (
    ARRAY,
    ATTRIBUTE_FIELD,
    ATTRIBUTE_LENGTH,
    ATTRIBUTE_TYPE,
    ATTRIBUTE_VALUE,
    BOOL,
    DOUBLE,
    ELEMENT,
    EMPTY,
    INT,
    SEED,
    SPAN_ROWS,
    SPECIALS,
    STRING,
    UNUSUAL,
    Flat,
    Ints,
)
from driftmeter.columnar.memory import Bytes, as_int64, load64
from driftmeter.model.compiled import inlined, kernel

Octets = npt.NDArray[np.uint8]
Codes = npt.NDArray[np.int32]

UNDECIDED, NUMERIC, CATEGORICAL, TEXT = range(4)
"""What a column holds. `TEXT` is a categorical column that takes numbers too, as text."""

ABSENT, PRESENT, MISMATCH, TOO_LONG = range(4)
"""What a row has in a column: nothing, a value, a value of a type the column does not take, or too long a text."""

_ALL_PRESENT = 0x0101010101010101


@kernel
def find_columns(flat: Flat, spans: Ints, column_of_field: Ints, fields: Ints) -> int:
    """List the columns that occur in a batch, in order of first appearance; return their number.

    Args:
        flat: The request.
        spans: Rows of the batch's spans.
        column_of_field: -1 everywhere; receives each field's column.
        fields: Receives each column's field.
    """
    count = 0
    for span in spans:
        for level in range(LEVELS):
            first, stop = level_of(flat, span, level)
            for row in range(first, stop):
                field = flat.attributes[row, ATTRIBUTE_FIELD]
                if field >= SPECIALS and column_of_field[field] < 0:
                    column_of_field[field] = count
                    fields[count] = field
                    count += 1
    return count


@kernel
def first_kinds(flat: Flat, spans: Ints, column_of_field: Ints, seen: Ints, kinds: Ints) -> None:
    """Find the kind of each column's first scalar value.

    Only values that are not overwritten by a later level or a later duplicate count, so spans are read backwards.

    Args:
        flat: The request.
        spans: Rows of the batch's spans.
        column_of_field: Each field's column.
        seen: -1 for each column; the last span a column was seen in.
        kinds: UNDECIDED for each column; receives NUMERIC or CATEGORICAL where a value says so.
    """
    undecided = kinds.size
    for i in range(spans.size):
        for level in range(LEVELS):
            first, stop = level_of(flat, spans[i], OWN - level)
            for row in range(stop - 1, first - 1, -1):
                field = flat.attributes[row, ATTRIBUTE_FIELD]
                column = column_of_field[field] if field >= SPECIALS else -1
                if column < 0 or seen[column] == i:
                    continue
                seen[column] = i
                if kinds[column] == UNDECIDED:
                    kinds[column] = _kind_of(flat, row)
                    undecided -= int(kinds[column] != UNDECIDED)
        if undecided == 0:
            return


@kernel
def _kind_of(flat: Flat, row: int) -> int:
    """NUMERIC or CATEGORICAL by the first scalar of an attribute; UNDECIDED without one."""
    first, stop = row, row + 1
    if flat.attributes[row, ATTRIBUTE_TYPE] == ARRAY:
        first = flat.attributes[row, ATTRIBUTE_VALUE]
        stop = first + flat.attributes[row, ATTRIBUTE_LENGTH] if first >= 0 else first
    for each in range(first, stop):
        kind = flat.attributes[each, ATTRIBUTE_TYPE]
        if kind in (DOUBLE, INT, STRING, BOOL):
            return NUMERIC if kind in (DOUBLE, INT) else CATEGORICAL
    return UNDECIDED


@kernel
def fill_cells(
    flat: Flat,
    spans: Ints,
    column_of_field: Ints,
    kinds: Octets,
    text_bytes_max: int,
    cells: Ints,
    states: Octets,
    dropped: Ints,
) -> None:
    """Write every value of a batch to its place. A later level overwrites an earlier one, as does a later duplicate.

    Args:
        flat: The request.
        spans: Rows of the batch's spans, which have n rows together.
        column_of_field: Each field's column, or a negative reason to drop it.
        kinds: Kind of each column.
        text_bytes_max: Longest text taken as a category.
        cells: Receives bits of the double, or the attribute's row for categorical columns; shape (columns, >= n).
        states: Zeros; receives what each cell holds, shape as `cells`.
        dropped: Counts values not kept, indexed by minus the reason; too long texts are counted by `finish_cells`.
    """
    usual = flat.state[UNUSUAL] == 0
    start = 0
    for span in spans:
        rows = flat.spans[span, SPAN_ROWS]
        for level in range(LEVELS):
            first, stop = level_of(flat, span, level)
            for row in range(first, stop):
                field = flat.attributes[row, ATTRIBUTE_FIELD]
                if field < SPECIALS:
                    if field < ELEMENT:
                        dropped[-field] += 1
                    continue
                column = column_of_field[field]
                if column < 0:
                    dropped[-column] += rows
                elif usual or (rows == 1 and flat.attributes[row, ATTRIBUTE_TYPE] != ARRAY):
                    _fill_cell(flat, row, column, start, kinds, text_bytes_max, cells, states)
                else:
                    _fill_rows(flat, row, column, start, rows, kinds, text_bytes_max, cells, states)
        start += rows


@inlined
def _fill_cell(
    flat: Flat,
    row: int,
    column: int,
    place: int,
    kinds: Octets,
    text_bytes_max: int,
    cells: Ints,
    states: Octets,
) -> None:
    """Write the scalar in an attribute's row to one cell."""
    kind = flat.attributes[row, ATTRIBUTE_TYPE]
    if kinds[column] <= NUMERIC:
        if kind == DOUBLE:
            cells[column, place] = flat.attributes[row, ATTRIBUTE_VALUE]
            states[column, place] = PRESENT
            return
        cells[column, place] = as_int64(float(flat.attributes[row, ATTRIBUTE_VALUE]))
        fits = kind == INT
    else:
        cells[column, place] = row
        if kind == STRING:
            fitting = flat.attributes[row, ATTRIBUTE_LENGTH] <= text_bytes_max
            states[column, place] = PRESENT if fitting else TOO_LONG
            return
        fits = kind == BOOL or (kinds[column] == TEXT and kind in (INT, DOUBLE))
    states[column, place] = PRESENT if fits else ABSENT if kind == EMPTY else MISMATCH


@kernel
def _fill_rows(
    flat: Flat,
    row: int,
    column: int,
    start: int,
    rows: int,
    kinds: Octets,
    text_bytes_max: int,
    cells: Ints,
    states: Octets,
) -> None:
    """Write an array's elements to one row each, or a scalar to all rows.

    An array of another length is one that a nearer level overwrites.
    """
    if flat.attributes[row, ATTRIBUTE_TYPE] == ARRAY:
        first = flat.attributes[row, ATTRIBUTE_VALUE]
        count = min(rows, flat.attributes[row, ATTRIBUTE_LENGTH]) if first >= 0 else 0
        for i in range(count):
            _fill_cell(flat, first + i, column, start + i, kinds, text_bytes_max, cells, states)
    else:
        for i in range(rows):
            _fill_cell(flat, row, column, start + i, kinds, text_bytes_max, cells, states)


@kernel
def finish_cells(cells: Ints, states: Octets, rows: int, bits: Octets, nulls: Ints, mismatches: Ints) -> int:
    """Turn states into validity bits, least significant first; count rows without a value; clear what stands there.

    Returns the number of texts that are too long.
    """
    too_long = 0
    for column in range(cells.shape[0]):
        missing = wrong = 0
        state, flat_bits = states[column], bits[column]
        for start in range(0, rows, 8):
            if start + 8 <= rows and load64(state, start) == _ALL_PRESENT:
                flat_bits[start >> 3] = 0xFF
                continue
            byte = 0
            for i in range(start, min(start + 8, rows)):
                if state[i] == PRESENT:
                    byte |= 1 << (i - start)
                else:
                    missing += 1
                    wrong += int(state[i] == MISMATCH)
                    too_long += int(state[i] == TOO_LONG)
                    cells[column, i] = 0
            flat_bits[start >> 3] = byte
        nulls[column], mismatches[column] = missing, wrong
    return too_long


@kernel
def encode_cells(
    buffer: Bytes, flat: Flat, cells: Ints, states: Octets, columns: Ints, slots: Codes, codes: Codes, entries: Ints
) -> None:
    """Number the distinct values of categorical columns in order of first appearance.

    Args:
        buffer: The request.
        flat: Its attributes.
        cells: Attribute rows, shape (all columns, >= n).
        states: What the cells hold.
        columns: The categorical ones, k of them.
        slots: Room for a hash table: a power of two, at least 2n.
        codes: Receives codes, shape (k, n).
        entries: Receives how many entries each column has in its first k words, then, column by column, the
            attribute that each entry was first seen in; 0 stands for cells without a value.
    """
    attributes, seed, mask = flat.attributes, flat.state[SEED], slots.size - 1
    entry = columns.size
    for k in range(columns.size):
        column, base = columns[k], entry
        slots[:] = -1
        for i in range(codes.shape[1]):
            codes[k, i] = 0
            if states[column, i] != PRESENT:
                continue
            row = cells[column, i]
            slot = hash_value(buffer, attributes, row, seed) & mask
            while slots[slot] >= 0 and not same_value(buffer, attributes, entries[base + slots[slot]], row):
                slot = (slot + 1) & mask
            if slots[slot] < 0:
                slots[slot] = entry - base
                entries[entry] = row
                entry += 1
            codes[k, i] = slots[slot]
        entries[k] = entry - base
