"""What a baseline knows of its texts: the words of reference rows."""

from dataclasses import dataclass

import polars as pl

from driftmeter.baseline.data import Rows
from driftmeter.model.baseline import Baseline
from driftmeter.summary.texts import OOV_RATIO, WORDS_MAX, Vocabulary, words_of

_WORDS_WAITING_MAX = 1_000_000


@dataclass(frozen=True, eq=False)
class Words:
    """Words of one column.

    Attributes:
        known: What a baseline remembers.
        shared: Those among them that more than one row has. In the reference itself a word that no other row has is
            unknown, as a new row's word is that no row of the reference has.
    """

    known: Vocabulary
    shared: Vocabulary


def vocabularies_of(baseline: Baseline) -> dict[str, Vocabulary]:
    """The words of a baseline's columns of texts, by the field of the texts."""
    return {
        each.column.field.removesuffix(f".{OOV_RATIO}"): Vocabulary(each.words)
        for each in baseline.columns
        if each.words is not None
    }


def learn_words(rows: Rows, field: str) -> Words:
    """The words of a column, those of the most rows first."""
    total = pl.DataFrame(schema={"word": pl.String, "rows": pl.UInt64})
    for batch in rows.batches([field]):
        counts = pl.DataFrame({"text": pl.Series(pl.from_arrow(batch.column(0))).cast(pl.String)})
        counts = counts.drop_nulls().group_by("text").len("rows")
        part = pl.DataFrame({"word": words_of(counts["text"]).list.unique(), "rows": counts["rows"].cast(pl.UInt64)})
        total = pl.concat([total, part.explode("word").drop_nulls()]).group_by("word").agg(pl.col("rows").sum())
        if total.height > _WORDS_WAITING_MAX:
            total = _commonest(total, _WORDS_WAITING_MAX // 2)
    kept = _commonest(total, WORDS_MAX)
    shared = kept.filter(pl.col("rows") > 1)
    return Words(Vocabulary(tuple(kept["word"])), Vocabulary(tuple(shared["word"])))


def _commonest(words: pl.DataFrame, count: int) -> pl.DataFrame:
    return words.sort("rows", "word", descending=[True, False]).head(count)
