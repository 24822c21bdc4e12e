"""Flat arrays of requests into Arrow record batches, one per model, version and stage."""

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from driftmeter.columnar.categories import dictionaries
from driftmeter.columnar.choosing import ColumnChooser, Columns
from driftmeter.columnar.columns import MISMATCH, NUMERIC, Cells, fill_cells, find_columns
from driftmeter.columnar.config import AttributesConfig
from driftmeter.columnar.fixed import fixed_arrays
from driftmeter.columnar.grouping import GROUP_ROWS, group_spans, make_groups, order_spans
from driftmeter.columnar.identity import ID_BYTES_MAX
from driftmeter.columnar.kinds import KindBook
from driftmeter.columnar.layout import (
    ATTRIBUTE_LENGTH,
    ATTRIBUTE_TYPE,
    ATTRIBUTES,
    FIELDS,
    INVALID_JSON,
    NAME_TOO_LONG,
    NAMES_FULL,
    SPANS,
    STRING,
    TOO_MANY_COLUMNS,
    Flat,
    Ints,
    Source,
)
from driftmeter.columnar.models import ModelLimit
from driftmeter.columnar.rows import Rows, fitting_rows, prediction_id_rows
from driftmeter.columnar.texts import text_of, texts_of
from driftmeter.columnar.vectors import collapse, embedding_columns
from driftmeter.model.predictions import FIXED_FIELDS, ModelKey, Predictions

CELLS_MAX = 2**24
"""Most cells in a request's tables. A request of 64 MiB has room for some 4 million values; four times as many cells
leave room for missing ones, and no sender can make 64 MiB of spans into gigabytes of nulls."""

_COLUMNS_FREE = 2**16
"""Columns that the tables of one request may have together, beyond one for each of its attributes: models that share
the attributes of a resource must not make a column of each in each table."""

_NAMES_BYTES = 2**16
_DROPPED = {
    0: "string_too_long",
    TOO_MANY_COLUMNS: "too_many_columns",
    NAME_TOO_LONG: "name_too_long",
    INVALID_JSON: "invalid_json",
}
_DROPPED_WORDS = 2 - min(_DROPPED)
_NUMBER, _CODE = pa.float64(), pa.int32()


@dataclass(slots=True)
class Outcome:
    """Batches of requests, and what is not in them.

    Attributes:
        batches: One per model, version and stage.
        batch_spans: Spans in each.
        without_identity: Those among them that have no ids.
        rejected: Spans by reason.
        dropped_values: Values by reason.
        learned: Columns whose kind was not known before, by model.
        limited: Whether a limit of one request was met.
    """

    batches: list[Predictions] = field(default_factory=list)
    batch_spans: list[int] = field(default_factory=list)
    without_identity: list[int] = field(default_factory=list)
    rejected: Mapping[str, int] = field(default_factory=dict)
    dropped_values: Counter[str] = field(default_factory=Counter)
    learned: list[tuple[ModelKey, list[str]]] = field(default_factory=list)
    limited: bool = False


class Part(NamedTuple):
    """What becomes a batch."""

    key: ModelKey
    spans: Ints
    rows: Rows
    columns: Columns
    of_field: Ints


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
        self._local = threading.local()

    def build(self, source: Source, cells_max: int = CELLS_MAX) -> Outcome:
        """Batches of all spans that were kept, whose tables have at most so many cells."""
        outcome = Outcome()
        state = source.flat.state.tolist()
        if not state[SPANS]:
            return outcome
        keys, order, ends = self._split(source)
        of_field, fields = np.full(state[FIELDS], -1, np.int64), np.empty(state[FIELDS] + 1, np.int64)
        start, columns_left = 0, _COLUMNS_FREE + state[ATTRIBUTES]
        too_many, too_sparse = state[SPANS] - ends[-1], 0
        for key, is_taken, end in zip(keys, self._models.admit(keys), ends, strict=True):
            spans = order[start:end]
            start = end
            if not is_taken:
                too_many += spans.size
                continue
            if columns_left < 0:
                too_sparse += spans.size
                continue
            columns, found = self._columns(source, key, spans, of_field, fields)
            columns_left -= found.size
            width = max(1, len(columns.names))
            rows = fitting_rows(source.flat, spans, width, len(FIXED_FIELDS), cells_max)
            cells_max -= rows.count * width + (rows.count - rows.entries) * len(FIXED_FIELDS)
            too_sparse += spans.size - rows.entries
            outcome.limited |= columns.limited
            if columns.learned:
                outcome.learned.append((key, columns.learned))
            if rows.entries:
                self._add(source, Part(key, spans[: rows.entries], rows, columns, of_field), outcome)
            of_field[found] = -1
        outcome.rejected = {"too_many_models": too_many, "too_sparse": too_sparse}
        outcome.limited |= bool(too_many or too_sparse or state[NAMES_FULL])
        return outcome

    def _split(self, source: Source) -> tuple[list[ModelKey], Ints, list[int]]:
        """Models in order of first appearance, spans sorted by model, and where each model's spans end."""
        flat = source.flat
        room = self._local.__dict__.get("groups")
        if room is None:
            room = self._local.groups = make_groups()
        groups = room[0][: group_spans(source.buffer, flat, *room)].tolist()
        batch_of_key: dict[ModelKey, int] = {}
        batch_of_group, sizes = list[int](), list[int]()
        # Version 1 and version "1" are two groups of values and one model.
        for group in groups:
            key = ModelKey(*[text_of(source.request, flat.attributes, value) for value in group[:GROUP_ROWS]])
            batch = batch_of_key.setdefault(key, len(batch_of_key))
            if batch == len(sizes):
                sizes.append(0)
            sizes[batch] += group[GROUP_ROWS]
            batch_of_group.append(batch)
        ends = list(accumulate(sizes))
        if sizes == [flat.state[SPANS]]:
            return list(batch_of_key), np.arange(ends[0]), ends
        order = np.empty(ends[-1], np.int64)
        order_spans(flat, np.array(batch_of_group, np.int64), np.array([0, *ends[:-1]], np.int64), order)
        return list(batch_of_key), order, ends

    def _columns(
        self, source: Source, key: ModelKey, spans: Ints, of_field: Ints, fields: Ints
    ) -> tuple[Columns, Ints]:
        """Columns of a batch, and the fields that were found, which `of_field` has the columns of."""
        names: npt.NDArray[np.uint8] | None = self._local.__dict__.get("names")
        if names is None:
            names = self._local.names = np.empty(_NAMES_BYTES, np.uint8)
        size = find_columns(source.buffer, source.flat, spans, of_field, fields, names)
        found, signature = fields[: fields[-1]], names[:size].tobytes()
        columns = self._chooser.find(key, signature)
        if columns is None:
            columns = self._chooser.choose(source, key, spans, found, of_field)
            self._chooser.remember(key, signature, columns)
        return columns, found

    def _add(self, source: Source, part: Part, outcome: Outcome) -> None:
        """Add a batch."""
        cells = _fill(source.flat, part, self._attributes.max_text_bytes)
        if cells.dropped[-1]:
            counts = {name: int(cells.dropped[-reason]) for reason, name in _DROPPED.items()}
            outcome.dropped_values.update({name: count for name, count in counts.items() if count})
        embeddings = embedding_columns(part.columns.names, self._attributes.embeddings)
        vectors: dict[int, pa.ListArray] = {}
        if embeddings:
            rows, cells, vectors, dropped = collapse(part.rows, cells, embeddings)
            part = part._replace(rows=rows)
            outcome.dropped_values.update({"beside_embedding": dropped} if dropped else {})
        data = _arrays(source, part.columns, cells, part.rows.count)
        ids = _prediction_ids(source, part, outcome.dropped_values)
        fixed, anonymous = fixed_arrays(source, part.spans, part.rows, ids)
        schema = part.columns.schema
        for column, values in vectors.items():
            data[column] = values
            place = len(FIXED_FIELDS) + column
            schema = schema.set(place, schema.field(place).with_type(values.type))
        table = pa.RecordBatch.from_arrays([*fixed, *data], schema=schema)
        mismatches = {
            part.columns.names[column]: np.flatnonzero(cells.states[column, : part.rows.count] == MISMATCH).astype(
                np.uint32
            )
            for column, count in enumerate(cells.mismatches.tolist())
            if count
        }
        outcome.batches.append(Predictions(part.key, table, mismatches))
        outcome.batch_spans.append(part.rows.entries)
        outcome.without_identity.append(anonymous)


def _fill(flat: Flat, part: Part, text_bytes_max: int) -> Cells:
    """Cells of a batch."""
    width, rows = len(part.columns.names), part.rows.count
    # An odd number of cache lines a row, so that one span's cells do not all fall into the same cache set.
    stride = (rows + 7) // 8 * 8 | 8
    room = Cells(
        cells=np.empty((width, stride), np.int64),
        states=np.zeros((width, stride), np.uint8),
        bits=np.empty((width, (rows + 7) // 8), np.uint8),
        nulls=np.empty(width, np.int64),
        mismatches=np.empty(width, np.int64),
        dropped=np.zeros(_DROPPED_WORDS, np.int64),
    )
    fill_cells(flat, part.spans, rows, part.of_field, part.columns.kinds, text_bytes_max, room)
    return room


def _arrays(source: Source, columns: Columns, cells: Cells, rows: int) -> list[pa.Array]:
    """Arrow arrays of a batch's columns, sharing the cells' memory."""
    texts = iter(dictionaries(source.buffer, source.flat, cells, columns.categorical, rows))
    bits = pa.py_buffer(cells.bits)
    stride, bit_bytes = cells.cells.shape[1], cells.bits.shape[1]
    numbers = pa.Array.from_buffers(_NUMBER, cells.cells.size, [None, pa.py_buffer(cells.cells)], 0)
    arrays = []
    for column, (kind, nulls) in enumerate(zip(columns.kind_codes, cells.nulls.tolist(), strict=True)):
        validity = bits.slice(column * bit_bytes, bit_bytes) if nulls else None
        if kind > NUMERIC:
            codes, entries = next(texts)
            indices = pa.Array.from_buffers(_CODE, rows, [validity, codes], nulls)
            arrays.append(pa.DictionaryArray.from_arrays(indices, entries, safe=False))
            continue
        array = numbers.slice(column * stride, rows)
        if nulls:
            array = pa.Array.from_buffers(_NUMBER, rows, [validity, _data_of(array)], nulls)
        arrays.append(array)
    return arrays


def _data_of(numbers: pa.Array) -> pa.Buffer:
    return numbers.buffers()[1].slice(8 * numbers.offset, 8 * len(numbers))


def _prediction_ids(source: Source, part: Part, dropped: Counter[str]) -> pa.StringArray:
    """Prediction ids as text; null when absent, no scalar or too long."""
    rows = prediction_id_rows(source.flat, part.spans, part.rows)
    if (rows < 0).all():
        return pa.nulls(rows.size, pa.string())
    attributes = source.flat.attributes
    known = np.maximum(rows, 0)
    lengths = np.where(attributes[known, ATTRIBUTE_TYPE] == STRING, attributes[known, ATTRIBUTE_LENGTH], 0)
    too_long = (rows >= 0) & (lengths > ID_BYTES_MAX)
    if too_long.any():
        dropped["id_too_long"] += int(np.count_nonzero(too_long))
        rows = np.where(too_long, -1, rows)
    return texts_of(source.buffer, attributes, rows)
