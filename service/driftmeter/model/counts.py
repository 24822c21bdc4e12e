"""Counts of several windows, mergeable by adding: across batches, panes, windows, processes and machines.

They do not depend on the order of rows nor on how these were cut into batches and panes, bit for bit: integers, exact
sums, smallest and largest values.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from driftmeter.errors import DamagedError
from driftmeter.model.compiled import frozen
from driftmeter.model.contents import CONTENTS_MAX, NO_CONTENTS, Contents, contents_from_state, contents_state
from driftmeter.model.exact import DIGITS, merge, merge_few, read_out
from driftmeter.model.layout import Layout
from driftmeter.model.sample import RowSample, rows_max, samples_from_state, samples_state


class Tally(IntEnum):
    """Counters of a column beside its bins: index into the last axis of `Counts.tallies`."""

    MISSING = 0  # Null, mismatches included.
    NON_FINITE = 1  # NaN and infinities.
    MISMATCH = 2  # Of the wrong type.


class Moment(IntEnum):
    """Sums of a numeric column's finite values, and extremes: index into the last axis of `moments`. Feature units.

    Each term of a sum is a double, rounded once, and no larger than the largest double: a square or a difference that
    overflows counts as that. The terms' sum is exact, and rounded once when it is read.
    """

    TAIL_BELOW = 0  # Sum of (range start - x) over values below the reference range.
    TAIL_ABOVE = 1  # Sum of (x - range end) over values above it.
    DEVIATION = 2  # Sum of (x - center).
    SQUARE = 3  # Sum of (x - center)².
    MIN = 4  # Smallest value; +inf when there is none.
    MAX = 5  # Largest value; -inf when there is none.


SUMS = int(Moment.MIN)
"""How many of the moments are sums."""

NEVER_NS = -(2**63)
"""In place of a time: there was no value."""


class Dropped(IntEnum):
    """Attributes that senders left out, by their own account: index into the last axis of `Counts.dropped`."""

    ROWS = 0  # Rows of spans that lack some.
    ATTRIBUTES = 1  # Attributes that these spans lack together.


@dataclass(frozen=True, eq=False)
class Counts:
    """Counts of w windows over one layout of c columns and b bins.

    Attributes:
        rows: uint64 (w,).
        bins: uint64 (w, b).
        tallies: uint64 (w, c, len(Tally)).
        sums: int32 (w, c, SUMS, DIGITS): exact sums, see `exact`.
        extremes: float64 (w, c, 2): smallest and largest value, +inf and -inf when there is none; no negative zero.
        hours: uint64 (w, layout.hours): rows by hour of the week.
        newest: int64 (w, c): newest event time of a row that has a value in the column, nanoseconds since the Unix
            epoch; `NEVER_NS` when there is none, or rows have no times.
        dropped: uint64 (w, len(Dropped)).
        contents: Of each window's whole rows; of none where rows came without their fixed fields.
        samples: Some rows of each window; the same holds.
    """

    rows: npt.NDArray[np.uint64]
    bins: npt.NDArray[np.uint64]
    tallies: npt.NDArray[np.uint64]
    sums: npt.NDArray[np.int32]
    extremes: npt.NDArray[np.float64]
    hours: npt.NDArray[np.uint64]
    newest: npt.NDArray[np.int64]
    dropped: npt.NDArray[np.uint64]
    contents: list[Contents]
    samples: list[RowSample]

    @classmethod
    def zeros(cls, layout: Layout, windows: int = 1) -> Self:
        """Counts of nothing."""
        columns = len(layout.columns)
        extremes = np.empty((windows, columns, 2))
        extremes[:] = np.inf, -np.inf
        return cls(
            rows=np.zeros(windows, np.uint64),
            bins=np.zeros((windows, layout.size), np.uint64),
            tallies=np.zeros((windows, columns, len(Tally)), np.uint64),
            sums=np.zeros((windows, columns, SUMS, DIGITS), np.int32),
            extremes=extremes,
            hours=np.zeros((windows, layout.hours), np.uint64),
            newest=np.full((windows, columns), NEVER_NS, np.int64),
            dropped=np.zeros((windows, len(Dropped)), np.uint64),
            contents=[NO_CONTENTS] * windows,
            samples=[RowSample.empty(columns)] * windows,
        )

    @staticmethod
    def cells(layout: Layout) -> int:
        """Room that one window takes, in numbers of 8 bytes."""
        columns = len(layout.columns)
        of_columns = columns * (len(Tally) + SUMS * DIGITS // 2 + 2 + 1)
        sampled = rows_max(columns) * (columns + 4)
        return layout.size + of_columns + layout.hours + len(Dropped) + 2 * CONTENTS_MAX + sampled + 1

    def moments(self) -> npt.NDArray[np.float64]:
        """float64 (w, c, len(Moment)): the sums, each rounded once, infinite beyond the largest double; extremes."""
        return np.concatenate((read_out(self.sums), self.extremes), axis=2)

    def dense(self, layout: Layout) -> "Counts":  # noqa: ARG002 - as `PackedCounts` has it.
        """These counts."""
        return self

    @property
    def memory_bytes(self) -> int:
        """Room that it takes, but for a few objects."""
        return _memory_bytes(self, _DENSE)

    def packed(self) -> "PackedCounts":
        """The same with empty bins and zero digits left out, in arrays of its own; of one window."""
        bins, sums = self.bins[0], self.sums.reshape(-1)
        places, digit_places = np.flatnonzero(bins).astype(np.uint32), np.flatnonzero(sums).astype(np.uint32)
        return PackedCounts(
            rows=self.rows.copy(),
            places=places,
            bins=bins[places],
            tallies=self.tallies.copy(),
            digit_places=digit_places,
            digits=sums[digit_places],
            extremes=self.extremes.copy(),
            hours=self.hours.copy(),
            newest=self.newest.copy(),
            dropped=self.dropped.copy(),
            contents=self.contents.copy(),
            samples=self.samples.copy(),
        )

    def window(self, index: int) -> "Counts":
        """Window `index` alone, as a view."""
        return self.part(index, index + 1)

    def part(self, first: int, stop: int) -> "Counts":
        """Windows `first` to `stop`, as a view."""
        part = slice(first, stop)
        return Counts(**{name: getattr(self, name)[part] for name in (*_DENSE, *_LISTS)})

    def add(self, other: "Counts | PackedCounts") -> None:
        """Add `other`, of the same layout and number of windows, in place."""
        np.add(self.rows, other.rows, out=self.rows)
        np.add(self.tallies, other.tallies, out=self.tallies)
        np.add(self.hours, other.hours, out=self.hours)
        if isinstance(other, PackedCounts):
            self.bins[0, other.places] += other.bins  # No place occurs twice.
            merge_few(self.sums.reshape(-1), frozen(other.digit_places), frozen(other.digits))
        else:
            np.add(self.bins, other.bins, out=self.bins)
            merge(self.sums.reshape(-1, DIGITS), frozen(other.sums.reshape(-1, DIGITS)))
        low, high = self.extremes[:, :, 0], self.extremes[:, :, 1]
        np.minimum(low, other.extremes[:, :, 0], out=low)
        np.maximum(high, other.extremes[:, :, 1], out=high)
        np.maximum(self.newest, other.newest, out=self.newest)
        np.add(self.dropped, other.dropped, out=self.dropped)
        self.contents[:] = [own.merged(each) for own, each in zip(self.contents, other.contents, strict=True)]
        most = rows_max(self.tallies.shape[1])
        self.samples[:] = [own.merged(each, most) for own, each in zip(self.samples, other.samples, strict=True)]

    def state(self) -> dict[str, Any]:
        """The arrays by name, copied."""
        arrays = {name: getattr(self, name).copy() for name in _DENSE}
        return arrays | contents_state(self.contents) | samples_state(self.samples, self.tallies.shape[1])

    @classmethod
    def from_state(cls, tree: object, layout: Layout) -> Self:
        """Counts as `state` told them, in arrays of their own. Raises DamagedError for anything else."""
        rows = _array(tree, "rows", np.uint64)
        windows, columns = len(rows), len(layout.columns)
        return cls(
            rows=rows.copy(),
            bins=_array(tree, "bins", np.uint64, (windows, layout.size)).copy(),
            tallies=_array(tree, "tallies", np.uint64, (windows, columns, len(Tally))).copy(),
            sums=_array(tree, "sums", np.int32, (windows, columns, SUMS, DIGITS)).copy(),
            extremes=_array(tree, "extremes", np.float64, (windows, columns, 2)).copy(),
            hours=_array(tree, "hours", np.uint64, (windows, layout.hours)).copy(),
            newest=_array(tree, "newest", np.int64, (windows, columns)).copy(),
            dropped=_array(tree, "dropped", np.uint64, (windows, len(Dropped))).copy(),
            contents=_contents(tree, windows),
            samples=samples_from_state(tree, windows, columns),
        )


@dataclass(frozen=True, eq=False)
class PackedCounts:
    """Counts of one window without empty bins and zero digits: a window of few rows takes little room.

    They never change.

    Attributes:
        rows: uint64 (1,).
        places: uint32 (k,): the bins that are not empty, ascending.
        bins: uint64 (k,): their counts.
        tallies: uint64 (1, c, len(Tally)).
        digit_places: uint32 (d,): which digits of `Counts.sums`, flat, are not zero, ascending.
        digits: int32 (d,): these digits.
        extremes: float64 (1, c, 2).
        hours: uint64 (1, layout.hours).
        newest: int64 (1, c).
        dropped: uint64 (1, len(Dropped)).
        contents: Of one window.
        samples: Of one window.
    """

    rows: npt.NDArray[np.uint64]
    places: npt.NDArray[np.uint32]
    bins: npt.NDArray[np.uint64]
    tallies: npt.NDArray[np.uint64]
    digit_places: npt.NDArray[np.uint32]
    digits: npt.NDArray[np.int32]
    extremes: npt.NDArray[np.float64]
    hours: npt.NDArray[np.uint64]
    newest: npt.NDArray[np.int64]
    dropped: npt.NDArray[np.uint64]
    contents: list[Contents]
    samples: list[RowSample]

    def dense(self, layout: Layout) -> Counts:
        """The same with all bins and digits, in arrays of its own."""
        counts = Counts.zeros(layout)
        counts.rows[:] = self.rows
        counts.bins[0, self.places] = self.bins
        counts.tallies[:] = self.tallies
        counts.sums.reshape(-1)[self.digit_places] = self.digits
        counts.extremes[:] = self.extremes
        counts.hours[:] = self.hours
        counts.newest[:] = self.newest
        counts.dropped[:] = self.dropped
        counts.contents[:] = self.contents
        counts.samples[:] = self.samples
        return counts

    @property
    def memory_bytes(self) -> int:
        """Room that it takes, but for a few objects."""
        return _memory_bytes(self, _PACKED)

    def state(self) -> dict[str, Any]:
        """The arrays by name."""
        arrays = {name: getattr(self, name) for name in _PACKED}
        return arrays | contents_state(self.contents) | samples_state(self.samples, self.tallies.shape[1])

    @classmethod
    def from_state(cls, tree: object, layout: Layout) -> Self:
        """Counts as `state` told them, without copying more than the sample. Raises DamagedError for anything else."""
        columns = len(layout.columns)
        places = _places(tree, "places", layout.size)
        digit_places = _places(tree, "digit_places", columns * SUMS * DIGITS)
        return cls(
            rows=_array(tree, "rows", np.uint64, (1,)),
            places=places,
            bins=_array(tree, "bins", np.uint64, places.shape),
            tallies=_array(tree, "tallies", np.uint64, (1, columns, len(Tally))),
            digit_places=digit_places,
            digits=_array(tree, "digits", np.int32, digit_places.shape),
            extremes=_array(tree, "extremes", np.float64, (1, columns, 2)),
            hours=_array(tree, "hours", np.uint64, (1, layout.hours)),
            newest=_array(tree, "newest", np.int64, (1, columns)),
            dropped=_array(tree, "dropped", np.uint64, (1, len(Dropped))),
            contents=_contents(tree, 1),
            samples=samples_from_state(tree, 1, columns),
        )


_OF_ROWS = ("hours", "newest", "dropped")
_DENSE = ("rows", "bins", "tallies", "sums", "extremes", *_OF_ROWS)
_PACKED = ("rows", "places", "bins", "tallies", "digit_places", "digits", "extremes", *_OF_ROWS)
_LISTS = ("contents", "samples")


def stack(parts: list[Counts]) -> Counts:
    """One `Counts` with the windows of all `parts`, in order."""
    joined: dict[str, Any] = {name: np.concatenate([getattr(each, name) for each in parts]) for name in _DENSE}
    joined |= {name: [item for each in parts for item in getattr(each, name)] for name in _LISTS}
    return Counts(**joined)


def _memory_bytes(counts: Counts | PackedCounts, names: Sequence[str]) -> int:
    arrays = [getattr(counts, name) for name in names]
    arrays += [array for each in counts.contents for array in (each.hashes, each.rows)]
    arrays += [array for each in counts.samples for array in (each.keys, each.times_ns, each.traces, each.values)]
    return sum(int(array.nbytes) for array in arrays)


def _contents(tree: object, windows: int) -> list[Contents]:
    return contents_from_state(tree if isinstance(tree, Mapping) else {}, windows)


def _array(tree: object, name: str, dtype: type, shape: tuple[int, ...] | None = None) -> npt.NDArray[Any]:
    """An array of a tree, of one shape or, without a shape, of any one-dimensional one."""
    array = tree.get(name) if isinstance(tree, Mapping) else None
    if not isinstance(array, np.ndarray) or array.dtype != dtype:
        raise DamagedError(f"stored counts: {name!r} is not an array of {np.dtype(dtype).name}")
    if array.shape != shape and (shape is not None or array.ndim != 1):
        raise DamagedError(f"stored counts: {name!r} has shape {array.shape}, not the one of the model's columns")
    return np.ascontiguousarray(array)


def _places(tree: object, name: str, size: int) -> npt.NDArray[np.uint32]:
    """Ascending places, each less than `size`."""
    places = _array(tree, name, np.uint32)
    if len(places) and (int(places[-1]) >= size or not (places[1:] > places[:-1]).all()):
        raise DamagedError(f"stored counts: {name!r} are not ascending numbers below {size}")
    return places
