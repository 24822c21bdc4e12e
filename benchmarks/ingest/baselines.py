"""Baseline files for the models of a benchmark, drawn as the requests' values are: nothing drifts."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from benchmarks.ingest.workload import CATEGORIES, OUTPUT, Shape
from driftmeter.baseline.build import DEFAULT_WINDOWS, build_baseline
from driftmeter.baseline.data import Dataset
from driftmeter.baseline.file import write_baseline
from driftmeter.model.baseline import Chunks, ColumnBaseline, Compared
from driftmeter.model.columns import Column, Role
from driftmeter.model.windows import parse_window

_ROWS, _DAYS, _START_NS = 20_000, 2, 1_700_000_000_000_000_000


def baseline_file(shape: Shape, directory: Path) -> None:
    """Write one file for each model. One number and one text are built; the other columns are like these."""
    random = np.random.default_rng(1)
    texts = np.array(CATEGORIES)[random.integers(len(CATEGORIES), size=_ROWS)]
    columns = {
        Column(Role.FEATURE, "x").field: pa.array(random.normal(size=_ROWS)),
        Column(Role.FEATURE, "c").field: pa.array(texts.tolist()).dictionary_encode(),
        Column(Role.PREDICTION, OUTPUT).field: pa.array(random.random(_ROWS)),
    }
    times = _START_NS + np.arange(_ROWS, dtype=np.int64) * (_DAYS * 86_400 * 10**9 // _ROWS)
    data = Dataset(pa.RecordBatch.from_pydict(columns), times)
    built = build_baseline(data, "flights", "", [parse_window(each) for each in DEFAULT_WINDOWS])
    number, text, output = built.columns
    numbers, names = shape.features()
    like = [*(_named(number, name) for name in numbers), *(_named(text, name) for name in names), output]
    places = np.repeat(np.arange(3), (len(numbers), len(names), 1))
    chunks = {window: _like(each, places) for window, each in built.chunks.items()}
    for model in range(shape.models):
        baseline = replace(built, model=shape.model(model), columns=tuple(like), chunks=chunks)
        write_baseline(baseline, directory / f"{baseline.model}.parquet")


def _like(chunks: Chunks, places: npt.NDArray[np.int64]) -> Chunks:
    """Tables of as many columns as there are places, each that of the built column there."""
    return replace(
        chunks,
        values=chunks.values[:, places],
        ratios={key: table[:, places] for key, table in chunks.ratios.items()},
        compared={
            kind: Compared(each.rows[:, places], {key: table[:, places] for key, table in each.squared.items()})
            for kind, each in chunks.compared.items()
        },
        distant={key: table[..., places] for key, table in chunks.distant.items()},
    )


def _named(column: ColumnBaseline, name: str) -> ColumnBaseline:
    return replace(column, column=Column(column.column.role, name))
