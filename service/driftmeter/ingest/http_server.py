"""The server under `http_app`: uvicorn's HTTP/1.1, on the event loop that is there, without its signal handlers."""

import asyncio
import logging
import socket
from collections.abc import Callable

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from driftmeter.errors import ConfigError
from driftmeter.ingest.door import Door
from driftmeter.ingest.http_app import HttpApp
from driftmeter.ingest.tls import Certificates
from driftmeter.model.settings import split_address

HEAD_SECONDS = 15.0
"""How long the head of a request may take to arrive once it, or the connection, has begun."""

IDLE_SECONDS = 120
"""How long a connection is kept between two requests; Go's senders keep theirs for 90 s."""

_BACKLOG = 512
_CANCEL_SECONDS = 1.0
"""How long answers to requests that were cut off when stopping may take to leave."""


class HttpServer:
    """Listens for OTLP/HTTP.

    Args:
        listen: `host:port`; port 0 takes a free one.
        door: Where requests go.
        certificates: For TLS; None is without.
        ready: Whether data is welcome.
    """

    def __init__(self, listen: str, door: Door, certificates: Certificates | None, ready: Callable[[], bool]) -> None:
        self._listen = listen
        self._certificates = certificates
        self._app = HttpApp(door, ready)
        self._server: uvicorn.Server | None = None
        self.port = 0

    async def start(self) -> None:
        """Listen; raises ConfigError when the address cannot be used."""
        listening = _listen_on(self._listen)
        self.port = int(listening.getsockname()[1])
        # Its one message that is no news to us, at each connection that does not speak HTTP, could fill the log.
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
        config = uvicorn.Config(
            self._app,
            http=_BoundedProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,  # A header must not say who a client is.
            server_header=False,
            date_header=False,
            timeout_keep_alive=IDLE_SECONDS,
            ssl_context_factory=None if self._certificates is None else self._certificates.http_context,
        )
        config.load()
        server = uvicorn.Server(config)
        server.lifespan = config.lifespan_class(config)
        await server.startup(sockets=[listening])
        self._server = server

    async def stop(self, grace_seconds: float) -> None:
        """Take no new connections and let requests in flight end. Safe to call twice."""
        server, self._server = self._server, None
        if server is None:
            return
        server.config.timeout_graceful_shutdown = grace_seconds  # type: ignore[assignment]  # Any number will do.
        await server.shutdown()
        if server.server_state.tasks:
            await asyncio.wait(server.server_state.tasks, timeout=_CANCEL_SECONDS)
        for connection in list(server.server_state.connections):
            connection.transport.abort()
        await asyncio.to_thread(self._app.close)


class _BoundedProtocol(H11Protocol):
    """Hangs up on clients that take too long to say what they want; the body has its own limit in `body.py`."""

    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # As uvicorn has it.
        super().connection_made(transport)
        self._time_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._time_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def _time_head(self) -> None:
        """Start the time when a head begins, and stop it when the head is complete."""
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_timer()
        elif self._head_timer is None and not self.transport.is_closing():
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


def _listen_on(address: str) -> socket.socket:
    """A bound socket; raises ConfigError when that cannot be."""
    host, port = split_address(address)
    try:
        family, kind, _, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listening = socket.socket(family, kind)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(where)
            listening.listen(_BACKLOG)  # An address in use may only show here.
        except OSError:
            listening.close()
            raise
    except OSError as error:
        raise ConfigError(
            f"ingest.http.listen: cannot listen on {address}: in use by another program, or not an address of this "
            "machine; free it, choose another one, or set it to null"
        ) from error
    listening.setblocking(False)
    return listening
