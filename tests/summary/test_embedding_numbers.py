"""Embeddings as numbers: norm, angle, distance and components."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from driftmeter.summary.embeddings import COMPONENTS, DERIVED, VECTORS, Frame, Vectors, measure, with_measured

Floats = npt.NDArray[np.float64]


def vectors(rows: int, seed: int = 0, shift: float = 0.0) -> Floats:
    """Of 32 dimensions, four of them much larger than the others, about a mean that is not zero."""
    random = np.random.default_rng(seed)
    scales = np.concatenate([[8.0, 6.0, 4.0, 3.0], np.full(28, 0.3)])
    return np.asarray(random.normal(size=(rows, 32)) * scales + 2.0 + shift)


def frame_of(rows: Floats) -> Frame:
    """The frame of all these vectors."""
    return Frame.of(rows.mean(axis=0), rows)


def column_of(rows: Floats) -> pa.ListArray:
    """Vectors as a column."""
    return pa.array(rows.tolist(), VECTORS)


def numbers_of(rows: Floats, frame: Frame) -> dict[str, Floats]:
    """What `measure` gives, by name."""
    columns, wrong = measure(column_of(rows), frame)
    assert not wrong.any()
    return {name: column.to_numpy(zero_copy_only=False) for name, column in zip(DERIVED, columns, strict=True)}


def test_numbers_are_their_formulas() -> None:
    """By numpy alone, from a singular value decomposition in the place of the iteration; signs are free."""
    reference, rows = vectors(1_000), vectors(50, 1)
    found = numbers_of(rows, frame_of(reference))
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
    frame = frame_of(vectors(200))
    again = Frame.of_numbers(frame.numbers)
    rows = column_of(vectors(20, 1))
    for one, other in zip(measure(rows, frame)[0], measure(rows, again)[0], strict=True):
        assert one.equals(other)


@pytest.mark.parametrize(
    "reference",
    [np.ones((10, 8)), np.zeros((3, 2)), np.random.default_rng(1).normal(size=(1, 5)), np.arange(6.0)[:, None]],
    ids=["all the same", "zeros", "one vector", "one dimension"],
)
def test_poor_references_give_no_false_numbers(reference: Floats) -> None:
    """Numbers are finite or missing, and the distance is measured in something."""
    columns, _ = measure(column_of(reference + 1.0), frame_of(reference))
    assert all(column.null_count == 0 or column.null_count == len(reference) for column in columns)
    assert columns[2].null_count == 0


def test_vectors_that_cannot_be_compared() -> None:
    """Missing ones are missing; a number that is not finite gives none; another length is of the wrong type."""
    usual = [1.0, 2.0, 3.0]
    frame = frame_of(np.random.default_rng(1).normal(size=(100, 3)))
    rows = [usual, None, [], [1.0, np.nan, 3.0], [1.0, np.inf, 3.0], [1.0, 2.0], [1.0, 2.0, None], usual]
    columns, wrong = measure(pa.array(rows, VECTORS), frame)
    assert wrong.tolist() == [False, False, False, False, False, True, True, False]
    for column in columns:
        assert column.is_null().to_pylist() == [False, True, True, False, False, True, True, False]
        numbers = column.to_numpy(zero_copy_only=False)
        assert not np.isfinite(numbers[3:5]).any()
        assert np.isfinite(numbers[[0, 7]]).all()
        assert numbers[0] == numbers[7]


def test_the_angle_to_nothing_is_missing() -> None:
    """Of a vector of zeros there is a norm, and no cosine."""
    columns, _ = measure(pa.array([[0.0, 0.0], [1.0, 1.0]], VECTORS), frame_of(np.array([[1.0, 1.0], [1.0, 2.0]])))
    named = dict(zip(DERIVED, columns, strict=True))
    assert named["norm"].to_pylist() == [0.0, np.sqrt(2)]
    assert named["cosine"].is_null().to_pylist() == [True, False]


def test_numbers_depend_on_the_vector_alone() -> None:
    """Bit for bit the same in any company, and in a part of a column."""
    rows, frame = vectors(100, 2), frame_of(vectors(100))
    together = measure(column_of(rows), frame)[0]
    for place in (0, 37, 99):
        alone, part = (measure(each, frame)[0] for each in (column_of(rows[place : place + 1]),
                                                             column_of(rows).slice(place, 1)))  # fmt: skip
        for all_rows, one, other in zip(together, alone, part, strict=True):
            assert all_rows.slice(place, 1).equals(one)
            assert one.equals(other)


def test_vectors_are_added_up_and_taken() -> None:
    """Those that are whole and finite, whatever stands between them."""
    vectors_read = Vectors.of(pa.array([[1.0, 2.0], None, [4.0], [np.nan, 1.0], [8.0, 16.0], [1.0, None]], VECTORS))
    whole = vectors_read.fitting(2) & vectors_read.finite()
    total = np.zeros(2)
    vectors_read.add_to(total, whole)
    assert total.tolist() == [9.0, 18.0]
    assert vectors_read.take(np.flatnonzero(whole), 2).tolist() == [[1.0, 2.0], [8.0, 16.0]]


def test_columns_take_the_place_of_embeddings() -> None:
    """Other columns stay; what is of the wrong type is so in all that the vector would have become."""
    frame = frame_of(vectors(100))
    rows = [vectors(1, 1)[0].tolist(), None, [1.0]]
    batch = pa.RecordBatch.from_pydict({"feature.x": pa.array([1.0, 2.0, 3.0]), "feature.v": pa.array(rows, VECTORS)})
    numbers, wrong = with_measured(batch, {"feature.v": np.array([1], np.uint32)}, {"feature.v": frame})
    names = [f"feature.v.{name}" for name in DERIVED]
    assert numbers.schema.names == ["feature.x", *names]
    assert [numbers.column(name).is_null().to_pylist() for name in names] == [[False, True, True]] * len(names)
    assert {name: rows.tolist() for name, rows in wrong.items()} == {name: [1, 2] for name in names}


def test_numbers_in_the_place_of_vectors_are_of_the_wrong_type() -> None:
    """As when the column is not marked as an embedding, and each element is a row."""
    batch = pa.RecordBatch.from_pydict({"feature.v": pa.array([1.0, None])})
    numbers, wrong = with_measured(batch, {}, {"feature.v": frame_of(vectors(100))})
    assert numbers.column("feature.v.norm").null_count == 2
    assert wrong["feature.v.norm"].tolist() == [0]


def test_a_shift_of_the_mean_moves_the_numbers() -> None:
    """By half a standard deviation along the largest direction: the first component's mean moves by as much."""
    frame = frame_of(vectors(4_000))
    moved = vectors(4_000, 1)
    moved[:, 0] += 4.0
    shift = np.mean(numbers_of(moved, frame)["component_1"]) - np.mean(
        numbers_of(vectors(4_000, 1), frame)["component_1"]
    )
    assert abs(shift) == pytest.approx(0.5, abs=0.02)
