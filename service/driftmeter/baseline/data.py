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
    frame = _read_file(path)
    if frame.is_empty():
        raise BaselineError(f"{path}: there are no rows in it")
    named = {*options.roles, *options.ignore, *([options.timestamp] if options.timestamp else [])}
    unknown = sorted(named - set(frame.columns))
    if unknown:
        there = ", ".join(frame.columns)
        raise BaselineError(f"{path}: no column named {', '.join(map(repr, unknown))}; the file has {there}")
    return to_dataset(frame, options, str(path))


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
        if array is None:
            skipped[series.name] = f"values of type {series.dtype} are neither numbers nor categories"
        elif series.null_count() == len(series):
            skipped[series.name] = "all its values are missing"
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
    try:
        if path.name.lower().endswith(_CSV_ENDINGS):
            separator = "\t" if path.name.lower().endswith(".tsv") else ","
            return pl.read_csv(path, separator=separator, try_parse_dates=True, infer_schema_length=None)
        return pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise BaselineError(
            f"{path}: cannot be read as {'CSV' if 'csv' in path.name else 'Parquet'}: {error}"
        ) from error


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
            series = series.cast(pl.Datetime("ns", "UTC"))
        elif isinstance(series.dtype, pl.Datetime):
            zone = series.dtype.time_zone
            series = series.dt.replace_time_zone("UTC") if zone is None else series.dt.convert_time_zone("UTC")
        else:
            raise BaselineError(
                f"{source}: column {series.name!r} of type {series.dtype} cannot be a timestamp: "
                "give dates with times, or ISO 8601 texts"
            )
    except pl.exceptions.PolarsError as error:
        raise BaselineError(f"{source}: column {series.name!r} cannot be read as times: {error}") from error
    if series.null_count():
        raise BaselineError(f"{source}: column {series.name!r} lacks a time in {series.null_count()} rows")
    return series.dt.epoch("ns").to_numpy()
