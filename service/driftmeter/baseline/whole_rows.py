"""What a baseline's chunks say of whole rows: how many repeat another one of their chunk."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from driftmeter.baseline.chunks import Cut
from driftmeter.baseline.data import Rows
from driftmeter.baseline.timeline import Timeline
from driftmeter.methods.ratios import DUPLICATES, INCOMPLETE
from driftmeter.model.baseline import ColumnBaseline
from driftmeter.model.contents import NO_CONTENTS, Contents, Hashes
from driftmeter.model.layout import Layout
from driftmeter.model.windows import WindowLength
from driftmeter.summary.slots import order_rows
from driftmeter.summary.whole_rows import hash_contents

Ints = npt.NDArray[np.int64]

_COLUMNS_AT_A_TIME = 16
"""Columns that are read at once, for 8 bytes a row: with all of them at once a batch of a wide file would be huge."""


def whole_ratios(
    data: Rows, timeline: Timeline, cuts: Mapping[WindowLength, Cut], columns: Sequence[ColumnBaseline]
) -> dict[WindowLength, dict[str, Ints]]:
    """Per window length and ratio of whole rows, how many rows of each chunk it counts, int64 (chunks,).

    Repeated rows are counted as those of live windows are, from as many contents, so that what these vary by for being
    estimated is in the chunks, too. No row of a file lacks attributes that its sender dropped.

    Args:
        data: The rows; all columns are read once more.
        timeline: Which window each is in.
        cuts: The chunks.
        columns: The columns that make up a row's content.
    """
    if not cuts:
        return {}
    hashes = _hashes(data, columns)
    return {
        length: {
            DUPLICATES.key: _repeated(hashes, timeline.slots(length, 0, data.count), cut),
            INCOMPLETE.key: np.zeros(cut.chunks, np.int64),
        }
        for length, cut in cuts.items()
    }


def _hashes(data: Rows, columns: Sequence[ColumnBaseline]) -> Hashes:
    """uint64 (rows,): of the content of each row."""
    hashes = np.zeros(data.count, np.uint64)
    for first in range(0, len(columns), _COLUMNS_AT_A_TIME):
        some = columns[first : first + _COLUMNS_AT_A_TIME]
        layout = Layout(tuple(each.column for each in some), tuple(each.bins for each in some), np.zeros(len(some)))
        row = 0
        for batch in data.batches([each.column.field for each in some]):
            hashes[row : row + batch.num_rows] += hash_contents(layout, batch)  # Those of parts add up.
            row += batch.num_rows
    return hashes


def _repeated(hashes: Hashes, slots: npt.NDArray[np.int32], cut: Cut) -> Ints:
    """int64 (chunks,): rows of each chunk that repeat another one of it."""
    ordered = order_rows(slots, cut.chunks + 1)
    bounds = ordered.bounds.tolist()
    found = np.zeros(cut.chunks, np.int64)
    for chunk, (first, end) in enumerate(pairwise(bounds[: cut.chunks + 1])):
        mine = hashes[ordered.order[first:end]] if len(ordered.order) else hashes[first:end]
        repeated = Contents.of(mine, NO_CONTENTS).repeated(end - first)
        assert repeated is not None  # noqa: S101 - all rows were looked at.
        found[chunk] = repeated
    return found
