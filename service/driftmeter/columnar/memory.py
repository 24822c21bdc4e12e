"""Unaligned reads from a byte array, hashes and comparisons of byte ranges.

The reads of this module do not check bounds: `load8` and `load64` are only called where the caller knows that the
bytes lie inside the array; everything else here keeps inside it by itself.
"""
# ruff: noqa: PLR2004 - lengths of words and values of bytes.

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from driftmeter.model.compiled import inlined, kernel

Bytes = npt.NDArray[np.uint8]

IDENTITY_SEED = 0x2D358DCCAA6C78A5
"""Seed of hashes that are kept, such as a span's key. Hashes that never leave the process have a random one, so that
nobody can prepare texts that collide."""

_HASH_STEP = 0x4B33A62ED433D4A3
_HIGH_BITS = np.int64(-0x7F7F7F7F7F7F7F80)  # 0x80 in each byte: set in every byte that is not ASCII.


def _pointer(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """Address of byte `args[1]` of array `args[0]`."""
    array = context.make_array(signature.args[0])(context, builder, args[0])
    return builder.gep(array.data, [args[1]])


def _load8(typing_context: Any, buffer: Any, position: Any) -> Any:  # noqa: ARG001
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.zext(builder.load(_pointer(context, builder, signature, args)), ir.IntType(64))

    return types.int64(buffer, types.int64), generate


load8 = cast("Callable[[Bytes, int], int]", intrinsic(_load8))
"""Byte at `position` as int64 in [0, 255]."""


def _load64(typing_context: Any, buffer: Any, position: Any) -> Any:  # noqa: ARG001
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        address = _pointer(context, builder, signature, args)
        word = builder.load(builder.bitcast(address, ir.IntType(64).as_pointer()))
        word.align = 1
        return word

    return types.int64(buffer, types.int64), generate


load64 = cast("Callable[[Bytes, int], int]", intrinsic(_load64))
"""Eight bytes from `position` on, little endian, as the bits of an int64."""


def _store8(typing_context: Any, buffer: Any, position: Any, byte: Any) -> Any:  # noqa: ARG001
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store(builder.trunc(args[2], ir.IntType(8)), _pointer(context, builder, signature, args))
        return context.get_dummy_value()

    return types.void(buffer, types.int64, types.int64), generate


store8 = cast("Callable[[Bytes, int, int], None]", intrinsic(_store8))
"""Write the low eight bits of a number to `position`, though the array's type says that it is only read. Only called
for the room behind a request that was made for it: see `json_members`."""


def _multiply_fold(typing_context: Any, left: Any, right: Any) -> Any:  # noqa: ARG001
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ARG001
        wide = ir.IntType(128)
        product = builder.mul(builder.zext(args[0], wide), builder.zext(args[1], wide))
        high = builder.lshr(product, ir.Constant(wide, 64))
        return builder.trunc(builder.xor(product, high), ir.IntType(64))

    return types.int64(types.int64, types.int64), generate


multiply_fold = cast("Callable[[int, int], int]", intrinsic(_multiply_fold))
"""Low half xor high half of the 128-bit product of two unsigned 64-bit numbers given as int64 bits."""


def _as_int64(typing_context: Any, number: Any) -> Any:  # noqa: ARG001
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ARG001
        return builder.bitcast(args[0], ir.IntType(64))

    return types.int64(types.float64), generate


as_int64 = cast("Callable[[float], int]", intrinsic(_as_int64))
"""The bits of a double."""


@inlined
def load_short(buffer: Bytes, position: int, length: int) -> int:
    """Up to 7 bytes from `position` on as int64, zeros above; reads nothing beyond the array."""
    if position + 8 <= buffer.size:
        return load64(buffer, position) & ((1 << (8 * length)) - 1)
    word = 0
    for i in range(length):
        word |= load8(buffer, position + i) << (8 * i)
    return word


@inlined
def equal(buffer: Bytes, left: int, right: int, length: int) -> bool:
    """Whether two ranges of one array hold the same bytes."""
    if length < 8:
        return load_short(buffer, left, length) == load_short(buffer, right, length)
    for i in range(0, length - 8, 8):
        if load64(buffer, left + i) != load64(buffer, right + i):
            return False
    return load64(buffer, left + length - 8) == load64(buffer, right + length - 8)


@kernel
def hash_bytes(buffer: Bytes, position: int, length: int, seed: int) -> int:
    """64-bit hash of a range, a pure function of its bytes and the seed.

    Multiply-and-fold over 8-byte words, as in wyhash (https://github.com/wangyi-fudan/wyhash): each word is mixed
    with the state by a 64 x 64 -> 128 bit product whose halves are xored; length and a last product finish it.
    """
    state = multiply_fold(length ^ _HASH_STEP, seed)
    if length < 8:
        return multiply_fold(state ^ load_short(buffer, position, length), _HASH_STEP)
    for i in range(0, length - 8, 8):
        state = multiply_fold(state ^ load64(buffer, position + i), _HASH_STEP) ^ seed
    return multiply_fold(state ^ load64(buffer, position + length - 8), _HASH_STEP)


@inlined
def valid_utf8(buffer: Bytes, position: int, length: int) -> bool:
    """Whether a range is UTF-8 as the Unicode standard defines it: no surrogates, no overlong forms."""
    if length < 8:
        return load_short(buffer, position, length) & _HIGH_BITS == 0 or _valid_any(buffer, position, length)
    for i in range(0, length - 8, 8):
        if load64(buffer, position + i) & _HIGH_BITS != 0:
            return _valid_any(buffer, position, length)
    return load64(buffer, position + length - 8) & _HIGH_BITS == 0 or _valid_any(buffer, position, length)


@kernel
def _valid_any(buffer: Bytes, position: int, length: int) -> bool:
    """UTF-8 by table 3-7 of the Unicode standard, for text that is not ASCII alone."""
    end = position + length
    while position < end:
        first = load8(buffer, position)
        position += 1
        if first < 0x80:
            continue
        low, high = 0x80, 0xBF
        if 0xC2 <= first <= 0xDF:
            more = 1
        elif 0xE0 <= first <= 0xEF:
            more = 2
            low = 0xA0 if first == 0xE0 else 0x80
            high = 0x9F if first == 0xED else 0xBF
        elif 0xF0 <= first <= 0xF4:
            more = 3
            low = 0x90 if first == 0xF0 else 0x80
            high = 0x8F if first == 0xF4 else 0xBF
        else:
            return False
        if position + more > end:
            return False
        for _ in range(more):
            byte = load8(buffer, position)
            if byte < low or byte > high:
                return False
            low, high = 0x80, 0xBF
            position += 1
    return True
