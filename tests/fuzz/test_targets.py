"""Whatever bytes come in from disk or network, nothing but the promised errors comes out: a moment of `make fuzz`."""

import logging
import random
from collections.abc import Iterator

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from driftmeter.errors import DamagedError
from driftmeter.model.bundle import Tree, pack, unpack
from fuzz.targets import TARGETS, samples
from otlp_samples import damage
from restarting import Restarting
from stored_states import again, assert_damage_is_named
from traffic import BASELINES, CONFIG

EXAMPLES = {"state": 150, "http_body": 100, "journal": 300}


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Damage is said in warnings."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("name", TARGETS)
def test_targets_take_what_is_as_it_should_be(name: str) -> None:
    """The samples that mutations start from are taken."""
    for sample in samples()[name]:
        TARGETS[name](sample)


@pytest.mark.parametrize("name", TARGETS)
def test_targets_withstand_damage(name: str) -> None:
    """Samples with bytes changed, cut, doubled and moved."""

    @settings(max_examples=EXAMPLES.get(name, 500), deadline=None)
    @given(seed=st.integers(0, 2**48), times=st.integers(1, 4))
    @example(seed=0, times=1)
    def withstand(seed: int, times: int) -> None:
        dice = random.Random(seed)  # noqa: S311 - repeatable.
        data = dice.choice(samples()[name])
        for _ in range(times):
            data = damage(data, dice)
        TARGETS[name](data)

    withstand()


@pytest.mark.parametrize("name", TARGETS)
def test_targets_withstand_anything(name: str) -> None:
    """Bytes that were never as they should be."""

    @settings(max_examples=100, deadline=None)
    @given(data=st.binary(max_size=300))
    def withstand(data: bytes) -> None:
        TARGETS[name](data)

    withstand()


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**48))
def test_state_of_another_shape_is_damage(seed: int) -> None:
    """Any node of a pipeline's state replaced by something else: taken over all the same, or named as damage."""
    tree = again(unpack(memoryview(samples()["state"][0])))

    def restore(tree: Tree) -> None:
        with Restarting(CONFIG, BASELINES) as it:
            it.pipeline.restore(tree)

    assert_damage_is_named(tree, restore, seed)


def test_columns_whose_names_are_no_text_are_damage() -> None:
    """Found by `make fuzz`: Arrow takes such a table, and fails whoever asks for the names of its columns."""
    packed = b"".join(pack(pa.record_batch([pa.array([1.5])], ["feature.size"])))
    with pytest.raises(DamagedError):
        unpack(memoryview(packed.replace(b"feature.size", b"feature.\x97ize")))
