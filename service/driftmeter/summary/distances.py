"""The deciding distances of very many windows of one column: what `methods` says in polars, compiled.

The expressions of `methods` are the definition, and tests hold both together. These serve the baseline's chunks, of
which there are thousands for each column, compared several times: most of them have rows in few of the bins, and what
they are compared with is the same for many, or changes by a few rows from one to the next.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from driftmeter.model.compiled import frozen, inlined, jit, kernel

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class Filled(NamedTuple):
    """Counts of k windows of one column without the bins that have no rows: 8 bytes a row at most.

    Attributes:
        starts: int64 (k + 1,): each window's first entry, and the end.
        bins: int32 (entries,): the bin of each entry, ascending in each window.
        counts: uint32 (entries,): rows in it, above 0.
        size: How many bins there are.
    """

    starts: Ints
    bins: npt.NDArray[np.int32]
    counts: npt.NDArray[np.uint32]
    size: int

    @classmethod
    def of(cls, counts: npt.NDArray[np.uint64]) -> "Filled":
        """From counts (k, bins)."""
        starts = np.zeros(len(counts) + 1, np.int64)
        bins, own = np.empty(counts.size, np.int32), np.empty(counts.size, np.uint32)  # Touched as far as filled.
        _fill(frozen(counts), starts, bins, own)
        return cls(starts, bins[: starts[-1]].copy(), own[: starts[-1]].copy(), counts.shape[1])

    @classmethod
    def joined(cls, parts: Sequence["Filled"]) -> "Filled":
        """Windows of several, one after the other."""
        sizes = np.concatenate([np.zeros(1, np.int64), *(np.diff(each.starts) for each in parts)])
        bins, counts = (np.concatenate(each) for each in zip(*(part[1:3] for part in parts), strict=True))
        return cls(np.cumsum(sizes), bins, counts, parts[0].size)

    def first(self, windows: int) -> "Filled":
        """The first so many windows."""
        end = self.starts[windows]
        return Filled(self.starts[: windows + 1], self.bins[:end], self.counts[:end], self.size)

    def slice(self, first: int, last: int) -> "Filled":
        """Windows `first` to `last`."""
        begin, end = self.starts[[first, last]]
        return Filled(self.starts[first : last + 1] - begin, self.bins[begin:end], self.counts[begin:end], self.size)

    def sums(self, which: npt.NDArray[np.bool_] | None = None) -> Ints:
        """int64 (k,): rows of each window; of the entries marked in `which`, bool (entries,)."""
        counts = self.counts if which is None else np.where(which, self.counts, np.uint32(0))
        running = np.concatenate(([0], np.cumsum(counts, dtype=np.int64)))
        return np.asarray(running[self.starts[1:]] - running[self.starts[:-1]])

    def by(self, group: Ints, groups: int) -> Floats:
        """float64 (groups, size): sums of the windows of each group, int64 (k,)."""
        place = np.repeat(group, np.diff(self.starts)) * self.size + self.bins
        return np.bincount(place, self.counts, groups * self.size).astype(np.float64).reshape(groups, self.size)


class Scale(NamedTuple):
    """How the bins of one column are looked at.

    Attributes:
        group: int64 (bins,): the group each bin is added to for the Jensen-Shannon distance, ascending from 0 without
            gaps.
        width: float64 (bins,): width of each bin, feature units, for the Wasserstein distance; bins touch.
    """

    group: Ints
    width: Floats


def compare(observed: Filled, expected: Floats, against: Ints, scale: Scale) -> tuple[Floats, Floats]:
    """Distances of each of k windows from one of several expectations, both inside the reference's range.

    Args:
        observed: The windows.
        expected: float64 (e, bins): counts that windows are compared with.
        against: int64 (k,): which of these each window is compared with; -1 for none.
        scale: How bins are looked at.

    Returns:
        float64 (k,) each, nan where either side has no rows and where there is nothing to compare with: the
        Jensen-Shannon divergence in bits, which is the distance squared, and the Wasserstein distance in feature units.
    """
    found = np.full((2, len(against)), math.nan)
    firsts = np.flatnonzero(np.diff(scale.group, prepend=-1))
    grouped = np.add.reduceat(expected, firsts, axis=1)
    entries = (frozen(observed.starts), frozen(observed.bins), frozen(observed.counts))
    _compare(
        *entries, frozen(expected), frozen(grouped), frozen(against), frozen(scale.group), frozen(scale.width), found
    )
    return found[0], found[1]


def compare_following(observed: Filled, first: Ints, last: Ints, scale: Scale) -> tuple[Floats, Floats, Floats]:
    """Distances of each of k windows from others of them, those from `first` to `last` added up.

    Args:
        observed: The windows.
        first: int64 (k,): the first window that each is compared with. What is compared with costs what it differs by
            from one window to the next.
        last: int64 (k,): the one after the last; the same as `first` for none.
        scale: How bins are looked at.

    Returns:
        float64 (k,) each: rows of what the window is compared with, and the two distances as of `compare`.
    """
    found = np.full((3, len(first)), math.nan)
    entries = (frozen(observed.starts), frozen(observed.bins), frozen(observed.counts))
    _compare_following(*entries, frozen(first), frozen(last), frozen(scale.group), frozen(scale.width), found)
    return found[0], found[1], found[2]


@kernel
def _fill(
    counts: npt.NDArray[np.uint64], starts: Ints, bins: npt.NDArray[np.int32], own: npt.NDArray[np.uint32]
) -> None:
    """Write the entries of counts (k, bins), with room for all of these."""
    entry = np.int64(0)
    for i in range(counts.shape[0]):
        for place in range(counts.shape[1]):
            # Written over until there is a row: to branch on that costs more where about half of the bins have some.
            bins[entry] = place
            own[entry] = counts[i, place]
            entry += np.int64(counts[i, place] > 0)
        starts[i + 1] = entry


@jit(error_model="numpy")
def _compare(  # noqa: PLR0913 - kernels take arrays one by one.
    starts: Ints,
    bins: npt.NDArray[np.int32],
    counts: npt.NDArray[np.uint32],
    expected: Floats,
    grouped: Floats,
    against: Ints,
    group: Ints,
    width: Floats,
    found: Floats,
) -> None:
    references, size = expected.shape
    rows = np.zeros(references)
    below = np.zeros((references, size + 1))  # Share of the rows up to each edge, and its integral.
    area = np.zeros((references, size + 1))
    edge = np.zeros(size + 1)
    for b in range(size):
        edge[b + 1] = edge[b] + width[b]
    for e in range(references):
        for b in range(size):
            rows[e] += expected[e, b]
        total = 0.0
        for b in range(size):
            total += expected[e, b]
            below[e, b + 1] = total / rows[e]
            area[e, b + 1] = area[e, b] + width[b] * (below[e, b] + below[e, b + 1]) / 2
    groups = np.zeros(grouped.shape[1], np.int64)
    for i in range(len(against)):
        e, own = against[i], counts[starts[i] : starts[i + 1]]
        total_own = own.sum()
        if e < 0 or total_own == 0 or rows[e] == 0:
            continue
        places = bins[starts[i] : starts[i + 1]]
        found[0, i] = _divergence(grouped[e], rows[e], places, own, group, groups, float(total_own))
        found[1, i] = _distance(below[e], area[e], edge, places, own, float(total_own))


@inlined
def _divergence(  # noqa: PLR0913 - as the kernels.
    grouped: Floats,
    rows: float,
    places: npt.NDArray[np.int32],
    own: npt.NDArray[np.uint32],
    group: Ints,
    groups: Ints,
    total_own: float,
) -> float:
    """Of counts by group from entries; `groups` is room for these, zero before and after."""
    for k in range(len(places)):
        groups[group[places[k]]] += np.int64(own[k])
    total = 0.0
    for g in range(len(groups)):
        p, q = grouped[g] / rows, groups[g] / total_own
        groups[g] = 0
        if p > 0 and q > 0:
            mean = (p + q) / 2
            total += p * math.log2(p / mean) + q * math.log2(q / mean)
        else:  # A share that the other side lacks is twice the mean.
            total += p + q
    return min(max(total / 2, 0.0), 1.0)


@inlined
def _distance(
    below: Floats,
    area: Floats,
    edge: Floats,
    places: npt.NDArray[np.int32],
    own: npt.NDArray[np.uint32],
    total_own: float,
) -> float:
    """∫ |F - G| dx: bin by bin where the window has rows, and in one step where it has none and G is level."""
    found, count, level, done, share = 0.0, 0.0, 0.0, 0, 1 / total_own
    for k in range(len(places)):
        place = int(places[k])
        found += _level(below, area, edge, done, place, level)
        count += float(own[k])
        left, level = below[place] - level, count * share
        found += (edge[place + 1] - edge[place]) * _mean_magnitude(left, below[place + 1] - level)
        done = place + 1
    return max(found + _level(below, area, edge, done, len(edge) - 1, 1.0), 0.0)


@inlined
def _level(below: Floats, area: Floats, edge: Floats, first: int, last: int, level: float) -> float:
    """∫ |F - level| dx between two edges."""
    whole = float(area[last] - area[first] - level * (edge[last] - edge[first]))
    if below[first] >= level:
        return whole
    if below[last] <= level:
        return -whole
    low, high = first, last  # F is below the level at `low`, and not at `high`.
    while high - low > 1:
        middle = (low + high) // 2
        if below[middle] < level:
            low = middle
        else:
            high = middle
    outside = level * (edge[low] - edge[first]) - (area[low] - area[first])
    outside += area[last] - area[high] - level * (edge[last] - edge[high])
    crossed = (edge[high] - edge[low]) * _mean_magnitude(below[low] - level, below[high] - level)
    return float(outside + crossed)


@inlined
def _mean_magnitude(left: float, right: float) -> float:
    """Of a line from left to right: (|left| + |right|) / 2, less where it changes its sign."""
    both = abs(left) + abs(right)
    return both / 2 + (left * right / both if left * right < 0 else 0.0)


@jit(error_model="numpy")
def _compare_following(  # noqa: PLR0913 - kernels take arrays one by one.
    starts: Ints,
    bins: npt.NDArray[np.int32],
    counts: npt.NDArray[np.uint32],
    first: Ints,
    last: Ints,
    group: Ints,
    width: Floats,
    found: Floats,
) -> None:
    expected, grouped, window = np.zeros(len(width)), np.zeros(group[-1] + 1), np.zeros(len(width))
    groups = np.zeros(len(grouped), np.int64)
    edge = np.zeros(len(width) + 1)
    for b in range(len(width)):
        edge[b + 1] = edge[b] + width[b]
    rows, begin, end = 0.0, first[0], first[0]
    for i in range(len(first)):
        # Whole numbers: what is added and taken away leaves nothing.
        rows += _add(end, last[i], 1.0, starts, bins, counts, group, expected, grouped)
        rows += _add(begin, first[i], -1.0, starts, bins, counts, group, expected, grouped)
        begin, end = first[i], last[i]
        found[0, i] = rows
        places, own = bins[starts[i] : starts[i + 1]], counts[starts[i] : starts[i + 1]]
        total_own = own.sum()
        if total_own == 0 or rows == 0:
            continue
        found[1, i] = _divergence(grouped, rows, places, own, group, groups, float(total_own))
        if last[i] - first[i] == 1:
            theirs = slice(starts[first[i]], starts[last[i]])
            found[2, i] = _distance_of_two(bins[theirs], counts[theirs], rows, edge, places, own, float(total_own))
            continue
        for k in range(len(places)):
            window[places[k]] = own[k]
        found[2, i] = _distance_of_counts(expected, rows, width, window, float(total_own))
        for k in range(len(places)):
            window[places[k]] = 0.0


@inlined
def _add(  # noqa: PLR0913 - as the kernels.
    before: int,
    after: int,
    sign: float,
    starts: Ints,
    bins: npt.NDArray[np.int32],
    counts: npt.NDArray[np.uint32],
    group: Ints,
    expected: Floats,
    grouped: Floats,
) -> float:
    """Add the windows between where an end was and where it is, take them away where it went back; returns the rows."""
    factor = sign if after > before else -sign
    rows = 0.0
    for entry in range(starts[min(before, after)], starts[max(before, after)]):
        more = factor * counts[entry]
        expected[bins[entry]] += more
        grouped[group[bins[entry]]] += more
        rows += more
    return rows


@inlined
def _distance_of_counts(expected: Floats, rows: float, width: Floats, window: Floats, total_own: float) -> float:
    """∫ |F - G| dx, bin by bin: F belongs to this window alone, and its integral would cost as much."""
    found, below, count, left, share, share_own = 0.0, 0.0, 0.0, 0.0, 1 / rows, 1 / total_own
    for b in range(len(width)):
        below += expected[b]
        count += window[b]
        right = below * share - count * share_own
        found += width[b] * _mean_magnitude(left, right)
        left = right
    return found


@inlined
def _distance_of_two(  # noqa: PLR0913 - as the kernels.
    other_places: npt.NDArray[np.int32],
    other: npt.NDArray[np.uint32],
    rows: float,
    edge: Floats,
    places: npt.NDArray[np.int32],
    own: npt.NDArray[np.uint32],
    total_own: float,
) -> float:
    """∫ |F - G| dx of two windows, bin by bin where either has rows; between these both are level."""
    found, left, done, below, count, j, k = 0.0, 0.0, 0, 0.0, 0.0, 0, 0
    while j < len(other_places) or k < len(places):
        place = len(edge)
        if j < len(other_places):
            place = int(other_places[j])
        if k < len(places):
            place = min(place, int(places[k]))
        found += (edge[place] - edge[done]) * abs(left)
        if j < len(other_places) and other_places[j] == place:
            below += float(other[j])
            j += 1
        if k < len(places) and places[k] == place:
            count += float(own[k])
            k += 1
        right = below / rows - count / total_own
        found += (edge[place + 1] - edge[place]) * _mean_magnitude(left, right)
        left, done = right, place + 1
    return found
