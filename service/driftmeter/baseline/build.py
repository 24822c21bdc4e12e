"""Reference rows to a baseline."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from driftmeter.baseline.chunks import (
    EXPECTATIONS,
    ChunkCounts,
    ColumnChunks,
    Cut,
    Expectation,
    chunk_tables,
    column_chunks,
    cut_rows,
)
from driftmeter.baseline.comparisons import SeasonTables, against_rolling
from driftmeter.baseline.data import TIME_FIELD, Dataset, Rows, kind_of_field
from driftmeter.baseline.derived_rows import DerivedRows
from driftmeter.baseline.edges import bins_of_names, bins_of_sorted
from driftmeter.baseline.noise import noise_per_row
from driftmeter.baseline.sample import sampled
from driftmeter.baseline.segments import segments_of
from driftmeter.baseline.timeline import Timeline
from driftmeter.baseline.whole_rows import whole_ratios
from driftmeter.errors import BaselineError
from driftmeter.model.baseline import ROLLING_NS, Baseline, ColumnBaseline, Comparison
from driftmeter.model.columns import Column, Kind, is_scored_field
from driftmeter.model.counts import Counts, Tally
from driftmeter.model.layout import Layout
from driftmeter.model.seasons import UTC
from driftmeter.model.segments import VALUES_MAX
from driftmeter.model.windows import WindowLength
from driftmeter.summary.fold import fold

Floats = npt.NDArray[np.float64]

DEFAULT_WINDOWS = ("5m", "1h", "24h")
"""Window lengths whose chunks a baseline keeps unless told otherwise."""

NAMES_MAX = 4_000_000
"""Different values of a column of categories, beyond which it is left out: some 400 MB while they are counted."""

_COLUMN_GROUP = 64
"""Columns that are read at once where there are few rows."""

_GROUPED_ROWS_MAX = 2**15
"""How many rows are few: a group of columns takes 16 MB at most."""

_EXACT_INTEGER_MAX = 2.0**53
_NAMES_WAITING_MAX = 1_000_000  # Names of batches that wait to be added up.
_WORKING_NUMBERS_MAX = 2**26
_CELLS_MAX = 2**22
"""Chunks × bins of a column and a length that are counted at a time: 32 MB. Of these only the bins that have rows are
kept, at 8 bytes: no length of chunks needs more than 8 bytes a row for each column that is being built."""

Progress = Callable[[str], None]


def build_baseline(  # noqa: PLR0913 - what a baseline is made of.
    data: Rows,
    model: str,
    version: str,
    windows: Iterable[WindowLength],
    name: str = "file",
    on_column: Progress = lambda _: None,
    *,
    season_zone: str | None = None,
    segments: Sequence[str] = (),
    segment_values: int = VALUES_MAX,
    rolling_ns: int = ROLLING_NS,
) -> Baseline:
    """Build a baseline: one column after the other, so that memory is bounded by a few numbers a row.

    Args:
        data: Reference rows, at least two.
        model: Model it belongs to.
        version: Its version; empty serves any.
        windows: Lengths to cut chunks of, which never overlap; those by time are left out when the rows have no
            timestamps.
        name: The `baseline` label of what is scored against it.
        on_column: Called with each column's name when it is done.
        season_zone: Count by hour of the week too, by the clocks of this time zone, for seasonal comparisons; needs
            timestamps.
        segments: Columns whose most frequent values are segments: counted by themselves too, one value after the
            other, each of which reads all rows again. They have the role of segments in `data`.
        segment_values: Most segments of one column; all its other values together are one more.
        rolling_ns: How far back chunks are compared with those before them, for rolling comparisons.

    Raises:
        BaselineError: Nothing can be learned from the rows.
    """
    lengths = tuple(dict.fromkeys(window.disjoint for window in windows))
    work = _Work.of(data, lengths, rolling_ns, season_zone)
    skipped = dict(data.skipped)
    parts: list[_Built] = []
    with ThreadPoolExecutor(_workers(data.count)) as pool:
        some = _COLUMN_GROUP if data.count <= _GROUPED_ROWS_MAX else 1
        groups = [data.columns[first : first + some] for first in range(0, len(data.columns), some)]
        for column, built in zip(data.columns, chain.from_iterable(pool.map(work.build, groups)), strict=True):
            if isinstance(built, str):
                skipped[column.name] = built
            else:
                parts.append(built)
            on_column(column.name)
    if not parts:
        raise BaselineError("no column has a usable value: a baseline needs at least one")
    bare = [each.column for each in parts]
    columns = sampled(data.remembered(bare) if isinstance(data, DerivedRows) else bare, data)
    whole = Baseline(model, version, name, data.count, None, None, columns, (), rolling_ns=rolling_ns)
    by_label = {
        label: _segment(whole, _Work.of(rows, lengths, rolling_ns, season_zone))
        for segment in segments
        for label, rows in segments_of(data, segment, segment_values)
    }
    finished = _finished(whole, work, parts)
    return replace(finished, skipped=skipped, segments=by_label)


def _finished(bare: Baseline, work: "_Work", parts: "Sequence[_Built]") -> Baseline:
    """A baseline of some columns with what all its rows and its chunks say."""
    noise = noise_per_row(bare.columns)
    whole = whole_ratios(work.data, work.timeline, work.cuts, bare.columns)
    return replace(
        bare,
        rows=work.data.count,
        start_ns=work.timeline.start_ns,
        end_ns=work.timeline.end_ns,
        columns=tuple(replace(each, noise=a) for each, a in zip(bare.columns, noise, strict=True)),
        windows=work.windows,
        chunks={
            length.name: chunk_tables(cut, [each.chunks[number] for each in parts], whole[length])
            for number, (length, cut) in enumerate(work.cuts.items())
        },
        hours=work.seasons.rows if work.seasons else None,
        zone=work.seasons.zone if work.seasons else UTC,
    )


def _segment(whole: Baseline, work: "_Work") -> Baseline:
    """The baseline of some of the rows, in the bins of the whole."""
    parts = [work.count_like(each) for each in whole.columns]
    return _finished(replace(whole, columns=tuple(each.column for each in parts)), work, parts)


def _workers(rows: int) -> int:
    """How many columns to build at once: each needs memory for its numbers twice."""
    return max(1, min(os.cpu_count() or 1, _WORKING_NUMBERS_MAX // max(1, 2 * rows)))


class _Built(NamedTuple):
    """A column, and its part of the chunk tables of each window length."""

    column: ColumnBaseline
    chunks: list[ColumnChunks]


@dataclass(frozen=True, eq=False)
class _Work:
    """What building a column needs.

    Attributes:
        data: Reference rows.
        timeline: Which window each row is in.
        windows: Names of the window lengths that the rows can be cut into.
        cuts: The window lengths that give chunks.
        newest: Per length, the greatest time of each window's rows; empty without times.
        expectations: With what else the chunks of each length are compared.
        seasons: Hours of the week; None when they are not asked for.
    """

    data: Rows
    timeline: Timeline
    windows: tuple[str, ...]
    cuts: Mapping[WindowLength, Cut]
    newest: Mapping[WindowLength, npt.NDArray[np.int64]]
    expectations: Mapping[Comparison, Expectation]
    seasons: SeasonTables | None

    @classmethod
    def of(cls, data: Rows, lengths: Sequence[WindowLength], rolling_ns: int, season_zone: str | None) -> "_Work":
        """For rows that are cut into windows of these lengths."""
        timeline = Timeline(data, lengths)
        found = {length: cut_rows(length, timeline, data.count) for length in lengths}
        cuts = {length: cut for length, cut in found.items() if cut is not None}
        chunked = {length: cut for length, cut in cuts.items() if cut.chunks > 1}
        seasons = SeasonTables(data, timeline, chunked, season_zone) if season_zone else None
        newest = timeline.newest(data, tuple(chunked))
        expectations = {**EXPECTATIONS, Comparison.ROLLING: against_rolling(rolling_ns)}
        return cls(data, timeline, tuple(length.name for length in cuts), chunked, newest, expectations, seasons)

    def build(self, columns: Sequence[Column]) -> list[_Built | str]:
        """Some columns, each or the reason why it is left out."""
        if len(columns) == 1:
            return [self._built(columns[0])]
        # Opening a file of 10,000 columns takes longer than reading one of them.
        rows = dataset_of(self.data, [each.field for each in columns])
        return [replace(self, data=rows)._built(each) for each in columns]  # noqa: SLF001 - of its own kind.

    def _built(self, column: Column) -> _Built | str:
        numeric = self.data.kinds[column.field] is Kind.NUMERIC
        built = self._numbers(column) if numeric else self._names(column)
        return built if isinstance(built, str) else self._chunks(built)

    def count_like(self, whole: ColumnBaseline) -> _Built:
        """A column of some of the rows of a baseline: counted in its bins, described by its moments."""
        layout = Layout((whole.column,), (whole.bins,), np.zeros(1))
        counts = Counts.zeros(layout)
        for batch in self.data.batches([whole.column.field]):
            fold(layout, batch, np.zeros(batch.num_rows, np.int32), counts)
        own = replace(
            whole,
            counts=counts.bins[0],
            missing=int(counts.tallies[0, 0, Tally.MISSING]),
            non_finite=int(counts.tallies[0, 0, Tally.NON_FINITE]),
            sample=np.empty(0),
        )
        return self._chunks(own)

    def _numbers(self, column: Column) -> ColumnBaseline | str:
        numbers, missing = self._finite(column)
        if not len(numbers):
            return "none of its values is finite"
        with np.errstate(over="ignore", invalid="ignore"):  # Huge values have no finite spread.
            mean, stddev = float(numbers.mean()), float(numbers.std())
        numbers.sort()
        low, high = float(numbers[0]), float(numbers[-1])
        # Integers beyond 2^53 are rounded, and numpy's own rule for integers makes no difference to them.
        whole = column.field in self.data.integers and max(-low, high) <= _EXACT_INTEGER_MAX
        bins, cuts = bins_of_sorted(numbers, integer=whole)
        before = np.searchsorted(numbers, bins.edges)
        # Nothing lies below the first edge, which is the smallest number, or above the last, the largest.
        counts = np.diff(before, prepend=0, append=(len(numbers), len(numbers))).astype(np.uint64)
        non_finite = self.data.count - missing - len(numbers)
        return ColumnBaseline(column, bins, cuts, counts, missing, non_finite, mean, stddev, low, high)

    def _finite(self, column: Column) -> tuple[Floats, int]:
        """The finite values in the files' order, and how many are missing."""
        numbers = np.empty(self.data.count)
        there = missing = 0
        for batch in self.data.batches([column.field]):
            values = batch.column(0)
            missing += values.null_count
            known = values.drop_null().to_numpy(zero_copy_only=False)
            usable = np.isfinite(known)
            finite = known if usable.all() else known[usable]
            np.add(finite, 0.0, out=numbers[there : there + len(finite)])  # A negative zero becomes a zero.
            there += len(finite)
        return numbers[:there], missing

    def _names(self, column: Column) -> ColumnBaseline | str:
        counted, missing = pl.DataFrame(schema={"name": pl.String, "rows": pl.Int64}), 0
        waiting: list[pl.DataFrame] = []
        for batch in self.data.batches([column.field]):
            values = batch.column(0)
            missing += values.null_count
            rows = np.bincount(values.indices.drop_null().to_numpy(), minlength=len(values.dictionary))
            waiting.append(pl.DataFrame({"name": pl.Series(values.dictionary), "rows": pl.Series(rows)}))
            if sum(each.height for each in waiting) > max(_NAMES_WAITING_MAX, counted.height):
                counted, waiting = _summed([counted, *waiting]), []
                if counted.height > NAMES_MAX:
                    return f"it has more than {NAMES_MAX:,} different values: it names rows, and is no category"
        counted = _summed([counted, *waiting])
        if not counted.height:
            return "all its values are missing"
        bins, counts = bins_of_names(counted)
        return ColumnBaseline(column, bins, None, counts, missing, 0)

    def _chunks(self, column: ColumnBaseline) -> _Built:
        layout = Layout((column.column,), (column.bins,), np.zeros(1))
        hours = self.seasons.counting(column) if self.seasons else None
        at_once = _CELLS_MAX // Counts.cells(layout)
        whole = {each: Counts.zeros(layout, cut.chunks + 1) for each, cut in self.cuts.items() if cut.chunks < at_once}
        first, timed = 0, bool(column.missing and self.newest)
        for batch in self.data.batches([column.column.field], times=timed) if whole or hours else ():
            stop = first + batch.num_rows
            for length, counts in whole.items():
                fold(layout, batch, self.timeline.slots(length, first, stop), counts)
            if hours:
                hours.add(batch, first)
            first = stop
        expectations = hours.expectations() if hours else {}
        chunks = []
        for length, cut in self.cuts.items():
            parts = [whole[length]] if length in whole else self._counted(layout, length, cut.chunks + 1, timed=timed)
            expected = {**self.expectations, **expectations.get(length, {})}
            counted = ChunkCounts.of(layout, parts)
            if not column.missing and length in self.newest:  # Its newest value is the newest row's.
                newest = self.newest[length]
                counted.newest[: len(newest)] = newest
            chunks.append(column_chunks(column, counted, cut, expected))
        return _Built(replace(column, seasons=hours.seasons if hours else None), chunks)

    def _counted(self, layout: Layout, length: WindowLength, windows: int, *, timed: bool) -> Iterator[Counts]:
        """Counts of one column by window, as many windows at a time as there is room for."""
        (field,) = (each.field for each in layout.columns)
        step = max(1, _CELLS_MAX // Counts.cells(layout))
        for begin in range(0, windows, step):
            counts = Counts.zeros(layout, min(step, windows - begin))
            found = self.timeline.batches(self.data, [field], length, begin, begin + len(counts.rows), times=timed)
            for _, batch, slots, inside in found:
                fold(layout, batch if inside.all() else batch.filter(inside), slots[inside], counts)
            yield counts


def _summed(parts: list[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat(parts).group_by("name").agg(pl.col("rows").sum()).filter(pl.col("rows") > 0)


def dataset_of(data: Rows, fields: Sequence[str]) -> Dataset:
    """Some fields of rows that are few, in memory."""
    batches = list(data.batches(fields, times=data.timed))
    table = pa.Table.from_batches(batches).unify_dictionaries().combine_chunks()
    arrays = {name: table.column(name).combine_chunks() for name in fields}
    times = table.column(TIME_FIELD).cast(pa.int64()).to_numpy() if data.timed else None
    return Dataset(pa.RecordBatch.from_pydict(arrays), times, data.integers)


def dataset_of_batches(batches: list[pa.RecordBatch]) -> Dataset:
    """Live rows as reference data: the scored columns of several batches, null where a batch lacks one.

    A column whose first values said nothing of its kind is a column of numbers, all null, in the batches before.
    """
    types: dict[str, pa.DataType] = {}
    for field in (field for batch in batches for field in batch.schema if is_scored_field(field.name)):
        if field.name not in types or kind_of_field(field) is not Kind.NUMERIC:
            types[field.name] = field.type
    tables = [pa.Table.from_pydict({n: _column(batch, n, t) for n, t in types.items()}) for batch in batches]
    table = pa.concat_tables(tables).unify_dictionaries().combine_chunks()
    arrays = {name: table.column(name).combine_chunks() for name in table.schema.names}
    times = pa.concat_arrays([pc.cast(batch.column("event_time"), pa.int64()) for batch in batches])
    return Dataset(pa.RecordBatch.from_pydict(arrays), times.to_numpy())


def _column(batch: pa.RecordBatch, name: str, of_type: pa.DataType) -> pa.Array:
    position = batch.schema.get_field_index(name)
    same = position >= 0 and batch.schema.field(position).type == of_type
    return batch.column(position) if same else pa.nulls(batch.num_rows, of_type)
