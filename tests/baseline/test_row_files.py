"""Files of rows as one set: many files, batches, and the same baseline and findings as from memory."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from polars.testing import assert_frame_equal

from driftmeter.analyze import analyze
from driftmeter.baseline.build import build_baseline
from driftmeter.baseline.data import ColumnOptions, Dataset, Rows
from driftmeter.baseline.file import baseline_to_bytes
from driftmeter.baseline.files import RowFiles, find_files, read_datasets
from driftmeter.detect.config import DetectConfig
from driftmeter.errors import BaselineError
from driftmeter.model.windows import parse_window

DAY_MS = 86_400_000
OPTIONS = ColumnOptions.of("time", ["answer"], ["p=late"], ["truth"], ["id"])


def rows_of(seed: int, rows: int = 6_000, *, in_order: bool = True) -> pl.DataFrame:
    """A month of rows of all types, with missing values, infinities, negative zeros and whole numbers."""
    random = np.random.default_rng(seed)
    times = random.integers(0, 30 * DAY_MS, rows)
    price = random.lognormal(size=rows)
    price[::97], price[::89], price[::83] = np.nan, np.inf, -0.0
    names = np.array(["red", "green", "blue", "a name that is longer"])
    frame = pl.DataFrame(
        {
            "time": pl.Series(np.sort(times) if in_order else times).cast(pl.Datetime("ms")),
            "price": pl.Series(price),
            "age": pl.Series(random.integers(-3, 90, rows).astype(np.int16)),
            "many": pl.Series(random.integers(0, 10**6, rows)),
            "share": pl.Series(random.random(rows).astype(np.float32)),
            "color": pl.Series(random.choice(names, rows)),
            "shade": pl.Series(random.choice(names, rows)).cast(pl.Categorical),
            "flag": pl.Series(random.random(rows) < 0.3),
            "answer": pl.Series(random.choice(["yes", "no"], rows)),
            "p": pl.Series(random.random(rows)),
            "nothing": pl.Series([None] * rows, dtype=pl.Float64),
            "truth": pl.Series(random.integers(0, 2, rows)),
            "id": pl.Series(np.arange(rows)),
        }
    )
    gaps = [pl.when(pl.int_range(pl.len()) % 13 == i).then(None).otherwise(pl.col(c)).alias(c)
            for i, c in enumerate(("price", "age", "color", "shade", "flag"))]  # fmt: skip
    return frame.with_columns(gaps)


def read(path: Path, held_cells_max: int) -> Rows:
    """The rows of a file or a folder."""
    return read_datasets([[path]], OPTIONS, held_cells_max)[0]


def write_parts(frame: pl.DataFrame, folder: Path) -> None:
    """Files of uneven lengths with row groups of a few hundred rows; together they are the frame."""
    folder.mkdir()
    bounds = [0, 1, 1_500, 1_501, 4_000, frame.height]
    for number, (first, last) in enumerate(pairwise(bounds)):
        frame[first:last].write_parquet(folder / f"part-{number}.parquet", row_group_size=333)


@pytest.mark.parametrize("in_order", [True, False])
def test_a_baseline_is_the_same_however_its_rows_are_read(tmp_path: Path, *, in_order: bool) -> None:
    """From one file in memory, and from many read batch by batch: the same bytes."""
    frame = rows_of(1, in_order=in_order)
    frame.write_parquet(tmp_path / "all.parquet")
    write_parts(frame, tmp_path / "parts")
    windows = [parse_window(text) for text in ("1h", "24h", "500rows", "7m")]
    held, streamed = read(tmp_path / "all.parquet", 10**9), read(tmp_path / "parts", 0)
    assert isinstance(held, Dataset)
    assert isinstance(streamed, RowFiles)
    assert held.columns == streamed.columns
    assert (held.kinds, held.integers, held.skipped) == (streamed.kinds, streamed.integers, streamed.skipped)
    built = [build_baseline(data, "m", "1", windows) for data in (held, streamed)]
    assert baseline_to_bytes(built[0]) == baseline_to_bytes(built[1])
    assert built[0].skipped == {"nothing": "all its values are missing"}
    assert set(built[0].chunks) == {"1h", "24h", "500rows", "7m"}


@pytest.mark.parametrize("in_order", [True, False])
@pytest.mark.parametrize("window", ["24h", "700rows"])
def test_findings_are_the_same_however_rows_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, window: str, *, in_order: bool
) -> None:
    """In memory and all windows at once, or in batches and a few windows at a time."""
    write_parts(rows_of(1), tmp_path / "reference")
    write_parts(rows_of(2, in_order=in_order), tmp_path / "current")
    found = []
    for cells_max, held_cells_max in ((10**9, 10**9), (20_000, 0)):
        monkeypatch.setattr("driftmeter.baseline.file_windows.CELLS_MAX", cells_max)
        monkeypatch.setattr("driftmeter.baseline.timeline._BLOCK_ROWS", 2**16 if held_cells_max else 512)
        before, now = read_datasets([[tmp_path / "reference"], [tmp_path / "current"]], OPTIONS, held_cells_max)
        found.append(analyze(before, now, [parse_window(window)], DetectConfig()).findings)
    assert_frame_equal(found[0], found[1], check_exact=True)
    assert found[0]["window_index"].n_unique() == (30 if window == "24h" else 9)


def test_any_part_of_the_rows_can_be_read(tmp_path: Path) -> None:
    """Rows from one number to another, over the borders of files and row groups, with their times."""
    frame = rows_of(3)
    write_parts(frame, tmp_path / "parts")
    data = read(tmp_path / "parts", 0)
    for first, stop in ((0, 1), (1, 1_501), (1_499, 1_502), (700, 5_999), (3_000, 6_000), (5_999, 6_000)):
        batches = list(data.batches(["feature.age", "feature.color"], times=True, first=first, stop=stop))
        table = pa.Table.from_batches(batches).unify_dictionaries()
        part = frame[first:stop]
        assert table.column("feature.age").to_pylist() == part["age"].to_list()
        assert table.column("feature.color").to_pylist() == part["color"].to_list()
        assert table.column("event_time").cast(pa.int64()).to_pylist() == part["time"].dt.epoch("ns").to_list()


def test_files_folders_and_patterns_are_read_in_order(tmp_path: Path) -> None:
    """Each argument in its turn, files of a folder or pattern by name; what exists is no pattern."""
    names = ["b/2.parquet", "b/10.parquet", "b/sub/x.csv", "day-1.parquet", "day-2.parquet", "day-[1].parquet"]
    for name in [*names, "b/_temporary.parquet", "b/notes.txt", "b/.hidden/y.parquet"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = find_files([tmp_path / "day-*.parquet", tmp_path / "b", tmp_path / "day-[1].parquet"])
    expected = ["day-1.parquet", "day-2.parquet", "day-[1].parquet", "b/10.parquet", "b/2.parquet", "b/sub/x.csv",
                "day-[1].parquet"]  # fmt: skip
    assert [str(each.relative_to(tmp_path)) for each in found] == expected


def test_types_of_several_files_go_together(tmp_path: Path) -> None:
    """Whole numbers in one file and broken ones in another are numbers; a file without a value says nothing."""
    frames = [
        pl.DataFrame({"x": [1, 2], "c": ["a", None]}),
        pl.DataFrame({"x": [0.5], "c": pl.Series(["b"], dtype=pl.Categorical)}),
        pl.DataFrame({"x": pl.Series([None]), "c": pl.Series([None])}),
    ]
    for number, frame in enumerate(frames):
        frame.write_parquet(tmp_path / f"{number}.parquet")
    for held_cells_max in (10**9, 0):
        (data,) = read_datasets([[tmp_path]], ColumnOptions(), held_cells_max)
        table = pa.Table.from_batches(data.batches(["feature.x", "feature.c"])).unify_dictionaries()
        assert table.column(0).to_pylist() == [1.0, 2.0, 0.5, None]
        assert table.column(1).to_pylist() == ["a", None, "b", None]
        assert data.integers == frozenset()


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (pl.DataFrame({"x": [1.0]}), "column 'c' is only in one of this file and"),
        (pl.DataFrame({"x": [1.0], "c": ["a"], "z": [1]}), "column 'z' is only in one of this file and"),
        (pl.DataFrame({"x": ["1"], "c": ["a"]}), "column 'x' is numeric in some files and categorical in others"),
    ],
)
def test_files_that_do_not_go_together_are_refused(tmp_path: Path, second: pl.DataFrame, message: str) -> None:
    """The message names the column and what differs."""
    pl.DataFrame({"x": [1.0], "c": ["a"]}).write_parquet(tmp_path / "1.parquet")
    second.write_parquet(tmp_path / "2.parquet")
    for held_cells_max in (10**9, 0):
        with pytest.raises(BaselineError, match=message):
            read_datasets([[tmp_path]], ColumnOptions(), held_cells_max)


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    """Parquet allows them; nobody could tell which is meant."""
    table = pa.table([pa.array([1.0]), pa.array([2.0])], names=["x", "x"])
    pq.write_table(table, tmp_path / "rows.parquet")
    with pytest.raises(BaselineError, match="two columns are called 'x'"):
        read(tmp_path / "rows.parquet", 0)


def test_times_of_large_files_are_checked_before_work_begins(tmp_path: Path) -> None:
    """The number of rows without a time is that of all batches."""
    frame = rows_of(4).with_columns(
        time=pl.when(pl.int_range(pl.len()) % 1_000 == 7).then(None).otherwise(pl.col("time"))
    )
    write_parts(frame, tmp_path / "parts")
    for held_cells_max in (10**9, 0):
        with pytest.raises(BaselineError, match="column 'time' lacks a time in 6 rows"):
            read(tmp_path / "parts", held_cells_max)


def test_a_column_that_names_rows_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond so many different values there is no category to speak of, and memory has an end."""
    monkeypatch.setattr("driftmeter.baseline.build.NAMES_MAX", 500)
    monkeypatch.setattr("driftmeter.baseline.build._NAMES_WAITING_MAX", 100)
    frame = pl.DataFrame({"id": [f"row {i}" for i in range(2_000)], "few": [str(i % 300) for i in range(2_000)]})
    frame.write_parquet(tmp_path / "rows.parquet", row_group_size=400)
    built = build_baseline(read_datasets([[tmp_path]], ColumnOptions(), 0)[0], "m", "", [])
    assert [each.column.name for each in built.columns] == ["few"]
    assert "more than 500 different values" in built.skipped["id"]
    assert built.columns[0].counts.sum() == 2_000


def test_a_csv_file_is_read_in_batches_too(tmp_path: Path) -> None:
    """By way of a Parquet file that leaves nothing behind."""
    frame = rows_of(5).drop("nothing").with_columns(pl.col("shade").cast(pl.String))
    frame.write_csv(tmp_path / "rows.csv")
    frame.write_parquet(tmp_path / "rows.parquet")
    csv, parquet = (read(tmp_path / name, 0) for name in ("rows.csv", "rows.parquet"))
    assert isinstance(csv, RowFiles)
    for field in ("feature.age", "feature.color", "prediction.answer", "feature.flag"):
        columns = [pa.Table.from_batches(data.batches([field])).unify_dictionaries().column(0).to_pylist()
                   for data in (csv, parquet)]  # fmt: skip
        assert columns[0] == columns[1]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["rows.csv", "rows.parquet"]
