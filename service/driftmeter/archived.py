"""Rows of production traffic out of a service's archive, for baselines; also while the service runs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from itertools import accumulate
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from driftmeter.baseline.data import TIME_FIELD, kind_of_field, typed
from driftmeter.baseline.files import rows_at_once
from driftmeter.errors import BaselineError, ConfigError
from driftmeter.journal.archive_layout import HOUR_NS, Hour, first_of, hours
from driftmeter.journal.files import RealFiles
from driftmeter.model.columns import Column, Kind, is_scored_field
from driftmeter.model.windows import instant_ns, parse_duration_ns


@dataclass(frozen=True, eq=False)
class _File:
    path: Path
    rows: int
    schema: pa.Schema


@dataclass(frozen=True, eq=False)
class ArchivedReference:
    """Rows of some archive files, as `baseline.data.Rows` asks for them: each use reads what it needs.

    A column that a file does not have is missing in its rows. One that holds numbers here and texts there holds texts;
    one that holds vectors anywhere holds vectors.

    Attributes:
        files: Them, in the order of their hours.
        integers: None: the archive holds all numbers as float64.
        skipped: None.
    """

    files: Sequence[_File]
    integers: frozenset[str] = frozenset()
    skipped: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def kinds(self) -> Mapping[str, Kind]:
        """What each column holds, by field."""
        found: dict[str, Kind] = {}
        for file in self.files:
            for each in file.schema:
                if is_scored_field(each.name):
                    found[each.name] = _wider(found.get(each.name), kind_of_field(each))
        return dict(sorted(found.items()))

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns, by name."""
        return tuple(map(Column.from_field, self.kinds))

    @property
    def count(self) -> int:
        """How many rows there are."""
        return sum(file.rows for file in self.files)

    @property
    def timed(self) -> bool:
        """They all have times."""
        return True

    def empty(self) -> frozenset[str]:
        """Fields that never have a value; reads all columns."""
        left = set(self.kinds)
        for file in self.files:
            if not left:
                break
            there = [name for name in left if name in file.schema.names]
            opened = pq.ParquetFile(file.path)
            for batch in opened.iter_batches(rows_at_once(opened.metadata, file.schema, there), columns=there):
                left -= {name for name in there if batch.column(name).null_count < batch.num_rows}
        return frozenset(left)

    def batches(
        self, fields: Sequence[str], *, times: bool = False, first: int = 0, stop: int | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Batches of up to 262,144 rows; see `baseline.data.Rows`.

        Raises:
            BaselineError: A file cannot be read any more.
        """
        wanted = [*fields, *([TIME_FIELD] if times else [])]
        last = self.count if stop is None else stop
        starts = accumulate((file.rows for file in self.files), initial=0)
        for file, start in zip(self.files, starts, strict=False):
            if start < last and start + file.rows > first:
                yield from self._of(file, wanted, max(first - start, 0), min(last - start, file.rows))

    def _of(self, file: _File, wanted: Sequence[str], first: int, stop: int) -> Iterator[pa.RecordBatch]:
        there = [name for name in wanted if name in file.schema.names] or ["row_index"]
        position = 0
        try:
            opened = pq.ParquetFile(file.path)
            for batch in opened.iter_batches(rows_at_once(opened.metadata, file.schema, there), columns=there):
                begin, end = max(first - position, 0), min(stop - position, batch.num_rows)
                position += batch.num_rows
                if begin < end:
                    part = batch.slice(begin, end - begin)
                    yield pa.RecordBatch.from_arrays([self._array(part, name) for name in wanted], list(wanted))
        except (pa.ArrowException, OSError) as error:
            raise BaselineError(
                f"{file.path}: cannot be read any more ({error}); the service may have removed it: begin again"
            ) from error

    def _array(self, rows: pa.RecordBatch, name: str) -> pa.Array:
        if name == TIME_FIELD:
            return rows.column(name)
        position = rows.schema.get_field_index(name)
        values = rows.column(position) if position >= 0 else pa.nulls(rows.num_rows, pa.float64())
        return typed(values, self.kinds.get(name, Kind.CATEGORICAL))  # Segments are no columns to compare.


def _wider(one: Kind | None, other: Kind) -> Kind:
    """What a column holds that holds one in some files and the other in others."""
    return max(filter(None, (one, other)), key=(Kind.NUMERIC, Kind.CATEGORICAL, Kind.EMBEDDING).index)


def archived_reference(
    archive: Path, model: str, version: str | None, stage: str | None, since_ns: int, until_ns: int
) -> ArchivedReference:
    """Rows of one model, of whole hours.

    Args:
        archive: The directory `archive` of a service's journal.
        model: The model's name.
        version: Its version; None takes the rows of all.
        stage: Its stage; None takes those of the one that there is.
        since_ns: Hours that end after this are taken, nanoseconds since the epoch.
        until_ns: Hours that begin before this are.

    Raises:
        BaselineError: There are none, in words that say what there is.
    """
    everything = _hours(archive)
    mine = [each for each in everything if each.key.model == model and version in (None, each.key.version)]
    if not mine:
        raise BaselineError(_nothing(archive, model, version, everything))
    stages = sorted({each.key.stage for each in mine})
    if stage is None and len(stages) > 1:
        raise BaselineError(
            f"model {model!r} has rows of several stages ({', '.join(map(repr, stages))}): name one with --stage"
        )
    picked = [
        each
        for each in mine
        if stage in (None, each.key.stage) and (each.hour + 1) * HOUR_NS > since_ns and each.hour * HOUR_NS < until_ns
    ]
    files = [file for each in sorted(picked, key=lambda each: (each.hour, each.key)) for file in _files(each)]
    rows = ArchivedReference(files)
    if rows.count == 0:
        raise BaselineError(
            f"{archive}: no rows of model {model!r} in that time; there are some from {_span(mine)}. What came in the "
            "last hour may not be in the archive yet"
        )
    if not rows.kinds:
        raise BaselineError(f"{archive}: rows of model {model!r} have neither features nor predictions")
    return rows


def time_span_ns(since: str, until: str | None, now_ns: int) -> tuple[int, int]:
    """Begin and end, nanoseconds since the epoch, of times as users give them.

    Args:
        since: A duration before the end, such as 7d, or a time in ISO 8601, in UTC unless it says otherwise.
        until: A duration before now, or such a time; None is now.
        now_ns: The time.

    Raises:
        ConfigError: They are neither, or the end is not after the begin.
    """
    end_ns = now_ns if until is None else _option_ns("--until", until, now_ns)
    start_ns = _option_ns("--since", since, end_ns)
    if start_ns >= end_ns:
        raise ConfigError(f"--since {since} is not before --until {until or 'now'}")
    return start_ns, end_ns


def _option_ns(option: str, text: str, end_ns: int) -> int:
    try:
        return end_ns - parse_duration_ns(text)
    except ConfigError:
        pass
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(
            f"{option} {text!r}: write a duration such as 7d, or a time such as 2025-03-01 or 2025-03-01T14:00"
        ) from None
    return instant_ns(time)


def _hours(archive: Path) -> list[Hour]:
    if not archive.is_dir():
        raise BaselineError(
            f"{archive}: there is no archive; is journal.archive.enabled, and has the service run for an hour?"
        )
    try:
        return list(hours(RealFiles(), archive))
    except OSError as error:
        raise BaselineError(f"{archive}: cannot be read: {error.strerror or error}") from error


def _files(hour: Hour) -> Iterator[_File]:
    """Its files that are whole; one that goes meanwhile is passed over."""
    for path in sorted(each for each in hour.path.glob("*.parquet") if first_of(each.name) is not None):
        try:
            file = pq.ParquetFile(path)
            yield _File(path, file.metadata.num_rows, file.schema_arrow)
        except FileNotFoundError:
            continue
        except (pa.ArrowException, OSError) as error:
            raise BaselineError(f"{path}: cannot be read ({error}); see: driftmeter journal verify") from error


def _nothing(archive: Path, model: str, version: str | None, everything: Sequence[Hour]) -> str:
    versions = sorted({each.key.version for each in everything if each.key.model == model})
    if versions:
        return (
            f"{archive}: no rows of version {version!r} of model {model!r}; there are {', '.join(map(repr, versions))}"
        )
    models = sorted({each.key.model for each in everything})
    there = f"there are {', '.join(map(repr, models))}" if models else "it is empty: rows come an hour after they came"
    return f"{archive}: no rows of model {model!r}; {there}"


def _span(found: Sequence[Hour]) -> str:
    in_order = sorted(found, key=lambda each: each.hour)
    return " to ".join(map(_hour_text, (in_order[0], in_order[-1])))


def _hour_text(hour: Hour) -> str:
    return f"{hour.path.parent.name.removeprefix('date=')} {hour.path.name.removeprefix('hour=')}:00"
