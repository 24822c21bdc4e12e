"""Rows of the table that entries with arrays become: one per element."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from driftmeter.columnar.layout import (
    ARRAY,
    ATTRIBUTE_TYPE,
    ATTRIBUTE_VALUE,
    PREDICTION_ID,
    SPAN_ROWS,
    SPAN_SPECIAL,
    UNUSUAL,
    Flat,
    Ints,
)


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of a batch.

    Attributes:
        count: How many there are.
        entries: How many spans or log records they belong to.
        of_entry: Which of these each belongs to; None when each is one row.
        index: Which element of that entry's arrays it is.
    """

    count: int
    entries: int
    of_entry: Ints | None
    index: npt.NDArray[np.uint16]


def fitting_rows(flat: Flat, spans: Ints, width: int, width_of_further: int, cells: int) -> Rows:
    """Rows of as many of the first entries as fit.

    Args:
        flat: The request.
        spans: Entries.
        width: Cells of a row.
        width_of_further: Cells that each row of an entry but its first has besides these: an entry of some bytes must
            not become thousands of rows whose ids, times and weights are not counted.
        cells: Room.
    """
    if not flat.state[UNUSUAL]:
        return _one_each(min(spans.size, cells // width))
    sizes = flat.spans[spans, SPAN_ROWS]
    ends = np.cumsum(sizes * width + (sizes - 1) * width_of_further)
    sizes = sizes[: np.searchsorted(ends, cells, side="right")]
    count = int(sizes.sum())
    if count == sizes.size:
        return _one_each(count)
    of_entry = np.repeat(np.arange(sizes.size), sizes)
    starts = np.cumsum(sizes) - sizes
    return Rows(count, sizes.size, of_entry, (np.arange(count) - starts[of_entry]).astype(np.uint16))


def _one_each(count: int) -> Rows:
    return Rows(count, count, None, np.zeros(count, np.uint16))


def prediction_id_rows(flat: Flat, spans: Ints, rows: Rows) -> Ints:
    """The attribute that holds each row's prediction id, -1 for none."""
    ids: Ints = flat.spans[spans, SPAN_SPECIAL + PREDICTION_ID]
    if not flat.state[UNUSUAL]:
        return ids
    arrays = (ids >= 0) & (flat.attributes[ids, ATTRIBUTE_TYPE] == ARRAY)
    first = np.where(arrays, flat.attributes[ids, ATTRIBUTE_VALUE], ids)
    if rows.of_entry is None:
        return first
    return np.where(arrays[rows.of_entry], first[rows.of_entry] + rows.index, first[rows.of_entry])
