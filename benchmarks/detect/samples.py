"""Rows that the benchmark compares: numbers of several shapes, categories, times over 60 days."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

START_MS = 1_735_689_600_000  # 2025-01-01.
DAYS = 60
_DAY_MS = 86_400_000
_GROUP_ROWS = 1_000_000


def write_rows(path: Path, rows: int, numbers: int, categories: int, seed: int, first_day: int = 0) -> Path:
    """A Parquet file: `time`, ascending; `x0`, … normal, log-normal, whole and uniform in turn; `c0`, … names."""
    random = np.random.default_rng(seed)
    writer: pq.ParquetWriter | None = None
    names = [np.array([f"name {i}" for i in range(5 + 10 * number)]) for number in range(categories)]
    for first in range(0, rows, _GROUP_ROWS):
        table = _group(random, rows, first, numbers, names, first_day)
        if writer is None:
            writer = pq.ParquetWriter(path, table.schema, compression="lz4")
        writer.write_table(table)
    assert writer is not None
    writer.close()
    return path


def _group(
    random: np.random.Generator, rows: int, first: int, numbers: int, names: list[pa.Array], first_day: int
) -> pa.Table:
    count = min(_GROUP_ROWS, rows - first)
    whole = DAYS * _DAY_MS
    times = np.sort(random.integers(whole * first // rows, whole * (first + count) // rows, count))
    columns = {"time": pa.array(times + START_MS + first_day * _DAY_MS, pa.timestamp("ms", tz="UTC"))}
    draws = (
        lambda _: random.standard_normal(count),
        lambda _: random.lognormal(size=count),
        lambda number: random.integers(0, 100 + number, count),
        lambda _: random.random(count),
    )
    for number in range(numbers):
        columns[f"x{number}"] = pa.array(draws[number % len(draws)](number))
    for number, each in enumerate(names):
        codes = random.integers(0, len(each), count).astype(np.int32)
        columns[f"c{number}"] = pa.DictionaryArray.from_arrays(codes, each).cast(pa.string())
    return pa.table(columns)
