"""A baseline learned from the first rows of live traffic."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftmeter.baseline.build import build_baseline
from driftmeter.baseline.file import baseline_from_bytes, baseline_to_bytes
from driftmeter.baseline.learning import Learning
from driftmeter.model.columns import Column, Role
from driftmeter.model.predictions import Predictions
from rows import KEY, SECOND_NS, dataset, predictions
from stored_states import again, assert_damage_is_named


def test_learned_from_all_waiting_rows() -> None:
    """Batches with different columns and dictionaries give what the rows together give."""
    learning = Learning(KEY, 5)
    learning.add(predictions([3 * SECOND_NS, SECOND_NS], {"x": [1.0, 2.0], "c": ["b", "a"]}))
    before = learning.enough
    learning.add(predictions([2 * SECOND_NS] * 2, {"c": ["a", None], "prediction.y": [0.5, 0.25]}))
    learning.add(predictions([9 * SECOND_NS], {"x": [math.nan], "c": ["b"]}))
    assert (before, learning.enough) == (False, True)
    baseline = learning.task()()
    assert baseline is not None
    assert (baseline.name, baseline.model, baseline.version) == ("learned", KEY.model, KEY.version)
    assert (baseline.rows, baseline.start_ns, baseline.end_ns) == (5, SECOND_NS, 9 * SECOND_NS)
    assert baseline.windows == ()
    columns = {each.column: each for each in baseline.columns}
    assert columns.keys() == {
        Column(Role.FEATURE, "x"), Column(Role.FEATURE, "c"), Column(Role.PREDICTION, "y")
    }  # fmt: skip
    x, c = columns[Column(Role.FEATURE, "x")], columns[Column(Role.FEATURE, "c")]
    assert (x.missing, x.non_finite, int(x.counts.sum())) == (2, 1, 2)
    assert (c.missing, c.counts.tolist()) == (1, [2, 2, 0, 0])
    together = build_baseline(dataset({"c": ["b", "a", "a", None, "b"]}), "m", "", []).columns[0]
    assert dict(c.noise) == pytest.approx(dict(together.noise), rel=0.5)


def test_labels_and_segments_are_not_learned(caplog: pytest.LogCaptureFixture) -> None:
    """Only columns that are compared are in it; without one there is nothing to learn, and it says so."""
    learning = Learning(KEY, 1)
    learning.add(predictions([1], {}))
    with caplog.at_level("WARNING"):
        assert learning.task()() is None
    assert "at least one" in caplog.text


def test_column_of_nulls_is_learned_when_it_is_categorical() -> None:
    """A column that never had a value yet does not stop the others."""
    learning = Learning(KEY, 2)
    learning.add(predictions([1, 2], {"x": [None, None], "y": [1.0, 2.0]}))
    baseline = learning.task()()
    assert baseline is not None
    assert baseline.skipped == {"x": "none of its values is finite"}


def test_column_that_becomes_categorical_keeps_its_values() -> None:
    """Nulls before the first value say nothing of a column's kind: they are a column of numbers until then."""
    learning = Learning(KEY, 5)
    learning.add(predictions([1, 2], {"x": [None, None]}))
    learning.add(predictions([3, 4, 5], {"x": ["a", "b", "a"]}))
    baseline = learning.task()()
    assert baseline is not None
    assert (baseline.columns[0].missing, baseline.columns[0].counts.tolist()) == (2, [2, 1, 0, 0])


def _cut(rows: int, cuts: list[int]) -> Learning:
    """So many of the same 300 rows, in batches that end at these."""
    random = np.random.default_rng(7)
    numbers, letters = random.normal(size=300), random.choice(["a", "b", "c", "d"], 300).tolist()
    learning = Learning(KEY, 200)
    edges = sorted({0, *cuts, rows})
    for first, end in pairwise(edges):
        learning.add(predictions(range(first, end), {"x": numbers[first:end], "c": letters[first:end]}))
    return learning


def _learned(learning: Learning) -> bytes:
    baseline = learning.task()()
    assert baseline is not None
    return baseline_to_bytes(baseline)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 299), max_size=5))
def test_the_same_rows_teach_the_same_baseline(cuts: list[int]) -> None:
    """However the rows are cut into batches, and whatever came after the rows needed: every bit is the same."""
    assert _learned(_cut(300, cuts)) == _learned(_cut(200, []))


def test_a_learned_baseline_survives_as_bytes() -> None:
    """It has its content hash from the start, so that the one restored is known to be the same."""
    baseline = _cut(200, []).task()()
    assert baseline is not None
    restored = baseline_from_bytes(baseline_to_bytes(baseline)).labelled(KEY.model, KEY.version, "learned")
    assert restored.content_hash == baseline.content_hash != ""
    assert (restored.name, restored.model, restored.version) == (baseline.name, baseline.model, baseline.version)


def test_rows_that_wait_survive_a_restart() -> None:
    """Rows, mismatches and their order are the same, more may follow, and learning is begun again."""
    learning = _cut(150, [40])
    learning.batches[1] = Predictions(KEY, learning.batches[1].rows, {"feature.x": np.array([1, 5], np.uint32)})
    learning.under_way = True
    fresh = Learning(KEY, 200)
    fresh.restore(again(learning.state()))
    assert (fresh.rows, fresh.enough, fresh.under_way) == (150, False, False)
    assert [batch.rows for batch in fresh.batches] == [batch.rows for batch in learning.batches]
    assert fresh.batches[1].mismatches["feature.x"].tolist() == [1, 5]
    for each in (learning, fresh):
        each.add(predictions(range(60), {"x": np.arange(60.0)}))
    assert fresh.enough
    assert _learned(fresh) == _learned(learning)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_damaged_rows_that_wait_are_named(seed: int) -> None:
    """Whatever is wrong with stored rows, it is an error with a name or does no harm."""
    tree = _cut(20, [10]).state()
    assert_damage_is_named(tree, lambda each: Learning(KEY, 200).restore(each), seed)
