"""Windows of a number of rows, in the order of their acceptance: for quiet models and offline chunks.

Windows that overlap, `5000rows every 1000rows`, are added up from the parts of a thousand rows that they share.
"""

from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np

from driftmeter.errors import DamagedError
from driftmeter.model.counts import Counts, PackedCounts
from driftmeter.model.layout import Layout
from driftmeter.model.predictions import Predictions
from driftmeter.model.stored import Stored
from driftmeter.model.window_counts import WindowCounts
from driftmeter.model.windows import WindowLength
from driftmeter.summary.fold import fold
from driftmeter.window.batch import event_times_ns, slice_rows


@dataclass(frozen=True, eq=False)
class RowsCounted:
    """Rows of a batch, or of several, that follow each other.

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
        self._low_ns: int | None = None
        self._high_ns: int | None = None
        self._full: deque[RowsCounted] = deque(maxlen=window.overlap)
        """Parts that are full, oldest first: of the last window, or of the first one while it is under way."""

    def count(self, batch: Predictions) -> list[RowsCounted]:
        """The rows' counts, cut where parts end; nothing has changed yet, and `add` of it does not fail."""
        times_ns = event_times_ns(batch.rows)
        parts: list[RowsCounted] = []
        first, rows = 0, batch.rows.num_rows
        room = self._window.hop_rows - int(self._open.rows[0])
        while first < rows:
            size = min(rows - first, room)
            part, counts = slice_rows(batch, first, size), Counts.zeros(self._layout)
            fold(self._layout, part.rows, np.zeros(size, np.int32), counts, part.mismatches)
            times = times_ns[first : first + size]
            parts.append(RowsCounted(counts.packed(), int(times.min()), int(times.max())))
            first, room = first + size, self._window.hop_rows
        return parts

    def add(self, parts: list[RowsCounted]) -> list[WindowCounts]:
        """Add what `count` counted; returns the windows that are full."""
        closed: list[WindowCounts] = []
        for part in parts:
            self._open.add(part.counts)
            self._low_ns = part.low_ns if self._low_ns is None else min(part.low_ns, self._low_ns)
            self._high_ns = part.high_ns if self._high_ns is None else max(part.high_ns, self._high_ns)
            if int(self._open.rows[0]) == self._window.hop_rows:
                self._begin_part()
                if len(self._full) == self._window.overlap:
                    closed.append(self._close())
        return closed

    def drain(self) -> list[WindowCounts]:
        """The last, partial window, if it has any rows that no window had; the next one begins anew."""
        untold = 0 < len(self._full) < self._window.overlap
        if int(self._open.rows[0]):
            self._begin_part()
            untold = True
        closed = [self._close()] if untold else []
        self._full.clear()
        return closed

    @property
    def unfinished(self) -> int:
        """Windows with rows that were not evaluated yet: one, or none."""
        return int(bool(self._open.rows[0]) or 0 < len(self._full) < self._window.overlap)

    def state(self) -> dict[str, Any]:
        """All of it, as a tree that does not change any more."""
        return {
            "window": self._window.name,
            "index": self._index,
            "start_ns": self._low_ns,
            "end_ns": self._high_ns,
            "counts": self._open.packed().state(),
            "full": [
                {"counts": each.counts.state(), "start_ns": each.low_ns, "end_ns": each.high_ns} for each in self._full
            ],
        }

    def restore(self, tree: Any) -> None:
        """Become what `state` told; raises DamagedError for a tree that is no such state."""
        stored = Stored(tree)
        if stored.text("window") != self._window.name:
            raise DamagedError(f"state of the windows of {self._window.name} has the wrong shape")
        restored = PackedCounts.from_state(stored.tree("counts"), self._layout).dense(self._layout)
        full = [
            RowsCounted(
                PackedCounts.from_state(each.tree("counts"), self._layout).dense(self._layout).packed(),
                each.integer("start_ns"),
                each.integer("end_ns"),
            )
            for each in stored.objects("full")
        ]
        if not 0 <= int(restored.rows[0]) < self._window.hop_rows or len(full) > self._window.overlap:
            raise DamagedError(f"state of a window of {self._window.name} has too many rows")
        self._index, self._open = stored.count("index"), restored
        self._low_ns, self._high_ns = stored.optional_integer("start_ns"), stored.optional_integer("end_ns")
        self._full.clear()
        self._full.extend(full)

    def _begin_part(self) -> None:
        """The open part is full: the oldest one is in no further window."""
        assert self._low_ns is not None and self._high_ns is not None  # noqa: PT018, S101 - it has rows.
        self._full.append(RowsCounted(self._open.packed(), self._low_ns, self._high_ns))
        self._open = Counts.zeros(self._layout)
        self._low_ns = self._high_ns = None

    def _close(self) -> WindowCounts:
        counts = self._full[0].counts
        if len(self._full) > 1:
            total = Counts.zeros(self._layout)
            for each in self._full:
                total.add(each.counts)
            counts = total.packed()
        low_ns, high_ns = min(each.low_ns for each in self._full), max(each.high_ns for each in self._full)
        closed = WindowCounts(self._window, self._index, low_ns, high_ns, 0, counts)
        self._index += 1
        if self._window.overlap == 1:
            self._full.clear()
        return closed
