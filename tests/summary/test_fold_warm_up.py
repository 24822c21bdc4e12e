"""Compiling is over before the first request."""

from typing import Any

import numpy as np
import pyarrow as pa

from driftmeter.model.bins import CategoryBins
from driftmeter.model.counts import Counts
from driftmeter.summary import fold as fold_module
from driftmeter.summary.fold import fold, warm_up
from rows import layout_of, record_batch


def test_nothing_is_compiled_after_the_warm_up() -> None:
    """Writable and read-only arrays, nulls or none, one window or several: one compiled version serves them all."""
    warm_up()
    kernels: tuple[Any, ...] = (fold_module._count_numbers, fold_module._count_codes)
    layout = layout_of({"x": [0.0, 1.0, 2.0], "c": CategoryBins(("a", "b"))})
    mine = np.array([0.5, 1.5, 7.0])
    columns: dict[str, dict[str, Any]] = {
        "writable": {"x": pa.array(mine), "c": ["a", "b", None]},
        "nulls": {"x": [None, 1.0, 2.0], "c": ["a", "b", "new"]},
        "empty": {"x": [None, None, None], "c": ["a", None, None]},
    }
    for values in columns.values():
        rows = record_batch(values)
        for batch in (rows, rows.slice(1)):
            for windows in (1, 2):
                slots = np.arange(batch.num_rows, dtype=np.int32) % windows
                fold(layout, batch, slots, Counts.zeros(layout, windows))
    assert [len(kernel.signatures) for kernel in kernels] == [1, 1]
