"""`Exporter`: takes evaluated windows from the pipeline and sees to it that they go out; the pipeline never waits."""

import asyncio
import contextlib
import functools
import logging
import socket
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import polars as pl

from driftmeter import __version__
from driftmeter.clock import Clock
from driftmeter.export.config import ExportConfig, OtlpConfig, RemoteWriteConfig
from driftmeter.export.counters import ResultCounters
from driftmeter.export.delivery import Courier
from driftmeter.export.evaluated import EvaluatedWindow
from driftmeter.export.otlp.encode import OtlpSource, batches, encode_metrics_request
from driftmeter.export.otlp.send import OtlpTransport
from driftmeter.export.outbox import Outbox
from driftmeter.export.points import empty_points
from driftmeter.export.remote_write.encode import encode_write_request, request_parts
from driftmeter.export.remote_write.send import RemoteWriteTransport
from driftmeter.export.schedule import Due, EventSchedule, Schedule, WallSchedule
from driftmeter.export.scrape import ScrapeServer
from driftmeter.model.windows import parse_duration_ns
from driftmeter.telemetry.metrics import Destination, DropReason, Telemetry

_NS_PER_SECOND = 1e9
_LOG = logging.getLogger(__name__)

Encode = Callable[[pl.DataFrame], list[tuple[bytes, int]]]
"""Points to request bodies, each with its number of samples."""


@dataclass(frozen=True, slots=True)
class _Route:
    """One destination: how points become requests, where they wait, who carries them."""

    encode: Encode
    outbox: Outbox
    courier: Courier
    close: Callable[[], Awaitable[None]]


def warm_up() -> None:
    """Compile the kernels, or load them; afterwards no call compiles."""
    points = empty_points()
    encode_write_request(points, "job", "instance")
    encode_metrics_request(points, OtlpSource("job", "instance", __version__, 0))


class Exporter:
    """Sends results: evaluated windows soon after their evaluation, current values and counters every interval.

    Args:
        config: Where to, and how often.
        telemetry: The service's metrics about itself.
        clock: Read for times of samples, ages and waits.
        event_time: True stamps values with their window's end and sends each once, for replays.
        ready: Whether the service welcomes data, for `/readyz`; called from other threads. The answer there is no, too,
            once a task that sends has failed.
    """

    def __init__(
        self,
        config: ExportConfig,
        telemetry: Telemetry,
        clock: Clock,
        *,
        event_time: bool = False,
        ready: Callable[[], bool] = lambda: True,
    ) -> None:
        self.counters = ResultCounters(0 if event_time else clock.now_ns())
        """Counters over all windows; the pipeline feeds `add_predictions`, `publish` the rest."""
        self._config = config
        self._telemetry = telemetry
        self._clock = clock
        self._ready = ready
        self._interval_seconds = parse_duration_ns(config.interval) / _NS_PER_SECOND
        self._schedule: Schedule = (EventSchedule if event_time else WallSchedule)(self.counters)
        self._schedule_lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake = asyncio.Event()
        self._stopping = False
        self._failed = False
        self._routes: list[_Route] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._scrape: ScrapeServer | None = None

    @property
    def scrape_port(self) -> int | None:
        """The port that `/metrics` is served on; None when it is not."""
        return None if self._scrape is None else self._scrape.port

    @property
    def queued_samples(self) -> int:
        """Samples encoded and not yet delivered, over all destinations."""
        return sum(route.outbox.samples for route in self._routes)

    def publish(self, evaluated: EvaluatedWindow) -> None:
        """Take over an evaluated window. Returns at once, from any thread; order counts per model and window."""
        points = evaluated.points(0)
        with self._schedule_lock:
            if not evaluated.revision:
                self.counters.add_findings(evaluated.findings)
            self._schedule.publish(evaluated, points)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._wake.set)

    def current_points(self) -> pl.DataFrame:
        """Current values and counters, `POINTS_SCHEMA`, at time 0; from any thread."""
        with self._schedule_lock:
            return pl.concat([self._schedule.current.snapshot(0), self.counters.points(0)])

    async def start(self) -> None:
        """Serve the pages and begin to send. Destinations need not be there yet.

        Raises:
            ConfigError: The address of the pages cannot be listened on.
        """
        listen = self._config.scrape.listen
        if listen is not None:
            self._scrape = ScrapeServer(listen, self.current_points, self._telemetry, self._is_ready)
        self._routes = self._make_routes()
        self._loop = asyncio.get_running_loop()
        self._wake.set()
        runs = [("export", self._run()), *((route.outbox.destination, route.courier.run()) for route in self._routes)]
        for name, run in runs:
            task = asyncio.create_task(run, name=f"driftmeter-{name}")
            task.add_done_callback(self._note_end)
            self._tasks.append(task)

    async def stop(self, deadline_seconds: float) -> None:
        """Send what is there, for at most `deadline_seconds`; what is left then is counted as dropped (`shutdown`).

        May be called twice.
        """
        if self._loop is None:
            return
        self._stopping = True
        self._wake.set()
        run, *couriers = self._tasks
        try:
            async with asyncio.timeout(deadline_seconds):
                await asyncio.wait([run])
                for route in self._routes:
                    await route.outbox.emptied()
        except TimeoutError:
            _LOG.warning("stopped with %d samples undelivered", self.queued_samples)
        for task in (run, *couriers):
            task.cancel()
        await asyncio.gather(run, *couriers, return_exceptions=True)
        for route in self._routes:
            route.outbox.close()
            await route.close()
        if self._scrape is not None:
            await asyncio.to_thread(self._scrape.close)
        self._loop = None

    def _is_ready(self) -> bool:
        """Whether the service is, and nothing that sends has died."""
        return not self._failed and self._ready()

    def _note_end(self, task: asyncio.Task[None]) -> None:
        """Tasks here end by cancellation or at a stop; anything else is a fault that must not go unseen."""
        if not task.cancelled() and task.exception() is not None:
            self._failed = True
            _LOG.critical("%s failed", task.get_name(), exc_info=task.exception())

    async def _run(self) -> None:
        """Hand out what is due whenever a window was published or an interval is over; at the end once more."""
        tick_seconds = self._clock.monotonic_seconds() + self._interval_seconds
        while not self._stopping:
            now_seconds = self._clock.monotonic_seconds()
            tick = now_seconds >= tick_seconds
            if tick:
                tick_seconds = max(tick_seconds + self._interval_seconds, now_seconds)
            self._wake.clear()
            await self._emit(tick=tick)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, tick_seconds - self._clock.monotonic_seconds())):
                    await self._wake.wait()
        await self._emit(tick=True)

    async def _emit(self, *, tick: bool) -> None:
        """Encode what is due, once per destination, and queue it."""
        due = await asyncio.to_thread(self._due, tick=tick)
        for route in self._routes:
            for frame in due.frames:
                try:
                    encoded = await asyncio.to_thread(route.encode, frame)
                except Exception:  # noqa: BLE001 - no frame may end the sending of all that come after it.
                    _LOG.exception("points could not be encoded for %s", route.outbox.destination)
                    route.outbox.refuse(frame.height, DropReason.ENCODING)
                    continue
                for body, samples in encoded:
                    route.outbox.put(body, samples)
            for reason, samples in due.dropped.items():
                route.outbox.refuse(samples, reason)

    def _due(self, *, tick: bool) -> Due:
        with self._schedule_lock:
            return self._schedule.due(self._clock.now_ns(), tick=tick)

    def _make_routes(self) -> list[_Route]:
        config = self._config
        job, instance = config.remote_write.job, config.remote_write.instance or socket.gethostname()
        routes = []
        if config.remote_write.url is not None:
            transport = RemoteWriteTransport(config.remote_write, __version__, self._clock)
            samples_max = config.remote_write.max_samples_per_send
            encode = functools.partial(_encode_remote_write, job=job, instance=instance, samples_max=samples_max)
            routes.append(self._make_route(Destination.REMOTE_WRITE, config.remote_write, encode, transport))
        if config.otlp.endpoint is not None:
            source = OtlpSource(job, instance, __version__, self.counters.start_ns)
            samples_max = config.otlp.max_samples_per_send
            encode = functools.partial(_encode_otlp, source=source, samples_max=samples_max)
            routes.append(
                self._make_route(Destination.OTLP, config.otlp, encode, OtlpTransport(config.otlp, __version__))
            )
        return routes

    def _make_route(
        self,
        destination: Destination,
        config: RemoteWriteConfig | OtlpConfig,
        encode: Encode,
        transport: RemoteWriteTransport | OtlpTransport,
    ) -> _Route:
        outbox = Outbox(destination, config.queue_samples, self._telemetry, self._clock)
        max_age_seconds = parse_duration_ns(config.max_age) / _NS_PER_SECOND
        courier = Courier(outbox, transport.attempt, max_age_seconds, self._telemetry, self._clock)
        return _Route(encode, outbox, courier, transport.close)


def _encode_remote_write(points: pl.DataFrame, *, job: str, instance: str, samples_max: int) -> list[tuple[bytes, int]]:
    parts = request_parts(points, job, instance, samples_max)
    return [(encode_write_request(part, job, instance), part.height) for part in parts]


def _encode_otlp(points: pl.DataFrame, *, source: OtlpSource, samples_max: int) -> list[tuple[bytes, int]]:
    return [(encode_metrics_request(part, source), count) for part, count in batches(points, samples_max)]
