"""The OTLP/gRPC server: raw bytes in, an answer out."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

import grpc
import grpc.aio

from driftmeter.errors import ConfigError, MalformedError
from driftmeter.ingest.config import IngestConfig
from driftmeter.ingest.status import success, unavailable
from driftmeter.model.receipt import Receipt
from driftmeter.telemetry.metrics import RequestResult, Telemetry

Sink = Callable[[bytes], Awaitable[Receipt]]
"""Takes the bytes of one request; raises MalformedError when they are none."""

_SERVICE = "opentelemetry.proto.collector.trace.v1.TraceService"
_RETRY_AFTER_SECONDS = 1.0
_LOG = logging.getLogger(__name__)

_OPTIONS = (
    # grpcio refuses on its own what is larger, uncounted and with a status that senders take for final. Ours is lower.
    ("grpc.max_receive_message_length", 128 * 1024 * 1024),
    ("grpc.max_concurrent_streams", 64),  # Bounds what waits in transport buffers.
    ("grpc.so_reuseport", 0),  # A port in use is an error, not a second server.
    # The Collector pings every 10 s when told to keep connections alive; grpcio would hang up at the third.
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.max_ping_strikes", 0),
)


class OtlpServer:
    """Receives OTLP traces over gRPC.

    Args:
        config: Address and limits.
        sink: What to do with a request.
        telemetry: Where requests are counted.
    """

    def __init__(self, config: IngestConfig, sink: Sink, telemetry: Telemetry) -> None:
        self._config = config
        self._sink = sink
        self._telemetry = telemetry
        self._in_flight_bytes = 0
        self._server: grpc.aio.Server | None = None
        self.port = 0

    async def start(self) -> None:
        """Listen; raises ConfigError when the address cannot be used."""
        server = grpc.aio.server(options=_OPTIONS)
        handler = grpc.unary_unary_rpc_method_handler(self._export)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, {"Export": handler}),))
        try:
            self.port = server.add_insecure_port(self._config.listen)
        except RuntimeError as error:
            raise ConfigError(
                f"ingest.listen: cannot listen on {self._config.listen}: in use by another program, or not an address "
                "of this machine; free it or choose another one"
            ) from error
        await server.start()
        self._server = server

    async def stop(self, grace_seconds: float) -> None:
        """Take no new requests and let those in flight end."""
        if self._server is not None:
            await self._server.stop(grace_seconds)

    async def _export(self, request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        size, telemetry = len(request), self._telemetry
        telemetry.received_bytes.add(size)
        if size > self._config.max_request_bytes:
            telemetry.requests.add(result=RequestResult.TOO_LARGE)
            limit = self._config.max_request_bytes
            await context.abort(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                f"request of {size} bytes, the limit is {limit}: send smaller batches",
            )
        if self._in_flight_bytes + size > self._config.max_in_flight_bytes:
            telemetry.requests.add(result=RequestResult.UNAVAILABLE)
            await context.abort_with_status(unavailable("too many bytes in flight: try again", _RETRY_AFTER_SECONDS))
        try:
            receipt = await self._work_on(request)
        except MalformedError as error:
            telemetry.requests.add(result=RequestResult.MALFORMED)
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except asyncio.CancelledError:
            telemetry.requests.add(result=RequestResult.CANCELLED)
            raise
        telemetry.requests.add(result=RequestResult.PARTIAL if receipt.rejected_spans else RequestResult.OK)
        return success(receipt)

    async def _work_on(self, request: bytes) -> Receipt:
        """Hand an admitted request on; its room is free again before its sender is answered."""
        self._in_flight_bytes += len(request)
        self._telemetry.in_flight_bytes.set(self._in_flight_bytes)
        try:
            return await self._sink(request)
        finally:
            self._in_flight_bytes -= len(request)
            self._telemetry.in_flight_bytes.set(self._in_flight_bytes)
