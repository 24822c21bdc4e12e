"""Chunks counted in groups: the same tables as in one piece, and memory that does not grow with their number."""

import tracemalloc

import numpy as np
import numpy.typing as npt
import pytest

from driftmeter.baseline import build
from driftmeter.baseline.build import build_baseline
from driftmeter.baseline.data import Dataset
from driftmeter.baseline.timeline import Timeline
from driftmeter.model.baseline import Chunks
from driftmeter.model.windows import parse_window
from rows import DAY_NS, HOUR_NS, dataset

Ints = npt.NDArray[np.int64]


def rows_at(times: Ints) -> Dataset:
    """Numbers with holes and categories at these times."""
    random = np.random.default_rng(11)
    numbers = random.normal(size=len(times))
    numbers[::13] = np.nan
    frame = {"t": times.astype("datetime64[ns]"), "x": numbers, "c": random.choice(list("abcd"), len(times)).tolist()}
    return dataset(frame, "t")


def arrays_of(chunks: Chunks) -> list[npt.NDArray[np.generic]]:
    """All numbers of a table."""
    compared = [each for kind in chunks.compared.values() for each in (kind.rows, *kind.squared.values())]
    return [chunks.rows, chunks.blocks, chunks.values, *chunks.ratios.values(), *compared, *chunks.distant.values()]


@pytest.mark.parametrize("ordered", [True, False])
def test_groups_of_chunks_give_the_same_tables(monkeypatch: pytest.MonkeyPatch, *, ordered: bool) -> None:
    """Whether a few chunks are counted at a time or all, in whatever order the rows are: the same to the last bit."""
    times = np.random.default_rng(12).integers(0, 30 * DAY_NS, 150_000)
    data = rows_at(np.sort(times) if ordered else times)
    windows = [parse_window(text) for text in ("1h", "24h", "777rows")]
    whole = build_baseline(data, "m", "", windows, season_zone="UTC").chunks
    monkeypatch.setattr(build, "_CELLS_MAX", 50_000)
    grouped = build_baseline(data, "m", "", windows, season_zone="UTC").chunks
    for window in windows:
        for one, other in zip(arrays_of(whole[window.name]), arrays_of(grouped[window.name]), strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_year_of_five_minutes_needs_little_memory() -> None:
    """Counts by chunk and bin would be 900 MB a column; below 150 MB are used."""
    times = np.sort(np.random.default_rng(13).integers(0, 365 * DAY_NS, 100_000))
    data = rows_at(times)
    build_baseline(rows_at(times[:1000]), "m", "", [parse_window("5m")])  # Kernels are compiled or loaded.
    tracemalloc.start()
    chunks = build_baseline(data, "m", "", [parse_window("5m")]).chunks["5m"]
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(chunks.rows) > 60_000
    assert peak_bytes < 150e6


def test_rows_of_some_windows_are_sought_where_they_are() -> None:
    """In the order of time few others are read; in none, all rows are; and all that are in the windows always."""
    window = parse_window("1h")
    times = np.sort(np.random.default_rng(14).integers(0, 100 * HOUR_NS, 400_000))
    for each in (times, times[::-1].copy(), np.random.default_rng(15).permutation(times)):
        timeline = Timeline(rows_at(each), [window])
        inside = np.flatnonzero((each // HOUR_NS >= 20) & (each // HOUR_NS < 30))
        first, stop = timeline.holding(window, 20, 30)
        assert first <= inside[0]
        assert inside[-1] < stop
        assert (stop - first < 200_000) == (inside[-1] - inside[0] < 100_000)
    assert timeline.holding(window, 100, 105) == (0, 0)
