"""Parts of a batch of rows."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from driftmeter.model.predictions import Predictions

Times = npt.NDArray[np.int64]


def event_times_ns(rows: pa.RecordBatch) -> Times:
    """int64 (rows,): `event_time` in nanoseconds since the epoch."""
    times: Times = rows.column("event_time").view("int64").to_numpy()
    return times


def keep_from(batch: Predictions, first_ns: int) -> tuple[Predictions, int]:
    """The rows of this event time or later, and how many rows are older."""
    keep = event_times_ns(batch.rows) >= first_ns
    older = int(keep.size - keep.sum())
    return (batch.keep(keep), older) if older else (batch, 0)


def slice_rows(batch: Predictions, first: int, count: int) -> Predictions:
    """Rows [first, first + count), as a view, and the row numbers of mismatches among them."""
    part = {
        name: numbers[(numbers >= first) & (numbers < first + count)] - np.uint32(first)
        for name, numbers in batch.mismatches.items()
    }
    return Predictions(batch.key, batch.rows.slice(first, count), part)
