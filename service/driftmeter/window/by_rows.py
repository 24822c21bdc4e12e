"""Windows of a number of rows, in the order of their acceptance: for quiet models and offline chunks."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from driftmeter.errors import DamagedError
from driftmeter.model.counts import Counts, PackedCounts
from driftmeter.model.layout import Layout
from driftmeter.model.predictions import Predictions
from driftmeter.model.window_counts import WindowCounts
from driftmeter.model.windows import WindowLength
from driftmeter.summary.fold import fold
from driftmeter.window.batch import event_times_ns, slice_rows


@dataclass(frozen=True, eq=False)
class RowsCounted:
    """Rows of a batch that fall into one window.

    Attributes:
        counts: Of these rows.
        low_ns: Earliest event time.
        high_ns: Latest event time.
    """

    counts: PackedCounts
    low_ns: int
    high_ns: int


class RowWindows:
    """Windows of one model and one number of rows.

    Args:
        layout: Columns and bins of the model's baseline.
        window: The number of rows.
    """

    def __init__(self, layout: Layout, window: WindowLength) -> None:
        self._layout = layout
        self._window = window
        self._index = 0
        self._open = Counts.zeros(layout)
        self._start_ns: int | None = None
        self._end_ns: int | None = None

    def count(self, batch: Predictions) -> list[RowsCounted]:
        """The rows' counts, cut where windows end; nothing has changed yet, and `add` of it does not fail."""
        times_ns = event_times_ns(batch.rows)
        parts: list[RowsCounted] = []
        first, rows = 0, batch.rows.num_rows
        room = self._window.rows - int(self._open.rows[0])
        while first < rows:
            size = min(rows - first, room)
            part, counts = slice_rows(batch, first, size), Counts.zeros(self._layout)
            fold(self._layout, part.rows, np.zeros(size, np.int32), counts, part.mismatches)
            times = times_ns[first : first + size]
            parts.append(RowsCounted(counts.packed(), int(times.min()), int(times.max())))
            first, room = first + size, self._window.rows
        return parts

    def add(self, parts: list[RowsCounted]) -> list[WindowCounts]:
        """Add what `count` counted; returns the windows that are full."""
        closed: list[WindowCounts] = []
        for part in parts:
            self._open.add(part.counts)
            self._start_ns = part.low_ns if self._start_ns is None else min(part.low_ns, self._start_ns)
            self._end_ns = part.high_ns if self._end_ns is None else max(part.high_ns, self._end_ns)
            if int(self._open.rows[0]) == self._window.rows:
                closed.append(self._close())
        return closed

    def drain(self) -> list[WindowCounts]:
        """The last, partial window, if it has any rows."""
        return [self._close()] if int(self._open.rows[0]) else []

    def state(self) -> dict[str, Any]:
        """All of it, as a tree that does not change any more."""
        return {
            "window": self._window.name,
            "index": self._index,
            "start_ns": self._start_ns,
            "end_ns": self._end_ns,
            "counts": self._open.packed().state(),
        }

    def restore(self, tree: Any) -> None:
        """Become what `state` told; raises DamagedError for a tree that is no such state."""
        match tree:
            case {
                "window": str(name),
                "index": int(index),
                "start_ns": int() | None as start_ns,
                "end_ns": int() | None as end_ns,
                "counts": counts,
            } if name == self._window.name:
                restored = PackedCounts.from_state(counts, self._layout).dense(self._layout)
            case _:
                raise DamagedError(f"state of the windows of {self._window.name} has the wrong shape")
        if not 0 <= int(restored.rows[0]) < self._window.rows:
            raise DamagedError(f"state of a window of {self._window.name} has too many rows")
        self._index, self._open, self._start_ns, self._end_ns = index, restored, start_ns, end_ns

    def _close(self) -> WindowCounts:
        closed = WindowCounts(self._window, self._index, self._start_ns, self._end_ns, 0, self._open.packed())
        self._index += 1
        self._open = Counts.zeros(self._layout)
        self._start_ns = self._end_ns = None
        return closed
