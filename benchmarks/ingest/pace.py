"""How fast spans are acknowledged, and how soon at half the speed asked for, the load generator on the same cores."""

import statistics
from collections.abc import Iterator
from pathlib import Path

from benchmarks.ingest.load import Load, load_generator
from benchmarks.ingest.processes import run_service
from benchmarks.ingest.workload import USUAL
from benchmarks.measure import Measurement, Options

THROUGHPUT_SPANS = 150_000
"""Spans a second that are to be acknowledged."""
LATENCY_MS = 50.0
"""Within what, in 99 of 100 cases at half that rate."""

_RUNS, _REQUESTS, _PACED_SECONDS = 3, 2_000, 30
_QUICK_RUNS, _QUICK_REQUESTS, _QUICK_PACED_SECONDS = 1, 30, 1


def run(options: Options, directory: Path) -> Iterator[Measurement]:
    """First as fast as it goes, then at a steady rate, each request due at its time whatever became of the others."""
    runs, requests, seconds = (
        (_QUICK_RUNS, _QUICK_REQUESTS, _QUICK_PACED_SECONDS) if options.quick else (_RUNS, _REQUESTS, _PACED_SECONDS)
    )
    rate = THROUGHPUT_SPANS / 2 / USUAL.spans
    with load_generator(USUAL) as load, run_service(USUAL, directory) as service:
        load.send(Load(service.otlp, requests // 10 + 1))
        fast = [load.send(Load(service.otlp, requests)) for _ in range(runs)]
        yield Measurement(
            benchmark="ingest",
            metric="throughput",
            value=statistics.median(sent.spans / sent.seconds for sent in fast),
            unit="spans/s",
            at_least=THROUGHPUT_SPANS,
        )
        service.watched.settle()
        paced = [
            load.send(Load(service.otlp, int(rate * seconds), in_flight=30, requests_per_second=rate))
            for _ in range(runs)
        ]
    yield Measurement("ingest", "ack_p50", statistics.median(sent.latency_p50_ms for sent in paced), "ms")
    p99 = statistics.median(sent.latency_p99_ms for sent in paced)
    yield Measurement("ingest", "ack_p99", p99, "ms", target=LATENCY_MS)
    yield Measurement("ingest", "ack_max", max(sent.latency_max_ms for sent in paced), "ms")
    yield Measurement("ingest", "refused", float(sum(sent.refused for sent in [*fast, *paced])), "requests")
