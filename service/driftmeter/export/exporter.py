"""`Exporter`: takes evaluated windows from the pipeline and sees to it that they go out, without ever making it wait."""

import asyncio
import functools
import logging
import socket
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import polars as pl

from driftmeter import __version__
from driftmeter.clock import Clock
from driftmeter.export.config import ExportConfig
from driftmeter.export.counters import ResultCounters
from driftmeter.export.delivery import Courier
from driftmeter.export.evaluated import EvaluatedWindow
from driftmeter.export.otlp.encode import OtlpSource, batches, encode_metrics_request
from driftmeter.export.otlp.send import OtlpTransport
from driftmeter.export.outbox import Outbox
from driftmeter.export.points import empty_points
from driftmeter.export.remote_write.encode import encode_write_request
from driftmeter.export.remote_write.send import RemoteWriteTransport
from driftmeter.export.schedule import Due, EventSchedule, Schedule, WallSchedule
from driftmeter.export.scrape import ScrapeServer
from driftmeter.model.windows import parse_duration_ns
from driftmeter.telemetry.metrics import Destination, Telemetry

_NS_PER_MS = 1_000_000
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
