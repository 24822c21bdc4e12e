"""Windows of a number of rows, in the order of their acceptance: for quiet models and offline chunks."""

import numpy as np

from driftmeter.model.counts import Counts
from driftmeter.model.layout import Layout
from driftmeter.model.predictions import Predictions
from driftmeter.model.window_counts import WindowCounts
from driftmeter.model.windows import WindowLength
from driftmeter.summary.fold import fold
from driftmeter.window.tumbling import event_times_ns


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

    def add(self, batch: Predictions) -> list[WindowCounts]:
        """Fold the rows in; returns the windows that are full."""
        closed: list[WindowCounts] = []
        times_ns = event_times_ns(batch.rows)
        first, rows = 0, batch.rows.num_rows
        while first < rows:
            count = min(rows - first, self._window.rows - int(self._open.rows[0]))
            part = slice(first, first + count)
            mismatches = {
                name: (numbers[(numbers >= first) & (numbers < first + count)] - np.uint32(first))
                for name, numbers in batch.mismatches.items()
            }
            fold(self._layout, batch.rows.slice(first, count), np.zeros(count, np.int32), self._open, mismatches)
            low, high = int(times_ns[part].min()), int(times_ns[part].max())
            self._start_ns = low if self._start_ns is None else min(low, self._start_ns)
            self._end_ns = high if self._end_ns is None else max(high, self._end_ns)
            if int(self._open.rows[0]) == self._window.rows:
                closed.append(self._close())
            first += count
        return closed

    def drain(self) -> list[WindowCounts]:
        """The last, partial window, if it has any rows."""
        return [self._close()] if int(self._open.rows[0]) else []

    def _close(self) -> WindowCounts:
        closed = WindowCounts(self._window, self._index, self._start_ns, self._end_ns, 0, self._open.packed())
        self._index += 1
        self._open = Counts.zeros(self._layout)
        self._start_ns = self._end_ns = None
        return closed
