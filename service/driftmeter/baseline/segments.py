"""Reference rows by segment: the rows of one value of a column, as rows of their own."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from driftmeter.baseline.data import Rows
from driftmeter.errors import BaselineError
from driftmeter.model.columns import Column, Kind, Role
from driftmeter.model.segments import OTHER, label_of, values_of


@dataclass(frozen=True, eq=False)
class SegmentRows:
    """Some of the rows; see `Rows`. Each use reads all of them.

    Attributes:
        rows: All rows.
        mine: bool (rows.count,): which of them.
    """

    rows: Rows
    mine: npt.NDArray[np.bool_]

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns of all rows."""
        return self.rows.columns

    @property
    def kinds(self) -> Mapping[str, Kind]:
        """What each column holds, by field."""
        return self.rows.kinds

    @property
    def integers(self) -> frozenset[str]:
        """Fields whose values were integers."""
        return self.rows.integers

    @property
    def skipped(self) -> Mapping[str, str]:
        """Columns left out because of what they hold, and why."""
        return self.rows.skipped

    @cached_property
    def count(self) -> int:
        """How many rows there are."""
        return int(np.count_nonzero(self.mine))

    @property
    def timed(self) -> bool:
        """Whether they have times."""
        return self.rows.timed

    def batches(
        self, fields: Sequence[str], *, times: bool = False, first: int = 0, stop: int | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Rows `first` to `stop` of some fields; see `Rows`."""
        last = self.count if stop is None else stop
        before = there = 0
        for batch in self.rows.batches(fields, times=times):
            kept = batch.filter(pa.array(self.mine[before : before + batch.num_rows]))
            before += batch.num_rows
            begin, end = max(first - there, 0), min(last - there, kept.num_rows)
            there += kept.num_rows
            if begin < end:
                yield kept.slice(begin, end - begin)


def segments_of(rows: Rows, name: str, values_max: int) -> Iterator[tuple[str, SegmentRows]]:
    """Labels and rows of the segments of one column: its most frequent values, then all others together.

    Args:
        rows: Reference rows that hold the column, with the role of a segment.
        name: The column's name.
        values_max: Most values that get a segment of their own.

    Raises:
        BaselineError: It has no value, or a name that is none.
    """
    if "=" in name:
        raise BaselineError(f"--segment {name}: a segment's name has no =; give it another one: --segment COLUMN=NAME")
    field = Column(Role.SEGMENT, name).field
    commonest = _commonest(rows, field, values_max)
    if not commonest:
        raise BaselineError(f"--segment {name}: the column has no usable value")
    of_row = _places(rows, field, commonest)
    for place, value in enumerate([*commonest, OTHER]):
        mine = of_row == place
        if mine.any():
            yield label_of(name, value), SegmentRows(rows, mine)


def rows_of(rows: Rows, label: str, known: Sequence[str]) -> SegmentRows:
    """The rows of one segment; rows of a column's other values are its others.

    Args:
        rows: Rows that hold the column, with the role of a segment.
        label: The segment's label.
        known: Labels of all segments.
    """
    name, _, value = label.partition("=")
    values = values_of(known, name)
    place = values.index(value) if value in values else len(values)
    return SegmentRows(rows, _places(rows, Column(Role.SEGMENT, name).field, values) == place)


def _places(rows: Rows, field: str, values: Sequence[str]) -> npt.NDArray[np.uint16]:
    """uint16 (rows.count,): as `places_of`, of all rows."""
    of_row = np.empty(rows.count, np.uint16)
    first = 0
    for batch in rows.batches([field]):
        of_row[first : first + batch.num_rows] = places_of(batch.column(0), values)
        first += batch.num_rows
    return of_row


def places_of(values: pa.DictionaryArray, known: Sequence[str]) -> npt.NDArray[np.uint16]:
    """uint16 (rows,): the place of each row's value among those that are known; behind them for all else."""
    other = pa.scalar(len(known), pa.int32())
    places = pc.fill_null(pc.index_in(values.dictionary, pa.array(known, pa.string())), other)
    found: npt.NDArray[np.int32] = pc.fill_null(places.take(values.indices), other).to_numpy(zero_copy_only=False)
    return found.astype(np.uint16)


def _commonest(rows: Rows, field: str, values_max: int) -> list[str]:
    counted = pl.DataFrame(schema={"value": pl.String, "rows": pl.Int64})
    for batch in rows.batches([field]):
        values = batch.column(0)
        sizes = np.bincount(values.indices.drop_null().to_numpy(), minlength=len(values.dictionary))
        part = pl.DataFrame({"value": pl.Series(values.dictionary, dtype=pl.String), "rows": pl.Series(sizes)})
        counted = pl.concat([counted, part]).group_by("value").agg(pl.col("rows").sum())
    usable = counted.filter((pl.col("rows") > 0) & (pl.col("value") != OTHER))
    return usable.sort("rows", "value", descending=[True, False]).head(values_max)["value"].to_list()
