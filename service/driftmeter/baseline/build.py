"""Reference rows to a baseline."""

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from driftmeter.baseline.chunks import chunk_slots, chunk_statistics
from driftmeter.baseline.data import Dataset
from driftmeter.baseline.edges import category_bins, numeric_bins
from driftmeter.baseline.noise import DRAWS, noise_per_row
from driftmeter.errors import BaselineError
from driftmeter.model.baseline import Baseline, ColumnBaseline
from driftmeter.model.columns import Column, is_scored_field
from driftmeter.model.counts import Counts, Moment, Tally
from driftmeter.model.layout import Layout
from driftmeter.model.windows import WindowLength
from driftmeter.summary.fold import fold

DEFAULT_WINDOWS = ("5m", "1h", "24h")
"""Window lengths whose chunks a baseline keeps unless told otherwise."""

_EXACT_INTEGER_MAX = 2.0**53

Progress = Callable[[str], None]


def build_baseline(  # noqa: PLR0913 - what a baseline is made of.
    data: Dataset,
    model: str,
    version: str,
    windows: Iterable[WindowLength],
    name: str = "file",
    noise_draws: int = DRAWS,
    on_column: Progress = lambda _: None,
) -> Baseline:
    """Build a baseline.

    Args:
        data: Reference rows, at least two.
        model: Model it belongs to.
        version: Its version; empty serves any.
        windows: Lengths to cut chunks of; those by time are left out when the rows have no timestamps.
        name: The `baseline` label of what is scored against it.
        noise_draws: Draws from which the noise of each method is estimated.
        on_column: Called with each column's name when it is done.

    Raises:
        BaselineError: Nothing can be learned from the rows.
    """
    skipped = dict(data.skipped)
    columns: list[ColumnBaseline] = []
    cuts = {window.name: chunk_slots(window, data.rows.num_rows, data.times_ns) for window in windows}
    for column, values in zip(data.columns, data.rows.columns, strict=True):
        built = _build_column(column, values, integer=column.field in data.integers)
        if built is None:
            skipped[column.name] = "none of its values is finite"
            continue
        chunks = {
            window: chunk_statistics(built, values, slots, count)
            for window, (slots, count) in ((key, cut) for key, cut in cuts.items() if cut is not None)
            if count > 1
        }
        columns.append(replace(built, chunks=chunks))
        on_column(column.name)
    if not columns:
        raise BaselineError("no column has a usable value: a baseline needs at least one")
    noise = noise_per_row(tuple(columns), noise_draws)
    times = data.times_ns
    return Baseline(
        model=model,
        version=version,
        name=name,
        rows=data.rows.num_rows,
        start_ns=None if times is None else int(times.min()),
        end_ns=None if times is None else int(times.max()),
        columns=tuple(replace(each, noise=a) for each, a in zip(columns, noise, strict=True)),
        windows=tuple(key for key, cut in cuts.items() if cut is not None),
        skipped=skipped,
    )


def _build_column(column: Column, values: pa.Array, *, integer: bool) -> ColumnBaseline | None:
    uncounted = np.empty(0, np.uint64)
    if not pa.types.is_floating(values.type):
        categories = category_bins(pl.Series("value", pl.from_arrow(values)).cast(pl.String))
        return _counted(ColumnBaseline(column, categories, None, uncounted, 0, 0), values)
    numbers = values.drop_null().to_numpy(zero_copy_only=False)
    finite = numbers[np.isfinite(numbers)]
    if not len(finite):
        return None
    # Integers beyond 2^53 are rounded, and numpy's own rule for integers makes no difference to them.
    whole = integer and float(np.abs(finite).max()) <= _EXACT_INTEGER_MAX
    typed: npt.NDArray[np.generic] = finite.astype(np.int64) if whole else finite
    bins, cuts = numeric_bins(typed)
    with np.errstate(over="ignore", invalid="ignore"):  # Huge values have no finite spread.
        mean, stddev = float(finite.mean()), float(finite.std())
    built = ColumnBaseline(
        column,
        bins,
        cuts,
        uncounted,
        missing=0,
        non_finite=0,
        mean=mean,
        stddev=stddev,
        minimum=float(finite.min()),
        maximum=float(finite.max()),
    )
    return _counted(built, values)


def _counted(column: ColumnBaseline, values: pa.Array) -> ColumnBaseline:
    layout = Layout((column.column,), (column.bins,), np.zeros(1))
    rows = pa.RecordBatch.from_pydict({column.column.field: values})
    counts = Counts.zeros(layout)
    fold(layout, rows, np.zeros(len(values), np.int32), counts)
    tallies = counts.tallies[0, 0]
    assert not counts.sums[0, 0, Moment.TAIL_ABOVE].any()  # noqa: S101 - the edges span the reference.
    return replace(
        column,
        counts=counts.bins[0],
        missing=int(tallies[Tally.MISSING]),
        non_finite=int(tallies[Tally.NON_FINITE]),
    )


def dataset_of_batches(batches: list[pa.RecordBatch]) -> Dataset:
    """Live rows as reference data: the scored columns of several batches, null where a batch lacks one.

    A column whose first values said nothing of its kind is a column of numbers, all null, in the batches before.
    """
    types: dict[str, pa.DataType] = {}
    for field in (field for batch in batches for field in batch.schema if is_scored_field(field.name)):
        if field.name not in types or pa.types.is_dictionary(field.type):
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
