"""What the kernels of both kinds of columns share: the windows of rows, and the arrays that rows are counted into."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class Slots(NamedTuple):
    """Rows by window.

    Attributes:
        order: int32 (rows,): row numbers, ordered by window; empty when the rows are in that order themselves.
        bounds: int64 (windows + 1,): where each window's rows begin in this order, then the number of rows.
    """

    order: npt.NDArray[np.int32]
    bounds: npt.NDArray[np.int64]

    @property
    def rows(self) -> npt.NDArray[np.uint64]:
        """uint64 (windows,): the number of rows of each window."""
        return np.diff(self.bounds).astype(np.uint64)


class Into(NamedTuple):
    """The arrays of `Counts` that values change."""

    bins: npt.NDArray[np.uint64]
    tallies: npt.NDArray[np.uint64]
    sums: npt.NDArray[np.int32]
    extremes: npt.NDArray[np.float64]


def order_rows(slots: npt.NDArray[np.int32], windows: int) -> Slots:
    """Rows by window. Raises ValueError for a window that is not among `windows`."""
    if not len(slots):
        return Slots(_IN_ORDER, np.zeros(windows + 1, np.int64))
    in_order = bool((slots[1:] >= slots[:-1]).all())
    least, most = (int(slots[0]), int(slots[-1])) if in_order else (int(slots.min()), int(slots.max()))
    if least < 0 or most >= windows:
        raise ValueError(f"windows {least} to {most} of rows, where there are {windows}")
    if in_order:  # As usual.
        return Slots(_IN_ORDER, np.searchsorted(slots, np.arange(windows + 1, dtype=np.int32)).astype(np.int64))
    bounds = np.zeros(windows + 1, np.int64)
    np.cumsum(np.bincount(slots, minlength=windows), out=bounds[1:])
    return Slots(np.argsort(slots, kind="stable").astype(np.int32), bounds)


_IN_ORDER = np.empty(0, np.int32)
