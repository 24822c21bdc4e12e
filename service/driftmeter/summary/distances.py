"""The deciding distances of very many windows of one column: what `methods` says in polars, compiled.

The expressions of `methods` are the definition, and tests hold both together. These serve the baseline's chunks, of
which there are thousands for each column, compared several times.
"""

import math

import numpy as np
import numpy.typing as npt

from driftmeter.model.compiled import frozen, inlined, jit

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def jensen_shannon_squared(observed: npt.NDArray[np.uint64], expected: Floats, against: Ints, group: Ints) -> Floats:
    """Jensen-Shannon divergence in bits (the distance squared) of each window from what it is compared with.

    Args:
        observed: uint64 (k, bins): counts of k windows.
        expected: float64 (e, bins): counts that windows are compared with.
        against: int64 (k,): which of these each window is compared with; -1 for none.
        group: int64 (bins,): the group each bin is added to, ascending from 0 without gaps.

    Returns:
        float64 (k,) in [0, 1]; nan where either side has no rows, and where there is nothing to compare with.
    """
    firsts = np.flatnonzero(np.diff(group, prepend=-1))
    windows, references = np.add.reduceat(observed, firsts, axis=1), np.add.reduceat(expected, firsts, axis=1)
    return _jensen_shannon(frozen(windows), frozen(references), frozen(against))


def wasserstein(observed: npt.NDArray[np.uint64], expected: Floats, against: Ints, width: Floats) -> Floats:
    """Wasserstein distance of each window from what it is compared with, both inside the reference's range.

    Args:
        observed: uint64 (k, bins): counts of k windows, in bin order.
        expected: float64 (e, bins): counts that windows are compared with.
        against: int64 (k,): which of these each window is compared with; -1 for none.
        width: float64 (bins,): width of each bin, feature units; bins touch.

    Returns:
        float64 (k,), feature units; nan where either side has no rows, and where there is nothing to compare with.
    """
    return _wasserstein(frozen(observed), frozen(expected), frozen(against), frozen(width))


@jit(error_model="numpy")
def _jensen_shannon(observed: npt.NDArray[np.uint64], expected: Floats, against: Ints) -> Floats:
    shares = np.empty(expected.shape)
    for e in range(expected.shape[0]):
        shares[e] = expected[e] / expected[e].sum()
    found = np.full(observed.shape[0], math.nan)
    for i in range(observed.shape[0]):
        rows = float(observed[i].sum())
        if against[i] >= 0 and rows > 0 and shares[against[i], 0] >= 0:
            found[i] = _divergence(shares[against[i]], observed[i], rows)
    return found


@inlined
def _divergence(shares: Floats, counts: npt.NDArray[np.uint64], rows: float) -> float:
    """Of shares from counts of so many rows."""
    total = 0.0
    for g in range(len(shares)):
        p, q = shares[g], float(counts[g]) / rows
        mean = (p + q) / 2
        if p > 0:
            total += p * math.log2(p / mean)
        if q > 0:
            total += q * math.log2(q / mean)
    return min(max(total / 2, 0.0), 1.0)


@jit(error_model="numpy")
def _wasserstein(observed: npt.NDArray[np.uint64], expected: Floats, against: Ints, width: Floats) -> Floats:
    bins = observed.shape[1]
    below = np.zeros(expected.shape)  # Share of the rows up to each bin's right edge.
    for e in range(expected.shape[0]):
        total = 0.0
        for b in range(bins):
            total += expected[e, b]
            below[e, b] = total
        for b in range(bins):
            below[e, b] /= total
    found = np.full(observed.shape[0], math.nan)
    for i in range(observed.shape[0]):
        rows = 0.0
        for b in range(bins):
            rows += float(observed[i, b])
        if against[i] < 0 or rows == 0 or not below[against[i], 0] >= 0:
            continue
        area, count, left = 0.0, 0.0, 0.0
        own, share = below[against[i]], 1 / rows
        for b in range(bins):
            count += float(observed[i, b])
            right = own[b] - count * share
            # A line from left to right has mean magnitude (|left| + |right|) / 2, less where it changes its sign.
            area += width[b] * (abs(left) + abs(right)) / 2
            if left * right < 0:
                area += width[b] * left * right / (abs(left) + abs(right))
            left = right
        found[i] = area
    return found
