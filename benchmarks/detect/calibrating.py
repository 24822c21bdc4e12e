"""The level by replay of a baseline of eight weeks, for a wide model."""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from benchmarks.measure import Measurement, Options
from driftmeter.baseline.build import build_baseline
from driftmeter.baseline.data import ColumnOptions, to_dataset
from driftmeter.detect.config import DetectConfig
from driftmeter.detect.judge import Calibration, noise_table
from driftmeter.detect.units import Units
from driftmeter.model.baseline import Baseline, Chunks, Compared, Comparison
from driftmeter.model.bins import NumericBins
from driftmeter.model.windows import WEEK_NS, parse_window

COLUMNS, WEEKS = 1_000, 8
LENGTHS = ("5m", "1h", "24h")
SECONDS_MAX = 60.0
QUICK_COLUMNS = 20
_ROWS = 2_000
_ROWS_PER_HOUR = 12_000
_NOISE = 4.0


def run(options: Options, directory: Path) -> Iterator[Measurement]:
    """Chunks of undrifted columns, drawn; then nulls, replay and level from nothing."""
    del directory
    baseline = drawn_baseline(QUICK_COLUMNS if options.quick else COLUMNS)
    numeric = np.array([isinstance(each.bins, NumericBins) for each in baseline.columns])
    config = DetectConfig()
    units = Units.of([each.column for each in baseline.columns], numeric, config)
    start, cpu_start = time.perf_counter(), time.process_time()
    calibration = Calibration(baseline, Comparison.REST, units, config, noise_table(baseline))
    level = calibration.level_of(parse_window(LENGTHS[0]))
    took, cpu_took = time.perf_counter() - start, time.process_time() - cpu_start
    yield Measurement("detect", "calibrate", took, "s", target=SECONDS_MAX)
    yield Measurement("detect", "calibrate_cpu", cpu_took, "CPU s")
    yield Measurement("detect", "calibrate_chunks", sum(len(each.rows) for each in baseline.chunks.values()), "chunks")
    yield Measurement("detect", "calibrate_level", level, "probability")


def drawn_baseline(columns: int) -> Baseline:
    """A small baseline of as many columns, with the chunks of eight weeks put in the place of its own."""
    random = np.random.default_rng(8)
    times = np.linspace(0, WEEKS * WEEK_NS - 1, _ROWS).astype(np.int64)
    frame = pl.DataFrame(
        {"time": pl.Series(times).cast(pl.Datetime("ns")), **{f"x{i}": random.random(_ROWS) for i in range(columns)}}
    )
    built = build_baseline(to_dataset(frame, ColumnOptions("time"), "rows"), "m", "", [parse_window("24h")])
    chunks = {name: _chunks(random, name, columns, built.chunks["24h"]) for name in LENGTHS}
    return Baseline(**(built.__dict__ | {"chunks": chunks, "windows": LENGTHS}))


def _chunks(random: np.random.Generator, name: str, columns: int, like: Chunks) -> Chunks:
    length_ns = parse_window(name).length_ns
    count = WEEKS * WEEK_NS // length_ns
    rows = np.full(count, _ROWS_PER_HOUR * length_ns // parse_window("1h").length_ns)
    values = np.repeat(rows[:, None], columns, axis=1)

    def squared(_: object) -> npt.NDArray[np.float64]:
        return np.asarray(random.gamma(8.0, _NOISE / 8.0, (count, columns)) / values)

    def compared(each: Compared) -> Compared:
        methods: Mapping[str, npt.NDArray[np.float64]] = {key: squared(key) for key in each.squared}
        return Compared(np.full((count, columns), float(rows.sum()) * 3 / 4), methods)

    return Chunks(
        starts_ns=np.arange(count) * length_ns,
        rows=rows,
        blocks=np.arange(count) * 4 // count,
        values=values,
        ratios={key: np.zeros((count, columns), np.int64) for key in like.ratios},
        compared={Comparison.REST: compared(like.compared[Comparison.REST])},
    )
