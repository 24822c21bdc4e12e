"""Reference data as it should not be: each case ends with a message that says what to do, or in a documented way."""

import gzip
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from driftmeter.baseline.build import build_baseline
from driftmeter.baseline.data import ColumnOptions
from driftmeter.baseline.file import hashed, read_baseline, write_baseline
from driftmeter.baseline.files import read_dataset
from driftmeter.errors import BaselineError
from driftmeter.model.baseline import Baseline
from driftmeter.model.windows import parse_window

NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)


def _built(tmp_path: Path, frame: pl.DataFrame, timestamp: str | None = None, ending: str = "parquet") -> Baseline:
    path = tmp_path / f"rows.{ending}"
    if ending == "parquet":
        frame.write_parquet(path)
    else:
        frame.write_csv(path)
    data = read_dataset(path, ColumnOptions(timestamp))
    return build_baseline(data, "m", "", [parse_window("1h"), parse_window("10rows")])


def _refused(tmp_path: Path, frame: pl.DataFrame, timestamp: str | None = None, ending: str = "parquet") -> str:
    with pytest.raises(BaselineError) as raised:
        _built(tmp_path, frame, timestamp, ending)
    return str(raised.value)


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_no_rows(tmp_path: Path, ending: str) -> None:
    """An empty file is refused, and named."""
    said = _refused(tmp_path, pl.DataFrame({"x": []}, schema={"x": pl.Float64}), ending=ending)
    assert "there are no rows in it" in said
    assert str(tmp_path) in said


def test_an_empty_file_is_no_table(tmp_path: Path) -> None:
    """Nor is one of no bytes at all."""
    (tmp_path / "rows.parquet").write_bytes(b"")
    with pytest.raises(BaselineError, match="cannot be read as Parquet"):
        read_dataset(tmp_path / "rows.parquet", ColumnOptions())


def test_one_row(tmp_path: Path) -> None:
    """It is a baseline with one value: everything else is out of range or unseen, and there are no chunks."""
    built = _built(tmp_path, pl.DataFrame({"t": [NOON], "x": [1.5], "c": ["a"]}), "t")
    assert [int(each.counts.sum()) for each in built.columns] == [1, 1]
    assert dict(built.chunks) == {}
    write_baseline(built, tmp_path / "b.parquet")
    assert read_baseline(tmp_path / "b.parquet").content_hash == hashed(built).content_hash


def test_all_values_missing(tmp_path: Path) -> None:
    """A column without values is left out and named; when all are, it is refused."""
    empty = pl.Series("x", [None] * 30, pl.Float64)
    built = _built(tmp_path, pl.DataFrame([empty, pl.Series("y", range(30))]))
    assert dict(built.skipped) == {"x": "all its values are missing"}
    assert "no column is left to compare" in _refused(tmp_path, pl.DataFrame([empty]))


def test_no_finite_value(tmp_path: Path) -> None:
    """Infinities and NaN alone teach nothing."""
    frame = pl.DataFrame({"x": [np.inf, np.nan, -np.inf] * 10, "y": np.arange(30)})
    assert dict(_built(tmp_path, frame).skipped) == {"x": "none of its values is finite"}
    assert "no column has a usable value" in _refused(tmp_path, frame.select("x"))


def test_constant_columns(tmp_path: Path) -> None:
    """One value has a bin of its own, with nothing below and above it; its chunks never differ."""
    built = _built(tmp_path, pl.DataFrame({"x": [7.0] * 100, "c": ["a"] * 100}))
    x, c = built.columns
    assert x.counts.tolist().count(100) == 1
    assert (x.stddev, c.counts.tolist()) == (0.0, [100, 0, 0])
    for compared in built.chunks["10rows"].compared.values():
        distances = compared.squared["jensen_shannon"][compared.rows[:, 0] > 0]
        assert (distances == 0).all()


def test_thousands_of_columns(tmp_path: Path) -> None:
    """Wide files are built and read again; time and memory grow with the columns, and nothing else does."""
    random = np.random.default_rng(1)
    frame = pl.DataFrame({f"x{number}": random.random(12) for number in range(2_000)})
    path = tmp_path / "wide.parquet"
    frame.write_parquet(path)
    built = build_baseline(read_dataset(path, ColumnOptions()), "m", "", [])
    write_baseline(built, tmp_path / "b.parquet")
    assert len(read_baseline(tmp_path / "b.parquet").columns) == 2_000


def test_dates_and_lists_are_left_out(tmp_path: Path) -> None:
    """Values that are neither numbers nor categories are named with their type; the others are used."""
    frame = pl.DataFrame(
        {
            "day": [date(2024, 1, 1)] * 20,
            "at": [NOON] * 20,
            "took": [timedelta(seconds=1)] * 20,
            "tags": [[1, 2]] * 20,
            "point": [{"x": 1}] * 20,
            "x": np.arange(20.0),
        }
    )
    built = _built(tmp_path, frame)
    assert [each.column.name for each in built.columns] == ["x"]
    assert built.skipped.keys() == {"day", "at", "took", "tags", "point"}
    assert "neither numbers nor categories" in built.skipped["day"]


def test_nulls_are_counted(tmp_path: Path) -> None:
    """A missing value is no category and no number."""
    built = _built(tmp_path, pl.DataFrame({"x": [1.0, None] * 15, "c": [None, "a", "b"] * 10}))
    assert [(each.missing, int(each.counts.sum())) for each in built.columns] == [(15, 15), (10, 20)]


def test_mixed_types_in_one_column_of_a_csv(tmp_path: Path) -> None:
    """Numbers among texts are texts: one column is of one kind."""
    built = _built(tmp_path, pl.DataFrame({"x": ["1", "2", "high", "1"] * 10}), ending="csv")
    assert built.columns[0].cuts is None
    assert int(built.columns[0].counts.sum()) == 40


@pytest.mark.parametrize(
    ("times", "message"),
    [
        (["12:30", "13:30"], "cannot be read as times"),
        ([NOON, None], "lacks a time in 1 rows"),
        ([1.5, 2.5], "cannot be a timestamp"),
        ([[NOON], [NOON]], "cannot be a timestamp"),
    ],
)
def test_times_that_are_none(tmp_path: Path, times: list[Any], message: str) -> None:
    """With the column's name and what can stand there."""
    said = _refused(tmp_path, pl.DataFrame({"t": times, "x": [1.0, 2.0]}), "t")
    assert message in said
    assert "'t'" in said


def test_times_of_another_zone_are_the_same_instants(tmp_path: Path) -> None:
    """A zone changes how a time is written, not when it was; without a zone it is taken for UTC."""
    times = pl.Series("t", [NOON + timedelta(minutes=each) for each in range(100)])
    x = pl.Series("x", np.arange(100.0))
    built = [
        _built(tmp_path, pl.DataFrame([column, x]), "t")
        for column in (
            times,
            times.dt.convert_time_zone("Asia/Tokyo").alias("t"),
            times.dt.replace_time_zone(None).alias("t"),
        )
    ]
    assert len({hashed(each).content_hash for each in built}) == 1


def test_two_columns_of_one_name(tmp_path: Path) -> None:
    """A CSV file with one name twice, and two columns that are to be one: neither is guessed at."""
    path = tmp_path / "rows.csv"
    path.write_text("x,x\n1,2\n3,4\n", encoding="utf-8")
    options = ColumnOptions.of(predictions=["x=y", "x_duplicated_0=y"])
    with pytest.raises(BaselineError):
        read_dataset(path, options)


@pytest.mark.parametrize(("ending", "separator"), [("csv", ","), ("tsv", "\t"), ("csv.gz", ",")])
def test_two_columns_of_one_name_in_a_header(tmp_path: Path, ending: str, separator: str) -> None:
    """A CSV file with a name twice is refused, and not read with a name that nobody gave."""
    text = "\n".join(separator.join(each) for each in (("x", "y", "x"), ("1", "2", "3"))).encode()
    path = tmp_path / f"rows.{ending}"
    path.write_bytes(gzip.compress(text) if ending.endswith("gz") else text)
    with pytest.raises(BaselineError, match="two columns are called 'x'"):
        read_dataset(path, ColumnOptions())
