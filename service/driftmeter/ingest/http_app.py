"""OTLP/HTTP by the OTLP specification 1.11, as a bare ASGI application: routes, encodings, answers."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any, Literal

from driftmeter.ingest.answers import status_json, status_of, success, success_json
from driftmeter.ingest.body import Body, Message, Receive
from driftmeter.ingest.door import Door
from driftmeter.ingest.otlp_json import protobuf_of
from driftmeter.ingest.refusals import RefusedError, unavailable, unsupported
from driftmeter.ingest.worker import Worker
from driftmeter.model.receipt import Receipt
from driftmeter.model.request import Request, Signal
from driftmeter.telemetry.metrics import RefusalReason

Scope = Mapping[str, Any]
Send = Callable[[Message], Awaitable[None]]

Encoding = Literal["application/x-protobuf", "application/json"]
PROTOBUF: Encoding = "application/x-protobuf"
JSON: Encoding = "application/json"

PATHS = {"/v1/traces": Signal.TRACES, "/v1/logs": Signal.LOGS}
"""Where requests are posted to."""

_PAGES = ("/healthz", "/readyz")


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer, ready to be sent."""

    status: HTTPStatus
    content_type: str
    body: bytes
    headers: Mapping[str, str]


class HttpApp:
    """Answers HTTP requests.

    Args:
        door: Where OTLP requests go.
        ready: Whether data is welcome.
    """

    def __init__(self, door: Door, ready: Callable[[], bool]) -> None:
        self._door = door
        self._ready = ready
        self._json_worker = Worker("otlp-json")

    def close(self) -> None:
        """End the thread that reads JSON."""
        self._json_worker.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One HTTP request, as ASGI has it."""
        if scope["type"] != "http":
            return
        if scope["path"] in _PAGES:
            await _send(send, self._page(scope))
            return
        try:
            reply = await self._reply(scope, receive)
        except asyncio.CancelledError:  # The server is not waiting any longer for requests in flight.
            reply = _refused(unavailable(RefusalReason.STOPPING, "the service is stopping: try again"), JSON)
        if reply is not None:
            await _send(send, reply)

    def _page(self, scope: Scope) -> Reply:
        if scope["method"] not in ("GET", "HEAD"):
            return _text(HTTPStatus.METHOD_NOT_ALLOWED, "GET only\n", allow="GET, HEAD")
        if scope["path"] == "/healthz":
            return _text(HTTPStatus.OK, "ok\n")
        if self._ready():
            return _text(HTTPStatus.OK, "ready\n")
        return _text(HTTPStatus.SERVICE_UNAVAILABLE, "not ready\n")

    async def _reply(self, scope: Scope, receive: Receive) -> Reply | None:
        """The answer; None when nobody waits for it any more."""
        headers = dict(scope["headers"])
        encoding = _encoding_of(headers) or JSON
        signal = PATHS.get(scope["path"], Signal.TRACES)
        body = Body(receive)
        try:
            encode = partial(success_json if encoding == JSON else success, signal)
            outcome = await self._door.answer(self._take(scope, headers, body), encode)
        except asyncio.CancelledError:
            if body.gone:
                return None
            raise
        if isinstance(outcome, RefusedError):
            # The server reads on what is left of the body and throws it away, so that the sender gets to this answer.
            return _refused(outcome, encoding)
        return Reply(HTTPStatus.OK, encoding, outcome, {})

    async def _take(self, scope: Scope, headers: Mapping[bytes, bytes], body: Body) -> Receipt:
        door = self._door
        signal, encoding = _checked(scope, headers)
        door.authenticate(headers.get(b"authorization", b"").decode("latin-1"))
        with door.lease(_client_of(scope)) as lease:
            content = await body.read(headers, door.max_request_bytes, lease)
            door.count_bytes(len(content))
            return await body.unless_gone(self._work_on(content, signal, encoding))

    async def _work_on(self, content: bytes, signal: Signal, encoding: Encoding) -> Receipt:
        if encoding == JSON:
            content = await self._json_worker.run(partial(protobuf_of, content, signal))
        return await self._door.hand_on(Request(signal, content))


def _checked(scope: Scope, headers: Mapping[bytes, bytes]) -> tuple[Signal, Encoding]:
    """What a request carries and how; raises RefusedError when that is nothing we take."""
    signal = PATHS.get(scope["path"])
    if signal is None:
        raise unsupported(HTTPStatus.NOT_FOUND, f"nothing is here: post to {' or '.join(PATHS)}")
    if scope["method"] != "POST":
        raise unsupported(HTTPStatus.METHOD_NOT_ALLOWED, "POST only", allow="POST")
    encoding = _encoding_of(headers)
    if encoding is None:
        message = f"the content type must be {PROTOBUF} or {JSON}"
        raise unsupported(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, message, accept=f"{PROTOBUF}, {JSON}")
    return signal, encoding


def _encoding_of(headers: Mapping[bytes, bytes]) -> Encoding | None:
    media_type = headers.get(b"content-type", b"").partition(b";")[0].strip().lower().decode("latin-1")
    return next((encoding for encoding in (PROTOBUF, JSON) if encoding == media_type), None)


def _client_of(scope: Scope) -> str:
    client = scope.get("client")
    return "" if client is None else str(client[0]).removeprefix("::ffff:")


def _refused(refusal: RefusedError, encoding: Encoding) -> Reply:
    headers = dict(refusal.headers)
    if refusal.retry_after_seconds is not None:
        headers["retry-after"] = str(refusal.retry_after_seconds)
    body = status_json(refusal) if encoding == JSON else status_of(refusal).SerializeToString()
    return Reply(refusal.http_status, encoding, body, headers)


def _text(status: HTTPStatus, text: str, **headers: str) -> Reply:
    return Reply(status, "text/plain; charset=utf-8", text.encode(), headers)


async def _send(send: Send, reply: Reply) -> None:
    named = {"content-type": reply.content_type, "content-length": str(len(reply.body)), **reply.headers}
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in named.items()]
    await send({"type": "http.response.start", "status": int(reply.status), "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})
