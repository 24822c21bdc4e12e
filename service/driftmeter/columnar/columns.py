"""Attributes of one batch's spans into columns: cells, states and validity bits."""
# ruff: noqa: PLR0913 - kernels take arrays one by one, and hold all their loops.

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from driftmeter.columnar.entry import LEVELS, OWN, level_of
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
    KEY_LENGTH,
    KEY_OF_FIELD,
    KEY_OFFSET,
    SPAN_ROWS,
    SPECIALS,
    STRING,
    UNUSUAL,
    VISITED,
    Flat,
    Ints,
)
from driftmeter.columnar.memory import Bytes, as_int64, load8, load64
from driftmeter.model.compiled import inlined, kernel

Octets = npt.NDArray[np.uint8]

UNDECIDED, NUMERIC, CATEGORICAL, TEXT = range(4)
"""What a column holds. `TEXT` is a categorical column that takes numbers too, as text."""

ABSENT, PRESENT, MISMATCH, TOO_LONG = range(4)
"""What a row has in a column: nothing, a value, a value of a type the column does not take, or too long a text."""

_NAME_BYTES_MAX = 0xFFFF
_ALL_PRESENT = 0x0101010101010101


@kernel
def find_columns(buffer: Bytes, flat: Flat, spans: Ints, column_of_field: Ints, fields: Ints, names: Octets) -> int:
    """List the columns that occur in a batch, in order of first appearance.

    Args:
        buffer: The request.
        flat: What was found in it.
        spans: Rows of the batch's spans.
        column_of_field: -1 everywhere; receives each field's column.
        fields: Receives each column's field in its first words, and in the last one their number.
        names: Receives their keys, each behind its length in two bytes.

    Returns:
        Bytes of the keys; 0 when these are too many.
    """
    count = size = 0
    before = -1
    for span in spans:
        for level in range(LEVELS):
            first, stop = level_of(flat, span, level)
            if level < OWN:
                # Neighbours mostly have the same owners.
                if before >= 0 and (first, stop) == level_of(flat, before, level):
                    continue
                flat.state[VISITED] += stop - first
            for row in range(first, stop):
                field = flat.attributes[row, ATTRIBUTE_FIELD]
                if field >= SPECIALS and column_of_field[field] < 0:
                    column_of_field[field] = count
                    fields[count] = field
                    count += 1
                    size = _write_name(buffer, flat, field, names, size)
        before = span
    fields[-1] = count
    return max(size, 0)


@kernel
def _write_name(buffer: Bytes, flat: Flat, field: int, names: Octets, size: int) -> int:
    """Write a column's key behind the first `size` bytes; their number, or -1 when there is no room."""
    key = flat.keys[field, KEY_OF_FIELD]
    offset, length = flat.keys[key, KEY_OFFSET], flat.keys[key, KEY_LENGTH]
    if size < 0 or length > _NAME_BYTES_MAX or size + 2 + length > names.size:
        return -1
    names[size], names[size + 1] = length & 0xFF, length >> 8
    for i in range(length):
        names[size + 2 + i] = load8(buffer, offset + i)
    return int(size + 2 + length)


class Cells(NamedTuple):
    """Values of a batch's columns.

    Attributes:
        cells: Bits of the double, or the attribute's row for categorical columns; shape (columns, >= rows).
        states: What each cell holds, shape as `cells`; zeros at first.
        bits: Which rows have a value, least significant first; shape (columns, bytes).
        nulls: Rows without a value, by column.
        mismatches: Rows with a value of the wrong type, by column.
        dropped: Values not kept, by minus the reason; the first word counts too long texts, the last one is 1 when
            there is anything to count.
    """

    cells: Ints
    states: Octets
    bits: Octets
    nulls: Ints
    mismatches: Ints
    dropped: Ints


@kernel
def fill_cells(
    flat: Flat, spans: Ints, rows: int, column_of_field: Ints, kinds: Octets, text_bytes_max: int, room: Cells
) -> None:
    """Write every value of a batch to its place. A nearer level overwrites a further one, as does a later duplicate.

    Args:
        flat: The request.
        spans: Rows of the batch's spans.
        rows: Rows they have together.
        column_of_field: Each field's column, or a negative reason to drop it.
        kinds: Kind of each column.
        text_bytes_max: Longest text taken as a category.
        room: Receives the cells.
    """
    _fill_from_owners(flat, spans, column_of_field, kinds, text_bytes_max, room)
    cells, states, dropped = room.cells, room.states, room.dropped
    usual = flat.state[UNUSUAL] == 0
    start = 0
    for span in spans:
        count = flat.spans[span, SPAN_ROWS]
        first, stop = level_of(flat, span, OWN)
        for row in range(first, stop):
            field = flat.attributes[row, ATTRIBUTE_FIELD]
            if field < SPECIALS:
                if field < ELEMENT:
                    dropped[-field] += 1
                continue
            column = column_of_field[field]
            if column < 0:
                dropped[-column] += count
            elif usual or (count == 1 and flat.attributes[row, ATTRIBUTE_TYPE] != ARRAY):
                _fill_cell(flat, row, column, start, kinds, text_bytes_max, cells, states)
            else:
                _fill_rows(flat, row, column, start, count, kinds, text_bytes_max, cells, states)
        start += count
    _finish_cells(rows, room)


@kernel
def _fill_from_owners(
    flat: Flat, spans: Ints, column_of_field: Ints, kinds: Octets, text_bytes_max: int, room: Cells
) -> None:
    """Write values of resources, then of scopes: each attribute once for all the entries that have it."""
    for level in range(OWN):
        start = begin = 0
        while begin < spans.size:
            first, stop = level_of(flat, spans[begin], level)
            end, rows = begin, 0
            while end < spans.size and (first, stop) == level_of(flat, spans[end], level):
                rows += flat.spans[spans[end], SPAN_ROWS]
                end += 1
            run = spans[begin:end]
            for row in range(first, stop):
                flat.state[VISITED] += 1
                field = flat.attributes[row, ATTRIBUTE_FIELD]
                column = column_of_field[field] if field >= SPECIALS else -1
                if field >= SPECIALS and column < 0:
                    room.dropped[-column] += rows
                elif field < ELEMENT:
                    room.dropped[-field] += run.size
                elif column >= 0:
                    _fill_run(flat, row, column, start, run, kinds, text_bytes_max, room.cells, room.states)
            begin, start = end, start + rows


@kernel
def _fill_run(
    flat: Flat,
    row: int,
    column: int,
    start: int,
    run: Ints,
    kinds: Octets,
    text_bytes_max: int,
    cells: Ints,
    states: Octets,
) -> None:
    """Write one attribute to the rows of all entries of a run."""
    for span in run:
        rows = flat.spans[span, SPAN_ROWS]
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
def _finish_cells(rows: int, room: Cells) -> None:
    """Turn states into validity bits; count rows without a value; clear what stands there."""
    cells, states, bits, dropped = room.cells, room.states, room.bits, room.dropped
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
                    dropped[0] += int(state[i] == TOO_LONG)
                    cells[column, i] = 0
            flat_bits[start >> 3] = byte
        room.nulls[column], room.mismatches[column] = missing, wrong
    for reason in range(dropped.size - 1):
        dropped[-1] |= int(dropped[reason] > 0)
