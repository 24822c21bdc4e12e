"""With what else a baseline's chunks are compared: the days before, and the hours of the week outside their block.

Windows are compared with what they follow (`detect.rolling`) or with what is usual at their hours (`detect.seasonal`);
the chunks are compared in the same way, so that what is natural for these comparisons is known.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from driftmeter.baseline.chunks import Cut, Expectation, Floats, Following, Ints, Several
from driftmeter.baseline.data import Rows
from driftmeter.baseline.timeline import Timeline
from driftmeter.errors import BaselineError
from driftmeter.model.baseline import ColumnBaseline, Comparison
from driftmeter.model.counts import Counts
from driftmeter.model.layout import Layout
from driftmeter.model.seasons import HOURS_OF_WEEK, ColumnSeasons, hours_of_week
from driftmeter.model.windows import ROLLING_FILLED, WindowLength
from driftmeter.summary.fold import fold

_ROWS_AT_A_TIME = 2**20
_CELLS_AT_A_TIME = 2**20  # Chunks × bins that are expected at a time: 8 MB.


def against_rolling(span_ns: int) -> Expectation:
    """The chunks of a time before, but for the newest one: as windows are compared with their model's last days.

    Chunks by rows without times in order have nothing to compare with.
    """

    def expectation(cut: Cut, by_block: Floats) -> Following:  # noqa: ARG001 - by chunks, not by blocks.
        if cut.starts_ns is None or cut.ends_ns is None:
            nothing = np.zeros(cut.chunks, np.int64)
            return Following(nothing, nothing, nothing > 0)
        starts, ends = cut.starts_ns, cut.ends_ns
        # One chunk's length before it at the latest, and the whole span at the earliest.
        last = np.searchsorted(ends, starts - (ends - starts), side="right")
        first = np.minimum(np.searchsorted(ends, starts - span_ns, side="right"), last)
        oldest = starts[np.minimum(first, cut.chunks - 1)]
        return Following(first, last, (last > first) & (starts - oldest >= ROLLING_FILLED * span_ns))

    return expectation


class SeasonCut(NamedTuple):
    """Rows of a cut by block and hour of the week.

    Attributes:
        block_of: int64 (chunks + 1,): the block of each chunk; rows in no chunk stand for one more block.
        rows: float64 (blocks + 1, 168): rows of each.
        mix: float64 (chunks, 168): rows of each chunk by hour.
    """

    block_of: Ints
    rows: Floats
    mix: Floats


def against_season(season: SeasonCut, by_hour: Floats) -> Expectation:
    """What is usual outside the chunk's block at the hours that the chunk has rows of, by its own mix of hours.

    As `detect.seasonal` has it, hours without rows standing for all of them together.

    Args:
        season: Rows by block and hour.
        by_hour: float64 (blocks + 1, 168, bins): one column's counts by block and hour.
    """

    def expectation(cut: Cut, by_block: Floats) -> Iterator[Several]:  # noqa: ARG001 - by hours, not by blocks.
        outside, rows = by_hour.sum(axis=0) - by_hour, season.rows.sum(axis=0) - season.rows
        step = max(1, _CELLS_AT_A_TIME // by_hour.shape[2])
        for begin in range(0, cut.chunks, step):
            blocks, mixes = cut.blocks[begin : begin + step], season.mix[begin : begin + step]
            found = np.zeros((len(blocks), by_hour.shape[2]))
            for block in range(len(rows) - 1):
                mine = blocks == block
                share = mixes[mine] / mixes[mine].sum(axis=1, keepdims=True)
                known, total = rows[block] > 0, rows[block].sum()
                weights = np.divide(share, rows[block], out=np.zeros_like(share), where=known)
                elsewhere = share[:, ~known].sum(axis=1) / max(total, 1.0)
                variance = ((share * weights).sum(axis=1) + elsewhere**2 * total)[:, None]
                mixed = weights @ outside[block] + elsewhere[:, None] * outside[block].sum(axis=0)
                found[mine] = np.divide(mixed, variance, out=np.zeros_like(mixed), where=variance > 0)
            yield Several(begin, found, np.where(found.any(axis=1), np.arange(len(found)), -1))

    return expectation


class SeasonTables:
    """Hours of the week of a baseline's rows, and what each column's chunks are compared with by them.

    It keeps one byte a row.

    Args:
        data: Rows with times.
        timeline: Which window each row is in.
        cuts: Per window length, how the rows are cut.
        zone: Time zone of the hours.

    Raises:
        BaselineError: There are no times.
        ConfigError: There is no such time zone.
    """

    def __init__(self, data: Rows, timeline: Timeline, cuts: Mapping[WindowLength, Cut], zone: str) -> None:
        if not data.timed:
            raise BaselineError("--seasonal needs to know when each row was: name the column with --timestamp")
        self.zone = zone
        self._timeline = timeline
        self._hours = np.empty(data.count, np.uint8)
        first = 0
        for batch in data.batches((), times=True):
            times = batch.column(0).cast(pa.int64()).to_numpy()
            self._hours[first : first + len(times)] = hours_of_week(times, zone)
            first += len(times)
        self.rows = np.bincount(self._hours, minlength=HOURS_OF_WEEK).astype(np.int64)
        """int64 (168,): rows by hour of the week."""
        self._cuts = {length: self._cut(length, cut) for length, cut in cuts.items()}

    def counting(self, column: ColumnBaseline) -> "ColumnHours":
        """Counts one column by hours of the week."""
        return ColumnHours(column, self)

    def hours(self, first: int, stop: int) -> npt.NDArray[np.int32]:
        """int32 (stop - first,): hours of the week of some rows."""
        return self._hours[first:stop].astype(np.int32)

    def slots(self, length: WindowLength, first: int, stop: int) -> npt.NDArray[np.int32]:
        """int32 (stop - first,): block × 168 + hour of some rows."""
        cut = self._cuts[length]
        windows = np.minimum(self._timeline.slots(length, first, stop), len(cut.block_of) - 1)
        return (cut.block_of[windows] * HOURS_OF_WEEK + self._hours[first:stop]).astype(np.int32)

    def items(self) -> Iterable[tuple[WindowLength, SeasonCut]]:
        """All lengths."""
        return self._cuts.items()

    def _cut(self, length: WindowLength, cut: Cut) -> SeasonCut:
        mix = np.zeros((cut.chunks + 1) * HOURS_OF_WEEK, np.int64)
        for first in range(0, len(self._hours), _ROWS_AT_A_TIME):
            stop = min(first + _ROWS_AT_A_TIME, len(self._hours))
            windows = np.minimum(self._timeline.slots(length, first, stop), cut.chunks).astype(np.int64)
            mix += np.bincount(windows * HOURS_OF_WEEK + self._hours[first:stop], minlength=len(mix))
        by_chunk = mix.reshape(-1, HOURS_OF_WEEK).astype(np.float64)
        blocks = int(cut.blocks.max(initial=-1)) + 1
        block_of = np.append(cut.blocks, blocks)
        rows = np.zeros((blocks + 1, HOURS_OF_WEEK))
        np.add.at(rows, block_of, by_chunk)
        return SeasonCut(block_of, rows, by_chunk[: cut.chunks])


class ColumnHours:
    """One column's counts by hour of the week, and by block and hour of each window length.

    Args:
        column: The column.
        tables: The hours of all rows.
    """

    def __init__(self, column: ColumnBaseline, tables: SeasonTables) -> None:
        self._layout = Layout((column.column,), (column.bins,), np.zeros(1))
        self._tables = tables
        self._counts = Counts.zeros(self._layout, HOURS_OF_WEEK)
        self._by_block = {length: Counts.zeros(self._layout, cut.rows.size) for length, cut in tables.items()}

    def add(self, batch: pa.RecordBatch, first: int) -> None:
        """Count the rows of a batch, the first of which has the number `first`."""
        stop = first + batch.num_rows
        fold(self._layout, batch, self._tables.hours(first, stop), self._counts)
        for length, counts in self._by_block.items():
            fold(self._layout, batch, self._tables.slots(length, first, stop), counts)

    @property
    def seasons(self) -> ColumnSeasons:
        """Its counts by hour."""
        return ColumnSeasons.of(self._counts.bins, self._counts.tallies[:, 0])

    def expectations(self) -> dict[WindowLength, Mapping[Comparison, Expectation]]:
        """Per window length, what its chunks are compared with."""
        return {
            length: {
                Comparison.SEASONAL: against_season(
                    cut, self._by_block[length].bins.astype(np.float64).reshape(*cut.rows.shape, -1)
                )
            }
            for length, cut in self._tables.items()
        }
