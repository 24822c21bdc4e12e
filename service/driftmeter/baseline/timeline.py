"""When rows were, as exactly as window lengths need it: which window each is in, without keeping their times."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from driftmeter.baseline.data import Rows
from driftmeter.model.counts import NEVER_NS
from driftmeter.model.windows import WindowLength

Ints = npt.NDArray[np.int64]

_TABLE_STEPS_MAX = 2**22
"""Spans of time up to so many steps have a table of their windows; in longer ones each row's is searched."""

_BLOCK_ROWS = 2**16
"""Rows of which it is known which windows they are in: those of a group of windows are sought from block to block."""


@dataclass(frozen=True, eq=False)
class Windows:
    """The windows of one length that rows fall into, in order: by time, those that hold rows.

    Attributes:
        count: How many there are; by rows, a last partial one included.
        starts_ns: int64 (count,): first instant of each; by rows, the time of its first row. None without times.
        low_ns: int64 (count,): the same; by rows, the least time of its rows.
        high_ns: int64 (count,): the end of each; by rows, the greatest time of its rows.
    """

    count: int
    starts_ns: Ints | None = None
    low_ns: Ints | None = None
    high_ns: Ints | None = None


class Timeline:
    """Which window of some lengths each row is in.

    It keeps 4 bytes a row: the number of the step of time that the row is in, a step being the longest time that fits
    into all lengths without rest.

    Args:
        data: Rows; their times are read once.
        lengths: The lengths that will be asked for.

    Attributes:
        start_ns: Least time, nanoseconds since the epoch; None without times.
        end_ns: Greatest one.
    """

    def __init__(self, data: Rows, lengths: Sequence[WindowLength]) -> None:
        self._step_ns = math.gcd(*(each.length_ns for each in lengths)) if data.timed else 0
        self._origin = 0
        self._rows = data.count
        self._blocks: dict[str, Ints] = {}
        self._kept: dict[str, tuple[tuple[int, int], npt.NDArray[np.int32]]] = {}
        self._steps: npt.NDArray[np.int32] | Ints = np.empty(data.count if self._step_ns else 0, np.int32)
        self.start_ns: int | None = None
        self.end_ns: int | None = None
        by_rows = {each.rows: _RowWindows(each.rows, data.count) for each in lengths if each.by_rows}
        found = [np.empty(0, np.int64)]
        first = 0
        for batch in data.batches((), times=True) if data.timed else ():
            times = batch.column(0).cast(pa.int64()).to_numpy()
            found.append(self._add(times, first))
            for each in by_rows.values():
                each.add(times, first)
            first += len(times)
        present = np.unique(np.concatenate(found))
        self._windows = {
            each.name: by_rows[each.rows].windows(timed=data.timed) if each.by_rows else self._by_time(each, present)
            for each in lengths
            if each.by_rows or data.timed
        }
        self._tables = {each.name: self._table(each, present) for each in lengths if data.timed and not each.by_rows}

    def windows(self, length: WindowLength) -> Windows | None:
        """The windows of a length; None where they are cut by time and the rows have none."""
        return self._windows.get(length.name)

    def slots(self, length: WindowLength, first: int, stop: int) -> npt.NDArray[np.int32]:
        """int32 (stop - first,): the window of each of the rows `first` to `stop`, numbered from 0 in order.

        The last ones of each length are kept, since one column after the other asks for them: not to be written to.
        """
        kept = self._kept.get(length.name)
        if kept is None or kept[0] != (first, stop):
            kept = (first, stop), self._slots(length, first, stop)
            self._kept[length.name] = kept
        return kept[1]

    def _slots(self, length: WindowLength, first: int, stop: int) -> npt.NDArray[np.int32]:
        if length.by_rows:
            return (np.arange(first, stop) // length.rows).astype(np.int32)
        steps = self._steps[first:stop]
        table = self._tables[length.name]
        if table is not None:
            return np.asarray(table[steps])
        numbers = (steps.astype(np.int64) + self._origin) // (length.length_ns // self._step_ns)
        return self._numbered(length, numbers)

    def newest(self, data: Rows, lengths: Sequence[WindowLength]) -> dict[WindowLength, Ints]:
        """Per length, the greatest time of the rows of each window, int64 (count,); empty without times.

        Args:
            data: The same rows; their times are read once more.
            lengths: Some of the lengths.
        """
        if not data.timed:
            return {}
        found = {each: np.full(self._windows[each.name].count, NEVER_NS, np.int64) for each in lengths}
        first = 0
        for batch in data.batches((), times=True) if found else ():
            times = batch.column(0).cast(pa.int64()).to_numpy()
            for length, newest in found.items():
                np.maximum.at(newest, self.slots(length, first, first + len(times)), times)
            first += len(times)
        return found

    def batches(
        self, data: Rows, fields: Sequence[str], length: WindowLength, first: int, last: int, *, times: bool
    ) -> Iterator[tuple[int, pa.RecordBatch, npt.NDArray[np.int32], npt.NDArray[np.bool_]]]:
        """Rows of the same data that may be in the windows `first` to `last`, some fields of them.

        With each batch come the number of its first row, its rows' windows counted from `first`, int32 (rows,), and
        which of the rows are in these windows, bool (rows,).
        """
        begin, stop = self.holding(length, first, last)
        for batch in data.batches(fields, times=times, first=begin, stop=stop):
            slots = self.slots(length, begin, begin + batch.num_rows) - np.int32(first)
            yield begin, batch, slots, (slots >= 0) & (slots < last - first)
            begin += batch.num_rows

    def holding(self, length: WindowLength, first: int, last: int) -> tuple[int, int]:
        """The first row, and the one after the last, of all that may be in the windows `first` to `last`.

        Few more than these where rows are in the order of time, all rows where they are in none.
        """
        if length.name not in self._blocks:
            begins = range(0, self._rows, _BLOCK_ROWS)
            parts = (self.slots(length, begin, min(begin + _BLOCK_ROWS, self._rows)) for begin in begins)
            self._blocks[length.name] = np.array([(part.min(), part.max()) for part in parts])
        low, high = self._blocks[length.name].T
        holding = np.flatnonzero((low < last) & (high >= first))
        if not len(holding):
            return 0, 0
        return int(holding[0]) * _BLOCK_ROWS, min((int(holding[-1]) + 1) * _BLOCK_ROWS, self._rows)

    def _add(self, times: Ints, first: int) -> Ints:
        """Take the times of some more rows; returns the steps that they are in."""
        low, high = int(times.min()), int(times.max())
        self.start_ns = low if self.start_ns is None else min(self.start_ns, low)
        self.end_ns = high if self.end_ns is None else max(self.end_ns, high)
        if not self._step_ns:
            return np.empty(0, np.int64)
        steps = times // self._step_ns
        if first == 0:
            self._origin = int(steps[0])
        relative = steps - self._origin
        bounds = np.iinfo(self._steps.dtype)
        if relative.min() < bounds.min or relative.max() > bounds.max:
            self._steps = self._steps.astype(np.int64)
        self._steps[first : first + len(times)] = relative
        return np.unique(steps)

    def _by_time(self, length: WindowLength, present: Ints) -> Windows:
        starts = np.unique(present // (length.length_ns // self._step_ns)) * length.length_ns
        return Windows(len(starts), starts, starts, starts + length.length_ns)

    def _table(self, length: WindowLength, present: Ints) -> npt.NDArray[np.int32] | None:
        """int32 (steps,): the window of each step, by its number from the origin on, those before it at the end.

        Of steps without rows any window will do: nobody asks for it. None where there are too many steps.
        """
        low, high = int(present[0]) - self._origin, int(present[-1]) - self._origin
        if high - low >= _TABLE_STEPS_MAX:
            return None
        steps = np.concatenate((np.arange(high + 1), np.arange(low, 0))) + self._origin
        return self._numbered(length, steps // (length.length_ns // self._step_ns))

    def _numbered(self, length: WindowLength, numbers: Ints) -> npt.NDArray[np.int32]:
        """The window of each number of lengths since the epoch."""
        starts = self._windows[length.name].starts_ns
        assert starts is not None  # noqa: S101 - of windows by time.
        return np.searchsorted(starts // length.length_ns, numbers).astype(np.int32)


class _RowWindows:
    """Times of windows by rows."""

    def __init__(self, length: int, rows: int) -> None:
        self._length = length
        self._count = -(-rows // length)
        self._first = np.zeros(self._count, np.int64)
        self._low = np.full(self._count, np.iinfo(np.int64).max)
        self._high = np.full(self._count, np.iinfo(np.int64).min)

    def add(self, times: Ints, first: int) -> None:
        """Take the times of some more rows, the first of which has the number `first`."""
        window = first // self._length
        begins = np.arange(window * self._length, first + len(times), self._length) - first
        there = slice(window, window + len(begins))
        inside = np.maximum(begins, 0)
        self._low[there] = np.minimum(self._low[there], np.minimum.reduceat(times, inside))
        self._high[there] = np.maximum(self._high[there], np.maximum.reduceat(times, inside))
        new = begins >= 0
        self._first[there][new] = times[begins[new]]

    def windows(self, *, timed: bool) -> Windows:
        """All of them."""
        return Windows(self._count, self._first, self._low, self._high) if timed else Windows(self._count)
