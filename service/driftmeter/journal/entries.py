"""Entries: everything that changes state, as it is journalled.

Each is a bundle of a list, in the order of the fields that the entry's type names; a batch's model is three strings.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa

from driftmeter.errors import DamagedError
from driftmeter.model.blobs import Buffer
from driftmeter.model.bundle import Tree, pack, unpack
from driftmeter.model.predictions import FIXED_FIELDS, ModelKey, Predictions

ROWS_KIND = 1
TICK_KIND = 2
LEARNED_KIND = 3
QUARANTINED_KIND = 4
RETRIED_KIND = 5
BASELINE_KIND = 6


class BatchEntry(NamedTuple):
    """The fresh rows of one model, and what its request held beside them.

    Attributes:
        predictions: Rows that no entry before has, nor another batch of this one.
        spans: How many spans these rows are of.
        duplicates: Spans that were left out because they had been journalled before.
        without_identity: Of `spans`, those whose key is made of their content.
    """

    predictions: Predictions
    spans: int
    duplicates: int
    without_identity: int


@dataclass(frozen=True, slots=True)
class RowsEntry:
    """One request.

    Attributes:
        now_ns: The time by which it was taken in, in nanoseconds since 1970.
        received: Spans and log records in it.
        ignored: Of these, those that say nothing about a model.
        rejected: Of these, those refused, by reason.
        dropped_values: Values left out of spans that were taken, by reason.
        batches: What is to be counted.
    """

    now_ns: int
    received: int
    ignored: int
    rejected: Mapping[str, int]
    dropped_values: Mapping[str, int]
    batches: tuple[BatchEntry, ...]


class TickEntry(NamedTuple):
    """Time passed and something came of it.

    Attributes:
        now_ns: The time, in nanoseconds since 1970.
        revise: Whether windows that late rows changed were evaluated again.
    """

    now_ns: int
    revise: bool


class LearnedEntry(NamedTuple):
    """A baseline learned from the rows that waited took effect for a model, or none could be learned.

    Attributes:
        key: The model.
        rows: How many rows waited; 0 when nothing could be learned from them, and they were given up.
        now_ns: The time, in nanoseconds since 1970.
    """

    key: ModelKey
    rows: int
    now_ns: int


class QuarantinedEntry(NamedTuple):
    """What could not be counted was put into quarantine.

    Attributes:
        sequence: The entry it is in.
        batch: Its number in that entry, from 0.
        spans: How many spans it has.
    """

    sequence: int
    batch: int
    spans: int


class RetriedEntry(NamedTuple):
    """What was in quarantine under this number since this time was tried again: it is in the entry before this one.

    A batch and this entry are of one commit, so that either both are on disk or none. Attributes:
        number: What it was called.
        time_ns: When it was put there, in nanoseconds since 1970.
        sequence: The entry in which the batch stands that went into quarantine; 0 when it stands in none.
        batch: Its number in that entry.
    """

    number: int
    time_ns: int
    sequence: int
    batch: int


class BaselineEntry(NamedTuple):
    """A baseline file is new or has changed, and took effect for the models that it is for.

    Attributes:
        content: The file's bytes.
        now_ns: The time, in nanoseconds since 1970.
    """

    content: bytes
    now_ns: int


Entry: TypeAlias = RowsEntry | TickEntry | LearnedEntry | QuarantinedEntry | RetriedEntry | BaselineEntry


def encode(entry: Entry) -> tuple[int, list[Buffer]]:
    """An entry's kind and the parts of its payload.

    Of a batch that is a slice of a larger one only its own rows are in them; its dictionaries are there whole. The
    parts refer to the entry's arrays, which must not change before the parts are written.
    """
    match entry:
        case RowsEntry():
            batches: list[Tree] = [batch_to_tree(batch) for batch in entry.batches]
            rejected, dropped = dict(entry.rejected), dict(entry.dropped_values)
            return ROWS_KIND, pack([entry.now_ns, entry.received, entry.ignored, rejected, dropped, batches])
        case TickEntry():
            return TICK_KIND, pack([entry.now_ns, entry.revise])
        case LearnedEntry():
            return LEARNED_KIND, pack([*entry.key, entry.rows, entry.now_ns])
        case QuarantinedEntry():
            return QUARANTINED_KIND, pack([*entry])
        case RetriedEntry():
            return RETRIED_KIND, pack([*entry])
        case BaselineEntry():
            return BASELINE_KIND, pack([*entry])


def decode(kind: int, payload: memoryview) -> Entry:
    """The entry that was encoded. Its tables are views of the payload.

    Raises:
        DamagedError: The payload is none of this kind, or the kind is not known.
    """
    match unpack(payload):
        case [int(now_ns), int(received), int(ignored), dict(rejected), dict(dropped), list(batches)] if (
            kind == ROWS_KIND
        ):
            taken = tuple(map(batch_from_tree, batches))
            return RowsEntry(now_ns, received, ignored, _counts(rejected), _counts(dropped), taken)
        case [int(now_ns), bool(revise)] if kind == TICK_KIND:
            return TickEntry(now_ns, revise)
        case [str(model), str(version), str(stage), int(rows), int(now_ns)] if kind == LEARNED_KIND:
            return LearnedEntry(ModelKey(model, version, stage), rows, now_ns)
        case [int(sequence), int(batch), int(spans)] if kind == QUARANTINED_KIND:
            return QuarantinedEntry(sequence, batch, spans)
        case [int(number), int(time_ns), int(sequence), int(batch)] if kind == RETRIED_KIND:
            return RetriedEntry(number, time_ns, sequence, batch)
        case [bytes(content), int(now_ns)] if kind == BASELINE_KIND:
            return BaselineEntry(content, now_ns)
    raise DamagedError(f"an entry of kind {kind} is none that this version writes")


def batch_to_tree(batch: BatchEntry) -> Tree:
    """A batch for a bundle."""
    predictions, *counts = batch
    return [*predictions.key, predictions.rows, dict(predictions.mismatches), *counts]


def batch_from_tree(tree: Tree) -> BatchEntry:
    """The batch that `batch_to_tree` was given, a view of what its tree is made of. Raises DamagedError."""
    match tree:
        case [
            str(model),
            str(version),
            str(stage),
            pa.RecordBatch() as rows,
            dict(mismatches),
            int(spans),
            int(duplicates),
            int(without_identity),
        ]:
            _check(rows, mismatches)
            predictions = Predictions(ModelKey(model, version, stage), rows, mismatches)
            return BatchEntry(predictions, spans, duplicates, without_identity)
    raise DamagedError("an entry has a batch that is none")


def _check(rows: pa.RecordBatch, mismatches: dict[str, Any]) -> None:
    """Raises DamagedError unless these could be the rows of `Predictions`."""
    schema = rows.schema
    if len(schema) < len(FIXED_FIELDS) or any(schema.field(at) != field for at, field in enumerate(FIXED_FIELDS)):
        raise DamagedError("an entry has rows without the fields that all rows have")
    names = set(schema.names) if mismatches else set()  # Making them takes as long as all else here.
    for name, numbers in mismatches.items():
        fits = isinstance(numbers, np.ndarray) and numbers.dtype == np.uint32 and numbers.ndim == 1
        if name not in names or not fits or (numbers >= rows.num_rows).any():
            raise DamagedError(f"an entry has mismatches of {name} that are none")


def _counts(tree: dict[str, Any]) -> dict[str, int]:
    for reason, count in tree.items():
        if type(count) is not int or count < 0:
            raise DamagedError(f"an entry's count of {reason} is none")
    return tree
