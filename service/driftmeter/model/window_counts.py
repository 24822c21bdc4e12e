"""A window that is due for evaluation."""

from dataclasses import dataclass

from driftmeter.model.counts import Counts, PackedCounts
from driftmeter.model.windows import WindowLength


@dataclass(frozen=True, eq=False)
class WindowCounts:
    """One window's counts at the time of an evaluation.

    Attributes:
        window: Its length.
        index: Number of the window among its length's evaluated ones, from 0.
        start_ns: First instant of it; of windows by rows, the first row's time. None when rows have no times.
        end_ns: First instant after it; of windows by rows, the last row's time.
        revision: 0 when first evaluated, one more at each evaluation after late rows.
        counts: One window.
    """

    window: WindowLength
    index: int
    start_ns: int | None
    end_ns: int | None
    revision: int
    counts: Counts | PackedCounts
