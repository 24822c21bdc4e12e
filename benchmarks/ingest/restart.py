"""Time from the start of the process to readiness, with a long journal to read again."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.ingest import small
from benchmarks.ingest.load import Load, load_generator
from benchmarks.ingest.processes import run_service
from benchmarks.ingest.workload import USUAL, Shape
from benchmarks.measure import Measurement, Options
from driftmeter.clock import SystemClock

TAIL_BYTES = 10**9
"""Bytes of journal behind the newest snapshot."""
READY_SECONDS = 20.0
"""Within what the service is to be ready."""
_QUICK_TAIL_BYTES = 5_000_000
_PORTION, _SMALL_PORTION = 50, 500
_CLOCK = SystemClock()

NO_SNAPSHOTS: dict[str, Any] = {"snapshot_interval": "24h", "snapshot_bytes": 64 * 2**30}
"""Configuration of the journal under which no snapshot is taken but the one right after a start."""


SMALL_TAIL_BYTES = 10**8
"""The same of small requests, whose entries cost more per byte."""
_QUICK_SMALL_TAIL_BYTES = 1_000_000


class _Tail(NamedTuple):
    """A journal's tail, and what it took to be ready after it."""

    size_bytes: int
    spans: int
    seconds: float
    cpu_seconds: float


def run(options: Options, directory: Path) -> Iterator[Measurement]:
    """Requests of 1,000 spans; then of 10 spans, of many senders and of a single one, whose entries have 10 rows."""
    quick = options.quick
    usual = _restart(directory / "usual", USUAL, Load("", _PORTION), _QUICK_TAIL_BYTES if quick else TAIL_BYTES)
    yield Measurement("ingest", "restart", usual.seconds, "s", target=READY_SECONDS)
    yield from _figures("restart", usual)
    shape, wanted = replace(USUAL, spans=small.SPANS), _QUICK_SMALL_TAIL_BYTES if quick else SMALL_TAIL_BYTES
    for name, callers in (("restart_small", small.CALLERS), ("restart_single", 1)):
        load = Load("", _SMALL_PORTION, callers=callers, in_flight=1)
        tail = _restart(directory / name, shape, load, wanted)
        yield Measurement("ingest", name, tail.seconds, "s")
        yield from _figures(name, tail)


def _figures(name: str, tail: _Tail) -> Iterator[Measurement]:
    yield Measurement("ingest", f"{name}_cpu", tail.cpu_seconds, "s CPU")
    yield Measurement("ingest", f"{name}_tail", tail.size_bytes / 1e6, "MB")
    yield Measurement("ingest", f"{name}_replay", tail.size_bytes / tail.spans, "bytes of journal/span")


def _restart(directory: Path, shape: Shape, portion: Load, wanted_bytes: int) -> _Tail:
    """Fill a journal, kill the service, start it again."""
    segments, spans = directory / "state" / "journal", 0
    with load_generator(shape) as load, run_service(shape, directory, journal=NO_SNAPSHOTS) as service:
        while (tail_bytes := sum(file.stat().st_size for file in segments.iterdir())) < wanted_bytes:
            spans += load.send(replace(portion, target=service.otlp)).spans
        service.program.process.kill()
        service.program.process.wait()
    began = _CLOCK.monotonic_seconds()
    with run_service(shape, directory, journal=NO_SNAPSHOTS) as service:
        seconds = _CLOCK.monotonic_seconds() - began
        return _Tail(tail_bytes, spans, seconds, service.watched.cpu_seconds())
