"""Baselines with columns of texts."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from driftmeter.analyze import analyze
from driftmeter.baseline.build import build_baseline
from driftmeter.baseline.data import Dataset
from driftmeter.baseline.derivation import Derivation
from driftmeter.baseline.derived_rows import DerivedRows
from driftmeter.baseline.file import read_baseline, write_baseline
from driftmeter.baseline.texts import vocabularies_of
from driftmeter.detect.config import DetectConfig
from driftmeter.errors import BaselineError
from driftmeter.model.windows import parse_window
from rows import dataset

FAMILIAR = [f"word{i}" for i in range(4_000)]


def texts_of(rows: int, seed: int, words: list[str]) -> list[str]:
    """Sentences of words by Zipf's law, as in languages."""
    random = np.random.default_rng(seed)
    weights = 1 / np.arange(1, len(words) + 1)
    return [" ".join(random.choice(words, int(random.integers(3, 12)), p=weights / weights.sum())) for _ in range(rows)]


def some_rows(rows: int, seed: int, words: list[str] = FAMILIAR) -> Dataset:
    """A column of texts beside one of numbers and one of categories."""
    random = np.random.default_rng(seed)
    return dataset(
        {
            "x": random.normal(size=rows),
            "note": texts_of(rows, seed, words),
            "c": random.choice(["a", "b"], rows).tolist(),
        }
    )


def test_a_text_becomes_three_columns() -> None:
    """In its place, as numbers; the words stand with the column that needs them."""
    baseline = build_baseline(DerivedRows.of_reference(some_rows(500, 1), ["note"]), "m", "", [])
    names = [each.column.name for each in baseline.columns]
    assert names == ["x", "note.length", "note.words", "note.oov_ratio", "c"]
    assert [each.column.name for each in baseline.columns if each.words is not None] == ["note.oov_ratio"]
    (vocabulary,) = vocabularies_of(baseline).values()
    assert set(vocabulary.words) <= set(FAMILIAR)
    assert vocabulary.words[0] == "word0"


def test_words_of_one_row_alone_are_unknown_in_the_reference() -> None:
    """As a new row's word is that no row of the reference has: both shares are then of the same kind."""
    rows = dataset({"note": ["a b", "a c", "a b", "d d"]})
    reference = DerivedRows.of_reference(rows, ["note"])
    (batch,) = reference.batches(["feature.note.oov_ratio"])
    assert batch.column(0).to_pylist() == [0, 0.5, 0, 1]


def test_unknown_words_are_as_many_in_rows_alike() -> None:
    """The mean share in the reference and in new rows of the same words agree within five standard errors."""
    baseline = build_baseline(DerivedRows.of_reference(some_rows(2_000, 1), ["note"]), "m", "", [])
    own = baseline.columns[3].mean
    (batch,) = some_rows(2_000, 2).batches(["feature.note"])
    numbers, _ = Derivation.of(baseline).numbers(batch, {})
    share = numbers.column("feature.note.oov_ratio").to_numpy()
    assert abs(share.mean() - own) < 5 * share.std() / np.sqrt(len(share)) + 1e-3


def test_new_words_are_drift() -> None:
    """Texts as long as before, of other words: the share of unknown words says so, and the length does not."""
    reference = DerivedRows.of_reference(some_rows(3_000, 1), ["n*"])
    other = FAMILIAR[:10] + [f"neologism{i}" for i in range(3_990)]
    findings = analyze(
        reference, some_rows(3_000, 2, other), [parse_window("1000rows")], DetectConfig(min_rows=10)
    ).findings
    means = (
        findings.filter(pl.col("method") == "wasserstein_normalised")
        .group_by("column")
        .agg(pl.col("value").mean())
        .rows_by_key("column", unique=True)
    )
    assert means["note.oov_ratio"] > 5 * means["note.words"]


def test_words_are_in_the_file(tmp_path: Path) -> None:
    """What was written and read knows the same words; a baseline without texts has none."""
    baseline = build_baseline(DerivedRows.of_reference(some_rows(200, 1), ["note"]), "m", "", [])
    write_baseline(baseline, tmp_path / "b.parquet")
    read = read_baseline(tmp_path / "b.parquet")
    assert [each.words for each in read.columns] == [each.words for each in baseline.columns]
    assert not vocabularies_of(build_baseline(some_rows(200, 1), "m", "", []))


def test_files_that_have_no_such_column_stay_as_they_are() -> None:
    """Marks may fit nothing."""
    rows = some_rows(50, 1)
    assert DerivedRows.of_reference(rows, ["other"]) is rows


def test_marks_that_do_not_fit_are_refused() -> None:
    """Numbers are no texts, and a name that is taken cannot be given again."""
    with pytest.raises(BaselineError, match="column 'x' is marked as text and holds numbers"):
        DerivedRows.of_reference(some_rows(50, 1), ["x"])
    taken = dataset({"note": ["a", "b"], "note.length": [1.0, 2.0]})
    with pytest.raises(BaselineError, match=r"marked as text, and there is a column note\.length"):
        DerivedRows.of_reference(taken, ["note"])
