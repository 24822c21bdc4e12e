"""The rows that a baseline keeps."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from driftmeter.baseline.build import build_baseline
from driftmeter.baseline.data import Dataset
from driftmeter.baseline.file import read_baseline, write_baseline
from driftmeter.baseline.sample import keyed, sampled, with_sample
from driftmeter.model.sample import BASELINE_ROWS_MAX, CELLS_MAX, RowSample
from driftmeter.summary.fold import sample_of
from rows import HOUR_NS, dataset

ROWS = 10_000


def some_rows(rows: int = ROWS) -> Dataset:
    """A number that says which row it is, a category that says whether it is even, and a gap."""
    numbers = np.arange(rows, dtype=np.float64)
    return dataset(
        {
            "x": numbers,
            "even": ["yes" if row % 2 == 0 else "no" for row in range(rows)],
            "gap": [None if row % 3 else float(row) for row in range(rows)],
        }
    )


def test_sampled_values_belong_together_and_stand_in_order() -> None:
    """Each sampled row is a row of the file, whole, once, in the file's order."""
    baseline = build_baseline(some_rows(), "m", "", [])
    x, even, gap = baseline.sample.T
    assert len(x) == BASELINE_ROWS_MAX
    assert (np.diff(x) > 0).all()
    names = baseline.columns[1].bins.categories  # type: ignore[union-attr]  # A categorical column.
    assert [names[int(code)] for code in even] == ["yes" if row % 2 == 0 else "no" for row in x]
    np.testing.assert_array_equal(gap, np.where(x % 3 == 0, x, np.nan))


def test_the_sample_is_spread_over_all_rows() -> None:
    """Each tenth of the file has its share of the sample, within five standard deviations."""
    x = build_baseline(some_rows(), "m", "", []).sample[:, 0]
    share = np.histogram(x, 10, (0, ROWS))[0]
    expected = BASELINE_ROWS_MAX / 10
    assert (np.abs(share - expected) < 5 * np.sqrt(expected)).all()


def test_a_small_file_is_kept_whole() -> None:
    """A file with fewer rows than a sample has is its own sample."""
    assert build_baseline(some_rows(50), "m", "", []).sample[:, 0].tolist() == list(range(50))


def test_rows_are_ordered_by_time_where_they_have_times() -> None:
    """Rows of a file that is not in the order of time are."""
    random = np.random.default_rng(1)
    hours = random.permutation(100)
    times = np.array(hours * HOUR_NS, "datetime64[ns]")
    data = dataset({"hour": hours.astype(np.float64), "at": times}, "at")
    assert build_baseline(data, "m", "", []).sample[:, 0].tolist() == list(range(100))


def test_wide_files_keep_fewer_rows() -> None:
    """Cells are bounded, whatever the number of columns."""
    random = np.random.default_rng(2)
    data = dataset({f"c{i}": random.normal(size=1_000) for i in range(300)})
    baseline = build_baseline(data, "m", "", [])
    assert baseline.sample.shape == (CELLS_MAX // 300, 300)


def test_a_file_read_in_parts_has_the_same_sample() -> None:
    """Samples of parts merge to the sample of the whole."""
    data = some_rows()
    columns = build_baseline(data, "m", "", []).columns
    layout = build_baseline(data, "m", "", []).layout
    sample = RowSample.empty(3)
    for first in range(0, ROWS, 777):
        part = keyed(data.rows.slice(first, 777), first)
        numbers = part.column("span_key").cast(pa.int64())  # Rows without times stay in their order.
        part = part.append_column("event_time", numbers.cast(pa.timestamp("ns", "UTC")))
        sample = sample_of(layout, part, sample, BASELINE_ROWS_MAX)
    for one, other in zip(with_sample(columns, sample), sampled(columns, data), strict=True):
        np.testing.assert_array_equal(one.sample, other.sample)


def test_the_file_has_the_sample(tmp_path: Path) -> None:
    """A baseline that was written and read has the same sample, bit for bit."""
    baseline = build_baseline(some_rows(), "m", "", [])
    written = write_baseline(baseline, tmp_path / "b.parquet")
    read = read_baseline(tmp_path / "b.parquet")
    assert read.content_hash == written.content_hash
    np.testing.assert_array_equal(read.sample.view(np.int64), baseline.sample.view(np.int64))


def test_keys_leave_columns_alone() -> None:
    """What a sample needs is put behind the columns."""
    rows = some_rows(3).rows
    both = keyed(rows, 5)
    assert both.schema.names == [*rows.schema.names, "span_key"]
    assert both.column("span_key").to_pylist() == [5, 6, 7]
