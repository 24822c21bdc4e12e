"""The whole OTLP receiver: both servers behind one door."""

import asyncio

from driftmeter.clock import Clock
from driftmeter.ingest.config import IngestConfig
from driftmeter.ingest.door import Door, Sink
from driftmeter.ingest.grpc_server import GrpcServer
from driftmeter.ingest.http_server import HttpServer
from driftmeter.ingest.tls import Certificates
from driftmeter.telemetry.metrics import Telemetry


class Receiver:
    """Takes OTLP traces and logs over gRPC and HTTP and hands them to the sink.

    Args:
        config: Addresses, limits, credentials.
        sink: What to do with a request.
        telemetry: Where requests are counted.
        clock: The time.

    Raises:
        ConfigError: Certificates or tokens cannot be used.
    """

    def __init__(self, config: IngestConfig, sink: Sink, telemetry: Telemetry, clock: Clock) -> None:
        self._door = Door(config, sink, telemetry, clock)
        certificates = Certificates(config.tls, telemetry, clock) if config.tls is not None else None
        listen = config.grpc.listen
        self._grpc = None if listen is None else GrpcServer(listen, self._door, certificates)
        listen = config.http.listen
        self._http = None if listen is None else HttpServer(listen, self._door, certificates, lambda: self._serving)
        self._serving = False

    @property
    def grpc_port(self) -> int:
        """The port that OTLP/gRPC is taken on; 0 when it is not."""
        return 0 if self._grpc is None else self._grpc.port

    @property
    def http_port(self) -> int:
        """The port that OTLP/HTTP is taken on; 0 when it is not."""
        return 0 if self._http is None else self._http.port

    async def start(self) -> None:
        """Listen; data is welcome from now on. Raises ConfigError when an address cannot be used."""
        if self._grpc is not None:
            await self._grpc.start()
        if self._http is not None:
            await self._http.start()
        self._serving = True

    async def stop(self, grace_seconds: float) -> None:
        """Take no new requests, and let those in flight end within the grace time. Safe to call twice."""
        self._serving = False
        self._door.stop()
        servers = [server for server in (self._grpc, self._http) if server is not None]
        await asyncio.gather(*(server.stop(grace_seconds) for server in servers))
