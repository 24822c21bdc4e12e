"""OTLP/gRPC on a real port: what senders are answered, and what is counted."""

import asyncio

import grpc
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from grpc_status import rpc_status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from driftmeter.baseline.book import BaselineBook
from driftmeter.clock import SystemClock
from driftmeter.config import Config
from driftmeter.errors import ConfigError, DriftmeterError, MalformedError
from driftmeter.ingest.config import IngestConfig
from driftmeter.ingest.door import Sink
from driftmeter.ingest.receiver import Receiver
from driftmeter.journal.store import MemoryJournal
from driftmeter.model.predictions import Predictions
from driftmeter.model.receipt import Receipt
from driftmeter.model.request import Request, Signal
from driftmeter.pipeline import Listeners, Pipeline
from driftmeter.telemetry.metrics import RequestResult, SpanOutcome, Telemetry
from driftmeter.watched import Added, WatchedModel
from otlp_samples import usual_request
from programs import LOOPBACK
from receiving import MIB, Gate, Kept, receiving, request_of_size, rows_ending_now, run
from spans import EXPORT, export_over, identity, request_of

EXPORT_LOGS = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"


def piped(pipeline: Pipeline) -> Sink:
    """The pipeline as a sink: on another thread, as in the service."""

    async def sink(request: Request) -> Receipt:
        (outcome,) = await asyncio.to_thread(pipeline.accept, [request])
        if isinstance(outcome, DriftmeterError):
            raise outcome
        return outcome

    return sink


def make_pipeline(telemetry: Telemetry) -> Pipeline:
    """A pipeline without baselines."""
    return Pipeline(Config(), BaselineBook(), MemoryJournal(), telemetry, SystemClock(), Listeners())


def test_success_has_an_empty_body() -> None:
    """A request that is taken whole is answered with no bytes at all, as OTLP says."""

    async def test() -> None:
        telemetry = Telemetry()
        async with receiving(piped(make_pipeline(telemetry)), telemetry) as it:
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
        async with receiving(piped(make_pipeline(telemetry)), telemetry) as it:
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
        async with receiving(piped(make_pipeline(telemetry)), telemetry) as it:
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
        async with receiving(piped(make_pipeline(telemetry)), telemetry) as it:
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
        async with receiving(piped(make_pipeline(telemetry)), telemetry) as it:
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
        async with receiving(piped(make_pipeline(telemetry)), telemetry, max_request_bytes=2_048) as it:
            await it.export(request_of_size(2_048))
            assert (await it.refusal(request_of_size(2_049))).code() == grpc.StatusCode.RESOURCE_EXHAUSTED
            assert it.requests() == {RequestResult.OK: 1, RequestResult.TOO_LARGE: 1}

    run(test)


def test_overload_asks_to_be_tried_again() -> None:
    """Beyond the bytes in flight senders get UNAVAILABLE and a RetryInfo that says when; room frees itself."""

    async def test() -> None:
        gate = Gate()
        request = request_of_size(3_000)
        async with receiving(gate, max_request_bytes=4_096, max_in_flight_bytes=4_096) as it:
            first = asyncio.create_task(it.export(request))
            await it.holds_something()
            error = await it.refusal(request)
            assert error.code() == grpc.StatusCode.UNAVAILABLE
            status = rpc_status.from_call(error)
            retry = RetryInfo()
            assert status.details[0].Unpack(retry)
            assert 0 < retry.retry_delay.ToNanoseconds() <= 10 * 10**9
            assert it.telemetry.in_flight_bytes.value() == len(request)
            gate.open()
            await first
            assert it.telemetry.in_flight_bytes.value() == 0
            await it.export(request)
            assert it.requests() == {RequestResult.OK: 2, RequestResult.UNAVAILABLE: 1}

    run(test)


def test_gzip_is_understood() -> None:
    """A compressed request is taken; its bytes are counted as they are decompressed."""

    async def test() -> None:
        telemetry = Telemetry()
        async with receiving(piped(make_pipeline(telemetry)), telemetry) as it:
            request = rows_ending_now(500)
            await it.export(request, compression=grpc.Compression.Gzip)
            assert telemetry.received_bytes.value() == len(request)
            assert telemetry.spans.value(outcome=SpanOutcome.ACCEPTED) == 500

    run(test)


def test_cancelled_calls_free_their_room() -> None:
    """A sender that gives up is counted, and what it held in flight is free again."""

    async def test() -> None:
        async with receiving(Gate()) as it:
            call = it.channel.unary_unary(EXPORT).future(rows_ending_now(2))
            await it.holds_something()
            call.cancel()
            await it.holds_nothing()
            assert it.requests() == {RequestResult.CANCELLED: 1}

    run(test)


def test_internal_errors_reach_no_sender(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that makes the pipeline fail is quarantined and answered with partial success; the service goes on."""

    async def test() -> None:
        telemetry = Telemetry()

        pipeline = make_pipeline(telemetry)
        add = WatchedModel.add

        def add_unless_poison(self: WatchedModel, batch: Predictions, spans: int, now_ns: int) -> Added:
            if self.key.model == "poison":
                raise RuntimeError("cannot digest this")
            return add(self, batch, spans, now_ns)

        monkeypatch.setattr(WatchedModel, "add", add_unless_poison)
        async with receiving(piped(pipeline), telemetry) as it:
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
        async def sink(_: Request) -> Receipt:
            await asyncio.sleep(1.5)
            return Receipt()

        async with receiving(sink) as it:
            options = [
                ("grpc.keepalive_time_ms", 100),
                ("grpc.http2.max_pings_without_data", 0),
                ("grpc.keepalive_permit_without_calls", 1),
            ]
            with grpc.insecure_channel(f"{LOOPBACK}:{it.receiver.grpc_port}", options=options) as channel:
                await asyncio.to_thread(export_over, channel, b"")
            assert it.requests() == {RequestResult.OK: 1}

    run(test)


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_port_in_use_is_a_mistake_with_a_message(protocol: str) -> None:
    """The second receiver on a port does not start: the error names the setting, the address and the way out."""

    async def test() -> None:
        sink = Kept()
        async with receiving(sink) as it:
            port = it.receiver.grpc_port if protocol == "grpc" else it.receiver.http_port
            address = f"{LOOPBACK}:{port}"
            settings = {"grpc": {"listen": None}, "http": {"listen": None}, protocol: {"listen": address}}
            second = Receiver(IngestConfig.model_validate(settings), sink, Telemetry(), SystemClock())
            with pytest.raises(ConfigError, match=f"ingest.{protocol}.listen: cannot listen on {address}: in use"):
                await second.start()
            await second.stop(0)
            await it.export(b"")

    run(test)


def test_stopping_lets_requests_in_flight_end() -> None:
    """A request that was admitted before the stop is answered within the grace time; later ones are not taken."""

    async def test() -> None:
        gate = Gate()
        async with receiving(gate) as it:
            first = asyncio.create_task(it.export(rows_ending_now(1)))
            await it.holds_something()
            stopping = asyncio.create_task(it.receiver.stop(20))
            await asyncio.sleep(0.2)
            assert (await it.refusal(b"")).code() == grpc.StatusCode.UNAVAILABLE
            gate.open()
            assert await first == ExportTraceServiceResponse()
            await stopping

    run(test)


def test_malformed_error_text_reaches_the_sender() -> None:
    """What the sink says of malformed bytes is the status' message."""

    async def test() -> None:
        async def sink(_: Request) -> Receipt:
            raise MalformedError("at byte 3 the end is missing")

        async with receiving(sink) as it:
            assert (await it.refusal(b"abc")).details() == "at byte 3 the end is missing"

    run(test)


def test_logs_are_taken_and_answered_as_logs() -> None:
    """Log records go the same way; what is rejected of them is told in their own kind of answer."""

    async def test() -> None:
        sink = Kept(Receipt(3, "why"))
        async with receiving(sink) as it:
            call = it.channel.unary_unary(EXPORT_LOGS)
            answer = ExportLogsServiceResponse.FromString(await asyncio.to_thread(call, b"some bytes", timeout=30))
            assert answer.partial_success.rejected_log_records == 3
            assert answer.partial_success.error_message == "why"
            assert sink.requests == [Request(Signal.LOGS, b"some bytes")]
            assert it.requests() == {RequestResult.PARTIAL: 1}

    run(test)


def test_metrics_are_not_taken() -> None:
    """Another service of OTLP is answered with UNIMPLEMENTED."""

    async def test() -> None:
        async with receiving(Kept()) as it:
            call = it.channel.unary_unary("/opentelemetry.proto.collector.metrics.v1.MetricsService/Export")
            with pytest.raises(grpc.RpcError) as refused:
                await asyncio.to_thread(call, b"", timeout=30)
            assert refused.value.code() == grpc.StatusCode.UNIMPLEMENTED

    run(test)


def test_messages_are_cut_and_made_sendable() -> None:
    """A message of any length, with characters that no encoding has, reaches the sender, its beginning at least."""

    async def test() -> None:
        long = "bad \ud800 text " * 10_000

        async def sink(_: Request) -> Receipt:
            raise MalformedError(long)

        async with receiving(sink) as it:
            error = await it.refusal(b"abc")
            assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
            assert error.details().startswith("bad ? text ")
        async with receiving(Kept(Receipt(1, long))) as it:
            assert (await it.export(b"abc")).partial_success.error_message.startswith("bad ? text ")

    run(test)


def test_gzip_bombs_do_not_reach_memory() -> None:
    """A message that decompresses to a gigabyte is refused while it is decompressed; the next one is taken."""

    async def test() -> None:
        async with receiving(Kept()) as it:
            options = [("grpc.max_send_message_length", -1)]
            address = f"{LOOPBACK}:{it.receiver.grpc_port}"
            with grpc.insecure_channel(address, options=options) as channel, pytest.raises(grpc.RpcError) as refused:
                await asyncio.to_thread(export_over, channel, bytes(300 * MIB), compression=grpc.Compression.Gzip)
            assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
            assert "Decompressed" in refused.value.details()
            await it.export(b"")

    run(test)
