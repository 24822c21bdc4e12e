"""Windows of one length that take rows still: in memory while they change, in blobs once they were evaluated."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from driftmeter.errors import DamagedError
from driftmeter.model.blobs import BlobRef, Blobs
from driftmeter.model.bundle import pack, unpack
from driftmeter.model.counts import Counts, PackedCounts
from driftmeter.model.layout import Layout
from driftmeter.model.window_counts import WindowCounts
from driftmeter.model.windows import WindowLength

_IN_TREE, _LOST = -1, -2
"""In place of the number of a blob's file: the counts stand in the tree; they are lost."""
_LOG = logging.getLogger(__name__)


@dataclass(eq=False)
class Window:
    """One window.

    Attributes:
        counts: What was counted: all bins while rows come, without empty bins once it is over, in a blob once it was
            evaluated. None when its blob was damaged: it takes no rows and is not evaluated any more.
        index: Its number among its length's evaluated ones, from 0; -1 before.
        revision: 0 when it was evaluated first; -1 before.
        changed: Rows have come since.
    """

    counts: Counts | PackedCounts | BlobRef | None
    index: int = -1
    revision: int = -1
    changed: bool = True


class KeptWindows:
    """Windows of one model and one length, by their start.

    Args:
        layout: Columns and bins of the model's baseline.
        length: Of the windows.
        blobs: Where counts of evaluated windows are.
    """

    def __init__(self, layout: Layout, length: WindowLength, blobs: Blobs) -> None:
        self.length = length
        self._layout = layout
        self._blobs = blobs
        self._windows: dict[int, Window] = {}
        self._evaluated = 0

    def __iter__(self) -> Iterator[tuple[int, Window]]:
        """Starts and windows; windows may be forgotten meanwhile."""
        return iter(list(self._windows.items()))

    def start_of(self, time_ns: int) -> int:
        """Start of the window that a time falls into."""
        return time_ns // self.length.length_ns * self.length.length_ns

    def load(self, start_ns: int) -> None:
        """Bring a window's counts back from its blob, if they are there.

        A damaged blob is said, and the window given up. Raises TransientError, with nothing changed, when the blob
        cannot be read now.
        """
        window = self._windows.get(start_ns)
        if window is None or not isinstance(window.counts, BlobRef):
            return
        ref = window.counts
        try:
            window.counts = PackedCounts.from_state(unpack(self._blobs.get(ref)), self._layout)
        except DamagedError:
            _LOG.exception("counts of a window are lost: late rows do not change what was said of it")
            window.counts = None
        self._blobs.release(ref)

    def add(self, start_ns: int, parts: list[Counts | PackedCounts], *, over: bool) -> None:
        """Add to a window, which is made or has been loaded; one that is over is kept without empty bins."""
        window = self._windows.setdefault(start_ns, Window(Counts.zeros(self._layout)))
        if window.counts is None:
            return
        assert not isinstance(window.counts, BlobRef), "the window has been loaded"  # noqa: S101
        total = window.counts.dense(self._layout)
        for part in parts:
            total.add(part)
        window.counts = total.packed() if over else total
        window.changed = True

    def evaluate(self, start_ns: int) -> WindowCounts:
        """A window's counts for its next evaluation; it has changed since the last."""
        window = self._windows[start_ns]
        if window.index < 0:
            window.index = self._evaluated
            self._evaluated += 1
        window.revision += 1
        window.changed = False
        assert isinstance(window.counts, Counts | PackedCounts), "a changed window is in memory"  # noqa: S101
        if isinstance(window.counts, Counts):
            window.counts = window.counts.packed()
        end_ns = start_ns + self.length.length_ns
        return WindowCounts(self.length, window.index, start_ns, end_ns, window.revision, window.counts)

    def forget(self, start_ns: int) -> None:
        """A window that takes no more rows."""
        window = self._windows.pop(start_ns)
        if isinstance(window.counts, BlobRef):
            self._blobs.release(window.counts)

    def spill(self) -> None:
        """Move counts of windows that were evaluated and have not changed since into blobs.

        Raises TransientError when there is no room; windows that are not moved stay in memory.
        """
        for window in self._windows.values():
            if not window.changed and isinstance(window.counts, PackedCounts):
                window.counts = self._blobs.put(pack(window.counts.state()))

    def state(self) -> dict[str, Any]:
        """All of it, as a tree that does not change any more; see `spill`."""
        self.spill()
        counts, refs = list[dict[str, Any]](), list[tuple[int, ...]]()
        for window in self._windows.values():
            if isinstance(window.counts, BlobRef):
                window.counts = self._blobs.renew(window.counts)
                refs.append(tuple(window.counts))
            elif window.counts is None:
                refs.append((_LOST, 0, 0))
            else:
                kept = window.counts if isinstance(window.counts, PackedCounts) else window.counts.packed()
                refs.append((_IN_TREE, 0, 0))
                counts.append(kept.state())
        windows = self._windows.values()
        return {
            "window": self.length.name,
            "evaluated": self._evaluated,
            "starts": np.array(list(self._windows), np.int64),
            "indices": np.array([window.index for window in windows], np.int64),
            "revisions": np.array([window.revision for window in windows], np.int64),
            "changed": np.array([window.changed for window in windows], np.bool_),
            "blobs": np.array(refs, np.int64).reshape(-1, 3),
            "counts": counts,
        }

    def restore(self, tree: Any) -> None:
        """Become what `state` told; raises DamagedError for a tree that is no such state."""
        match tree:
            case {"window": str(name), "evaluated": int(evaluated), "starts": starts, "counts": list(counts)} if (
                name == self.length.name
            ):
                size = len(int64s_of(starts))
            case _:
                raise DamagedError(f"state of the windows of {self.length.name} has the wrong shape")
        indices, revisions = int64s_of(tree.get("indices"), size), int64s_of(tree.get("revisions"), size)
        refs, changed = int64s_of(tree.get("blobs"), size, 3), tree.get("changed")
        if not isinstance(changed, np.ndarray) or changed.dtype != np.bool_ or changed.shape != (size,):
            raise DamagedError("state of windows has the wrong shape")
        if int(np.count_nonzero(refs[:, 0] == _IN_TREE)) != len(counts) if size else counts:
            raise DamagedError("state of windows has other counts than windows")
        self._windows.clear()
        self._evaluated = evaluated
        left = iter(counts)
        for start_ns, index, revision, is_changed, ref in zip(
            starts.tolist(), indices.tolist(), revisions.tolist(), changed.tolist(), refs.tolist(), strict=True
        ):
            found: PackedCounts | BlobRef | None = None
            if ref[0] == _IN_TREE:
                found = copied(next(left), self._layout)
            elif ref[0] != _LOST:
                found = BlobRef(*ref)
                self._blobs.adopt(found)
            self._windows[start_ns] = Window(found, index, revision, is_changed and not isinstance(found, BlobRef))


def copied(tree: object, layout: Layout) -> PackedCounts:
    """Counts of a tree, in arrays of their own: those of the tree may be a whole snapshot's memory."""
    return PackedCounts.from_state(tree, layout).dense(layout).packed()


def int64s_of(array: object, *shape: int) -> npt.NDArray[np.int64]:
    """An int64 array of a tree, (n,) when no shape is given; raises DamagedError when it is none."""
    if not isinstance(array, np.ndarray) or array.dtype != np.int64 or array.shape != (shape or (array.size,)):
        raise DamagedError("state of windows has the wrong shape")
    return array
