"""`/metrics`, `/healthz`, `/readyz` and pages of JSON over HTTP, in a thread of their own.

`/healthz` says that the process answers; `/readyz` says 200 when data is welcome and 503 before and after. `/metrics`
says 503 until the counters are where they were before a restart, so that no scrape sees them step back.
"""

import logging
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qsl

import polars as pl

from driftmeter.errors import ConfigError
from driftmeter.export.text import exposition
from driftmeter.model.settings import split_address
from driftmeter.telemetry.metrics import Telemetry

ANOMALIES_PATH = "/api/v1/anomalies"

_TEXT = "text/plain; version=0.0.4; charset=utf-8"
_JSON = "application/json"
_REQUESTS_MAX = 16

Page = Callable[[Mapping[str, str]], str]
"""The query's values by name to JSON; raises ConfigError for a question that has no answer."""

_LOG = logging.getLogger(__name__)


class ScrapeServer:
    """Serves the pages until closed.

    Args:
        listen: `host:port`; port 0 takes a free one.
        results: Gives the current points, None as long as they are not what they were before a restart; called in
            threads of the server.
        telemetry: The service's metrics about itself.
        ready: Whether data is welcome; called in threads of the server.
        pages: Further pages by path; called in threads of the server.

    Raises:
        ConfigError: The address cannot be listened on.
    """

    def __init__(
        self,
        listen: str,
        results: Callable[[], pl.DataFrame | None],
        telemetry: Telemetry,
        ready: Callable[[], bool],
        pages: Mapping[str, Page] = MappingProxyType({}),
    ) -> None:
        host, port = split_address(listen)

        class Server(_Server):
            address_family = socket.AF_INET6 if ":" in host else socket.AF_INET

        try:
            self._server = Server((host, port), _Handler)
        except OSError as error:
            raise ConfigError(
                f"export.scrape.listen: cannot listen on {listen} ({error.strerror}): "
                "stop what uses it, choose another port, or set it to null"
            ) from error
        self._server.results, self._server.telemetry, self._server.ready = results, telemetry, ready
        self._server.pages = pages
        self._thread = threading.Thread(target=self._server.serve_forever, name="scrape", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """The port listened on."""
        return int(self._server.server_address[1])

    def close(self) -> None:
        """Stop listening; may be called twice. Blocks for up to half a second."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    """The listening socket and what its handlers read."""

    daemon_threads = True
    results: Callable[[], pl.DataFrame | None]
    telemetry: Telemetry
    ready: Callable[[], bool]
    pages: Mapping[str, Page]

    def __init__(self, *args: Any) -> None:
        self.free_slots = threading.BoundedSemaphore(_REQUESTS_MAX)
        super().__init__(*args)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002  # As the library calls it.
        """Log what went wrong, unless a client went away in the middle."""
        if not isinstance(sys.exception(), OSError):
            _LOG.error("a request to the scrape server failed", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    """One request per connection."""

    server: _Server
    timeout = 10  # Seconds; a client that says nothing holds its thread no longer.
    server_version = "driftmeter"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer one of the pages."""
        if not self.server.free_slots.acquire(blocking=False):
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, "too many requests at once\n")
            return
        try:
            path, _, query = self.path.partition("?")
            page = self.server.pages.get(path)
            self._answer(*(self._page(path) if page is None else _asked(page, query)))
        finally:
            self.server.free_slots.release()

    do_HEAD = do_GET  # noqa: N815

    def _page(self, path: str) -> tuple[HTTPStatus, str]:
        if path == "/metrics":
            results = self.server.results()
            if results is None:
                return HTTPStatus.SERVICE_UNAVAILABLE, "recovering\n"
            return HTTPStatus.OK, exposition(results) + self.server.telemetry.expose()
        if path == "/healthz":
            return HTTPStatus.OK, "ok\n"
        if path == "/readyz":
            ready = self.server.ready()
            return (HTTPStatus.OK, "ready\n") if ready else (HTTPStatus.SERVICE_UNAVAILABLE, "not ready\n")
        return HTTPStatus.NOT_FOUND, f"see {', '.join(('/metrics', '/healthz', '/readyz', *self.server.pages))}\n"

    def _answer(self, status: HTTPStatus, text: str, content_type: str = _TEXT) -> None:
        content = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # Named by the library.
        """Requests are not logged."""


def _asked(page: Page, query: str) -> tuple[HTTPStatus, str, str]:
    """What a page says to a query."""
    try:
        asked = dict(parse_qsl(query, keep_blank_values=True, max_num_fields=100))
        return HTTPStatus.OK, page(asked), _JSON
    except (ConfigError, ValueError) as error:
        return HTTPStatus.BAD_REQUEST, f"{error}\n", _TEXT
