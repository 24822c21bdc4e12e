"""Tables of chunks as they stand in a baseline file: two lists of numbers per column, and what they mean.

The header has, per window length, the number of chunks, which ratios, comparisons and methods there are, the instants,
rows and blocks of the chunks, and how many rows the ratios of whole rows count. The lists of a column hold, for one
length after the other, in that order:

    counts       values, then each ratio
    statistics   for each comparison the rows compared with, then each method; at the end, for each method, the means
                 of `Chunks.distant` by block
"""

import base64
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from driftmeter.model.baseline import Chunks, Compared, Comparison

CHUNK_COUNTS = "chunk_counts"
CHUNK_STATISTICS = "chunk_statistics"

Described = dict[str, Any]


def pack_chunks(chunks: Mapping[str, Chunks], columns: int) -> tuple[list[Described], tuple[pa.Array, pa.Array]]:
    """What the header says of the chunks, and the two lists per column."""
    described: list[Described] = []
    counts: list[npt.NDArray[np.int64]] = [np.empty((0, columns), np.int64)]
    statistics: list[npt.NDArray[np.float64]] = [np.empty((0, columns))]
    for window, each in chunks.items():
        described.append(_describe(window, each))
        counts += [each.values, *each.ratios.values()]
        for compared in each.compared.values():
            statistics += [compared.rows, *compared.squared.values()]
        statistics += [part for table in each.distant.values() for part in table]
    return described, (_lists(np.concatenate(counts), pa.int64()), _lists(np.concatenate(statistics), pa.float64()))


def unpack_chunks(described: Sequence[Described], columns: Sequence[pa.ChunkedArray]) -> dict[str, Chunks]:
    """The chunks of a file; raises ValueError or KeyError when header and lists do not fit."""
    counts, statistics = (_Parts(flat_numbers(each).reshape(len(each), -1).T) for each in columns)
    found: dict[str, Chunks] = {}
    for each in described:
        k = each["chunks"]
        values = counts.take(k)
        ratios = {key: counts.take(k) for key in each["ratios"]}
        compared: dict[Comparison, Compared] = {}
        for kind, methods in each["compared"].items():
            rows = statistics.take(k)
            compared[Comparison(kind)] = Compared(rows, {key: statistics.take(k) for key in methods})
        starts = None if each["starts_ns"] is None else _array(each["starts_ns"])
        rows, blocks = _array(each["rows"]), _array(each["blocks"])
        size = int(blocks.max()) + 1
        distant = {key: np.stack([statistics.take(size), statistics.take(size)]) for key in each["distant"]}
        whole = {key: _array(text) for key, text in each.get("whole", {}).items()}  # Older files have none.
        found[each["window"]] = Chunks(starts, rows, blocks, values, ratios, compared, distant, whole)
    return found


def flat_numbers(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    """All numbers of a column of lists, one after the other."""
    parts = [each.flatten().to_numpy(zero_copy_only=False) for each in column.chunks]
    return np.concatenate(parts) if parts else np.empty(0)


def _describe(window: str, chunks: Chunks) -> Described:
    return {
        "window": window,
        "chunks": len(chunks.rows),
        "starts_ns": None if chunks.starts_ns is None else _text(chunks.starts_ns),
        "rows": _text(chunks.rows),
        "blocks": _text(chunks.blocks),
        "ratios": list(chunks.ratios),
        "distant": list(chunks.distant),
        **({"whole": {key: _text(each) for key, each in chunks.whole.items()}} if chunks.whole else {}),
        "compared": {kind.value: list(each.squared) for kind, each in chunks.compared.items()},
    }


class _Parts:
    """Rows of a table, taken from its top."""

    def __init__(self, table: npt.NDArray[Any]) -> None:
        self._table = table
        self._next = 0

    def take(self, rows: int) -> npt.NDArray[Any]:
        """The next so many rows."""
        part = self._table[self._next : self._next + rows]
        if len(part) < rows:
            raise ValueError("fewer numbers than the header says")
        self._next += rows
        return np.ascontiguousarray(part)


def _lists(table: npt.NDArray[Any], of_type: pa.DataType) -> pa.Array:
    """A list per column of a table."""
    offsets = np.arange(table.shape[1] + 1, dtype=np.int64) * len(table)
    if offsets[-1] > np.iinfo(np.int32).max:
        raise ValueError("too many chunks for one file: give fewer or longer window lengths with --window")
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(table.T.ravel(), of_type))


def _text(numbers: npt.NDArray[np.int64]) -> str:
    """Numbers, their differences compressed: the header is JSON."""
    steps = np.diff(numbers, prepend=np.int64(0)).astype("<i8")
    return base64.b64encode(zlib.compress(steps.tobytes(), 9)).decode()


def _array(text: str) -> npt.NDArray[np.int64]:
    return np.cumsum(np.frombuffer(zlib.decompress(base64.b64decode(text)), "<i8").astype(np.int64))
