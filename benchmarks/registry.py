"""All benchmarks by name. To add one: a module with a `run` function, and a line here."""

from collections.abc import Callable, Iterable

from benchmarks import decode
from benchmarks.measure import Measurement

BENCHMARKS: dict[str, Callable[[], Iterable[Measurement]]] = {
    "decode": decode.run,
}
"""Name of each benchmark, and the function that runs it."""
