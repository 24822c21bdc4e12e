"""OTLP's JSON to OTLP's protobuf.

The encoding is protobuf's own JSON with the OTLP specification's deviations: ids are hexadecimal, enums are integers,
keys are lowerCamelCase only, unknown keys are ignored. 64-bit integers are strings or numbers; other bytes are base64.

Python loops over everything here: this is the slow path, for senders that have no protobuf. The large lists are read
element by element, so that neither the memory nor the time without other threads grows with the request.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from driftmeter.errors import MalformedError
from driftmeter.ingest.json_cursor import Cursor
from driftmeter.ingest.json_values import MistakeError, converter_of, shown
from driftmeter.ingest.refusals import too_large
from driftmeter.model.request import Signal

NESTING_MAX = 100
"""Messages inside each other, as protobuf's own parsers have it."""

VALUES_MAX = 8 * 1024 * 1024
"""Values in one request: a bound on the memory of one hostile list, which no honest request of 64 MiB comes near."""

_REQUESTS: dict[Signal, type[Message]] = {
    Signal.TRACES: ExportTraceServiceRequest,
    Signal.LOGS: ExportLogsServiceRequest,
}
_LISTS = {"resource_spans", "scope_spans", "spans", "resource_logs", "scope_logs", "log_records"}
"""The lists that are read element by element."""

_LEAVES = {"spans", "log_records"}


def protobuf_of(body: bytes, signal: Signal) -> bytes:
    """An Export*ServiceRequest from JSON to protobuf's wire format.

    Raises:
        MalformedError: It is not what the OTLP specification describes; the message says where.
        RefusedError: Too many values.
    """
    if sum(body.count(mark) for mark in (b",", b"[", b"{")) > VALUES_MAX:
        raise too_large(f"request of more than {VALUES_MAX} JSON values")
    request = _REQUESTS[signal]()
    try:
        cursor = Cursor(body.decode())
        _read_object(cursor, request)
        cursor.end()
        return request.SerializeToString()
    except UnicodeDecodeError as error:
        raise MalformedError(f"not JSON: byte {error.start} is not UTF-8") from None
    except RecursionError:
        raise MalformedError("not OTLP JSON: nested too deeply") from None
    except MistakeError as mistake:
        raise MalformedError(f"not OTLP JSON: {mistake}") from None


@dataclass(frozen=True, slots=True)
class _Field:
    """How one key of a message is read.

    Attributes:
        name: Its name in protobuf.
        key: Its name in JSON.
        repeated: Whether its value is a list.
        convert: From a JSON value; None for messages.
        oneof: Name of the group of which only one may be set; None without.
    """

    name: str
    key: str
    repeated: bool
    convert: Callable[[Any], Any] | None
    oneof: str | None


@functools.cache
def _fields_of(descriptor: Descriptor) -> dict[str, _Field]:
    return {field.json_name: _field(field) for field in descriptor.fields}


def _field(field: FieldDescriptor) -> _Field:
    convert = None if field.type == FieldDescriptor.TYPE_MESSAGE else converter_of(field)
    oneof = field.containing_oneof.name if field.containing_oneof is not None else None
    return _Field(field.name, field.json_name, bool(field.is_repeated), convert, oneof)


def _read_object(cursor: Cursor, message: Message) -> None:
    """Read one of the outer messages at the cursor, its lists element by element."""
    fields = _fields_of(message.DESCRIPTOR)
    for key in cursor.members():
        field = fields.get(key)
        try:
            if field is None:
                cursor.value()
            elif field.name not in _LISTS:
                _set(message, field, cursor.value(), 1)
            elif not cursor.null():
                _read_list(cursor, getattr(message, field.name), leaves=field.name in _LEAVES)
        except MistakeError as mistake:
            raise mistake.within(key) from None


def _read_list(cursor: Cursor, elements: Any, *, leaves: bool) -> None:
    for number, _ in enumerate(cursor.elements()):
        try:
            if leaves:
                _fill(elements.add(), cursor.value(), 3)
            else:
                _read_object(cursor, elements.add())
        except MistakeError as mistake:
            raise mistake.within(f"[{number}]") from None


def _fill(message: Message, value: Any, depth: int) -> None:
    """Set a message, so many inside each other, from a JSON value."""
    if not isinstance(value, dict):
        raise MistakeError("must be an object")
    if depth > NESTING_MAX:
        raise MistakeError("nested too deeply")
    fields = _fields_of(message.DESCRIPTOR)
    for key, given in value.items():
        field = fields.get(key)
        if field is not None and given is not None:
            try:
                _set(message, field, given, depth)
            except MistakeError as mistake:
                raise mistake.within(key) from None


def _set(message: Message, field: _Field, given: Any, depth: int) -> None:
    if given is None:
        return
    if field.repeated:
        _extend(getattr(message, field.name), field, given, depth)
        return
    if field.oneof is not None and message.WhichOneof(field.oneof) is not None:
        raise MistakeError("only one kind of value may be given")
    if field.convert is None:
        part = getattr(message, field.name)
        part.SetInParent()
        _fill(part, given, depth + 1)
        return
    try:
        setattr(message, field.name, field.convert(given))
    except (ValueError, TypeError, OverflowError):  # Out of range, or not UTF-8.
        raise MistakeError(f"{shown(given)} does not fit") from None


def _extend(elements: Any, field: _Field, given: Any, depth: int) -> None:
    if not isinstance(given, list):
        raise MistakeError("must be a list")
    for number, one in enumerate(given):
        try:
            if field.convert is None:
                _fill(elements.add(), one, depth + 1)
            else:
                elements.append(field.convert(one))
        except MistakeError as mistake:
            raise mistake.within(f"[{number}]") from None
        except (ValueError, TypeError, OverflowError):
            raise MistakeError(f"{shown(one)} does not fit").within(f"[{number}]") from None
