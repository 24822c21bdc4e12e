"""OTLP/gRPC: raw bytes in, an answer out; beside it the standard health service and server reflection."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import lru_cache, partial
from typing import TypeAlias
from urllib.parse import unquote

import grpc
import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

from driftmeter.errors import ConfigError
from driftmeter.ingest.answers import grpc_status, success
from driftmeter.ingest.door import Door
from driftmeter.ingest.refusals import RefusedError
from driftmeter.ingest.tls import Certificates
from driftmeter.model.receipt import Receipt
from driftmeter.model.request import Request, Signal

_Context: TypeAlias = "grpc.aio.ServicerContext[bytes, bytes]"
_Handler = Callable[[bytes, _Context], Awaitable[bytes]]

SERVICES = {
    Signal.TRACES: trace_service_pb2.DESCRIPTOR.services_by_name["TraceService"].full_name,
    Signal.LOGS: logs_service_pb2.DESCRIPTOR.services_by_name["LogsService"].full_name,
}
"""Full names of the OTLP services."""

_OPTIONS = (
    # grpcio refuses on its own what is larger, while decompressing too, uncounted and with a status that senders take
    # for final. Ours is lower.
    ("grpc.max_receive_message_length", 128 * 1024 * 1024),
    ("grpc.max_concurrent_streams", 64),  # Bounds what waits in transport buffers.
    ("grpc.so_reuseport", 0),  # A port in use is an error, not a second server.
    # The Collector pings every 10 s when told to keep connections alive; grpcio would hang up at the third.
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.max_ping_strikes", 0),
)

_PEERS_KEPT = 1_024
"""Connections whose client's address is not worked out again for each request."""


class GrpcServer:
    """Listens for OTLP/gRPC.

    Args:
        listen: `host:port`; port 0 takes a free one.
        door: Where requests go.
        certificates: For TLS; None is without.
    """

    def __init__(self, listen: str, door: Door, certificates: Certificates | None) -> None:
        self._listen = listen
        self._door = door
        self._certificates = certificates
        self._server: grpc.aio.Server | None = None
        self._health = health.aio.HealthServicer()
        self.port = 0

    async def start(self) -> None:
        """Listen and say SERVING; raises ConfigError when the address cannot be used."""
        server = grpc.aio.server(options=_OPTIONS)
        handlers = tuple(
            grpc.method_handlers_generic_handler(
                name, {"Export": grpc.unary_unary_rpc_method_handler(self._exporter(signal))}
            )
            for signal, name in SERVICES.items()
        )
        server.add_generic_rpc_handlers(handlers)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        # The names of services are no secret: reflection, like health, asks for no token.
        reflection.enable_server_reflection((*SERVICES.values(), health.SERVICE_NAME, reflection.SERVICE_NAME), server)
        self.port = self._bind(server)
        await server.start()
        self._server = server
        for name in SERVICES.values():
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)

    async def stop(self, grace_seconds: float) -> None:
        """Say NOT_SERVING, take no new requests and let those in flight end. Safe to call twice."""
        if self._server is not None:
            await self._health.enter_graceful_shutdown()
            await self._server.stop(grace_seconds)

    def _bind(self, server: grpc.aio.Server) -> int:
        try:
            if self._certificates is None:
                return int(server.add_insecure_port(self._listen))
            return int(server.add_secure_port(self._listen, self._certificates.grpc_credentials()))
        except RuntimeError as error:
            raise ConfigError(
                f"ingest.grpc.listen: cannot listen on {self._listen}: in use by another program, or not an address "
                "of this machine; free it or choose another one"
            ) from error

    def _exporter(self, signal: Signal) -> _Handler:
        async def export(body: bytes, context: _Context) -> bytes:
            work = self._take(Request(signal, body), context)
            outcome = await self._door.answer(work, partial(success, signal))
            if isinstance(outcome, RefusedError):
                await context.abort_with_status(grpc_status(outcome))
                raise asyncio.CancelledError  # Not reached: the call has been aborted.
            return outcome

        return export

    async def _take(self, request: Request, context: _Context) -> Receipt:
        door, size_bytes = self._door, len(request.body)
        if context.cancelled():
            raise asyncio.CancelledError
        if door.asks_for_tokens:
            door.authenticate(_authorization(context))
        door.count_bytes(size_bytes)
        door.check_size(size_bytes)
        with door.lease(_client_of(context.peer())) as lease:
            lease.grow(size_bytes)
            return await door.hand_on(request)


def _authorization(context: _Context) -> str | None:
    for key, value in context.invocation_metadata() or ():
        if key == "authorization":
            return value if isinstance(value, str) else None
    return None


@lru_cache(_PEERS_KEPT)
def _client_of(peer: str) -> str:
    """The address alone of what gRPC calls a peer: ipv4:10.0.0.1:50010, ipv6:%5B::1%5D:50010."""
    address, _, port = unquote(peer).partition(":")[2].rpartition(":")
    return (address or port).strip("[]").removeprefix("::ffff:")
