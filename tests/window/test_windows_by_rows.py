"""Windows by rows cut the stream exactly, whatever the batches."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from driftmeter.model.counts import Counts
from driftmeter.model.windows import parse_window
from driftmeter.summary.fold import fold
from driftmeter.window.by_rows import RowWindows
from rows import ONE_COLUMN, assert_same_counts, predictions


@settings(max_examples=150, deadline=None)
@given(st.lists(st.integers(0, 25), max_size=8), st.integers(1, 12))
def test_windows_hold_exactly_their_rows(batch_sizes: list[int], length: int) -> None:
    """Window i holds rows i·n to (i+1)·n in the order of arrival; the rest comes out when draining."""
    values = np.random.default_rng(1).integers(-1, 5, sum(batch_sizes)).astype(np.float64)
    times = np.random.default_rng(2).integers(0, 1000, len(values))
    windows = RowWindows(ONE_COLUMN, parse_window(f"{length}rows"))
    closed, first = [], 0
    for size in batch_sizes:
        part = slice(first, first + size)
        closed += windows.add(windows.count(predictions(times[part], {"x": values[part]})))
        first += size
    full = len(values) // length
    assert len(closed) == full
    closed += windows.drain()
    assert len(closed) == full + bool(len(values) % length)
    assert windows.drain() == []
    for index, window in enumerate(closed):
        part = slice(index * length, (index + 1) * length)
        expected = Counts.zeros(ONE_COLUMN)
        batch = predictions(times[part], {"x": values[part]})
        fold(ONE_COLUMN, batch.rows, np.zeros(len(values[part]), np.int32), expected)
        assert_same_counts(window.counts.dense(ONE_COLUMN), expected)
        assert (window.index, window.revision) == (index, 0)
        assert (window.start_ns, window.end_ns) == (times[part].min(), times[part].max())


def test_mismatches_go_with_their_rows() -> None:
    """A mismatch is counted in the window that its row is cut into."""
    windows = RowWindows(ONE_COLUMN, parse_window("2rows"))
    batch = predictions([1, 2, 3, 4, 5], {"x": [1.0, None, None, None, 1.0]}, {"x": [1, 2, 3]})
    closed = [*windows.add(windows.count(batch)), *windows.drain()]
    assert [each.counts.tallies[0, 0].tolist() for each in closed] == [[1, 0, 1], [2, 0, 2], [0, 0, 0]]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.integers(0, 25), max_size=8), st.integers(1, 5), st.integers(1, 4))
def test_windows_that_overlap_hold_exactly_their_rows(batch_sizes: list[int], hop: int, overlap: int) -> None:
    """Window i holds the rows from i steps on, as many as it is long; the last one ends with the last row."""
    values = np.random.default_rng(1).integers(-1, 5, sum(batch_sizes)).astype(np.float64)
    times = np.random.default_rng(2).integers(0, 1000, len(values))
    length = hop * overlap
    windows = RowWindows(ONE_COLUMN, parse_window(f"{length}rows every {hop}rows"))
    closed, first = [], 0
    for size in batch_sizes:
        part = slice(first, first + size)
        closed += windows.add(windows.count(predictions(times[part], {"x": values[part]})))
        tree = windows.state()
        windows = RowWindows(ONE_COLUMN, parse_window(f"{length}rows every {hop}rows"))
        windows.restore(tree)
        first += size
    full = max(0, (len(values) - length) // hop + 1)
    assert len(closed) == full
    closed += windows.drain()
    untold = len(values) % hop > 0 or 0 < len(values) < length
    assert len(closed) == full + untold
    assert windows.drain() == []
    for index, window in enumerate(closed):
        begin = index * hop if index < full else max(0, -(-len(values) // hop) - overlap) * hop
        part = slice(begin, begin + length)
        expected = Counts.zeros(ONE_COLUMN)
        batch = predictions(times[part], {"x": values[part]})
        fold(ONE_COLUMN, batch.rows, np.zeros(len(values[part]), np.int32), expected)
        assert_same_counts(window.counts.dense(ONE_COLUMN), expected)
        assert (window.index, window.revision) == (index, 0)
        assert (window.start_ns, window.end_ns) == (times[part].min(), times[part].max())
