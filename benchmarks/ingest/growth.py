"""How cost grows with features and with models: per span, per evaluation of a pane's windows, and in memory."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.ingest.cost import service_cost
from benchmarks.ingest.load import Load, load_generator
from benchmarks.ingest.processes import run_service
from benchmarks.ingest.workload import Shape
from benchmarks.measure import Measurement, Options

FEATURES = (1, 10, 100, 1_000)
MODELS = (1, 10, 100)
_SPANS_MAX, _VALUES_MAX = 1_000, 50_000
"""Spans of a request, fewer where they have so many features that it would hold more values than these."""
_VALUES = 10_000_000
_QUICK_VALUES = 100_000
_REQUESTS_MAX = 1_000
_NEVER = 100_000_000
"""Spans in a pane, so many that none is over while requests are sent."""


@dataclass(frozen=True, slots=True)
class _Point:
    spans: float  # CPU seconds per span.
    evaluation: float  # CPU seconds per evaluation of all windows that end with a pane, all models together.
    resident_bytes: int


def run(options: Options, directory: Path) -> Iterator[Measurement]:
    """One service after the other, each with so many features or models."""
    features = (1, 100) if options.quick else FEATURES
    models = (1, 10) if options.quick else MODELS
    values = _QUICK_VALUES if options.quick else _VALUES
    by_features: dict[int, _Point] = {}
    for count in features:
        shape = Shape(max(20, min(_SPANS_MAX, _VALUES_MAX // count)), count - count // 5, count // 5)
        by_features[count] = _measure(shape, values, directory / f"features-{count}")
        yield from _measurements("features", count, by_features[count])
    by_models: dict[int, _Point] = {}
    for count in models:
        by_models[count] = _measure(Shape(models=count), values, directory / f"models-{count}")
        yield from _measurements("models", count, by_models[count])
    yield from _memory("feature", by_features)
    yield from _memory("model", by_models)


def _measure(shape: Shape, values: int, directory: Path) -> _Point:
    """First spans of one pane alone, then requests that each end the pane of the one before."""
    requests = min(_REQUESTS_MAX, max(5, values // (shape.spans * (shape.numbers + shape.texts))))
    panes = 5
    with (
        load_generator(shape, templates=4, spans_per_pane=_NEVER) as load,
        run_service(shape, directory) as service,
    ):
        service_cost(service, load, Load(service.otlp, 5))
        per_span = service_cost(service, load, Load(service.otlp, requests))
        service.watched.settle()
        before = service.watched.cpu_seconds()
        for _ in range(panes):
            load.send(Load(service.otlp, 1, panes_skipped=1))
            service.watched.settle()
        evaluation = (service.watched.cpu_seconds() - before) / panes - per_span * shape.spans
        return _Point(per_span, evaluation, service.watched.resident_bytes())


def _measurements(what: str, count: int, point: _Point) -> Iterator[Measurement]:
    yield Measurement("ingest", f"{what}_{count}_cpu", point.spans * 1e6, "µs CPU/span")
    yield Measurement("ingest", f"{what}_{count}_evaluation", point.evaluation * 1e3, "ms CPU/pane")
    yield Measurement("ingest", f"{what}_{count}_memory", point.resident_bytes / 1e6, "MB")


def _memory(what: str, points: dict[int, _Point]) -> Iterator[Measurement]:
    """What one more costs: between the fewest and the most."""
    fewest, most = min(points), max(points)
    grown = points[most].resident_bytes - points[fewest].resident_bytes
    yield Measurement("ingest", f"memory_per_{what}", grown / (most - fewest) / 1e3, "kB")
