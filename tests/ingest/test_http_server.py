"""OTLP/HTTP on a real port: routes, encodings, statuses and bodies of answers, what is counted."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator

import httpx
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from driftmeter.errors import MalformedError
from driftmeter.ingest import http_server
from driftmeter.model.receipt import Receipt
from driftmeter.model.request import Request, Signal
from driftmeter.telemetry.metrics import RefusalReason, RequestResult
from otlp_samples import usual_request
from receiving import JSON, MIB, PROTOBUF, Gate, Kept, http_request, raw_http, receiving, run, until

ANY = usual_request(3)
JSON_BODY = b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"predict"}]}]}]}'
SIGNALS = [("/v1/traces", Signal.TRACES), ("/v1/logs", Signal.LOGS)]


@pytest.mark.parametrize(("path", "signal"), SIGNALS)
@pytest.mark.parametrize("compressed", [False, True])
def test_protobuf_is_handed_on_as_it_is(path: str, signal: Signal, *, compressed: bool) -> None:
    """A protobuf body reaches the sink byte for byte, gzip taken off; the answer is an empty protobuf message."""

    async def test() -> None:
        sink = Kept()
        async with receiving(sink) as it:
            body, headers = (gzip.compress(ANY), {"content_encoding": "gzip"}) if compressed else (ANY, {})
            answer = await it.post(body, path, **headers)
            assert (answer.status_code, answer.headers["content-type"], answer.content) == (200, PROTOBUF, b"")
            assert sink.requests == [Request(signal, ANY)]
            assert it.requests() == {RequestResult.OK: 1}
            assert it.telemetry.received_bytes.value() == len(ANY)
            assert it.telemetry.in_flight_bytes.value() == 0

    run(test)


@pytest.mark.parametrize("compressed", [False, True])
def test_json_reaches_the_sink_as_protobuf(*, compressed: bool) -> None:
    """A JSON body is turned into protobuf; the answer is an empty JSON object."""

    async def test() -> None:
        sink = Kept()
        async with receiving(sink) as it:
            body, headers = (gzip.compress(JSON_BODY), {"content_encoding": "gzip"}) if compressed else (JSON_BODY, {})
            answer = await it.post(body, content_type=f"{JSON}; charset=utf-8", **headers)
            assert (answer.status_code, answer.headers["content-type"], answer.json()) == (200, JSON, {})
            (request,) = sink.requests
            spans = ExportTraceServiceRequest.FromString(request.body).resource_spans[0].scope_spans[0].spans
            assert [span.name for span in spans] == ["predict"]

    run(test)


def test_partial_success_is_told_in_the_encoding_and_the_words_of_the_request() -> None:
    """200 with `partial_success`: rejected spans for traces, rejected log records for logs, in protobuf and JSON."""

    async def test() -> None:
        async with receiving(Kept(Receipt(2, "in the future"))) as it:
            traces = ExportTraceServiceResponse.FromString((await it.post(b"")).content).partial_success
            assert (traces.rejected_spans, traces.error_message) == (2, "in the future")
            logs = ExportLogsServiceResponse.FromString((await it.post(b"", "/v1/logs")).content).partial_success
            assert (logs.rejected_log_records, logs.error_message) == (2, "in the future")
            traces_json = (await it.post(b"{}", content_type=JSON)).json()
            assert traces_json == {"partialSuccess": {"rejectedSpans": "2", "errorMessage": "in the future"}}
            logs_json = (await it.post(b"{}", "/v1/logs", content_type=JSON)).json()
            assert logs_json == {"partialSuccess": {"rejectedLogRecords": "2", "errorMessage": "in the future"}}
            assert it.requests() == {RequestResult.PARTIAL: 4}

    run(test)


def test_malformed_requests_get_400_with_a_status_in_their_encoding() -> None:
    """What the sink or the JSON reader says is the message of a google.rpc.Status with code 3."""

    async def test() -> None:
        async def sink(_: Request) -> Receipt:
            raise MalformedError("at byte 3 the end is missing")

        async with receiving(sink) as it:
            answer = await it.post(b"abc")
            assert (answer.status_code, answer.headers["content-type"]) == (400, PROTOBUF)
            assert Status.FromString(answer.content) == Status(code=3, message="at byte 3 the end is missing")
            answer = await it.post(b"{}", content_type=JSON)
            assert (answer.status_code, answer.headers["content-type"]) == (400, JSON)
            assert answer.json() == {"code": 3, "message": "at byte 3 the end is missing"}
            answer = await it.post(b'{"resourceSpans": 1}', content_type=JSON)
            assert answer.status_code == 400
            assert answer.json()["message"].startswith("not OTLP JSON: resourceSpans: ")
            assert it.requests() == {RequestResult.MALFORMED: 3}
            assert it.telemetry.in_flight_bytes.value() == 0

    run(test)


@pytest.mark.parametrize(
    ("method", "path", "content_type", "encoding", "status", "header"),
    [
        ("POST", "/v1/metrics", PROTOBUF, "gzip", 404, None),
        ("POST", "/", PROTOBUF, "identity", 404, None),
        ("GET", "/v1/traces", PROTOBUF, "identity", 405, ("allow", "POST")),
        ("PUT", "/v1/logs", PROTOBUF, "identity", 405, ("allow", "POST")),
        ("POST", "/v1/traces", "text/plain", "identity", 415, ("accept", f"{PROTOBUF}, {JSON}")),
        ("POST", "/v1/traces", "", "identity", 415, ("accept", f"{PROTOBUF}, {JSON}")),
        ("POST", "/v1/traces", PROTOBUF, "zstd", 415, ("accept-encoding", "gzip, deflate")),
        ("POST", "/v1/traces", PROTOBUF, "gzip, gzip", 415, ("accept-encoding", "gzip, deflate")),
        ("POST", "/healthz", PROTOBUF, "identity", 405, ("allow", "GET, HEAD")),
    ],
)
def test_what_is_not_otlp_is_said_to_be_so(
    method: str, path: str, content_type: str, encoding: str, status: int, header: tuple[str, str] | None
) -> None:
    """Other paths, methods, types and encodings get 404, 405 and 415, and what would be right; none is handed on."""

    async def test() -> None:
        sink = Kept()
        async with receiving(sink) as it:
            headers = {"content-type": content_type, "content-encoding": encoding}
            answer = await it.http.request(method, path, content=ANY, headers=headers)
            assert answer.status_code == status
            if header is not None:
                assert answer.headers[header[0]] == header[1]
            if path.startswith("/v1"):
                assert it.requests() == {RequestResult.UNSUPPORTED: 1}
            assert sink.requests == []

    run(test)


def test_overload_gets_503_and_retry_after() -> None:
    """Beyond the bytes in flight: 503, `Retry-After`, and RetryInfo in the body; gRPC and HTTP share the room."""

    async def test() -> None:
        gate = Gate()
        async with receiving(gate, max_request_bytes=4_096, max_in_flight_bytes=4_096) as it:
            first = asyncio.create_task(it.export(bytes(3_000)))
            await it.holds_something()
            answer = await it.post(bytes(3_000))
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            status, retry = Status.FromString(answer.content), RetryInfo()
            assert status.code == 14
            assert status.details[0].Unpack(retry)
            assert retry.retry_delay.seconds == 1
            body = (await it.post(bytes(3_000), content_type=JSON)).json()
            assert body["details"] == [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "1s"}]
            gate.open()
            await first
            assert (await it.post(bytes(3_000))).status_code == 200
            assert it.refused() == {RefusalReason.IN_FLIGHT: 2}
            assert it.requests() == {RequestResult.OK: 2, RequestResult.UNAVAILABLE: 2}

    run(test)


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize("compressed", [True, False])
def test_64_mib_are_taken_and_one_byte_more_is_not(*, declared: bool, compressed: bool) -> None:
    """The limit counts decompressed bytes, whether the length is declared or not; the answer is 413, and is seen."""

    async def test() -> None:
        async with receiving(Kept()) as it:
            for size, status in ((64 * MIB, 200), (64 * MIB + 1, 413)):
                body = gzip.compress(bytes(size), 1) if compressed else bytes(size)
                headers = {"content_encoding": "gzip"} if compressed else {}

                async def chunks(body: bytes = body) -> AsyncIterator[bytes]:
                    for start in range(0, len(body), MIB):
                        yield body[start : start + MIB]

                answer = await it.post(body if declared else chunks(), **headers)
                assert answer.status_code == status
            assert Status.FromString(answer.content).code == 8
            assert it.requests() == {RequestResult.OK: 1, RequestResult.TOO_LARGE: 1}
            assert it.telemetry.in_flight_bytes.value() == 0

    run(test)


def test_pages_say_how_it_is() -> None:
    """`/healthz` and `/readyz` answer without a token; other pages there are none."""

    async def test() -> None:
        async with receiving(Kept()) as it:
            assert (await it.http.get("/healthz")).text == "ok\n"
            ready = await it.http.get("/readyz")
            assert (ready.status_code, ready.text) == (200, "ready\n")
            assert (await it.http.head("/readyz")).content == b""
            assert it.requests() == {}

    run(test)


def test_stopping_lets_requests_in_flight_end_and_refuses_later_ones() -> None:
    """What was admitted is answered; what comes on an open connection then gets 503 and is told to come again."""

    async def test() -> None:
        gate = Gate()
        async with receiving(gate) as it:
            url = it.http.base_url
            async with httpx.AsyncClient(base_url=url, trust_env=False) as other:
                first = asyncio.create_task(it.post(ANY))
                await it.holds_something()
                # This one is on its way when the stop begins: its body comes after it.
                late = asyncio.create_task(other.post("/v1/traces", content=_slowly(ANY), headers=_TYPE))
                await asyncio.sleep(0.1)
                stopping = asyncio.create_task(it.receiver.stop(20))
                answer = await late
                assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
                assert it.refused() == {RefusalReason.STOPPING: 1}
                gate.open()
                assert (await first).status_code == 200
                await stopping
                with pytest.raises(httpx.ConnectError):
                    await it.http.get("/readyz")

    run(test)


def test_stopping_does_not_wait_for_ever() -> None:
    """A request whose work does not end within the grace time is told to come again."""

    async def test() -> None:
        async with receiving(Gate()) as it:
            first = asyncio.create_task(it.post(ANY))
            await it.holds_something()
            await it.receiver.stop(0.3)
            assert (await first).status_code == 503
            assert it.requests() == {RequestResult.CANCELLED: 1}

    run(test)


def test_senders_that_go_away_free_their_room() -> None:
    """A sender that hangs up while its request is worked on is counted, and the work is cancelled."""

    async def test() -> None:
        async with receiving(Gate()) as it:
            head = http_request({"content-type": PROTOBUF, "content-length": len(ANY)})
            sending = asyncio.create_task(raw_http(it.receiver.http_port, head + ANY, hang_up=True, pause_seconds=0.5))
            await it.holds_something()
            await sending
            await it.holds_nothing()
            await until(lambda: bool(it.requests()))
            assert it.requests() == {RequestResult.CANCELLED: 1}

    run(test)


def test_heads_that_do_not_come_end_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that sends nothing, or a head drop by drop, is hung up on."""
    monkeypatch.setattr(http_server, "HEAD_SECONDS", 0.3)

    async def test() -> None:
        async with receiving(Kept()) as it:
            assert await raw_http(it.receiver.http_port) == b""
            with pytest.raises(ConnectionError):
                await raw_http(it.receiver.http_port, *([b"x"] * 50), pause_seconds=0.1)

    run(test)


def test_a_header_does_not_say_who_a_client_is() -> None:
    """X-Forwarded-For has no say in whose share of the room a request counts to: see the telling log of the sink."""

    async def test() -> None:
        gate = Gate()
        async with receiving(gate, max_request_bytes=1_024, max_in_flight_bytes=4_096) as it:
            sent = [asyncio.create_task(it.post(bytes(1_000), x_forwarded_for=f"10.0.0.{n}")) for n in range(4)]
            await until(
                lambda: len(gate.requests) == 4
            )  # A single client may hold all of the room; four would have to share it.
            gate.open()
            assert {answer.status_code for answer in await asyncio.gather(*sent)} == {200}

    run(test)


def test_json_of_an_error_is_json() -> None:
    """Messages with quotes, line ends and lone surrogates are still valid JSON."""

    async def test() -> None:
        async def sink(_: Request) -> Receipt:
            raise MalformedError('"quoted"\n\ud800')

        async with receiving(sink) as it:
            answer = await it.post(b"{}", content_type=JSON)
            assert json.loads(answer.content)["message"] == '"quoted"\n?'

    run(test)


_TYPE = {"content-type": PROTOBUF}


async def _slowly(body: bytes) -> AsyncIterator[bytes]:
    yield body[:10]
    await asyncio.sleep(0.4)
    yield body[10:]
