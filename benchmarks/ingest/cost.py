"""CPU of the whole service per span, beside the real Collector's and protobuf's parser on the same spans."""

import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from benchmarks.ingest.load import Load, LoadGenerator, load_generator
from benchmarks.ingest.processes import (
    Service,
    Watched,
    collector_is_here,
    run_forwarding_collector,
    run_service,
    wait_until_forwarded,
)
from benchmarks.ingest.workload import USUAL, Requests
from benchmarks.measure import Measurement, Options
from components import Collector


@dataclass(frozen=True, slots=True)
class _Amounts:
    rounds: int
    service: int
    collector: int
    gzip: int
    warm_up: int


_FULL = _Amounts(rounds=5, service=1_000, collector=200, gzip=200, warm_up=50)
"""The service's share is large enough for its snapshots and archives, which come once in many requests."""
_QUICK = _Amounts(rounds=2, service=20, collector=10, gzip=5, warm_up=5)
_PARSES = 50


@dataclass
class _Rounds:
    """CPU seconds per span, one of each for every round."""

    service: list[float] = field(default_factory=list)
    gzip: list[float] = field(default_factory=list)
    protobuf: list[float] = field(default_factory=list)
    collector: list[float] = field(default_factory=list)


def run(options: Options, directory: Path) -> Iterator[Measurement]:
    """Rounds in which every side gets its turn; medians over them."""
    amounts, rounds = _QUICK if options.quick else _FULL, _Rounds()
    with ExitStack() as stack:
        load = stack.enter_context(load_generator(USUAL))
        service = stack.enter_context(run_service(USUAL, directory / "service"))
        collector: _Collector | None = None
        if collector_is_here():
            (directory / "collector").mkdir()
            collector = _Collector(stack.enter_context(run_forwarding_collector(directory / "collector")))
            collector.cost(load, amounts.warm_up)
        else:
            print("ingest: service_cpu_vs_collector left out: run make components", file=sys.stderr)
        bodies = [Requests(USUAL, 1).make() for _ in range(4)]
        service_cost(service, load, Load(service.otlp, amounts.warm_up))
        for _ in range(amounts.rounds):
            rounds.service.append(service_cost(service, load, Load(service.otlp, amounts.service)))
            if collector is not None:
                rounds.collector.append(collector.cost(load, amounts.collector))
            rounds.gzip.append(service_cost(service, load, Load(service.otlp, amounts.gzip, gzip=True)))
            rounds.protobuf.append(_parser_cost(bodies))
    yield from _measurements(rounds)


def service_cost(service: Service, load: LoadGenerator, what: Load) -> float:
    """CPU seconds per span acknowledged, until all that was put off is done too."""
    service.watched.settle()
    before = service.watched.cpu_seconds()
    sent = load.send(what)
    service.watched.settle()
    return (service.watched.cpu_seconds() - before) / sent.spans


@dataclass
class _Collector:
    """The Collector, and how many spans it has been given."""

    running: Collector
    spans: int = 0

    def cost(self, load: LoadGenerator, requests: int) -> float:
        """CPU seconds per span, until all of them are forwarded."""
        watched = Watched.of(self.running.program)
        before = watched.cpu_seconds()
        sent = load.send(Load(self.running.grpc, requests))
        self.spans += sent.spans
        wait_until_forwarded(self.running, self.spans)
        return (watched.cpu_seconds() - before) / sent.spans


def _parser_cost(bodies: list[bytes]) -> float:
    """CPU seconds per span of protobuf's C parser, making messages of the same requests."""
    start = time.process_time()
    for number in range(_PARSES):
        ExportTraceServiceRequest.FromString(bodies[number % len(bodies)])
    return (time.process_time() - start) / _PARSES / USUAL.spans


def _measurements(rounds: _Rounds) -> Iterator[Measurement]:
    parser = "ExportTraceServiceRequest.FromString"
    yield from _ratio("service_cpu_vs_collector", rounds.service, rounds.collector, "Collector, fsynced queue", 0.2)
    yield from _ratio("service_cpu_vs_protobuf", rounds.service, rounds.protobuf, parser, 4.0)
    yield from _ratio("service_cpu_gzip_vs_protobuf", rounds.gzip, rounds.protobuf, parser, None)


def _ratio(
    metric: str, ours: list[float], theirs: list[float], reference: str, target: float | None
) -> Iterator[Measurement]:
    """Nothing when the other side did not run."""
    if theirs:
        yield Measurement(
            benchmark="ingest",
            metric=metric,
            value=statistics.median(ours) * 1e6,
            unit="µs CPU/span",
            reference=reference,
            reference_value=statistics.median(theirs) * 1e6,
            ratio=statistics.median(our / their for our, their in zip(ours, theirs, strict=True)),
            target=target,
        )
