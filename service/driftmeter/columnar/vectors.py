"""Embeddings: arrays that are one value of a row, and not one row per element.

The decoder makes a row of each element of an entry's arrays. Where an embedding is among a batch's columns, these rows
become one row per entry again, and the elements the vector of this row. So the arrays of one entry are all embeddings,
of one length, and other arrays beside them are not taken as batched inference.
"""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from driftmeter.columnar.columns import MISMATCH, PRESENT, Cells
from driftmeter.columnar.rows import Rows

DIMENSIONS_MAX = 4_096
"""Longest vector that is taken; longer ones are values of the wrong type."""


class Collapsed(NamedTuple):
    """A batch with one row per entry.

    Attributes:
        rows: Its rows.
        cells: Its cells.
        vectors: The column of vectors, by number of the column.
        dropped: Values that stood in rows which are no rows any more, of other columns: elements beside an embedding.
    """

    rows: Rows
    cells: Cells
    vectors: dict[int, pa.FixedSizeListArray]
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
) -> pa.FixedSizeListArray:
    """One column's vectors; entries of another length than most have count as of the wrong type, in `states`."""
    given = cells.states[column, starts] != 0
    lengths = sizes[given & (sizes <= DIMENSIONS_MAX)]
    dimensions = int(np.bincount(lengths).argmax()) if len(lengths) else 1
    fits = given & (sizes == dimensions)
    places = np.where(fits, starts, 0)[:, None] + np.where(fits, 1, 0)[:, None] * np.arange(dimensions)
    fits &= (cells.states[column][places] == PRESENT).all(axis=1)
    states[given & ~fits] = MISMATCH
    numbers = np.where(fits[:, None], cells.cells[column][places].view(np.float64), 0.0)
    states[fits] = PRESENT
    return pa.FixedSizeListArray.from_arrays(pa.array(numbers.ravel()), dimensions, mask=pa.array(~fits))
