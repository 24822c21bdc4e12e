"""Tumbling windows by event time.

    shortest   |--5m--|--5m--|--5m--| ...         rows are folded once, into the pane of the shortest window
    longer     |--------- 1h ---------------|     panes are added to every longer window before it is evaluated

A window is first evaluated when the watermark passes its end. It takes late rows for `allowed_lateness` more and is
evaluated again, with a higher revision, when some have come.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from driftmeter.model.counts import Counts, PackedCounts
from driftmeter.model.layout import Layout
from driftmeter.model.predictions import Predictions
from driftmeter.model.window_counts import WindowCounts
from driftmeter.model.windows import WindowLength
from driftmeter.summary.fold import fold


@dataclass(eq=False)
class _Pane:
    """Rows of the shortest window that are not yet added to the windows.

    Whether a window still takes them was decided by the watermark at their arrival, `watermark_ns`: the rest of their
    own batch may have moved it past a window's end since.
    """

    counts: Counts | PackedCounts
    watermark_ns: int


@dataclass(eq=False)
class _Window:
    counts: Counts | PackedCounts
    index: int = -1  # Not evaluated yet.
    revision: int = -1
    changed: bool = True


_PANES_AT_A_TIME = 16
"""Panes of one batch that are counted together: bounds the memory that a batch of scattered times takes."""


class TumblingWindows:
    """Windows of one model over all configured durations.

    Args:
        layout: Columns and bins of the model's baseline.
        lengths: Durations, each a multiple of the shortest.
        allowed_lateness_ns: How long after its end a window takes rows.
    """

    def __init__(self, layout: Layout, lengths: tuple[WindowLength, ...], allowed_lateness_ns: int) -> None:
        self._layout = layout
        self._lengths = lengths
        self._lateness_ns = allowed_lateness_ns
        self._pane_ns = min((length.length_ns for length in lengths), default=0)
        self._panes: dict[int, _Pane] = {}
        self._windows: dict[WindowLength, dict[int, _Window]] = {length: {} for length in lengths}
        self._evaluated: dict[WindowLength, int] = dict.fromkeys(lengths, 0)

    def add(self, batch: Predictions, watermark_ns: int) -> int:
        """Fold the rows in; returns how many came too late for every window."""
        if not self._lengths:
            return 0
        times_ns = event_times_ns(batch.rows)
        in_time = self._last_end(times_ns) + self._lateness_ns > watermark_ns
        rows, mismatches = batch.rows, batch.mismatches
        late = len(times_ns) - int(in_time.sum())
        if late:
            rows, mismatches = _keep(rows, mismatches, in_time)
            times_ns = times_ns[in_time]
        panes, slots = np.unique(times_ns // self._pane_ns, return_inverse=True)
        if len(panes) == 1:
            pane = self._pane(int(panes[0]), watermark_ns)
            pane.counts = pane.counts.dense(self._layout)
            fold(self._layout, rows, slots.astype(np.int32), pane.counts, mismatches)
            return late
        for first in range(0, len(panes), _PANES_AT_A_TIME):
            numbers = panes[first : first + _PANES_AT_A_TIME]
            here = (slots >= first) & (slots < first + len(numbers))
            part, wrong = (rows, mismatches) if here.all() else _keep(rows, mismatches, here)
            counts = Counts.zeros(self._layout, len(numbers))
            fold(self._layout, part, (slots[here] - first).astype(np.int32), counts, wrong)
            for index, number in enumerate(numbers.tolist()):
                pane = self._pane(number, watermark_ns)
                total = pane.counts.dense(self._layout)
                total.add(counts.window(index))
                pane.counts = total.packed()
        return late

    def close_for(self, watermark_ns: int, *, revise: bool) -> list[WindowCounts]:
        """Windows due now, ordered by end and then by length; forgets those that take no more rows.

        Args:
            watermark_ns: Event time reached.
            revise: Also evaluate again the windows that late rows have changed.
        """
        if not revise and not self._any_due(watermark_ns):
            return []
        self._merge_panes(watermark_ns)
        due: list[tuple[int, int, _Window, WindowLength]] = []
        for length, windows in self._windows.items():
            for start, window in list(windows.items()):
                end_ns = start + length.length_ns
                last = end_ns + self._lateness_ns <= watermark_ns
                if end_ns <= watermark_ns and window.changed and (revise or last or window.revision < 0):
                    due.append((end_ns, length.length_ns, window, length))
                if last:
                    del windows[start]
        return [self._close(end_ns, window, length) for end_ns, _, window, length in sorted(due, key=lambda d: d[:2])]

    def _close(self, end_ns: int, window: _Window, length: WindowLength) -> WindowCounts:
        if window.index < 0:
            window.index = self._evaluated[length]
            self._evaluated[length] += 1
        window.revision += 1
        window.changed = False
        if isinstance(window.counts, Counts):
            window.counts = window.counts.packed()
        return WindowCounts(length, window.index, end_ns - length.length_ns, end_ns, window.revision, window.counts)

    def _any_due(self, watermark_ns: int) -> bool:
        """Whether any pane or window waits for its first evaluation; every window is due when its last pane is."""
        return any((pane + 1) * self._pane_ns <= watermark_ns for pane in self._panes) or any(
            window.revision < 0 and start + length.length_ns <= watermark_ns
            for length, windows in self._windows.items()
            for start, window in windows.items()
        )

    def _pane(self, number: int, watermark_ns: int) -> _Pane:
        if number not in self._panes:
            self._panes[number] = _Pane(Counts.zeros(self._layout).packed(), watermark_ns)
        return self._panes[number]

    def _merge_panes(self, watermark_ns: int) -> None:
        """Add what came since the last time to the windows; those that are over are kept without empty bins."""
        for number, pane in sorted(self._panes.items()):
            counts = pane.counts.dense(self._layout)
            for length, windows in self._windows.items():
                start = number * self._pane_ns // length.length_ns * length.length_ns
                end_ns = start + length.length_ns
                if end_ns + self._lateness_ns <= pane.watermark_ns:
                    continue
                if start not in windows:
                    windows[start] = _Window(Counts.zeros(self._layout))
                window = windows[start]
                total = window.counts.dense(self._layout)
                total.add(counts)
                window.counts = total.packed() if end_ns <= watermark_ns else total
                window.changed = True
        self._panes.clear()

    def _last_end(self, times_ns: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """End of the window that ends last among those a time falls into."""
        ends = [(times_ns // length.length_ns + 1) * length.length_ns for length in self._lengths]
        return np.asarray(np.max(ends, axis=0))


def event_times_ns(rows: pa.RecordBatch) -> npt.NDArray[np.int64]:
    """int64 (rows,): `event_time` in nanoseconds since the epoch."""
    times: npt.NDArray[np.int64] = pc.cast(rows.column("event_time"), pa.int64()).to_numpy()
    return times


def _keep(
    rows: pa.RecordBatch, mismatches: Mapping[str, npt.NDArray[np.uint32]], keep: npt.NDArray[np.bool_]
) -> tuple[pa.RecordBatch, dict[str, npt.NDArray[np.uint32]]]:
    """The rows to keep, and the row numbers of mismatches among them."""
    renumbered = np.cumsum(keep, dtype=np.uint32) - np.uint32(1)
    kept = {name: renumbered[numbers[keep[numbers]]] for name, numbers in mismatches.items()}
    return rows.filter(pa.array(keep)), kept
