"""Run benchmarks: all of them, or those named. Exit code 1 when one misses its target."""

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.measure import Measurement, Options
from benchmarks.registry import BENCHMARKS, PARTS

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
    parser.add_argument("--quick", action="store_true", help="small amounts, to see that it works: figures mean little")
    parts = "; ".join(f"{name}: {', '.join(there)}" for name, there in PARTS.items())
    parser.add_argument("--only", action="append", default=[], metavar="PART", help=f"of {parts}")
    parser.add_argument("--document", type=Path, metavar="PAGE", help="ingest: write the page's tables and plots anew")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"no benchmark named {', '.join(unknown)}: there are {', '.join(BENCHMARKS)}")
    for name in (arguments.names or BENCHMARKS) if arguments.only else ():
        if unknown := [part for part in arguments.only if part not in PARTS.get(name, ())]:
            parser.error(f"{name} has no part named {', '.join(unknown)}; there are {parts}")
    if any(os.environ.get(name) != value for name, value in _MALLOC.items()):
        command = [sys.executable, "-m", "benchmarks", *sys.argv[1:]]
        os.execve(sys.executable, command, {**os.environ, **_MALLOC})  # noqa: S606 - ourselves.
    options = Options(arguments.quick, tuple(arguments.only), arguments.document)
    missed = False
    for name in arguments.names or BENCHMARKS:
        measurements: list[Measurement] = []
        for measurement in BENCHMARKS[name](options):
            measurements.append(measurement)
            if arguments.json:
                print_json(measurement)
        if not arguments.json:
            print_table(name, measurements)
        missed |= any(each.missed for each in measurements)
    return int(missed and not options.quick)


def print_json(measurement: Measurement) -> None:
    """One object on a line, as soon as there is one, without the fields that do not apply."""
    fields = dataclasses.asdict(measurement)
    print(json.dumps({name: value for name, value in fields.items() if value is not None}), flush=True)


def print_table(name: str, measurements: Iterable[Measurement]) -> None:
    """A table for people."""
    table = Table("metric", title=name, title_justify="left")
    for heading in ("value", "reference", "ratio", "at most", "at least"):
        table.add_column(heading, justify="right")
    table.add_column("unit")
    table.add_column("compared with")
    for each in measurements:
        style = "red" if each.missed else None
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
    return (
        (measurement.reference_value, 1),
        (measurement.ratio, 3),
        (measurement.target, 2),
        (measurement.at_least, 0),
    )


if __name__ == "__main__":
    sys.exit(main())
