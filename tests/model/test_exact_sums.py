"""Exact sums are what fractions give, rounded once."""

import math
import struct
from fractions import Fraction

import numpy as np
import numpy.typing as npt
from hypothesis import example, given, settings
from hypothesis import strategies as st

from driftmeter.model.exact import DIGITS, add_term, merge, merge_few, read_out

FINITE = st.floats(allow_nan=False, allow_infinity=False)
POWERS = st.builds(math.ldexp, st.sampled_from([1.0, -1.0]), st.integers(-1074, 1023))
NEAR_ONE = st.sampled_from([1.0, -1.0, 2.0**-53, -(2.0**-53), 1 + 2.0**-52, 2.0**53, 2.0**54, 5e-324, -5e-324])
TERMS = st.lists(st.one_of(FINITE, POWERS, NEAR_ONE), max_size=60)
LARGEST = struct.unpack("<d", b"\xff" * 6 + b"\xef\x7f")[0]


def sum_of(terms: list[float]) -> npt.NDArray[np.int32]:
    """Digits of the sum of some terms."""
    digits = np.zeros(DIGITS, np.int32)
    for term in terms:
        add_term(digits, term)
    return digits


def rounded(terms: list[float]) -> float:
    """The exact sum, rounded once; infinite beyond the largest double."""
    exact = sum(map(Fraction, terms), Fraction(0))
    try:
        return float(exact)
    except OverflowError:
        return math.inf if exact > 0 else -math.inf


@settings(max_examples=500, deadline=None)
@given(TERMS)
@example([LARGEST, LARGEST, -LARGEST])
@example([1.1984620899082105e308] * 3)
@example([LARGEST] * 20)
@example([-LARGEST] * 20)
@example([LARGEST, 2.0**969])
@example([LARGEST, 2.0**970])
@example([-5e-324, -5e-324])
@example([-1e-310, -5e-324])
@example([2.2250738585072014e-308, -5e-324])
def test_sums_are_rounded_once(terms: list[float]) -> None:
    """Whatever the terms, the number read out is the double nearest to their exact sum, ties to even."""
    assert float(read_out(sum_of(terms))) == rounded(terms)


@settings(max_examples=200, deadline=None)
@given(TERMS, st.integers(0, 60), st.randoms(use_true_random=False))
def test_order_and_grouping_change_no_digit(terms: list[float], cut: int, random: "object") -> None:
    """Shuffled, or summed in two parts that are merged in either way, the digits are the same."""
    whole = sum_of(terms)
    shuffled = list(terms)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    np.testing.assert_array_equal(sum_of(shuffled), whole)
    left, right = sum_of(shuffled[:cut]), sum_of(shuffled[cut:])
    merged, merged_few = left[None].copy(), left.copy()
    merge(merged, right[None])
    places = np.flatnonzero(right).astype(np.uint32)
    merge_few(merged_few, places, right[places])
    np.testing.assert_array_equal(merged[0], whole)
    np.testing.assert_array_equal(merged_few, whole)


def test_sums_that_cancel_leave_no_digit() -> None:
    """Zero has no digits, however it came about, and negative sums have no more than positive ones."""
    assert not sum_of([1e300, 3.25, -1e300, -3.25]).any()
    assert np.count_nonzero(sum_of([-1.5])) <= 2


def test_many_sums_are_read_at_once() -> None:
    """Any number of axes before the digits stays as it is."""
    sums = np.stack([sum_of([value]) for value in (0.0, -2.5, 1e-320, LARGEST, 5e-324, 3.0)]).reshape(2, 3, DIGITS)
    assert read_out(sums).tolist() == [[0.0, -2.5, 1e-320], [LARGEST, 5e-324, 3.0]]
