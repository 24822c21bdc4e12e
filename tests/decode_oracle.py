"""What a request decodes to, by protobuf's own parser and plain Python: slow, and easy to check by reading."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from driftmeter.columnar.config import AttributesConfig
from driftmeter.columnar.decoder import Decoded
from driftmeter.model.predictions import ModelKey
from driftmeter.model.request import Signal

CONFIG = AttributesConfig()
_PREFIXES = {
    CONFIG.feature_prefix: "feature",
    CONFIG.prediction_prefix: "prediction",
    CONFIG.probability_prefix: "probability",
    CONFIG.label_prefix: "label",
    CONFIG.segment_prefix: "segment",
}
_EXACT = {CONFIG.model_name, CONFIG.model_version, CONFIG.model_stage, CONFIG.prediction_id}
_BEARING = ("feature.", "prediction.", "label.")
_TEXT_BYTES_MAX = 256
"""Of models, versions, stages, prediction ids and categories."""

Row = dict[str, Any]
OtlpRequest = ExportTraceServiceRequest | ExportLogsServiceRequest
REQUESTS: dict[Signal, type[OtlpRequest]] = {
    Signal.TRACES: ExportTraceServiceRequest,
    Signal.LOGS: ExportLogsServiceRequest,
}
"""The message of each signal."""


@dataclass
class Expected:
    """What a request should decode to."""

    batches: dict[ModelKey, list[Row]] = field(default_factory=dict)
    spans: dict[ModelKey, int] = field(default_factory=dict)
    mismatches: dict[ModelKey, dict[str, list[int]]] = field(default_factory=dict)
    received: int = 0
    ignored: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    dropped_values: Counter[str] = field(default_factory=Counter)


def parse(data: bytes, signal: Signal = Signal.TRACES) -> OtlpRequest | None:
    """The request, or None when protobuf refuses it."""
    try:
        return REQUESTS[signal].FromString(data)
    except DecodeError:
        return None


def entries_of(request: OtlpRequest) -> Iterator[tuple[Span | LogRecord, tuple[Iterable[KeyValue], ...]]]:
    """All spans or log records, each with the attributes of its resource, its scope and its own."""
    if isinstance(request, ExportTraceServiceRequest):
        for resource_spans in request.resource_spans:
            for scope_spans in resource_spans.scope_spans:
                for span in scope_spans.spans:
                    yield (
                        span,
                        (resource_spans.resource.attributes, scope_spans.scope.attributes, span.attributes),
                    )
    else:
        for resource_logs in request.resource_logs:
            for scope_logs in resource_logs.scope_logs:
                for record in scope_logs.log_records:
                    yield (
                        record,
                        (resource_logs.resource.attributes, scope_logs.scope.attributes, record.attributes),
                    )


def expect(request: OtlpRequest, not_after_ns: int = 2**63 - 1) -> Expected:
    """What the request should decode to, with default names and nothing known about kinds."""
    result = Expected()
    values: dict[ModelKey, list[dict[str, AnyValue]]] = {}
    for entry, levels in entries_of(request):
        result.received += 1
        merged = {each.key: each.value for level in levels for each in level}
        columns = {name: value for key, value in merged.items() if (name := column_name(key))}
        key = ModelKey(*(text(merged.get(f"ml.model.{part}")) or "" for part in ("name", "version", "stage")))
        if not key.model or not any(name.startswith(_BEARING) for name in columns):
            result.ignored += 1
            continue
        prediction_id = merged.get("ml.prediction.id", AnyValue())
        reason = _refusal(time_of(entry), key, not_after_ns) or array_fault([*columns.values(), prediction_id])
        if reason:
            result.rejected[reason] = result.rejected.get(reason, 0) + 1
            continue
        rows = rows_in([*columns.values(), prediction_id])
        if rows == 0:
            result.ignored += 1
            continue
        result.spans[key] = result.spans.get(key, 0) + 1
        for index in range(rows):
            id_text = _id_text(element(prediction_id, index), result.dropped_values)
            row = {**_fixed(entry), "row_index": index, "prediction_id": id_text}
            result.batches.setdefault(key, []).append(row)
            values.setdefault(key, []).append({name: element(value, index) for name, value in columns.items()})
    kinds: dict[tuple[str, str], dict[str, str]] = {}
    for key, spans in values.items():
        known = kinds.setdefault((key.model, key.version), {})
        result.mismatches[key] = _add_columns(result.batches[key], spans, known, result.dropped_values)
    return result


def is_array(value: AnyValue) -> bool:
    """Whether a value is an array."""
    return value.WhichOneof("value") == "array_value"


def element(value: AnyValue, index: int) -> AnyValue:
    """The value in one row: an array's element, or the same in all rows."""
    return value.array_value.values[index] if is_array(value) else value


def array_fault(values: Iterable[AnyValue]) -> str | None:
    """Why values cannot be rows of one table."""
    lengths = {len(value.array_value.values) for value in values if is_array(value)}
    return "too_many_elements" if max(lengths, default=0) > 65_535 else "array_lengths" if len(lengths) > 1 else None


def rows_in(values: Iterable[AnyValue]) -> int:
    """How many rows values of one span make."""
    return next((len(value.array_value.values) for value in values if is_array(value)), 1)


def time_of(entry: Span | LogRecord) -> int:
    """Event time: a span's end, and when a log record's event was or was seen."""
    return (
        entry.end_time_unix_nano if isinstance(entry, Span) else entry.time_unix_nano or entry.observed_time_unix_nano
    )


def column_name(key: str) -> str | None:
    """Field name of a column's key; None when the key is no column."""
    if key in _EXACT:
        return None
    for prefix, role in _PREFIXES.items():
        if key.startswith(prefix) and key != prefix:
            return f"{role}.{key.removeprefix(prefix)}"
    return None


def text(value: AnyValue | None) -> str | None:
    """A scalar as text; None for anything else."""
    if value is None:
        return None
    match value.WhichOneof("value"):
        case "string_value":
            return value.string_value
        case "bool_value":
            return "true" if value.bool_value else "false"
        case "int_value":
            return str(value.int_value)
        case "double_value":
            return double_text(value.double_value)
        case _:
            return None


def double_text(value: float) -> str:
    """As Python writes it, with exponents of one digit."""
    return repr(value).replace("e-0", "e-")


def _refusal(time_ns: int, key: ModelKey, not_after_ns: int) -> str | None:
    if time_ns == 0:
        return "no_timestamp"
    if time_ns > not_after_ns:
        return "future"
    return "string_too_long" if any(map(_too_long, key)) else None


def _too_long(value: str | None) -> bool:
    return value is not None and len(value.encode()) > _TEXT_BYTES_MAX


def _id_text(value: AnyValue, dropped: Counter[str]) -> str | None:
    prediction_id = text(value)
    if _too_long(prediction_id):
        dropped["id_too_long"] += 1
        return None
    return prediction_id


def _fixed(entry: Span | LogRecord) -> Row:
    start, error, state = 0, False, ""
    if isinstance(entry, Span):
        start, state = entry.start_time_unix_nano, entry.trace_state
        error = entry.status.code == Status.STATUS_CODE_ERROR
    end = time_of(entry)
    return {
        "event_time": end,
        "row_index": 0,
        "trace_id": entry.trace_id if len(entry.trace_id) == 16 and any(entry.trace_id) else b"",
        "span_id": entry.span_id if len(entry.span_id) == 8 and any(entry.span_id) else b"",
        "prediction_id": None,
        "duration": end - start if 0 < start <= end else 0,
        "error": error,
        "weight": weight(state),
        "dropped_attributes_count": entry.dropped_attributes_count,
    }


def weight(trace_state: str) -> float:
    """1 / sampling probability."""
    members = [member.strip(" \t") for member in trace_state.split(",")]
    own = next((member.removeprefix("ot=") for member in members if member.startswith("ot=")), "")
    digits = next((part.removeprefix("th:") for part in own.split(";") if part.startswith("th:")), "")
    if not 1 <= len(digits) <= 14 or not set(digits) <= set("0123456789abcdef"):
        return 1.0
    return 2.0**56 / (2**56 - int(digits.ljust(14, "0"), 16))


def _kind(name: str, value: AnyValue) -> str | None:
    if name.startswith("segment."):
        return "text"
    case = value.WhichOneof("value")
    if case in ("double_value", "int_value"):
        return "numeric"
    return "categorical" if case in ("string_value", "bool_value") else None


def _add_columns(
    rows: list[Row], spans: list[dict[str, AnyValue]], known: dict[str, str], dropped: Counter[str]
) -> dict[str, list[int]]:
    """Add the columns to the rows; return rows with values of the wrong type; count texts that are too long."""
    names = list(dict.fromkeys(name for columns in spans for name in columns))
    for name in names:
        firsts = (_kind(name, columns[name]) for columns in spans if name in columns)
        first = next((kind for kind in firsts if kind), None)
        if first is not None:
            known.setdefault(name, first)
    mismatches: dict[str, list[int]] = {}
    for name in names:
        for number, (row, columns) in enumerate(zip(rows, spans, strict=True)):
            value = columns.get(name)
            row[name] = None if value is None else _cell(value, known.get(name, "numeric"))
            if isinstance(row[name], str) and _too_long(row[name]):
                dropped["string_too_long"] += 1
                row[name] = None
            elif row[name] is None and value is not None and value.WhichOneof("value") is not None:
                mismatches.setdefault(name, []).append(number)
    return mismatches


def _cell(value: AnyValue, kind: str) -> float | str | None:
    case = value.WhichOneof("value")
    if kind == "numeric":
        return float(getattr(value, case)) if case in ("double_value", "int_value") else None
    if kind == "categorical" and case not in ("string_value", "bool_value"):
        return None
    return text(value)


def comparable(rows: Iterable[Row]) -> list[Row]:
    """Rows that can be compared with ==: NaN as a text, -0.0 apart from 0.0."""
    return [{name: _comparable(value) for name, value in row.items()} for row in rows]


def _comparable(value: object) -> object:
    if isinstance(value, float):
        return "nan" if math.isnan(value) else (value, math.copysign(1.0, value))
    return value


def decoded_rows(decoded: Decoded) -> dict[ModelKey, list[Row]]:
    """Rows of a decoded request as plain values, times in ns, without the span keys."""
    result = {}
    for batch in decoded.batches:
        table = batch.rows.drop_columns(["span_key"])
        columns = {}
        for name, column in zip(table.schema.names, table.columns, strict=True):
            column.validate(full=True)
            plain = column.cast("int64") if name in ("event_time", "duration") else column
            columns[name] = plain.to_pylist()
        result[batch.key] = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return result
