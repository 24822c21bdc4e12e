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

from driftmeter.errors import BaselineError, DamagedError
from driftmeter.model.baseline import Baseline, Chunks, ColumnBaseline, Cuts
from driftmeter.model.bins import CategoryBins, NumericBins
from driftmeter.model.columns import Column, Role

FORMAT_VERSION = 1
"""Raised when a file can no longer be read by earlier releases."""

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
        ("noise", pa.list_(pa.struct([("method", pa.string()), ("a", pa.float64())]))),
        (
            "chunks",
            pa.list_(
                pa.struct(
                    [
                        ("window", pa.string()),
                        ("rows", pa.list_(pa.int64())),
                        ("squared", pa.list_(pa.float64())),
                    ]
                )
            ),
        ),
    ]
)


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
    try:
        table = pq.read_table(path)
    except FileNotFoundError:
        raise BaselineError(
            f"{path}: there is no such baseline file; make one with: driftmeter baseline build"
        ) from None
    except (pa.ArrowException, OSError) as error:
        raise BaselineError(
            f"{path}: damaged or not a baseline file ({error}); build it again with: driftmeter baseline build"
        ) from error
    return _from_table(str(path), table)


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
        return _from_table("a stored baseline", pq.read_table(pa.BufferReader(content)))
    except (BaselineError, pa.ArrowException, OSError) as error:
        raise DamagedError(f"a stored baseline is damaged: {error}") from error


def hashed(baseline: Baseline) -> Baseline:
    """The same baseline with its content hash, as if it had been written and read."""
    return replace(baseline, content_hash=_to_table(baseline)[1])


def _to_table(baseline: Baseline) -> tuple[pa.Table, str]:
    """The table of a file, its header included, and the content hash."""
    table = pa.Table.from_pylist([_to_row(each) for each in baseline.columns], schema=_SCHEMA)
    header = {
        "format": FORMAT_VERSION,
        "model": baseline.model,
        "version": baseline.version,
        "rows": baseline.rows,
        "start_ns": baseline.start_ns,
        "end_ns": baseline.end_ns,
        "windows": list(baseline.windows),
        "skipped": dict(baseline.skipped),
    }
    content_hash = header["sha256"] = _content_hash(header, table)
    return table.replace_schema_metadata({_KEY: json.dumps(header).encode()}), content_hash


def _from_table(place: str, table: pa.Table) -> Baseline:
    """The baseline of a file's table, checked; raises BaselineError."""
    header = _header(place, table)
    found = dict(header)
    expected = found.pop("sha256", None)
    try:
        actual = _content_hash(found, table.replace_schema_metadata(None))
    except (pa.ArrowException, ValueError) as error:  # Texts that are not UTF-8 any more.
        raise BaselineError(f"{place}: damaged ({error}); build it again") from error
    if actual != expected:
        raise BaselineError(f"{place}: the content does not match its hash: damaged or edited; build it again")
    return Baseline(
        model=header["model"],
        version=header["version"],
        name="file",
        rows=header["rows"],
        start_ns=header["start_ns"],
        end_ns=header["end_ns"],
        columns=tuple(_from_row(row) for row in table.to_pylist()),
        windows=tuple(header["windows"]),
        skipped=header["skipped"],
        content_hash=str(expected),
    )


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
    if header.get("format") != FORMAT_VERSION:
        raise BaselineError(
            f"{place}: written in baseline format {header.get('format')}, and this release reads format "
            f"{FORMAT_VERSION}; upgrade driftmeter, or build the baseline again with this release"
        )
    return header


def _content_hash(header: dict[str, Any], table: pa.Table) -> str:
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for row in table.to_pylist():
        digest.update(json.dumps(row, sort_keys=True).encode())
    return digest.hexdigest()


def _to_row(column: ColumnBaseline) -> dict[str, Any]:
    row: dict[str, Any] = {
        "role": column.column.role.value,
        "column": column.column.name,
        "counts": column.counts,
        "missing": column.missing,
        "non_finite": column.non_finite,
        "noise": [{"method": key, "a": a} for key, a in sorted(column.noise.items())],
        "chunks": [
            {"window": window, "rows": each.rows, "squared": each.squared}
            for window, each in sorted(column.chunks.items())
        ],
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
        noise={each["method"]: each["a"] for each in row["noise"]},
        chunks={
            each["window"]: Chunks(np.array(each["rows"], np.int64), np.array(each["squared"], np.float64))
            for each in row["chunks"]
        },
    )
