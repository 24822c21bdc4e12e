"""What the OTLP sender does with every kind of answer, against a real gRPC server."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsPartialSuccess,
    ExportMetricsServiceResponse,
)

from components import free_port
from driftmeter.clock import SystemClock
from driftmeter.export.config import OtlpConfig
from driftmeter.export.delivery import Courier
from driftmeter.export.otlp.encode import OtlpSource, encode_metrics_request
from driftmeter.export.otlp.send import OtlpTransport
from driftmeter.export.outbox import Outbox
from driftmeter.telemetry.metrics import Destination, DropReason, SampleOutcome, Telemetry
from export_samples import points, read_metrics_request

_HERE = Destination.OTLP
_SERVICE = "opentelemetry.proto.collector.metrics.v1.MetricsService"
_CLOCK = SystemClock()


class _Receiver:
    """Answers with the codes of a script (None for a hang, bytes for a response), and then with success."""

    def __init__(self, script: Sequence[grpc.StatusCode | bytes | None], retry_seconds: float | None = None) -> None:
        self._script = list(script)
        self._retry_seconds = retry_seconds
        self.received: list[tuple[int, float]] = []
        self.metadata: dict[str, str | bytes] = {}

    async def export(self, request: bytes, context: Any) -> bytes:
        """One call."""
        metrics = read_metrics_request(request).resource_metrics[0].scope_metrics[0].metrics
        self.received.append((int(metrics[0].gauge.data_points[0].as_double), _CLOCK.monotonic_seconds()))
        self.metadata = dict(context.invocation_metadata())
        step = self._script.pop(0) if self._script else b""
        if step is None:
            await asyncio.sleep(3600)
        if isinstance(step, grpc.StatusCode):
            await context.abort(step, "as told", self._details(step))
        assert isinstance(step, bytes)
        return step

    def _details(self, code: grpc.StatusCode) -> tuple[tuple[str, bytes], ...]:
        if self._retry_seconds is None:
            return ()
        detail = any_pb2.Any()
        info = error_details_pb2.RetryInfo()
        info.retry_delay.FromNanoseconds(int(self._retry_seconds * 1e9))
        detail.Pack(info)
        status = status_pb2.Status(code=code_pb2.Code.Value(code.name), message="as told", details=[detail])
        return (("grpc-status-details-bin", status.SerializeToString()),)

    @asynccontextmanager
    async def listening(self, port: int) -> AsyncIterator[None]:
        """Serves on a loopback port until the block ends."""
        server = grpc.aio.server()
        handler = grpc.unary_unary_rpc_method_handler(self.export)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, {"Export": handler}),))
        assert server.add_insecure_port(f"127.0.0.1:{port}") == port
        await server.start()
        try:
            yield
        finally:
            await server.stop(None)


def _body(number: int) -> bytes:
    row = {"metric": "ml_feature_mean", "value": float(number), "timestamp_ms": 5}
    table = points([{**row, "feature": name} for name in ("a", "b")])
    return encode_metrics_request(table, OtlpSource("driftmeter", "here", "1", 0))


async def _deliver(receiver: _Receiver, requests: int, absent_seconds: float = 0.0, **config: object) -> Telemetry:
    """Sends requests of two data points each, to a receiver that comes up after a while, until all are settled."""
    telemetry = Telemetry()
    outbox = Outbox(_HERE, 1000, telemetry, _CLOCK)
    port = free_port()
    transport = OtlpTransport(OtlpConfig.model_validate({"endpoint": f"127.0.0.1:{port}", **config}), "9.9")
    run = asyncio.create_task(Courier(outbox, transport.attempt, 5.0, telemetry, _CLOCK).run())
    try:
        async with asyncio.timeout(20):
            for number in range(requests):
                outbox.put(_body(number), 2)
            await asyncio.sleep(absent_seconds)
            async with receiver.listening(port):
                await outbox.emptied()
    finally:
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)
        await transport.close()
    return telemetry


def _sent(telemetry: Telemetry) -> float:
    return telemetry.samples.value(destination=_HERE, outcome=SampleOutcome.SENT)


def _dropped(telemetry: Telemetry, reason: DropReason) -> float:
    return telemetry.samples_dropped.value(destination=_HERE, reason=reason)


_RETRYABLE = ["CANCELLED", "DEADLINE_EXCEEDED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS"]


@pytest.mark.parametrize("code", _RETRYABLE)
def test_retryable_codes_are_tried_again_in_order(code: str) -> None:
    """The codes of the OTLP specification: the same bytes again, and no later request overtakes."""
    receiver = _Receiver([grpc.StatusCode[code]])
    telemetry = asyncio.run(_deliver(receiver, 3))
    assert [number for number, _ in receiver.received] == [0, 0, 1, 2]
    assert _sent(telemetry) == 6


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("INVALID_ARGUMENT", DropReason.BAD_REQUEST),
        ("UNAUTHENTICATED", DropReason.UNAUTHORIZED),
        ("PERMISSION_DENIED", DropReason.UNAUTHORIZED),
        ("RESOURCE_EXHAUSTED", DropReason.TOO_LARGE),
        ("UNIMPLEMENTED", DropReason.REJECTED),
        ("INTERNAL", DropReason.REJECTED),
        ("UNKNOWN", DropReason.REJECTED),
    ],
)
def test_other_codes_drop_and_count_by_reason(code: str, reason: DropReason) -> None:
    """Final codes are not tried again, and the next request goes out."""
    receiver = _Receiver([grpc.StatusCode[code]])
    telemetry = asyncio.run(_deliver(receiver, 2))
    assert [number for number, _ in receiver.received] == [0, 1]
    assert (_sent(telemetry), _dropped(telemetry, reason)) == (2, 2)


@pytest.mark.parametrize("code", ["UNAVAILABLE", "RESOURCE_EXHAUSTED"])
def test_retry_info_is_honoured(code: str) -> None:
    """The next attempt comes no sooner than asked for; with it, even RESOURCE_EXHAUSTED is tried again."""
    receiver = _Receiver([grpc.StatusCode[code]], retry_seconds=0.8)
    telemetry = asyncio.run(_deliver(receiver, 1))
    (_, first), (_, second) = receiver.received
    assert 0.8 <= second - first < 3
    assert _sent(telemetry) == 2


def test_an_invalid_request_after_an_unknown_outcome_is_no_proof_of_loss() -> None:
    """As with remote write, it is counted apart."""
    telemetry = asyncio.run(_deliver(_Receiver([grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INVALID_ARGUMENT]), 1))
    assert _dropped(telemetry, DropReason.BAD_REQUEST_AFTER_RETRY) == 2


def test_a_hanging_receiver_is_tried_again() -> None:
    """The timeout ends an attempt, and the outcome is unknown."""
    receiver = _Receiver([None])
    telemetry = asyncio.run(_deliver(receiver, 1, timeout="300ms"))
    assert len(receiver.received) == 2
    assert _sent(telemetry) == 2


def test_an_absent_receiver_gets_everything_once_it_is_there() -> None:
    """Refused connections lose nothing, and gRPC's own back-off does not hold things up."""
    receiver = _Receiver([])
    telemetry = asyncio.run(_deliver(receiver, 3, absent_seconds=1.0))
    assert [number for number, _ in receiver.received] == [0, 1, 2]
    assert _sent(telemetry) == 6


def test_partial_success_is_counted() -> None:
    """Rejected data points are dropped as `partial`; a response that is none counts as success."""
    partial = ExportMetricsPartialSuccess(rejected_data_points=1, error_message="one too many")
    response = ExportMetricsServiceResponse(partial_success=partial).SerializeToString()
    telemetry = asyncio.run(_deliver(_Receiver([response, b"\xff\xff\xff"]), 2))
    assert (_sent(telemetry), _dropped(telemetry, DropReason.PARTIAL)) == (3, 1)


def test_headers_and_user_agent_arrive() -> None:
    """Configured metadata goes with every call."""
    receiver = _Receiver([])
    asyncio.run(_deliver(receiver, 1, headers={"x-api-key": "secret"}))
    assert receiver.metadata["x-api-key"] == "secret"
    assert str(receiver.metadata["user-agent"]).startswith("driftmeter/9.9")
