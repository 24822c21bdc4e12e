"""An OTLP receiver on free ports in this process, and what tests send it."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from driftmeter.clock import Clock, SystemClock
from driftmeter.ingest.config import IngestConfig
from driftmeter.ingest.door import Sink
from driftmeter.ingest.receiver import Receiver
from driftmeter.model.receipt import Receipt
from driftmeter.model.request import Request
from driftmeter.telemetry.metrics import RefusalReason, RequestResult, Telemetry
from otlp_samples import Scalar, make_request, make_span
from programs import LOOPBACK
from spans import channel_to, export_over, identity, request_of

MIB = 1024 * 1024
PROTOBUF = "application/x-protobuf"
JSON = "application/json"
TEST_SECONDS = 60


@dataclass(frozen=True)
class Receiving:
    """A receiver that listens.

    Attributes:
        receiver: The receiver.
        telemetry: What it counts.
        channel: A gRPC connection to it, without TLS.
        http: An HTTP client of it, without TLS.
    """

    receiver: Receiver
    telemetry: Telemetry
    channel: grpc.Channel
    http: httpx.AsyncClient

    async def export(self, request: bytes, **options: object) -> ExportTraceServiceResponse:
        """Sends traces over gRPC; raises grpc.RpcError when they are not taken."""
        return await asyncio.to_thread(export_over, self.channel, request, **options)

    async def refusal(self, request: bytes, **options: object) -> grpc.RpcError:
        """Sends traces over gRPC that must not be taken."""
        with pytest.raises(grpc.RpcError) as refused:
            await self.export(request, **options)
        return refused.value

    async def post(
        self, body: bytes | AsyncIterator[bytes], path: str = "/v1/traces", content_type: str = PROTOBUF, **headers: str
    ) -> httpx.Response:
        """Sends a body over HTTP; further headers have `_` for `-`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.http.post(path, content=body, headers={"content-type": content_type, **named})

    def requests(self) -> dict[RequestResult, int]:
        """Number of requests by how they were answered, without zeros."""
        counts = {result: int(self.telemetry.requests.value(result=result)) for result in RequestResult}
        return {result: count for result, count in counts.items() if count}

    def refused(self) -> dict[RefusalReason, int]:
        """Number of requests that shall be tried again by reason, without zeros."""
        counts = {reason: int(self.telemetry.requests_refused.value(reason=reason)) for reason in RefusalReason}
        return {reason: count for reason, count in counts.items() if count}

    async def holds_something(self) -> None:
        """Returns once bytes are in flight."""
        await until(lambda: self.telemetry.in_flight_bytes.value() > 0)

    async def holds_nothing(self) -> None:
        """Returns once no bytes are in flight."""
        await until(lambda: self.telemetry.in_flight_bytes.value() == 0)


@asynccontextmanager
async def receiving(
    sink: Sink, telemetry: Telemetry | None = None, clock: Clock | None = None, **settings: Any
) -> AsyncIterator[Receiving]:
    """A receiver on free ports until the block ends; settings are those of `ingest`."""
    telemetry = telemetry or Telemetry()
    listen = {"listen": f"{LOOPBACK}:0"}
    config = IngestConfig.model_validate({"grpc": listen, "http": listen, **settings})
    receiver = Receiver(config, sink, telemetry, clock or SystemClock())
    await receiver.start()
    try:
        url = f"http://{LOOPBACK}:{receiver.http_port}"
        with channel_to(f"{LOOPBACK}:{receiver.grpc_port}") as channel:
            async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=TEST_SECONDS) as http:
                yield Receiving(receiver, telemetry, channel, http)
    finally:
        await receiver.stop(0)


class Kept:
    """A sink that keeps what it is handed and answers with one receipt."""

    def __init__(self, receipt: Receipt | None = None) -> None:
        self.requests: list[Request] = []
        self._receipt = receipt or Receipt()

    async def __call__(self, request: Request) -> Receipt:
        """Keeps it."""
        self.requests.append(request)
        return self._receipt


class Gate:
    """A sink that answers no request until it is opened."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self._open = asyncio.Event()

    async def __call__(self, request: Request) -> Receipt:
        """Waits."""
        self.requests.append(request)
        await self._open.wait()
        return Receipt()

    def open(self) -> None:
        """Answer all requests from now on."""
        self._open.set()


async def until(holds: Callable[[], bool]) -> None:
    """Returns once it holds; `run` ends a test in which it never does."""
    while not holds():  # noqa: ASYNC110 - what tests wait for sets no event.
        await asyncio.sleep(0.01)


def run(test: Callable[[], Awaitable[None]]) -> None:
    """Runs a test's coroutine, but not for ever."""

    async def bounded() -> None:
        async with asyncio.timeout(TEST_SECONDS):
            await test()

    asyncio.run(bounded())


def rows_ending_now(count: int, model: str = "prices") -> bytes:
    """A request of rows with one feature."""
    rows = [{"ml.feature.size": float(number)} for number in range(count)]
    return request_of(rows, [SystemClock().now_ns()] * count, identity(model))


def request_of_size(size: int) -> bytes:
    """A request of exactly so many bytes: one prediction with a large attribute that says nothing."""

    def sized(padding: int) -> bytes:
        attributes: dict[str, Scalar] = {"ml.feature.size": 1.0, "http.request.body": "x" * padding}
        return make_request([make_span(attributes)], identity("prices")).SerializeToString()

    request = sized(2 * size - len(sized(size)))
    assert len(request) == size
    return request


async def raw_http(
    port: int, *pieces: bytes, tls: ssl.SSLContext | None = None, hang_up: bool = False, pause_seconds: float = 0.0
) -> bytes:
    """Sends bytes as they are and returns all that comes back until the server hangs up, or nothing when we do."""
    reader, writer = await asyncio.open_connection(LOOPBACK, port, ssl=tls)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause_seconds)
        return b"" if hang_up else await reader.read()
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def http_request(headers: Mapping[str, str | int], path: str = "/v1/traces", method: str = "POST") -> bytes:
    """The head of a request as it goes over the wire; the connection ends with its answer."""
    lines = [f"{method} {path} HTTP/1.1", "host: x", "connection: close"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()
