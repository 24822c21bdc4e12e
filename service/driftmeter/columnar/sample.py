"""A small request that goes through all compiled code."""

from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from driftmeter.columnar.config import AttributesConfig
from driftmeter.model.request import Signal


def sample_request(attributes: AttributesConfig, signal: Signal = Signal.TRACES) -> bytes:
    """One resource with two spans or log records that have attributes of every type, under the given names."""
    request = ExportTraceServiceRequest() if signal is Signal.TRACES else ExportLogsServiceRequest()
    if isinstance(request, ExportTraceServiceRequest):
        spans = request.resource_spans.add()
        model, scope = spans.resource.attributes.add(key=attributes.model_name), spans.scope_spans.add()
        entries: list[Any] = [scope.spans.add(trace_state="ot=th:8", end_time_unix_nano=1) for _ in range(2)]
    else:
        records = request.resource_logs.add()
        model, scope_logs = records.resource.attributes.add(key=attributes.model_name), records.scope_logs.add()
        entries = [scope_logs.log_records.add(time_unix_nano=1) for _ in range(2)]
    model.value.string_value = "sample"
    for number, entry in enumerate(entries):
        entry.trace_id, entry.span_id = bytes(range(16)), bytes(range(8))
        entry.attributes.add(key=attributes.model_version).value.int_value = 1
        entry.attributes.add(key=attributes.prediction_id).value.int_value = number
        entry.attributes.add(key=attributes.feature_prefix + "number").value.double_value = 0.5
        entry.attributes.add(key=attributes.feature_prefix + "text").value.string_value = "text"
        entry.attributes.add(key=attributes.feature_prefix + "flag").value.bool_value = True
        elements = entry.attributes.add(key=attributes.feature_prefix + "list").value.array_value.values
        elements.add(int_value=1)
        elements.add(string_value="two")
        entry.attributes.add(key=attributes.segment_prefix + "group").value.int_value = number
        for key, target in attributes.aliases.items():
            if target.startswith("json:"):
                text = '{"a": 1.5, "b": {"c": "\\u00fc", "d": [1, true]}, "e": null}'
                entry.attributes.add(key=key).value.string_value = text
    return request.SerializeToString()
