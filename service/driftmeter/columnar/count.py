"""How much a request holds, as protobuf sees it: for requests that the decoder itself cannot digest."""

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from driftmeter.errors import MalformedError
from driftmeter.model.request import Request, Signal

_NOUNS = {Signal.TRACES: "trace", Signal.LOGS: "log"}


def count_entries(request: Request) -> int:
    """Number of spans or log records; raises MalformedError when the bytes are no such request."""
    try:
        if request.signal is Signal.LOGS:
            logs = ExportLogsServiceRequest.FromString(request.body)
            return sum(len(scope.log_records) for resource in logs.resource_logs for scope in resource.scope_logs)
        traces = ExportTraceServiceRequest.FromString(request.body)
        return sum(len(scope.spans) for resource in traces.resource_spans for scope in resource.scope_spans)
    except DecodeError as error:
        raise MalformedError(f"not an OTLP {_NOUNS[request.signal]} request: {error}") from error
