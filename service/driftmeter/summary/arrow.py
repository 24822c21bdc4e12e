"""A record batch's buffers as kernels read them: by the addresses in the C structures that Arrow hands out.

Python asks once for a batch, not once for each column. https://arrow.apache.org/docs/format/CDataInterface.html
"""

import ctypes
from collections.abc import Callable
from typing import Any, cast

import pyarrow as pa
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from driftmeter.model.compiled import inlined

_pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
_pointer_of.restype = ctypes.c_void_p
_pointer_of.argtypes = [ctypes.py_object, ctypes.c_char_p]

# Fields of `struct ArrowArray`, all of eight bytes.
_LENGTH, _NULL_COUNT, _OFFSET, _BUFFERS, _CHILDREN, _DICTIONARY = 0, 1, 2, 5, 6, 7
_VALIDITY, _DATA, _TEXTS = 0, 1, 2  # A column's buffers.


class Exported:
    """A batch whose buffers stay where they are while this lives.

    Attributes:
        address: Of the batch's `struct ArrowArray`.
    """

    def __init__(self, rows: pa.RecordBatch) -> None:
        _, self._capsule = rows.__arrow_c_array__()
        self.address: int = _pointer_of(self._capsule, b"arrow_array")


def _loads(kind: ir.Type, number: Any) -> Any:
    """An intrinsic that loads item `index` of the items of one type that begin at an address; integers as int64."""

    def load(typing_context: Any, address: Any, index: Any) -> Any:  # noqa: ARG001
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ARG001
            item = builder.load(builder.gep(builder.inttoptr(args[0], kind.as_pointer()), [args[1]]))
            if number is types.int64 and kind.width < ir.IntType(64).width:
                return builder.zext(item, ir.IntType(64)) if kind.width == 8 else builder.sext(item, ir.IntType(64))  # noqa: PLR2004 - a byte.
            return item

        return number(types.int64, types.int64), generate

    return intrinsic(load)


_Loads = Callable[[int, int], int]
byte_at = cast("_Loads", _loads(ir.IntType(8), types.int64))
int32_at = cast("_Loads", _loads(ir.IntType(32), types.int64))
int64_at = cast("_Loads", _loads(ir.IntType(64), types.int64))
double_at = cast("Callable[[int, int], float]", _loads(ir.DoubleType(), types.float64))


@inlined
def child_of(array: int, number: int) -> int:
    """Address of the structure of column `number`."""
    return int64_at(int64_at(array, _CHILDREN), number)


@inlined
def dictionary_of(array: int) -> int:
    """Address of the structure of a column's dictionary."""
    return int64_at(array, _DICTIONARY)


@inlined
def length_of(array: int) -> int:
    """Number of items."""
    return int64_at(array, _LENGTH)


@inlined
def offset_of(array: int) -> int:
    """Items before the first one, in each of the buffers."""
    return int64_at(array, _OFFSET)


@inlined
def validity_of(array: int) -> int:
    """Address of the bits of items that are not null; 0 when none is."""
    return 0 if int64_at(array, _NULL_COUNT) == 0 else int64_at(int64_at(array, _BUFFERS), _VALIDITY)


@inlined
def data_of(array: int) -> int:
    """Address of the items; of texts, of their offsets."""
    return int64_at(int64_at(array, _BUFFERS), _DATA)


@inlined
def texts_of(array: int) -> int:
    """Address of the bytes of all texts."""
    return int64_at(int64_at(array, _BUFFERS), _TEXTS)


@inlined
def is_valid(validity: int, item: int) -> bool:
    """Whether an item, its array's offset counted, is not null."""
    return validity == 0 or (byte_at(validity, item >> 3) >> (item & 7)) & 1 != 0
