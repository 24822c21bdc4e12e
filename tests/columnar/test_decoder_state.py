"""What a decoder has learned survives it: as a tree, and as the batches it made."""
# ruff: noqa: S311 - random requests that can be repeated.

import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decode_oracle import comparable, decoded_rows
from driftmeter.columnar.config import AttributesConfig
from driftmeter.columnar.decoder import Decoder
from driftmeter.columnar.kinds import KindBook
from driftmeter.columnar.models import ModelLimit
from driftmeter.errors import DamagedError
from driftmeter.model.columns import Kind
from driftmeter.model.predictions import ModelKey
from otlp_samples import Scalar, make_request, make_span


def request(model: str, **features: Scalar) -> bytes:
    """One span of a model."""
    attributes = {f"ml.feature.{name}": value for name, value in features.items()}
    return make_request([make_span(attributes)], {"ml.model.name": model}).SerializeToString()


def make_decoder(kinds: KindBook | None = None, models: int = 3) -> Decoder:
    """A decoder that takes few models and columns, and knows a baseline for one model."""
    config = AttributesConfig(max_models=models, max_columns=4)
    return Decoder(config, kinds or KindBook(), lambda key: key.model == "known")


def random_request(random_: random.Random) -> bytes:
    """A span of one of several models with values of any type."""
    values: list[Scalar] = [1.0, "x", None, True]
    features = {random_.choice("abcdef"): random_.choice(values) for _ in range(3)}
    return request(random_.choice(("known", "m1", "m2", "m3", "m4")), **features)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**48))
def test_restored_decoder_goes_on_as_the_first_one(seed: int) -> None:
    """Whatever was learned, the same requests give the same tables, limits included, and the same state."""
    random_ = random.Random(seed)
    first, second = make_decoder(), make_decoder()
    for _ in range(random_.randint(0, 12)):
        first.decode(random_request(random_))
    second.restore(json.loads(json.dumps(first.state())))
    for _ in range(random_.randint(1, 12)):
        body = random_request(random_)
        ours, theirs = first.decode(body), second.decode(body)
        assert (ours.rejected, ours.dropped_values) == (theirs.rejected, theirs.dropped_values)
        assert [batch.rows.schema for batch in ours.batches] == [batch.rows.schema for batch in theirs.batches]
        assert list(map(comparable, decoded_rows(ours).values())) == list(
            map(comparable, decoded_rows(theirs).values())
        )
    assert first.state() == second.state()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**48))
def test_batches_teach_what_decoding_taught(seed: int) -> None:
    """Learning from the batches of each request in turn leads to the same kinds and models."""
    random_ = random.Random(seed)
    first, second = make_decoder(), make_decoder()
    for _ in range(random_.randint(1, 15)):
        for batch in first.decode(random_request(random_)).batches:
            second.learn(batch)
    assert second.state()["models"] == first.state()["models"]
    kinds = [
        [{name: sorted(fields) for name, fields in each.items()} for each in decoder.state()["kinds"]["models"]]
        for decoder in (first, second)
    ]
    assert kinds[0] == kinds[1]


def test_kind_of_a_column_outlives_a_restart() -> None:
    """A numeric column stays numeric when its first value after a restart is a text."""
    first, second = make_decoder(), make_decoder()
    first.decode(request("m", a=1.0))
    second.restore(first.state())
    (batch,) = second.decode(request("m", a="x")).batches
    assert {name: rows.tolist() for name, rows in batch.mismatches.items()} == {"feature.a": [0]}


def test_declared_kinds_win_over_restored_ones() -> None:
    """A baseline that came with the restart says what its columns are."""
    first, kinds = make_decoder(), KindBook()
    first.decode(request("m", a=1.0, b=1.0))
    kinds.declare("m", "", {"feature.a": Kind.CATEGORICAL})
    second = make_decoder(kinds)
    second.restore(first.state())
    (batch,) = second.decode(request("m", a="x", b=2.0)).batches
    assert (batch.mismatches, batch.rows.column("feature.a").to_pylist()) == ({}, ["x"])


def test_declaring_changes_columns_that_were_chosen_before() -> None:
    """A choice of columns that is remembered ends where kinds are declared."""
    kinds = KindBook()
    decoder = make_decoder(kinds)
    for _ in range(2):
        assert not decoder.decode(request("m", a=1.0)).batches[0].mismatches
    kinds.declare("m", "", {"feature.a": Kind.CATEGORICAL})
    assert list(decoder.decode(request("m", a=1.0)).batches[0].mismatches) == ["feature.a"]


def test_forgotten_model_makes_room_for_another() -> None:
    """The limit counts models that are there; a model never taken frees nothing."""
    decoder = make_decoder(models=1)
    assert decoder.decode(request("m", a=1.0)).rejected == {}
    assert decoder.decode(request("n", a=1.0)).rejected == {"too_many_models": 1}
    decoder.forget(ModelKey("n", "", ""))
    assert decoder.decode(request("n", a=1.0)).rejected == {"too_many_models": 1}
    decoder.forget(ModelKey("m", "", ""))
    assert decoder.decode(request("n", a=1.0)).rejected == {}
    assert decoder.decode(request("m", a=1.0)).rejected == {"too_many_models": 1}


def test_restored_models_are_taken_beyond_a_limit_made_smaller() -> None:
    """Models with data on disk are not turned away by a changed configuration; new ones are."""
    large, small = ModelLimit(5), ModelLimit(1)
    keys = [ModelKey(f"m{i}", "", "") for i in range(3)]
    large.admit(keys)
    small.restore(large.state())
    assert small.admit([*keys, ModelKey("new", "", "")]) == [True, True, True, False]


GOOD: dict[str, Any] = {
    "kinds": {"models": [{"model": "m", "version": "", "numeric": ["feature.a"], "categorical": []}]},
    "models": {"models": [{"model": "m", "version": "", "stage": "", "baseline": False}]},
}


def damaged_trees() -> list[object]:
    """The good state with each of its parts missing or of another type."""

    def damaged(tree: Any) -> list[Any]:
        result: list[Any] = [7]
        if isinstance(tree, dict):
            for name, value in tree.items():
                result += [{key: each for key, each in tree.items() if key != name}]
                result += [{**tree, name: each} for each in damaged(value)]
        elif isinstance(tree, list) and tree:
            result += [[each] for each in damaged(tree[0])]
        return result

    return damaged(GOOD)


@pytest.mark.parametrize("tree", damaged_trees(), ids=str)
def test_damaged_state_is_refused(tree: object) -> None:
    """Anything but a state is damage."""
    make_decoder().restore(GOOD)
    with pytest.raises(DamagedError):
        make_decoder().restore(tree)
