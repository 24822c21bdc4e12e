"""Memory of counts does not grow with rows, nor with how many different values they hold."""

import tracemalloc

import numpy as np
import pyarrow as pa

from driftmeter.model.bins import CategoryBins
from driftmeter.model.counts import Counts
from driftmeter.model.layout import Layout
from driftmeter.summary.fold import fold
from rows import layout_of, predictions

FEATURES, ROWS = 1_000, 200


def wide_layout() -> Layout:
    """Half of the features are numbers with 1,026 bins, half are categories with 256 names of their own."""
    edges = np.linspace(0, 1, 1_024)
    names = CategoryBins(tuple(f"n{i}" for i in range(256)), others_truncated=True)
    return layout_of({f"f{i}": edges if i % 2 else names for i in range(FEATURES)})


def rows_of(number: int) -> pa.RecordBatch:
    """Rows of which no value was there before."""
    random = np.random.default_rng(number)
    fresh = [f"id{number}-{i}" for i in range(ROWS)]
    columns = {f"f{i}": random.normal(size=ROWS) if i % 2 else fresh for i in range(FEATURES)}
    return predictions(np.arange(ROWS) + number * ROWS, columns).rows


def test_a_thousand_features_and_ever_new_categories_keep_their_memory() -> None:
    """A window is what its bins take: measured after some rows and after six times as many."""
    layout = wide_layout()
    counts = Counts.zeros(layout)
    fold(layout, rows_of(0), np.zeros(ROWS, np.int32), counts)  # Tables are made, kernels compiled.
    tracemalloc.start()
    try:
        held = [0, 0]
        total = Counts.zeros(layout)
        for number in range(1, 13):
            fold(layout, rows_of(number), np.zeros(ROWS, np.int32), total)
            if number in (2, 12):
                held[number // 12] = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert int(total.rows[0]) == 12 * ROWS
    assert held[1] < held[0] + 100_000
    assert held[1] < 8 * Counts.cells(layout) + 1_000_000
    assert Counts.cells(layout) < 1_000 * FEATURES
