"""Counts of several windows, mergeable by adding: across batches, panes, windows, processes and machines."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Self

import numpy as np
import numpy.typing as npt

from driftmeter.model.layout import Layout


class Tally(IntEnum):
    """Counters of a column beside its bins: index into the last axis of `Counts.tallies`."""

    MISSING = 0  # Null, mismatches included.
    NON_FINITE = 1  # NaN and infinities.
    MISMATCH = 2  # Of the wrong type.


class Moment(IntEnum):
    """Sums of a numeric column's finite values: index into the last axis of `Counts.moments`. Feature units."""

    TAIL_BELOW = 0  # Sum of (range start - x) over values below the reference range.
    TAIL_ABOVE = 1  # Sum of (x - range end) over values above it.
    DEVIATION = 2  # Sum of (x - center).
    SQUARE = 3  # Sum of (x - center)².
    MIN = 4  # Smallest value; +inf when there is none.
    MAX = 5  # Largest value; -inf when there is none.


@dataclass(frozen=True, eq=False)
class Counts:
    """Counts of w windows over one layout of c columns and b bins.

    Attributes:
        rows: uint64 (w,).
        bins: uint64 (w, b).
        tallies: uint64 (w, c, len(Tally)).
        moments: float64 (w, c, len(Moment)).
    """

    rows: npt.NDArray[np.uint64]
    bins: npt.NDArray[np.uint64]
    tallies: npt.NDArray[np.uint64]
    moments: npt.NDArray[np.float64]

    @classmethod
    def zeros(cls, layout: Layout, windows: int = 1) -> Self:
        """Counts of nothing."""
        columns = len(layout.columns)
        moments = np.zeros((windows, columns, len(Moment)))
        moments[:, :, Moment.MIN] = np.inf
        moments[:, :, Moment.MAX] = -np.inf
        return cls(
            rows=np.zeros(windows, np.uint64),
            bins=np.zeros((windows, layout.size), np.uint64),
            tallies=np.zeros((windows, columns, len(Tally)), np.uint64),
            moments=moments,
        )

    def dense(self, layout: Layout) -> "Counts":  # noqa: ARG002 - as `PackedCounts` has it.
        """These counts."""
        return self

    def packed(self) -> "PackedCounts":
        """The same with empty bins left out; of one window."""
        places = np.flatnonzero(self.bins[0]).astype(np.uint32)
        return PackedCounts(self.rows.copy(), places, self.bins[0, places], self.tallies.copy(), self.moments.copy())

    def window(self, index: int) -> "Counts":
        """Window `index` alone, as a view."""
        part = slice(index, index + 1)
        return Counts(self.rows[part], self.bins[part], self.tallies[part], self.moments[part])

    def add(self, other: "Counts") -> None:
        """Add `other`, of the same layout and number of windows, in place."""
        np.add(self.rows, other.rows, out=self.rows)
        np.add(self.bins, other.bins, out=self.bins)
        np.add(self.tallies, other.tallies, out=self.tallies)
        sums, others = self.moments[:, :, : Moment.MIN], other.moments[:, :, : Moment.MIN]
        np.add(sums, others, out=sums)
        low, high = self.moments[:, :, Moment.MIN], self.moments[:, :, Moment.MAX]
        np.minimum(low, other.moments[:, :, Moment.MIN], out=low)
        np.maximum(high, other.moments[:, :, Moment.MAX], out=high)


@dataclass(frozen=True, eq=False)
class PackedCounts:
    """Counts of one window without its empty bins: a window of few rows takes little room.

    Attributes:
        rows: uint64 (1,).
        places: uint32 (k,): the bins that are not empty, ascending.
        bins: uint64 (k,): their counts.
        tallies: uint64 (1, c, len(Tally)).
        moments: float64 (1, c, len(Moment)).
    """

    rows: npt.NDArray[np.uint64]
    places: npt.NDArray[np.uint32]
    bins: npt.NDArray[np.uint64]
    tallies: npt.NDArray[np.uint64]
    moments: npt.NDArray[np.float64]

    def dense(self, layout: Layout) -> Counts:
        """The same with all bins, in arrays of its own."""
        bins = np.zeros((1, layout.size), np.uint64)
        bins[0, self.places] = self.bins
        return Counts(self.rows.copy(), bins, self.tallies.copy(), self.moments.copy())


def stack(parts: list[Counts]) -> Counts:
    """One `Counts` with the windows of all `parts`, in order."""
    return Counts(
        rows=np.concatenate([each.rows for each in parts]),
        bins=np.concatenate([each.bins for each in parts]),
        tallies=np.concatenate([each.tallies for each in parts]),
        moments=np.concatenate([each.moments for each in parts]),
    )
