"""Baseline files come back exactly as they were written, or not at all."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

from driftmeter.baseline.book import BaselineBook, read_book
from driftmeter.baseline.build import build_baseline
from driftmeter.baseline.file import (
    FORMAT_VERSION,
    SEGMENTS_FORMAT_VERSION,
    baseline_from_bytes,
    baseline_to_bytes,
    hashed,
    read_baseline,
    write_baseline,
)
from driftmeter.errors import BaselineError, DamagedError
from driftmeter.model.baseline import Baseline, Chunks
from driftmeter.model.bins import CategoryBins, NumericBins
from driftmeter.model.windows import parse_window
from rows import HOUR_NS, dataset

HEADER = b"driftmeter.baseline"


def make_baseline(model: str = "price", version: str = "3") -> Baseline:
    """All sorts of columns over ten days."""
    random = np.random.default_rng(5)
    rows = 2000
    times = pl.from_epoch(pl.Series(np.arange(rows) * (240 * HOUR_NS // rows)), "ns")
    numbers = random.normal(size=rows)
    numbers[:3] = [np.nan, np.inf, -np.inf]
    data = dataset(
        {
            "time": times,
            "normal": numbers,
            "whole": pl.Series(random.integers(0, 5, rows)),
            "constant": np.full(rows, 7.0),
            "color[red]": pl.Series(random.choice(["ünï", "", '"', "a,b"], rows)),
            "many": pl.Series(random.integers(0, 1500, rows).astype(str)),
            "holes": pl.Series([None if i % 3 else float(i) for i in range(rows)]),
            "list": pl.Series([[1, 2]] * rows),
        },
        "time",
    )
    return build_baseline(data, model, version, [parse_window(text) for text in ("1h", "24h", "100rows")])


@pytest.fixture
def written(tmp_path: Path) -> tuple[Baseline, Path]:
    """A baseline and its file."""
    path = tmp_path / "new folder" / "model=price" / "b[1].parquet"
    return write_baseline(make_baseline(), path), path


def assert_same_chunks(left: Chunks, right: Chunks) -> None:
    """All tables are equal to the last bit."""
    for name in ("starts_ns", "rows", "blocks", "values"):
        np.testing.assert_array_equal(getattr(left, name), getattr(right, name))
    assert list(left.ratios) == list(right.ratios)
    assert list(left.compared) == list(right.compared)
    for key, table in left.ratios.items():
        np.testing.assert_array_equal(table, right.ratios[key])
    for kind, compared in left.compared.items():
        np.testing.assert_array_equal(compared.rows, right.compared[kind].rows)
        for key, squared in compared.squared.items():
            np.testing.assert_array_equal(squared, right.compared[kind].squared[key])


def assert_same(left: Baseline, right: Baseline) -> None:
    """Everything is equal to the last bit."""
    for name in ("model", "version", "name", "rows", "start_ns", "end_ns", "windows", "skipped", "content_hash"):
        assert getattr(left, name) == getattr(right, name), name
    assert list(left.chunks) == list(right.chunks)
    for window, chunks in left.chunks.items():
        assert_same_chunks(chunks, right.chunks[window])
    assert len(left.columns) == len(right.columns)
    for one, other in zip(left.columns, right.columns, strict=True):
        assert one.column == other.column
        for name in ("missing", "non_finite", "mean", "stddev", "minimum", "maximum"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        np.testing.assert_array_equal(one.counts, other.counts)
        assert dict(one.noise) == dict(other.noise)
        if isinstance(one.bins, CategoryBins):
            assert isinstance(other.bins, CategoryBins)
            assert one.bins.categories == other.bins.categories
            assert one.bins.others == other.bins.others
            assert one.bins.others_truncated == other.bins.others_truncated
        else:
            assert isinstance(other.bins, NumericBins)
            np.testing.assert_array_equal(one.bins.edges, other.bins.edges)
            assert one.cuts is not None
            assert other.cuts is not None
            for name in ("quantile_starts", "deciles", "doane", "discrete"):
                np.testing.assert_array_equal(getattr(one.cuts, name), getattr(other.cuts, name))


def test_round_trip_is_exact(written: tuple[Baseline, Path]) -> None:
    """Reading gives what was written, in any folder and under any name."""
    baseline, path = written
    assert_same(read_baseline(path), baseline)
    assert baseline.skipped == {
        "list": "it holds lists of numbers: mark it with --embedding to compare them as vectors"
    }
    assert len(baseline.content_hash) == 64


def test_hash_depends_on_the_content_alone(tmp_path: Path) -> None:
    """The same rows give the same hash and the same file; another version gives another hash."""
    one = write_baseline(make_baseline(), tmp_path / "one")
    same = write_baseline(make_baseline(), tmp_path / "same")
    other = write_baseline(make_baseline(version="4"), tmp_path / "other")
    assert one.content_hash == same.content_hash != other.content_hash
    assert (tmp_path / "one").read_bytes() == (tmp_path / "same").read_bytes()


def test_writing_leaves_one_file(written: tuple[Baseline, Path]) -> None:
    """Writing goes by way of another name, which is gone afterwards; an old file is replaced."""
    _, path = written
    write_baseline(make_baseline(version="5"), path)
    assert read_baseline(path).version == "5"
    assert list(path.parent.iterdir()) == [path]


def test_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    """The message names the file and the command."""
    with pytest.raises(BaselineError, match=r"no such baseline file.*driftmeter baseline build"):
        read_baseline(tmp_path / "gone.parquet")


def test_plain_parquet_says_how_to_build_from_it(tmp_path: Path) -> None:
    """A file of rows given in the place of a baseline is told apart."""
    path = tmp_path / "rows.parquet"
    pl.DataFrame({"x": [1.0]}).write_parquet(path)
    with pytest.raises(BaselineError, match=r"not a baseline.*baseline build --data"):
        read_baseline(path)


@pytest.mark.parametrize("content", [b"", b"hello", b"PAR1", b"PAR1" * 1000, b'{"model": 1}'])
def test_what_is_no_parquet_is_refused(tmp_path: Path, content: bytes) -> None:
    """Any other file is refused by name."""
    path = tmp_path / "b.parquet"
    path.write_bytes(content)
    with pytest.raises(BaselineError, match=r"b\.parquet: damaged or not a baseline"):
        read_baseline(path)


def test_folder_is_refused(tmp_path: Path) -> None:
    """A folder is not a baseline file."""
    with pytest.raises(BaselineError):
        read_baseline(tmp_path)


def test_every_truncation_is_refused(written: tuple[Baseline, Path]) -> None:
    """Whatever part of the file is there, it is not taken for the whole."""
    _, path = written
    content = path.read_bytes()
    for size in [*range(0, len(content), max(1, len(content) // 200)), len(content) - 1]:
        path.write_bytes(content[:size])
        with pytest.raises(BaselineError):
            read_baseline(path)


def test_damaged_bytes_are_refused_or_harmless(written: tuple[Baseline, Path]) -> None:
    """A changed byte gives an error of ours, or the very same baseline where the byte means nothing."""
    baseline, path = written
    content = path.read_bytes()
    random = np.random.default_rng(9)
    refused = 0
    for place in random.choice(len(content), 300, replace=False).tolist():
        damaged = bytearray(content)
        damaged[place] ^= 1 << int(random.integers(8))
        path.write_bytes(damaged)
        try:
            assert_same(read_baseline(path), baseline)
        except BaselineError as error:
            refused += 1
            assert str(path) in str(error)  # noqa: PT017 - either outcome is right.
    assert refused > 200


def rewrite(path: Path, header: bytes | None = None, column: str | None = None) -> None:
    """Edit a file as a person with Python would."""
    table = pq.ParquetFile(path).read()
    metadata = dict(table.schema.metadata)
    if column is not None:
        values = pl.Series([0.5] * table.num_rows).to_arrow()
        table = table.set_column(table.schema.get_field_index(column), column, values)
    pq.write_table(table.replace_schema_metadata(metadata | ({HEADER: header} if header is not None else {})), path)


def test_newer_format_asks_for_an_upgrade(written: tuple[Baseline, Path]) -> None:
    """The message names the file's format and those that can be read."""
    _, path = written
    newer = SEGMENTS_FORMAT_VERSION + 1
    header = json.loads(pq.read_schema(path).metadata[HEADER]) | {"format": newer}
    rewrite(path, json.dumps(header).encode())
    readable = f"formats {FORMAT_VERSION} and {SEGMENTS_FORMAT_VERSION}"
    with pytest.raises(BaselineError, match=f"format {newer}.*{readable}; upgrade"):
        read_baseline(path)


@pytest.mark.parametrize("header", [b"", b"not json", b"\xff", b"[]", b"3", b"null"])
def test_damaged_header_is_refused(written: tuple[Baseline, Path], header: bytes) -> None:
    """A header that is not what this program writes is an error of ours, with the file's name."""
    _, path = written
    rewrite(path, header)
    with pytest.raises(BaselineError, match="b\\[1\\]"):
        read_baseline(path)


def test_edited_numbers_are_refused(written: tuple[Baseline, Path]) -> None:
    """Numbers changed by hand no longer match the hash."""
    _, path = written
    rewrite(path, column="mean")
    with pytest.raises(BaselineError, match="does not match its hash"):
        read_baseline(path)


def test_edited_header_is_refused(written: tuple[Baseline, Path]) -> None:
    """So does a header whose model was changed by hand."""
    _, path = written
    header = json.loads(pq.read_schema(path).metadata[HEADER]) | {"model": "other"}
    rewrite(path, json.dumps(header).encode())
    with pytest.raises(BaselineError, match="does not match its hash"):
        read_baseline(path)


def test_rewriting_without_change_is_accepted(written: tuple[Baseline, Path]) -> None:
    """The hash is of the content, not of the bytes: another Parquet writer may have them."""
    baseline, path = written
    rewrite(path)
    assert_same(read_baseline(path), baseline)


def test_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """A file in the place of a folder is an error of ours."""
    (tmp_path / "file").write_text("")
    with pytest.raises(BaselineError, match="cannot be written"):
        write_baseline(make_baseline(), tmp_path / "file" / "b.parquet")


def test_book_finds_the_versions_own_baseline_first(tmp_path: Path) -> None:
    """The version's own, else the one for any version, else none; both carry the names of who asks."""
    write_baseline(make_baseline(version=""), tmp_path / "any.parquet")
    own = write_baseline(make_baseline(version="3"), tmp_path / "own.parquet")
    book = read_book([str(tmp_path / "*.parquet"), str(tmp_path / "own.parquet"), str(tmp_path / "nothing*")])
    third, fourth = book.find("price", "3"), book.find("price", "4")
    assert third is not None
    assert third.content_hash == own.content_hash
    assert fourth is not None
    assert (fourth.model, fourth.version, fourth.name) == ("price", "4", "file")
    assert fourth.content_hash != own.content_hash
    assert book.find("other", "3") is None


def test_two_baselines_for_one_version_are_a_mistake() -> None:
    """The message says which model and version."""
    with pytest.raises(BaselineError, match="two baselines for model 'price', version '3'"):
        BaselineBook([make_baseline(), make_baseline()])


def test_named_file_must_be_there(tmp_path: Path) -> None:
    """A wildcard may match nothing; a name may not."""
    assert read_book([str(tmp_path / "*.parquet")]).find("price", "3") is None
    with pytest.raises(BaselineError, match="no such baseline file"):
        read_book([str(tmp_path / "gone.parquet")])


def test_bytes_are_what_a_file_holds(tmp_path: Path) -> None:
    """A baseline in stored state is the one of its file, hash included; written again it is the same bytes."""
    baseline = make_baseline()
    content = baseline_to_bytes(baseline)
    path = tmp_path / "baseline.parquet"
    path.write_bytes(content)
    restored = baseline_from_bytes(content)
    assert baseline_to_bytes(restored) == baseline_to_bytes(read_baseline(path)) == content
    assert restored.content_hash == hashed(baseline).content_hash != ""
    assert restored.layout.size == baseline.layout.size
    for one, other in zip(baseline.columns, restored.columns, strict=True):
        assert (one.noise, one.counts.tolist()) == (other.noise, other.counts.tolist())


@pytest.mark.parametrize("place", [50, 500, -200, -5])
def test_damaged_bytes_are_named(place: int) -> None:
    """A flipped byte or a missing end of a stored baseline is found."""
    content = bytearray(baseline_to_bytes(make_baseline()))
    with pytest.raises(DamagedError, match="stored baseline"):
        baseline_from_bytes(bytes(content[:place]))
    content[place] ^= 0xFF
    with pytest.raises(DamagedError, match="stored baseline"):
        baseline_from_bytes(bytes(content))
