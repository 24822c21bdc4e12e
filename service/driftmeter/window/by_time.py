"""Windows by event time.

    panes      |--5m--|--5m--|--5m--| ...         rows are folded once, into panes that all lengths and hops are made of
    windows    |--------- 1h ---------------|     panes are added to the windows of every length, or to the parts that
                                                  windows that overlap have in common, when a pane is over

A window is first evaluated when the watermark passes its end. It takes late rows for `allowed_lateness` more and is
evaluated again, with a higher revision, when some have come.
"""

import logging
from dataclasses import dataclass
from itertools import groupby
from math import gcd
from typing import Any, NamedTuple

import numpy as np

from driftmeter.errors import DamagedError, TransientError
from driftmeter.model.blobs import Blobs
from driftmeter.model.counts import Counts, PackedCounts
from driftmeter.model.layout import Layout
from driftmeter.model.predictions import Predictions
from driftmeter.model.window_counts import WindowCounts
from driftmeter.model.windows import WindowLength
from driftmeter.summary.fold import fold
from driftmeter.window.batch import event_times_ns
from driftmeter.window.kept import KeptWindows
from driftmeter.window.kept_counts import copied, int64s_of

_LOG = logging.getLogger(__name__)
_NEVER_NS = 2**62

PanesCounted = list[tuple[int, PackedCounts]]
"""Numbers of panes and what a batch has for them."""


@dataclass(eq=False)
class _Pane:
    """Rows that are not yet added to the windows.

    Whether a window still takes them was decided by the watermark at their arrival, `watermark_ns`: the rest of their
    own batch may have moved it past a window's end since.
    """

    counts: Counts | PackedCounts
    watermark_ns: int


_PANES_AT_A_TIME = 16
"""Panes of one batch that are counted together: bounds the memory that a batch of scattered times takes."""
_CELLS_AT_A_TIME = 16_000_000
"""Numbers that windows which overlap are added up from at a time: some 0.1 s. The others are due the next time."""


class _Due(NamedTuple):
    """A window that is to be evaluated. Sorted, those that wait for their first or their last time come first."""

    revised: bool
    end_ns: int
    length_ns: int
    windows: KeptWindows

    @property
    def start_ns(self) -> int:
        """When it starts."""
        return self.end_ns - self.length_ns


class TimeWindows:
    """Windows of one model over all configured durations.

    Args:
        layout: Columns and bins of the model's baseline.
        lengths: Durations.
        allowed_lateness_ns: How long after its end a window takes rows.
        blobs: Where counts of evaluated windows are.
    """

    def __init__(
        self, layout: Layout, lengths: tuple[WindowLength, ...], allowed_lateness_ns: int, blobs: Blobs
    ) -> None:
        self._layout = layout
        self._lateness_ns = allowed_lateness_ns
        self._pane_ns = gcd(*(length.hop_ns for length in lengths))
        self._panes: dict[int, _Pane] = {}
        self._windows = [KeptWindows(layout, length, blobs) for length in lengths]
        self.deadline_ns = _NEVER_NS
        """Watermark at which something is to be done: a window evaluated for the first time, or one forgotten."""

    def pane_of(self, batch: Predictions, watermark_ns: int) -> int | None:
        """The one pane that all rows fall into, if they may be folded into it right away."""
        if not self._pane_ns or watermark_ns >= self.deadline_ns:
            return None
        times_ns = event_times_ns(batch.rows)
        first = int(times_ns.min()) // self._pane_ns
        return first if first == int(times_ns.max()) // self._pane_ns else None

    def fold(self, batch: Predictions, pane: int, watermark_ns: int) -> None:
        """Fold rows into their pane: all of them, or none when it fails."""
        into = self._panes.get(pane) or _Pane(Counts.zeros(self._layout), watermark_ns)
        counts = into.counts.dense(self._layout)
        fold(self._layout, batch.rows, np.zeros(batch.rows.num_rows, np.int32), counts, batch.mismatches)
        into.counts = counts
        self._keep(pane, into)

    def count(self, batch: Predictions) -> PanesCounted:
        """The rows' counts by pane; nothing has changed yet, and `add` of it does not fail."""
        if not self._pane_ns:
            return []
        counted: PanesCounted = []
        panes, slots = np.unique(event_times_ns(batch.rows) // self._pane_ns, return_inverse=True)
        for first in range(0, len(panes), _PANES_AT_A_TIME):
            numbers = panes[first : first + _PANES_AT_A_TIME].tolist()
            here = (slots >= first) & (slots < first + len(numbers))
            part = batch if here.all() else batch.keep(here)
            counts = Counts.zeros(self._layout, len(numbers))
            fold(self._layout, part.rows, (slots[here] - first).astype(np.int32), counts, part.mismatches)
            counted += [(number, counts.window(index).packed()) for index, number in enumerate(numbers)]
        return counted

    def add(self, counted: PanesCounted, watermark_ns: int) -> None:
        """Add what `count` counted."""
        for number, counts in counted:
            pane = self._panes.get(number)
            if pane is None:
                self._keep(number, _Pane(counts, watermark_ns))
                continue
            total = pane.counts.dense(self._layout)
            total.add(counts)
            if isinstance(pane.counts, PackedCounts):
                pane.counts = total.packed()

    def close_for(self, watermark_ns: int, *, revise: bool, unfinished: bool = False) -> list[WindowCounts]:
        """Windows due now, ordered by end and then by length; forgets those that take no more rows.

        Args:
            watermark_ns: Event time reached.
            revise: Also evaluate again the windows that late rows have changed.
            unfinished: With `revise`: also evaluate windows that are not over, which go on to take rows.
        """
        if not revise and watermark_ns < self.deadline_ns:
            return []
        try:
            self._merge_panes(watermark_ns)
            due = self._due(watermark_ns, revise=revise, unfinished=unfinished)
            counts = [each.windows.count(each.start_ns, over=each.end_ns <= watermark_ns) for each in due]
        except TransientError:
            _LOG.warning("windows are not evaluated before their counts can be read", exc_info=True)
            return []
        closed: list[WindowCounts] = []
        for each, counted in zip(due, counts, strict=True):
            if counted is None:
                each.windows.give_up(each.start_ns)
            else:
                closed.append(each.windows.tell(each.start_ns, counted))
        self._forget(watermark_ns)
        return closed

    def counted(self, length: WindowLength, start_ns: int) -> PackedCounts | None:
        """What a window has so far, changing nothing; None when it has no rows, or its counts cannot be read."""
        windows = next((each for each in self._windows if each.length[1:] == length[1:]), None)
        if windows is None:
            return None
        total = Counts.zeros(self._layout)
        try:
            if any(part_ns in windows.parts for part_ns in windows.parts_of(start_ns)):
                kept = windows.count(start_ns, over=False)
                if kept is None:
                    return None
                total.add(kept)
        except TransientError:
            _LOG.warning("a window is not compared with another version's: its counts cannot be read", exc_info=True)
            return None
        for number, pane in self._panes.items():
            if start_ns <= number * self._pane_ns < start_ns + length.length_ns:
                total.add(pane.counts)
        return total.packed() if int(total.rows[0]) else None

    @property
    def unfinished(self) -> int:
        """Windows with rows that were not evaluated yet: those that are known, and those of panes alone."""
        return sum(
            len(
                {start_ns for start_ns, window in windows if window.revision < 0}
                | {
                    start_ns
                    for pane in self._panes
                    for start_ns in windows.starts_of(pane * self._pane_ns)
                    if not windows.has(start_ns)
                }
            )
            for windows in self._windows
        )

    def abandon(self) -> None:
        """Give back the room that counts take outside of memory: nothing is done with these windows any more."""
        for windows in self._windows:
            windows.parts.abandon()

    def spill(self) -> None:
        """Move counts of what is over out of memory; raises TransientError when there is no room."""
        for windows in self._windows:
            windows.parts.spill()

    def state(self) -> dict[str, Any]:
        """All of it, as a tree that does not change any more; raises TransientError when there is no room."""
        panes = self._panes.values()
        packed = [each.counts if isinstance(each.counts, PackedCounts) else each.counts.packed() for each in panes]
        return {
            "panes": np.array(list(self._panes), np.int64),
            "watermarks": np.array([each.watermark_ns for each in panes], np.int64),
            "counts": [each.state() for each in packed],
            "deadline_ns": self.deadline_ns,
            "windows": [windows.state() for windows in self._windows],
        }

    def restore(self, tree: Any) -> None:
        """Become what `state` told; raises DamagedError for a tree that is no such state."""
        match tree:
            case {"counts": list(counts), "deadline_ns": int(deadline_ns), "windows": list(windows)}:
                numbers = int64s_of(tree.get("panes"), len(counts)).tolist()
                watermarks = int64s_of(tree.get("watermarks"), len(counts)).tolist()
            case _:
                raise DamagedError("state of windows has the wrong shape")
        if len(windows) != len(self._windows):
            raise DamagedError("state has windows of other lengths than are configured")
        for own, each in zip(self._windows, windows, strict=True):
            own.restore(each)
        self._panes = {
            number: _Pane(copied(each, self._layout), watermark_ns)
            for number, watermark_ns, each in zip(numbers, watermarks, counts, strict=True)
        }
        self.deadline_ns = deadline_ns

    def _keep(self, number: int, pane: _Pane) -> None:
        self._panes[number] = pane
        self.deadline_ns = min(self.deadline_ns, (number + 1) * self._pane_ns)

    def _due(self, watermark_ns: int, *, revise: bool, unfinished: bool) -> list[_Due]:
        """Windows to evaluate, ordered by end and then by length: as in `close_for`.

        Of windows that overlap, as many as `_CELLS_AT_A_TIME` allows, or one. Of those that are not over, those alone
        that end with the newest rows or before: the others would tell fewer of the same rows.
        """
        picked: list[_Due] = []
        for windows in self._windows:
            length_ns, overlap = windows.length.length_ns, windows.length.overlap
            until_ns = max(watermark_ns, windows.parts.end_ns) if unfinished else watermark_ns
            due: list[_Due] = []
            for start_ns, window in windows:
                end_ns = start_ns + length_ns
                once = window.revision < 0 or end_ns + self._lateness_ns <= watermark_ns
                if window.changed and end_ns <= until_ns and (once or revise):
                    due.append(_Due(not once, end_ns, length_ns, windows))
            if overlap > 1 and not unfinished:
                due.sort(key=lambda each: each[:2])
                del due[max(1, _CELLS_AT_A_TIME // (overlap * Counts.cells(self._layout))) :]
            picked += due
        return sorted(picked, key=lambda each: each[1:3])

    def _forget(self, watermark_ns: int) -> None:
        """Let go of windows that take no more rows, and note when there is something to do next."""
        self.deadline_ns = _NEVER_NS
        for windows in self._windows:
            for start_ns, window in windows:
                end_ns = start_ns + windows.length.length_ns
                last_ns = end_ns + self._lateness_ns
                if last_ns <= watermark_ns and not window.changed:
                    windows.forget(start_ns)
                elif window.revision < 0 or last_ns <= watermark_ns:  # It waits for its turn, or its end.
                    self.deadline_ns = min(self.deadline_ns, end_ns)
                else:
                    self.deadline_ns = min(self.deadline_ns, last_ns)

    def _merge_panes(self, watermark_ns: int) -> None:
        """Add what came since the last time to the windows; raises TransientError with nothing added."""
        panes = sorted(self._panes.items())
        merges: list[tuple[KeptWindows, int, list[_Pane]]] = []
        for windows in self._windows:
            length_ns = windows.length.length_ns
            taken = [
                (start_ns, pane)
                for number, pane in panes
                for start_ns in (windows.parts.start_of(number * self._pane_ns),)
                if start_ns + length_ns + self._lateness_ns > pane.watermark_ns
            ]
            for start_ns, parts in groupby(taken, key=lambda each: each[0]):
                windows.parts.load(start_ns)
                merges.append((windows, start_ns, [pane for _, pane in parts]))
        for windows, start_ns, into in merges:
            over = start_ns + windows.length.hop_ns <= watermark_ns
            windows.parts.add(start_ns, [pane.counts for pane in into], over=over)
            past_ns = min(pane.watermark_ns for pane in into) - self._lateness_ns - windows.length.length_ns
            windows.change(start_ns, past_ns)
        self._panes.clear()
