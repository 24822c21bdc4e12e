"""Requests to an OTLP metrics receiver over gRPC: one attempt, and what its answer means (OTLP specification 1.11)."""

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse

from driftmeter.export.config import OtlpConfig
from driftmeter.export.delivery import Answer, Delivered, Refused, Retry
from driftmeter.model.windows import parse_duration_ns
from driftmeter.telemetry.metrics import DropReason

_METHOD = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
_NS_PER_SECOND = 1e9
_RETRYABLE = frozenset(
    {
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    }
)
_REASONS = {
    grpc.StatusCode.INVALID_ARGUMENT: DropReason.BAD_REQUEST,
    grpc.StatusCode.UNAUTHENTICATED: DropReason.UNAUTHORIZED,
    grpc.StatusCode.PERMISSION_DENIED: DropReason.UNAUTHORIZED,
    grpc.StatusCode.RESOURCE_EXHAUSTED: DropReason.TOO_LARGE,
}
_OPTIONS = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 5_000),  # gRPC's own two minutes would outlast most restarts.
)


class OtlpTransport:
    """Sends bodies to one receiver. To be made and closed in the event loop that uses it.

    Args:
        config: Where to and how; `endpoint` must be set.
        version: Version of this service, for the user agent.
    """

    def __init__(self, config: OtlpConfig, version: str) -> None:
        assert config.endpoint is not None, "no endpoint to send to"  # noqa: S101
        options = [*_OPTIONS, ("grpc.primary_user_agent", f"driftmeter/{version}")]
        if config.without_tls:
            self._channel = grpc.aio.insecure_channel(config.endpoint, options=options)
        else:
            self._channel = grpc.aio.secure_channel(config.endpoint, grpc.ssl_channel_credentials(), options=options)
        self._export = self._channel.unary_unary(_METHOD)
        self._metadata = tuple(config.headers.items())
        self._timeout_seconds = parse_duration_ns(config.timeout) / _NS_PER_SECOND

    async def attempt(self, body: bytes, attempts: int) -> Answer:  # noqa: ARG002  # OTLP has no place for the number.
        """Send `body` once."""
        try:
            response: bytes = await self._export(body, timeout=self._timeout_seconds, metadata=self._metadata)
        except grpc.aio.AioRpcError as error:
            return classify(error.code(), error.details() or "", _status_details(error))
        return read_response(response)

    async def close(self) -> None:
        """Close the connection."""
        await self._channel.close()


def read_response(response: bytes) -> Delivered:
    """What a response with status OK says about data points that were not accepted."""
    try:
        partial = ExportMetricsServiceResponse.FromString(response).partial_success
    except DecodeError:
        return Delivered(message="the response is not an ExportMetricsServiceResponse")
    return Delivered(partial.rejected_data_points, partial.error_message)


def classify(code: grpc.StatusCode, message: str, details: bytes) -> Answer:
    """What a gRPC status other than OK means.

    Args:
        code: The status code.
        message: Its message.
        details: A serialised `google.rpc.Status`; empty when there is none.
    """
    retry_after_seconds = _retry_info_seconds(details)
    described = f"{code.name}: {message}"
    if code in _RETRYABLE:
        return Retry(described, unknown_outcome=True, retry_after_seconds=retry_after_seconds)
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and retry_after_seconds is not None:
        return Retry(described, unknown_outcome=False, retry_after_seconds=retry_after_seconds)
    return Refused(_REASONS.get(code, DropReason.REJECTED), described)


def _status_details(error: grpc.aio.AioRpcError) -> bytes:
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin" and isinstance(value, bytes):
            return value
    return b""


def _retry_info_seconds(details: bytes) -> float | None:
    """The delay of the `RetryInfo` in `details`; None when there is none."""
    try:
        status = status_pb2.Status.FromString(details)
        for detail in status.details:
            info = error_details_pb2.RetryInfo()
            if detail.Is(info.DESCRIPTOR) and detail.Unpack(info):
                return max(0.0, float(info.retry_delay.ToNanoseconds()) / _NS_PER_SECOND)
    except DecodeError:
        return None
    return None
