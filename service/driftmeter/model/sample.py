"""A bounded sample of the rows of a window: those whose keys have the smallest hashes.

Which rows these are depends on the rows alone: neither on their order nor on how they were cut into batches and panes.
So samples merge as counts do, and a sample of merged windows is the merged sample (bottom-k sampling: Cohen and
Kaplan, Summarizing data using bottom-k sketches, 2007, https://doi.org/10.1145/1281100.1281133).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from driftmeter.errors import DamagedError

WINDOW_ROWS_MAX = 512
"""Rows sampled of a window."""

BASELINE_ROWS_MAX = 4_096
"""Rows sampled of a baseline."""

CELLS_MAX = 2**17
"""Values in a sample: of models with many columns there are fewer rows. 1 MiB."""

TRACE_BYTES = 16


def rows_max(columns: int, most: int = WINDOW_ROWS_MAX) -> int:
    """How many rows are sampled of so many columns, at most `most`."""
    return max(1, min(most, CELLS_MAX // max(1, columns)))


@dataclass(frozen=True, eq=False)
class RowSample:
    """Sampled rows of one window, ordered by the hashes of their keys. Never changes.

    Attributes:
        keys: uint64 (n,): hashes, ascending.
        times_ns: int64 (n,): event times; 0 of rows without.
        traces: uint8 (n, TRACE_BYTES): trace ids; zeros of rows without.
        values: float64 (n, c): numbers, or the number of a category's bin in its column; NaN is missing.
    """

    keys: npt.NDArray[np.uint64]
    times_ns: npt.NDArray[np.int64]
    traces: npt.NDArray[np.uint8]
    values: npt.NDArray[np.float64]

    @classmethod
    def empty(cls, columns: int) -> Self:
        """A sample of no rows."""
        return cls(
            np.empty(0, np.uint64), np.empty(0, np.int64), np.empty((0, TRACE_BYTES), np.uint8), np.empty((0, columns))
        )

    @property
    def size(self) -> int:
        """Number of rows."""
        return len(self.keys)

    def take(self, rows: npt.NDArray[np.intp]) -> "RowSample":
        """Some of the rows, in this order."""
        return RowSample(self.keys[rows], self.times_ns[rows], self.traces[rows], self.values[rows])

    def lowest(self, most: int) -> "RowSample":
        """At most so many rows with the smallest hashes, in order; equal hashes are ordered by all that rows have."""
        order = np.argsort(self.keys, kind="stable")
        keys = self.keys[order]
        if (keys[1:] == keys[:-1]).any():
            order = self._whole_order()
        return self.take(order[:most])

    def merged(self, other: "RowSample", most: int) -> "RowSample":
        """The sample of the rows of both; neither has more than `most` rows."""
        if not other.size:
            return self
        return joined([self, other]).lowest(most) if self.size else other

    def _whole_order(self) -> npt.NDArray[np.intp]:
        """Order by hash, then by time, trace and the bits of the values: the same for the same rows."""
        values = np.ascontiguousarray(self.values).view(np.int64)
        traces = np.ascontiguousarray(self.traces).view(np.int64)
        return np.lexsort((*values.T, *traces.T, self.times_ns, self.keys))


def joined(samples: Sequence[RowSample]) -> RowSample:
    """The rows of several samples one after the other: not ordered by hash."""
    return RowSample(
        np.concatenate([each.keys for each in samples]),
        np.concatenate([each.times_ns for each in samples]),
        np.concatenate([each.traces for each in samples]),
        np.concatenate([each.values for each in samples]),
    )


def samples_state(samples: Sequence[RowSample], columns: int) -> dict[str, Any]:
    """Samples of some windows as arrays by name."""
    rows = joined([RowSample.empty(columns), *samples])
    return {
        "sampled": np.array([each.size for each in samples], np.int64),
        "sample_keys": rows.keys,
        "sample_times_ns": rows.times_ns,
        "sample_traces": rows.traces,
        "sample_values": rows.values,
    }


def samples_from_state(tree: object, windows: int, columns: int) -> list[RowSample]:
    """Samples as `samples_state` told them, in arrays of their own. Raises DamagedError for anything else."""
    sizes = _array(tree, "sampled", np.int64, windows)
    size = int(sizes.sum())
    if windows and (int(sizes.min()) < 0 or int(sizes.max()) > rows_max(columns)):
        raise DamagedError("stored sample: its windows have too many rows")
    rows = RowSample(
        _array(tree, "sample_keys", np.uint64, size),
        _array(tree, "sample_times_ns", np.int64, size),
        _array(tree, "sample_traces", np.uint8, size, TRACE_BYTES),
        _array(tree, "sample_values", np.float64, size, columns),
    )
    ends = np.cumsum(sizes).tolist()
    parts = [rows.take(np.arange(first, last)) for first, last in zip([0, *ends], ends, strict=False)]
    if any((part.keys[1:] < part.keys[:-1]).any() for part in parts):
        raise DamagedError("stored sample: its rows are not in order")
    return parts


def _array(tree: object, name: str, dtype: type, *shape: int) -> npt.NDArray[Any]:
    array = tree.get(name) if isinstance(tree, Mapping) else None
    if not isinstance(array, np.ndarray) or array.dtype != dtype or array.shape != shape:
        raise DamagedError(f"stored sample: {name!r} is not an array of {np.dtype(dtype).name} of shape {shape}")
    return array
