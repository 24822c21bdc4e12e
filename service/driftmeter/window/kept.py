"""Windows of one length that take rows still: what was said of each, and the parts that its counts are added up from.

    24h every 1h   |-------------- 24h --------------|         counts are kept once, by hour, however many windows
                     |-------------- 24h --------------|       an hour is in; a window is added up when it is due
    parts          |1h|1h|1h|1h| ...

Windows that do not overlap have one part each, which is the window.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from driftmeter.errors import DamagedError
from driftmeter.model.blobs import Blobs
from driftmeter.model.counts import Counts, PackedCounts
from driftmeter.model.layout import Layout
from driftmeter.model.window_counts import WindowCounts
from driftmeter.model.windows import WindowLength
from driftmeter.window.kept_counts import KeptCounts, int64s_of


@dataclass(eq=False)
class Window:
    """What was said of one window.

    Attributes:
        index: Its number among its length's evaluated ones, from 0; -1 before.
        revision: 0 when it was evaluated first; -1 before.
        changed: Rows have come since.
    """

    index: int = -1
    revision: int = -1
    changed: bool = True


class KeptWindows:
    """Windows of one model and one length, by their start.

    Args:
        layout: Columns and bins of the model's baseline.
        length: Of the windows.
        blobs: Where counts of parts that are over are.
    """

    def __init__(self, layout: Layout, length: WindowLength, blobs: Blobs) -> None:
        self.length = length
        self.parts = KeptCounts(layout, length.hop_ns, blobs)
        self._layout = layout
        self._windows: dict[int, Window] = {}
        self._evaluated = 0

    def __iter__(self) -> Iterator[tuple[int, Window]]:
        """Starts and windows; windows may be forgotten meanwhile."""
        return iter(list(self._windows.items()))

    def change(self, part_ns: int, after_ns: int) -> None:
        """Rows have come for the part that starts then: windows that start after `after_ns` and have it are changed."""
        for start_ns in self.starts_of(part_ns):
            if start_ns > after_ns:
                self._windows.setdefault(start_ns, Window()).changed = True

    def count(self, start_ns: int, *, over: bool) -> PackedCounts | None:
        """A window's counts, added up; None when a part of them is lost.

        Args:
            start_ns: When it starts.
            over: Whether it is over, so that its parts may be packed.

        Raises:
            TransientError: A part cannot be read now.
        """
        there = [each for each in self.parts_of(start_ns) if each in self.parts]
        if over:
            for each in there:
                self.parts.pack(each)
        first, *others = there
        total = self.parts.get(first)
        if others and total is not None:
            total = Counts.zeros(self._layout)
            for each in there:
                part = self.parts.get(each)
                if part is None:
                    return None
                total.add(part)
        return total.packed() if isinstance(total, Counts) else total

    def has(self, start_ns: int) -> bool:
        """Whether there is a window that starts then."""
        return start_ns in self._windows

    def starts_of(self, time_ns: int) -> range:
        """Starts of the windows that a time falls into."""
        part_ns = self.parts.start_of(time_ns)
        return range(part_ns - self.length.length_ns + self.length.hop_ns, part_ns + 1, self.length.hop_ns)

    def parts_of(self, start_ns: int) -> range:
        """Starts of the parts that a window is made of."""
        return range(start_ns, start_ns + self.length.length_ns, self.length.hop_ns)

    def tell(self, start_ns: int, counts: PackedCounts) -> WindowCounts:
        """A window with its counts, for its next evaluation."""
        window = self._windows[start_ns]
        if window.index < 0:
            window.index = self._evaluated
            self._evaluated += 1
        window.revision += 1
        window.changed = False
        end_ns = start_ns + self.length.length_ns
        return WindowCounts(self.length, window.index, start_ns, end_ns, window.revision, counts)

    def give_up(self, start_ns: int) -> None:
        """A window a part of which is lost: it is not evaluated any more, unless it is told otherwise."""
        window = self._windows[start_ns]
        window.revision, window.changed = max(window.revision, 0), False

    def forget(self, start_ns: int) -> None:
        """A window that takes no more rows, and the part that no other window has."""
        self._windows.pop(start_ns)
        self.parts.forget(start_ns)

    def state(self) -> dict[str, Any]:
        """All of it, as a tree that does not change any more; raises TransientError when there is no room for blobs."""
        windows = self._windows.values()
        return {
            "window": self.length.name,
            "evaluated": self._evaluated,
            "starts": np.array(list(self._windows), np.int64),
            "indices": np.array([window.index for window in windows], np.int64),
            "revisions": np.array([window.revision for window in windows], np.int64),
            "changed": np.array([window.changed for window in windows], np.bool_),
            "parts": self.parts.state(),
        }

    def restore(self, tree: Any) -> None:
        """Become what `state` told; raises DamagedError for a tree that is no such state."""
        match tree:
            case {
                "window": str(name),
                "evaluated": int(evaluated),
                "starts": starts,
                "changed": np.ndarray() as changed,
            }:
                size = len(int64s_of(starts))
            case _:
                raise DamagedError(f"state of the windows of {self.length.name} has the wrong shape")
        indices, revisions = int64s_of(tree.get("indices"), size), int64s_of(tree.get("revisions"), size)
        if name != self.length.name or changed.dtype != np.bool_ or changed.shape != (size,):
            raise DamagedError(f"state of the windows of {self.length.name} has the wrong shape")
        self.parts.restore(tree.get("parts"))
        self._evaluated = evaluated
        columns = (starts.tolist(), indices.tolist(), revisions.tolist(), changed.tolist())
        self._windows = {
            start_ns: Window(index, revision, is_changed)
            for start_ns, index, revision, is_changed in zip(*columns, strict=True)
        }
