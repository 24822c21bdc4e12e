"""What the protobuf schema of OTLP says about fields, as a table for the compiled decoder."""

import functools

import numpy as np
import numpy.typing as npt
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

UNKNOWN, SCALAR, TEXT, MESSAGE = 0, 1, 2, 8
"""Kinds of fields. `MESSAGE + m` is a field that holds message m."""

FIELDS_MAX = 32
"""Fields with this number or a higher one are unknown to the table. OTLP traces and logs use numbers up to 16."""

Table = npt.NDArray[np.int16]

MESSAGES = (
    "opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest",
    "opentelemetry.proto.trace.v1.ResourceSpans",
    "opentelemetry.proto.trace.v1.ScopeSpans",
    "opentelemetry.proto.trace.v1.Span",
    "opentelemetry.proto.collector.logs.v1.ExportLogsServiceRequest",
    "opentelemetry.proto.logs.v1.ResourceLogs",
    "opentelemetry.proto.logs.v1.ScopeLogs",
    "opentelemetry.proto.logs.v1.LogRecord",
    "opentelemetry.proto.resource.v1.Resource",
    "opentelemetry.proto.common.v1.InstrumentationScope",
    "opentelemetry.proto.trace.v1.Status",
    "opentelemetry.proto.common.v1.KeyValue",
    "opentelemetry.proto.common.v1.AnyValue",
    "opentelemetry.proto.common.v1.ArrayValue",
)
TRACES, LOGS = 0, 4
"""Requests. One level down are their resources, one more their scopes, and one more spans or log records; the numbers
of the fields that hold them are the same in both."""

SPAN, LOG_RECORD = TRACES + 3, LOGS + 3
RESOURCE, SCOPE, STATUS, KEY_VALUE, ANY_VALUE, ARRAY_VALUE = range(8, len(MESSAGES))
"""Messages with code of their own in the decoder; the others follow in order of discovery."""


@functools.cache
def build_table() -> Table:
    """Kind of each field of each message, shape (messages, `FIELDS_MAX`), from the installed `opentelemetry-proto`."""
    found: dict[str, Descriptor] = {}
    _collect(ExportTraceServiceRequest.DESCRIPTOR, found)
    _collect(ExportLogsServiceRequest.DESCRIPTOR, found)
    order = [*MESSAGES, *sorted(found.keys() - set(MESSAGES))]
    table = np.zeros((len(order), FIELDS_MAX), np.int16)
    for row, name in enumerate(order):
        for field in found[name].fields:
            table[row, field.number] = _kind(field, order)
    return table


def _collect(message: Descriptor, found: dict[str, Descriptor]) -> None:
    if message.full_name not in found:
        found[message.full_name] = message
        for field in message.fields:
            if field.message_type is not None:
                _collect(field.message_type, found)


def _kind(field: FieldDescriptor, order: list[str]) -> int:
    if field.message_type is not None:
        return MESSAGE + order.index(field.message_type.full_name)
    return TEXT if field.type == FieldDescriptor.TYPE_STRING else SCALAR
