"""One evaluation of a wide model: all methods, verdicts and findings."""

import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.measure import Measurement, Options
from driftmeter.baseline.build import build_baseline
from driftmeter.baseline.data import ColumnOptions, to_dataset
from driftmeter.detect.config import DetectConfig
from driftmeter.detect.detector import Detector
from driftmeter.detect.reference import FixedReference
from driftmeter.model.baseline import Baseline
from driftmeter.model.counts import Counts
from driftmeter.model.predictions import ModelKey
from driftmeter.model.window_counts import WindowCounts
from driftmeter.model.windows import HOUR_NS, parse_window
from driftmeter.summary.fold import fold

COLUMNS, WINDOWS = 1_000, 3
SECONDS_MAX = 1.0
_QUICK_COLUMNS = 20
_ROWS, _WINDOW_ROWS = 5_000, 2_000
_ROUNDS = 7


def run(options: Options, directory: Path) -> Iterator[Measurement]:
    """In a process of its own, so that its peak memory is its own."""
    del directory
    columns = _QUICK_COLUMNS if options.quick else COLUMNS
    command = [sys.executable, "-m", "benchmarks.detect.evaluating", str(columns)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603 - ourselves.
    seconds, cpu_seconds, bins, grown = map(float, printed.split())
    yield Measurement("detect", "evaluate", seconds, "s", target=SECONDS_MAX)
    yield Measurement("detect", "evaluate_cpu", cpu_seconds, "CPU s")
    yield Measurement("detect", "evaluate_bins", bins, "bins/column")
    yield Measurement("detect", "evaluate_memory", grown, "MB above what the baseline takes")


def main() -> None:
    """Seconds, CPU seconds, bins per column, and by how many MB the process grew."""
    baseline = _baseline(int(sys.argv[1]))
    windows = _windows(baseline)
    detector = Detector(ModelKey("m", "", ""), baseline, [FixedReference(baseline)], DetectConfig())
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # The peak begins anew.
    before = _status_bytes("VmRSS")
    seconds, cpu_seconds = [], []
    for _ in range(_ROUNDS):
        start, cpu_start = time.perf_counter(), time.process_time()
        detector.evaluate(windows)
        seconds.append(time.perf_counter() - start)
        cpu_seconds.append(time.process_time() - cpu_start)
    grown = (_status_bytes("VmHWM") - before) / 1e6
    bins = baseline.layout.size / len(baseline.columns)
    sys.stdout.write(f"{statistics.median(seconds)} {statistics.median(cpu_seconds)} {bins} {grown}\n")


def _baseline(columns: int) -> Baseline:
    random = np.random.default_rng(5)
    times = np.sort(random.integers(0, 8 * 7 * 24 * HOUR_NS, _ROWS))
    data = {f"x{i}": random.lognormal(size=_ROWS) for i in range(columns)}
    frame = pl.DataFrame({"time": pl.Series(times).cast(pl.Datetime("ns")), **data})
    rows = to_dataset(frame, ColumnOptions("time"), "rows")
    return build_baseline(rows, "m", "", [parse_window("24h")])


def _windows(baseline: Baseline) -> list[WindowCounts]:
    random = np.random.default_rng(6)
    length = parse_window("24h")
    found = []
    for number in range(WINDOWS):
        frame = pl.DataFrame({each.column.name: random.lognormal(size=_WINDOW_ROWS) for each in baseline.columns})
        counts = Counts.zeros(baseline.layout)
        fold(baseline.layout, to_dataset(frame, ColumnOptions(), "rows").rows, np.zeros(_WINDOW_ROWS, np.int32), counts)
        start = (60 + number) * length.length_ns
        found.append(WindowCounts(length, number, start, start + length.length_ns, 0, counts))
    return found


def _status_bytes(name: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


if __name__ == "__main__":
    main()
