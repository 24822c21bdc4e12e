"""`Exporter`: takes evaluated windows from the pipeline and sees to it that they go out; the pipeline never waits."""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable

import polars as pl

from driftmeter import __version__
from driftmeter.clock import Clock
from driftmeter.export.budget import within_budget
from driftmeter.export.config import ExportConfig
from driftmeter.export.counters import ResultCounters
from driftmeter.export.delivery import Courier
from driftmeter.export.evaluated import EvaluatedWindow
from driftmeter.export.otlp.encode import OtlpSource, encode_metrics_request
from driftmeter.export.points import empty_points
from driftmeter.export.remote_write.encode import encode_write_request
from driftmeter.export.routes import Routes, Transport
from driftmeter.export.sampled import Anomalies
from driftmeter.export.schedule import EventSchedule, Schedule, WallSchedule
from driftmeter.export.scrape import ANOMALIES_PATH, ScrapeServer
from driftmeter.model.bundle import Tree
from driftmeter.model.stored import Stored
from driftmeter.model.windows import parse_duration_ns
from driftmeter.telemetry.metrics import Telemetry, WithheldReason

COUNTED_PART = 0.1
"""Part of a model's series that is kept for counters of its features; its windows have the rest."""

_NS_PER_SECOND = 1e9
_LOG = logging.getLogger(__name__)


def warm_up() -> None:
    """Compile the kernels, or load them; afterwards no call compiles."""
    points = empty_points()
    encode_write_request(points, "job", "instance")
    encode_metrics_request(points, OtlpSource("job", "instance", __version__, 0))


class Exporter:
    """Sends results: evaluated windows soon after their evaluation, current values and counters every interval.

    For a service that goes on after a restart: `serve`, then `restore` and whatever was journalled since, then `start`.

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
        self._anomalies = Anomalies()
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
        self._stopped = False
        self._started = False
        self._routes = Routes(config, self.counters, telemetry, clock)
        self._transports: list[Transport] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._scrape: ScrapeServer | None = None

    @property
    def scrape_port(self) -> int | None:
        """The port that `/metrics` is served on; None when it is not."""
        return None if self._scrape is None else self._scrape.port

    @property
    def queued_samples(self) -> int:
        """Samples encoded and not yet delivered, over all destinations."""
        return sum(route.outbox.samples for route in self._routes.routes)

    def publish(self, evaluated: EvaluatedWindow) -> None:
        """Take over an evaluated window. Returns at once, from any thread; order counts per model and window."""
        points, withheld = within_budget(evaluated.points(0), self._series_max(evaluated))
        if not evaluated.segment:
            self._anomalies.publish(evaluated.key, evaluated.window.name, evaluated.anomalies)
        with self._schedule_lock:
            if not evaluated.revision and not evaluated.segment:
                counted_max = int(COUNTED_PART * self._config.max_series)
                withheld += self.counters.add_findings(evaluated.findings, counted_max)
            self._schedule.publish(evaluated, points)
        self._telemetry.samples_withheld.add(withheld, reason=WithheldReason.MAX_SERIES)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._wake.set)

    def _series_max(self, evaluated: EvaluatedWindow) -> int:
        """How many series a window may have."""
        return int((1 - COUNTED_PART) * self._config.max_series * evaluated.share)

    def current_points(self) -> pl.DataFrame:
        """Current values and counters, `POINTS_SCHEMA`, at time 0; from any thread."""
        with self._schedule_lock:
            return pl.concat([self._schedule.current.snapshot(0), self.counters.points(0)])

    async def serve(self) -> None:
        """Serve the pages, `/metrics` not before `start`; does nothing when called again.

        Raises:
            ConfigError: The address of the pages cannot be listened on.
        """
        listen = self._config.scrape.listen
        if listen is not None and self._scrape is None:
            self._scrape = ScrapeServer(
                listen, self._shown_points, self._telemetry, self._is_ready, {ANOMALIES_PATH: self._anomalies.page}
            )

    async def start(self) -> None:
        """Serve the pages and begin to send. Destinations need not be there yet.

        Counters of models that are there by now, from before a restart, go on without a zero.

        Raises:
            ConfigError: The address of the pages cannot be listened on.
        """
        await self.serve()
        self.counters.go_on()
        self._started, self._stopped = True, False
        self._loop = asyncio.get_running_loop()
        self._wake.set()
        runs = [("export", self._run())]
        for route in self._routes.routes:
            transport = route.connect()
            self._transports.append(transport)
            courier = Courier(route.outbox, transport.attempt, route.max_age_seconds, self._telemetry, self._clock)
            runs.append((route.outbox.destination, courier.run()))
        for name, run in runs:
            task = asyncio.create_task(run, name=f"driftmeter-{name}")
            task.add_done_callback(self._note_end)
            self._tasks.append(task)

    async def stop(self, deadline_seconds: float, *, keep: bool = False) -> None:
        """Send what is there, for at most `deadline_seconds`. May be called twice, also without a start.

        Args:
            deadline_seconds: Time for sending.
            keep: True leaves what is not sent then to `state`; false counts it as dropped (`shutdown`).
        """
        if self._loop is not None:
            await self._stop_sending(deadline_seconds)
            await asyncio.to_thread(self._end, keep=keep)
            for transport in self._transports:
                await transport.close()
            self._transports = []
            self._loop = None
        if self._scrape is not None:
            await asyncio.to_thread(self._scrape.close)
            self._scrape = None

    def state(self) -> Tree:
        """Counters, current values and what is not delivered yet, for `restore`; from any thread, also after a stop.

        A request in it may be delivered right after. Sent again after a restart it does no harm: the receiver has the
        same values at the same times, and what it refuses for their age is counted as `bad_request_after_retry`.
        """
        with self._schedule_lock:
            return {
                "counters": self.counters.state(),
                "schedule": self._schedule.state(),
                "routes": self._routes.state(),
                "anomalies": self._anomalies.state(),
                "stopped": self._stopped,
            }

    def restore(self, tree: Tree) -> None:
        """Go on from a state; to be called once, before `start`, and before anything else is counted or published.

        Raises:
            DamagedError: It is none, or that of a service with another `window.clock`.
        """
        stored = Stored(tree)
        with self._schedule_lock:
            self.counters.restore(stored.tree("counters"))
            self._schedule.restore(stored.tree("schedule"))
            self._anomalies.restore(stored, "anomalies")
            self._stopped = stored.flag("stopped")
            self._routes.restore(stored.member("routes"), stopped=self._stopped)

    def _shown_points(self) -> pl.DataFrame | None:
        """What `/metrics` shows; None before the start."""
        return self.current_points() if self._started else None

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
        await asyncio.to_thread(self._take_due, tick=tick)
        for route in self._routes.routes:
            await route.encode_all()

    def _take_due(self, *, tick: bool) -> None:
        """Put what is due into the hands of each route; nothing after a stop."""
        with self._schedule_lock:
            if self._stopped:
                return
            due = self._schedule.due(self._clock.now_ns(), tick=tick)
            for route in self._routes.routes:
                route.take(due)
        for key in due.forgotten:
            self._telemetry.forget_model(key)
            self._anomalies.forget(key)

    async def _stop_sending(self, deadline_seconds: float) -> None:
        """Hand out and deliver what can be in this time, then end all tasks."""
        self._stopping = True
        self._wake.set()
        run, *couriers = self._tasks
        try:
            async with asyncio.timeout(deadline_seconds):
                await asyncio.wait([run])
                for route in self._routes.routes:
                    await route.outbox.emptied()
        except TimeoutError:
            _LOG.warning("stopped with %d samples undelivered", self.queued_samples)
        for task in (run, *couriers):
            task.cancel()
        await asyncio.gather(run, *couriers, return_exceptions=True)

    def _end(self, *, keep: bool) -> None:
        """From now on nothing is taken, as a thread may still be about to; what is left is counted, or kept."""
        with self._schedule_lock:
            self._stopped = True
            if keep:
                return
            due = self._schedule.due(self._clock.now_ns(), tick=False)
            for route in self._routes.routes:
                route.take(due)
                route.give_up()
