"""Files of rows, one or many as one: Parquet read batch by batch however large it is, CSV by way of Parquet."""

import glob
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from driftmeter.baseline.data import (
    TIME_FIELD,
    ColumnOptions,
    Plan,
    Rows,
    first_line,
    held,
    is_list,
    is_marked,
    is_text,
    plan_columns,
    times_of,
    typed,
)
from driftmeter.errors import BaselineError
from driftmeter.model.columns import READ_ROLES, SCORED_ROLES, Column, Kind, is_scored_field

_CSV_ENDINGS = (".csv", ".csv.gz", ".tsv")
_ENDINGS = (".parquet", *_CSV_ENDINGS)

HELD_CELLS_MAX = 2**24
"""Rows × columns that are read into memory once, some 130 MB; of more, each use reads what it needs anew."""

_BATCH_ROWS = 2**18
_BATCH_NUMBERS = 2**22  # Of vectors, in a batch: 32 MB.


@dataclass(frozen=True, eq=False)
class _File:
    """One Parquet file.

    Attributes:
        name: What it is called in messages.
        source: Its path, or the open file of one that has none.
        metadata: What it says of itself.
        schema: Its columns.
        texts: Columns of texts that are read as numbers into a dictionary, as most of them are stored.
    """

    name: str
    source: str | pa.NativeFile
    metadata: pq.FileMetaData
    schema: pa.Schema
    texts: list[str]

    def read(self, columns: list[str]) -> pa.Table:
        """All its rows."""
        with _readable(self.name, "Parquet"):
            file = pq.ParquetFile(self.source, read_dictionary=self.texts, metadata=self.metadata)
            return file.read(columns)

    def batches(self, columns: list[str], first: int, stop: int) -> Iterator[pa.RecordBatch]:
        """Its rows `first` to `stop`."""
        position = 0
        with _readable(self.name, "Parquet"):
            file = pq.ParquetFile(self.source, read_dictionary=self.texts, metadata=self.metadata)
            at_once = rows_at_once(self.metadata, self.schema, columns)
            for group in range(self.metadata.num_row_groups):
                rows = self.metadata.row_group(group).num_rows
                if position + rows <= first or position >= stop:
                    position += rows
                    continue
                # Asked for several groups at once, the reader would keep what it has read of all of them.
                for batch in file.iter_batches(at_once, [group], columns):
                    begin, end = max(first - position, 0), min(stop - position, batch.num_rows)
                    position += batch.num_rows
                    if begin < end:
                        yield batch.slice(begin, end - begin)


@dataclass(frozen=True, eq=False)
class RowFiles:
    """Rows of large files: see `Rows`."""

    files: Sequence[_File]
    plan: Plan

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns, in the files' order."""
        return tuple(Column.from_field(field) for field, _ in self.plan.columns.values() if is_scored_field(field))

    @property
    def kinds(self) -> Mapping[str, Kind]:
        """What each column holds, by field."""
        return dict(self.plan.columns.values())

    @property
    def integers(self) -> frozenset[str]:
        """Fields whose values were integers."""
        return self.plan.integers

    @property
    def skipped(self) -> Mapping[str, str]:
        """Columns left out because of what they hold, and why."""
        return self.plan.skipped

    @property
    def count(self) -> int:
        """How many rows there are."""
        return _count(self.files)

    @property
    def timed(self) -> bool:
        """Whether they have times."""
        return self.plan.timestamp is not None

    def batches(
        self, fields: Sequence[str], *, times: bool = False, first: int = 0, stop: int | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Batches of up to 262,144 rows, and fewer of vectors; see `Rows`."""
        names = {field: (name, kind) for name, (field, kind) in self.plan.columns.items()}
        picked = [names[field] for field in fields]
        clock = [self.plan.timestamp] if times and self.plan.timestamp else []
        columns = list(dict.fromkeys([*(name for name, _ in picked), *clock]))
        last = self.count if stop is None else stop
        for batch in self._raw(columns, first, last):
            arrays = [typed(batch.column(name), kind) for name, kind in picked]
            if clock:
                found = [*times_of([batch.column(clock[0])], self.plan)]
                arrays.append(pa.array(found[0]).cast(pa.timestamp("ns", tz="UTC")))
            yield pa.RecordBatch.from_arrays(arrays, [*fields, *([TIME_FIELD] if clock else [])])

    def check_times(self) -> None:
        """Raises BaselineError when not every row has a time."""
        if self.plan.timestamp is not None:
            clock = [self.plan.timestamp]
            for _ in times_of((batch.column(0) for batch in self._raw(clock, 0, self.count)), self.plan):
                pass

    def _raw(self, columns: list[str], first: int, stop: int) -> Iterator[pa.RecordBatch]:
        starts = [0, *accumulate(file.metadata.num_rows for file in self.files)]
        for file, start in zip(self.files, starts[:-1], strict=True):
            if start < stop and start + file.metadata.num_rows > first:
                yield from file.batches(columns, first - start, stop - start)


def read_dataset(path: Path, options: ColumnOptions) -> Rows:
    """Rows of one file; raises BaselineError that says what is wrong with it."""
    return read_datasets([[path]], options)[0]


def read_datasets(
    sets: Sequence[Sequence[Path]], options: ColumnOptions, held_cells_max: int = HELD_CELLS_MAX
) -> list[Rows]:
    """Rows of several sets of files that are described by the same options.

    Columns that are left out or are labels need only be in one of them: what is to be judged often has no labels yet.

    Args:
        sets: Files, folders and wildcards of each set; their files follow each other in this order, those of a folder
            or wildcard by name.
        options: What their columns mean.
        held_cells_max: Rows × columns of a set that are held in memory.

    Raises:
        BaselineError: Says what is wrong with which file.
    """
    files = [[_open(path, options.timestamp) for path in find_files(patterns)] for patterns in sets]
    sources = [", ".join(map(str, patterns)) for patterns in sets]
    for source, each in zip(sources, files, strict=True):
        if _count(each) == 0:
            raise BaselineError(f"{source}: there are no rows in it")
        needed = {name for name, column in options.roles.items() if column.role in SCORED_ROLES}
        _check_names(source, needed | ({options.timestamp} if options.timestamp else set()), each[0].schema.names)
    anywhere = list(dict.fromkeys(name for each in files for name in each[0].schema.names))
    _check_names(sources[0], {*options.roles, *options.ignore}, anywhere)
    return [_rows_of(each, options, source, held_cells_max) for source, each in zip(sources, files, strict=True)]


def rows_at_once(metadata: pq.FileMetaData, schema: pa.Schema, columns: Sequence[str]) -> int:
    """Rows to read at a time of some columns of a file, so that vectors among them stay within some 32 MB."""
    vectors = [name for name in columns if is_list(schema.field(name).type)]
    numbers = max((_numbers_in(metadata, name) for name in vectors), default=0)
    width = -(-numbers // max(1, int(metadata.num_rows)))
    return max(1, min(_BATCH_ROWS, _BATCH_NUMBERS // max(1, width)))


def _numbers_in(metadata: pq.FileMetaData, name: str) -> int:
    """Elements that a file's lists of one column have together."""
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    chunks = [group.column(number) for group in groups for number in range(group.num_columns)]
    return sum(int(chunk.num_values) for chunk in chunks if chunk.path_in_schema.startswith(f"{name}."))


def find_files(patterns: Sequence[Path]) -> list[Path]:
    """The files that are meant, in order; raises BaselineError where there are none.

    What exists is a file or a folder, whatever its name; of a folder, all files in it and in its folders whose names
    end like one of rows and begin with neither a dot nor an underscore. All else is a pattern.
    """
    found: list[Path] = []
    for path in patterns:
        if path.is_dir():
            inside = [each.relative_to(path) for each in path.rglob("*")]
            named = [each for each in inside if each.name.lower().endswith(_ENDINGS)]
            there = sorted(path / each for each in named if not any(part[0] in "._" for part in each.parts))
            if not there:
                raise BaselineError(f"{path}: a folder without files that end in {', '.join(_ENDINGS)}")
        elif path.exists():
            there = [path]
        else:
            # Path.glob takes no absolute patterns.
            there = [Path(each) for each in sorted(glob.glob(str(path), recursive=True))]  # noqa: PTH207
            if not there:
                raise BaselineError(f"{path}: there is no such file")
        found += there
    return found


def _rows_of(files: Sequence[_File], options: ColumnOptions, source: str, held_cells_max: int) -> Rows:
    first = files[0]
    for file in files[1:]:
        if missing := sorted(set(first.schema.names) ^ set(file.schema.names)):
            raise BaselineError(f"{file.name}: column {missing[0]!r} is only in one of this file and {first.name}")
    types = {name: [file.schema.field(name).type for file in files] for name in first.schema.names}
    if _cells(files, types, options) > held_cells_max:
        empty = sorted(set.intersection(*(_empty_columns(file) for file in files)), key=list(types).index)
        rows = RowFiles(files, plan_columns(types, empty, options, source))
        rows.check_times()
        return rows
    unused = {name for name, column in options.roles.items() if column.role not in READ_ROLES} | options.ignore
    unused |= {
        name
        for name in types
        if any(map(is_list, types[name]))
        and name != options.timestamp
        and not is_marked(options.column(name), options.embeddings)
    }
    tables = [file.read([name for name in types if name not in unused]) for file in files]
    empty = [name for name in tables[0].schema.names if all(t.column(name).null_count == t.num_rows for t in tables)]
    return held(tables, plan_columns(types, empty, options, source))


def _empty_columns(file: _File) -> set[str]:
    """Columns that a file says have no value in it."""
    names = file.metadata.schema.names
    if file.metadata.num_columns != len(file.schema.names):
        return set()
    groups = [file.metadata.row_group(number) for number in range(file.metadata.num_row_groups)]

    def is_empty(position: int) -> bool:
        told = ((group.column(position).statistics, group.num_rows) for group in groups)
        return all(each is not None and each.has_null_count and each.null_count == rows for each, rows in told)

    return {name for position, name in enumerate(names) if is_empty(position)}


def _cells(files: Sequence[_File], types: Mapping[str, Sequence[pa.DataType]], options: ColumnOptions) -> int:
    """Numbers that these files take in memory: one for each value, and of vectors one for each of their elements."""
    vectors = [name for name in types if is_marked(options.column(name), options.embeddings)]
    return _count(files) * len(types) + sum(_numbers_in(file.metadata, name) for file in files for name in vectors)


def _count(files: Sequence[_File]) -> int:
    return sum(int(file.metadata.num_rows) for file in files)


def _check_names(source: str, named: set[str], there: list[str]) -> None:
    unknown = sorted(named - set(there))
    if unknown:
        raise BaselineError(
            f"{source}: no column named {', '.join(map(repr, unknown))}; the file has {', '.join(there)}"
        )


def _open(path: Path, timestamp: str | None) -> _File:
    source: str | pa.NativeFile = str(path)
    if path.name.lower().endswith(_CSV_ENDINGS):
        source = _converted(path)
    with _readable(str(path), "Parquet"):
        opened = pq.ParquetFile(source)
        texts = [each.name for each in opened.schema_arrow if is_text(each.type) and each.name != timestamp]
        file = _File(str(path), source, opened.metadata, opened.schema_arrow, texts)
    _check_unique(path, file.schema.names)
    return file


def _check_unique(path: Path, names: Sequence[str]) -> None:
    twice = sorted(name for name, times in Counter(names).items() if times > 1)
    if twice:
        raise BaselineError(f"{path}: two columns are called {twice[0]!r}")


def _converted(path: Path) -> pa.NativeFile:
    """The rows of a CSV file as a Parquet file that is gone when it is closed: read once, in bounded memory."""
    separator = "\t" if path.name.lower().endswith(".tsv") else ","
    with _readable(str(path), "CSV"), tempfile.TemporaryDirectory(prefix="driftmeter-") as folder:
        target = Path(folder) / "rows.parquet"
        head = pl.read_csv(path, separator=separator, has_header=False, n_rows=1, infer_schema=False, glob=False)
        _check_unique(path, [str(name) for name in head.row(0)])  # The reader would give one of them another name.
        rows = pl.scan_csv(path, separator=separator, try_parse_dates=True, infer_schema_length=None, glob=False)
        rows.sink_parquet(target, compression="lz4")
        return pa.OSFile(str(target))


@contextmanager
def _readable(name: str, kind: str) -> Iterator[None]:
    try:
        yield
    except (pl.exceptions.PolarsError, pa.ArrowException, OSError) as error:
        raise BaselineError(f"{name}: cannot be read as {kind}: {first_line(error)}") from error
