"""Rows of files counted into windows, a group of windows at a time, as the service counts live ones."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from driftmeter.baseline.data import Rows
from driftmeter.baseline.derivation import Derivation
from driftmeter.baseline.sample import keyed
from driftmeter.baseline.timeline import Timeline, Windows
from driftmeter.model.baseline import Baseline
from driftmeter.model.counts import Counts, PackedCounts
from driftmeter.model.sample import TRACE_BYTES
from driftmeter.model.window_counts import WindowCounts
from driftmeter.model.windows import WindowLength
from driftmeter.summary.fold import fold

Ints = npt.NDArray[np.int64]

CELLS_MAX = 4_000_000
"""Numbers × windows counted and evaluated at a time: bounds memory at some 500 MB whatever the number of windows."""


class _Spans(NamedTuple):
    """The windows of one length, in order: which parts each is made of, and when it is.

    Attributes:
        first: int64 (windows,): number of each window's first part.
        last: int64 (windows,): number after its last part.
        low_ns: int64 (windows,): its start; of windows by rows, the least time of its rows. None without times.
        high_ns: int64 (windows,): its end; of windows by rows, the greatest time.
    """

    first: Ints
    last: Ints
    low_ns: Ints | None
    high_ns: Ints | None


class FileWindows:
    """The windows of one length over rows of files.

    Windows that overlap are added up from the parts that they share; the others have one part each.

    Args:
        baseline: What they will be compared with: its bins, and how it looks at texts and vectors.
        current: The rows, texts and embeddings as they are.
        timeline: Which window of the length's step each row is in.
        length: The length.
        whole_rows: Whether to sample rows too, and to see which repeat others.
    """

    def __init__(
        self, baseline: Baseline, current: Rows, timeline: Timeline, length: WindowLength, *, whole_rows: bool
    ) -> None:
        self._layout = baseline.layout
        self._derivation = Derivation.of(baseline)
        self._current = current
        self._timeline = timeline
        self._length = length
        self._whole_rows = whole_rows
        parts = timeline.windows(length.step)
        assert parts is not None  # noqa: S101 - there are times, or windows are by rows.
        self._parts = parts.count
        self._spans = _spans_by_rows(parts, length) if length.by_rows else _spans_by_time(parts, length)
        self.count = len(self._spans.first)
        """How many windows there are."""

    def groups(self) -> Iterator[list[WindowCounts]]:
        """All windows in order, a group at a time."""
        size = max(1, CELLS_MAX // Counts.cells(self._layout))
        if self._length.overlap == 1:
            for first, counts in self._counted(size):
                yield [self._window(first + i, counts.window(i)) for i in range(len(counts.rows))]
            return
        kept: dict[int, PackedCounts] = {}
        window = 0
        for first, counts in self._counted(size):
            there = first + len(counts.rows)
            kept |= {first + i: counts.window(i).packed() for i in range(len(counts.rows))}
            ready = int(np.searchsorted(self._spans.last, there, side="right"))
            for begin in range(window, ready, size):
                yield [self._window(i, self._added_up(i, kept)) for i in range(begin, min(begin + size, ready))]
            window = ready
            needed = int(self._spans.first[window]) if window < self.count else there
            kept = {part: each for part, each in kept.items() if part >= needed}

    def _window(self, number: int, counts: Counts | PackedCounts) -> WindowCounts:
        low, high = self._spans.low_ns, self._spans.high_ns
        start_ns, end_ns = (None if each is None else int(each[number]) for each in (low, high))
        return WindowCounts(self._length, number, start_ns, end_ns, 0, counts)

    def _added_up(self, window: int, parts: dict[int, PackedCounts]) -> PackedCounts:
        total = Counts.zeros(self._layout)
        for part in range(int(self._spans.first[window]), int(self._spans.last[window])):
            total.add(parts[part])
        return total.packed()

    def _counted(self, size: int) -> Iterator[tuple[int, Counts]]:
        """Counts of so many parts at a time, in order, each time with the number of the first."""
        step = self._length.step
        wanted = self._derivation.sources(each.field for each in self._layout.columns)
        fields = [field for field in wanted if field in self._current.kinds]
        for first in range(0, self._parts, size):
            last = min(first + size, self._parts)
            counts = Counts.zeros(self._layout, last - first)
            timed = self._current.timed
            for begin, batch, slots, inside in self._timeline.batches(
                self._current, fields, step, first, last, times=timed
            ):
                rows = _identified(batch, begin) if self._whole_rows else batch
                rows = rows if inside.all() else rows.filter(pa.array(inside))
                numbers, mismatches = self._derivation.numbers(rows, {})
                fold(self._layout, numbers, slots[inside], counts, mismatches)
            yield first, counts


def _identified(rows: pa.RecordBatch, first: int) -> pa.RecordBatch:
    """Rows with what tells them apart: their numbers as keys and, one more, as traces; a trace of zeros is none."""
    keys = keyed(rows, first)
    traces = np.zeros((rows.num_rows, TRACE_BYTES // 8), ">u8")
    traces[:, -1] = keys.column("span_key").to_numpy() + np.uint64(1)
    ends = pa.py_buffer(np.arange(0, traces.nbytes + 1, TRACE_BYTES, dtype=np.int32))
    column = pa.Array.from_buffers(pa.binary(), rows.num_rows, [None, ends, pa.py_buffer(traces)])
    return keys.append_column("trace_id", column)


def _spans_by_rows(parts: Windows, length: WindowLength) -> _Spans:
    """Windows that are full, and the last ones if the last part is not; or the only one, of all rows."""
    first = np.arange(max(1, parts.count - length.overlap + 1), dtype=np.int64)
    last = np.minimum(first + length.overlap, parts.count)
    if parts.low_ns is None or parts.high_ns is None:
        return _Spans(first, last, None, None)
    if length.overlap == 1:
        return _Spans(first, last, parts.low_ns, parts.high_ns)
    low, high = parts.low_ns, parts.high_ns
    ranges = list(zip(first.tolist(), last.tolist(), strict=True))
    return _Spans(
        first, last, np.array([low[a:b].min() for a, b in ranges]), np.array([high[a:b].max() for a, b in ranges])
    )


def _spans_by_time(parts: Windows, length: WindowLength) -> _Spans:
    """Windows that hold rows, and of those that overlap the ones that end with the newest rows or before.

    The others would tell fewer of the same rows.
    """
    assert parts.starts_ns is not None  # noqa: S101 - of windows by time.
    before = np.arange(length.overlap, dtype=np.int64) * length.hop_ns
    starts = np.unique(parts.starts_ns[:, None] - before)
    starts = starts[starts + length.length_ns <= parts.starts_ns[-1] + length.hop_ns]
    ends = starts + length.length_ns
    return _Spans(np.searchsorted(parts.starts_ns, starts), np.searchsorted(parts.starts_ns, ends), starts, ends)
