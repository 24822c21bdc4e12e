"""Reference rows whose columns of embeddings become columns of numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from driftmeter.model.baseline import Baseline
from driftmeter.summary.embeddings import DISTANCE, Frame, vectors_of, with_measured


def frames_of_rows(batches: Sequence[pa.RecordBatch]) -> dict[str, Frame]:
    """The frame of each column of embeddings, by field: from its vectors of the length that most have.

    Columns without any whole vector have none.
    """
    columns: dict[str, list[pa.Array]] = {}
    for batch in batches:
        for field in batch.schema:
            if pa.types.is_fixed_size_list(field.type):
                columns.setdefault(field.name, []).append(batch.column(field.name))
    frames: dict[str, Frame] = {}
    for name, parts in columns.items():
        rows: dict[int, int] = {}
        for part in parts:
            rows[part.type.list_size] = rows.get(part.type.list_size, 0) + len(part) - part.null_count
        usual = max(rows, key=lambda size: rows[size])
        vectors = np.concatenate([vectors_of(part) for part in parts if part.type.list_size == usual])
        whole = vectors[np.isfinite(vectors).all(axis=1)]
        if len(whole):
            frames[name] = Frame.of(whole)
    return frames


def measured(batches: Sequence[pa.RecordBatch], frames: Mapping[str, Frame]) -> list[pa.RecordBatch]:
    """The batches with numbers in the place of embeddings; those that have no frame are left out."""
    return [_without_lists(with_measured(batch, {}, frames)[0]) for batch in batches]


def with_frames(baseline: Baseline, frames: Mapping[str, Frame]) -> Baseline:
    """A baseline that was built of `measured` rows, with how it looks at vectors."""
    numbers = {f"{field}.{DISTANCE}": frame.numbers for field, frame in frames.items()}
    columns = tuple(replace(each, frame=numbers.get(each.column.field)) for each in baseline.columns)
    return replace(baseline, columns=columns)


def frames_of(baseline: Baseline) -> dict[str, Frame]:
    """How a baseline looks at vectors, by the field of the embeddings."""
    return {
        each.column.field.removesuffix(f".{DISTANCE}"): Frame.of_numbers(each.frame)
        for each in baseline.columns
        if each.frame is not None
    }


def _without_lists(rows: pa.RecordBatch) -> pa.RecordBatch:
    return rows.select([field.name for field in rows.schema if not pa.types.is_fixed_size_list(field.type)])
