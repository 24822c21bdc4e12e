"""The parts of the benchmark, in the order in which they are run."""

import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from benchmarks.ingest import cost, document, growth, memory, pace, restart, small, stages
from benchmarks.measure import Measurement, Options

Part = Callable[[Options, Path], Iterator[Measurement]]
"""Measures something, with a directory for its files. Options say how much."""

PARTS: dict[str, Part] = {
    "cost": cost.run,
    "pace": pace.run,
    "small": small.run,
    "stages": stages.run,
    "memory": memory.run,
    "restart": restart.run,
    "growth": growth.run,
}
"""Each part by name."""


def run(options: Options) -> Iterator[Measurement]:
    """All parts, or those asked for; then the page, if one is to be written."""
    if options.quick:
        print("ingest: quick: the amounts are too small for figures to be quoted", file=sys.stderr)
    if _is_memory(Path(tempfile.gettempdir())):
        print("ingest: temporary files are kept in memory, where fsync costs nothing: set TMPDIR", file=sys.stderr)
    found: dict[str, list[Measurement]] = {}
    for name in options.only or PARTS:
        found[name] = []
        with tempfile.TemporaryDirectory(prefix="driftmeter-bench-", ignore_cleanup_errors=True) as directory:
            for measurement in PARTS[name](options, Path(directory)):
                found[name].append(measurement)
                yield measurement
    if options.document is not None:
        document.write(options.document, found)


def _is_memory(directory: Path) -> bool:
    """Whether a directory is on no disk."""
    mounts = [each for each in psutil.disk_partitions(all=True) if directory.is_relative_to(each.mountpoint)]
    nearest = max(mounts, key=lambda each: len(each.mountpoint), default=None)
    return nearest is not None and nearest.fstype in {"tmpfs", "ramfs"}
