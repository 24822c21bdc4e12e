"""Embeddings: arrays that are one value of a row, and not one row per element.

The decoder makes a row of each element of an entry's arrays. Where an embedding is among a batch's columns, these rows
become one row per entry again, and the elements the vector of this row. So the arrays of one entry are all embeddings,
of one length, and other arrays beside them are not taken as batched inference. Entries may differ in that length: which
one is right only a baseline knows.
"""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from driftmeter.columnar.columns import ABSENT, MISMATCH, PRESENT, Cells
from driftmeter.columnar.rows import Rows
from driftmeter.summary.embeddings import DIMENSIONS_MAX


class Collapsed(NamedTuple):
    """A batch with one row per entry.

    Attributes:
        rows: Its rows.
        cells: Its cells.
        vectors: The column of vectors, of type `VECTORS`, by number of the column.
        dropped: Values that stood in rows which are no rows any more, of other columns: elements beside an embedding.
    """

    rows: Rows
    cells: Cells
    vectors: dict[int, pa.ListArray]
    dropped: int


def embedding_columns(names: Sequence[str], globs: Sequence[str]) -> list[int]:
    """Numbers of the columns, named `role.name`, that are embeddings."""
    return [
        number for number, name in enumerate(names) if any(fnmatchcase(name.partition(".")[2], glob) for glob in globs)
    ]


def collapse(rows: Rows, cells: Cells, columns: Sequence[int]) -> Collapsed:
    """One row per entry: its first one, and the vectors of all its rows.

    Args:
        rows: The batch's rows.
        cells: Its cells; columns of embeddings are numeric.
        columns: Those of embeddings.
    """
    sizes = np.ones(rows.entries, np.int64) if rows.of_entry is None else np.bincount(rows.of_entry)
    starts = np.cumsum(sizes) - sizes
    states = np.ascontiguousarray(cells.states[:, starts])
    dropped = _dropped(rows, cells, columns, starts)
    vectors = {column: _vectors(cells, column, starts, sizes, states[column]) for column in columns}
    kept = cells._replace(
        cells=np.ascontiguousarray(cells.cells[:, starts]),
        states=states,
        bits=np.packbits(states == PRESENT, axis=1, bitorder="little"),
        nulls=np.count_nonzero(states != PRESENT, axis=1),
        mismatches=np.count_nonzero(states == MISMATCH, axis=1),
    )
    index = np.zeros(rows.entries, np.uint16)
    return Collapsed(Rows(rows.entries, rows.entries, None, index), kept, vectors, dropped)


def _dropped(rows: Rows, cells: Cells, columns: Sequence[int], starts: npt.NDArray[np.int64]) -> int:
    """Values of other columns that differ from those of their entry's first row: elements, not repeated scalars."""
    if rows.of_entry is None:
        return 0
    others = np.setdiff1d(np.arange(len(cells.cells)), columns)
    first = starts[rows.of_entry]
    there = cells.states[others, : rows.count] == PRESENT
    same = (cells.cells[others, : rows.count] == cells.cells[others][:, first]) & there[:, first]
    return int(np.count_nonzero(there & ~same))


def _vectors(
    cells: Cells,
    column: int,
    starts: npt.NDArray[np.int64],
    sizes: npt.NDArray[np.int64],
    states: npt.NDArray[np.uint8],
) -> pa.ListArray:
    """One column's vectors; those that are too long or have something else than numbers count as of the wrong type.

    That is noted in `states`.
    """
    ends = starts + sizes
    some, whole = (
        np.concatenate(([0], np.cumsum(flags)))
        for flags in (cells.states[column] != ABSENT, cells.states[column] == PRESENT)
    )
    given = some[ends] > some[starts]
    fits = given & (sizes <= DIMENSIONS_MAX) & (whole[ends] - whole[starts] == sizes)
    states[given & ~fits] = MISMATCH
    states[fits] = PRESENT
    taken = np.where(fits, sizes, 0)
    offsets = np.concatenate(([0], np.cumsum(taken))).astype(np.int32)
    numbers = cells.cells[column, : sizes.sum()][np.repeat(fits, sizes)].view(np.float64)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(numbers), mask=pa.array(~fits))
