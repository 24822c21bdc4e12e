"""Rows to counts: the compiled inner loop of the service and of `analyze`."""

from collections.abc import Mapping
from itertools import pairwise
from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from driftmeter.model.bins import CategoryBins, NumericBins
from driftmeter.model.columns import Column, Role
from driftmeter.model.counts import Counts, Tally
from driftmeter.model.layout import Layout
from driftmeter.model.sample import RowSample, rows_max
from driftmeter.model.seasons import HOURS_OF_WEEK, hours_of_week
from driftmeter.summary.arrow import Exported
from driftmeter.summary.moments import BLOCK_ROWS
from driftmeter.summary.names import NameTables, count_names, distinct_names, find_places, name_tables
from driftmeter.summary.numbers import NumberTables, count_numbers, number_tables
from driftmeter.summary.sample import Places, fixed_places, hash_rows, sample_rows
from driftmeter.summary.slots import Into, Slots, order_rows
from driftmeter.summary.whole_rows import Columns, RowReader, WholeRows

Mismatches = Mapping[str, npt.NDArray[np.uint32]]

_NAMES = pa.dictionary(pa.int32(), pa.string())
_SCHEMAS_MAX = 4
"""Schemas remembered for a layout: a model's batches mostly have one."""


def fold(
    layout: Layout,
    rows: pa.RecordBatch,
    slots: npt.NDArray[np.int32],
    counts: Counts,
    mismatches: Mismatches | None = None,
) -> None:
    """Count `rows` into `counts`, in place; when it raises, `counts` are unchanged.

    Args:
        layout: Columns and their bins. Columns that the rows lack count as missing in every row; columns of the
            rows that the layout lacks are not looked at.
        rows: One row per prediction, fields named `Column.field`: float64 or dictionary<int32, string>. Where fixed
            fields of `Predictions` stand beside these, what they say is counted, too, which rows repeat others, and
            some rows are kept. Where the layout counts rows by hour of the week there is `event_time`.
        slots: int32 (rows,): the window of each row, 0 <= slot < windows of `counts`.
        counts: What was counted so far, of the same layout.
        mismatches: Row numbers whose value had the wrong type, by field name; these rows are null in `rows`.

    Raises:
        ValueError: Windows or counts do not fit the rows or the layout, or a column cannot be read as its kind.
        KeyError: The layout counts rows by hour of the week, and they have no `event_time`.
        IndexError: A mismatch is in no row.
    """
    _apply(_prepare(layout, rows, slots, counts, mismatches or {}), counts)


def sample_of(layout: Layout, rows: pa.RecordBatch, before: RowSample, most: int) -> RowSample:
    """A sample of rows alone, without counting them.

    Args:
        layout: Columns and their bins.
        rows: As in `fold`, with `span_key`.
        before: The sample of the rows before.
        most: Rows that it has at most.
    """
    tables, plan, batch, bins = _exported(layout, rows)
    places = Places(plan.fixed, plan.numbers, tables.numbers.column, plan.names, tables.names.column, bins)
    hashes = hash_rows(batch.address, rows.num_rows, places)
    return sample_rows(batch.address, np.arange(len(hashes), dtype=np.int32), hashes, places, before, most)


def get_ready(layout: Layout) -> None:
    """Make the tables of a layout ahead, up to 1 ms a column: on another thread than the one that will fold."""
    _tables_of(layout)


def warm_up() -> None:
    """Compile the kernels, or load them; afterwards no call compiles."""
    columns = (Column(Role.FEATURE, "number"), Column(Role.FEATURE, "name"))
    layout = Layout(columns, (NumericBins(np.array([0.0, 1.0])), CategoryBins(("a",))), np.zeros(2))
    rows = pa.RecordBatch.from_pydict(
        {
            "event_time": pa.array([0, 1], pa.timestamp("ns", "UTC")),
            "span_key": pa.array([0, 1], pa.uint64()),
            "feature.number": pa.array([0.5, None]),
            "feature.name": pa.array(["a", None]).dictionary_encode(),
        }
    )
    counts = Counts.zeros(layout)
    fold(layout, rows, np.zeros(2, np.int32), counts)
    counts.add(counts.packed())
    counts.add(counts.packed().dense(layout))
    counts.moments()


class _Tables(NamedTuple):
    """What is made once for a layout.

    Attributes:
        numbers: Of its numeric columns.
        names: Of its categorical columns.
        rows: Of whole rows.
        plans: Where these are in the batches of some schemas, the schema used last at the end.
    """

    numbers: NumberTables
    names: NameTables
    rows: RowReader
    plans: "list[_Plan]"


class _Plan(NamedTuple):
    """Where a layout's columns are in batches of one schema.

    Attributes:
        schema: The schema.
        numbers: int64 (numeric columns,): column of the batch, -1 where it has none.
        names: int64 (categorical columns,): the same.
        fixed: int64 (4,): what a sample takes beside them.
        converted: Columns of the batch that are of the right kind but have to be converted.
    """

    schema: pa.Schema
    numbers: npt.NDArray[np.int64]
    names: npt.NDArray[np.int64]
    fixed: npt.NDArray[np.int64]
    converted: list[int]


class _Prepared(NamedTuple):
    """A batch that can be counted without anything left that could fail."""

    tables: _Tables
    plan: _Plan
    batch: Exported
    slots: Slots
    places: npt.NDArray[np.int32]
    mismatches: list[tuple[int, npt.NDArray[np.uint64]]]
    samples: list[tuple[int, RowSample]]
    whole: WholeRows
    values: npt.NDArray[np.float64]
    hours: npt.NDArray[np.uint64] | None


_TABLES: WeakKeyDictionary[Layout, _Tables] = WeakKeyDictionary()


def _prepare(
    layout: Layout, rows: pa.RecordBatch, slots: npt.NDArray[np.int32], counts: Counts, mismatches: Mismatches
) -> _Prepared:
    """All that can fail: nothing is counted yet."""
    windows = len(counts.rows)
    slots = np.ascontiguousarray(slots, np.int32)
    if len(slots) != rows.num_rows:
        raise ValueError(f"windows of {len(slots)} rows for {rows.num_rows} rows")
    if counts.bins.shape[1] != layout.size or counts.tallies.shape[1] != len(layout.columns):
        raise ValueError("counts of another layout")
    ordered = order_rows(slots, windows)
    tables, plan, batch, places = _exported(layout, rows)
    wrong = [
        (number, np.bincount(slots[mismatches[column.field]], minlength=windows).astype(np.uint64))
        for number, column in enumerate(layout.columns if mismatches else ())
        if column.field in mismatches
    ]
    samples = _sampled(tables, plan, batch, ordered, places, counts)
    hours = _by_hour(rows, slots, windows, layout.zone) if layout.zone else None
    columns = Columns(tables.numbers.column, plan.numbers), Columns(tables.names.column, plan.names)
    whole = tables.rows.read(rows, batch.address, *columns, ordered, counts)
    return _Prepared(tables, plan, batch, ordered, places, wrong, samples, whole, np.empty(BLOCK_ROWS), hours)


def _exported(layout: Layout, rows: pa.RecordBatch) -> tuple[_Tables, _Plan, Exported, npt.NDArray[np.int32]]:
    """A batch as kernels read it, and the bin of each of its distinct names."""
    tables = _tables_of(layout)
    plan = _plan_for(tables, layout, rows.schema)
    batch = Exported(_convert(rows, plan.converted) if plan.converted else rows)
    places = np.empty(distinct_names(batch.address, plan.names), np.int32)
    find_places(batch.address, plan.names, tables.names, places)
    return tables, plan, batch, places


def _sampled(
    tables: _Tables, plan: _Plan, batch: Exported, slots: Slots, bins: npt.NDArray[np.int32], counts: Counts
) -> list[tuple[int, RowSample]]:
    """Samples of the windows that the batch changes."""
    places = Places(plan.fixed, plan.numbers, tables.numbers.column, plan.names, tables.names.column, bins)
    bounds = slots.bounds.tolist()
    hashes = hash_rows(batch.address, bounds[-1], places)
    most = rows_max(counts.tallies.shape[1])
    changed: list[tuple[int, RowSample]] = []
    for window, (first, last) in enumerate(pairwise(bounds) if len(hashes) else ()):
        rows = slots.order[first:last] if len(slots.order) else np.arange(first, last, dtype=np.int32)
        before = counts.samples[window]
        after = sample_rows(batch.address, rows, hashes, places, before, most)
        if after is not before:
            changed.append((window, after))
    return changed


def _by_hour(rows: pa.RecordBatch, slots: npt.NDArray[np.int32], windows: int, zone: str) -> npt.NDArray[np.uint64]:
    """uint64 (windows, 168): rows by window and hour of the week."""
    hours = hours_of_week(rows.column("event_time").view("int64").to_numpy(), zone)
    cells = np.bincount(slots * np.int64(HOURS_OF_WEEK) + hours, minlength=windows * HOURS_OF_WEEK)
    return cells.reshape(windows, HOURS_OF_WEEK).astype(np.uint64)


def _apply(prepared: _Prepared, counts: Counts) -> None:
    """Count: only additions in place, to arrays known to fit."""
    tables, plan, batch, slots, places, mismatches, samples, whole, values, hours = prepared
    into = Into(counts.bins, counts.tallies, counts.sums, counts.extremes)
    count_numbers(batch.address, plan.numbers, tables.numbers, slots, values, into)
    count_names(batch.address, plan.names, tables.names, slots, places, into)
    np.add(counts.rows, slots.rows, out=counts.rows)
    if hours is not None:
        np.add(counts.hours, hours, out=counts.hours)
    for number, per_window in mismatches:
        counts.tallies[:, number, Tally.MISMATCH] += per_window
    for window, sample in samples:
        counts.samples[window] = sample
    whole.add_to(counts)


def _tables_of(layout: Layout) -> _Tables:
    tables = _TABLES.get(layout)
    if tables is None:
        tables = _TABLES[layout] = _Tables(number_tables(layout), name_tables(layout), RowReader(layout), [])
    return tables


def _plan_for(tables: _Tables, layout: Layout, schema: pa.Schema) -> _Plan:
    plans = tables.plans
    for number in range(len(plans) - 1, -1, -1):
        if plans[number].schema.equals(schema):
            plans.append(plans.pop(number))
            return plans[-1]
    plans.append(_make_plan(tables, layout, schema))
    del plans[:-_SCHEMAS_MAX]
    return plans[-1]


def _make_plan(tables: _Tables, layout: Layout, schema: pa.Schema) -> _Plan:
    """A column of the other kind can hold nothing but nulls, and is as good as absent."""
    positions = [schema.get_field_index(column.field) for column in layout.columns]
    types = {position: schema.field(position).type for position in positions if position >= 0}
    named = {position for position, each in types.items() if pa.types.is_dictionary(each)}
    numbers = [positions[i] if positions[i] not in named else -1 for i in tables.numbers.column]
    names = [positions[i] if positions[i] in named else -1 for i in tables.names.column]
    wanted = dict.fromkeys(numbers, pa.float64()) | dict.fromkeys(names, _NAMES)
    converted = [position for position, each in wanted.items() if position >= 0 and types[position] != each]
    fixed = fixed_places(schema)
    return _Plan(schema, np.array(numbers, np.int64), np.array(names, np.int64), fixed, converted)


def _convert(rows: pa.RecordBatch, positions: list[int]) -> pa.RecordBatch:
    columns = rows.columns
    for position in positions:
        column = columns[position]
        if pa.types.is_dictionary(column.type):
            names = column.dictionary.cast(pa.string())
            columns[position] = pa.DictionaryArray.from_arrays(column.indices.cast(pa.int32()), names)
        else:
            columns[position] = column.cast(pa.float64())
    return pa.RecordBatch.from_arrays(columns, names=rows.schema.names)
