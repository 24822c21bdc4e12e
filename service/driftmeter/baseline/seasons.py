"""Counts by hour of the week as they stand in a baseline file."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from driftmeter.model.baseline import ColumnBaseline
from driftmeter.model.counts import Tally
from driftmeter.model.seasons import HOURS_OF_WEEK, ColumnSeasons


def pack_seasons(columns: Sequence[ColumnBaseline]) -> pa.Array:
    """A list of int64 per column for a baseline file: starts, tallies, places, bins; empty for those without."""
    return pa.array([_packed(each.seasons) for each in columns], pa.list_(pa.int64()))


def unpack_seasons(numbers: npt.NDArray[np.int64]) -> ColumnSeasons | None:
    """What `pack_seasons` made of a column; raises ValueError when it is something else."""
    if not len(numbers):
        return None
    head, tallies = HOURS_OF_WEEK + 1, HOURS_OF_WEEK * len(Tally)
    starts, rest = numbers[:head], numbers[head + tallies :]
    if len(numbers) < head + tallies or int(starts[-1]) * 2 != len(rest):
        raise ValueError("a column's hours of the week are not as they were written")
    return ColumnSeasons(
        starts.copy(),
        rest[: starts[-1]].astype(np.uint32),
        rest[starts[-1] :].astype(np.uint64),
        numbers[head : head + tallies].astype(np.uint64).reshape(HOURS_OF_WEEK, len(Tally)),
    )


def _packed(seasons: ColumnSeasons | None) -> npt.NDArray[np.int64]:
    if seasons is None:
        return np.empty(0, np.int64)
    parts = (seasons.starts, seasons.tallies.reshape(-1), seasons.places, seasons.bins)
    return np.concatenate([each.astype(np.int64) for each in parts])
