"""What a model's windows are compared with: references, all on the layout of one anchor baseline."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from driftmeter.model.baseline import Baseline, Comparison
from driftmeter.model.bundle import Tree
from driftmeter.model.counts import Counts
from driftmeter.model.window_counts import WindowCounts

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Expected:
    """What a window is compared with.

    Attributes:
        counts: float64 (layout.size,): counts per fine bin; need not be whole numbers. A column's N is their sum.
        rows: Rows that it stands for.
        tallies: float64 (columns, len(Tally)): missing, non-finite and mismatched rows; nan where the null's chunks say
            what is usual.
        tails: float64 (columns, 2): sums of the distances to the anchor's range of values below and above it; None for
            the anchor itself, which has none.
    """

    counts: Floats
    rows: float
    tallies: Floats
    tails: Floats | None = None


class Reference(Protocol):
    """Something to compare windows with. Its state depends on the windows it was shown and their order alone.

    Attributes:
        name: The `baseline` label of what is compared with it: file, learned, rolling, seasonal, previous or a
            configured name; unique among a model's references.
        kind: How the baseline's own chunks were compared for its null.
    """

    name: str
    kind: Comparison

    def expect(self, window: WindowCounts, counts: Counts) -> Expected | None:
        """What to compare this window with; None when there is nothing yet (`no_baseline`)."""
        ...

    def observe(self, window: WindowCounts, counts: Counts, *, drifted: bool) -> None:
        """This window was judged against it for the first time: `drifted` is the verdict on the model."""
        ...

    def state(self) -> Tree:
        """All of it, for `restore`."""
        ...

    def restore(self, tree: Tree) -> None:
        """Take over a state; raises DamagedError when it is none."""
        ...


class AbsentReference:
    """In the place of a baseline that is not there: nothing is ever compared.

    Args:
        name: The label.
    """

    kind = Comparison.REST

    def __init__(self, name: str) -> None:
        self.name = name

    def expect(self, window: WindowCounts, counts: Counts) -> Expected | None:  # noqa: ARG002 - as every reference.
        """Nothing, for ever."""
        return None

    def observe(self, window: WindowCounts, counts: Counts, *, drifted: bool) -> None:
        """Nothing changes it."""

    def state(self) -> Tree:
        """It has none."""
        return None

    def restore(self, tree: Tree) -> None:
        """Nothing to take over."""


class FixedReference:
    """A baseline from a file, or a learned one: the same for every window.

    Args:
        baseline: The baseline.
        name: The label; the baseline's own unless given.
    """

    kind = Comparison.REST

    def __init__(self, baseline: Baseline, name: str | None = None) -> None:
        self.name = baseline.name if name is None else name
        # Few rows, without their mismatches, say less of ratios than the live windows that were seen since.
        learned = baseline.name == "learned" and bool(baseline.chunks)
        tallies = np.full(baseline.tallies.shape, np.nan) if learned else baseline.tallies
        self._expected = Expected(baseline.counts[0], float(baseline.rows), tallies)

    def expect(self, window: WindowCounts, counts: Counts) -> Expected | None:  # noqa: ARG002 - as every reference.
        """The baseline itself."""
        return self._expected

    def observe(self, window: WindowCounts, counts: Counts, *, drifted: bool) -> None:
        """Nothing changes it."""

    def state(self) -> Tree:
        """It has none."""
        return None

    def restore(self, tree: Tree) -> None:
        """Nothing to take over."""
