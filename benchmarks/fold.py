"""Rows to counts, CPU time per value: exact sums and what is counted of whole rows included.

16 columns. Of numbers, against bins of 20,000 rows of the same distribution: normal, uniform, log-normal, Cauchy and
whole numbers in turn, or one of them alone. Of categories: 20 names.
"""

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from benchmarks.measure import Measurement, Options, median_cpu_seconds
from driftmeter.baseline.edges import category_bins, numeric_bins
from driftmeter.model.columns import Column, Role
from driftmeter.model.counts import Counts
from driftmeter.model.layout import Layout
from driftmeter.summary.fold import fold, warm_up

ROWS, FEW_ROWS = 8_000, 1_000
_REFERENCE_ROWS = 20_000
_COLUMNS = 16
_WINDOWS = 12
_NAMES = np.array([f"category {i}" for i in range(20)])
_RANDOM = np.random.default_rng(7)

Draw = Callable[[int], npt.NDArray[np.float64]]
SHAPES: dict[str, Draw] = {
    "normal": lambda rows: _RANDOM.normal(size=rows),
    "uniform": lambda rows: _RANDOM.uniform(size=rows),
    "lognormal": lambda rows: _RANDOM.lognormal(sigma=2, size=rows),
    "cauchy": lambda rows: _RANDOM.standard_cauchy(size=rows),
    "integers": lambda rows: _RANDOM.integers(0, 100, rows).astype(np.float64),
}


def run(_options: Options) -> Iterator[Measurement]:
    """Numbers of all distributions, of each, over several windows; categories."""
    warm_up()
    mixed = [list(SHAPES.values())[i % len(SHAPES)] for i in range(_COLUMNS)]
    yield _numbers("fold_per_value", mixed, ROWS, target=15)
    yield _numbers("fold_per_value_1000_rows", mixed, FEW_ROWS, target=25)
    yield _numbers("fold_per_value_12_windows", mixed, ROWS, windows=_WINDOWS)
    for name, draw in SHAPES.items():
        yield _numbers(f"fold_per_value_{name}", [draw] * _COLUMNS, ROWS)
    yield _categories("fold_per_category", ROWS)
    yield _categories("fold_per_category_1000_rows", FEW_ROWS)


def _numbers(metric: str, draws: list[Draw], rows: int, windows: int = 1, target: float | None = None) -> Measurement:
    references = [draw(_REFERENCE_ROWS) for draw in draws]
    layout = Layout(
        tuple(Column(Role.FEATURE, str(i)) for i in range(_COLUMNS)),
        tuple(numeric_bins(each)[0] for each in references),
        np.array([each.mean() for each in references]),
    )
    return _measure(metric, layout, [pa.array(draw(rows)) for draw in draws], windows, target)


def _categories(metric: str, rows: int) -> Measurement:
    bins = category_bins(pl.Series("value", _NAMES))
    layout = Layout(
        tuple(Column(Role.FEATURE, str(i)) for i in range(_COLUMNS)), (bins,) * _COLUMNS, np.zeros(_COLUMNS)
    )
    columns = [pa.array(_RANDOM.choice(_NAMES, rows)).dictionary_encode() for _ in range(_COLUMNS)]
    return _measure(metric, layout, columns, 1, None)


def _measure(metric: str, layout: Layout, columns: list[pa.Array], windows: int, target: float | None) -> Measurement:
    size = len(columns[0])
    fixed = {
        "event_time": pa.array(1_700_000_000_000_000_000 + np.arange(size), pa.timestamp("ns", "UTC")),
        "span_key": pa.array(np.arange(size, dtype=np.uint64)),
        "row_index": pa.array(np.zeros(size, np.uint16)),
        "dropped_attributes_count": pa.array(np.zeros(size, np.uint32)),
    }
    fields = [column.field for column in layout.columns]
    rows = pa.RecordBatch.from_arrays([*fixed.values(), *columns], names=[*fixed, *fields])
    counts = Counts.zeros(layout, windows)
    slots = _RANDOM.integers(0, windows, rows.num_rows).astype(np.int32)
    repeats = max(1, 40_000 // rows.num_rows)
    seconds = median_cpu_seconds(lambda: fold(layout, rows, slots, counts), repeats=repeats, rounds=21)
    return Measurement("fold", metric, seconds / rows.num_rows / _COLUMNS * 1e9, "ns/value", target=target)
