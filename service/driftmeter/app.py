"""Builds the service's objects, starts them in the order of the data, drains and stops them in the same order.

Two threads matter: the event loop answers the network; one pipeline thread owns the models' state and does the work
(compiled kernels and polars give up the GIL while they run).
"""

import asyncio
import contextlib
import ctypes
import logging
import signal
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import pyarrow as pa

from driftmeter import __version__
from driftmeter.baseline.book import BaselineBook, BaselineFiles, ChangedFiles
from driftmeter.clock import Clock, SystemClock
from driftmeter.config import Config
from driftmeter.errors import ConfigError, DamagedError, DriftmeterError, TransientError
from driftmeter.export.counters import bucket_durations
from driftmeter.export.evaluated import EvaluatedWindow
from driftmeter.export.exporter import Exporter
from driftmeter.export.exporter import warm_up as warm_up_export
from driftmeter.ingest.gathered import Gathered
from driftmeter.ingest.receiver import Receiver
from driftmeter.ingest.worker import Worker
from driftmeter.journal.store import DiskJournal, MemoryJournal, open_journal
from driftmeter.keeper import Keeper
from driftmeter.model.predictions import Predictions
from driftmeter.model.receipt import Receipt
from driftmeter.model.request import Request
from driftmeter.pipeline import Listeners, Pipeline
from driftmeter.telemetry.logs import fields
from driftmeter.telemetry.metrics import Telemetry

TICK_SECONDS = 1.0
PORTION_SECONDS = 0.02
"""Time for which windows are evaluated before requests get their turn again."""

TICKS_PER_REVISION = 10
"""Windows that late rows have changed are evaluated again every so many ticks; quarantine is looked at as often."""

GRACE_SECONDS = 5.0
"""Time that requests in flight, and then the last samples, get when the service stops."""

_MALLOPT_TRIM_THRESHOLD, _MALLOPT_MMAP_THRESHOLD, _MALLOPT_ARENA_MAX = -1, -3, -8
_KEEP_BYTES = 1 << 30
_ARENAS = 2
"""Heaps that threads share. By default each gets one of its own, which keeps whatever its thread ever needed."""

_LOG = logging.getLogger(__name__)
_Result = TypeVar("_Result")


@dataclass
class Service:
    """The whole service in one object.

    Args:
        config: Its configuration.
        clock: The time.
        on_evaluated: Also told of every evaluated window, on the pipeline's thread.
        accept_loss: Start although something that was written before cannot be read any more.
    """

    config: Config
    clock: Clock
    on_evaluated: Callable[[EvaluatedWindow], None] = lambda _: None
    accept_loss: bool = False

    def __post_init__(self) -> None:
        self._ticks, self._kept = 0, False
        self._given_up = threading.Event()
        self._build(None)

    def _build(self, below: int | None) -> None:
        """Make all objects with the state of the newest snapshot, or of one of earlier entries than `below`."""
        config = self.config
        self.telemetry = Telemetry(__version__)
        self._ready = False
        self._worker = Worker("pipeline")
        self._exporter = Exporter(
            config.export,
            self.telemetry,
            self.clock,
            event_time=config.window.clock == "data",
            ready=lambda: self._ready,
        )
        self._baseline_files = BaselineFiles(config.baseline.files)
        baselines = self._baseline_files.read()
        journal = open_journal(config.journal, self.telemetry, self.clock, accept_loss=self.accept_loss, below=below)
        self._journal = journal
        listeners = Listeners(self._count_predictions, self._publish)
        self._pipeline = Pipeline(config, baselines, journal, self.telemetry, self.clock, listeners)
        self._keeper = (
            Keeper(journal, self._pipeline, self._exporter, config.window.clock, self.telemetry, self.clock)
            if isinstance(journal, DiskJournal)
            else None
        )
        self._gathered = Gathered(self._worker, self._pipeline.accept)
        self._receiver = Receiver(config.ingest, self._accept, self.telemetry, self.clock)
        self._waiting = asyncio.Event()
        self._stopping = asyncio.Event()
        self.broken = asyncio.Event()
        """Set when the service can only be of use again by a new start."""
        self._tasks: list[asyncio.Task[None]] = []
        if self._keeper is not None:
            self._restore(self._keeper)

    def _restore(self, keeper: Keeper) -> None:
        """Take over the state of the snapshot; where it or a blob that it needs is damaged, that of an older one."""
        assert isinstance(self._journal, DiskJournal)  # noqa: S101 - nothing else has snapshots.
        covered = self._journal.covered
        try:
            keeper.restore()
        except DamagedError as error:
            _LOG.warning("snapshot %d cannot be used: %s; the one before it is tried", covered, error)
            self._close()
            self._build(covered)
        except ConfigError:
            self._close()
            raise

    async def start(self) -> None:
        """Compile, recover, then listen; ready when it returns.

        Raises:
            ConfigError: An address or a directory cannot be used.
            DamagedError: What was written before cannot be read.
        """
        keep_freed_memory()
        await self._exporter.serve()
        await self._run(warm_up_export)
        await self._run(self._pipeline.warm_up)
        if self._keeper is not None:
            await self._run(partial(self._keeper.replay, self._given_up.is_set))
        await self._exporter.start()
        await self._receiver.start()
        loops = (self._tick, self._work, self._keep, self._look_at_baselines)
        self._tasks = [asyncio.create_task(self._go_on(loop)) for loop in loops]
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
        self._pipeline.hurry()
        await self._receiver.stop(GRACE_SECONDS)
        self._stopping.set()
        if self._tasks:
            self._waiting.set()
            await asyncio.gather(*self._tasks)
            self._tasks = []
            await self._keep_and_drain()
        await self._exporter.stop(0)
        self._close()

    async def _keep_and_drain(self) -> None:
        """State onto disk, and what is left evaluated and sent.

        With `clock: data` every open window is evaluated now, as if no more came: what is kept is the state before
        that, since more may come after the next start.
        """
        if self._keeper is None or self.config.window.clock == "wall":
            await self.drain()
        if self._keeper is not None and self.config.window.clock == "data":
            await self._keeper.keep(self._run, at_once=True)
            await self.drain()
            await self._exporter.stop(GRACE_SECONDS)
            return
        await self._exporter.stop(GRACE_SECONDS, keep=self._keeper is not None)
        if self._keeper is not None:
            await self._keeper.keep(self._run, at_once=True)

    def give_up(self) -> None:
        """Stop recovering, if that is what is going on: `start` raises TransientError then."""
        self._given_up.set()
        self._pipeline.hurry()

    def _close(self) -> None:
        self._pipeline.close()
        self._worker.close()
        self._journal.close()

    @property
    def grpc_port(self) -> int:
        """The port that OTLP/gRPC is taken on; 0 when it is not."""
        return self._receiver.grpc_port

    @property
    def http_port(self) -> int:
        """The port that OTLP/HTTP is taken on; 0 when it is not."""
        return self._receiver.http_port

    async def _accept(self, request: Request) -> Receipt:
        receipt = await self._gathered.submit(request)
        if self._pipeline.has_work:
            self._waiting.set()
        return receipt

    async def _run(self, work: Callable[[], _Result]) -> _Result:
        return await self._worker.run(work)

    async def _go_on(self, step: Callable[[], Awaitable[None]]) -> None:
        """Do a step again and again until the service stops; a fault in one is said, and the next one is made."""
        while not self._stopping.is_set():
            try:
                await step()
            except Exception:  # noqa: BLE001 - a loop that ends would stop windows or snapshots for good, unseen.
                self.telemetry.internal_errors.add()
                _LOG.exception("internal error: a step of the service failed")
                await self._pause()

    async def _pause(self) -> None:
        """A tick's time, or until the service stops."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(TICK_SECONDS):
                await self._stopping.wait()

    async def _work(self) -> None:
        """Do what waits in small portions, so that requests that come meanwhile are answered in between."""
        await self._waiting.wait()
        self._waiting.clear()
        while not self._stopping.is_set() and await self._run(partial(self._pipeline.work, PORTION_SECONDS)):
            pass

    async def _tick(self) -> None:
        await self._pause()
        self._ticks += 1
        revise = self._ticks % TICKS_PER_REVISION == 0
        await self._run(partial(self._pipeline.tick, revise=revise))
        while not self._stopping.is_set() and await self._run(self._pipeline.tidy):
            pass  # In pieces, so that requests that come meanwhile are answered in between.
        if self._pipeline.broken:
            self._ready = False
            self.broken.set()
        if revise:
            await self._run(self._pipeline.retry_quarantined)
        self._waiting.set()

    async def _look_at_baselines(self) -> None:
        """Files are read beside the pipeline's thread; what has changed takes effect between two requests."""
        await self._pause()
        if self._pipeline.is_behind:  # Windows that wait are still to be judged by the baseline that would go.
            return
        changed = await asyncio.to_thread(self._baseline_files.changed)
        if changed != ChangedFiles():
            await self._run(partial(self._pipeline.reload, changed))
            self._waiting.set()

    async def _keep(self) -> None:
        """The first snapshot soon: counters that went on from a stop must not go back to it should this end soon."""
        await self._pause()
        if self._keeper is not None and await self._keeper.keep(self._run, at_once=not self._kept):
            self._kept = True

    def _publish(self, evaluated: EvaluatedWindow) -> None:
        self._exporter.publish(evaluated)
        self.on_evaluated(evaluated)

    def _count_predictions(self, batch: Predictions) -> None:
        rows = batch.rows
        counts, sum_ns = bucket_durations(rows.column("duration").view(pa.int64()).to_numpy())
        errors = rows.column("error").true_count
        self._exporter.counters.add_predictions(batch.key, rows.num_rows, errors, counts, sum_ns)


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
    mallopt(_MALLOPT_ARENA_MAX, _ARENAS)


def serve(config: Config, *, accept_loss: bool = False) -> None:
    """Run until SIGTERM or SIGINT.

    Args:
        config: The configuration.
        accept_loss: Start although something that was written before cannot be read any more.
    """
    asyncio.run(_serve(config, accept_loss=accept_loss))


async def _serve(config: Config, *, accept_loss: bool) -> None:
    service = Service(config, SystemClock(), accept_loss=accept_loss)
    stopping = asyncio.Event()

    def stop() -> None:
        stopping.set()
        service.give_up()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    try:
        await service.start()
        ends = [asyncio.create_task(event.wait()) for event in (stopping, service.broken)]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for end in ends:
            end.cancel()
        _LOG.info("stopping")
    except TransientError as error:
        if not stopping.is_set():
            raise
        _LOG.info("stopping: %s; the next start begins it again", error)
    finally:
        await service.stop()
    if service.broken.is_set():
        raise DriftmeterError("state is behind the journal after an internal error; a new start puts it right")
    _LOG.info("stopped")


def warm_up() -> None:
    """Compile all kernels, or load them from the cache."""
    warm_up_export()
    free = Pipeline(Config(), BaselineBook(), MemoryJournal(), Telemetry(__version__), SystemClock(), Listeners())
    free.warm_up()
    free.close()
