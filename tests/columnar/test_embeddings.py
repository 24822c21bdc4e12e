"""Arrays that are one value of a row."""

from typing import Any

import numpy as np
import pyarrow as pa

from driftmeter.columnar.config import AttributesConfig
from driftmeter.columnar.decoder import Decoded, Decoder
from driftmeter.columnar.kinds import KindBook
from otlp_samples import Scalar, array, make_request, make_span


def decode(*spans: dict[str, Scalar], **config: Any) -> Decoded:
    """Decode spans of model `m`; arrays named `vec` are embeddings."""
    request = make_request([make_span(each, i) for i, each in enumerate(spans)], {"ml.model.name": "m"})
    decoder = Decoder(AttributesConfig(**{"embeddings": ["vec*"], **config}), KindBook())
    return decoder.decode(request.SerializeToString())


def column(decoded: Decoded, name: str) -> list[Any]:
    """A column of the only batch."""
    (batch,) = decoded.batches
    return batch.rows.column(name).to_pylist()  # type: ignore[no-any-return]


def test_an_embedding_is_one_value_of_a_row() -> None:
    """One row per span, with the vector, the scalars and the ids beside it."""
    decoded = decode(
        {"ml.feature.vec": array(1.0, 2, 3.5), "ml.feature.x": 0.5, "ml.feature.c": "a", "ml.prediction.id": "p"},
        {"ml.feature.vec": array(-1.0, 0.0, 4.0), "ml.feature.c": "b"},
        {"ml.feature.x": 7, "ml.feature.c": "a"},
    )
    assert (decoded.batch_spans, decoded.accepted) == ((3,), 3)
    (batch,) = decoded.batches
    assert batch.rows.schema.field("feature.vec").type == pa.list_(pa.float64())
    assert column(decoded, "feature.vec") == [[1.0, 2.0, 3.5], [-1.0, 0.0, 4.0], None]
    assert column(decoded, "feature.x") == [0.5, None, 7.0]
    assert column(decoded, "feature.c") == ["a", "b", "a"]
    assert column(decoded, "row_index") == [0, 0, 0]
    assert column(decoded, "prediction_id") == ["p", None, None]
    assert len(set(column(decoded, "span_key"))) == 3
    assert not decoded.dropped_values


def test_vectors_have_the_length_that_they_have() -> None:
    """Which one is right only a baseline knows; with something else than numbers in it, it is of the wrong type."""
    decoded = decode(
        {"ml.feature.vec": array(1.0, 2.0)},
        {"ml.feature.vec": array(1.0, 2.0, 3.0)},
        {"ml.feature.vec": array(1.0, "x")},
        {"ml.feature.vec": array(1.0, None)},
        {"ml.feature.vec": array(None, 1.0)},
        {"ml.feature.vec": 7},
        {"ml.feature.vec": "seven"},
        {"ml.feature.x": 1.0},
    )
    assert column(decoded, "feature.vec") == [[1, 2], [1, 2, 3], None, None, None, [7], None, None]
    (batch,) = decoded.batches
    assert {name: rows.tolist() for name, rows in batch.mismatches.items()} == {"feature.vec": [2, 3, 4, 6]}


def test_a_span_with_an_empty_array_has_no_row() -> None:
    """As with batched inference of no rows: it is ignored, and counted as that."""
    decoded = decode({"ml.feature.vec": array(), "ml.feature.x": 1.0}, {"ml.feature.vec": array(1.0, 2.0)})
    assert column(decoded, "feature.vec") == [[1, 2]]
    assert (decoded.received, decoded.ignored, decoded.accepted) == (2, 1, 1)


def test_vectors_that_are_too_long_are_of_the_wrong_type() -> None:
    """Longer than any model makes."""
    decoded = decode({"ml.feature.vec": array(*[0.5] * 4_097)}, {"ml.feature.vec": array(*[0.5] * 4_096)})
    (batch,) = decoded.batches
    assert [each is None for each in column(decoded, "feature.vec")] == [True, False]
    assert {name: rows.tolist() for name, rows in batch.mismatches.items()} == {"feature.vec": [0]}


def test_two_embeddings_of_one_length() -> None:
    """Each is a column."""
    decoded = decode({"ml.feature.vec1": array(1.0, 2.0), "ml.prediction.vec2": array(3.0, 4.0)})
    assert column(decoded, "feature.vec1") == [[1, 2]]
    assert column(decoded, "prediction.vec2") == [[3, 4]]


def test_elements_beside_an_embedding_are_dropped_and_counted() -> None:
    """Batched inference and embeddings do not go together: of other arrays the first element is kept."""
    decoded = decode({"ml.feature.vec": array(1.0, 2.0, 3.0), "ml.feature.x": array(5.0, 6.0, None), "ml.feature.y": 1})
    assert column(decoded, "feature.x") == [5.0]
    assert decoded.dropped_values == {"beside_embedding": 1}


def test_without_the_mark_arrays_are_rows() -> None:
    """As ever."""
    decoded = decode({"ml.feature.vec": array(1.0, 2.0)}, embeddings=[])
    assert column(decoded, "feature.vec") == [1.0, 2.0]
    assert column(decoded, "row_index") == [0, 1]


def test_a_model_without_the_embedding_is_decoded_as_ever() -> None:
    """The mark changes batches alone that have such a column."""
    decoded = decode({"ml.feature.x": array(1.0, 2.0)})
    assert column(decoded, "feature.x") == [1.0, 2.0]


def test_long_vectors() -> None:
    """Of as many numbers as models have."""
    vector = np.random.default_rng(1).normal(size=1_536)
    spans: list[dict[str, Scalar]] = [{"ml.feature.vec": array(*vector.tolist()), "ml.feature.x": i} for i in range(5)]
    decoded = decode(*spans)
    assert column(decoded, "feature.vec") == [vector.tolist()] * 5
    assert column(decoded, "feature.x") == [0, 1, 2, 3, 4]
