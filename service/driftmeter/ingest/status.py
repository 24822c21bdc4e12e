"""Our outcomes as gRPC statuses, by the OTLP specification 1.11 (section "Failures").

Collectors drop a request for good on INTERNAL, UNKNOWN, INVALID_ARGUMENT and on RESOURCE_EXHAUSTED without RetryInfo;
they try again on UNAVAILABLE.
"""

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from driftmeter.model.receipt import Receipt

_NANOSECONDS = 1_000_000_000


def unavailable(message: str, retry_after_seconds: float) -> grpc.Status:
    """Try again, after so long."""
    delay = duration_pb2.Duration()
    delay.FromNanoseconds(int(retry_after_seconds * _NANOSECONDS))
    detail = any_pb2.Any()
    detail.Pack(error_details_pb2.RetryInfo(retry_delay=delay))
    code = grpc.StatusCode.UNAVAILABLE.value[0]
    return rpc_status.to_status(status_pb2.Status(code=code, message=message, details=[detail]))


def success(receipt: Receipt) -> bytes:
    """Body of a success: empty when full, `partial_success` otherwise."""
    response = ExportTraceServiceResponse()
    if receipt.rejected_spans or receipt.message:
        response.partial_success.rejected_spans = receipt.rejected_spans
        response.partial_success.error_message = receipt.message
    return response.SerializeToString()
