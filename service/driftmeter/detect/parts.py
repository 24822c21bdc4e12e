"""Counts of past windows that windows of today are compared with."""

from collections.abc import Iterable
from copy import copy
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from driftmeter.detect.reference import Expected
from driftmeter.errors import DamagedError
from driftmeter.model.bundle import Tree
from driftmeter.model.counts import Counts, Moment, PackedCounts, Tally
from driftmeter.model.layout import Layout
from driftmeter.model.stored import Stored


@dataclass(frozen=True, eq=False)
class Part:
    """Bins and tallies of some time, without empty bins. It never changes.

    Attributes:
        start_ns: First instant of it.
        end_ns: First instant after it.
        rows: Its rows.
        places: uint32 (k,): the bins that are not empty, ascending.
        bins: uint64 (k,): their counts.
        tallies: uint64 (columns, len(Tally)).
        tails: float64 (columns, 2): as `Expected.tails`.
    """

    start_ns: int
    end_ns: int
    rows: int
    places: npt.NDArray[np.uint32]
    bins: npt.NDArray[np.uint64]
    tallies: npt.NDArray[np.uint64]
    tails: npt.NDArray[np.float64]

    @classmethod
    def of(cls, start_ns: int, end_ns: int, counts: Counts) -> "Part":
        """Of one window's counts."""
        places = np.flatnonzero(counts.bins[0]).astype(np.uint32)
        bins, tallies = counts.bins[0][places].copy(), counts.tallies[0].copy()
        return cls(start_ns, end_ns, int(counts.rows[0]), places, bins, tallies, tails_of(counts))

    def state(self) -> Tree:
        """All of it, for `from_state`."""
        return {
            "start_ns": self.start_ns,
            "end_ns": self.end_ns,
            "rows": self.rows,
            "places": self.places,
            "bins": self.bins,
            "tallies": self.tallies,
            "tails": self.tails,
        }

    @classmethod
    def from_state(cls, stored: Stored, layout: Layout) -> "Part":
        """The part that `state` told, in arrays of its own. Raises DamagedError for anything else."""
        places = stored.array("places", np.uint32, None)
        if len(places) and (int(places[-1]) >= layout.size or not (places[1:] > places[:-1]).all()):
            raise DamagedError("stored counts of a past window have bins that the baseline does not")
        return cls(
            stored.integer("start_ns"),
            stored.integer("end_ns"),
            stored.count("rows"),
            places.copy(),
            stored.array("bins", np.uint64, len(places)).copy(),
            stored.array("tallies", np.uint64, len(layout.columns), len(Tally)).copy(),
            stored.array("tails", np.float64, len(layout.columns), 2).copy(),
        )


class Total:
    """A sum of parts.

    Args:
        layout: Columns and bins of the model's baseline.
    """

    def __init__(self, layout: Layout) -> None:
        self.rows = 0
        self._bins = np.zeros(layout.size, np.uint64)
        self._tallies = np.zeros((len(layout.columns), len(Tally)), np.uint64)

    def copy(self) -> "Total":
        """The same sum, to go on from."""
        other = copy(self)
        other._bins, other._tallies = self._bins.copy(), self._tallies.copy()  # noqa: SLF001 - one of its own kind.
        return other

    def add(self, part: Part) -> None:
        """Add a part."""
        self.rows += part.rows
        self._bins[part.places] += part.bins  # No place occurs twice.
        self._tallies += part.tallies

    def subtract(self, part: Part) -> None:
        """Take away a part that was added."""
        self.rows -= part.rows
        self._bins[part.places] -= part.bins
        self._tallies -= part.tallies

    def expected(self, parts: Iterable[Part]) -> Expected:
        """What a window is compared with; `parts` are those of the sum.

        Sums of distances are added anew each time: taken away again they would not be what they were, to the last bit.
        """
        tails = np.zeros((len(self._tallies), 2))
        for part in parts:
            tails += part.tails
        return Expected(self._bins.astype(np.float64), float(self.rows), self._tallies.astype(np.float64), tails)

    def part(self, start_ns: int, end_ns: int, tails: npt.NDArray[np.float64]) -> Part:
        """The sum as a part."""
        places = np.flatnonzero(self._bins).astype(np.uint32)
        return Part(start_ns, end_ns, self.rows, places, self._bins[places], self._tallies.copy(), tails)


def expected_of(counts: Counts | PackedCounts, layout: Layout) -> Expected:
    """What a window is compared with, from counts of one other window."""
    dense = counts.dense(layout)
    bins, tallies = dense.bins[0].astype(np.float64), dense.tallies[0].astype(np.float64)
    return Expected(bins, float(dense.rows[0]), tallies, tails_of(dense))


def tails_of(counts: Counts) -> npt.NDArray[np.float64]:
    """float64 (columns, 2): `Expected.tails` of one window."""
    return np.ascontiguousarray(counts.moments()[0][:, [Moment.TAIL_BELOW, Moment.TAIL_ABOVE]])
