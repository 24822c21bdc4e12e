"""What a baseline's chunks say of data quality: commonest values, ages and repeated rows, against polars."""

from dataclasses import replace
from functools import cache

import numpy as np
import polars as pl
import pytest

from driftmeter.baseline.build import build_baseline
from driftmeter.baseline.data import ColumnOptions, to_dataset
from driftmeter.baseline.file import baseline_from_bytes, baseline_to_bytes
from driftmeter.model.counts import Counts
from driftmeter.model.windows import parse_window
from driftmeter.summary.fold import fold
from rows import DAY_NS, HOUR_NS, predictions

DAY = parse_window("24h")


@cache
def reference() -> pl.DataFrame:
    """Three weeks of rows out of order and without nights: rounded numbers, constant at nine, and colours."""
    random = np.random.default_rng(7)
    times = random.integers(0, 21 * DAY_NS, 20_000)
    times = times[(times // HOUR_NS) % 24 > 5]
    numbers = np.where(times // HOUR_NS % 24 == 9, 4.0, random.normal(size=len(times)).round(1))
    holes = random.random(len(times)) < 0.2
    return pl.DataFrame(
        {
            "t": pl.Series(times).cast(pl.Datetime("ns")),
            "x": pl.Series(np.where(holes, np.nan, numbers)).fill_nan(None),
            "c": pl.Series([None if i % 13 == 0 else str(c) for i, c in enumerate(random.integers(0, 4, len(times)))]),
            "full": random.integers(0, 3, len(times)).astype(float),
        }
    )


@pytest.mark.parametrize("window", ["1h", "24h", "1000rows"])
def test_quality_of_chunks_is_polars(window: str) -> None:
    """Of each chunk: rows that repeat another, whether a column is constant, and the age of its newest value."""
    length, rows = parse_window(window), reference()
    data = to_dataset(rows, ColumnOptions.of("t"), "rows")
    found = build_baseline(data, "m", "", [length]).chunks[window]
    times = rows["t"].cast(pl.Int64).to_numpy()
    chunk = np.arange(len(times)) // length.rows if length.by_rows else times // length.length_ns
    parts = rows.with_columns(t=times, chunk=chunk).sort("chunk").partition_by("chunk", maintain_order=True)
    constant = 0
    for number, part in enumerate(parts[: len(found.rows)]):
        assert found.whole["duplicate_ratio"][number] == part.height - part.select("x", "c", "full").n_unique()
        for place, name in enumerate(("x", "c", "full")):
            values = part.filter(pl.col(name).is_not_null())
            commonest = found.ratios["constant_ratio"][number, place]
            assert (commonest == values.height) == (values[name].n_unique() == 1)
            constant += int(commonest == values.height)
            counted = values[name].value_counts()["count"].max()
            # Of numbers bins are counted, and there may be several values in one.
            assert commonest == counted if name == "c" else commonest >= counted
            end = (part["chunk"][0] + 1) * length.length_ns
            age = -1 if length.by_rows else round((end - values["t"].max()) / length.length_ns * 1_000)
            assert found.ratios["freshness_ratio"][number, place] == age
    assert (constant > 0) == (window == "1h")
    assert (found.whole["incomplete_ratio"] == 0).all()


def test_many_different_rows_are_estimated_as_windows_are() -> None:
    """Beyond what is kept of contents, the chunk's repeated rows are what a live window of the same rows says."""
    random = np.random.default_rng(4)
    times = np.sort(random.integers(0, 2 * DAY_NS, 30_000))
    values = random.integers(0, 12_000, 30_000).astype(float)
    frame = pl.DataFrame({"t": pl.Series(times).cast(pl.Datetime("ns")), "x": values, "y": values % 7})
    baseline = build_baseline(to_dataset(frame, ColumnOptions.of("t"), "rows"), "m", "", [DAY])
    counts = Counts.zeros(baseline.layout, 2)
    batch = predictions(times, {"x": values, "y": values % 7})
    fold(baseline.layout, batch.rows, (times // DAY_NS).astype(np.int32), counts)
    live = [each.repeated(int(rows)) for each, rows in zip(counts.contents, counts.rows, strict=True)]
    assert baseline.chunks["24h"].whole["duplicate_ratio"].tolist() == live
    first = values[times < DAY_NS]
    assert live[0] == pytest.approx(len(first) - len(np.unique(first)), rel=0.15)


def test_segments_have_the_quality_of_their_own_rows() -> None:
    """Repeated rows and ages of a segment's chunks are those of its rows alone."""
    rows = reference().select("t", "x", land=pl.col("c").fill_null("0"))
    data = to_dataset(rows, ColumnOptions.of("t", segments=["land"]), "rows")
    found = build_baseline(data, "m", "", [DAY], segments=["land"]).segments["land=1"].chunks["24h"]
    mine = rows.filter(pl.col("land") == "1").with_columns(day=pl.col("t").cast(pl.Int64) // DAY_NS)
    for number, part in enumerate(mine.sort("day").partition_by("day", maintain_order=True)):
        assert found.whole["duplicate_ratio"][number] == part.height - part["x"].n_unique()
        newest = part.filter(pl.col("x").is_not_null())["t"].cast(pl.Int64).max()
        age = ((part["day"][0] + 1) * DAY_NS - newest) / DAY_NS
        assert found.ratios["freshness_ratio"][number, 0] == round(age * 1_000)


def test_files_keep_it_and_older_ones_lack_it() -> None:
    """Written and read, the tables are the same; a file without them is read, and has none."""
    data = to_dataset(reference(), ColumnOptions.of("t"), "rows")
    built = build_baseline(data, "m", "", [DAY], segments=[])
    read = baseline_from_bytes(baseline_to_bytes(built)).chunks["24h"]
    for key, table in built.chunks["24h"].whole.items():
        np.testing.assert_array_equal(read.whole[key], table)
    chunks = built.chunks["24h"]
    kept = {key: each for key, each in chunks.ratios.items() if key not in ("constant_ratio", "freshness_ratio")}
    older = replace(built, chunks={"24h": replace(chunks, ratios=kept, whole={})})
    read = baseline_from_bytes(baseline_to_bytes(older)).chunks["24h"]
    assert list(read.ratios) == list(kept)
    assert read.whole == {}
    np.testing.assert_array_equal(read.values, chunks.values)
