"""One compiled kernel that writes labelled protobuf messages; remote write and OTLP differ only in its arguments.

Every row becomes one length-delimited message: its labels, then its tail (values and times, prepared by numpy). Bytes
are written once per batch, by one pass over flat arrays; Python sees no series.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from driftmeter.model.compiled import jit

Bytes = npt.NDArray[np.uint8]
Offsets = npt.NDArray[np.int64]
Strings = tuple[Bytes, Offsets]
"""UTF-8 bytes of many strings, and where each starts; one offset more than strings."""
Flags = tuple[int, int, int]
"""Row tag, label tag, and 1 when values are wrapped in an `AnyValue`."""

_VARINT_BYTES_MAX = 10
_SEVEN_BITS = 127


@dataclass(frozen=True, slots=True)
class LabelShape:
    """How a format writes a label.

    Attributes:
        row_tag: Tag byte of the row's message in its parent.
        label_tag: Tag byte of a label in the row's message.
        any_value: True when the value is an OTLP `AnyValue` around the string, false when it is the string itself.
    """

    row_tag: int
    label_tag: int
    any_value: bool


@dataclass(frozen=True, slots=True)
class Tails:
    """What follows the labels in each row.

    Attributes:
        content: uint8, shape (rows, width).
        sizes: int64, shape (rows,): how many bytes of each row's content count.
    """

    content: Bytes
    sizes: Offsets


def encode_rows(
    frame: pl.DataFrame, labels: Mapping[str, str], shape: LabelShape, tails: Tails
) -> tuple[Bytes, Offsets]:
    """The rows of `frame` as consecutive messages.

    Args:
        frame: Has the string columns that `labels` names; an empty value leaves the label out.
        labels: Column of each label by its name on the wire, in the order in which labels are written.
        shape: Tags of the format.
        tails: What follows the labels, as many rows as `frame`.

    Returns:
        All messages, and int64 offsets, shape (rows + 1,): message `i` is `buffer[offsets[i]:offsets[i + 1]]`.
    """
    values = _flat([frame.get_column(column) for column in labels.values()])
    names = _flat([pl.Series(list(labels), dtype=pl.String)])
    flags = (shape.row_tag, shape.label_tag, int(shape.any_value))
    return _encode(names, values, (tails.content, tails.sizes), flags)


def varints(values: npt.NDArray[np.int64]) -> tuple[Bytes, Offsets]:
    """Protobuf varints of int64 values: uint8 of shape (rows, 10) and the used sizes, int64 of shape (rows,)."""
    bits = values.astype(np.uint64)[:, None] >> (np.arange(_VARINT_BYTES_MAX, dtype=np.uint64) * np.uint64(7))
    sizes = np.maximum((bits != 0).sum(axis=1), 1)
    more = np.arange(_VARINT_BYTES_MAX) < (sizes - 1)[:, None]
    return (
        (bits & np.uint64(0x7F)).astype(np.uint8) | np.where(more, 0x80, 0).astype(np.uint8),
        sizes.astype(np.int64),
    )


def fixed64(values: npt.NDArray[np.int64] | npt.NDArray[np.float64] | npt.NDArray[np.uint64]) -> Bytes:
    """Eight little-endian bytes of each value, shape (..., 8)."""
    whole = np.ascontiguousarray(values)
    return whole.astype(whole.dtype.newbyteorder("<"), copy=False).view(np.uint8).reshape(*whole.shape, 8)


def _flat(columns: Sequence[pl.Series]) -> Strings:
    """The strings of all columns, one column after the other."""
    array = pl.concat([column.alias("") for column in columns]).to_arrow(compat_level=pl.CompatLevel.oldest())
    _, offsets, data = array.buffers()
    flat_offsets = np.frombuffer(memoryview(offsets or b""), np.int64, len(array) + 1, array.offset * 8)
    return np.frombuffer(memoryview(data or b""), np.uint8), flat_offsets


@jit
def _varint_size(value: int) -> int:
    size = 1
    while value > _SEVEN_BITS:
        value >>= 7
        size += 1
    return size


@jit
def _put_varint(out: Bytes, at: int, value: int) -> int:
    while value > _SEVEN_BITS:
        out[at] = (value & _SEVEN_BITS) | (_SEVEN_BITS + 1)
        value >>= 7
        at += 1
    out[at] = value
    return at + 1


@jit
def _put_string(out: Bytes, at: int, tag: int, strings: Strings, cell: int) -> int:
    """Write a tag, a length and the string in `cell`; returns where to go on."""
    content, offsets = strings
    start, end = offsets[cell], offsets[cell + 1]
    out[at] = tag
    at = _put_varint(out, at + 1, end - start)
    for index in range(start, end):
        out[at] = content[index]
        at += 1
    return at


@jit
def _value_size(length: int, any_value: int) -> int:
    """Bytes of a label's value field, its tag included."""
    size = 1 + _varint_size(length) + length
    return 1 + _varint_size(size) + size if any_value else size


@jit
def _label_size(name_length: int, value_length: int, any_value: int) -> int:
    """Bytes inside a label's message."""
    return 1 + _varint_size(name_length) + name_length + _value_size(value_length, any_value)


@jit
def _put_label(out: Bytes, at: int, name: tuple[Strings, int], value: tuple[Strings, int], flags: Flags) -> int:
    """Write one label; returns where to go on."""
    (names, label), (values, cell) = name, value
    _, label_tag, any_value = flags
    name_length = names[1][label + 1] - names[1][label]
    length = values[1][cell + 1] - values[1][cell]
    out[at] = label_tag
    at = _put_varint(out, at + 1, _label_size(name_length, length, any_value))
    at = _put_string(out, at, 0x0A, names, label)
    if not any_value:
        return _put_string(out, at, 0x12, values, cell)
    out[at] = 0x12
    at = _put_varint(out, at + 1, 1 + _varint_size(length) + length)
    return _put_string(out, at, 0x0A, values, cell)


@jit
def _labels_size(row: int, rows: int, name_offsets: Offsets, value_offsets: Offsets, any_value: int) -> int:
    """Bytes of all labels of a row, tags and lengths included."""
    total = 0
    for label in range(len(name_offsets) - 1):
        cell = label * rows + row
        length = value_offsets[cell + 1] - value_offsets[cell]
        if length > 0:
            size = _label_size(name_offsets[label + 1] - name_offsets[label], length, any_value)
            total += 1 + _varint_size(size) + size
    return total


@jit
def _encode(names: Strings, values: Strings, tails: tuple[Bytes, Offsets], flags: Flags) -> tuple[Bytes, Offsets]:
    """See `encode_rows`. Sizes first, then one buffer of exactly the right length, then the bytes."""
    content, sizes = tails
    rows = len(sizes)
    inner = np.empty(rows, np.int64)
    offsets = np.zeros(rows + 1, np.int64)
    for row in range(rows):
        inner[row] = _labels_size(row, rows, names[1], values[1], flags[2]) + sizes[row]
        offsets[row + 1] = offsets[row] + 1 + _varint_size(inner[row]) + inner[row]
    out = np.empty(offsets[rows], np.uint8)
    at = 0
    for row in range(rows):
        out[at] = flags[0]
        at = _put_varint(out, at + 1, inner[row])
        for label in range(len(names[1]) - 1):
            cell = label * rows + row
            if values[1][cell + 1] > values[1][cell]:
                at = _put_label(out, at, (names, label), (values, cell), flags)
        for index in range(sizes[row]):
            out[at] = content[row, index]
            at += 1
    return out, offsets
