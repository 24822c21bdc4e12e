"""`driftmeter baseline build` and `driftmeter analyze` on files larger than memory, and on very wide ones."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.detect.samples import write_rows
from benchmarks.measure import Measurement, Options

ROWS, NUMBERS, CATEGORIES = 50_000_000, 16, 4
MEMORY_MB_MAX = 2_000.0
_QUICK_ROWS = 1_000_000
WIDE_ROWS, WIDE_COLUMNS = 5_000, 10_000
_QUICK_COLUMNS = 100


def run(options: Options, directory: Path) -> Iterator[Measurement]:
    """Peak memory and rows a second of the commands themselves, start and end included."""
    rows = _QUICK_ROWS if options.quick else ROWS
    file = write_rows(directory / "rows.parquet", rows, NUMBERS, CATEGORIES, seed=1)
    build = ["baseline", "build", "--data", file, "--model", "m", "--out", directory / "baseline.parquet"]
    analyze = ["analyze", "--reference", file, "--current", file, "--format", "parquet"]
    analyze += ["--out", directory / "findings.parquet"]
    windows = ["--timestamp", "time", "--window", "24h"]
    for metric, command, passes in (("build_large", build, 1), ("analyze_large", analyze, 2)):
        seconds, cpu_seconds, peak_bytes = _run([*map(str, command), *windows])
        yield Measurement("detect", f"{metric}_memory", peak_bytes / 1e6, "MB", target=MEMORY_MB_MAX)
        yield Measurement("detect", f"{metric}_rate", passes * rows / seconds, "rows/s")
        yield Measurement("detect", f"{metric}_cpu", cpu_seconds / (passes * rows) * 1e6, "us/row")


def wide(options: Options, directory: Path) -> Iterator[Measurement]:
    """A baseline of very many columns, with chunks of a day."""
    columns = _QUICK_COLUMNS if options.quick else WIDE_COLUMNS
    file = write_rows(directory / "wide.parquet", WIDE_ROWS, columns, 0, seed=2)
    build = ["baseline", "build", "--data", file, "--model", "m", "--out", directory / "baseline.parquet"]
    seconds, cpu_seconds, peak_bytes = _run([*map(str, build), "--timestamp", "time", "--window", "24h"])
    yield Measurement("detect", "build_wide", seconds, "s")
    yield Measurement("detect", "build_wide_cpu", cpu_seconds / columns * 1e3, "ms/column")
    yield Measurement("detect", "build_wide_memory", peak_bytes / 1e6, "MB")


def _run(arguments: list[str]) -> tuple[float, float, int]:
    """Seconds, CPU seconds and peak bytes of a command."""
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "driftmeter", *arguments])  # noqa: S603 - ourselves.
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"driftmeter {' '.join(arguments)} ended with {status}")
    return time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024
