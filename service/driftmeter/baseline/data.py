"""Rows of reference or current data: typed columns with the roles that the user gives them, read batch by batch."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Protocol

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from driftmeter.errors import BaselineError
from driftmeter.model.columns import READ_ROLES, Column, Kind, Role, is_scored_field
from driftmeter.summary.embeddings import VECTORS

_FIRST_MS, _LAST_MS = -(2**63) // 10**6 + 1, 2**63 // 10**6 - 1  # What nanoseconds in 64 bits reach.
_NAMES = pa.dictionary(pa.int32(), pa.string())
_TRUTHS = pa.array(["false", "true"])
_HELD_AS = {Kind.NUMERIC: pa.float64(), Kind.CATEGORICAL: _NAMES, Kind.EMBEDDING: VECTORS}

TIME_FIELD = "event_time"
"""Field with the rows' times in a batch, as in `Predictions`: timestamp[ns, UTC]."""


@dataclass(frozen=True)
class ColumnOptions:
    """Which columns of a file mean what; every other column is a feature.

    Attributes:
        timestamp: Column with the time of each prediction; None when there is none.
        roles: Columns that are not features, by their name in the file.
        ignore: Columns to leave out.
        texts: Columns of texts rather than categories, by the model's name of them; wildcards are allowed.
        embeddings: Columns of vectors; the same.
    """

    timestamp: str | None = None
    roles: Mapping[str, Column] = field(default_factory=dict)
    ignore: frozenset[str] = frozenset()
    texts: tuple[str, ...] = ()
    embeddings: tuple[str, ...] = ()

    @classmethod
    def of(  # noqa: PLR0913 - what columns of files can be.
        cls,
        timestamp: str | None = None,
        predictions: list[str] | None = None,
        probabilities: list[str] | None = None,
        labels: list[str] | None = None,
        ignore: list[str] | None = None,
        segments: list[str] | None = None,
        texts: list[str] | None = None,
        embeddings: list[str] | None = None,
    ) -> "ColumnOptions":
        """Options as given on a command line: `COLUMN`, or `COLUMN=NAME` when the model calls it something else."""
        given = (
            (Role.PREDICTION, predictions),
            (Role.PROBABILITY, probabilities),
            (Role.LABEL, labels),
            (Role.SEGMENT, segments),
        )
        roles: dict[str, Column] = {}
        for role, named in given:
            for each in named or []:
                source, _, name = each.partition("=")
                if source in roles:
                    raise BaselineError(f"column {source!r} is given two roles: {roles[source].role} and {role}")
                if role is Role.SEGMENT and source in (ignore or ()):
                    raise BaselineError(f"column {source!r} is a segment and to be ignored: take one of these back")
                roles[source] = Column(role, name or source)
        return cls(timestamp, roles, frozenset(ignore or []), tuple(texts or ()), tuple(embeddings or ()))

    def column(self, name: str) -> Column:
        """Role and name of a column of the files."""
        return self.roles.get(name, Column(Role.FEATURE, name))


def is_marked(column: Column, marks: Iterable[str]) -> bool:
    """Whether marks name a column; wildcards are allowed in them."""
    return any(fnmatchcase(column.name, mark) for mark in marks)


class Rows(Protocol):
    """Rows as the service's own tables hold them; those of large files are read anew each time, in batches."""

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns of the scored roles, in the files' order."""

    @property
    def kinds(self) -> Mapping[str, Kind]:
        """What each column holds, by field."""

    @property
    def integers(self) -> frozenset[str]:
        """Fields whose values were integers."""

    @property
    def skipped(self) -> Mapping[str, str]:
        """Columns left out because of what they hold, and why."""

    @property
    def count(self) -> int:
        """How many rows there are."""

    @property
    def timed(self) -> bool:
        """Whether they have times."""

    def batches(
        self, fields: Sequence[str], *, times: bool = False, first: int = 0, stop: int | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Rows `first` to `stop` of some fields, in the files' order.

        Args:
            fields: Names of fields, float64, dictionary<int32, string> or list<float64> in the batches.
            times: Whether to add `TIME_FIELD`.
            first: Number of the first row.
            stop: Number after the last one; None for all.

        Raises:
            BaselineError: A file cannot be read, or its times are none.
        """


def check_marks(rows: Rows, option: str, marks: Iterable[str]) -> None:
    """Raises BaselineError for a mark that fits none of the columns: it is misspelt."""
    columns = [*rows.columns, *(Column(Role.FEATURE, name) for name in rows.skipped)]
    for mark in marks:
        if not any(is_marked(column, [mark]) for column in columns):
            names = ", ".join(column.name for column in columns)
            raise BaselineError(f"no column fits {option} {mark!r}; there are {names}")


@dataclass(frozen=True, eq=False)
class Dataset:
    """Rows in memory.

    Attributes:
        rows: Fields `Column.field`, float64, dictionary<int32, string> or list<float64>, for the scored roles.
        times_ns: int64 (rows,), nanoseconds since the epoch; None without a timestamp column.
        integers: Fields whose values were integers.
        skipped: Columns left out because of what they hold, and why.
    """

    rows: pa.RecordBatch
    times_ns: npt.NDArray[np.int64] | None
    integers: frozenset[str] = frozenset()
    skipped: Mapping[str, str] = field(default_factory=dict)

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns, in the file's order."""
        return tuple(Column.from_field(name) for name in self.rows.schema.names if is_scored_field(name))

    @property
    def kinds(self) -> Mapping[str, Kind]:
        """What each column holds, by field."""
        return {each.name: kind_of_field(each) for each in self.rows.schema}

    @property
    def count(self) -> int:
        """How many rows there are."""
        return int(self.rows.num_rows)

    @property
    def timed(self) -> bool:
        """Whether they have times."""
        return self.times_ns is not None

    def batches(
        self, fields: Sequence[str], *, times: bool = False, first: int = 0, stop: int | None = None
    ) -> Iterator[pa.RecordBatch]:
        """One batch, of any rows; see `Rows`."""
        last = self.count if stop is None else min(stop, self.count)
        if last <= first:
            return
        arrays = {name: self.rows.column(name).slice(first, last - first) for name in fields}
        if times:
            assert self.times_ns is not None  # noqa: S101 - `timed` says so.
            arrays[TIME_FIELD] = pa.array(self.times_ns[first:last]).cast(pa.timestamp("ns", tz="UTC"))
        yield pa.RecordBatch.from_pydict(arrays)


@dataclass(frozen=True)
class Plan:
    """Which columns of some files are read as what.

    Attributes:
        source: The files, as messages name them.
        timestamp: Column with the times.
        columns: Per column of the files that is used: its field, and what it holds.
        integers: Fields whose values are integers.
        skipped: Columns left out because of what they hold, and why.
    """

    source: str
    timestamp: str | None
    columns: Mapping[str, tuple[str, Kind]]
    integers: frozenset[str]
    skipped: Mapping[str, str]


def plan_columns(
    types: Mapping[str, Sequence[pa.DataType]], empty: Iterable[str], options: ColumnOptions, source: str
) -> Plan:
    """What to read of columns.

    Args:
        types: Per column, its type in each of the files.
        empty: Columns without a single value.
        options: What the user says of them.
        source: The files, as messages name them.

    Raises:
        BaselineError: Nothing is left, or two columns have one name, or a column is of two kinds or no segment.
    """
    columns: dict[str, tuple[str, Kind]] = {}
    skipped: dict[str, str] = {}
    integers: set[str] = set()
    without = set(empty)
    for name, there in types.items():
        column = options.column(name)
        if name == options.timestamp or name in options.ignore or column.role not in READ_ROLES:
            continue
        known = [each for each in there if not pa.types.is_null(each)]
        lacking = not known or name in without
        kind = (
            "all its values are missing"
            if lacking
            else _kind_in_all(known, column, options, f"{source}: column {name!r}")
        )
        if not isinstance(kind, Kind):
            if column.role is Role.SEGMENT:
                raise BaselineError(f"{source}: column {name!r} cannot be a segment: {kind}")
            skipped[name] = kind
        elif column.field in (field for field, _ in columns.values()):
            raise BaselineError(f"{source}: two columns are the {column.role} {column.name!r}; give each its own name")
        else:
            columns[name] = column.field, kind
            if all(pa.types.is_integer(each) for each in known):
                integers.add(column.field)
    if not any(is_scored_field(field) for field, _ in columns.values()):
        raise BaselineError(f"{source}: no column is left to compare; all are ignored, labels, empty or of other types")
    return Plan(source, options.timestamp, columns, frozenset(integers), skipped)


def _kind_in_all(known: Sequence[pa.DataType], column: Column, options: ColumnOptions, place: str) -> Kind | str:
    """What a column holds whose types in the files are these, or why it is left out; raises BaselineError."""
    kinds = {_kind_of(each) for each in known}
    marked = is_marked(column, options.embeddings)
    if marked and kinds != {Kind.EMBEDDING}:
        unusable = next(each for each in known if _kind_of(each) is not Kind.EMBEDDING)
        raise BaselineError(
            f"{place} is marked as an embedding and holds values of type {_dtype_of(unusable)}, not lists of numbers: "
            "leave the mark out"
        )
    if None in kinds:
        unusable = next(each for each in known if _kind_of(each) is None)
        return f"values of type {_dtype_of(unusable)} are neither numbers nor categories"
    if Kind.EMBEDDING in kinds and column.role is Role.SEGMENT:
        return "lists of numbers are no segments"
    if Kind.EMBEDDING in kinds and not marked:
        return "it holds lists of numbers: mark it with --embedding to compare them as vectors"
    if column.role is Role.SEGMENT:  # Live ones are texts, whatever they look like.
        return Kind.CATEGORICAL
    if len(kinds) > 1:
        raise BaselineError(
            f"{place} is numeric in some files and categorical in others: give all files the same type, or leave it "
            "out with --ignore"
        )
    return next(each for each in kinds if each)


def to_dataset(frame: pl.DataFrame, options: ColumnOptions, source: str) -> Dataset:
    """Rows of a frame in memory; `source` names it in messages. Raises BaselineError."""
    table = frame.to_arrow()
    empty = [series.name for series in frame.iter_columns() if series.null_count() == len(series)]
    plan = plan_columns({each.name: [each.type] for each in table.schema}, empty, options, source)
    return held([table], plan)


def held(tables: Sequence[pa.Table], plan: Plan) -> Dataset:
    """Rows of tables, one after the other, in memory. Raises BaselineError when their times are none."""
    arrays = {
        field: _joined([typed(chunk, kind) for table in tables for chunk in table.column(name).chunks], kind)
        for name, (field, kind) in plan.columns.items()
    }
    times = None
    if plan.timestamp is not None:
        chunks = [chunk for table in tables for chunk in table.column(plan.timestamp).chunks]
        times = np.concatenate([np.empty(0, np.int64), *times_of(chunks, plan)])
    return Dataset(pa.RecordBatch.from_pydict(arrays), times, plan.integers, plan.skipped)


def _joined(chunks: list[pa.Array], kind: Kind) -> pa.Array:
    if len(chunks) == 1:
        return chunks[0]
    joined = pa.chunked_array(chunks, _HELD_AS[kind]).unify_dictionaries().combine_chunks()
    return joined if isinstance(joined, pa.Array) else pa.concat_arrays(joined.chunks)


def kind_of_field(field: pa.Field) -> Kind:
    """What a field of the service's own tables holds."""
    if pa.types.is_floating(field.type):
        return Kind.NUMERIC
    return Kind.EMBEDDING if is_list(field.type) else Kind.CATEGORICAL


def is_list(dtype: pa.DataType) -> bool:
    """Whether values of this type are lists, of any sort."""
    return bool(pa.types.is_list(dtype) or pa.types.is_large_list(dtype) or pa.types.is_fixed_size_list(dtype))


def _dtype_of(of_type: pa.DataType) -> pl.DataType:
    """A type as users of data frames know it."""
    return pl.Series(pa.array([], of_type)).dtype


def _kind_of(dtype: pa.DataType) -> Kind | None:
    """What a column of this type holds; None for what is neither numbers, names nor vectors."""
    if pa.types.is_dictionary(dtype):
        return _kind_of(dtype.value_type)
    if is_list(dtype):
        number = pa.types.is_integer(dtype.value_type) or pa.types.is_floating(dtype.value_type)
        return Kind.EMBEDDING if number else None
    if pa.types.is_integer(dtype) or pa.types.is_floating(dtype) or pa.types.is_decimal(dtype):
        return Kind.NUMERIC
    return Kind.CATEGORICAL if pa.types.is_boolean(dtype) or is_text(dtype) else None


def is_text(dtype: pa.DataType) -> bool:
    """Whether values of this type are texts."""
    return bool(pa.types.is_string(dtype) or pa.types.is_large_string(dtype) or pa.types.is_string_view(dtype))


def typed(array: pa.Array, kind: Kind) -> pa.Array:
    """A column's values as the service's tables hold them: float64, dictionary<int32, string> or list<float64>.

    What is no list is no vector: it is missing.
    """
    dtype = array.type
    if pa.types.is_null(dtype) or (kind is Kind.EMBEDDING and not is_list(dtype)):
        return pa.nulls(len(array), _HELD_AS[kind])
    if kind is Kind.CATEGORICAL:
        return _names(array)
    array = array.dictionary_decode() if pa.types.is_dictionary(dtype) else array
    return array if array.type == _HELD_AS[kind] else pc.cast(array, _HELD_AS[kind], safe=False)


def _names(array: pa.Array) -> pa.DictionaryArray:
    dtype = array.type
    if pa.types.is_boolean(dtype):
        return pa.DictionaryArray.from_arrays(array.cast(pa.int32()), _TRUTHS)
    if not pa.types.is_dictionary(dtype):
        return array.cast(pa.string()).dictionary_encode()
    if pa.types.is_boolean(dtype.value_type):
        return _names(array.dictionary_decode())
    return pa.DictionaryArray.from_arrays(array.indices.cast(pa.int32()), array.dictionary.cast(pa.string()))


def times_of(chunks: Iterable[pa.Array], plan: Plan) -> Iterator[npt.NDArray[np.int64]]:
    """Nanoseconds since the epoch; texts are read as ISO 8601 and times without a zone as UTC.

    Raises:
        BaselineError: They cannot be read, or a row has none: then after all of them, with the number of such rows.
    """
    without = 0
    place = f"{plan.source}: column {plan.timestamp!r}"
    for chunk in chunks:
        series = _instants(pl.Series(chunk), place)
        without += series.null_count()
        if without == 0 and len(series):
            instants = series.dt.epoch("ms")
            if instants.min() < _FIRST_MS or instants.max() > _LAST_MS:  # type: ignore[operator]  # No nulls: numbers.
                raise BaselineError(f"{place} has times outside the years 1678 to 2261")
            yield series.dt.epoch("ns").to_numpy()
    if without:
        raise BaselineError(f"{place} lacks a time in {without} rows")


def _instants(series: pl.Series, place: str) -> pl.Series:
    try:
        if series.dtype == pl.String:
            return series.str.to_datetime(time_unit="ns", time_zone="UTC")
        if series.dtype == pl.Date:
            return series.cast(pl.Datetime("ms", "UTC"))
        if isinstance(series.dtype, pl.Datetime):
            zone = series.dtype.time_zone
            return series.dt.replace_time_zone("UTC") if zone is None else series.dt.convert_time_zone("UTC")
    except pl.exceptions.PolarsError as error:
        raise BaselineError(f"{place} cannot be read as times: {first_line(error)}") from error
    raise BaselineError(
        f"{place} of type {series.dtype} cannot be a timestamp: give dates with times, or ISO 8601 texts"
    )


def first_line(error: Exception) -> str:
    """What a library says before it goes on to hints for programmers."""
    return str(error).partition("\n")[0]
