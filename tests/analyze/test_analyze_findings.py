"""`analyze` on files in memory: order, windows, times, and what cannot be compared."""

import numpy as np
import polars as pl
import pytest

from driftmeter.analyze import analyze
from driftmeter.baseline.build import build_baseline
from driftmeter.baseline.data import Dataset
from driftmeter.detect.config import DetectConfig
from driftmeter.detect.detector import Detector
from driftmeter.detect.reference import FixedReference
from driftmeter.errors import BaselineError
from driftmeter.methods import DECIDING
from driftmeter.methods.ratios import RATIOS
from driftmeter.methods.sequential import SEQUENTIAL
from driftmeter.model.counts import Counts
from driftmeter.model.findings import FINDINGS_SCHEMA
from driftmeter.model.predictions import ModelKey
from driftmeter.model.window_counts import WindowCounts
from driftmeter.model.windows import parse_window
from driftmeter.summary.fold import fold
from rows import DAY_NS, HOUR_NS, dataset

CONFIG = DetectConfig()


def rows_of(seed: int, rows: int, first_ns: int = 0, step_ns: int = HOUR_NS, timed: bool = True) -> Dataset:  # noqa: FBT001, FBT002
    """Numbers and colours, a row every `step_ns`."""
    random = np.random.default_rng(seed)
    columns = {"x": random.normal(size=rows), "b": random.choice(["p", "q"], rows)}
    if not timed:
        return dataset(columns)
    times = pl.Series(first_ns + np.arange(rows) * step_ns).cast(pl.Datetime("ns"))
    return dataset({"t": times, **columns}, "t")


def run(reference: Dataset, current: Dataset, window: str) -> pl.DataFrame:
    """Findings under the default configuration."""
    return analyze(reference, current, [parse_window(window)], CONFIG).findings


def test_findings_are_ordered_by_column_method_and_window() -> None:
    """The order is that of the names, then of the windows; the columns are those of the schema."""
    findings = run(rows_of(0, 1000), rows_of(1, 500), "100rows")
    assert findings.columns == list(FINDINGS_SCHEMA)
    keys = findings.select("column", "method", "window_index").rows()
    assert keys == sorted(keys)
    assert findings["column"].unique(maintain_order=True).to_list() == ["", "b", "x"]
    assert findings.group_by("column", "method").agg(pl.col("window_index"))["window_index"].to_list() == (
        [[0, 1, 2, 3, 4]] * findings.select("column", "method").n_unique()
    )


def test_names_not_given_are_null() -> None:
    """Model, version, stage and segment are null when absent, and themselves when given."""
    reference, current = rows_of(0, 300), rows_of(1, 100)
    findings = run(reference, current, "100rows")
    for name in ("model", "version", "stage", "segment"):
        assert findings[name].null_count() == findings.height
    named = analyze(reference, current, [parse_window("100rows")], CONFIG, "price", "3").findings
    assert named.select("model", "version").unique().rows() == [("price", "3")]
    assert named["stage"].null_count() == named.height


def test_last_partial_row_window_is_kept() -> None:
    """250 rows are two windows of 100 and one of 50, cut in file order."""
    findings = run(rows_of(0, 300), rows_of(1, 250), "100rows").filter(column="x", method=DECIDING)
    assert findings["rows"].to_list() == [100, 100, 50]
    assert findings["window_index"].to_list() == [0, 1, 2]


def test_file_shorter_than_a_window_is_one_window() -> None:
    """All rows are in window 0."""
    findings = run(rows_of(0, 300), rows_of(1, 7), "5000rows").filter(column="x", method=DECIDING)
    assert findings.select("rows", "window_index", "reason").rows() == [(7, 0, "too_few_chunks")]


def test_row_windows_without_times_have_none() -> None:
    """Start and end are null where rows have no timestamps."""
    findings = run(rows_of(0, 300, timed=False), rows_of(1, 250, timed=False), "100rows")
    assert findings["window_start"].null_count() == findings["window_end"].null_count() == findings.height


def test_row_windows_with_times_span_their_rows() -> None:
    """Start and end are the first and the last time of the window's rows, in whatever order they stand."""
    times = pl.Series([5, 3, 4, 9, 8, 7]).cast(pl.Datetime("ns"))
    current = dataset({"t": times, "x": np.arange(6.0)}, "t")
    findings = run(rows_of(0, 300), current, "4rows").filter(column="x", method=DECIDING)
    assert findings["window_start"].dt.epoch("ns").to_list() == [3, 7]
    assert findings["window_end"].dt.epoch("ns").to_list() == [9, 8]


def test_time_windows_are_aligned_and_skip_gaps() -> None:
    """Windows begin at multiples of their length in UTC; the index counts those that have rows, in order of time."""
    times = pl.Series([5 * DAY_NS + 1, 3 * DAY_NS, 3 * DAY_NS - 1, 5 * DAY_NS]).cast(pl.Datetime("ns"))
    current = dataset({"t": times, "x": [1.0, 2.0, 3.0, 4.0]}, "t")
    findings = run(rows_of(0, 300), current, "24h").filter(column="x", method=DECIDING)
    assert findings["window_start"].dt.epoch("ns").to_list() == [2 * DAY_NS, 3 * DAY_NS, 5 * DAY_NS]
    assert findings["window_end"].dt.epoch("ns").to_list() == [3 * DAY_NS, 4 * DAY_NS, 6 * DAY_NS]
    assert findings["window_index"].to_list() == [0, 1, 2]
    assert findings["rows"].to_list() == [1, 1, 2]


def test_order_of_rows_makes_no_difference_to_time_windows() -> None:
    """Shuffled rows give the same findings."""
    current = rows_of(1, 500)
    assert current.times_ns is not None
    order = np.random.default_rng(0).permutation(500)
    shuffled = Dataset(current.rows.take(order), current.times_ns[order])
    reference = rows_of(0, 2000)
    assert run(reference, shuffled, "24h").equals(run(reference, current, "24h"))


def test_many_windows_are_evaluated_in_blocks_without_difference() -> None:
    """More windows than fit into one block give what one detector gives on all of them."""
    reference, current = rows_of(0, 3000), rows_of(1, 6_000)
    window = parse_window("1rows")
    reported: list[tuple[int, int]] = []
    findings = analyze(
        reference, current, [window], CONFIG, on_windows=lambda done, total: reported.append((done, total))
    ).findings
    assert len(reported) > 1
    assert reported[-1] == (6_000, 6_000)
    baseline = build_baseline(reference, "", "", [window])
    counts = Counts.zeros(baseline.layout, 6_000)
    fold(baseline.layout, current.rows, np.arange(6_000, dtype=np.int32), counts)
    picked = [0, 2, reported[0][0], 5_999]
    windows = [WindowCounts(window, i, None, None, 0, counts.window(i)) for i in picked]
    alone = Detector(ModelKey("", "", ""), baseline, [FixedReference(baseline)], CONFIG).evaluate(windows).findings
    columns = ["column", "method", "window_index", "value", "pvalue", "effect"]
    of_window = ~pl.col("method").is_in(list(SEQUENTIAL))  # The others remember the windows that are left out here.
    there = findings.filter(pl.col("window_index").is_in(picked), of_window).select(columns)
    assert there.sort(columns[:3]).equals(alone.filter(of_window).select(columns).sort(columns[:3]))


def test_reference_compared_with_itself_is_at_zero() -> None:
    """The same rows have distance 0 by every method, and no effect."""
    reference = rows_of(0, 500)
    findings = run(reference, reference, "500rows")
    remembering = pl.col("method").is_in(list(SEQUENTIAL))
    described = pl.col("method").is_in([key for key, spec in RATIOS.items() if spec.of_chunks])
    distances = findings.filter(pl.col("method") != "chi_square", pl.col("column") != "", ~remembering, ~described)
    assert distances["value"].to_list() == pytest.approx([0] * distances.height, abs=1e-9)
    assert distances["effect"].to_list() == pytest.approx([0] * distances.height, abs=1e-9)


def test_columns_of_one_file_only() -> None:
    """A column that the current file lacks has no values; one that the reference lacks is not compared."""
    reference = dataset({"x": np.arange(500.0), "gone": np.arange(500.0)})
    current = dataset({"x": np.arange(500.0), "new": np.arange(500.0)})
    findings = run(reference, current, "500rows").filter(method=DECIDING)
    assert findings.select("column", "rows", "value").rows()[0] == ("gone", 0, None)
    assert findings["column"].to_list() == ["gone", "x"]


@pytest.mark.parametrize(
    ("current", "window", "message"),
    [
        (dataset({"y": [1.0]}), "5rows", "no column in common"),
        (dataset({"x": ["a", "b"]}), "5rows", "'x' is numeric in the reference and categorical in the current file"),
        (dataset({"b": [1.0]}), "5rows", "'b' is categorical in the reference and numeric in the current file"),
        (dataset({"x": [1.0]}), "1h", "--window 1h needs times: name the column with --timestamp"),
    ],
)
def test_files_that_cannot_be_compared_are_refused(current: Dataset, window: str, message: str) -> None:
    """The message says which column and what to do."""
    with pytest.raises(BaselineError, match=message):
        run(rows_of(0, 300), current, window)


def test_flags_agree_with_texts_of_the_same_name() -> None:
    """A flag in one file and its text in the other are the same categories."""
    reference = dataset({"flag": pl.Series([True, False] * 50)})
    current = dataset({"flag": pl.Series(["true", "false"] * 50)})
    assert run(reference, current, "100rows").filter(method=DECIDING)["value"].to_list() == [0]


def test_non_finite_values_leave_as_null() -> None:
    """Numbers that overflow a method are null; the file is analysed all the same."""
    reference = dataset({"x": np.array([-1.7e308, 0.0, 1.7e308, np.nan, np.inf])})
    findings = run(reference, reference, "5rows")
    assert findings["value"].drop_nulls().is_finite().all()
    assert findings.filter(method=DECIDING)["value"].to_list() == [0]
