"""The OTLP/gRPC server on a real port: what senders are answered, and what is counted."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import grpc
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from grpc_status import rpc_status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from driftmeter.baseline.book import BaselineBook
from driftmeter.clock import SystemClock
from driftmeter.config import Config
from driftmeter.errors import ConfigError, MalformedError
from driftmeter.ingest.config import IngestConfig
from driftmeter.ingest.server import OtlpServer, Sink
from driftmeter.model.predictions import ModelKey
from driftmeter.model.receipt import Receipt
from driftmeter.pipeline import Listeners, Pipeline
from driftmeter.telemetry.metrics import RequestResult, SpanOutcome, Telemetry
from otlp_samples import Scalar, make_request, make_span, usual_request
from programs import LOOPBACK
from spans import EXPORT, channel_to, export_over, identity, request_of

MIB = 1024 * 1024
TEST_SECONDS = 60


@dataclass(frozen=True)
class Serving:
    """A server that listens.

    Attributes:
        server: The server.
        telemetry: What it counts.
        channel: A connection to it.
    """

    server: OtlpServer
    telemetry: Telemetry
    channel: grpc.Channel

    async def export(self, request: bytes, **options: object) -> ExportTraceServiceResponse:
        """Sends bytes; raises grpc.RpcError when they are not taken."""
        return await asyncio.to_thread(export_over, self.channel, request, **options)

    async def refusal(self, request: bytes) -> grpc.RpcError:
        """Sends bytes that must not be taken."""
        with pytest.raises(grpc.RpcError) as refused:
            await self.export(request)
        return refused.value

    def requests(self) -> dict[RequestResult, int]:
        """Number of requests by how they were answered, without zeros."""
        counts = {result: int(self.telemetry.requests.value(result=result)) for result in RequestResult}
        return {result: count for result, count in counts.items() if count}


@asynccontextmanager
async def serving(sink: Sink, telemetry: Telemetry | None = None, **limits: int) -> AsyncIterator[Serving]:
    """A server on a free port until the block ends."""
    telemetry = telemetry or Telemetry()
    config = IngestConfig.model_validate({"listen": f"{LOOPBACK}:0", **limits})
    server = OtlpServer(config, sink, telemetry)
    await server.start()
    try:
        with channel_to(f"{LOOPBACK}:{server.port}") as channel:
            yield Serving(server, telemetry, channel)
    finally:
        await server.stop(0)


def piped(pipeline: Pipeline) -> Sink:
    """The pipeline as a sink: on another thread, as in the service."""

    async def sink(request: bytes) -> Receipt:
        return await asyncio.to_thread(pipeline.accept, request)

    return sink


def make_pipeline(telemetry: Telemetry) -> Pipeline:
    """A pipeline without baselines."""
    return Pipeline(Config(), BaselineBook(), telemetry, SystemClock(), Listeners())


async def until(holds: Callable[[], bool]) -> None:
    """Returns once it holds."""
    while not holds():  # noqa: ASYNC110  # Counters raise no events.
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


def test_success_has_an_empty_body() -> None:
    """A request that is taken whole is answered with no bytes at all, as OTLP says."""

    async def test() -> None:
        telemetry = Telemetry()
        async with serving(piped(make_pipeline(telemetry)), telemetry) as it:
            request = rows_ending_now(5)
            call = it.channel.unary_unary(EXPORT)
            assert await asyncio.to_thread(call, request, timeout=30) == b""
            assert it.requests() == {RequestResult.OK: 1}
            assert telemetry.received_bytes.value() == len(request)
            assert telemetry.in_flight_bytes.value() == 0
            assert telemetry.spans.value(outcome=SpanOutcome.ACCEPTED) == 5

    run(test)


def test_empty_request_is_a_success() -> None:
    """No bytes are a valid request without spans."""

    async def test() -> None:
        telemetry = Telemetry()
        async with serving(piped(make_pipeline(telemetry)), telemetry) as it:
            assert await it.export(b"") == ExportTraceServiceResponse()
            assert it.requests() == {RequestResult.OK: 1}
            assert telemetry.spans.value(outcome=SpanOutcome.RECEIVED) == 0

    run(test)


def test_rejected_spans_are_told() -> None:
    """Spans of tomorrow are rejected with their number and a reason; the others of the request are taken."""

    async def test() -> None:
        telemetry = Telemetry()
        now_ns = SystemClock().now_ns()
        tomorrow_ns = now_ns + 86_400 * 10**9
        rows = [{"ml.feature.size": 1.0}] * 3
        async with serving(piped(make_pipeline(telemetry)), telemetry) as it:
            answer = await it.export(request_of(rows, [now_ns, tomorrow_ns, tomorrow_ns], identity("prices")))
            assert answer.partial_success.rejected_spans == 2
            assert "later than the clock" in answer.partial_success.error_message
            assert it.requests() == {RequestResult.PARTIAL: 1}
            assert telemetry.spans.value(outcome=SpanOutcome.ACCEPTED) == 1
            assert telemetry.spans.value(outcome=SpanOutcome.REJECTED, reason="future") == 2

    run(test)


@pytest.mark.parametrize("garbage", [b"\xff" * 40, b"hello, world", usual_request(3)[:-5]], ids=["ff", "text", "cut"])
def test_garbage_is_refused_for_good(garbage: bytes) -> None:
    """Bytes that are no OTLP request get INVALID_ARGUMENT, which senders do not repeat; the next request is taken."""

    async def test() -> None:
        telemetry = Telemetry()
        async with serving(piped(make_pipeline(telemetry)), telemetry) as it:
            error = await it.refusal(garbage)
            assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
            assert error.details().startswith("not an OTLP trace request: at byte ")
            assert it.requests() == {RequestResult.MALFORMED: 1}
            assert telemetry.spans.value(outcome=SpanOutcome.RECEIVED) == 0
            assert telemetry.in_flight_bytes.value() == 0
            await it.export(rows_ending_now(1))
            assert it.requests() == {RequestResult.MALFORMED: 1, RequestResult.OK: 1}

    run(test)


def test_64_mib_are_taken_and_65_are_refused_by_us() -> None:
    """The largest request passes; a larger one gets RESOURCE_EXHAUSTED from the service itself, which counts it."""

    async def test() -> None:
        telemetry = Telemetry()
        async with serving(piped(make_pipeline(telemetry)), telemetry) as it:
            await it.export(request_of_size(64 * MIB))
            error = await it.refusal(request_of_size(65 * MIB))
            assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
            assert error.details() == f"request of {65 * MIB} bytes, the limit is {64 * MIB}: send smaller batches"
            assert it.requests() == {RequestResult.OK: 1, RequestResult.TOO_LARGE: 1}
            assert telemetry.spans.value(outcome=SpanOutcome.ACCEPTED) == 1
            await it.export(rows_ending_now(1))

    run(test)


def test_one_byte_over_the_limit_is_too_large() -> None:
    """The limit itself is allowed, one byte more is not, whatever the limit is set to."""

    async def test() -> None:
        telemetry = Telemetry()
        async with serving(piped(make_pipeline(telemetry)), telemetry, max_request_bytes=2_048) as it:
            await it.export(request_of_size(2_048))
            assert (await it.refusal(request_of_size(2_049))).code() == grpc.StatusCode.RESOURCE_EXHAUSTED
            assert it.requests() == {RequestResult.OK: 1, RequestResult.TOO_LARGE: 1}

    run(test)


def test_overload_asks_to_be_tried_again() -> None:
    """Beyond the bytes in flight senders get UNAVAILABLE and a RetryInfo that says when; room frees itself."""

    async def test() -> None:
        release = asyncio.Event()

        async def slow(_: bytes) -> Receipt:
            await release.wait()
            return Receipt()

        request = request_of_size(3_000)
        async with serving(slow, max_request_bytes=4_096, max_in_flight_bytes=4_096) as it:
            first = asyncio.create_task(it.export(request))
            await until(lambda: it.telemetry.in_flight_bytes.value() > 0)
            error = await it.refusal(request)
            assert error.code() == grpc.StatusCode.UNAVAILABLE
            status = rpc_status.from_call(error)
            retry = RetryInfo()
            assert status.details[0].Unpack(retry)
            assert 0 < retry.retry_delay.ToNanoseconds() <= 10 * 10**9
            assert it.telemetry.in_flight_bytes.value() == len(request)
            release.set()
            await first
            assert it.telemetry.in_flight_bytes.value() == 0
            await it.export(request)
            assert it.requests() == {RequestResult.OK: 2, RequestResult.UNAVAILABLE: 1}

    run(test)


def test_gzip_is_understood() -> None:
    """A compressed request is taken; its bytes are counted as they are decompressed."""

    async def test() -> None:
        telemetry = Telemetry()
        async with serving(piped(make_pipeline(telemetry)), telemetry) as it:
            request = rows_ending_now(500)
            await it.export(request, compression=grpc.Compression.Gzip)
            assert telemetry.received_bytes.value() == len(request)
            assert telemetry.spans.value(outcome=SpanOutcome.ACCEPTED) == 500

    run(test)


def test_cancelled_calls_free_their_room() -> None:
    """A sender that gives up is counted, and what it held in flight is free again."""

    async def test() -> None:
        never = asyncio.Event()

        async def endless(_: bytes) -> Receipt:
            await never.wait()
            return Receipt()

        async with serving(endless) as it:
            call = it.channel.unary_unary(EXPORT).future(rows_ending_now(2))
            await until(lambda: it.telemetry.in_flight_bytes.value() > 0)
            call.cancel()
            await until(lambda: it.telemetry.in_flight_bytes.value() == 0)
            assert it.requests() == {RequestResult.CANCELLED: 1}

    run(test)


def test_internal_errors_reach_no_sender(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that makes the pipeline fail is quarantined and answered with partial success; the service goes on."""

    async def test() -> None:
        telemetry = Telemetry()

        pipeline = make_pipeline(telemetry)
        start = pipeline._start

        def start_unless_poison(key: ModelKey) -> object:
            if key.model == "poison":
                raise RuntimeError("cannot digest this")
            return start(key)

        monkeypatch.setattr(pipeline, "_start", start_unless_poison)
        async with serving(piped(pipeline), telemetry) as it:
            answer = await it.export(rows_ending_now(4, "poison"))
            assert answer.partial_success.rejected_spans == 4
            assert "quarantined" in answer.partial_success.error_message
            assert "cannot digest this" not in answer.partial_success.error_message
            assert await it.export(rows_ending_now(6)) == ExportTraceServiceResponse()
            assert it.requests() == {RequestResult.PARTIAL: 1, RequestResult.OK: 1}
            assert telemetry.quarantined_batches.value() == 1

    run(test)


def test_pings_every_ten_seconds_are_welcome() -> None:
    """A sender that keeps its connection alive by many pings is not told to go away."""

    async def test() -> None:
        async def sink(_: bytes) -> Receipt:
            await asyncio.sleep(1.5)
            return Receipt()

        async with serving(sink) as it:
            options = [
                ("grpc.keepalive_time_ms", 100),
                ("grpc.http2.max_pings_without_data", 0),
                ("grpc.keepalive_permit_without_calls", 1),
            ]
            with grpc.insecure_channel(f"{LOOPBACK}:{it.server.port}", options=options) as channel:
                await asyncio.to_thread(export_over, channel, b"")
            assert it.requests() == {RequestResult.OK: 1}

    run(test)


def test_port_in_use_is_a_mistake_with_a_message() -> None:
    """The second server on a port does not start: the error names the setting, the address and the way out."""

    async def test() -> None:
        async def sink(_: bytes) -> Receipt:
            return Receipt()

        async with serving(sink) as it:
            address = f"{LOOPBACK}:{it.server.port}"
            second = OtlpServer(IngestConfig(listen=address), sink, Telemetry())
            with pytest.raises(ConfigError, match=f"ingest.listen: cannot listen on {address}: in use"):
                await second.start()
            await second.stop(0)
            await it.export(b"")

    run(test)


def test_stopping_lets_requests_in_flight_end() -> None:
    """A request that was admitted before the stop is answered within the grace time; later ones are not taken."""

    async def test() -> None:
        release = asyncio.Event()

        async def slow(_: bytes) -> Receipt:
            await release.wait()
            return Receipt()

        async with serving(slow) as it:
            first = asyncio.create_task(it.export(rows_ending_now(1)))
            await until(lambda: it.telemetry.in_flight_bytes.value() > 0)
            stopping = asyncio.create_task(it.server.stop(20))
            await asyncio.sleep(0.2)
            assert (await it.refusal(b"")).code() == grpc.StatusCode.UNAVAILABLE
            release.set()
            assert await first == ExportTraceServiceResponse()
            await stopping

    run(test)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"listen": "0.0.0.0:4317"}, "write insecure: true"),
        ({"listen": "[::]:4317"}, "write insecure: true"),
        ({"listen": "example.org:4317"}, "write insecure: true"),
        ({"listen": "4317"}, "write host:port"),
        ({"listen": "127.0.0.1:99999"}, "write host:port"),
        ({"max_in_flight_bytes": 2 * MIB}, "the largest request could not pass"),
    ],
)
def test_addresses_and_limits_that_cannot_be_meant_are_refused(fields: dict[str, object], message: str) -> None:
    """Listening beyond loopback has to be asked for; addresses and limits must make sense."""
    with pytest.raises(ValueError, match=message):
        IngestConfig.model_validate(fields)


@pytest.mark.parametrize("listen", ["127.0.0.1:4317", "127.8.8.8:0", "[::1]:4317", "localhost:4317"])
def test_loopback_needs_no_permission(listen: str) -> None:
    """Addresses of this machine alone are fine as they are."""
    assert IngestConfig(listen=listen).listen == listen


def test_listening_beyond_loopback_can_be_asked_for() -> None:
    """`insecure: true` allows it."""
    assert IngestConfig(listen="0.0.0.0:4317", insecure=True).insecure


def test_malformed_error_text_reaches_the_sender() -> None:
    """What the sink says of malformed bytes is the status' message."""

    async def test() -> None:
        async def sink(_: bytes) -> Receipt:
            raise MalformedError("at byte 3 the end is missing")

        async with serving(sink) as it:
            assert (await it.refusal(b"abc")).details() == "at byte 3 the end is missing"

    run(test)
