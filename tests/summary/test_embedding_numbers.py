"""Embeddings as numbers: norm, angle, distance and components."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from driftmeter.summary.embeddings import COMPONENTS, DERIVED, Frame, measure, with_measured

Floats = npt.NDArray[np.float64]


def vectors(rows: int, seed: int = 0, shift: float = 0.0) -> Floats:
    """Of 32 dimensions, four of them much larger than the others, about a mean that is not zero."""
    random = np.random.default_rng(seed)
    scales = np.concatenate([[8.0, 6.0, 4.0, 3.0], np.full(28, 0.3)])
    return np.asarray(random.normal(size=(rows, 32)) * scales + 2.0 + shift)


def numbers_of(rows: Floats, frame: Frame) -> dict[str, Floats]:
    """What `measure` gives, by name."""
    columns = measure(rows, frame)
    return {name: column.to_numpy(zero_copy_only=False) for name, column in zip(DERIVED, columns, strict=True)}


def test_numbers_are_their_formulas() -> None:
    """By numpy alone, from a singular value decomposition in the place of the iteration; signs are free."""
    reference, rows = vectors(1_000), vectors(50, 1)
    found = numbers_of(rows, Frame.of(reference))
    mean = reference.mean(axis=0)
    _, _, directions = np.linalg.svd(reference - mean, full_matrices=False)
    components = (
        (rows - mean) @ directions[:COMPONENTS].T / ((reference - mean) @ directions[:COMPONENTS].T).std(axis=0)
    )
    np.testing.assert_allclose(found["norm"], np.linalg.norm(rows, axis=1))
    np.testing.assert_allclose(
        found["cosine"], rows @ mean / np.linalg.norm(rows, axis=1) / np.linalg.norm(mean), atol=1e-12
    )
    spread = np.sqrt(((reference - mean) ** 2).sum(axis=1).mean())
    np.testing.assert_allclose(found["distance"], np.linalg.norm(rows - mean, axis=1) / spread)
    for number in range(COMPONENTS):
        np.testing.assert_allclose(np.abs(found[f"component_{number + 1}"]), np.abs(components[:, number]), atol=1e-6)


def test_a_frame_comes_back_from_its_numbers() -> None:
    """And looks at vectors in the same way, bit for bit."""
    frame = Frame.of(vectors(200))
    again = Frame.of_numbers(frame.numbers)
    for one, other in zip(measure(vectors(20, 1), frame), measure(vectors(20, 1), again), strict=True):
        assert one.equals(other)


@pytest.mark.parametrize(
    "reference",
    [np.ones((10, 8)), np.zeros((3, 2)), np.random.default_rng(1).normal(size=(1, 5)), np.arange(6.0)[:, None]],
    ids=["all the same", "zeros", "one vector", "one dimension"],
)
def test_poor_references_give_no_false_numbers(reference: Floats) -> None:
    """Numbers are finite or missing, and the distance is measured in something."""
    columns = measure(reference + 1.0, Frame.of(reference))
    assert all(column.null_count == 0 or column.null_count == len(reference) for column in columns)
    assert columns[2].null_count == 0


def test_vectors_that_cannot_be_compared_are_missing() -> None:
    """Not finite, null, or of another length than the baseline's."""
    frame = Frame.of(vectors(100))
    rows = vectors(3, 1)
    rows[0, 5] = np.nan
    rows[1, 5] = np.inf
    assert [column.is_null().to_pylist() for column in measure(rows, frame)] == [[True, True, False]] * len(DERIVED)
    assert all(column.null_count == 3 for column in measure(rows[:, :31], frame))


def test_columns_take_the_place_of_embeddings() -> None:
    """Other columns stay; mismatches count for all that the vector would have become."""
    frame = Frame.of(vectors(100))
    rows = vectors(2, 1)
    lists = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), 32, mask=pa.array([False, True]))
    batch = pa.RecordBatch.from_pydict({"feature.x": pa.array([1.0, 2.0]), "feature.v": lists})
    numbers, wrong = with_measured(batch, {"feature.v": np.array([1], np.uint32)}, {"feature.v": frame})
    names = [f"feature.v.{name}" for name in DERIVED]
    assert numbers.schema.names == ["feature.x", *names]
    assert [numbers.column(name).is_null().to_pylist() for name in names] == [[False, True]] * len(names)
    assert {name: rows.tolist() for name, rows in wrong.items()} == {name: [1] for name in names}


def test_a_shift_of_the_mean_moves_the_numbers() -> None:
    """By half a standard deviation along the largest direction: the first component's mean moves by as much."""
    frame = Frame.of(vectors(4_000))
    moved = vectors(4_000, 1)
    moved[:, 0] += 4.0
    shift = np.mean(numbers_of(moved, frame)["component_1"]) - np.mean(
        numbers_of(vectors(4_000, 1), frame)["component_1"]
    )
    assert abs(shift) == pytest.approx(0.5, abs=0.02)
