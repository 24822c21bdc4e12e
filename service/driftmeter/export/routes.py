"""The destinations as configured: how points become requests, where they wait, who carries them."""

import asyncio
import logging
import socket
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import polars as pl

from driftmeter import __version__
from driftmeter.clock import Clock
from driftmeter.errors import DamagedError
from driftmeter.export.config import ExportConfig, OtlpConfig, RemoteWriteConfig
from driftmeter.export.counters import ResultCounters
from driftmeter.export.delivery import Answer
from driftmeter.export.otlp.encode import OtlpSource, batches, encode_metrics_request
from driftmeter.export.otlp.send import OtlpTransport
from driftmeter.export.outbox import Outbox
from driftmeter.export.points import POINTS_SCHEMA
from driftmeter.export.remote_write.encode import encode_write_request, request_parts
from driftmeter.export.remote_write.send import RemoteWriteTransport
from driftmeter.export.schedule import Due
from driftmeter.model.bundle import Tree
from driftmeter.model.stored import Stored, frame_of, rows_of
from driftmeter.model.windows import parse_duration_ns
from driftmeter.telemetry.metrics import Destination, DropReason, Telemetry

_NS_PER_SECOND = 1e9
_LOG = logging.getLogger(__name__)

Encode = Callable[[pl.DataFrame], list[tuple[bytes, int]]]
"""Points to request bodies, each with its number of samples."""


class Transport(Protocol):
    """Carries requests; to be made and closed in the event loop that uses it."""

    async def attempt(self, body: bytes, attempts: int) -> Answer:
        """Send a body once."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


@dataclass(slots=True)
class Route:
    """One destination.

    Attributes:
        outbox: Where requests wait.
        encode: Makes requests of points.
        connect: Makes what carries them.
        max_age_seconds: After this long a request is given up.
        telemetry: Where is counted.
    """

    outbox: Outbox
    encode: Encode
    connect: Callable[[], Transport]
    max_age_seconds: float
    telemetry: Telemetry
    _frames: deque[pl.DataFrame] = field(default_factory=deque, init=False)
    """Due and not yet encoded. A frame leaves in the same `Telemetry.moving()` in which its requests enter the outbox,
    so that state has it in one place at any moment."""

    def take(self, due: Due) -> None:
        """Take what is due in hand; from any thread."""
        with self.telemetry.moving():
            self._frames.extend(due.frames)
            for reason, samples in due.dropped.items():
                self.outbox.refuse(samples, reason)

    async def encode_all(self) -> None:
        """Encode what is in hand, and queue it."""
        while self._frames:
            frame = self._frames[0]
            encoded: list[tuple[bytes, int]] | None = None
            try:
                encoded = await asyncio.to_thread(self.encode, frame)
            except Exception:  # noqa: BLE001 - no frame may end the sending of all that come after it.
                _LOG.exception("points could not be encoded for %s", self.outbox.destination)
            with self.telemetry.moving():
                self._frames.popleft()
                if encoded is None:
                    self.outbox.refuse(frame.height, DropReason.ENCODING)
                for body, samples in encoded or ():
                    self.outbox.put(body, samples)

    def give_up(self) -> None:
        """Count all that is left as dropped (`shutdown`); after the last `encode_all`."""
        with self.telemetry.moving():
            for frame in self._frames:
                self.outbox.refuse(frame.height, DropReason.SHUTDOWN)
            self._frames.clear()
            self.outbox.close()

    def state(self) -> dict[str, Tree]:
        """What is in hand and what is queued, for `restore`; from any thread."""
        with self.telemetry.moving():
            frames, outbox = list(self._frames), self.outbox.state()
        return {"frames": [rows_of(frame) for frame in frames], "outbox": outbox}

    def restore(self, stored: Stored, *, stopped: bool) -> None:
        """Take over a state; `stopped` as in `Outbox.restore`. Raises DamagedError when it is none."""
        frames = [frame_of(frame, POINTS_SCHEMA) for frame in stored.items("frames")]
        self.outbox.restore(stored.tree("outbox"), stopped=stopped)
        self._frames.extend(frames)


class Routes:
    """The routes that are configured.

    Args:
        config: Where to.
        counters: Say since when is counted.
        telemetry: The service's metrics about itself.
        clock: Read for ages and waits.
    """

    def __init__(self, config: ExportConfig, counters: ResultCounters, telemetry: Telemetry, clock: Clock) -> None:
        self._telemetry = telemetry
        self._clock = clock
        self.routes: list[Route] = []
        """In the order in which they are served."""
        job, instance = config.remote_write.job, config.remote_write.instance or socket.gethostname()
        remote_write, otlp = config.remote_write, config.otlp
        if remote_write.url is not None:
            self._add(
                Destination.REMOTE_WRITE,
                remote_write,
                partial(
                    _encode_remote_write, job=job, instance=instance, samples_max=remote_write.max_samples_per_send
                ),
                partial(RemoteWriteTransport, remote_write, __version__, clock),
            )
        if otlp.endpoint is not None:
            source = partial(_otlp_source, job, instance, counters)
            self._add(
                Destination.OTLP,
                otlp,
                partial(_encode_otlp, source=source, samples_max=otlp.max_samples_per_send),
                partial(OtlpTransport, otlp, __version__),
            )

    def state(self) -> Tree:
        """What is not delivered, by destination."""
        return {route.outbox.destination.value: route.state() for route in self.routes}

    def restore(self, stored: Stored, *, stopped: bool) -> None:
        """Put back what was not delivered before a restart; drop and count what has no destination any more.

        Args:
            stored: What `state` gave.
            stopped: As in `Outbox.restore`.

        Raises:
            DamagedError: It is no state.
        """
        configured = {route.outbox.destination.value: route for route in self.routes}
        for name in stored.names:
            if name in configured:
                configured[name].restore(stored.member(name), stopped=stopped)
            elif name in set(Destination):
                outbox = Outbox(Destination(name), sys.maxsize, self._telemetry, self._clock)
                outbox.restore(stored.member(name).tree("outbox"), stopped=stopped)
                if outbox.samples:
                    _LOG.warning("%s is not configured any more: %d samples are dropped", name, outbox.samples)
                outbox.close()
            else:
                raise DamagedError(f"stored state has samples for {name!r}, which is no destination")

    def _add(
        self,
        destination: Destination,
        config: RemoteWriteConfig | OtlpConfig,
        encode: Encode,
        connect: Callable[[], Transport],
    ) -> None:
        outbox = Outbox(destination, config.queue_samples, self._telemetry, self._clock)
        max_age_seconds = parse_duration_ns(config.max_age) / _NS_PER_SECOND
        self.routes.append(Route(outbox, encode, connect, max_age_seconds, self._telemetry))


def _encode_remote_write(points: pl.DataFrame, *, job: str, instance: str, samples_max: int) -> list[tuple[bytes, int]]:
    parts = request_parts(points, job, instance, samples_max)
    return [(encode_write_request(part, job, instance), part.height) for part in parts]


def _otlp_source(job: str, instance: str, counters: ResultCounters) -> OtlpSource:
    """Who sends; since when is counted may come out of a state after the routes were made."""
    return OtlpSource(job, instance, __version__, counters.start_ns)


def _encode_otlp(
    points: pl.DataFrame, *, source: Callable[[], OtlpSource], samples_max: int
) -> list[tuple[bytes, int]]:
    return [(encode_metrics_request(part, source()), count) for part, count in batches(points, samples_max)]
