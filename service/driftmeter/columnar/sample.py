"""A small request that goes through all compiled code."""

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from driftmeter.columnar.config import AttributesConfig


def sample_request(attributes: AttributesConfig) -> bytes:
    """One resource with two spans that have attributes of every type, under the given names."""
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    model = resource.resource.attributes.add(key=attributes.model_name)
    model.value.string_value = "sample"
    scope = resource.scope_spans.add()
    for number in range(2):
        span = scope.spans.add(trace_id=bytes(range(16)), span_id=bytes(range(8)), end_time_unix_nano=1 + number)
        span.trace_state = "ot=th:8"
        span.attributes.add(key=attributes.model_version).value.int_value = 1
        span.attributes.add(key=attributes.prediction_id).value.int_value = number
        span.attributes.add(key=attributes.feature_prefix + "number").value.double_value = 0.5
        span.attributes.add(key=attributes.feature_prefix + "text").value.string_value = "text"
        span.attributes.add(key=attributes.feature_prefix + "flag").value.bool_value = True
        span.attributes.add(key=attributes.feature_prefix + "list").value.array_value.values.add(int_value=1)
        span.attributes.add(key=attributes.segment_prefix + "group").value.int_value = number
    return request.SerializeToString()
