"""Compiling is over before the first request."""

from typing import Any

import numpy as np
import pyarrow as pa

from driftmeter.model import exact
from driftmeter.model.bins import CategoryBins
from driftmeter.model.counts import Counts
from driftmeter.summary import names, numbers
from driftmeter.summary.fold import fold, warm_up
from rows import layout_of, record_batch


def test_nothing_is_compiled_after_the_warm_up() -> None:
    """Writable and read-only arrays, nulls or none, one window or several: one compiled version serves them all."""
    warm_up()
    kernels: tuple[Any, ...] = (
        numbers.count_numbers,
        names.find_places,
        names.count_names,
        names.distinct_names,
        exact.merge,
        exact.merge_few,
        exact._round,
    )
    before = [len(kernel.signatures) for kernel in kernels]  # Other tests call some with arrays of their own.
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
                counts = Counts.zeros(layout, windows)
                fold(layout, batch, slots, counts)
                counts.add(counts)
                counts.window(0).add(counts.window(0).packed())
                counts.moments()
    assert [len(kernel.signatures) for kernel in kernels] == before
