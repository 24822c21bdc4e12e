"""Flat arrays of a request into Arrow record batches, one per model, version and stage."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from driftmeter.columnar.columns import (
    CATEGORICAL,
    MISMATCH,
    NAME_TOO_LONG,
    NUMERIC,
    TEXT,
    TOO_MANY_COLUMNS,
    UNDECIDED,
    encode_cells,
    fill_cells,
    find_columns,
    finish_cells,
    first_kinds,
)
from driftmeter.columnar.config import AttributesConfig
from driftmeter.columnar.fixed import fixed_arrays
from driftmeter.columnar.grouping import GROUP_ROWS, group_spans, make_groups, order_spans
from driftmeter.columnar.kinds import KindBook
from driftmeter.columnar.layout import (
    ATTRIBUTE_LENGTH,
    ATTRIBUTE_TYPE,
    FIELDS,
    KEY_LENGTH,
    KEY_OF_FIELD,
    KEY_OFFSET,
    PREDICTION_ID,
    SPAN_SPECIAL,
    SPANS,
    STRING,
    Flat,
    Ints,
)
from driftmeter.columnar.memory import Bytes
from driftmeter.columnar.naming import column_of
from driftmeter.columnar.texts import text_of, texts_of
from driftmeter.model.columns import Role
from driftmeter.model.predictions import FIXED_FIELDS, ModelKey, Predictions

CELLS_MAX = 2**24
"""Most cells in a request's tables. A request of 64 MiB has room for some 4 million values; four times as many cells
leave room for missing ones, and no sender can make 64 MiB of spans into gigabytes of nulls."""

NAME_BYTES_MAX = 1_024
ID_BYTES_MAX = 256

_COLUMNS_LOOKED_AT = 20_000  # In one batch: further names of a flood of columns are not even read.
_NAMES_KEPT = 20_000
_SCHEMAS_KEPT = 1_000
_DROPPED = {TOO_MANY_COLUMNS: "too_many_columns", NAME_TOO_LONG: "name_too_long"}
_SEGMENT = f"{Role.SEGMENT.value}."
_NUMBER = pa.float64()
_CATEGORY = pa.dictionary(pa.int32(), pa.string())


@dataclass(slots=True)
class Outcome:
    """Batches of one request, and counts of what is not in them."""

    batches: tuple[Predictions, ...] = ()
    rejected: Mapping[str, int] = field(default_factory=dict)
    dropped_values: Counter[str] = field(default_factory=Counter)


class _Columns(NamedTuple):
    """Columns of a batch: names and kinds, one each, and the column of each field or why it is dropped."""

    names: list[str]
    kinds: npt.NDArray[np.uint8]
    of_field: Ints


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
    """

    def __init__(self, attributes: AttributesConfig, kinds: KindBook) -> None:
        self._attributes = attributes
        self._kinds = kinds
        self._names: dict[bytes, str] = {}
        self._schemas: dict[tuple[tuple[str, ...], bytes], pa.Schema] = {}

    def build(self, request: bytes, buffer: Bytes, flat: Flat) -> Outcome:
        """Batches of all spans kept in `flat`."""
        outcome = Outcome()
        spans_kept = int(flat.state[SPANS])
        if not spans_kept:
            return outcome
        keys, order, ends = _split(request, buffer, flat)
        of_field = np.full(flat.state[FIELDS], -1, np.int64)
        fields = np.empty(flat.state[FIELDS], np.int64)
        batches, too_sparse, start, cells_left = [], 0, 0, CELLS_MAX
        for key, end in zip(keys, ends.tolist(), strict=True):
            spans = order[start:end]
            start = end
            found = fields[: find_columns(flat, spans, of_field, fields)]
            columns = self._columns(request, flat, key, spans, found, of_field)
            width = max(1, len(columns.names))
            rows = min(spans.size, cells_left // width)
            cells_left -= rows * width
            too_sparse += spans.size - rows
            if rows:
                batches.append(self._batch(buffer, flat, key, spans[:rows], columns, outcome.dropped_values))
            of_field[found] = -1
        outcome.batches = tuple(batches)
        outcome.rejected = {"too_many_models": spans_kept - int(ends[-1]), "too_sparse": too_sparse}
        return outcome

    def _columns(self, request: bytes, flat: Flat, key: ModelKey, spans: Ints, found: Ints, of_field: Ints) -> _Columns:
        """Decide which of the found fields become columns, and number these in `of_field`."""
        columns_max = self._attributes.max_columns
        looked_at = found[: max(columns_max, _COLUMNS_LOOKED_AT)]
        of_field[found[looked_at.size :]] = TOO_MANY_COLUMNS
        spots = flat.keys[flat.keys[looked_at, KEY_OF_FIELD], KEY_OFFSET : KEY_LENGTH + 1].tolist()
        names = [self._name(request[offset : offset + length]) for offset, length in spots]
        usable = [i for i, name in enumerate(names) if name]

        def firsts() -> list[int]:
            kinds = np.full(looked_at.size, UNDECIDED, np.int64)
            first_kinds(flat, spans, of_field, np.full(looked_at.size, -1, np.int64), kinds)
            return [int(kinds[i]) for i in usable]

        kinds = np.full(len(names), NAME_TOO_LONG, np.int64)
        kinds[usable] = self._kinds.resolve(key.model, key.version, [names[i] for i in usable], firsts, columns_max)
        kept = kinds >= 0
        of_field[looked_at] = np.where(kept, np.cumsum(kept) - 1, kinds)
        names = [name for name, is_kept in zip(names, kept.tolist(), strict=True) if is_kept]
        codes = kinds[kept].astype(np.uint8)
        codes[[name.startswith(_SEGMENT) for name in names]] = TEXT
        return _Columns(names, codes, of_field)

    def _name(self, key: bytes) -> str:
        """Field name of a column's key; empty when the name is too long."""
        name = self._names.get(key)
        if name is None:
            if len(key) > NAME_BYTES_MAX:
                return ""
            if len(self._names) >= _NAMES_KEPT:
                self._names.clear()
            name = self._names[key] = column_of(key.decode(), self._attributes).field
        return name

    def _schema(self, columns: _Columns) -> pa.Schema:
        known = (tuple(columns.names), columns.kinds.tobytes())
        schema = self._schemas.get(known)
        if schema is None:
            if len(self._schemas) >= _SCHEMAS_KEPT:
                self._schemas.clear()
            types = [_NUMBER if kind <= NUMERIC else _CATEGORY for kind in columns.kinds.tolist()]
            schema = pa.schema([*FIXED_FIELDS, *map(pa.field, columns.names, types)])
            self._schemas[known] = schema
        return schema

    def _batch(
        self, buffer: Bytes, flat: Flat, key: ModelKey, spans: Ints, columns: _Columns, dropped: Counter[str]
    ) -> Predictions:
        cells = _fill(flat, spans, columns, dropped)
        data = _arrays(buffer, flat, columns, cells, spans.size)
        fixed = fixed_arrays(buffer, flat, spans, _prediction_ids(buffer, flat, spans, dropped))
        rows = pa.RecordBatch.from_arrays([*fixed, *data], schema=self._schema(columns))
        mismatches = {
            columns.names[column]: np.flatnonzero(cells.states[column, : spans.size] == MISMATCH).astype(np.uint32)
            for column in np.flatnonzero(cells.mismatches).tolist()
        }
        return Predictions(key, rows, mismatches)


def _split(request: bytes, buffer: Bytes, flat: Flat) -> tuple[list[ModelKey], Ints, Ints]:
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


def _fill(flat: Flat, spans: Ints, columns: _Columns, dropped: Counter[str]) -> _Cells:
    """Cells of a batch."""
    width, rows = len(columns.names), spans.size
    # An odd number of cache lines a row, so that one span's cells do not all fall into the same cache set.
    stride = (rows + 7) // 8 * 8 | 8
    room = _Cells(
        cells=np.empty((width, stride), np.int64),
        states=np.zeros((width, stride), np.uint8),
        bits=np.empty((width, (rows + 7) // 8), np.uint8),
        nulls=np.empty(width, np.int64),
        mismatches=np.empty(width, np.int64),
    )
    drops = np.zeros(4, np.int64)
    fill_cells(flat, spans, columns.of_field, columns.kinds, room.cells, room.states, drops)
    too_long = finish_cells(room.cells, room.states, rows, room.bits, room.nulls, room.mismatches)
    counts = {name: int(drops[-reason]) for reason, name in _DROPPED.items()} | {"text_too_long": too_long}
    dropped.update({name: count for name, count in counts.items() if count})
    return room


def _arrays(buffer: Bytes, flat: Flat, columns: _Columns, cells: _Cells, rows: int) -> list[pa.Array]:
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


def _prediction_ids(buffer: Bytes, flat: Flat, spans: Ints, dropped: Counter[str]) -> pa.StringArray:
    """Prediction ids as text; null when absent, no scalar or too long."""
    rows = flat.spans[spans, SPAN_SPECIAL + PREDICTION_ID]
    known = np.maximum(rows, 0)
    lengths = np.where(flat.attributes[known, ATTRIBUTE_TYPE] == STRING, flat.attributes[known, ATTRIBUTE_LENGTH], 0)
    too_long = (rows >= 0) & (lengths > ID_BYTES_MAX)
    if too_long.any():
        dropped["id_too_long"] += int(np.count_nonzero(too_long))
        rows = np.where(too_long, -1, rows)
    return texts_of(buffer, flat.attributes, rows)
