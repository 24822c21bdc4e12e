"""Attributes as Arrow strings, without a Python string per value."""

from typing import cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from driftmeter.columnar.layout import (
    ATTRIBUTE_LENGTH,
    ATTRIBUTE_TYPE,
    ATTRIBUTE_VALUE,
    BOOL,
    DOUBLE,
    INT,
    STRING,
    Ints,
)
from driftmeter.columnar.memory import Bytes, load8
from driftmeter.model.compiled import kernel


def text_of(request: bytes | memoryview, attributes: Ints, row: int) -> str:
    """One scalar attribute as text: `true`, `12`, `0.5`. Empty for -1, and for what is no scalar."""
    if row < 0:
        return ""
    kind, value = int(attributes[row, ATTRIBUTE_TYPE]), int(attributes[row, ATTRIBUTE_VALUE])
    if kind == STRING:
        return str(request[value : value + int(attributes[row, ATTRIBUTE_LENGTH])], "utf-8")
    if kind == BOOL:
        return "true" if value else "false"
    if kind == INT:
        return str(value)
    if kind == DOUBLE:
        return str(_double_texts(attributes[row : row + 1, ATTRIBUTE_VALUE])[0])
    return ""


def _double_texts(bits: Ints) -> pa.Array:
    """Doubles as the shortest text that reads back as the same; whole ones end in `.0`, as Python writes them."""
    texts = pc.cast(pa.array(np.ascontiguousarray(bits).view(np.float64)), pa.string())
    whole = pc.match_substring_regex(texts, r"^-?\d+$")
    return pc.if_else(whole, pc.binary_join_element_wise(texts, pa.scalar(".0"), ""), texts)


def texts_of(buffer: Bytes, attributes: Ints, rows: Ints) -> pa.StringArray:
    """Scalar attributes as text, one per row, as `text_of` writes them; null for -1 and for what is no scalar.

    The texts together must stay below 2 GiB.
    """
    offsets, valid = np.empty(rows.size + 1, np.int32), np.empty(rows.size, np.bool_)
    numbers = measure_texts(attributes, rows, offsets, valid)
    data = np.empty(offsets[-1], np.uint8)
    copy_texts(buffer, attributes, rows, offsets, data)
    nulls = rows.size - np.count_nonzero(valid)
    validity = pa.py_buffer(np.packbits(valid, bitorder="little")) if nulls else None
    texts = pa.StringArray.from_buffers(rows.size, pa.py_buffer(offsets), pa.py_buffer(data), validity, int(nulls))
    return _with_numbers(texts, attributes, rows) if numbers else texts


def _with_numbers(texts: pa.StringArray, attributes: Ints, rows: Ints) -> pa.StringArray:
    """Write numbers where `texts` has room for them."""
    known = np.where(rows >= 0, rows, 0)
    kinds = np.where(rows >= 0, attributes[known, ATTRIBUTE_TYPE], 0)
    bits = attributes[known, ATTRIBUTE_VALUE]
    integers = pc.cast(pa.array(bits), pa.string())
    mixed = pc.if_else(pa.array(kinds == INT), integers, texts)
    return cast("pa.StringArray", pc.if_else(pa.array(kinds == DOUBLE), _double_texts(bits), mixed))


@kernel
def measure_texts(attributes: Ints, rows: Ints, offsets: npt.NDArray[np.int32], valid: npt.NDArray[np.bool_]) -> int:
    """Lay out strings and booleans; return how many numbers there are, which get no room yet."""
    position = numbers = 0
    for i in range(rows.size):
        offsets[i] = position
        row = rows[i]
        kind = attributes[row, ATTRIBUTE_TYPE] if row >= 0 else 0
        valid[i] = kind in (STRING, BOOL, INT, DOUBLE)
        if kind == STRING:
            position += attributes[row, ATTRIBUTE_LENGTH]
        elif kind == BOOL:
            position += 4 if attributes[row, ATTRIBUTE_VALUE] else 5
        elif valid[i]:
            numbers += 1
    offsets[rows.size] = position
    return numbers


@kernel
def copy_texts(
    buffer: Bytes, attributes: Ints, rows: Ints, offsets: npt.NDArray[np.int32], data: npt.NDArray[np.uint8]
) -> None:
    """Copy what `measure_texts` laid out."""
    for i in range(rows.size):
        if offsets[i + 1] == offsets[i]:
            continue
        row, to = rows[i], offsets[i]
        value = attributes[row, ATTRIBUTE_VALUE]
        if attributes[row, ATTRIBUTE_TYPE] == STRING:
            for k in range(attributes[row, ATTRIBUTE_LENGTH]):
                data[to + k] = load8(buffer, value + k)
        elif value:
            data[to], data[to + 1], data[to + 2], data[to + 3] = 0x74, 0x72, 0x75, 0x65  # true
        else:
            data[to], data[to + 1], data[to + 2] = 0x66, 0x61, 0x6C  # fal
            data[to + 3], data[to + 4] = 0x73, 0x65  # se
