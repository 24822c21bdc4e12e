"""What is usual at this time of the week: the mix of hours is not drift."""

import numpy as np
import numpy.typing as npt

from driftmeter.detect.reference import Expected
from driftmeter.model.baseline import Baseline, Comparison
from driftmeter.model.bundle import Tree
from driftmeter.model.counts import Counts, Tally
from driftmeter.model.seasons import HOURS_OF_WEEK, ColumnSeasons
from driftmeter.model.stored import Stored
from driftmeter.model.window_counts import WindowCounts

Floats = npt.NDArray[np.float64]


class Seasons:
    """Counts of a baseline by hour of the week, and what they say of a mix of hours.

    Args:
        baseline: One that was built with hours of the week.
    """

    def __init__(self, baseline: Baseline) -> None:
        assert baseline.hours is not None  # noqa: S101 - checked by the caller.
        self._size, self._columns = baseline.layout.size, len(baseline.columns)
        self._rows = baseline.hours.astype(np.float64)
        self._all = float(baseline.rows)
        self._whole = baseline.counts[0]
        self._whole_tallies = np.zeros((self._columns, len(Tally)))
        parts: list[tuple[int, ColumnSeasons]] = []
        for number, each in enumerate(baseline.columns):
            assert each.seasons is not None  # noqa: S101 - all columns have them, or none.
            parts.append((int(baseline.layout.offsets[number]), each.seasons))
            self._whole_tallies[number] = each.seasons.tallies.sum(axis=0)
        lengths = [np.diff(each.starts) for _, each in parts]
        hours = np.concatenate([np.repeat(np.arange(HOURS_OF_WEEK), each) for each in lengths])
        places = np.concatenate([each.places.astype(np.int64) + offset for offset, each in parts])
        order = np.argsort(hours, kind="stable")
        self._starts = np.searchsorted(hours[order], np.arange(HOURS_OF_WEEK + 1))
        self._places = places[order]
        self._bins = np.concatenate([each.bins for _, each in parts])[order].astype(np.float64)
        self._tallies = np.stack([each.tallies for _, each in parts], axis=1).astype(np.float64)

    def expected(self, hours: npt.NDArray[np.uint64]) -> Expected | None:
        """What rows of these hours of the week look like in the baseline.

        With the share s(h) of the rows in each hour h and the baseline's distribution p(h) of that hour, of n(h)
        rows: the mix Σ s(h) p(h), as counts of 1 / Σ s(h)²/n(h) rows, which is how many rows drawn at once from that
        mix would vary as much as this does. An hour that the baseline has no rows of stands for all of its hours
        together.

        Args:
            hours: uint64 (168,): the window's rows by hour of the week; None is returned without any.
        """
        total = float(hours.sum())
        if not total:
            return None
        share = hours / total
        known = self._rows > 0
        weights = np.divide(share, self._rows, out=np.zeros(HOURS_OF_WEEK), where=known)
        elsewhere = float(share[~known].sum())
        bins = np.full(self._size, 0.0)
        for hour in np.flatnonzero(weights).tolist():
            part = slice(self._starts[hour], self._starts[hour + 1])
            bins[self._places[part]] += weights[hour] * self._bins[part]  # No place occurs twice.
        tallies = np.tensordot(weights, self._tallies, axes=1)
        if elsewhere:
            bins += elsewhere / self._all * self._whole
            tallies += elsewhere / self._all * self._whole_tallies
        rows = 1 / (float(share @ weights) + elsewhere**2 / self._all)
        return Expected(bins * rows, rows, tallies * rows)


class SeasonalReference:
    """What the baseline has at the hours of the week that a window's rows are of.

    Args:
        name: The `baseline` label.
        baseline: With hours of the week; there is nothing to compare with in one without.
    """

    kind = Comparison.SEASONAL

    def __init__(self, name: str, baseline: Baseline) -> None:
        self.name = name
        self._seasons = None if baseline.hours is None else Seasons(baseline)

    def expect(self, window: WindowCounts, counts: Counts) -> Expected | None:  # noqa: ARG002 - hours stand in the counts.
        """By the observed mix of hours; None for a window without rows."""
        return self._seasons.expected(counts.hours[0]) if self._seasons else None

    def observe(self, window: WindowCounts, counts: Counts, *, drifted: bool) -> None:
        """Nothing to note: all of it is in the baseline."""

    def state(self) -> Tree:
        """Nothing."""
        return {}

    def restore(self, tree: Tree) -> None:
        """Take over a state. Raises DamagedError when it is none."""
        Stored(tree)
