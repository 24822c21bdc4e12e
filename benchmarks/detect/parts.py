"""The parts of the benchmark, in the order in which they are run."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.detect import calibrating, evaluating, large, peers, waiting
from benchmarks.measure import Measurement, Options

Part = Callable[[Options, Path], Iterator[Measurement]]
"""Measures something, with a directory for its files."""

PARTS: dict[str, Part] = {
    "evaluate": evaluating.run,
    "calibrate": calibrating.run,
    "wait_for_level": waiting.run,
    "analyze_vs_evidently": peers.evidently,
    "analyze_vs_nannyml": peers.nannyml,
    "analyze_large": large.run,
    "build_wide": large.wide,
}
"""Each part by name."""


def run(options: Options) -> Iterator[Measurement]:
    """All parts, or those asked for."""
    for name in options.only or PARTS:
        with tempfile.TemporaryDirectory(prefix="driftmeter-bench-") as directory:
            yield from PARTS[name](options, Path(directory))
