"""Where points are cut into requests: after so many samples, and before a request has too many bytes."""

from collections.abc import Iterator

import numpy as np
import polars as pl

from driftmeter.export.points import SERIES
from driftmeter.export.wire import Offsets

_LABEL_BYTES = 30
"""More than what stands around any label's value: its name, and tags and lengths of all messages it is in."""


def label_bytes(points: pl.DataFrame) -> Offsets:
    """Bytes that metric name and labels of each point take at most in any format, int64 of shape (rows,).

    Args:
        points: `POINTS_SCHEMA`; empty labels are not written and take none.
    """
    lengths = (pl.col(name).str.len_bytes().cast(pl.Int64) for name in SERIES)
    sizes = points.select(pl.sum_horizontal(length + _LABEL_BYTES * (length > 0) for length in lengths))
    return sizes.to_series().to_numpy()


def cut(sizes_bytes: Offsets, samples_max: int, bytes_max: int) -> Iterator[tuple[int, int]]:
    """First sample and number of samples of each request, in order; none is empty.

    Args:
        sizes_bytes: Size of each sample, int64 of shape (samples,).
        samples_max: Most samples of a request.
        bytes_max: Most bytes of a request's samples together; a sample that is larger by itself gets a request of
            its own.
    """
    ends = np.cumsum(sizes_bytes)
    first = 0
    while first < len(ends):
        before = ends[first] - sizes_bytes[first]
        fitting = int(np.searchsorted(ends, before + bytes_max, side="right")) - first
        count = max(1, min(fitting, samples_max))
        yield first, count
        first += count
