"""Which window each row is in, and when windows begin and end."""

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftmeter.baseline.chunks import cut_rows
from driftmeter.baseline.timeline import Timeline
from driftmeter.model.windows import HOUR_NS, parse_window
from rows import dataset

LENGTHS = [parse_window(text) for text in ("5m", "1h", "24h", "7m", "3rows", "1000rows")]


def timeline_of(times: npt.NDArray[np.int64], texts: list[str]) -> Timeline:
    """Of rows with these times."""
    stamps = pl.Series(times).cast(pl.Datetime("ns"))
    return Timeline(
        dataset({"t": stamps, "x": np.arange(len(times), dtype=np.float64)}, "t"), list(map(parse_window, texts))
    )


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(-(10**18), 10**18) | st.integers(0, 10**14), min_size=1, max_size=60),
    st.lists(st.sampled_from(LENGTHS), min_size=1, max_size=4, unique=True),
)
def test_windows_are_numpys(times: list[int], lengths: list[object]) -> None:
    """By time the rank of time // length among those there are, by rows the number // length; any order of rows."""
    array = np.array(times, np.int64)
    texts = [str(each.name) for each in lengths]  # type: ignore[attr-defined]
    timeline = timeline_of(array, texts)
    for text in texts:
        length = parse_window(text)
        slots = timeline.slots(length, 0, len(times))
        windows = timeline.windows(length)
        assert windows is not None
        assert windows.starts_ns is not None
        assert windows.low_ns is not None
        assert windows.high_ns is not None
        if length.by_rows:
            parts = [array[i : i + length.rows] for i in range(0, len(array), length.rows)]
            assert slots.tolist() == (np.arange(len(times)) // length.rows).tolist()
            assert windows.starts_ns.tolist() == [part[0] for part in parts]
            assert windows.low_ns.tolist() == [part.min() for part in parts]
            assert windows.high_ns.tolist() == [part.max() for part in parts]
        else:
            numbers, expected = np.unique(array // length.length_ns, return_inverse=True)
            assert slots.tolist() == expected.tolist()
            assert windows.starts_ns.tolist() == (numbers * length.length_ns).tolist()
            assert windows.high_ns.tolist() == ((numbers + 1) * length.length_ns).tolist()
        assert windows.count == slots.max() + 1
    assert (timeline.start_ns, timeline.end_ns) == (array.min(), array.max())


def test_windows_by_time_need_times() -> None:
    """Without them there are windows by rows alone."""
    timeline = Timeline(dataset({"x": [1.0, 2.0]}), LENGTHS)
    assert timeline.windows(parse_window("1h")) is None
    windows = timeline.windows(parse_window("3rows"))
    assert windows is not None
    assert (windows.count, windows.starts_ns) == (1, None)
    assert cut_rows(parse_window("1h"), timeline, 2) is None


def test_chunks_are_in_the_order_of_time() -> None:
    """Whatever the order of rows in the file, chunk i is the i-th span of time that holds rows."""
    length = parse_window("1h")
    timeline = timeline_of(np.array([9 * HOUR_NS, 0, 5 * HOUR_NS, 1]), ["1h"])
    cut = cut_rows(length, timeline, 4)
    assert cut is not None
    assert timeline.slots(length, 0, 4).tolist() == [2, 0, 1, 0]
    assert cut.starts_ns is not None
    assert cut.starts_ns.tolist() == [0, 5 * HOUR_NS, 9 * HOUR_NS]
    assert (cut.chunks, cut.rows.tolist()) == (3, [2, 1, 1])


@pytest.mark.parametrize(("rows", "chunks"), [(5, [2, 2]), (4, [2, 2]), (1, [])])
def test_last_partial_chunk_by_rows_is_left_out(rows: int, chunks: list[int]) -> None:
    """Rows beyond the last whole chunk belong to no chunk, but to the rest."""
    length = parse_window("2rows")
    timeline = Timeline(dataset({"x": np.arange(float(rows))}), [length])
    cut = cut_rows(length, timeline, rows)
    assert cut is not None
    assert (cut.chunks, cut.rows.tolist()) == (len(chunks), chunks)
    assert timeline.slots(length, 0, rows).tolist() == [i // 2 for i in range(rows)]
