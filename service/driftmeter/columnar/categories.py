"""Texts of categorical columns into codes and dictionaries."""
# ruff: noqa: PLR0913 - kernels take arrays one by one, and hold all their loops.

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from driftmeter.columnar.columns import PRESENT, Cells, Octets
from driftmeter.columnar.grouping import hash_value, same_value
from driftmeter.columnar.layout import ATTRIBUTE_TYPE, SEED, STRING, Flat, Ints
from driftmeter.columnar.memory import Bytes
from driftmeter.columnar.texts import texts_of
from driftmeter.model.compiled import kernel

Codes = npt.NDArray[np.int32]


def dictionaries(
    buffer: Bytes, flat: Flat, cells: Cells, columns: Ints, rows: int
) -> list[tuple[pa.Buffer, pa.StringArray]]:
    """Codes and distinct texts of each categorical column.

    Args:
        buffer: The request.
        flat: Its attributes.
        cells: The batch's.
        columns: Which are categorical.
        rows: Rows of the batch.
    """
    if not columns.size:
        return []
    slots = np.empty(1 << (2 * rows - 1).bit_length(), np.int32)
    codes = np.empty((columns.size, rows), np.int32)
    entries = np.empty(columns.size * (rows + 1), np.int64)
    encode_cells(buffer, flat, cells.cells, cells.states, columns, slots, codes, entries)
    sizes = entries[: columns.size].tolist()
    firsts = entries[columns.size : columns.size + sum(sizes)]
    texts = texts_of(buffer, flat.attributes, firsts)
    numbers = flat.attributes[firsts, ATTRIBUTE_TYPE] != STRING
    any_numbers = numbers.any()
    result, start = [], 0
    for size, row in zip(sizes, codes, strict=True):
        column_texts, stop = texts.slice(start, size), start + size
        if any_numbers and numbers[start:stop].any():
            result.append(_merge_equal(row, column_texts))
        else:
            result.append((pa.py_buffer(row), column_texts))
        start = stop
    return result


def _merge_equal(codes: Codes, texts: pa.StringArray) -> tuple[pa.Buffer, pa.StringArray]:
    """Give values of different types that read alike, such as true and "true", one code."""
    merged = texts.dictionary_encode()
    if not len(texts):
        return pa.py_buffer(codes), texts
    return pa.py_buffer(merged.indices.to_numpy()[codes]), merged.dictionary


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
        before, code = -1, 0
        for i in range(codes.shape[1]):
            codes[k, i] = 0
            if states[column, i] != PRESENT:
                continue
            row = cells[column, i]
            if row == before:  # An owner's value, in all its entries.
                codes[k, i] = code
                continue
            slot = hash_value(buffer, attributes, row, seed) & mask
            while slots[slot] >= 0 and not same_value(buffer, attributes, entries[base + slots[slot]], row):
                slot = (slot + 1) & mask
            if slots[slot] < 0:
                slots[slot] = entry - base
                entries[entry] = row
                entry += 1
            before, code = row, slots[slot]
            codes[k, i] = code
        entries[k] = entry - base
