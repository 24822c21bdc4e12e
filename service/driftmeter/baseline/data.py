"""Files of rows (Parquet or CSV) to typed columns, with the roles that the user gives them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from driftmeter.errors import BaselineError
from driftmeter.model.columns import SCORED_ROLES, Column, Role

_CSV_ENDINGS = (".csv", ".csv.gz", ".tsv")
_FIRST_MS, _LAST_MS = -(2**63) // 10**6 + 1, 2**63 // 10**6 - 1  # What nanoseconds in 64 bits reach.


@dataclass(frozen=True)
class ColumnOptions:
    """Which columns of a file mean what; every other column is a feature.

    Attributes:
        timestamp: Column with the time of each prediction; None when there is none.
        roles: Columns that are not features, by their name in the file.
        ignore: Columns to leave out.
    """

    timestamp: str | None = None
    roles: Mapping[str, Column] = field(default_factory=dict)
    ignore: frozenset[str] = frozenset()

    @classmethod
    def of(
        cls,
        timestamp: str | None = None,
        predictions: list[str] | None = None,
        probabilities: list[str] | None = None,
        labels: list[str] | None = None,
        ignore: list[str] | None = None,
    ) -> "ColumnOptions":
        """Options as given on a command line: `COLUMN`, or `COLUMN=NAME` when the model calls it something else."""
        given = ((Role.PREDICTION, predictions), (Role.PROBABILITY, probabilities), (Role.LABEL, labels))
        roles: dict[str, Column] = {}
        for role, texts in given:
            for text in texts or []:
                source, _, name = text.partition("=")
                if source in roles:
                    raise BaselineError(f"column {source!r} is given two roles: {roles[source].role} and {role}")
                roles[source] = Column(role, name or source)
        return cls(timestamp, roles, frozenset(ignore or []))


@dataclass(frozen=True, eq=False)
class Dataset:
    """Rows as the service's own tables hold them.

    Attributes:
        rows: Fields `Column.field`, float64 or dictionary<int32, string>, for the scored roles.
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
        return tuple(Column.from_field(name) for name in self.rows.schema.names)


def read_dataset(path: Path, options: ColumnOptions) -> Dataset:
    """Rows of a Parquet or CSV file; raises BaselineError that says what is wrong with it."""
    return read_datasets([path], options)[0]


def read_datasets(paths: list[Path], options: ColumnOptions) -> list[Dataset]:
    """Rows of files that are described by the same options.

    Columns that are left out or are labels need only be in one of them: what is to be judged often has no labels yet.

    Raises:
        BaselineError: Says what is wrong with which file.
    """
    frames = [_read_rows(path) for path in paths]
    for path, frame in zip(paths, frames, strict=True):
        needed = {name for name, column in options.roles.items() if column.role in SCORED_ROLES}
        _check_names(path, needed | ({options.timestamp} if options.timestamp else set()), frame.columns)
    anywhere = list(dict.fromkeys(name for frame in frames for name in frame.columns))
    _check_names(paths[0], {*options.roles, *options.ignore}, anywhere)
    return [to_dataset(frame, options, str(path)) for path, frame in zip(paths, frames, strict=True)]


def _check_names(path: Path, named: set[str], there: list[str]) -> None:
    unknown = sorted(named - set(there))
    if unknown:
        raise BaselineError(f"{path}: no column named {', '.join(map(repr, unknown))}; the file has {', '.join(there)}")


def _read_rows(path: Path) -> pl.DataFrame:
    frame = _read_file(path)
    if frame.is_empty():
        raise BaselineError(f"{path}: there are no rows in it")
    return frame


def to_dataset(frame: pl.DataFrame, options: ColumnOptions, source: str) -> Dataset:
    """The same from a frame in memory; `source` names it in messages."""
    times_ns = _times(frame[options.timestamp], source) if options.timestamp else None
    arrays: dict[str, pa.Array] = {}
    integers: set[str] = set()
    skipped: dict[str, str] = {}
    for series in frame.iter_columns():
        column = options.roles.get(series.name, Column(Role.FEATURE, series.name))
        if series.name == options.timestamp or series.name in options.ignore or column.role not in SCORED_ROLES:
            continue
        array = _typed(series)
        if series.null_count() == len(series):
            skipped[series.name] = "all its values are missing"
        elif array is None:
            skipped[series.name] = f"values of type {series.dtype} are neither numbers nor categories"
        elif column.field in arrays:
            raise BaselineError(f"{source}: two columns are the {column.role} {column.name!r}; give each its own name")
        else:
            arrays[column.field] = array
            if series.dtype.is_integer():
                integers.add(column.field)
    if not arrays:
        raise BaselineError(f"{source}: no column is left to compare; all are ignored, labels, empty or of other types")
    return Dataset(pa.RecordBatch.from_pydict(arrays), times_ns, frozenset(integers), skipped)


def _read_file(path: Path) -> pl.DataFrame:
    if not path.exists():
        raise BaselineError(f"{path}: there is no such file")
    name = path.name.lower()
    kind = "CSV" if name.endswith(_CSV_ENDINGS) else "Parquet"
    try:
        if kind == "Parquet":
            return pl.read_parquet(path, glob=False)
        separator = "\t" if name.endswith(".tsv") else ","
        return pl.read_csv(path, separator=separator, try_parse_dates=True, infer_schema_length=None, glob=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise BaselineError(f"{path}: cannot be read as {kind}: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    """What polars says before it goes on to hints for programmers."""
    return str(error).partition("\n")[0]


def _typed(series: pl.Series) -> pa.Array | None:
    dtype = series.dtype
    if dtype == pl.Boolean:
        series = series.cast(pl.String)
    if dtype.is_numeric():
        return series.cast(pl.Float64).to_arrow()
    if dtype in (pl.Boolean, pl.String) or isinstance(dtype, pl.Categorical | pl.Enum):
        return series.cast(pl.String).to_arrow().cast(pa.string()).dictionary_encode()
    return None


def _times(series: pl.Series, source: str) -> npt.NDArray[np.int64]:
    """Times in nanoseconds; texts are read as ISO 8601 and times without a zone as UTC."""
    try:
        if series.dtype == pl.String:
            series = series.str.to_datetime(time_unit="ns", time_zone="UTC")
        elif series.dtype == pl.Date:
            series = series.cast(pl.Datetime("ms", "UTC"))
        elif isinstance(series.dtype, pl.Datetime):
            zone = series.dtype.time_zone
            series = series.dt.replace_time_zone("UTC") if zone is None else series.dt.convert_time_zone("UTC")
        else:
            raise BaselineError(
                f"{source}: column {series.name!r} of type {series.dtype} cannot be a timestamp: "
                "give dates with times, or ISO 8601 texts"
            )
    except pl.exceptions.PolarsError as error:
        raise BaselineError(
            f"{source}: column {series.name!r} cannot be read as times: {_first_line(error)}"
        ) from error
    if series.null_count():
        raise BaselineError(f"{source}: column {series.name!r} lacks a time in {series.null_count()} rows")
    instants = series.dt.epoch("ms")
    if instants.min() < _FIRST_MS or instants.max() > _LAST_MS:  # type: ignore[operator]  # No nulls, so numbers.
        raise BaselineError(f"{source}: column {series.name!r} has times outside the years 1678 to 2261")
    return series.dt.epoch("ns").to_numpy()
