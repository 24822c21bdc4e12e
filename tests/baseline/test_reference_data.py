"""Files of rows: types, roles, times, and what is said about files that cannot be used."""

from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from driftmeter.baseline.build import build_baseline
from driftmeter.baseline.data import ColumnOptions, Dataset, to_dataset
from driftmeter.baseline.files import read_dataset, read_datasets
from driftmeter.errors import BaselineError
from driftmeter.model.columns import Column, Role

NOON_NS = 1_704_110_400 * 10**9
"""2024-01-01 12:00 UTC."""
NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)
NAIVE_NOON = NOON.replace(tzinfo=None)


def times_of(values: pl.Series) -> list[int]:
    """Nanoseconds of a timestamp column."""
    frame = pl.DataFrame({"t": values, "x": [1.0] * len(values)})
    times = to_dataset(frame, ColumnOptions("t"), "rows").times_ns
    assert times is not None
    return [int(each) for each in times]


@pytest.mark.parametrize(
    "values",
    [
        pl.Series([NOON]),
        pl.Series([NAIVE_NOON]),
        pl.Series([NAIVE_NOON]).dt.cast_time_unit("ms"),
        pl.Series([NAIVE_NOON]).dt.cast_time_unit("ns"),
        pl.Series([NOON.astimezone(timezone(timedelta(hours=2)))]),
        pl.Series([NOON]).dt.convert_time_zone("America/New_York"),
        pl.Series(["2024-01-01T12:00:00Z"]),
        pl.Series(["2024-01-01T12:00:00.000Z"]),
        pl.Series(["2024-01-01T12:00:00.000000000+00:00"]),
        pl.Series(["2024-01-01T14:00:00+02:00"]),
        pl.Series(["2024-01-01T12:00:00"]),
        pl.Series(["2024-01-01 12:00:00"]),
        pl.Series(["2024-01-01 12:00:00.000"]),
    ],
    ids=str,
)
def test_times_of_any_writing_are_one_instant(values: pl.Series) -> None:
    """With a zone, without one (UTC), in any unit, as ISO 8601 texts with or without offset."""
    assert times_of(values) == [NOON_NS]


def test_nanoseconds_are_kept() -> None:
    """Texts with nine digits and columns of nanoseconds lose nothing."""
    assert times_of(pl.Series(["2024-01-01T12:00:00.123456789Z"])) == [NOON_NS + 123456789]
    assert times_of(pl.Series([NOON_NS + 1]).cast(pl.Datetime("ns"))) == [NOON_NS + 1]


def test_dates_are_midnights() -> None:
    """A column of dates is the beginning of each day in UTC."""
    assert times_of(pl.Series([date(2024, 1, 1)])) == [NOON_NS - 12 * 3600 * 10**9]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (pl.Series([1, 2]), "of type Int64 cannot be a timestamp"),
        (pl.Series(["yesterday", "today"]), "cannot be read as times"),
        (pl.Series([NOON, None]), "lacks a time in 1 rows"),
        (pl.Series([datetime(9999, 1, 1, tzinfo=UTC), NOON]), "outside the years 1678 to 2261"),
        (pl.Series([date(1500, 1, 1)]), "outside the years 1678 to 2261"),
        (pl.Series([True]), "cannot be a timestamp"),
    ],
    ids=str,
)
def test_what_is_no_time_is_refused_in_one_line(values: pl.Series, message: str) -> None:
    """The message names the file and the column."""
    with pytest.raises(BaselineError, match=message) as caught:
        times_of(values)
    assert str(caught.value).startswith("rows: column 't'")
    assert "\n" not in str(caught.value)


def read(path: Path, options: ColumnOptions | None = None) -> Dataset:
    """The file's rows."""
    data = read_dataset(path, options or ColumnOptions())
    assert isinstance(data, Dataset)
    return data


FRAME = pl.DataFrame(
    {
        "time": [NOON, NOON],
        "price": [1.5, None],
        "age": pl.Series([3, 4], dtype=pl.Int16),
        "color": ["red", None],
        "flag": [True, False],
        "answer": ["yes", "no"],
        "p": [0.25, 0.75],
        "truth": [1, 0],
        "id": [7, 8],
    }
)


@pytest.mark.parametrize(
    "name", ["rows.parquet", "rows.csv", "rows.CSV", "rows.tsv", "rows", "a[1]*.parquet", "b?.csv"]
)
def test_files_of_all_endings_give_the_same_rows(tmp_path: Path, name: str) -> None:
    """CSV, with tabs too, by its ending, everything else as Parquet; no name is a pattern."""
    path = tmp_path / name
    if name.lower().endswith(("csv", "tsv")):
        FRAME.write_csv(path, separator="\t" if name.endswith("tsv") else ",")
    else:
        FRAME.write_parquet(path)
    options = ColumnOptions.of("time", ["answer"], ["p=late"], ["truth"], ["id"])
    data = read(path, options)
    assert data.columns == (
        Column(Role.FEATURE, "price"),
        Column(Role.FEATURE, "age"),
        Column(Role.FEATURE, "color"),
        Column(Role.FEATURE, "flag"),
        Column(Role.PREDICTION, "answer"),
        Column(Role.PROBABILITY, "late"),
    )
    assert data.rows.to_pydict() == {
        "feature.price": [1.5, None],
        "feature.age": [3.0, 4.0],
        "feature.color": ["red", None],
        "feature.flag": ["true", "false"],
        "prediction.answer": ["yes", "no"],
        "probability.late": [0.25, 0.75],
    }
    assert data.integers == {"feature.age"}
    assert data.times_ns is not None
    assert data.times_ns.tolist() == [NOON_NS, NOON_NS]
    assert data.skipped == {}


def test_columns_have_the_services_own_types() -> None:
    """float64 for numbers of all kinds, dictionary<int32, string> for texts, flags and categories."""
    frame = pl.DataFrame(
        {
            "decimal": pl.Series(["1.5", "2"]).cast(pl.Decimal(10, 2)),
            "small": pl.Series([1, 2], dtype=pl.Float32),
            "large": pl.Series([2**64 - 1, 0], dtype=pl.UInt64),
            "category": pl.Series(["a", None], dtype=pl.Categorical),
            "enum": pl.Series(["a", "b"], dtype=pl.Enum(["b", "a"])),
        }
    )
    data = to_dataset(frame, ColumnOptions(), "rows")
    text = pa.dictionary(pa.int32(), pa.string())
    assert data.rows.schema.types == [pa.float64(), pa.float64(), pa.float64(), text, text]
    assert data.rows.column("feature.enum").to_pylist() == ["a", "b"]
    assert build_baseline(data, "m", "", []).columns[2].maximum == 2.0**64


def test_columns_that_cannot_be_used_are_named_with_the_reason() -> None:
    """Lists and times are no features; columns without a value teach nothing."""
    empty = pl.Series([None], dtype=pl.Float64)
    frame = pl.DataFrame({"x": [1.0], "list": [[1]], "when": [NOON], "none": [None], "empty": empty})
    assert to_dataset(frame, ColumnOptions(), "rows").skipped == {
        "list": "it holds lists of numbers: mark it with --embedding to compare them as vectors",
        "when": "values of type Datetime(time_unit='us', time_zone='UTC') are neither numbers nor categories",
        "none": "all its values are missing",
        "empty": "all its values are missing",
    }


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gone.parquet", None, "there is no such file"),
        ("bad.parquet", b"PAR1 nothing", "cannot be read as Parquet"),
        ("bad.csv", b"a,b\n1\n2,3,4\n", "cannot be read as CSV"),
        ("empty.csv", b"", "cannot be read as CSV"),
        ("no-rows.csv", b"a,b\n", "there are no rows in it"),
        ("bad.tsv", b"a\tb\n1\t2\t3\n", "cannot be read as CSV"),
    ],
)
def test_files_that_cannot_be_read_are_named_in_one_line(
    tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    """Missing, damaged and empty files each have their message."""
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BaselineError, match=message) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_folder_without_files_of_rows_is_refused(tmp_path: Path) -> None:
    """Files of other endings, hidden ones and those of hidden folders are not looked at."""
    for name in ("notes.txt", "_SUCCESS", ".rows.parquet", "_temporary/rows.parquet"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(BaselineError, match=r"a folder without files that end in \.parquet, \.csv"):
        read(tmp_path)


def test_unknown_columns_are_named_beside_those_there_are(tmp_path: Path) -> None:
    """All unknown names at once, and the names to choose from."""
    path = tmp_path / "rows.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(BaselineError, match="no column named 'answer', 'time'; the file has a, b"):
        read(path, ColumnOptions.of("time", ["answer=y"]))
    with pytest.raises(BaselineError, match="no column named 'truth', 'x'; the file has a, b"):
        read(path, ColumnOptions.of(labels=["truth"], ignore=["x"]))


def test_labels_need_be_in_one_of_two_files_only(tmp_path: Path) -> None:
    """Rows to be judged often have no labels yet; features, predictions and times must be in both."""
    FRAME.write_parquet(tmp_path / "reference")
    FRAME.drop("truth", "id").write_parquet(tmp_path / "current")
    paths = [[tmp_path / "reference"], [tmp_path / "current"]]
    one, other = read_datasets(paths, ColumnOptions.of(labels=["truth"], ignore=["id"]))
    assert one.columns == other.columns
    FRAME.drop("answer").write_parquet(tmp_path / "current")
    with pytest.raises(BaselineError, match="current: no column named 'answer'"):
        read_datasets(paths, ColumnOptions.of(predictions=["answer"]))


@pytest.mark.parametrize(
    ("predictions", "labels", "message"),
    [
        (["a=y", "b=y"], None, "two columns are the prediction 'y'"),
        (["a"], ["a"], "column 'a' is given two roles: prediction and label"),
    ],
)
def test_roles_that_contradict_each_other_are_refused(
    predictions: list[str], labels: list[str] | None, message: str
) -> None:
    """No column silently wins over another."""
    with pytest.raises(BaselineError, match=message):
        to_dataset(pl.DataFrame({"a": [1], "b": [2]}), ColumnOptions.of(None, predictions, None, labels), "rows")


def test_one_name_may_play_two_roles() -> None:
    """A feature and the prediction may share a name: they are two columns."""
    data = to_dataset(pl.DataFrame({"y": [1], "b": [2]}), ColumnOptions.of(predictions=["b=y"]), "rows")
    assert [each.field for each in data.columns] == ["feature.y", "prediction.y"]


def test_nothing_left_to_compare_is_refused() -> None:
    """A file of labels and ignored columns makes no baseline."""
    with pytest.raises(BaselineError, match="no column is left to compare"):
        to_dataset(pl.DataFrame({"a": [1], "b": [2]}), ColumnOptions.of(labels=["a"], ignore=["b"]), "rows")
