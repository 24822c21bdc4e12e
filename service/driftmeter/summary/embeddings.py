"""Embeddings to numbers: where a vector lies as seen from the baseline's.

A column of vectors becomes columns of numbers, which are counted, compared and judged like any others: `NAME.norm`,
`NAME.cosine` (of the angle to the baseline's mean vector), `NAME.distance` (to that mean, in units of the baseline's
root mean square) and `NAME.component_1` to `NAME.component_4` (along the directions in which the baseline's vectors
differ most, in its standard deviations there). A shift of the mean moves them, and the methods that look at all columns
at once see what moves several.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from driftmeter.model.compiled import frozen, kernel

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

VECTORS = pa.list_(pa.float64())
"""How columns of embeddings are held: lists of any length, since rows may differ in it."""

DIMENSIONS_MAX = 4_096
"""Longest vector that is taken; longer ones are values of the wrong type."""

COMPONENTS = 4
DISTANCE = "distance"
DERIVED = ("norm", "cosine", DISTANCE, *(f"component_{number}" for number in range(1, COMPONENTS + 1)))
"""What an embedding's columns are called behind its own name and a dot."""

_NORM, _COSINE, _DISTANCE, _COMPONENT = range(4)  # Rows of what `_measure_rows` writes.
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
    def of(cls, mean: Floats, vectors: Floats) -> "Frame":
        """The frame of a baseline.

        The directions are found by subspace iteration from fixed random numbers. Cost: O(n · d).

        Args:
            mean: float64 (d,): of all its vectors.
            vectors: float64 (n, d), n >= 1: some of them, evenly spread.
        """
        some = vectors - mean
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


class Vectors(NamedTuple):
    """A column of embeddings as kernels read it.

    Attributes:
        values: float64: the numbers of all vectors, and perhaps others between them.
        starts: int64 (rows,): where each row's begin.
        sizes: int64 (rows,): how many each has; -1 where a row has no vector, or one with an element that is null.
        given: bool (rows,): rows that have a vector, whatever is in it. An empty list is none, as in spans.
    """

    values: Floats
    starts: Ints
    sizes: Ints
    given: Flags

    @classmethod
    def of(cls, column: pa.ListArray) -> "Vectors":
        """Of a column of type `VECTORS`."""
        offsets = column.offsets.to_numpy().astype(np.int64)
        starts, sizes = offsets[:-1], np.diff(offsets)
        given = sizes > 0
        if column.null_count:
            given &= column.is_valid().to_numpy(zero_copy_only=False)
        whole = given
        if column.values.null_count:
            gaps = np.concatenate(([0], np.cumsum(column.values.is_null().to_numpy(zero_copy_only=False))))
            whole = given & (gaps[offsets[1:]] == gaps[starts])
        return cls(column.values.to_numpy(zero_copy_only=False), starts, np.where(whole, sizes, -1), given)

    def fitting(self, dimensions: int) -> Flags:
        """Rows with a vector of so many numbers, finite or not: bool (rows,)."""
        return np.asarray(self.sizes == dimensions)

    def finite(self) -> Flags:
        """Rows with a vector of finite numbers alone: bool (rows,)."""
        found = np.zeros(len(self.sizes), np.bool_)
        _find_finite(frozen(self.values), frozen(self.starts), frozen(self.sizes), found)
        return found

    def add_to(self, total: Floats, rows: Flags) -> None:
        """Add the vectors of some rows, all as long as `total`, to it, one after the other."""
        _add_rows(frozen(self.values), frozen(self.starts), np.flatnonzero(rows), total)

    def take(self, rows: npt.NDArray[np.intp], dimensions: int) -> Floats:
        """float64 (rows, dimensions): the vectors of some rows, each of so many numbers."""
        return np.asarray(self.values[self.starts[rows][:, None] + np.arange(dimensions)])


def warm_up() -> None:
    """Compile the kernels, or load them; afterwards no call compiles."""
    vectors = Vectors.of(pa.array([[1.0]], VECTORS))
    vectors.add_to(np.zeros(1), vectors.finite())
    measure(pa.array([[1.0]], VECTORS), Frame(np.ones(1), np.zeros((COMPONENTS, 1)), 1.0))


def derived_fields(field: str) -> tuple[str, ...]:
    """Fields of the columns that a field of embeddings becomes."""
    return tuple(f"{field}.{name}" for name in DERIVED)


def measure(column: pa.ListArray, frame: Frame) -> tuple[list[pa.Array], Flags]:
    """`DERIVED` of each row, float64 (rows,) each, and bool (rows,): values of the wrong type.

    Numbers are added up in the order of a vector's elements: they depend on the vector alone, bit for bit.

    Args:
        column: Of type `VECTORS`.
        frame: Of the baseline.

    Returns:
        Null where a vector is missing, or is of the wrong type: of another length than the baseline's, or with an
        element that is null. Not finite where an element is not, or where a sum overflows. The cosine is null also
        where a vector or the mean is zero.

    Cost: some nanoseconds for each element.
    """
    vectors = Vectors.of(column)
    fits = vectors.fitting(len(frame.mean))
    numbers = np.zeros((len(DERIVED), len(column)))
    axes = np.concatenate((frame.mean[None], frame.directions))
    _measure_rows(frozen(vectors.values), frozen(vectors.starts), frozen(fits), frozen(axes), numbers)
    numbers[_DISTANCE] /= frame.spread
    masks = [~fits] * len(DERIVED)
    length = float(np.linalg.norm(frame.mean))
    masks[_COSINE] = ~fits | (numbers[_NORM] == 0) | (length == 0)
    if length > 0:
        with np.errstate(all="ignore"):  # A norm of zero gives nothing.
            numbers[_COSINE] = np.clip(numbers[_COSINE] / (numbers[_NORM] * length), -1, 1)
    arrays = [pa.array(each, pa.float64(), mask=mask) for each, mask in zip(numbers, masks, strict=True)]
    return arrays, vectors.given & ~fits


def with_measured(
    rows: pa.RecordBatch, mismatches: Mapping[str, npt.NDArray[np.uint32]], frames: Mapping[str, Frame]
) -> tuple[pa.RecordBatch, dict[str, npt.NDArray[np.uint32]]]:
    """Rows with what their embeddings become in the place of these, and the mismatches of the columns.

    Args:
        rows: One row per prediction; embeddings are of type `VECTORS`. What a column of another type has is of the
            wrong type.
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
        if column.type == VECTORS:
            measured, unfit = measure(column, frame)
        else:
            measured = [pa.nulls(len(column), pa.float64())] * len(DERIVED)
            unfit = column.is_valid().to_numpy(zero_copy_only=False)
        columns |= zip(fields, measured, strict=True)
        found = np.union1d(wrong.pop(field, np.empty(0, np.uint32)), np.flatnonzero(unfit)).astype(np.uint32)
        if len(found):
            wrong |= dict.fromkeys(fields, found)
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns)), wrong


@kernel
def _find_finite(values: Floats, starts: Ints, sizes: Ints, found: Flags) -> None:
    for row in range(len(starts)):
        finite = sizes[row] >= 0
        for k in range(starts[row], starts[row] + sizes[row]):
            finite = finite and np.isfinite(values[k])
        found[row] = finite


@kernel
def _add_rows(values: Floats, starts: Ints, rows: Ints, total: Floats) -> None:
    for row in rows:
        for k in range(len(total)):
            total[k] += values[starts[row] + k]


@kernel
def _measure_rows(values: Floats, starts: Ints, fits: Flags, axes: Floats, numbers: Floats) -> None:
    """Norms, products with the mean, distances and components; rows that do not fit stay zero.

    The first of the axes is the mean.
    """
    for row in range(len(starts)):
        if not fits[row]:
            continue
        first = starts[row]
        square = product = apart = one = two = three = four = 0.0
        for k in range(axes.shape[1]):
            value = values[first + k]
            gap = value - axes[0, k]
            square += value * value
            product += value * axes[0, k]
            apart += gap * gap
            one += gap * axes[1, k]
            two += gap * axes[2, k]
            three += gap * axes[3, k]
            four += gap * axes[4, k]
        numbers[_NORM, row] = np.sqrt(square)
        numbers[_COSINE, row] = product
        numbers[_DISTANCE, row] = np.sqrt(apart)
        numbers[_COMPONENT, row] = one
        numbers[_COMPONENT + 1, row] = two
        numbers[_COMPONENT + 2, row] = three
        numbers[_COMPONENT + 3, row] = four
