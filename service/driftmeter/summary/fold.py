"""Rows to counts: the compiled inner loop of the service and of `analyze`."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from driftmeter.model.bins import CategoryBins, NumericBins
from driftmeter.model.columns import Column, Role
from driftmeter.model.compiled import jit
from driftmeter.model.counts import Counts, Moment, Tally
from driftmeter.model.layout import Layout

_MISSING, _NON_FINITE = int(Tally.MISSING), int(Tally.NON_FINITE)
_BELOW, _ABOVE, _DEVIATION, _SQUARE = (
    int(Moment.TAIL_BELOW),
    int(Moment.TAIL_ABOVE),
    int(Moment.DEVIATION),
    int(Moment.SQUARE),
)
_MIN, _MAX = int(Moment.MIN), int(Moment.MAX)
Floats = npt.NDArray[np.float64]

_NO_BITMAP = np.empty(0, np.uint8)


def fold(
    layout: Layout,
    rows: pa.RecordBatch,
    slots: npt.NDArray[np.int32],
    counts: Counts,
    mismatches: Mapping[str, npt.NDArray[np.uint32]] | None = None,
) -> None:
    """Count `rows` into `counts`, in place.

    Args:
        layout: Columns and their bins. Columns that the rows lack count as missing in every row; columns of the
            rows that the layout lacks are not looked at.
        rows: One row per prediction, fields named `Column.field`: float64 or dictionary<int32, string>.
        slots: int32 (rows,): the window of each row, 0 <= slot < windows of `counts`.
        counts: What was counted so far, of the same layout.
        mismatches: Row numbers whose value had the wrong type, by field name; these rows are null in `rows`.
    """
    windows = len(counts.rows)
    per_window = np.bincount(slots, minlength=windows).astype(np.uint64)
    np.add(counts.rows, per_window, out=counts.rows)
    for index, (column, bins) in enumerate(zip(layout.columns, layout.bins, strict=True)):
        place = _Place(_frozen(slots), int(layout.offsets[index]), index)
        position = rows.schema.get_field_index(column.field)
        values = rows.column(position) if position >= 0 else None
        if values is not None and isinstance(bins, NumericBins) and not pa.types.is_dictionary(values.type):
            _fold_numbers(values, bins, float(layout.centers[index]), place, counts)
        elif values is not None and isinstance(bins, CategoryBins) and pa.types.is_dictionary(values.type):
            _fold_categories(values, bins, place, counts)
        else:  # Absent, or nothing but nulls of another type.
            counts.tallies[:, index, Tally.MISSING] += per_window
        wrong = (mismatches or {}).get(column.field)
        if wrong is not None:
            counts.tallies[:, index, Tally.MISMATCH] += np.bincount(slots[wrong], minlength=windows).astype(np.uint64)


class _Place(NamedTuple):
    """Where one column's counts go: the window of each row, the column's first bin, and its number."""

    slots: npt.NDArray[np.int32]
    first_bin: int
    column: int


def warm_up() -> None:
    """Compile the kernels, or load them; afterwards no call compiles."""
    columns = (Column(Role.FEATURE, "number"), Column(Role.FEATURE, "name"))
    layout = Layout(columns, (NumericBins(np.array([0.0, 1.0])), CategoryBins(("a",))), np.zeros(2))
    rows = pa.RecordBatch.from_pydict(
        {"feature.number": pa.array([0.5, None]), "feature.name": pa.array(["a", None]).dictionary_encode()}
    )
    fold(layout, rows, np.zeros(2, np.int32), Counts.zeros(layout))


def _frozen(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A read-only view: kernels are compiled once for these, not again for each mixture of flags."""
    view = array.view()
    view.flags.writeable = False
    return view


def _fold_numbers(column: pa.Array, bins: NumericBins, center: float, place: _Place, counts: Counts) -> None:
    if not pa.types.is_float64(column.type):
        column = column.cast(pa.float64())
    validity, data = column.buffers()
    values = np.frombuffer(data, np.float64, len(column), column.offset * 8) if len(column) else np.empty(0)
    bitmap = np.frombuffer(validity, np.uint8) if validity is not None and column.null_count else _NO_BITMAP
    _count_numbers(
        _frozen(values), _frozen(bitmap), column.offset, *place, _frozen(bins.edges), _frozen(bins.lookup),
        bins.cells_per_unit, center, counts.bins, counts.tallies, counts.moments,
    )  # fmt: skip


def _fold_categories(column: pa.DictionaryArray, bins: CategoryBins, place: _Place, counts: Counts) -> None:
    codes = column.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int32, copy=False)
    # A null among the dictionary's values is as missing as a null index.
    names = column.dictionary.to_pylist()
    bin_of_code = bins.bins_of([name if name is not None else "" for name in names])
    bin_of_code[[name is None for name in names]] = -1
    _count_codes(_frozen(codes), _frozen(bin_of_code), *place, counts.bins, counts.tallies)


@jit
def _count_numbers(  # noqa: PLR0913 - the arrays of one column.
    values: Floats,
    bitmap: npt.NDArray[np.uint8],
    bit_offset: int,
    slots: npt.NDArray[np.int32],
    first_bin: int,
    column: int,
    edges: Floats,
    lookup: npt.NDArray[np.int32],
    cells_per_unit: float,
    center: float,
    counts: npt.NDArray[np.uint64],
    tallies: npt.NDArray[np.uint64],
    moments: Floats,
) -> None:
    low, high = edges[0], edges[-1]
    above = first_bin + len(edges) + 1
    has_nulls = len(bitmap) > 0
    for row in range(len(values)):
        slot = slots[row]
        bit = row + bit_offset
        if has_nulls and not (bitmap[bit >> 3] >> (bit & 7)) & 1:
            tallies[slot, column, _MISSING] += np.uint64(1)
            continue
        value = values[row]
        if not math.isfinite(value):
            tallies[slot, column, _NON_FINITE] += np.uint64(1)
            continue
        sums = moments[slot, column]
        deviation = value - center
        sums[_DEVIATION] += deviation
        sums[_SQUARE] += deviation * deviation
        sums[_MIN] = min(sums[_MIN], value)
        sums[_MAX] = max(sums[_MAX], value)
        if value < low:
            counts[slot, first_bin] += np.uint64(1)
            sums[_BELOW] += low - value
        elif value > high:
            counts[slot, above] += np.uint64(1)
            sums[_ABOVE] += value - high
        else:
            counts[slot, first_bin + _edges_up_to(value, edges, lookup, cells_per_unit)] += np.uint64(1)


@jit
def _edges_up_to(value: float, edges: Floats, lookup: npt.NDArray[np.int32], cells_per_unit: float) -> int:
    """Number of edges at or below a value inside the range: its bin."""
    left, right = 0, len(edges)
    if cells_per_unit > 0:  # Else the range may overflow, and infinity times zero is no cell.
        cell = min(int((value - edges[0]) * cells_per_unit), len(lookup) - 2)
        left, right = lookup[cell], lookup[cell + 1]
    while left < right:
        middle = (left + right) >> 1
        if edges[middle] <= value:
            left = middle + 1
        else:
            right = middle
    return int(left)


@jit
def _count_codes(  # noqa: PLR0913 - the arrays of one column.
    codes: npt.NDArray[np.int32],
    bin_of_code: npt.NDArray[np.int32],
    slots: npt.NDArray[np.int32],
    first_bin: int,
    column: int,
    counts: npt.NDArray[np.uint64],
    tallies: npt.NDArray[np.uint64],
) -> None:
    for row in range(len(codes)):
        code = codes[row]
        place = bin_of_code[code] if code >= 0 else -1
        if place < 0:
            tallies[slots[row], column, _MISSING] += np.uint64(1)
        else:
            counts[slots[row], first_bin + place] += np.uint64(1)
