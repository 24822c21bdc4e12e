"""A baseline learned from the first rows of live traffic."""

import math

import pytest

from driftmeter.baseline.build import build_baseline
from driftmeter.baseline.learning import Learning
from driftmeter.model.columns import Column, Role
from rows import KEY, SECOND_NS, dataset, predictions


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
    learning = Learning(KEY, 1)
    learning.add(predictions([1, 2], {"x": [None, None], "y": [1.0, 2.0]}))
    baseline = learning.task()()
    assert baseline is not None
    assert baseline.skipped == {"x": "none of its values is finite"}


def test_column_that_becomes_categorical_keeps_its_values() -> None:
    """Nulls before the first value say nothing of a column's kind: they are a column of numbers until then."""
    learning = Learning(KEY, 1)
    learning.add(predictions([1, 2], {"x": [None, None]}))
    learning.add(predictions([3, 4, 5], {"x": ["a", "b", "a"]}))
    baseline = learning.task()()
    assert baseline is not None
    assert (baseline.columns[0].missing, baseline.columns[0].counts.tolist()) == (2, [2, 1, 0, 0])
