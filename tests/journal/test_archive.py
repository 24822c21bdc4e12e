"""The archive: what goes into entries comes out of it once, equal value by value, in files that others can read."""

import io
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archive_samples import GIB, NestedFiles, Sample, rows_entry, write_journal
from driftmeter.errors import TransientError
from driftmeter.journal import archive
from driftmeter.journal.archive_layout import hour_path, hours
from driftmeter.journal.archive_rows import KEY_METADATA, ROW_GROUP_ROWS
from driftmeter.journal.config import ArchiveConfig
from driftmeter.journal.entries import Entry, QuarantinedEntry, TickEntry
from driftmeter.journal.files import RealFiles
from driftmeter.journal.segments import Segment
from driftmeter.model.predictions import FIXED_FIELDS, ModelKey, Predictions
from rows import DAY_NS, HOUR_NS, KEY, MINUTE_NS, predictions

NAMES = (
    "flights", "", ".", "..", "/", "a/b", "a b=c%20", "~", "größe", "日本語", "😀" * 100, "x" * 5_000, "X" * 5_000,
    "x" * 200, "\0", "__HIVE_DEFAULT_PARTITION__", "\n",
)  # fmt: skip
START_NS = 1_700_000_000_000_000_000 // DAY_NS * DAY_NS


def batch(*minutes: int, key: ModelKey = KEY, **columns: list[float | str | None]) -> Predictions:
    """Rows at these minutes of a day."""
    return predictions([START_NS + minute * MINUTE_NS for minute in minutes], columns, key=key)


def test_rows_lie_by_model_and_hour() -> None:
    """One file for each model, version, stage and hour of event time, named after the entries."""
    sample = Sample()
    other = ModelKey("b/c", "", "canary")
    entries: list[Entry] = [
        rows_entry(batch(59, 60, x=[1.0, 2.0]), batch(1, key=other, x=[3.0])),
        TickEntry(1, revise=False),
        rows_entry(batch(58, x=[4.0])),
    ]
    for segment in write_journal(sample.files, [entries]):
        sample.archive.add(segment)
    name = "00000000000000000001-00000000000000000003.parquet"
    found = {path: table.column("feature.x").to_pylist() for path, table in sample.tables().items()}
    expected = {
        f"model=model/version=1/stage=/date=2023-11-14/hour=00/{name}": [1.0, 4.0],
        f"model=model/version=1/stage=/date=2023-11-14/hour=01/{name}": [2.0],
        f"model=b%2Fc/version=/stage=canary/date=2023-11-14/hour=00/{name}": [3.0],
    }
    assert expected == found


def test_the_same_segment_gives_the_same_files() -> None:
    """Adding a segment again, or after a restart, changes nothing; nor does it count bytes twice."""
    sample = Sample()
    (segment,) = write_journal(sample.files, [[rows_entry(batch(1, 61, x=[1.0, 2.0], c=["a", None]))]])
    sample.archive.add(segment)
    before = sample.contents()
    sample.archive.add(segment)
    sample.open().add(segment)
    assert before == sample.contents()
    assert sample.telemetry.archive_bytes.value() == sum(map(len, before.values()))


def test_a_large_segment_is_taken_in_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each portion has files of its own, named after its entries; together they have every row once, in order."""
    sample = Sample()
    entries = [rows_entry(batch(number, x=[float(number)])) for number in range(9)]
    (segment,) = write_journal(sample.files, [entries])
    monkeypatch.setattr(archive, "PORTION_BYTES", 3 * segment.size_bytes // len(entries))
    sample.archive.add(segment)
    names = [path.rpartition("/")[2] for path in sorted(sample.tables())]
    ranges = [(int(name[:20]), int(name[21:41])) for name in names]
    assert len(ranges) > 2
    assert [1, *(last + 1 for _, last in ranges)] == [*(first for first, _ in ranges), 10]
    rows = [value for path in sorted(sample.tables()) for value in sample.tables()[path]["feature.x"].to_pylist()]
    assert rows == [float(number) for number in range(9)]
    before = sample.contents()
    sample.open().add(segment)
    assert before == sample.contents()


def test_columns_that_not_all_batches_have_are_null_there() -> None:
    """Batches of one model need not have the same columns, nor the same categories."""
    sample = Sample()
    batches = [
        batch(1, x=[1.5], c=["a"]),
        batch(2, y=[float("nan")], c=["b"]),
        batch(3, c=["a"]),
        batch(4, x=[None]),
    ]
    for segment in write_journal(sample.files, [[rows_entry(each) for each in batches]]):
        sample.archive.add(segment)
    (table,) = sample.tables().values()
    expected = [field.name for field in FIXED_FIELDS] + ["feature.c", "feature.x", "feature.y"]
    assert expected == table.column_names
    rows = sorted(
        zip(*(table.column(name).to_pylist() for name in ("event_time", "feature.x", "feature.c")), strict=True)
    )
    assert [row[1:] for row in rows] == [(1.5, "a"), (None, "b"), (None, "a"), (None, None)]
    assert [row for row, value in enumerate(table.column("feature.y").is_null().to_pylist()) if not value] == [1]


def test_a_column_of_numbers_and_of_texts_is_one_of_texts() -> None:
    """A column that was taken for numbers first and for categories later keeps all its values."""
    sample = Sample()
    entries = [rows_entry(batch(1, x=[1.5])), rows_entry(batch(2, x=["a"])), rows_entry(batch(3, x=[2.0]))]
    for segment in write_journal(sample.files, [entries]):
        sample.archive.add(segment)
    (table,) = sample.tables().values()
    assert {"1.5", "a", "2"} == set(table.column("feature.x").to_pylist())


def test_quarantined_batches_are_left_out() -> None:
    """What was not counted is not in the archive, wherever the journal says that it was not."""
    sample = Sample()
    first: list[Entry] = [
        rows_entry(batch(1, x=[1.0]), batch(2, key=ModelKey("b", "", ""), x=[2.0])),
        rows_entry(batch(3, x=[3.0]), batch(4, x=[4.0])),
        rows_entry(batch(5, x=[5.0])),
        rows_entry(batch(6, x=[6.0])),
        QuarantinedEntry(1, 1, 1),
    ]
    segments = write_journal(sample.files, [first, [QuarantinedEntry(2, 0, 1)], [QuarantinedEntry(3, 0, 1)]])
    sample.archive.leave_out(4, 0)  # As an entry says that is being written.
    for _ in range(2):  # A second time when the segment could not be removed after the first.
        sample.archive.add(segments[0])
        found = [table.column("feature.x").to_pylist() for table in sample.tables().values()]
        assert found == [[1.0, 4.0]]


@pytest.mark.parametrize("name", NAMES)
def test_any_name_is_one_harmless_directory(tmp_path: Path, name: str) -> None:
    """Whatever a model is called: one directory below the archive, and the file says the whole name."""
    sample = Sample(RealFiles(), tmp_path)
    key = ModelKey(name, name, name)
    for segment in write_journal(sample.files, [[rows_entry(batch(1, key=key, x=[1.0]))]], tmp_path):
        sample.archive.add(segment)
    (file,) = (tmp_path / "archive").glob("*/*/*/*/*/*.parquet")
    assert file.resolve().is_relative_to(tmp_path.resolve() / "archive")
    assert len(list(tmp_path.rglob("*.parquet"))) == 1
    metadata = pq.read_schema(file).metadata
    assert key == ModelKey(*(metadata[KEY_METADATA[each].encode()].decode() for each in key._fields))


def test_different_names_have_different_directories() -> None:
    """No two models share a directory: not those whose names begin alike, nor one that is called like a cut one."""
    cut = hour_path(Path(), ModelKey("x" * 5_000, "", ""), 0).parts[0].removeprefix("model=")
    names = [*NAMES, cut, cut.replace("~", "%7E"), *("x" * length for length in range(195, 210))]
    paths = {hour_path(Path(), ModelKey(name, "", ""), 0) for name in names}
    assert len(set(names)) == len(paths)
    assert max(len(part) for path in paths for part in path.parts) <= 255


@pytest.mark.parametrize("name", [name for name in NAMES if len(name) < 50 and name != "__HIVE_DEFAULT_PARTITION__"])
def test_polars_reads_the_whole_archive(tmp_path: Path, name: str) -> None:
    """Models, versions, stages, days and hours are columns."""
    sample = Sample(RealFiles(), tmp_path)
    entry = rows_entry(batch(1, 61, key=ModelKey(name, "3", ""), x=[1.0, 2.0], c=["a", "b"]))
    for segment in write_journal(sample.files, [[entry]], tmp_path):
        sample.archive.add(segment)
    rows = pl.scan_parquet(
        tmp_path / "archive",
        hive_partitioning=True,
        hive_schema={"model": pl.String, "version": pl.String, "stage": pl.String, "date": pl.Date, "hour": pl.Int8},
    )
    found = rows.filter(pl.col("hour") == 1).select("model", "version", "stage", "hour", "feature.x", "feature.c")
    assert [(name, "3", "", 1, 2.0, "b")] == found.collect().rows()
    assert rows.collect().schema["event_time"] == pl.Datetime("ns", "UTC")


def test_files_of_other_people_stay(tmp_path: Path) -> None:
    """What the archive has not written is neither counted nor removed."""
    sample = Sample(RealFiles(), tmp_path, ArchiveConfig(max_age="1h"))
    segments = write_journal(
        sample.files, [[rows_entry(batch(1, x=[1.0]))], [rows_entry(batch(600, x=[1.0]))]], tmp_path
    )
    sample.archive.add(segments[0])
    hour = next(iter(hours(sample.files, sample.path)))
    for path in (hour.path / "notes.txt", sample.path / "notes.txt", sample.path / "model=x"):
        path.write_text("mine")
    (hour.path.parent / "hour=zz").mkdir()
    sample.archive.add(segments[1])
    archive = sample.open()
    archive.trim()
    assert (hour.path / "notes.txt").read_text() == "mine"
    assert (sample.path / "notes.txt").exists()
    assert sorted({each.hour % 24 for each in hours(sample.files, sample.path)} - {0}) == [10]
    assert sample.telemetry.archive_bytes.value() == sum(path.stat().st_size for path in sample.path.rglob("*.parquet"))


def archived_hours(sample: Sample) -> list[int]:
    """Hours of the files in the archive, counted from the first day."""
    return sorted(each.hour - START_NS // HOUR_NS for each in hours(sample.files, sample.path))


def fill(sample: Sample, hours_: int = 5) -> None:
    """One segment for each hour, each with a file of the same size."""
    for segment in write_journal(sample.files, [[rows_entry(batch(60 * each, x=[1.0]))] for each in range(hours_)]):
        sample.archive.add(segment)


def test_what_is_too_old_goes_by_the_time_in_the_rows() -> None:
    """Age counts back from the newest hour, so that a replay of years ago stays, but never from the future."""
    sample = Sample(config=ArchiveConfig(max_age="2h"))
    fill(sample)
    sample.clock.time_ns = START_NS + 4 * HOUR_NS
    sample.archive.trim()
    assert archived_hours(sample) == [1, 2, 3, 4]
    sample.clock.time_ns = START_NS + 1_000 * DAY_NS
    sample.archive.trim()
    assert archived_hours(sample) == [2, 3, 4]
    assert sample.telemetry.archive_removed_bytes.value(reason="age") > 0


def test_what_is_too_much_goes_oldest_first() -> None:
    """Beyond `max_bytes` files go, the oldest hour's first, and the bytes are counted."""
    sample = Sample()
    fill(sample)
    size_bytes = sample.telemetry.archive_bytes.value() / 5
    sample.config = ArchiveConfig.model_construct(max_bytes=int(size_bytes * 3.5), max_age="30d", enabled=True)
    sample.open().trim()
    assert archived_hours(sample) == [2, 3, 4]
    assert sample.telemetry.archive_removed_bytes.value(reason="size") == 2 * size_bytes
    assert sample.telemetry.archive_bytes.value() == 3 * size_bytes


def test_of_an_hour_too_large_the_newest_rows_stay() -> None:
    """Where one hour alone has more than may be kept, what was received first goes."""
    sample = Sample()
    segments = write_journal(sample.files, [[rows_entry(batch(1, x=[float(each)]))] for each in range(4)])
    for segment in segments:
        sample.archive.add(segment)
    size_bytes = sample.telemetry.archive_bytes.value() / 4
    sample.config = ArchiveConfig.model_construct(max_bytes=int(size_bytes * 2.5), max_age="30d", enabled=True)
    sample.open().trim()
    assert [table.column("feature.x").to_pylist() for table in sample.tables().values()] == [[2.0], [3.0]]


def test_the_archive_gives_way_when_the_disk_is_short() -> None:
    """Old hours go before the journal would have to refuse new rows, also before something new is written."""
    sample = Sample()
    fill(sample)
    left = iter([GIB, GIB, GIB, 3 * GIB])
    archive = sample.open()
    archive._free_bytes = lambda _: next(left, 3 * GIB)
    archive.trim()
    assert len(archived_hours(sample)) < 5
    assert sample.telemetry.archive_removed_bytes.value(reason="disk") > 0


def test_empty_directories_go(tmp_path: Path) -> None:
    """A model whose rows are all too old leaves no directories behind."""
    sample = Sample(RealFiles(), tmp_path, ArchiveConfig(max_age="1h"))
    old = rows_entry(batch(1, key=ModelKey("old", "", ""), x=[1.0]))
    for segment in write_journal(sample.files, [[old], [rows_entry(batch(60 * 20, x=[1.0]))]], tmp_path):
        sample.archive.add(segment)
    sample.archive.trim()
    assert sorted(path.name for path in sample.path.iterdir()) == ["model=model"]


def test_an_archive_that_is_turned_off_stays_empty() -> None:
    """`archive.enabled: false` writes nothing."""
    sample = Sample(config=ArchiveConfig(enabled=False))
    fill(sample)
    assert sample.contents() == {}


def test_a_damaged_entry_is_left_out_and_said(caplog: pytest.LogCaptureFixture) -> None:
    """Damage in the journal neither stops the archive nor passes unseen."""
    files = NestedFiles()
    sample = Sample(files)
    (segment,) = write_journal(files, [[rows_entry(batch(1, x=[1.0])), rows_entry(batch(2, x=[2.0]))]])
    content = bytearray(files.content(segment.path))
    content[100] ^= 1
    files.overwrite(segment.path, bytes(content))
    sample.archive.add(segment)
    assert [table.column("feature.x").to_pylist() for table in sample.tables().values()] == [[2.0]]
    assert "missing in the archive" in caplog.text


def test_a_segment_that_cannot_be_read_can_be_added_later() -> None:
    """What fails for now is to be tried again."""
    sample = Sample()
    with pytest.raises(TransientError, match="cannot be written"):
        sample.archive.add(Segment(Path("/state/journal/none"), 1, 1, 0, sealed=True))


def test_row_groups_have_times_to_look_rows_up_by() -> None:
    """Statistics of `event_time` let readers skip what they need not read."""
    sample = Sample()
    rows = ROW_GROUP_ROWS + 1
    times = START_NS + np.arange(rows)
    for segment in write_journal(sample.files, [[rows_entry(predictions(times, {"x": np.zeros(rows)}))]]):
        sample.archive.add(segment)
    (content,) = sample.contents().values()
    metadata = pq.ParquetFile(io.BytesIO(content)).metadata
    newest = [metadata.row_group(group).column(0).statistics.max_raw for group in range(metadata.num_row_groups)]
    assert [START_NS + ROW_GROUP_ROWS - 1, START_NS + rows - 1] == newest


KEYS = st.sampled_from([ModelKey("a", "", ""), ModelKey("b", "1", ""), ModelKey("b", "1", "canary")])
VALUES = st.lists(st.one_of(st.none(), st.floats(width=64)), min_size=1, max_size=4)
TEXTS = st.sampled_from(["", "a", "größe"])


@st.composite
def drawn_batches(draw: st.DrawFn) -> Predictions:
    """A batch with some of a model's columns."""
    values = draw(VALUES)
    minutes = [draw(st.integers(0, 200)) for _ in values]
    columns: dict[str, list[float | str | None]] = {}
    for name in draw(st.sets(st.sampled_from("xyz"))):
        columns[name] = list(values)
    if draw(st.booleans()):
        columns["c"] = [draw(TEXTS) for _ in values]
    return batch(*minutes, key=draw(KEYS), **columns)


def canonical(rows: pa.Table | pa.RecordBatch, key: ModelKey) -> list[str]:
    """Each row as text: all values but those that are null."""
    return [
        f"{key} { {name: value for name, value in sorted(row.items()) if value is not None} }"
        for row in rows.to_pylist()
    ]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.lists(drawn_batches(), max_size=3), min_size=1, max_size=4), min_size=1, max_size=3))
def test_what_goes_in_comes_out_once(drawn: list[list[list[Predictions]]]) -> None:
    """Every row of every entry is in the archive once, with all its values, in the directory of its hour."""
    sample = Sample()
    for segment in write_journal(sample.files, [[rows_entry(*entry) for entry in entries] for entries in drawn]):
        sample.archive.add(segment)
    expected = [
        line for entries in drawn for entry in entries for each in entry for line in canonical(each.rows, each.key)
    ]
    found = list[str]()
    for each in hours(sample.files, sample.path):
        for name in sample.files.names(each.path):
            table = pq.read_table(io.BytesIO(bytes(sample.files.read(each.path / name))))
            found += canonical(table, each.key)
            assert {each.hour} == {time // HOUR_NS for time in table.column("event_time").cast(pa.int64()).to_pylist()}
    assert sorted(expected) == sorted(found)
    assert len(expected) == sample.telemetry.archived_rows.value()
