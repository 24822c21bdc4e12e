"""Trees of values, arrays and tables as bytes and back: what entries, snapshots and blobs are made of.

A bundle is, in little-endian byte order:

    magic `DMB1` (4 bytes), size of the skeleton in bytes (u32)
    skeleton: the tree as JSON in UTF-8, spaces up to a multiple of 8 bytes
    buffers: what the skeleton stands for, in its order, each with zeros up to a multiple of 8 bytes

In the skeleton an object whose only key is empty stands for what JSON does not have; its value is a list:

    ["a", type, shape]   array; numpy's name of its element type; its buffer holds the elements in C order
    ["b", size]          bytes; as many as said
    ["r", size]          record batch; an Arrow stream of its schema, dictionaries and rows, uncompressed
    ["i", digits]        integer that needs more than 64 bits, in base 16
    ["d", pairs]         object that has an empty key: its keys and values

So reading copies no array and no table, and never takes more memory than the bytes read account for.
"""

import json
import math
import struct
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from driftmeter.errors import DamagedError
from driftmeter.model.blobs import Buffer

Tree: TypeAlias = (
    "bool | int | float | str | bytes | list[Tree] | dict[str, Tree] | npt.NDArray[Any] | pa.RecordBatch | None"
)
"""What can be packed. Arrays hold booleans, integers, floats or complex numbers, in any shape."""

_MAGIC = b"DMB1"
_HEAD = struct.Struct("<4sI")
_ALIGNMENT = 8
_ZEROS = bytes(_ALIGNMENT)
_SMALL_INTEGERS = range(-(1 << 63), 1 << 63)  # Beyond, reading digits takes time that grows with their square.
_TYPES = {
    np.dtype(order + name).str: np.dtype(order + name)
    for name in ("?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", "c8", "c16")
    for order in "<>"
}
_IPC_OPTIONS = pa.ipc.IpcWriteOptions(compression=None)
_AS_THEY_ARE = frozenset((str, float, bool, type(None)))
_ENCODER = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":"))
_JSON_DAMAGE = (ValueError, OverflowError, RecursionError)
_ARROW_DAMAGE = (pa.ArrowException, OSError, StopIteration, MemoryError, ValueError, OverflowError)


def pack(tree: Tree) -> list[Buffer]:
    """The tree as bytes, in parts to be written one after the other.

    Arrays are not copied: a part is the array's own memory and must not change before it is written. Rows of a record
    batch that is a slice of a larger one are copied without the rest.

    Args:
        tree: Values as `Tree` says: keys are strings, nesting is at most some hundred levels deep.

    Returns:
        Parts whose sizes add up to a multiple of 8 bytes.

    Raises:
        TypeError: The tree has something else in it.
    """
    buffers: list[Buffer] = []
    skeleton = _ENCODER.encode(_skeleton(tree, buffers)).encode("utf-8", "surrogatepass")
    skeleton += b" " * (-len(skeleton) % _ALIGNMENT)
    return [_HEAD.pack(_MAGIC, len(skeleton)) + skeleton, *buffers]


def _skeleton(node: Tree, buffers: list[Buffer]) -> Any:
    """What stands for a node in JSON. Puts the bytes it refers to into `buffers`."""
    kind = type(node)
    if kind in _AS_THEY_ARE or (kind is int and node in _SMALL_INTEGERS):
        return node
    if isinstance(node, str):
        return str.__str__(node)
    if isinstance(node, float):
        return float(node)
    if isinstance(node, list):
        return [_skeleton(each, buffers) for each in node]
    if isinstance(node, dict):
        for key in node:
            if not isinstance(key, str):
                raise TypeError(f"{key!r} is a key and no string")
        if "" not in node:
            return {key: _skeleton(each, buffers) for key, each in node.items()}
    return {"": _stand_in(node, buffers)}


def _stand_in(node: Tree, buffers: list[Buffer]) -> list[Any]:
    """The list for what JSON does not have."""
    if isinstance(node, np.ndarray):
        return _array(node, buffers)
    if isinstance(node, bytes):
        return ["b", _add(buffers, node, len(node))]
    if isinstance(node, pa.RecordBatch):
        stream = write_rows(node)
        return ["r", _add(buffers, stream, len(stream))]
    if isinstance(node, int):
        return ["i", f"{node:x}"]
    if isinstance(node, dict):
        return ["d", [[key, _skeleton(each, buffers)] for key, each in node.items()]]
    raise TypeError(f"{type(node).__name__} cannot be packed")


def _array(array: npt.NDArray[Any], buffers: list[Buffer]) -> list[Any]:
    name = array.dtype.str
    if name not in _TYPES:
        raise TypeError(f"an array of {array.dtype} cannot be packed")
    elements = array.reshape(-1)  # Copies what does not lie in C order.
    if elements.size:
        _add(buffers, elements.view(np.uint8).data, elements.nbytes)
    return ["a", name, list(array.shape)]


def _add(buffers: list[Buffer], part: Buffer, size_bytes: int) -> int:
    """Append a buffer and its padding; returns its size."""
    buffers.append(part)
    if padding := -size_bytes % _ALIGNMENT:
        buffers.append(_ZEROS[:padding])
    return size_bytes


def write_rows(rows: pa.RecordBatch) -> memoryview:
    """A record batch as an Arrow stream: schema, dictionaries, these rows and no others of their buffers."""
    sink = pa.BufferOutputStream()
    writer = pa.ipc.new_stream(sink, rows.schema, options=_IPC_OPTIONS)
    writer.write_batch(rows)
    writer.close()
    return memoryview(sink.getvalue())


def unpack(buffer: memoryview) -> Tree:
    """The tree that was packed.

    Args:
        buffer: All bytes of a bundle, contiguous. They are copied only if they do not start at a multiple of 8 bytes
            in memory; otherwise arrays and tables of the tree are views of them.

    Returns:
        The tree. Its arrays are read-only; its record batches are valid.

    Raises:
        DamagedError: The bytes are no bundle.
    """
    data = np.frombuffer(buffer, np.uint8)
    if data.ctypes.data % _ALIGNMENT:
        data = data.copy()  # Into memory that is aligned.
    data.flags.writeable = False
    if data.size < _HEAD.size:
        raise DamagedError("a bundle is shorter than its head")
    magic, size = _HEAD.unpack_from(data.data)
    if magic != _MAGIC or size % _ALIGNMENT or size > data.size - _HEAD.size:
        raise DamagedError("a bundle has a wrong head")
    end = _HEAD.size + size
    reader = _Reader(data, end)
    try:
        text = data[_HEAD.size : end].tobytes().decode("utf-8", "surrogatepass")
        tree: Tree = json.loads(text, object_hook=reader.node)
    except _JSON_DAMAGE as error:
        raise DamagedError(f"a bundle's skeleton is damaged: {error}") from error
    if reader.at != data.size:
        raise DamagedError(f"a bundle has {data.size} bytes and not the {reader.at} that it names")
    return tree


class _Reader:
    """Takes the buffers of a bundle one after the other, as the skeleton names them."""

    def __init__(self, data: npt.NDArray[np.uint8], at: int) -> None:
        self._data = data
        self.at = at

    def node(self, node: dict[str, Any]) -> Any:
        """What an object of the skeleton stands for."""
        if "" not in node:
            return node
        match node:
            case {"": ["a", str(name), list(shape)]} if len(node) == 1:
                return self._array(name, shape)
            case {"": ["b", size]} if len(node) == 1:
                return self._take(size).tobytes()
            case {"": ["r", size]} if len(node) == 1:
                return read_rows(self._take(size).data)
            case {"": ["i", str(digits)]} if len(node) == 1:
                return int(digits, 16)
            case {"": ["d", list(pairs)]} if len(node) == 1:
                return _from_pairs(pairs)
        raise DamagedError("a bundle's skeleton has an object of no known kind")

    def _array(self, name: str, shape: list[Any]) -> npt.NDArray[Any]:
        kind = _TYPES.get(name)
        if kind is None or not all(type(length) is int and length >= 0 for length in shape):
            raise DamagedError("a bundle's skeleton has an array of no known kind")
        elements = self._take(kind.itemsize * math.prod(shape)).view(kind)
        if kind.kind == "b" and elements.view(np.uint8).max(initial=0) > 1:
            raise DamagedError("a bundle has truth values that are neither true nor false")
        return elements.reshape(shape)

    def _take(self, size_bytes: Any) -> npt.NDArray[np.uint8]:
        if type(size_bytes) is not int or not 0 <= size_bytes <= self._data.size - self.at:
            raise DamagedError("a bundle ends before a buffer does")
        taken = self._data[self.at : self.at + size_bytes]
        self.at += size_bytes + -size_bytes % _ALIGNMENT
        return taken


def _from_pairs(pairs: list[Any]) -> dict[str, Any]:
    for pair in pairs:
        match pair:
            case [str(), _]:
                continue
        raise DamagedError("a bundle's skeleton has a pair that is none")
    return dict(pairs)


def read_rows(stream: memoryview) -> pa.RecordBatch:
    """The record batch of an Arrow stream: a view of these bytes.

    Args:
        stream: What `write_rows` has written.

    Raises:
        DamagedError: The bytes are no such stream, or what they hold is not valid (a text that is not UTF-8).
    """
    try:
        rows = pa.ipc.open_stream(pa.py_buffer(stream)).read_next_batch()
        rows.validate(full=True)
        _ = rows.schema.names  # Which looks at no names: those that are not UTF-8 would fail whoever reads them.
    except _ARROW_DAMAGE as error:
        raise DamagedError(f"an Arrow stream is damaged: {error}") from error
    return rows
