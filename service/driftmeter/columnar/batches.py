"""Flat arrays of a request into Arrow record batches, one per model, version and stage."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from driftmeter.columnar.choosing import ColumnChooser, Columns
from driftmeter.columnar.columns import (
    CATEGORICAL,
    MISMATCH,
    NUMERIC,
    encode_cells,
    fill_cells,
    find_columns,
    finish_cells,
)
from driftmeter.columnar.config import AttributesConfig
from driftmeter.columnar.fixed import fixed_arrays
from driftmeter.columnar.grouping import GROUP_ROWS, group_spans, make_groups, order_spans
from driftmeter.columnar.kinds import KindBook
from driftmeter.columnar.layout import (
    ATTRIBUTE_LENGTH,
    ATTRIBUTE_TYPE,
    FIELDS,
    INVALID_JSON,
    NAME_TOO_LONG,
    SPANS,
    STRING,
    TOO_MANY_COLUMNS,
    Flat,
    Ints,
)
from driftmeter.columnar.memory import Bytes
from driftmeter.columnar.models import ModelLimit
from driftmeter.columnar.rows import Rows, fitting_rows, prediction_id_rows
from driftmeter.columnar.texts import text_of, texts_of
from driftmeter.model.predictions import FIXED_FIELDS, ModelKey, Predictions

CELLS_MAX = 2**24
"""Most cells in a request's tables. A request of 64 MiB has room for some 4 million values; four times as many cells
leave room for missing ones, and no sender can make 64 MiB of spans into gigabytes of nulls."""

ID_BYTES_MAX = 256

_SCHEMAS_KEPT = 1_000
_DROPPED = {
    TOO_MANY_COLUMNS: "too_many_columns",
    NAME_TOO_LONG: "name_too_long",
    INVALID_JSON: "invalid_json",
}
_NUMBER = pa.float64()
_CATEGORY = pa.dictionary(pa.int32(), pa.string())


@dataclass(slots=True)
class Outcome:
    """Batches of one request with the number of spans in each, and counts of what is not in them."""

    batches: tuple[Predictions, ...] = ()
    batch_spans: tuple[int, ...] = ()
    rejected: Mapping[str, int] = field(default_factory=dict)
    dropped_values: Counter[str] = field(default_factory=Counter)


class _Cells(NamedTuple):
    """Values of a batch's columns: see `fill_cells` and `finish_cells`."""

    cells: Ints
    states: npt.NDArray[np.uint8]
    bits: npt.NDArray[np.uint8]
    nulls: Ints
    mismatches: Ints


class BatchBuilder:
    """Builds batches; may be used from several threads.

    Args:
        attributes: Names of attributes, and the most columns of a model.
        kinds: Kinds of columns.
        models: Which models are taken.
    """

    def __init__(self, attributes: AttributesConfig, kinds: KindBook, models: ModelLimit) -> None:
        self._attributes = attributes
        self._chooser = ColumnChooser(attributes, kinds)
        self._models = models
        self._schemas: dict[tuple[tuple[str, ...], bytes], pa.Schema] = {}

    def build(self, request: bytes | memoryview, buffer: Bytes, flat: Flat) -> Outcome:
        """Batches of all spans kept in `flat`; `request` and `buffer` are the same bytes."""
        outcome = Outcome()
        spans_kept = int(flat.state[SPANS])
        if not spans_kept:
            return outcome
        keys, order, ends = _split(request, buffer, flat)
        of_field = np.full(flat.state[FIELDS], -1, np.int64)
        fields = np.empty(flat.state[FIELDS], np.int64)
        batches, batch_spans, start, cells_left = list[Predictions](), list[int](), 0, CELLS_MAX
        rejected = {"too_many_models": spans_kept - int(ends[-1]), "too_sparse": 0}
        for key, is_taken, end in zip(keys, self._models.admit(keys), ends.tolist(), strict=True):
            spans = order[start:end]
            start = end
            if not is_taken:
                rejected["too_many_models"] += spans.size
                continue
            found = fields[: find_columns(flat, spans, of_field, fields)]
            columns = self._chooser.choose(request, flat, key, spans, found, of_field)
            width = max(1, len(columns.names))
            rows = fitting_rows(flat, spans, width, len(FIXED_FIELDS), cells_left)
            cells_left -= rows.count * width + (rows.count - rows.entries) * len(FIXED_FIELDS)
            rejected["too_sparse"] += spans.size - rows.entries
            if rows.entries:
                spans = spans[: rows.entries]
                batches.append(self._batch(buffer, flat, key, spans, rows, columns, outcome.dropped_values))
                batch_spans.append(rows.entries)
            of_field[found] = -1
        outcome.batches, outcome.batch_spans, outcome.rejected = tuple(batches), tuple(batch_spans), rejected
        return outcome

    def _schema(self, columns: Columns) -> pa.Schema:
        known = (tuple(columns.names), columns.kinds.tobytes())
        schema = self._schemas.get(known)
        if schema is None:
            if len(self._schemas) >= _SCHEMAS_KEPT:
                self._schemas.clear()
            types = [_NUMBER if kind <= NUMERIC else _CATEGORY for kind in columns.kinds.tolist()]
            schema = pa.schema([*FIXED_FIELDS, *map(pa.field, columns.names, types)])
            self._schemas[known] = schema
        return schema

    def _batch(  # noqa: PLR0913 - everything that makes a batch.
        self,
        buffer: Bytes,
        flat: Flat,
        key: ModelKey,
        spans: Ints,
        rows: Rows,
        columns: Columns,
        dropped: Counter[str],
    ) -> Predictions:
        cells = _fill(flat, spans, rows.count, columns, self._attributes.max_text_bytes, dropped)
        data = _arrays(buffer, flat, columns, cells, rows.count)
        ids = _prediction_ids(buffer, flat, prediction_id_rows(flat, spans, rows), dropped)
        fixed = fixed_arrays(buffer, flat, spans, rows, ids)
        table = pa.RecordBatch.from_arrays([*fixed, *data], schema=self._schema(columns))
        mismatches = {
            columns.names[column]: np.flatnonzero(cells.states[column, : rows.count] == MISMATCH).astype(np.uint32)
            for column in np.flatnonzero(cells.mismatches).tolist()
        }
        return Predictions(key, table, mismatches)


def _split(request: bytes | memoryview, buffer: Bytes, flat: Flat) -> tuple[list[ModelKey], Ints, Ints]:
    """Models in order of first appearance, spans sorted by model, and where each model's spans end."""
    groups, slots = make_groups()
    groups = groups[: group_spans(buffer, flat, groups, slots)]
    batch_of_key: dict[ModelKey, int] = {}
    batch_of_group = np.empty(len(groups), np.int64)
    # Version 1 and version "1" are two groups of values and one model.
    for group, values in enumerate(groups[:, :GROUP_ROWS].tolist()):
        key = ModelKey(*(text_of(request, flat.attributes, value) for value in values))
        batch_of_group[group] = batch_of_key.setdefault(key, len(batch_of_key))
    rows = np.zeros(len(batch_of_key), np.int64)
    np.add.at(rows, batch_of_group, groups[:, GROUP_ROWS])
    ends = np.cumsum(rows)
    order = np.empty(ends[-1], np.int64)
    order_spans(flat, batch_of_group, ends - rows, order)
    return list(batch_of_key), order, ends


def _fill(flat: Flat, spans: Ints, rows: int, columns: Columns, text_bytes_max: int, dropped: Counter[str]) -> _Cells:
    """Cells of a batch."""
    width = len(columns.names)
    # An odd number of cache lines a row, so that one span's cells do not all fall into the same cache set.
    stride = (rows + 7) // 8 * 8 | 8
    room = _Cells(
        cells=np.empty((width, stride), np.int64),
        states=np.zeros((width, stride), np.uint8),
        bits=np.empty((width, (rows + 7) // 8), np.uint8),
        nulls=np.empty(width, np.int64),
        mismatches=np.empty(width, np.int64),
    )
    drops = np.zeros(1 - min(_DROPPED), np.int64)
    fill_cells(flat, spans, columns.of_field, columns.kinds, text_bytes_max, room.cells, room.states, drops)
    too_long = finish_cells(room.cells, room.states, rows, room.bits, room.nulls, room.mismatches)
    counts = {name: int(drops[-reason]) for reason, name in _DROPPED.items()} | {"string_too_long": too_long}
    dropped.update({name: count for name, count in counts.items() if count})
    return room


def _arrays(buffer: Bytes, flat: Flat, columns: Columns, cells: _Cells, rows: int) -> list[pa.Array]:
    """Arrow arrays of a batch's columns, sharing the cells' memory."""
    categorical = np.flatnonzero(columns.kinds >= CATEGORICAL)
    dictionaries = iter(_dictionaries(buffer, flat, cells, categorical, rows))
    values, bits = pa.py_buffer(cells.cells), pa.py_buffer(cells.bits)
    value_bytes, bit_bytes = cells.cells.strides[0], cells.bits.shape[1]
    arrays = []
    for column, (kind, nulls) in enumerate(zip(columns.kinds.tolist(), cells.nulls.tolist(), strict=True)):
        validity = bits.slice(column * bit_bytes, bit_bytes) if nulls else None
        if kind <= NUMERIC:
            data = values.slice(column * value_bytes, 8 * rows)
            arrays.append(pa.Array.from_buffers(_NUMBER, rows, [validity, data], nulls))
        else:
            codes, texts = next(dictionaries)
            indices = pa.Array.from_buffers(pa.int32(), rows, [validity, codes], nulls)
            arrays.append(pa.DictionaryArray.from_arrays(indices, texts, safe=False))
    return arrays


def _dictionaries(
    buffer: Bytes, flat: Flat, cells: _Cells, columns: Ints, rows: int
) -> list[tuple[pa.Buffer, pa.StringArray]]:
    """Codes and distinct texts of each categorical column."""
    if not columns.size:
        return []
    slots = np.empty(1 << (2 * rows - 1).bit_length(), np.int32)
    codes = np.empty((columns.size, rows), np.int32)
    entries = np.empty(columns.size * (rows + 1), np.int64)
    encode_cells(buffer, flat, cells.cells, cells.states, columns, slots, codes, entries)
    sizes = entries[: columns.size].tolist()
    firsts = entries[columns.size : columns.size + sum(sizes)]
    texts = texts_of(buffer, flat.attributes, firsts)
    other_types = flat.attributes[firsts, ATTRIBUTE_TYPE] != STRING
    result, start = [], 0
    for size, row in zip(sizes, codes, strict=True):
        column_texts, stop = texts.slice(start, size), start + size
        if other_types[start:stop].any():
            result.append(_merge_equal(row, column_texts))
        else:
            result.append((pa.py_buffer(row), column_texts))
        start = stop
    return result


def _merge_equal(codes: npt.NDArray[np.int32], texts: pa.StringArray) -> tuple[pa.Buffer, pa.StringArray]:
    """Give values of different types that read alike, such as true and "true", one code."""
    merged = texts.dictionary_encode()
    if not len(texts):
        return pa.py_buffer(codes), texts
    return pa.py_buffer(merged.indices.to_numpy()[codes]), merged.dictionary


def _prediction_ids(buffer: Bytes, flat: Flat, rows: Ints, dropped: Counter[str]) -> pa.StringArray:
    """Prediction ids as text; null when absent, no scalar or too long."""
    known = np.maximum(rows, 0)
    lengths = np.where(flat.attributes[known, ATTRIBUTE_TYPE] == STRING, flat.attributes[known, ATTRIBUTE_LENGTH], 0)
    too_long = (rows >= 0) & (lengths > ID_BYTES_MAX)
    if too_long.any():
        dropped["id_too_long"] += int(np.count_nonzero(too_long))
        rows = np.where(too_long, -1, rows)
    return texts_of(buffer, flat.attributes, rows)
