"""Reference rows whose columns of texts become columns of numbers."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cached_property

import polars as pl
import pyarrow as pa

from driftmeter.baseline.data import TIME_FIELD, Rows
from driftmeter.errors import BaselineError
from driftmeter.model.baseline import Baseline, ColumnBaseline
from driftmeter.model.columns import Column, Kind
from driftmeter.summary.texts import (
    DERIVED,
    LENGTH,
    OOV_RATIO,
    WORDS,
    WORDS_MAX,
    Vocabulary,
    derived_fields,
    measure,
    words_of,
)

_WORDS_WAITING_MAX = 1_000_000


@dataclass(frozen=True, eq=False)
class _Learned:
    """Words of one column.

    Attributes:
        words: What a baseline remembers.
        shared: Those among them that more than one row has. In the reference itself a word that no other row has is
            unknown, as a new row's word is that no row of the reference has.
    """

    words: Vocabulary
    shared: Vocabulary


@dataclass(frozen=True, eq=False)
class TextRows:
    """Rows with three columns of numbers in the place of each column of texts; see `Rows`.

    Attributes:
        rows: The rows as they are.
        texts: Fields of the columns of texts.
        known: What counts as known, by field.
        learned: What a baseline remembers, by field; empty when these are not reference rows.
    """

    rows: Rows
    texts: tuple[str, ...]
    known: Mapping[str, Vocabulary]
    learned: Mapping[str, Vocabulary]

    @classmethod
    def of_reference(cls, rows: Rows, names: Iterable[str]) -> "Rows":
        """Reference rows.

        Args:
            rows: The rows as they are.
            names: Columns of texts; wildcards are allowed.

        Raises:
            BaselineError: One of the columns is there and holds numbers.
        """
        texts = _chosen(rows, names)
        if not texts:
            return rows
        found = {field: _learn(rows, field) for field in texts}
        known = {field: each.shared for field, each in found.items()}
        return cls(rows, texts, known, {field: each.words for field, each in found.items()})

    @classmethod
    def like(cls, rows: Rows, baseline: Baseline) -> "Rows":
        """Rows to be compared with a baseline; columns of texts are those that it has words of."""
        vocabularies = vocabularies_of(baseline)
        texts = tuple(field for field in vocabularies if rows.kinds.get(field) == Kind.CATEGORICAL)
        return cls(rows, texts, vocabularies, {}) if texts else rows

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """The columns, derived ones in the place of what they are made of."""
        fields = (each.field for each in self.rows.columns)
        return tuple(
            Column.from_field(name)
            for field in fields
            for name in (derived_fields(field) if field in self.texts else (field,))
        )

    @cached_property
    def kinds(self) -> Mapping[str, Kind]:
        """What each column holds, by field."""
        kept = {field: kind for field, kind in self.rows.kinds.items() if field not in self.texts}
        return kept | dict.fromkeys(self._sources, Kind.NUMERIC)

    @cached_property
    def integers(self) -> frozenset[str]:
        """Fields whose values were integers."""
        return self.rows.integers | {f"{field}.{name}" for field in self.texts for name in (LENGTH, WORDS)}

    @property
    def skipped(self) -> Mapping[str, str]:
        """Columns left out because of what they hold, and why."""
        return self.rows.skipped

    @property
    def count(self) -> int:
        """How many rows there are."""
        return self.rows.count

    @property
    def timed(self) -> bool:
        """Whether they have times."""
        return self.rows.timed

    def batches(
        self, fields: Sequence[str], *, times: bool = False, first: int = 0, stop: int | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Rows `first` to `stop` of some fields; see `Rows`."""
        raw = list(dict.fromkeys(self._sources.get(field, field) for field in fields))
        wanted = [*fields, *([TIME_FIELD] if times else [])]
        for batch in self.rows.batches(raw, times=times, first=first, stop=stop):
            arrays = dict(zip(batch.schema.names, batch.columns, strict=True))
            for field in self.texts:
                if field in arrays:
                    measured = measure(arrays[field], self.known[field])
                    arrays |= zip(derived_fields(field), measured, strict=True)
            yield pa.RecordBatch.from_arrays([arrays[field] for field in wanted], names=wanted)

    def with_words(self, columns: Iterable[ColumnBaseline]) -> list[ColumnBaseline]:
        """The columns of a baseline that was built from these rows, with the words that it is to remember."""
        words = {f"{field}.{OOV_RATIO}": vocabulary.words for field, vocabulary in self.learned.items()}
        return [replace(each, words=words.get(each.column.field)) for each in columns]

    @cached_property
    def _sources(self) -> dict[str, str]:
        """The column of texts that each derived field is made of."""
        return {name: field for field in self.texts for name in derived_fields(field)}


def vocabularies_of(baseline: Baseline) -> dict[str, Vocabulary]:
    """The words of a baseline's columns of texts, by the field of the texts."""
    return {
        each.column.field.removesuffix(f".{OOV_RATIO}"): Vocabulary(each.words)
        for each in baseline.columns
        if each.words is not None
    }


def _chosen(rows: Rows, names: Iterable[str]) -> tuple[str, ...]:
    globs = tuple(names)
    chosen = [each for each in rows.columns if any(fnmatchcase(each.name, glob) for glob in globs)]
    for each in chosen:
        if rows.kinds[each.field] != Kind.CATEGORICAL:
            raise BaselineError(f"column {each.name!r} is marked as text and holds numbers: leave the mark out")
    taken = {each.field for each in rows.columns}
    for each in chosen:
        both = [name for name in DERIVED if f"{each.field}.{name}" in taken]
        if both:
            raise BaselineError(f"column {each.name!r} is marked as text, and there is a column {each.name}.{both[0]}")
    return tuple(each.field for each in chosen)


def _learn(rows: Rows, field: str) -> _Learned:
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
    return _Learned(Vocabulary(tuple(kept["word"])), Vocabulary(tuple(shared["word"])))


def _commonest(words: pl.DataFrame, count: int) -> pl.DataFrame:
    return words.sort("rows", "word", descending=[True, False]).head(count)
