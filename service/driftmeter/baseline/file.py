"""Baseline files: one Parquet file, one row per column, with a content hash that is checked on reading."""

import contextlib
import hashlib
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from driftmeter.baseline.packed import CHUNK_COUNTS, CHUNK_STATISTICS, flat_numbers, pack_chunks, unpack_chunks
from driftmeter.baseline.seasons import pack_seasons, unpack_seasons
from driftmeter.errors import BaselineError, DamagedError
from driftmeter.model.baseline import ROLLING_NS, Baseline, ColumnBaseline, Cuts
from driftmeter.model.bins import CategoryBins, NumericBins
from driftmeter.model.columns import Column, Role
from driftmeter.model.seasons import UTC

FORMAT_VERSION = 2
"""Raised when a file can no longer be read by earlier releases."""

SEGMENTS_FORMAT_VERSION = 3
"""Of files that hold segments; all others are as they were."""

_KEY = b"driftmeter.baseline"

_SCHEMA = pa.schema(
    [
        ("role", pa.string()),
        ("column", pa.string()),
        ("kind", pa.string()),
        ("edges", pa.list_(pa.float64())),
        ("categories", pa.list_(pa.string())),
        ("other_categories", pa.list_(pa.string())),
        ("other_categories_truncated", pa.bool_()),
        ("counts", pa.list_(pa.uint64())),
        ("missing", pa.uint64()),
        ("non_finite", pa.uint64()),
        ("mean", pa.float64()),
        ("stddev", pa.float64()),
        ("min", pa.float64()),
        ("max", pa.float64()),
        ("quantile_starts", pa.list_(pa.float64())),
        ("decile_edges", pa.list_(pa.float64())),
        ("doane_edges", pa.list_(pa.float64())),
        ("discrete", pa.bool_()),
        ("sample", pa.list_(pa.float64())),
        ("words", pa.list_(pa.string())),
        ("frame", pa.list_(pa.list_(pa.float64()))),
        ("noise", pa.list_(pa.struct([("method", pa.string()), ("a", pa.float64())]))),
    ]
)

_SEGMENT = pa.field("segment", pa.string())
"""In files that hold segments: the segment that a row is of, null in rows of the whole, which come first."""

_SEASONS = "seasons"
_TABLES = pa.schema(
    [
        (CHUNK_COUNTS, pa.list_(pa.int64())),
        (CHUNK_STATISTICS, pa.list_(pa.float64())),
        (_SEASONS, pa.list_(pa.int64())),
    ]
)
"""The chunks of each column, one window length after the other, as the header lists them (see `packed`), and its counts
by hour of the week."""


def write_baseline(baseline: Baseline, path: Path) -> Baseline:
    """Write atomically; returns the baseline with its content hash."""
    table, content_hash = _to_table(baseline)
    partial = path.with_name(f"{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, partial, compression="zstd")
        partial.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise BaselineError(f"{path}: cannot be written: {error}") from error
    return replace(baseline, content_hash=content_hash)


def read_baseline(path: Path) -> Baseline:
    """Read and check a file; raises BaselineError that says what is wrong with it and what to do."""
    return baseline_from_content(read_content(path), str(path))


def read_content(path: Path) -> bytes:
    """The bytes of a file; raises BaselineError that says what to do when there is none."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise BaselineError(
            f"{path}: there is no such baseline file; make one with: driftmeter baseline build"
        ) from None
    except OSError as error:
        raise BaselineError(f"{path}: cannot be read: {error.strerror or error}") from error


def baseline_from_content(content: bytes, place: str) -> Baseline:
    """The baseline of a file's bytes.

    Args:
        content: The bytes.
        place: What messages call it.

    Raises:
        BaselineError: Says what is wrong with it and what to do.
    """
    try:
        # Not by way of a data set: its threads may outlive the reading, and a process that ends then is aborted.
        table = pq.ParquetFile(pa.BufferReader(content)).read()
    except (pa.ArrowException, OSError) as error:
        raise BaselineError(
            f"{place}: damaged or not a baseline file ({error}); build it again with: driftmeter baseline build"
        ) from error
    return _from_table(place, table)


def baseline_to_bytes(baseline: Baseline) -> bytes:
    """What `write_baseline` would write: all but the baseline's label, bit for bit."""
    sink = io.BytesIO()
    pq.write_table(_to_table(baseline)[0], sink, compression="zstd")
    return sink.getvalue()


def baseline_from_bytes(content: bytes) -> Baseline:
    """The baseline of `baseline_to_bytes`, with its content hash and the label `file`.

    Raises:
        DamagedError: The content is not what was written.
    """
    try:
        return baseline_from_content(content, "a stored baseline")
    except BaselineError as error:
        raise DamagedError(f"a stored baseline is damaged: {error}") from error


def hashed(baseline: Baseline) -> Baseline:
    """The same baseline with its content hash, as if it had been written and read."""
    return replace(baseline, content_hash=_to_table(baseline)[1])


def _to_table(baseline: Baseline) -> tuple[pa.Table, str]:
    """The table of a file, its header included, and the content hash."""
    table, described = _part_table(baseline, [_to_row(each) for each in baseline.columns])
    header = {
        "format": SEGMENTS_FORMAT_VERSION if baseline.segments else FORMAT_VERSION,
        "model": baseline.model,
        "version": baseline.version,
        **described,
        "skipped": dict(baseline.skipped),
    }
    if baseline.rolling_ns != ROLLING_NS:
        header["rolling_ns"] = baseline.rolling_ns
    if baseline.segments:
        parts = {
            label: _part_table(each, [_of_segment(_to_row(column)) for column in each.columns])
            for label, each in baseline.segments.items()
        }
        header["segments"] = [{"segment": label, **said} for label, (_, said) in parts.items()]
        labels = np.repeat(np.array([None, *parts], object), len(baseline.columns))
        table = pa.concat_tables([table, *(part for part, _ in parts.values())]).combine_chunks()
        table = table.append_column(_SEGMENT, pa.array(labels.tolist(), _SEGMENT.type))
    content_hash = header["sha256"] = _content_hash(header, table)
    header["levels"] = {key: each.hex() for key, each in baseline.levels.items()}
    header["levels_sha256"] = _levels_hash(header["levels"])
    return table.replace_schema_metadata({_KEY: json.dumps(header).encode()}), content_hash


def _part_table(part: Baseline, rows: list[dict[str, Any]]) -> tuple[pa.Table, dict[str, Any]]:
    """Rows of a file, of the whole or of one segment, and what the header says of them."""
    table = pa.Table.from_pylist(rows, schema=_SCHEMA)
    described, arrays = pack_chunks(part.chunks, len(part.columns))
    for field, array in zip(_TABLES, (*arrays, pack_seasons(part.columns)), strict=True):
        table = table.append_column(field, array)
    return table, {
        "rows": part.rows,
        "start_ns": part.start_ns,
        "end_ns": part.end_ns,
        "windows": list(part.windows),
        "chunks": described,
        "hours": None if part.hours is None else part.hours.tolist(),
        "zone": part.zone,
    }


_OF_SEGMENTS = ("role", "column", "counts", "missing", "non_finite", "noise")


def _of_segment(row: dict[str, Any]) -> dict[str, Any]:
    """What a segment has of its own: the rest is as in the whole."""
    return {name: row[name] for name in _OF_SEGMENTS}


def _from_table(place: str, table: pa.Table) -> Baseline:
    """The baseline of a file's table, checked; raises BaselineError."""
    header = _header(place, table)
    found = dict(header)
    expected, levels = found.pop("sha256", None), found.pop("levels", {})
    if found.pop("levels_sha256", None) != _levels_hash(levels):
        raise BaselineError(f"{place}: the levels in it do not match their hash: damaged or edited; build it again")
    try:
        actual = _content_hash(found, table.replace_schema_metadata(None))
    except (pa.ArrowException, ValueError, KeyError) as error:  # Texts that are not UTF-8 any more.
        raise BaselineError(f"{place}: damaged ({error}); build it again") from error
    if actual != expected:
        raise BaselineError(f"{place}: the content does not match its hash: damaged or edited; build it again")
    described = header.get("segments", [])
    size = len(table) // (1 + len(described))
    rows = table.slice(0, size)
    columns = tuple(map(_from_row, rows.select(_SCHEMA.names).to_pylist()))
    bare = Baseline(header["model"], header["version"], "file", 0, None, None, columns, ())
    whole = _part_from(replace(bare, rolling_ns=header.get("rolling_ns", ROLLING_NS)), header, rows)
    segments = {
        each["segment"]: _segment_from(whole, each, table.slice(number * size, size))
        for number, each in enumerate(described, 1)
    }
    return replace(
        whole,
        skipped=header["skipped"],
        levels={key: float.fromhex(each) for key, each in levels.items()},
        content_hash=str(expected),
        segments=segments,
    )


def _part_from(bare: Baseline, said: dict[str, Any], rows: pa.Table) -> Baseline:
    """A baseline of some columns with what the header says and the tables of these rows hold."""
    seasons = [unpack_seasons(each.values.to_numpy()) for each in rows.column(_SEASONS).combine_chunks()]
    return replace(
        bare,
        rows=said["rows"],
        start_ns=said["start_ns"],
        end_ns=said["end_ns"],
        columns=tuple(replace(each, seasons=own) for each, own in zip(bare.columns, seasons, strict=True)),
        windows=tuple(said["windows"]),
        chunks=unpack_chunks(said["chunks"], [rows.column(name) for name in (CHUNK_COUNTS, CHUNK_STATISTICS)]),
        hours=None if said["hours"] is None else np.array(said["hours"], np.int64),
        zone=said.get("zone", UTC),  # Older files count by UTC.
    )


def _segment_from(whole: Baseline, said: dict[str, Any], rows: pa.Table) -> Baseline:
    columns = tuple(
        replace(
            column,
            counts=np.array(row["counts"], np.uint64),
            missing=row["missing"],
            non_finite=row["non_finite"],
            noise={each["method"]: each["a"] for each in row["noise"]},
            sample=np.empty(0),
        )
        for column, row in zip(whole.columns, rows.select(_OF_SEGMENTS).to_pylist(), strict=True)
    )
    return _part_from(replace(whole, columns=columns), said, rows)


def _header(place: str, table: pa.Table) -> dict[str, Any]:
    raw = (table.schema.metadata or {}).get(_KEY)
    if raw is None:
        raise BaselineError(
            f"{place}: a Parquet file, but not a baseline; make one from it with: "
            f"driftmeter baseline build --data {place}"
        )
    try:
        header = json.loads(raw)
    except ValueError as error:
        raise BaselineError(f"{place}: its header is damaged ({error}); build it again") from error
    if not isinstance(header, dict):
        raise BaselineError(f"{place}: its header is damaged; build it again")
    if header.get("format") not in (FORMAT_VERSION, SEGMENTS_FORMAT_VERSION):
        raise BaselineError(
            f"{place}: written in baseline format {header.get('format')}, and this release reads formats "
            f"{FORMAT_VERSION} and {SEGMENTS_FORMAT_VERSION}; upgrade driftmeter, or build the baseline again with "
            "this release: driftmeter baseline build"
        )
    return header


def _levels_hash(levels: object) -> str:
    return hashlib.sha256(json.dumps(levels, sort_keys=True).encode()).hexdigest()


def _content_hash(header: dict[str, Any], table: pa.Table) -> str:
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for row in table.select([name for name in table.schema.names if name not in _TABLES.names]).to_pylist():
        digest.update(json.dumps(row, sort_keys=True).encode())
    for name in _TABLES.names:
        digest.update(flat_numbers(table.column(name)).tobytes())
    return digest.hexdigest()


def _to_row(column: ColumnBaseline) -> dict[str, Any]:
    row: dict[str, Any] = {
        "role": column.column.role.value,
        "column": column.column.name,
        "counts": column.counts,
        "missing": column.missing,
        "non_finite": column.non_finite,
        "sample": column.sample,
        "words": column.words,
        "frame": None if column.frame is None else column.frame.tolist(),
        "noise": [{"method": key, "a": a} for key, a in sorted(column.noise.items())],
    }
    bins, cuts = column.bins, column.cuts
    if isinstance(bins, NumericBins) and cuts is not None:
        return row | {
            "kind": "numeric",
            "edges": bins.edges,
            "mean": column.mean,
            "stddev": column.stddev,
            "min": column.minimum,
            "max": column.maximum,
            "quantile_starts": cuts.quantile_starts,
            "decile_edges": cuts.deciles,
            "doane_edges": cuts.doane,
            "discrete": cuts.discrete,
        }
    assert isinstance(bins, CategoryBins)  # noqa: S101 - a column without cuts is categorical.
    return row | {
        "kind": "categorical",
        "categories": bins.categories,
        "other_categories": bins.others,
        "other_categories_truncated": bins.others_truncated,
    }


def _from_row(row: dict[str, Any]) -> ColumnBaseline:
    column = Column(Role(row["role"]), row["column"])
    counts = np.array(row["counts"], np.uint64)
    if row["kind"] == "numeric":
        cuts = Cuts(
            np.array(row["quantile_starts"], np.float64),
            np.array(row["decile_edges"], np.float64),
            np.array(row["doane_edges"], np.float64),
            row["discrete"],
        )
        bins = NumericBins(np.array(row["edges"], np.float64))
        read = ColumnBaseline(
            column, bins, cuts, counts, row["missing"], row["non_finite"], row["mean"], row["stddev"], row["min"],
            row["max"],
        )  # fmt: skip
    else:
        names = CategoryBins(
            tuple(row["categories"]), tuple(row["other_categories"]), row["other_categories_truncated"]
        )
        read = ColumnBaseline(column, names, None, counts, row["missing"], row["non_finite"])
    return replace(
        read,
        sample=np.array(row["sample"], np.float64),
        words=None if row["words"] is None else tuple(row["words"]),
        frame=None if row["frame"] is None else np.array(row["frame"], np.float64),
        noise={each["method"]: each["a"] for each in row["noise"]},
    )
