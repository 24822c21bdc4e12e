"""Baselines with columns of embeddings, of files and of the archive."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from driftmeter.archived import archived_reference
from driftmeter.baseline.build import build_baseline
from driftmeter.baseline.data import ColumnOptions, Dataset, Rows, check_marks, to_dataset
from driftmeter.baseline.derivation import Derivation
from driftmeter.baseline.derived_rows import DerivedRows
from driftmeter.baseline.embeddings import frames_of
from driftmeter.baseline.file import baseline_to_bytes, read_baseline, write_baseline
from driftmeter.baseline.files import RowFiles, read_datasets
from driftmeter.baseline.fitting import differences
from driftmeter.errors import BaselineError
from driftmeter.journal.archive_layout import file_name, hour_path
from driftmeter.journal.archive_rows import by_hour, joined, parquet_of
from driftmeter.model.baseline import Baseline
from driftmeter.model.columns import Kind
from driftmeter.model.predictions import ModelKey
from driftmeter.model.windows import parse_window
from driftmeter.summary.embeddings import DERIVED, VECTORS
from rows import HOUR_NS, predictions

ROWS, DIMENSIONS = 3_000, 5
OPTIONS = ColumnOptions.of("time", embeddings=["vec"])
WINDOWS = [parse_window("1h"), parse_window("200rows")]
NAMES = [f"vec.{name}" for name in DERIVED]

Lists = list[list[float | None] | None]


def vectors(rows: int = ROWS, seed: int = 1) -> npt.NDArray[np.float64]:
    """About a mean that is not zero, wider in some directions than in others."""
    random = np.random.default_rng(seed)
    return np.asarray(random.normal(size=(rows, DIMENSIONS)) * [5.0, 3.0, 2.0, 1.0, 0.5] + [1.0, 2.0, 0.0, 0.0, -1.0])


def table(lists: pa.Array) -> pa.Table:
    """Vectors beside numbers and times."""
    times = pa.array(np.arange(len(lists)) * HOUR_NS // 50).cast(pa.timestamp("ns", "UTC"))
    x = np.random.default_rng(9).normal(size=len(lists))
    return pa.table({"time": times, "vec": lists, "x": x})


def read(path: Path, held_cells_max: int = 10**9, options: ColumnOptions = OPTIONS) -> Rows:
    """The rows of a file or folder."""
    (rows,) = read_datasets([[path]], options, held_cells_max)
    return rows


def built(rows: Rows) -> Baseline:
    """The baseline of rows as they are."""
    return build_baseline(DerivedRows.of_reference(rows), "m", "", WINDOWS)


def of_lists(lists: Lists) -> Baseline:
    """The baseline of these vectors, each beside a number."""
    frame = pl.DataFrame({"vec": pl.Series(lists, dtype=pl.List(pl.Float64)), "x": np.arange(float(len(lists)))})
    return built(to_dataset(frame, ColumnOptions.of(embeddings=["vec"]), "rows"))


def test_an_embedding_becomes_numbers_as_seen_from_its_mean(tmp_path: Path) -> None:
    """In its place; by numpy alone, from the vectors; the frame is in the file, and chunks and a sample are there."""
    pq.write_table(table(pa.array(vectors().tolist(), VECTORS)), tmp_path / "rows.parquet")
    baseline = built(read(tmp_path / "rows.parquet"))
    assert [each.column.name for each in baseline.columns] == [*NAMES, "x"]
    frame = frames_of(baseline)["feature.vec"]
    mean = vectors().mean(axis=0)
    np.testing.assert_allclose(frame.mean, mean, rtol=1e-12)
    spread = np.sqrt(((vectors() - mean) ** 2).sum(axis=1).mean())
    distances = np.linalg.norm(vectors() - mean, axis=1) / spread
    distance = baseline.columns[2]
    assert (distance.mean, distance.stddev) == pytest.approx((distances.mean(), distances.std()))
    norms = np.linalg.norm(vectors(), axis=1)
    assert (baseline.columns[0].minimum, baseline.columns[0].maximum) == pytest.approx((norms.min(), norms.max()))
    assert baseline.columns[3].stddev == pytest.approx(1.0)  # In the reference's own standard deviations.
    assert set(baseline.chunks) == {"1h", "200rows"}
    assert baseline.sample.shape == (ROWS, len(NAMES) + 1)
    write_baseline(baseline, tmp_path / "b.parquet")
    again = frames_of(read_baseline(tmp_path / "b.parquet"))["feature.vec"]
    np.testing.assert_array_equal(again.numbers, frame.numbers)


@pytest.mark.parametrize("of_type", [pa.list_(pa.float64(), DIMENSIONS), pa.large_list(pa.float64())], ids=str)
def test_lists_of_all_sorts_are_the_same(tmp_path: Path, of_type: pa.DataType) -> None:
    """Of fixed or of any size: the same bytes."""
    for name, each in (("one", VECTORS), ("other", of_type)):
        pq.write_table(table(pa.array(vectors().tolist(), each)), tmp_path / f"{name}.parquet")
    one, other = (built(read(tmp_path / f"{name}.parquet")) for name in ("one", "other"))
    assert baseline_to_bytes(one) == baseline_to_bytes(other)


def test_vectors_of_whole_numbers_and_of_less_precision(tmp_path: Path) -> None:
    """Are taken as doubles."""
    for name, of_type in (("short", pa.float32()), ("whole", pa.int16())):
        numbers = np.round(vectors())
        pq.write_table(table(pa.array(numbers.astype(int).tolist(), pa.list_(of_type))), tmp_path / f"{name}.parquet")
    short, whole = (built(read(tmp_path / f"{name}.parquet")) for name in ("short", "whole"))
    assert baseline_to_bytes(short) == baseline_to_bytes(whole)


def test_large_files_are_read_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From memory, or from many files in batches, with what they become in a temporary file: the same bytes."""
    lists: Lists = [[*each] for each in vectors().tolist()]
    lists[7], lists[8], lists[900], lists[901] = None, [1.0], [], [float("nan")] * DIMENSIONS
    whole = table(pa.array(lists, VECTORS))
    pq.write_table(whole, tmp_path / "all.parquet")
    (tmp_path / "parts").mkdir()
    for number, first in enumerate(range(0, ROWS, 1_100)):
        pq.write_table(whole.slice(first, 1_100), tmp_path / "parts" / f"{number}.parquet", row_group_size=333)
    held = read(tmp_path / "all.parquet")
    assert isinstance(held, Dataset)
    expected = baseline_to_bytes(built(held))
    monkeypatch.setattr("driftmeter.baseline.files._BATCH_NUMBERS", 64 * DIMENSIONS)
    monkeypatch.setattr("driftmeter.baseline.derived_rows.HELD_NUMBERS_MAX", 0)
    streamed = read(tmp_path / "parts", 0)
    assert isinstance(streamed, RowFiles)
    sizes = [batch.num_rows for batch in streamed.batches(["feature.vec"])]
    assert max(sizes) == 64
    assert baseline_to_bytes(built(streamed)) == expected


def test_any_part_of_the_rows_can_be_read() -> None:
    """Of vectors' numbers alone, and beside others and times."""
    frame = pl.from_arrow(table(pa.array(vectors().tolist(), VECTORS)))
    assert isinstance(frame, pl.DataFrame)
    rows = DerivedRows.of_reference(to_dataset(frame, OPTIONS, "rows"))
    (everything,) = rows.batches(["feature.vec.norm", "feature.x"], times=True)
    for fields in (["feature.vec.norm"], ["feature.vec.norm", "feature.x"]):
        for first, stop in ((0, 1), (17, 1_000), (2_990, None), (2_990, 5_000)):
            parts = list(rows.batches(fields, first=first, stop=stop))
            assert [part.schema.names for part in parts] == [fields] * len(parts)
            found = pa.Table.from_batches(parts)
            last = min(ROWS, stop or ROWS)
            assert found.equals(pa.Table.from_batches([everything.select(fields).slice(first, last - first)]))


def test_vectors_that_cannot_be_compared() -> None:
    """Another length, null, an element that is null, an empty list: missing. Numbers that are none: not finite."""
    lists: Lists = [[*each] for each in vectors(200).tolist()]
    lists[0], lists[1], lists[2], lists[3] = [1.0, 2.0], None, [None, *[1.0] * 4], []
    lists[4], lists[5] = [float("nan"), *[1.0] * 4], [float("inf"), *[1.0] * 4]
    baseline = of_lists(lists)
    for each in baseline.columns[:-1]:
        assert (each.missing, each.non_finite, int(each.counts.sum())) == (4, 2, 194)
    np.testing.assert_allclose(frames_of(baseline)["feature.vec"].mean, vectors(200)[6:].mean(axis=0))


@pytest.mark.parametrize(
    ("lists", "reason"),
    [
        ([[], [], None], "none of its vectors has numbers alone"),
        ([[float("nan")], [None]], "none of its vectors has numbers alone"),
        ([[0.5] * 4_097] * 2, "at most 4,096 of them"),
        ([[1e200, 1.0], [-1e200, 1.0]], "too large to be compared"),
    ],
    ids=["empty", "not finite", "too long", "too large"],
)
def test_embeddings_without_a_usable_vector_are_left_out(lists: Lists, reason: str) -> None:
    """With the reason; the other columns are used."""
    baseline = of_lists(lists)
    assert [each.column.name for each in baseline.columns] == ["x"]
    assert reason in baseline.skipped["vec"]


@pytest.mark.parametrize("lists", [[[1.0, 2.0]], [[0.0, 0.0]] * 3, [[1.0], [2.0]], [[1.0, 2.0]] * 3], ids=str)
def test_poor_references_can_be_built(lists: Lists) -> None:
    """One vector, zeros, one dimension, all the same: numbers are finite or missing."""
    baseline = of_lists(lists)
    for each in baseline.columns:
        assert each.missing + int(each.counts.sum()) == len(lists)


def test_marks_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    """A column that is no list, one that is not there, and a name that is taken; lists without a mark are left out."""
    path = tmp_path / "rows.parquet"
    whole = table(pa.array(vectors(50).tolist(), VECTORS))
    pq.write_table(whole.append_column("vec.norm", pa.array(np.arange(50.0))), path)
    with pytest.raises(
        BaselineError, match="'x' is marked as an embedding and holds values of type Float64, not lists"
    ):
        read(path, options=ColumnOptions.of(embeddings=["x"]))
    with pytest.raises(BaselineError, match=r"no column fits --embedding 'vect'; there are vec, x, vec\.norm"):
        check_marks(read(path), "--embedding", ["v*", "vect"])
    with pytest.raises(BaselineError, match=r"marked as an embedding, and there is a column vec\.norm"):
        built(read(path))
    assert "mark it with --embedding" in read(path, options=ColumnOptions("time")).skipped["vec"]


def test_rows_of_the_archive_are_those_of_a_file(tmp_path: Path) -> None:
    """Vectors that spans brought, archived by a service, give the baseline that a file with them gives."""
    key = ModelKey("m", "", "")
    lists = pa.array(vectors().tolist(), VECTORS)
    whole = table(lists)
    times = whole.column("time").cast(pa.int64()).to_numpy()
    live = predictions(times, {"x": whole.column("x").to_numpy(), "vec": lists}, key=key)
    for each in by_hour(joined([live.rows])):
        path = hour_path(tmp_path, key, each.hour)
        path.mkdir(parents=True, exist_ok=True)
        (path / file_name(1, 1)).write_bytes(parquet_of(key, each.rows))
    pq.write_table(whole, tmp_path / "rows.parquet")
    archived = archived_reference(tmp_path, "m", "", None, 0, 2**62)
    assert archived.kinds == {"feature.vec": Kind.EMBEDDING, "feature.x": Kind.NUMERIC}
    assert not archived.empty()
    assert baseline_to_bytes(built(archived)) == baseline_to_bytes(built(read(tmp_path / "rows.parquet")))


def test_columns_that_changed_what_they_hold_are_archived() -> None:
    """A column that came as numbers before it was marked: vectors stay, and what is of the wrong type is null."""
    before = predictions([1, 2], {"vec": [0.5, 1.5]})
    after = predictions([3], {"vec": pa.array([[1.0, 2.0]], VECTORS)})
    names = predictions([4], {"vec": ["a"]})
    both = joined([before.rows, after.rows, names.rows])
    assert both.column("feature.vec").to_pylist() == [None, None, [1.0, 2.0], None]


def test_live_columns_are_held_against_raw_ones() -> None:
    """Spans bring the vector, and the baseline knows it: what people read are the names of what is sent."""
    baseline = of_lists([[*each] for each in vectors(50).tolist()])
    live = {"feature.vec": Kind.EMBEDDING, "feature.x": Kind.NUMERIC}
    assert differences(baseline, live) == []
    (line,) = differences(baseline, live, empty=["feature.vec"])
    assert line.startswith("in the baseline and missing live: feature vec;")
    (line,) = differences(baseline, {**live, "feature.vec": Kind.NUMERIC})
    assert "feature vec (embedding there, numeric live)" in line


def test_numbers_of_rows_are_made_once_for_all_their_columns() -> None:
    """What raw rows must be read for columns of a baseline, texts and vectors as they are."""
    derivation = Derivation.of(of_lists([[*each] for each in vectors(50).tolist()]))
    assert derivation.sources(["feature.x", "feature.vec.norm", "feature.vec.cosine"]) == ["feature.x", "feature.vec"]
