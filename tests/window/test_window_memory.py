"""What windows keep, however rows are scattered over time."""

import os
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np
import pytest

from driftmeter.model.blobs import BlobRef, Buffer, MemoryBlobs
from driftmeter.model.counts import Counts, PackedCounts
from driftmeter.window.config import WindowConfig
from driftmeter.window.windows import ModelWindows
from rows import HOUR_NS, MINUTE_NS, layout_of, predictions

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


def test_windows_that_overlap_keep_their_rows_once(tmp_path: Path) -> None:
    """Twenty-four windows share their hours: what is in memory is a few hours' counts, not those of all windows."""
    columns = [f"x{number}" for number in range(10)]
    layout = layout_of({name: np.linspace(0, 1, 1_000) for name in columns})
    config = WindowConfig(lengths=("24h every 1h",), clock="data")
    values = {name: np.linspace(0, 1, 5_000) for name in columns}
    dense_bytes = Counts.cells(layout) * 8
    kept_bytes = []
    with (tmp_path / "blobs").open("w+b") as file:
        windows = ModelWindows(layout, config, _OnDisk(file))
        windows.add(predictions(np.zeros(5_000, np.int64), values), 0)
        tracemalloc.start()
        for hour in range(1, 61):
            _, due = windows.add(predictions(np.full(5_000, hour * HOUR_NS), values), 0)
            assert len(due) == (hour > 1)
            windows.spill()
            due.clear()
            kept_bytes.append(tracemalloc.get_traced_memory()[0])
        peak_bytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert kept_bytes[-1] < 5 * dense_bytes
    assert kept_bytes[-1] < kept_bytes[24] + dense_bytes
    assert peak_bytes < 20 * dense_bytes


@pytest.mark.parametrize(
    ("lengths", "kept_at_most"),
    [
        (("5m",), 3),
        (("5m", "1h", "24h"), 5),
        (("5m", "1h", "24h", "24h every 1h"), 7),
        (("24h every 5m",), 3),
        (("5000rows",), 2),
        (("5000rows every 1000rows",), 7),
    ],
)
def test_memory_grows_with_lengths_and_not_with_windows(
    tmp_path: Path, lengths: tuple[str, ...], kept_at_most: int
) -> None:
    """One for each length by time and up to three for panes; for a length by rows as many as overlap, and two."""
    columns = [f"x{number}" for number in range(20)]
    layout = layout_of({name: np.linspace(0, 1, 1_025) for name in columns})
    values = {name: np.random.default_rng(1).random(2_000) for name in columns}
    config = WindowConfig(lengths=lengths, clock="data")
    kept_bytes = []
    with (tmp_path / "blobs").open("w+b") as file:
        ModelWindows(layout, config).add(predictions(np.zeros(2_000, np.int64), values), 0)  # Tables are no windows.
        tracemalloc.start()
        windows = ModelWindows(layout, config, _OnDisk(file))
        for number in range(60):
            windows.add(predictions(np.full(2_000, number * 5 * MINUTE_NS), values), 0)
            windows.spill()
            kept_bytes.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
    assert max(kept_bytes) < kept_at_most * Counts.cells(layout) * 8


class _OnDisk(MemoryBlobs):
    """Blobs that take no memory that Python counts, as those of a disk."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__()
        self._file = file
        self._size = 0

    def put(self, parts: Sequence[Buffer]) -> BlobRef:
        """Keep these bytes."""
        size_bytes = sum(self._file.write(part) for part in parts)
        self._file.flush()
        self._size += size_bytes
        return BlobRef(0, self._size - size_bytes, size_bytes)

    def get(self, ref: BlobRef) -> memoryview:
        """The bytes."""
        return memoryview(os.pread(self._file.fileno(), ref.size_bytes, ref.offset))

    def release(self, ref: BlobRef) -> None:
        """Nothing: the file ends with the test."""
