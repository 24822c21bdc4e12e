"""Builds the service's objects, starts them in the order of the data, drains and stops them in the same order.

Two threads matter: the event loop answers the network; one pipeline thread owns the models' state and does the work
(compiled kernels and polars give up the GIL while they run).
"""

import asyncio
import ctypes
import logging
import signal
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from driftmeter import __version__
from driftmeter.baseline.book import read_book
from driftmeter.clock import Clock, SystemClock
from driftmeter.config import Config
from driftmeter.export.counters import bucket_durations
from driftmeter.export.evaluated import EvaluatedWindow
from driftmeter.export.exporter import Exporter
from driftmeter.export.exporter import warm_up as warm_up_export
from driftmeter.ingest.receiver import Receiver
from driftmeter.ingest.worker import Worker
from driftmeter.model.predictions import Predictions
from driftmeter.model.receipt import Receipt
from driftmeter.model.request import Request
from driftmeter.pipeline import Listeners, Pipeline
from driftmeter.telemetry.logs import fields
from driftmeter.telemetry.metrics import Telemetry

TICK_SECONDS = 1.0
PORTION_SECONDS = 0.1
"""Time for which windows are evaluated before requests get their turn again."""

TICKS_PER_REVISION = 10
"""Windows that late rows have changed are evaluated again every so many ticks."""

GRACE_SECONDS = 5.0
"""Time that requests in flight, and then the last samples, get when the service stops."""

_MALLOPT_TRIM_THRESHOLD, _MALLOPT_MMAP_THRESHOLD = -1, -3
_KEEP_BYTES = 1 << 30

_LOG = logging.getLogger(__name__)
_Result = TypeVar("_Result")


@dataclass
class Service:
    """The whole service in one object.

    Args:
        config: Its configuration.
        clock: The time.
        on_evaluated: Also told of every evaluated window, on the pipeline's thread.
    """

    config: Config
    clock: Clock
    on_evaluated: Callable[[EvaluatedWindow], None] = lambda _: None

    def __post_init__(self) -> None:
        self.telemetry = Telemetry(__version__)
        self._ready = False
        self._worker = Worker("pipeline")
        self._exporter = Exporter(
            self.config.export,
            self.telemetry,
            self.clock,
            event_time=self.config.window.clock == "data",
            ready=lambda: self._ready,
        )
        self._pipeline = Pipeline(
            self.config,
            read_book(self.config.baseline.files),
            self.telemetry,
            self.clock,
            Listeners(self._count_predictions, self._publish),
        )
        self._receiver = Receiver(self.config.ingest, self._accept, self.telemetry, self.clock)
        self._waiting = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Compile, then listen; ready when it returns. Raises ConfigError for addresses that cannot be used."""
        keep_freed_memory()
        await self._exporter.start()
        await self._run(warm_up_export)
        await self._run(self._pipeline.warm_up)
        await self._receiver.start()
        self._tasks = [asyncio.create_task(self._tick()), asyncio.create_task(self._work())]
        self._ready = True
        _LOG.info(
            "ready",
            extra=fields(
                version=__version__,
                otlp_grpc=_address(self.config.ingest.grpc.listen, self.grpc_port),
                otlp_http=_address(self.config.ingest.http.listen, self.http_port),
                metrics=self.config.export.scrape.listen or "off",
            ),
        )

    async def drain(self) -> None:
        """Evaluate what is left: every open window with `clock: data`, else those that are over."""
        await self._run(self._pipeline.drain)

    async def stop(self) -> None:
        """Stop in the order of the data: take no more, evaluate what is left, send it. Safe to call twice."""
        self._ready = False
        await self._receiver.stop(GRACE_SECONDS)
        if self._tasks:
            for task in self._tasks:
                task.cancel()
            self._tasks = []
            await self.drain()
            await self._exporter.stop(GRACE_SECONDS)
        self._pipeline.close()
        self._worker.close()

    @property
    def grpc_port(self) -> int:
        """The port that OTLP/gRPC is taken on; 0 when it is not."""
        return self._receiver.grpc_port

    @property
    def http_port(self) -> int:
        """The port that OTLP/HTTP is taken on; 0 when it is not."""
        return self._receiver.http_port

    async def _accept(self, request: Request) -> Receipt:
        receipt = await self._worker.run(partial(self._pipeline.accept, request))
        self._waiting.set()
        return receipt

    async def _run(self, work: Callable[[], _Result]) -> _Result:
        return await self._worker.run(work)

    async def _work(self) -> None:
        """Do what waits in small portions, so that requests that come meanwhile are answered in between."""
        while True:
            await self._waiting.wait()
            self._waiting.clear()
            while await self._run(partial(self._pipeline.work, PORTION_SECONDS)):
                pass

    async def _tick(self) -> None:
        ticks = 0
        while True:
            await asyncio.sleep(TICK_SECONDS)
            ticks += 1
            revise = ticks % TICKS_PER_REVISION == 0
            await self._run(partial(self._pipeline.tick, revise=revise))
            self._waiting.set()

    def _publish(self, evaluated: EvaluatedWindow) -> None:
        self._exporter.publish(evaluated)
        self.on_evaluated(evaluated)

    def _count_predictions(self, batch: Predictions) -> None:
        rows = batch.rows
        durations_ns = pc.cast(rows.column("duration"), pa.int64()).to_numpy()
        errors = pc.sum(rows.column("error")).as_py() or 0
        counts, seconds = bucket_durations(durations_ns)
        self._exporter.counters.add_predictions(batch.key, rows.num_rows, errors, counts, seconds)


def _address(listen: str | None, port: int) -> str:
    """Where something listens, also where its configuration says port 0."""
    return "off" if listen is None else f"{listen.rpartition(':')[0]}:{port}"


def keep_freed_memory() -> None:
    """Tell malloc to keep large freed blocks: giving them back and faulting them in again costs more than decoding.

    Does what MALLOC_TRIM_THRESHOLD_ and MALLOC_MMAP_THRESHOLD_ do, for this process; nothing where there is no glibc.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(_MALLOPT_TRIM_THRESHOLD, _KEEP_BYTES)
    mallopt(_MALLOPT_MMAP_THRESHOLD, _KEEP_BYTES)


def serve(config: Config) -> None:
    """Run until SIGTERM or SIGINT."""
    asyncio.run(_serve(config))


async def _serve(config: Config) -> None:
    service = Service(config, SystemClock())
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    try:
        await service.start()
        await stopping.wait()
        _LOG.info("stopping")
    finally:
        await service.stop()
    _LOG.info("stopped")


def warm_up() -> None:
    """Compile all kernels, or load them from the cache."""
    warm_up_export()
    service_free = Pipeline(Config(), read_book(()), Telemetry(__version__), SystemClock(), Listeners())
    service_free.warm_up()
