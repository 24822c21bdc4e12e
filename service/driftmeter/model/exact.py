"""Exact sums of doubles: the same bits in whatever order and however grouped the terms come.

A double is a whole number of units of 2^-1074, so a sum of doubles is a whole number too. It is kept to base 2^32 with
digits in [-2^31, 2^31), of which every whole number has exactly one sequence: equal sums are equal bit for bit, and all
but a few digits of a sum are zero, also of a negative one. 2^77 terms of the largest double fit, more than rows can be
counted.

Terms are first added to limbs of 64 bits without carries, at most `TERMS_MAX` of them, and then settled into digits.

R. Neal, Fast exact summation using small and large superaccumulators, 2015, https://arxiv.org/abs/1505.05571
"""

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from driftmeter.model.compiled import inlined, kernel

DIGITS = 68
"""Digits of a sum, the lowest first: 32 bits each, the lowest bit of all 2^-1074."""

Limbs = npt.NDArray[np.int64]
Digits = npt.NDArray[np.int32]

_LOW = 0xFFFFFFFF
_HALF = 0x80000000
_FRACTION_BITS = 52
_FRACTION = (1 << _FRACTION_BITS) - 1
_EXPONENTS = 0x7FF

NO_NUMBER = _EXPONENTS
"""`exponent_of` NaN and infinities."""


def _bits_of(typing_context: Any, number: Any) -> Any:  # noqa: ARG001
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ARG001
        return builder.bitcast(args[0], ir.IntType(64))

    return types.int64(types.float64), generate


bits_of = cast("Callable[[float], int]", intrinsic(_bits_of))
"""The 64 bits of a double."""


@inlined
def exponent_of(term: float) -> int:
    """The exponent bits of a double."""
    return (bits_of(term) >> _FRACTION_BITS) & _EXPONENTS


@kernel
def add_term(digits: Digits, term: float) -> None:
    """Add a finite double to a sum, int32 (DIGITS,), in place."""
    bits = bits_of(term)
    normal = int(exponent_of(term) != 0)
    negative = bits >> 63
    whole = (((bits & _FRACTION) | (normal << _FRACTION_BITS)) ^ negative) - negative
    add_units(digits, whole, exponent_of(term) - normal)


@inlined
def add_units(digits: Digits, whole: int, power: int) -> None:
    """Add whole · 2^power units to a sum in place; |whole| <= 2^62, 0 <= power < 2048."""
    place, shift = power >> 5, power & 31
    addend, carry = (whole << shift) & _LOW, whole >> (32 - shift)
    while (addend != 0 or carry != 0) and place < DIGITS:
        total = int(digits[place]) + addend
        digit = ((total + _HALF) & _LOW) - _HALF
        digits[place] = digit
        addend, carry = carry + ((total - digit) >> 32), 0
        place += 1


@kernel
def merge(sums: Digits, others: Digits) -> None:
    """Add sums to sums, int32 (n, DIGITS) both, in place."""
    for number in range(len(sums)):
        carry = 0
        for place in range(DIGITS):
            other = int(others[number, place])
            if other == 0 and carry == 0:
                continue
            total = int(sums[number, place]) + other + carry
            digit = ((total + _HALF) & _LOW) - _HALF
            carry = (total - digit) >> 32
            sums[number, place] = digit


@kernel
def merge_few(sums: Digits, places: npt.NDArray[np.uint32], others: Digits) -> None:
    """Add sums of which only some digits are given.

    Args:
        sums: int32 (n x DIGITS,), changed in place.
        places: uint32 (k,): where in `sums`, each less than its length.
        others: int32 (k,): the digits there.
    """
    for number in range(len(places)):
        place = int(places[number])
        carry = int(others[number])
        while carry != 0 and place < len(sums):
            total = int(sums[place]) + carry
            digit = ((total + _HALF) & _LOW) - _HALF
            carry = (total - digit) >> 32
            sums[place] = digit
            place += 1


def read_out(sums: Digits) -> npt.NDArray[np.float64]:
    """The doubles nearest to sums, ties to even; infinite beyond the largest double.

    Args:
        sums: int32 (..., DIGITS).

    Returns:
        float64 (...).
    """
    flat = np.ascontiguousarray(sums).reshape(-1, DIGITS)
    flat.flags.writeable = False
    bits = np.zeros(len(flat), np.int64)
    _round(flat, bits, np.empty(DIGITS, np.int64))
    return bits.view(np.float64).reshape(sums.shape[:-1])


@kernel
def _round(sums: Digits, bits: Limbs, plain: Limbs) -> None:
    """Bits of the double nearest to each sum; `plain` is room for the digits of one."""
    for number in range(len(sums)):
        top = DIGITS - 1
        while top >= 0 and sums[number, top] == 0:
            top -= 1
        if top < 0:
            continue  # Zero, as `bits` is.
        sign = -1 if sums[number, top] < 0 else 1
        carry = 0
        for place in range(top + 1):  # The magnitude, with digits in [0, 2^32).
            total = sign * int(sums[number, place]) + carry
            plain[place] = total & _LOW
            carry = total >> 32
        while plain[top] == 0:  # 1, -5 is one digit less: 2^32 - 5.
            top -= 1
        bits[number] = _nearest(plain, top) | (-(1 << 63) if sign < 0 else 0)


@kernel
def _nearest(plain: Limbs, top: int) -> int:
    """Bits of the double nearest to a whole number of units, of digits in [0, 2^32), `top` the highest not zero."""
    length = 0
    while (plain[top] >> length) != 0:
        length += 1
    last = 32 * top + length - 1 - _FRACTION_BITS  # The place of the last bit that the double keeps.
    if last >= _EXPONENTS - 1:
        return _EXPONENTS << _FRACTION_BITS
    if last <= 0:  # Subnormal, or as small as normal ones get: as many units as the double's bits say.
        return int(plain[0] | (plain[1] << 32 if top > 0 else 0))
    # The first of two digits, or of three when they hold less than the bits wanted: the shift is not 0 then.
    digit, shift = last >> 5, last & 31
    whole = (plain[digit] >> shift) | (plain[digit + 1] << (32 - shift))
    if digit + 2 <= top:
        whole |= plain[digit + 2] << (64 - shift)
    half_digit, half_shift = (last - 1) >> 5, (last - 1) & 31
    if (plain[half_digit] >> half_shift) & 1:
        rest = plain[half_digit] & ((1 << half_shift) - 1)
        while rest == 0 and half_digit > 0:
            half_digit -= 1
            rest = plain[half_digit]
        whole += 1 if rest != 0 else whole & 1
    # A fraction that rounds up to the next power of two carries into the exponent, as it should.
    return int((last << _FRACTION_BITS) + whole)
