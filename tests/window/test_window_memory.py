"""What windows keep, however rows are scattered over time."""

import tracemalloc

import numpy as np

from driftmeter.model.counts import PackedCounts
from driftmeter.window.config import WindowConfig
from driftmeter.window.windows import ModelWindows
from rows import MINUTE_NS, layout_of, predictions

MIB = 1024 * 1024


def test_scattered_batch_takes_little_memory() -> None:
    """Two thousand rows, each in a window of its own, cost what they are, not two thousand times all bins."""
    columns = [f"x{number}" for number in range(10)]
    layout = layout_of({name: np.linspace(0, 1, 1_000) for name in columns})
    windows = ModelWindows(layout, WindowConfig(lengths=("5m", "1h", "24h"), clock="data"))
    times = np.arange(2_000) * 10 * MINUTE_NS
    batch = predictions(times, {name: np.linspace(0, 1, len(times)) for name in columns})
    tracemalloc.start()
    late, due = windows.add(batch, 0)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert late == 0
    assert sum(int(each.counts.rows[0]) for each in due if each.window.name == "5m") == len(times) - 1
    assert all(isinstance(each.counts, PackedCounts) for each in due)
    dense_bytes = len(due) * layout.size * 8
    assert dense_bytes > 150 * MIB
    assert peak_bytes < 40 * MIB
