"""`Predictions`: one batch of rows of one model, as they leave `columnar` and enter `window`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

FIXED_FIELDS = (
    pa.field("event_time", pa.timestamp("ns", tz="UTC"), nullable=False),  # The span's end, or the log record's time.
    pa.field("span_key", pa.uint64(), nullable=False),  # 64 bits of (trace id, span id); of a log record's bytes.
    pa.field("row_index", pa.uint16(), nullable=False),  # Element of its span's arrays; 0 without.
    pa.field("trace_id", pa.binary(), nullable=False),  # 16 bytes; empty when the sender gave none.
    pa.field("span_id", pa.binary(), nullable=False),  # 8 bytes; empty when the sender gave none.
    pa.field("prediction_id", pa.string()),
    pa.field("duration", pa.duration("ns"), nullable=False),
    pa.field("error", pa.bool_(), nullable=False),  # The span's status is ERROR.
    pa.field("weight", pa.float64(), nullable=False),  # 1 / sampling probability; 1 when unsampled.
    pa.field("dropped_attributes_count", pa.uint32(), nullable=False),
)
"""Fields every batch starts with. Data fields follow, named `Column.field`: float64 for numeric columns
(null is missing, NaN and infinities are kept), dictionary<int32, string> for categorical ones, and list<float64> for
embeddings."""


class ModelKey(NamedTuple):
    """What a stream of predictions belongs to. Empty strings stand for attributes that were absent."""

    model: str
    version: str
    stage: str


@dataclass(frozen=True, slots=True)
class Predictions:
    """Rows of one model, version and stage out of one request.

    A span or log record has one row, or, when it has arrays, one for each element: these stand together, share
    `span_key`, ids, times and scalars, and are numbered by `row_index` from 0. So rows numbered 0 are as many as spans.

    Attributes:
        key: The model, version and stage.
        rows: `FIXED_FIELDS`, then one field per column present in the batch.
        mismatches: Per field name, the row numbers (uint32, ascending) whose value had the wrong type and is
            therefore null in `rows`. Fields without such rows are absent.
    """

    key: ModelKey
    rows: pa.RecordBatch
    mismatches: Mapping[str, npt.NDArray[np.uint32]] = field(default_factory=dict)

    def keep(self, rows: npt.NDArray[np.bool_]) -> "Predictions":
        """The batch with some of its rows alone.

        Args:
            rows: bool (rows,): which to keep.
        """
        renumbered = np.cumsum(rows, dtype=np.uint32) - np.uint32(1)
        kept = {name: renumbered[numbers[rows[numbers]]] for name, numbers in self.mismatches.items()}
        mismatches = {name: numbers for name, numbers in kept.items() if len(numbers)}
        return Predictions(self.key, self.rows.filter(pa.array(rows)), mismatches)
