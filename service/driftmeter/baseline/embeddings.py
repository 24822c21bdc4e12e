"""How a baseline looks at its embeddings: learned from the vectors of reference rows, two passes over them."""

import numpy as np
import numpy.typing as npt

from driftmeter.baseline.data import Rows
from driftmeter.model.baseline import Baseline
from driftmeter.model.columns import Column
from driftmeter.summary.embeddings import DIMENSIONS_MAX, DISTANCE, Frame, Vectors

VECTORS_MAX = 4_096
"""Vectors from which the directions are found in which they differ most."""

_NUMBERS_MAX = 2**22  # In them together: 32 MB.

_REACH_MAX = 1e100  # Sums of squares stay finite.

Floats = npt.NDArray[np.float64]


def learn_frame(rows: Rows, field: str) -> Frame | str:
    """The frame of one column of embeddings, from its vectors of the length that most have; memory is bounded.

    It depends on the rows and their order alone, not on how they are cut into batches.

    Returns:
        The frame, or why there is none.
    """
    lengths = np.zeros(DIMENSIONS_MAX + 1, np.int64)
    for batch in rows.batches([field]):
        vectors = Vectors.of(batch.column(0))
        sizes = vectors.sizes[vectors.finite()]
        lengths += np.bincount(sizes[sizes <= DIMENSIONS_MAX], minlength=len(lengths))
    lengths[0] = 0
    dimensions = int(lengths.argmax())
    count = int(lengths[dimensions])
    if not count:
        return f"none of its vectors has numbers alone, and at most {DIMENSIONS_MAX:,} of them"
    total, taken = np.zeros(dimensions), list[Floats]()
    step, before = -(-count // max(1, min(VECTORS_MAX, _NUMBERS_MAX // dimensions))), 0
    for batch in rows.batches([field]):
        vectors = Vectors.of(batch.column(0))
        usable = vectors.finite() & vectors.fitting(dimensions)
        vectors.add_to(total, usable)
        places = np.flatnonzero(usable)
        taken.append(vectors.take(places[-before % step :: step], dimensions))
        before += len(places)
    mean, some = total / count, np.concatenate(taken)
    with np.errstate(all="ignore"):
        reach = np.abs(some - mean).max()
    if not reach <= _REACH_MAX:
        return "its numbers are too large to be compared as vectors"
    return Frame.of(mean, some)


def frames_of(baseline: Baseline) -> dict[str, Frame]:
    """How a baseline looks at vectors, by the field of the embeddings."""
    return {
        each.column.field.removesuffix(f".{DISTANCE}"): Frame.of_numbers(each.frame)
        for each in baseline.columns
        if each.frame is not None
    }


def embeddings_of(baseline: Baseline) -> list[str]:
    """Names of the columns of embeddings that a baseline knows."""
    return [Column.from_field(field).name for field in frames_of(baseline)]


def frame_column(field: str) -> str:
    """The field of the column that keeps the frame of a field of embeddings."""
    return f"{field}.{DISTANCE}"
