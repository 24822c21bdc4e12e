"""Run benchmarks: all of them, or those named. Exit code 1 when one misses its target."""

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Iterable

from rich.console import Console
from rich.table import Table

from benchmarks.measure import Measurement
from benchmarks.registry import BENCHMARKS

# glibc gives large blocks back to the system by default, and page faults then cost more than the work measured. It
# reads these once, at start.
_MALLOC = {"MALLOC_TRIM_THRESHOLD_": "1073741824", "MALLOC_MMAP_THRESHOLD_": "1073741824"}


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"which to run: {', '.join(BENCHMARKS)} (default: all)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a line instead of tables")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"no benchmark named {', '.join(unknown)}: there are {', '.join(BENCHMARKS)}")
    if any(os.environ.get(name) != value for name, value in _MALLOC.items()):
        command = [sys.executable, "-m", "benchmarks", *sys.argv[1:]]
        os.execve(sys.executable, command, {**os.environ, **_MALLOC})  # noqa: S606 - ourselves.
    missed = False
    for name in arguments.names or BENCHMARKS:
        measurements = list(BENCHMARKS[name]())
        missed |= any(map(misses, measurements))
        if arguments.json:
            print_json(measurements)
        else:
            print_table(name, measurements)
    return int(missed)


def misses(measurement: Measurement) -> bool:
    """Whether a measurement has a target and is above it."""
    value = measurement.value if measurement.ratio is None else measurement.ratio
    return measurement.target is not None and value > measurement.target


def print_json(measurements: Iterable[Measurement]) -> None:
    """One object a line, without the fields that do not apply."""
    for measurement in measurements:
        fields = dataclasses.asdict(measurement)
        print(json.dumps({name: value for name, value in fields.items() if value is not None}), flush=True)


def print_table(name: str, measurements: Iterable[Measurement]) -> None:
    """A table for people."""
    table = Table("metric", title=name, title_justify="left")
    for heading in ("value", "reference", "ratio", "at most"):
        table.add_column(heading, justify="right")
    table.add_column("unit")
    table.add_column("compared with")
    for each in measurements:
        style = "red" if misses(each) else None
        table.add_row(
            each.metric,
            f"{each.value:,.1f}",
            *(("" if number is None else f"{number:,.{digits}f}") for number, digits in _numbers(each)),
            each.unit,
            each.reference or "",
            style=style,
        )
    Console(width=None if sys.stdout.isatty() else 120).print(table)


def _numbers(measurement: Measurement) -> tuple[tuple[float | None, int], ...]:
    """Optional figures, and how many digits each is shown with."""
    return ((measurement.reference_value, 1), (measurement.ratio, 3), (measurement.target, 2))


if __name__ == "__main__":
    sys.exit(main())
