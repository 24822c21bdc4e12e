"""Batches of rows that wait, as part of a state."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from driftmeter.errors import DamagedError
from driftmeter.model.bundle import Tree
from driftmeter.model.predictions import FIXED_FIELDS, ModelKey, Predictions
from driftmeter.model.stored import Stored


def batches_state(batches: Sequence[Predictions]) -> Tree:
    """All of them, for `batches_from_state`."""
    return [
        {"rows": batch.rows, "mismatches": {name: rows for name, rows in batch.mismatches.items()}}  # noqa: C416
        for batch in batches
    ]


def batches_from_state(key: ModelKey, tree: Tree) -> list[Predictions]:
    """The batches of one model; raises DamagedError when the tree is none of `batches_state`."""
    if not isinstance(tree, list):
        raise DamagedError("stored rows that wait are no list")
    return [_batch(key, Stored(item)) for item in tree]


def joined(batches: Sequence[Predictions]) -> Predictions:
    """Batches of one model and schema as one, in their order; at least one."""
    if len(batches) == 1:
        return batches[0]
    table = pa.Table.from_batches([each.rows for each in batches]).unify_dictionaries().combine_chunks()
    (rows,) = table.to_batches()
    mismatches: dict[str, list[np.ndarray]] = {}
    first = 0
    for each in batches:
        for name, numbers in each.mismatches.items():
            mismatches.setdefault(name, []).append(numbers + np.uint32(first))
        first += each.rows.num_rows
    return Predictions(batches[0].key, rows, {name: np.concatenate(parts) for name, parts in mismatches.items()})


def _batch(key: ModelKey, stored: Stored) -> Predictions:
    rows, mismatches = stored.rows("rows"), stored.member("mismatches")
    if not rows.schema.names[: len(FIXED_FIELDS)] == [field.name for field in FIXED_FIELDS]:
        raise DamagedError("stored rows that wait are no predictions")
    return Predictions(key, rows, {name: mismatches.array(name, np.uint32, None) for name in mismatches.names})
