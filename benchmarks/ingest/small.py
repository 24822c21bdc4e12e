"""Small requests, as SDKs send without a Collector, beside bare grpcio on the same requests."""

import statistics
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from benchmarks.ingest.load import Load, LoadGenerator, load_generator
from benchmarks.ingest.processes import Watched, run_acknowledging, run_service
from benchmarks.ingest.workload import USUAL
from benchmarks.measure import Measurement, Options

SPANS, CALLERS = 10, 32
"""Spans of a request, and connections that each have one request in flight."""
_ROUNDS, _REQUESTS = 5, 10_000
_QUICK_ROUNDS, _QUICK_REQUESTS = 2, 300


def run(options: Options, directory: Path) -> Iterator[Measurement]:
    """CPU per request of either server, in turns."""
    rounds, requests = (_QUICK_ROUNDS, _QUICK_REQUESTS) if options.quick else (_ROUNDS, _REQUESTS)
    ours, theirs = list[float](), list[float]()
    with (
        load_generator(replace(USUAL, spans=SPANS), templates=100) as load,
        run_service(USUAL, directory) as service,
        run_acknowledging(directory) as (bare, target),
    ):
        sides = ((ours, service.watched, service.otlp), (theirs, bare, target))
        for number in range(rounds + 1):
            for costs, watched, address in sides:
                cost = _cost(load, watched, Load(address, requests, callers=CALLERS, in_flight=1))
                if number:  # The first round warms up.
                    costs.append(cost)
    yield Measurement(
        benchmark="ingest",
        metric="small_requests",
        value=statistics.median(ours) * 1e6,
        unit="µs CPU/request",
        reference="grpcio alone",
        reference_value=statistics.median(theirs) * 1e6,
        ratio=statistics.median(our / their for our, their in zip(ours, theirs, strict=True)),
        target=2.0,
    )


def _cost(load: LoadGenerator, watched: Watched, what: Load) -> float:
    """CPU seconds per request, until all that was put off is done too."""
    watched.settle()
    before = watched.cpu_seconds()
    load.send(what)
    watched.settle()
    return (watched.cpu_seconds() - before) / what.requests
