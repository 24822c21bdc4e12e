"""Embeddings to numbers: where a vector lies as seen from the baseline's.

A column of vectors becomes columns of numbers, which are counted, compared and judged like any others: `NAME.norm`,
`NAME.cosine` (of the angle to the baseline's mean vector), `NAME.distance` (to that mean, in units of the baseline's
root mean square) and `NAME.component_1` to `NAME.component_4` (along the directions in which the baseline's vectors
differ most, in its standard deviations there). A shift of the mean moves them, and the methods that look at all columns
at once see what moves several.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Floats = npt.NDArray[np.float64]

COMPONENTS = 4
DISTANCE = "distance"
DERIVED = ("norm", "cosine", DISTANCE, *(f"component_{number}" for number in range(1, COMPONENTS + 1)))
"""What an embedding's columns are called behind its own name and a dot."""

ROWS_MAX = 4_096
"""Vectors of the baseline from which its directions are found."""

_STEPS = 30  # Of the iteration; directions that differ by a tenth in variance are told apart.
_SEED = 3


@dataclass(frozen=True, eq=False)
class Frame:
    """From where vectors of d dimensions are looked at.

    Attributes:
        mean: float64 (d,): the baseline's mean vector.
        directions: float64 (COMPONENTS, d): orthonormal, each divided by the baseline's standard deviation along it;
            zeros where there are fewer.
        spread: Root mean square distance of the baseline's vectors from their mean; 1 when they are all the same.
    """

    mean: Floats
    directions: Floats
    spread: float

    @classmethod
    def of(cls, vectors: Floats) -> "Frame":
        """The frame of a baseline's vectors, float64 (n, d), n >= 1.

        The directions are found by subspace iteration from fixed random numbers, on at most `ROWS_MAX` evenly spread
        vectors. Cost: O(n · d).
        """
        mean = vectors.mean(axis=0)
        some = vectors[:: -(-len(vectors) // ROWS_MAX)] - mean
        basis = np.random.default_rng(_SEED).normal(size=(vectors.shape[1], COMPONENTS))
        for _ in range(_STEPS):
            basis, _ = np.linalg.qr(some.T @ (some @ basis))
        _, _, turn = np.linalg.svd(some @ basis, full_matrices=False)
        directions = turn @ basis.T
        deviations = (some @ directions.T).std(axis=0)
        spread = float(np.sqrt((some**2).sum(axis=1).mean()))
        usable = deviations > 1e-9 * max(spread, np.finfo(np.float64).tiny)
        scaled = np.zeros((COMPONENTS, vectors.shape[1]))
        scaled[: len(directions)] = np.divide(
            directions, deviations[:, None], where=usable[:, None], out=scaled[: len(directions)].copy()
        )
        return cls(mean, scaled, spread if spread > 0 else 1.0)

    @property
    def numbers(self) -> Floats:
        """float64 (COMPONENTS + 2, d): all of it, for `of_numbers`."""
        return np.concatenate([self.mean[None], self.directions, np.full((1, len(self.mean)), self.spread)])

    @classmethod
    def of_numbers(cls, numbers: Floats) -> "Frame":
        """The frame that `numbers` told."""
        return cls(numbers[0], numbers[1:-1], float(numbers[-1, 0]))


def derived_fields(field: str) -> tuple[str, ...]:
    """Fields of the columns that a field of embeddings becomes."""
    return tuple(f"{field}.{name}" for name in DERIVED)


def vectors_of(column: pa.Array) -> Floats:
    """float64 (rows, d): the vectors of a fixed-size list; NaN in rows without one."""
    flat = column.flatten() if not column.null_count else column.fill_null([0.0] * column.type.list_size).flatten()
    vectors = flat.to_numpy(zero_copy_only=False).reshape(len(column), -1)
    if not column.null_count:
        return np.asarray(vectors, np.float64)
    return np.where(column.is_null().to_numpy(zero_copy_only=False)[:, None], np.nan, vectors)


def measure(vectors: Floats, frame: Frame) -> list[pa.Array]:
    """`DERIVED` of each row, float64 (rows,) each.

    Args:
        vectors: float64 (rows, d).
        frame: Of the baseline.

    Returns:
        Null where a vector is missing, has a number that is not finite, or has another length than the baseline's;
        the cosine also where a vector or the mean is zero.
    """
    rows = len(vectors)
    if vectors.shape[1] != len(frame.mean):
        return [pa.nulls(rows, pa.float64()) for _ in DERIVED]
    fine = np.isfinite(vectors).all(axis=1)
    with np.errstate(all="ignore"):
        centered = vectors - frame.mean
        norm, length = np.linalg.norm(vectors, axis=1), float(np.linalg.norm(frame.mean))
        cosine = np.clip(vectors @ frame.mean / (norm * length), -1, 1)
        distance = np.linalg.norm(centered, axis=1) / frame.spread
        components = (centered @ frame.directions.T).T
        numbers = [norm, cosine, distance, *components]
        return [pa.array(each, pa.float64(), mask=~fine | ~np.isfinite(each)) for each in numbers]


def with_measured(
    rows: pa.RecordBatch, mismatches: Mapping[str, npt.NDArray[np.uint32]], frames: Mapping[str, Frame]
) -> tuple[pa.RecordBatch, dict[str, npt.NDArray[np.uint32]]]:
    """Rows with what their embeddings become in the place of these, and the mismatches of the columns.

    Args:
        rows: One row per prediction; embeddings are fixed-size lists of float64.
        mismatches: Row numbers whose value had the wrong type, by field name.
        frames: By the field of the embeddings.
    """
    columns = dict(zip(rows.schema.names, rows.columns, strict=True))
    wrong = dict(mismatches)
    for field, frame in frames.items():
        column = columns.pop(field, None)
        if column is None:
            continue
        fields = derived_fields(field)
        listed = pa.types.is_fixed_size_list(column.type)
        vectors = vectors_of(column) if listed else np.full((rows.num_rows, len(frame.mean)), np.nan)
        columns |= zip(fields, measure(vectors, frame), strict=True)
        rows_of_it = wrong.pop(field, None)
        if rows_of_it is not None:
            wrong |= dict.fromkeys(fields, rows_of_it)
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns)), wrong
