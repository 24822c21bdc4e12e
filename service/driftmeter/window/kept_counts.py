"""Counts by equal parts of event time: in memory while they change, in blobs once they are over."""

import logging
from typing import Any

import numpy as np
import numpy.typing as npt

from driftmeter.errors import DamagedError
from driftmeter.model.blobs import BlobRef, Blobs
from driftmeter.model.bundle import pack, unpack
from driftmeter.model.counts import Counts, PackedCounts
from driftmeter.model.layout import Layout

_IN_TREE, _LOST = -1, -2
"""In place of the number of a blob's file: the counts stand in the tree; they are lost."""
_NONE_NS = -(2**62)
_LOG = logging.getLogger(__name__)

Kept = Counts | PackedCounts | BlobRef | None
"""All bins while rows come, without empty bins once the part is over, in a blob at the next `spill`; None when the blob
was damaged: nothing is added then."""


class KeptCounts:
    """Counts of one model by parts of event time of one length, by their start.

    Args:
        layout: Columns and bins of the model's baseline.
        length_ns: Of a part; it begins at a multiple of this.
        blobs: Where counts of parts that are over are.
    """

    def __init__(self, layout: Layout, length_ns: int, blobs: Blobs) -> None:
        self._layout = layout
        self._length_ns = length_ns
        self._blobs = blobs
        self._parts: dict[int, Kept] = {}

    def __contains__(self, start_ns: int) -> bool:
        return start_ns in self._parts

    @property
    def end_ns(self) -> int:
        """End of the last part; before all times when there is none."""
        return max(self._parts, default=_NONE_NS) + self._length_ns

    def start_of(self, time_ns: int) -> int:
        """Start of the part that a time falls into."""
        return time_ns // self._length_ns * self._length_ns

    def load(self, start_ns: int) -> None:
        """Bring a part's counts back from its blob, if they are there, so that `add` does not fail.

        A damaged blob is said, and the part given up. Raises TransientError, with nothing changed, when the blob cannot
        be read now.
        """
        kept = self._parts.get(start_ns)
        counts = self._read(start_ns, kept) if isinstance(kept, BlobRef) else None
        if isinstance(kept, BlobRef) and counts is not None:
            self._parts[start_ns] = counts
            self._blobs.release(kept)

    def add(self, start_ns: int, counts: list[Counts | PackedCounts], *, over: bool) -> None:
        """Add to a part, which is made or has been loaded; one that is over is kept without empty bins."""
        kept = self._parts.setdefault(start_ns, Counts.zeros(self._layout))
        if kept is None:
            return
        assert not isinstance(kept, BlobRef), "the part has been loaded"  # noqa: S101
        total = kept.dense(self._layout)
        for each in counts:
            total.add(each)
        self._parts[start_ns] = total.packed() if over else total

    def pack(self, start_ns: int) -> None:
        """Leave out a part's empty bins: it is over."""
        kept = self._parts.get(start_ns)
        if isinstance(kept, Counts):
            self._parts[start_ns] = kept.packed()

    def get(self, start_ns: int) -> Counts | PackedCounts | None:
        """A part's counts, which stay where they are; None when they are lost.

        Raises TransientError when they cannot be read now, and KeyError when there is no such part.
        """
        kept = self._parts[start_ns]
        return self._read(start_ns, kept) if isinstance(kept, BlobRef) else kept

    def forget(self, start_ns: int) -> None:
        """A part that takes no more rows and is in no further window."""
        kept = self._parts.pop(start_ns, None)
        if isinstance(kept, BlobRef):
            self._blobs.release(kept)

    def abandon(self) -> None:
        """All parts: nothing is added to them any more."""
        for start_ns in list(self._parts):
            self.forget(start_ns)

    def spill(self) -> None:
        """Move counts of parts that are over into blobs.

        Raises TransientError when there is no room; parts that are not moved stay in memory.
        """
        for start_ns, kept in self._parts.items():
            if isinstance(kept, PackedCounts):
                self._parts[start_ns] = self._blobs.put(pack(kept.state()))

    def state(self) -> dict[str, Any]:
        """All of it, as a tree that does not change any more; see `spill`."""
        self.spill()
        counts, refs = list[dict[str, Any]](), list[tuple[int, ...]]()
        for start_ns, kept in self._parts.items():
            if isinstance(kept, BlobRef):
                ref = self._parts[start_ns] = self._blobs.renew(kept)
                refs.append(tuple(ref))
            elif isinstance(kept, Counts):
                refs.append((_IN_TREE, 0, 0))
                counts.append(kept.packed().state())
            else:
                refs.append((_LOST, 0, 0))
        return {
            "starts": np.array(list(self._parts), np.int64),
            "blobs": np.array(refs, np.int64).reshape(-1, 3),
            "counts": counts,
        }

    def restore(self, tree: Any) -> None:
        """Become what `state` told; raises DamagedError for a tree that is no such state."""
        match tree:
            case {"starts": starts, "blobs": blobs, "counts": list(counts)}:
                numbers = int64s_of(starts)
                refs = int64s_of(blobs, len(numbers), 3)
            case _:
                raise DamagedError("state of windows has the wrong shape")
        if int(np.count_nonzero(refs[:, 0] == _IN_TREE)) != len(counts):
            raise DamagedError("state of windows has other counts than windows")
        self._parts.clear()
        left = iter(counts)
        for start_ns, ref in zip(numbers.tolist(), refs.tolist(), strict=True):
            if ref[0] == _IN_TREE:
                self._parts[start_ns] = PackedCounts.from_state(next(left), self._layout).dense(self._layout)
            elif ref[0] == _LOST:
                self._parts[start_ns] = None
            else:
                self._blobs.adopt(BlobRef(*ref))
                self._parts[start_ns] = BlobRef(*ref)

    def _read(self, start_ns: int, ref: BlobRef) -> PackedCounts | None:
        """Counts from a blob; when that is damaged it is said, and the part is lost from now on."""
        try:
            return PackedCounts.from_state(unpack(self._blobs.get(ref)), self._layout)
        except DamagedError:
            _LOG.exception("counts of a window are lost: nothing more is said of it")
            self._parts[start_ns] = None
            self._blobs.release(ref)
            return None


def copied(tree: object, layout: Layout) -> PackedCounts:
    """Counts of a tree, in arrays of their own: those of the tree may be a whole snapshot's memory."""
    return PackedCounts.from_state(tree, layout).dense(layout).packed()


def int64s_of(array: object, *shape: int) -> npt.NDArray[np.int64]:
    """An int64 array of a tree, (n,) when no shape is given; raises DamagedError when it is none."""
    if not isinstance(array, np.ndarray) or array.dtype != np.int64 or array.shape != (shape or (array.size,)):
        raise DamagedError("state of windows has the wrong shape")
    return array
