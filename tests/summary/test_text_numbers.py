"""Texts as numbers: length, words, and the share of words that are not known."""

import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftmeter.summary.texts import Vocabulary, measure, with_derived
from rows import record_batch

KNOWN = Vocabulary(("the", "cat", "naïve", "2"))


def by_hand(text: str | None) -> tuple[float | None, float | None, float | None]:
    """The same for one text, with Python's own regular expressions."""
    if text is None:
        return None, None, None
    words = re.findall(r"\w+", text.lower())
    unknown = sum(word not in KNOWN.words for word in words)
    return len(text), len(words), unknown / len(words) if words else None


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("The cat sat", (11, 3, 1 / 3)),
        ("NAÏVE 2-cat!", (12, 3, 0.0)),
        ("", (0, 0, None)),
        (" ... ", (5, 0, None)),
        (None, (None, None, None)),
    ],
)
def test_known_texts(text: str | None, numbers: tuple[float | None, ...]) -> None:
    """Letters of any language, digits, capitals; a text without words has no share; none has nothing."""
    measured = measure(pa.array([text, "cat"], pa.string()).dictionary_encode(), KNOWN)
    assert tuple(each[0].as_py() for each in measured) == numbers
    assert [each[1].as_py() for each in measured] == [3, 1, 0]


@given(st.lists(st.none() | st.text(st.sampled_from("the cat é2_.!T\n"), max_size=30), max_size=20))
def test_texts_one_by_one(texts: list[str | None]) -> None:
    """Any texts, repeated and missing, give what each gives by itself."""
    measured = measure(pa.array(texts, pa.string()).dictionary_encode(), KNOWN)
    expected = [by_hand(text) for text in texts]
    assert list(zip(*(each.to_pylist() for each in measured), strict=True)) == expected


def test_slices_and_dictionaries_with_more_than_is_used() -> None:
    """A part of a batch, whose dictionary is that of the whole."""
    whole = pa.array(["the cat", "dog", None, "cat cat dog"], pa.string()).dictionary_encode()
    measured = measure(whole.slice(2), KNOWN)
    assert [each.to_pylist() for each in measured] == [[None, 11], [None, 3], [None, pytest.approx(1 / 3)]]


def test_columns_take_the_place_of_texts() -> None:
    """Other columns stay, the texts go, and values of the wrong type count for all that they would have become."""
    rows = record_batch({"x": [1.0, 2.0], "note": ["the cat", None]})
    numbers, wrong = with_derived(
        rows, {"feature.note": np.array([1], np.uint32)}, {"feature.note": KNOWN, "feature.absent": KNOWN}
    )
    names = ["feature.note.length", "feature.note.words", "feature.note.oov_ratio"]
    assert numbers.schema.names == ["feature.x", *names]
    assert all(numbers.schema.field(name).type == pa.float64() for name in names)
    assert [numbers.column(name).to_pylist() for name in names] == [[7, None], [2, None], [0, None]]
    assert {name: rows.tolist() for name, rows in wrong.items()} == {name: [1] for name in names}


def test_a_column_without_any_value_yet_is_missing() -> None:
    """Before its first value a column is one of numbers, all null."""
    rows = pa.RecordBatch.from_pydict({"feature.note": pa.nulls(3, pa.float64())})
    numbers, _ = with_derived(rows, {}, {"feature.note": KNOWN})
    assert [column.null_count for column in numbers.columns] == [3, 3, 3]
