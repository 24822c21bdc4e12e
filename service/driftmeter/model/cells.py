"""Look-up cells over the edges of a numeric column: how to find a value's bin without a search through all edges.

A cell is a monotone function of the value. So a value in cell c has between lookup[c] and lookup[c + 1] edges at or
below it, exactly, whatever the rounding in `cells_of`; what is left to search are the edges of one cell. Cells of one
width serve most columns. Where the reference has far outliers these would leave hundreds of edges in one cell: then
cells grow with the distance from an origin, as floating-point numbers do.
"""

import sys
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

CELLS = 4_096
"""Cells of a column, but for the one of its last edge."""

_CROWDED = 8
"""Edges in one cell from which other cells are tried."""

_OCTAVES = (8, 16, 24, 4, 32)
"""Powers of two between the farthest edge and the end of the cells around the origin, in the order they are tried."""

MAGNITUDE = 0x7FFFFFFFFFFFFFFF
"""All bits of a double but its sign: ordered as the magnitudes of numbers are."""

ONE_CELL = 64
"""The shift of columns that have no growing cells."""


class Cells(NamedTuple):
    """How values are numbered.

    Attributes:
        origin: Of cells of one width, the first edge. Feature units, like the values.
        per_unit: Cells per feature unit, for cells of one width; 0 for growing ones and for a single cell.
        floor: Of growing cells: the bits of the distance below which all is one cell.
        shift: How many of the bits of a distance are not looked at; ONE_CELL for other cells.
        middle: The cell of the origin.
    """

    origin: float
    per_unit: float
    floor: int = 0
    shift: int = ONE_CELL
    middle: int = 0


def cells_of(values: Floats, cells: Cells) -> npt.NDArray[np.int64]:
    """Cell of each value between the first and the last edge: the same arithmetic as the compiled fold's."""
    if cells.per_unit > 0:
        return np.asarray(np.minimum((values - cells.origin) * cells.per_unit, CELLS).astype(np.int64))
    if cells.shift >= ONE_CELL:
        return np.zeros(len(values), np.int64)
    bits = (values - cells.origin).view(np.int64)
    steps = np.maximum((bits & MAGNITUDE) - cells.floor, 0) >> cells.shift
    return np.asarray(np.clip(cells.middle + np.where(bits < 0, -steps, steps), 0, CELLS))


def choose_cells(edges: Floats) -> Cells:
    """The cells that leave the fewest edges to search, of one width when that is few enough."""
    best = _even_cells(edges)
    crowd = _crowd(edges, best)
    if crowd < _CROWDED or best.per_unit == 0:
        return best
    for cells in _growing_cells(edges):
        others = _crowd(edges, cells)
        if others.bit_length() < crowd.bit_length():
            best, crowd = cells, others
        if crowd < _CROWDED:
            break
    return best


def look_up_table(edges: Floats, cells: Cells) -> npt.NDArray[np.int32]:
    """int32 (CELLS + 2,): number of edges whose cell is before this one."""
    counts = np.bincount(cells_of(edges, cells), minlength=CELLS + 1)
    return np.concatenate(([0], np.cumsum(counts))).astype(np.int32)


def _crowd(edges: Floats, cells: Cells) -> int:
    """Edges in the fullest cell."""
    return int(np.bincount(cells_of(edges, cells)).max())


def _even_cells(edges: Floats) -> Cells:
    """Cells of one width; a single one when the range is empty or too wide for a finite scale."""
    span = float(edges[-1]) - float(edges[0])
    per_unit = CELLS / max(span, sys.float_info.min)
    return Cells(float(edges[0]), per_unit if 0 < span < np.inf and per_unit < np.inf else 0.0)


def _growing_cells(edges: Floats) -> Iterator[Cells]:
    """Cells that grow from the first edge, from the middle one and from the last one."""
    for origin in (edges[0], edges[len(edges) // 2], edges[-1]):
        far = np.array([origin - edges[0], edges[-1] - origin, max(origin - edges[0], edges[-1] - origin)])
        for octaves in _OCTAVES:
            floor = int(np.ldexp(far[2:], -octaves).view(np.int64)[0])
            below, above = np.maximum(far[:2].view(np.int64) - floor, 0).tolist()
            shift = max(0, (below + above).bit_length() - CELLS.bit_length() + 1)
            if (below >> shift) + (above >> shift) > CELLS:
                shift += 1
            yield Cells(float(origin), 0.0, floor, shift, below >> shift)
