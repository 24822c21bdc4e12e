"""How long requests wait while the level of a wide model's baseline, which is in no file, is worked out beside."""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.detect.calibrating import COLUMNS, QUICK_COLUMNS, drawn_baseline
from benchmarks.measure import Measurement, Options
from driftmeter import __version__
from driftmeter.baseline.book import BaselineBook
from driftmeter.clock import SystemClock
from driftmeter.config import Config
from driftmeter.journal.store import MemoryJournal
from driftmeter.model.request import Request, Signal
from driftmeter.pipeline import Listeners, Pipeline
from driftmeter.telemetry.metrics import Telemetry
from otlp_samples import Scalar
from spans import identity, request_of

_SPANS = 10
_PAUSE_SECONDS = 0.1
_PORTION_SECONDS = 0.02


def run(options: Options, directory: Path) -> Iterator[Measurement]:
    """Requests of the model itself, one after the other, until its level is there."""
    del directory
    baseline = drawn_baseline(QUICK_COLUMNS if options.quick else COLUMNS)
    clock = SystemClock()
    pipeline = Pipeline(Config(), BaselineBook([baseline]), MemoryJournal(), Telemetry(__version__), clock, Listeners())
    pipeline.warm_up()
    names = [each.name for each in baseline.layout.columns]
    pipeline.accept([_request(names, 0, clock.now_ns())])
    pipeline.tick(revise=False)
    started, took = time.perf_counter(), list[float]()
    while pipeline.is_behind or not took:
        begun = time.perf_counter()
        pipeline.accept([_request(names, len(took) + 1, clock.now_ns())])
        pipeline.work(_PORTION_SECONDS)
        took.append(time.perf_counter() - begun)
        time.sleep(_PAUSE_SECONDS)
    seconds = time.perf_counter() - started
    pipeline.close()
    yield Measurement("detect", "wait_for_level", seconds, "s")
    yield Measurement("detect", "request_meanwhile_median", float(np.median(took)) * 1e3, "ms")
    yield Measurement("detect", "request_meanwhile_longest", max(took) * 1e3, "ms", target=1_000.0)


def _request(names: list[str], number: int, end_ns: int) -> Request:
    spans: list[dict[str, Scalar]] = [{f"ml.feature.{name}": 0.5 for name in names} for _ in range(_SPANS)]
    return Request(Signal.TRACES, request_of(spans, [end_ns] * _SPANS, identity("m"), number * _SPANS))
