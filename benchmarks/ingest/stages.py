"""Where the service's CPU goes: by thread as the system counts it, and by stage on the pipeline's thread."""

import json
import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from benchmarks.ingest import small
from benchmarks.ingest.load import Load, load_generator
from benchmarks.ingest.processes import Service, pause, run_service
from benchmarks.ingest.profiled import PROFILE
from benchmarks.ingest.workload import USUAL, Shape
from benchmarks.measure import Measurement, Options

_REQUESTS, _SMALL_REQUESTS = 1_500, 6_000
_BETWEEN = "between_requests"
"""What the pipeline's thread does beside its stages: taking work, handing results back."""
_SMALL_SEGMENTS = {"segment_bytes": 4 << 20, "snapshot_bytes": 16 << 20}
"""Sixteen times smaller than usual, so that snapshots and archive have their share in so few requests."""
_QUICK_REQUESTS, _QUICK_SMALL_REQUESTS = 20, 300


def run(options: Options, directory: Path) -> Iterator[Measurement]:
    """The usual requests, then small ones."""
    load = Load("", _QUICK_REQUESTS if options.quick else _REQUESTS)
    for name, seconds in _profile(USUAL, load, directory / "usual").items():
        cost = seconds / load.requests / USUAL.spans
        yield Measurement("ingest", f"stage_{name}", cost * 1e6, "µs CPU/span")
    requests = _QUICK_SMALL_REQUESTS if options.quick else _SMALL_REQUESTS
    load = Load("", requests, callers=small.CALLERS, in_flight=1)
    for name, seconds in _profile(replace(USUAL, spans=small.SPANS), load, directory / "small").items():
        yield Measurement("ingest", f"small_stage_{name}", seconds / load.requests * 1e6, "µs CPU/request")


def _profile(shape: Shape, what: Load, directory: Path) -> dict[str, float]:
    """CPU seconds by stage and by thread, dearest first."""
    with (
        load_generator(shape, templates=16) as load,
        run_service(shape, directory, module="benchmarks.ingest.profiled", journal=_SMALL_SEGMENTS) as service,
    ):
        load.send(replace(what, target=service.otlp, requests=what.requests // 2))
        service.watched.settle()
        before = _read(service, directory)
        load.send(replace(what, target=service.otlp))
        service.watched.settle()
        spent = _read(service, directory) - before
    return dict(spent.most_common())


def _read(service: Service, directory: Path) -> "Counter[str]":
    """Seconds so far: of the stages, of the event loop, of the pipeline's thread beside its stages, of all others."""
    process, file = service.watched.process, directory / PROFILE
    file.unlink(missing_ok=True)
    process.send_signal(signal.SIGUSR1)
    while not file.exists():
        pause(0.01)
    profile = json.loads(file.read_text())
    spent = Counter[str](profile["seconds"])
    on_stages = sum(spent.values())
    for thread in process.threads():
        used = thread.user_time + thread.system_time
        spent[_thread_name(process.pid, thread.id, profile["threads"])] += used  # type: ignore[assignment]
    spent[_BETWEEN] -= on_stages
    return spent


def _thread_name(process: int, thread: int, known: dict[str, str]) -> str:
    """The event loop is the first thread; threads of libraries say what they are called."""
    if thread == process:
        return "event_loop"
    if str(thread) in known:
        return _BETWEEN
    comm = Path(f"/proc/{process}/task/{thread}/comm")
    try:
        return f"thread_{comm.read_text().strip().rstrip('-0123456789').replace(' ', '_')}"
    except OSError:
        return "threads_ended"
