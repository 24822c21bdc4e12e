"""All benchmarks by name. To add one: a module with a `run` function, and a line here."""

from collections.abc import Callable, Iterable

from benchmarks import decode, fold
from benchmarks.detect import parts as detect
from benchmarks.ingest import parts as ingest
from benchmarks.measure import Measurement, Options

BENCHMARKS: dict[str, Callable[[Options], Iterable[Measurement]]] = {
    "decode": decode.run,
    "ingest": ingest.run,
    "fold": fold.run,
    "detect": detect.run,
}
"""Name of each benchmark, and the function that runs it."""

PARTS: dict[str, Iterable[str]] = {"ingest": ingest.PARTS, "detect": detect.PARTS}
"""Names of the parts of those that have some."""
