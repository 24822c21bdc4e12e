"""`driftmeter analyze` beside Evidently's `DataDriftPreset` and NannyML's univariate calculator on the same files."""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.detect.samples import write_rows
from benchmarks.measure import Measurement, Options

ROWS, NUMBERS, CATEGORIES = 300_000, 16, 5
RATIO_MAX = 0.05
"""Ours in parts of theirs: a twentieth."""

_QUICK_ROWS = 20_000
_ROUNDS = 5
_ROOT = Path(__file__).resolve().parents[2]
_QUIET = {"DO_NOT_TRACK": "1", "NML_DISABLE_USAGE_LOGGING": "1"}  # No reports to their makers.


@dataclass(frozen=True)
class Side:
    """A program that compares the two files whenever it is asked.

    Attributes:
        process: It.
    """

    process: subprocess.Popen[str]

    def once(self) -> dict[str, float]:
        """Ask it; seconds, CPU seconds and the number of results."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.answer()

    def answer(self) -> dict[str, float]:
        """Its next answer."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("{"):  # Libraries may greet.
                return dict(json.loads(line))
        raise RuntimeError(f"{self.process.args!r} ended with {self.process.wait()}")


def evidently(options: Options, directory: Path) -> Iterator[Measurement]:
    """Against the preset."""
    yield from _compare(options, directory, "evidently", "evidently", "evidently_preset", "DataDriftPreset")


def nannyml(options: Options, directory: Path) -> Iterator[Measurement]:
    """Against its default methods (Jensen-Shannon alone), and against all the methods that it has."""
    yield from _compare(options, directory, "nannyml", "nannyml_all", "nannyml_univariate", "all its methods", "all")
    yield from _compare(
        options, directory, "nannyml", "nannyml_default", "nannyml_univariate", "Jensen-Shannon alone", "default"
    )


def _compare(
    options: Options, directory: Path, peer: str, metric: str, program: str, called: str, *arguments: str
) -> Iterator[Measurement]:
    rows = _QUICK_ROWS if options.quick else ROWS
    files = [
        write_rows(directory / f"{name}.parquet", rows, NUMBERS, CATEGORIES, seed, first_day)
        for seed, (name, first_day) in enumerate((("reference", 0), ("current", 60)))
    ]
    with ExitStack() as stack:
        ours = stack.enter_context(_side(sys.executable, "ours", files))
        theirs = stack.enter_context(_side(_python_of(peer), program, files, *arguments))
        rounds = [
            (ours.once(), theirs.once()) if number % 2 else (theirs.once(), ours.once())[::-1]
            for number in range(2 if options.quick else _ROUNDS)
        ]
    reference = f"{peer.capitalize() if peer == 'evidently' else 'NannyML'}: {called}"
    for figure, unit, target in (("cpu_seconds", "CPU s", RATIO_MAX), ("seconds", "s", None)):
        our, their = ([each[side][figure] for each in rounds] for side in (0, 1))
        yield Measurement(
            benchmark="detect",
            metric=f"analyze_vs_{metric}" + ("" if figure == "cpu_seconds" else "_wall"),
            value=statistics.median(our),
            unit=unit,
            reference=reference,
            reference_value=statistics.median(their),
            ratio=statistics.median(a / b for a, b in zip(our, their, strict=True)),
            target=None if metric == "nannyml_default" else target,
        )
    yield Measurement("detect", f"analyze_vs_{metric}_results", rounds[0][0]["results"], "numbers", reference,
                      rounds[0][1]["results"])  # fmt: skip


def _python_of(peer: str) -> str:
    """The peer's own Python, its environment made first where it is not there."""
    script = str(_ROOT / "scripts" / "peers.sh")
    subprocess.run([script, peer], check=True, stdout=sys.stderr)  # noqa: S603 - ours.
    printed = subprocess.run([script, "--print", peer], check=True, capture_output=True, text=True)  # noqa: S603
    return printed.stdout.split(maxsplit=1)[1].strip()


@contextmanager
def _side(python: str, program: str, files: list[Path], *arguments: str) -> Iterator[Side]:
    """Start it, and wait until it is warm."""
    command = [python, "-m", f"benchmarks.detect.sides.{program}", *map(str, files), *arguments]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH" or program == "ours"}
    process = subprocess.Popen(  # noqa: S603 - ours.
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=_ROOT, env=environment | _QUIET
    )
    try:
        side = Side(process)
        side.answer()
        yield side
    finally:
        process.kill()
        process.communicate()
