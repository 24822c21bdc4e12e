"""Bodies of answers: what the OTLP specification has senders understand, in protobuf and in JSON."""

import json
from typing import Any

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from driftmeter.ingest.refusals import RefusedError
from driftmeter.model.receipt import Receipt
from driftmeter.model.request import Signal

MESSAGE_CHARACTERS_MAX = 1_000
"""Over gRPC messages travel in headers, and a client takes no more than 8 KiB of these."""


def success(signal: Signal, receipt: Receipt) -> bytes:
    """Body of a success: empty when full, `partial_success` otherwise. Never fails: the data is taken already."""
    rejected, message = receipt.rejected_spans, _safe(receipt.message)
    if not rejected and not message:
        return b""
    if signal is Signal.LOGS:
        logs = ExportLogsServiceResponse()
        logs.partial_success.rejected_log_records = rejected
        logs.partial_success.error_message = message
        return logs.SerializeToString()
    traces = ExportTraceServiceResponse()
    traces.partial_success.rejected_spans = rejected
    traces.partial_success.error_message = message
    return traces.SerializeToString()


def success_json(signal: Signal, receipt: Receipt) -> bytes:
    """The same in OTLP's JSON, where 64-bit integers are strings."""
    rejected, message = receipt.rejected_spans, _safe(receipt.message)
    if not rejected and not message:
        return b"{}"
    name = "rejectedLogRecords" if signal is Signal.LOGS else "rejectedSpans"
    return _json({"partialSuccess": {name: str(rejected), "errorMessage": message}})


def status_of(refusal: RefusedError) -> status_pb2.Status:
    """A refusal as google.rpc.Status: the body over HTTP, the status' details over gRPC; RetryInfo says when."""
    status = status_pb2.Status(code=refusal.code.value[0], message=_safe(refusal.message))
    if refusal.retry_after_seconds is not None:
        delay = duration_pb2.Duration(seconds=refusal.retry_after_seconds)
        detail = any_pb2.Any()
        detail.Pack(error_details_pb2.RetryInfo(retry_delay=delay))
        status.details.append(detail)
    return status


def status_json(refusal: RefusedError) -> bytes:
    """The same in JSON."""
    body: dict[str, Any] = {"code": refusal.code.value[0], "message": _safe(refusal.message)}
    if refusal.retry_after_seconds is not None:
        kind = f"type.googleapis.com/{error_details_pb2.RetryInfo.DESCRIPTOR.full_name}"
        body["details"] = [{"@type": kind, "retryDelay": f"{refusal.retry_after_seconds}s"}]
    return _json(body)


def grpc_status(refusal: RefusedError) -> grpc.Status:
    """The same for a gRPC call to end with."""
    return rpc_status.to_status(status_of(refusal))


def _safe(message: str) -> str:
    """Without what cannot be encoded, and not too long."""
    if len(message) > MESSAGE_CHARACTERS_MAX:
        message = message[:MESSAGE_CHARACTERS_MAX] + "…"
    return message.encode(errors="replace").decode()


def _json(body: dict[str, Any]) -> bytes:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
