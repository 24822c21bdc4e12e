"""Reference rows whose columns of texts and of embeddings become columns of numbers."""

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import pyarrow as pa

from driftmeter.baseline.data import TIME_FIELD, Rows, is_marked
from driftmeter.baseline.derivation import Derivation
from driftmeter.baseline.embeddings import frame_column, learn_frame
from driftmeter.baseline.texts import learn_words
from driftmeter.errors import BaselineError
from driftmeter.model.baseline import ColumnBaseline
from driftmeter.model.columns import Column, Kind
from driftmeter.summary import embeddings, texts
from driftmeter.summary.embeddings import DERIVED, Frame
from driftmeter.summary.texts import LENGTH, OOV_RATIO, WORDS, Vocabulary

HELD_NUMBERS_MAX = 2**24
"""Numbers that vectors become which are held in memory, some 130 MB; more are kept in a temporary file."""

_BATCH_ROWS = 2**18


@dataclass(frozen=True, eq=False)
class DerivedRows:
    """Rows with columns of numbers in the place of those of texts and of embeddings; see `Rows`.

    Texts are measured anew each time that they are read; vectors once, since there is much more to read of them.
    Vectors of another length than most count as missing, as do those with an element that is null.

    Attributes:
        rows: The rows as they are.
        derivation: How their texts are looked at, and their vectors.
        learned: What a baseline remembers of texts, by field.
        measured: What the vectors became.
        unusable: Fields of embeddings that are left out, and why.
    """

    rows: Rows
    derivation: Derivation
    learned: Mapping[str, Vocabulary]
    measured: pa.Table
    unusable: Mapping[str, str]

    @classmethod
    def of_reference(cls, rows: Rows, marks: Iterable[str] = ()) -> "Rows":
        """Reference rows.

        Args:
            rows: The rows as they are.
            marks: Columns of texts, by name; wildcards are allowed, and marks may fit none. All columns that hold
                vectors are embeddings.

        Raises:
            BaselineError: A column that is marked as text is there and holds numbers, or a name is taken.
        """
        names = tuple(marks)
        of_texts = [each for each in rows.columns if is_marked(each, names)]
        of_vectors = [each for each in rows.columns if rows.kinds[each.field] is Kind.EMBEDDING]
        if not of_texts and not of_vectors:
            return rows
        for each in of_texts:
            if rows.kinds[each.field] is not Kind.CATEGORICAL:
                raise BaselineError(f"column {each.name!r} is marked as text and holds numbers: leave that mark out")
        _check_names(rows, of_texts, texts.DERIVED, "text")
        _check_names(rows, of_vectors, DERIVED, "an embedding")
        words = {each.field: learn_words(rows, each.field) for each in of_texts}
        found = {each.field: learn_frame(rows, each.field) for each in of_vectors}
        frames = {field: each for field, each in found.items() if isinstance(each, Frame)}
        return cls(
            rows,
            Derivation({field: each.shared for field, each in words.items()}, frames),
            {field: each.known for field, each in words.items()},
            _measured(rows, frames),
            {field: each for field, each in found.items() if isinstance(each, str)},
        )

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """The columns, derived ones in the place of what they are made of."""
        derived = self.derivation.derived
        usable = (each.field for each in self.rows.columns if each.field not in self.unusable)
        return tuple(Column.from_field(name) for field in usable for name in derived.get(field, (field,)))

    @cached_property
    def kinds(self) -> Mapping[str, Kind]:
        """What each column holds, by field."""
        derived = self.derivation.derived
        kept = {
            field: kind
            for field, kind in self.rows.kinds.items()
            if field not in derived and field not in self.unusable
        }
        return kept | dict.fromkeys((name for names in derived.values() for name in names), Kind.NUMERIC)

    @cached_property
    def integers(self) -> frozenset[str]:
        """Fields whose values were integers."""
        return self.rows.integers | {f"{field}.{name}" for field in self.learned for name in (LENGTH, WORDS)}

    @property
    def skipped(self) -> Mapping[str, str]:
        """Columns left out because of what they hold, and why."""
        return {**self.rows.skipped, **{Column.from_field(name).name: why for name, why in self.unusable.items()}}

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
        of_vectors = [field for field in fields if field in self.measured.column_names]
        if len(of_vectors) == len(fields) and fields and not times:
            last = self.count if stop is None else min(stop, self.count)
            yield from self.measured.select(fields).slice(first, max(0, last - first)).to_batches(_BATCH_ROWS)
            return
        wanted = [*fields, *([TIME_FIELD] if times else [])]
        raw = self.derivation.sources(field for field in fields if field not in of_vectors)
        for batch in self.rows.batches(raw, times=times, first=first, stop=stop):
            numbers, _ = texts.with_derived(batch, {}, self.derivation.vocabularies)
            arrays = dict(zip(numbers.schema.names, numbers.columns, strict=True))
            for field in of_vectors:
                arrays[field] = self.measured.column(field).slice(first, batch.num_rows).combine_chunks()
            yield pa.RecordBatch.from_arrays([arrays[field] for field in wanted], names=wanted)
            first += batch.num_rows

    def remembered(self, columns: Iterable[ColumnBaseline]) -> list[ColumnBaseline]:
        """The columns of a baseline that was built from these rows, with what it is to remember of them."""
        words = {f"{field}.{OOV_RATIO}": vocabulary.words for field, vocabulary in self.learned.items()}
        frames = {frame_column(field): frame.numbers for field, frame in self.derivation.frames.items()}
        return [
            replace(each, words=words.get(each.column.field), frame=frames.get(each.column.field)) for each in columns
        ]


def _check_names(rows: Rows, columns: Sequence[Column], derived: Sequence[str], what: str) -> None:
    taken = {each.field for each in rows.columns}
    for each in columns:
        both = [name for name in derived if f"{each.field}.{name}" in taken]
        if both:
            raise BaselineError(
                f"column {each.name!r} is marked as {what}, and there is a column {each.name}.{both[0]}"
            )


def _measured(rows: Rows, frames: Mapping[str, Frame]) -> pa.Table:
    """What the vectors of all rows become."""
    fields = [name for field in frames for name in embeddings.derived_fields(field)]
    schema = pa.schema([(field, pa.float64()) for field in fields])
    if not frames:
        return schema.empty_table()
    numbers = (embeddings.with_measured(batch, {}, frames)[0].select(fields) for batch in rows.batches(list(frames)))
    if rows.count * len(fields) <= HELD_NUMBERS_MAX:
        return pa.Table.from_batches(numbers, schema).combine_chunks()
    with tempfile.TemporaryDirectory(prefix="driftmeter-") as folder:
        path = str(Path(folder) / "numbers.arrow")
        with pa.OSFile(path, "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
            for batch in numbers:
                writer.write_batch(batch)
        return pa.ipc.open_file(pa.memory_map(path)).read_all()
