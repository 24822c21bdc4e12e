"""Requests of the load generator are what they are said to be."""

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from benchmarks.ingest.workload import PANE_NS, Requests, Shape


def spans_of(body: bytes) -> list[Span]:
    """The spans of a request with one resource and one scope."""
    request = ExportTraceServiceRequest.FromString(body)
    return list(request.resource_spans[0].scope_spans[0].spans)


def values_of(spans: list[Span]) -> list[float]:
    """All values of the spans that are doubles."""
    return [
        each.value.double_value for span in spans for each in span.attributes if each.value.HasField("double_value")
    ]


def test_no_id_and_no_value_comes_twice() -> None:
    """Spans made from one template have ids and values of their own, and stay close to the template's values."""
    requests = Requests(Shape(spans=20), templates=1)
    first, second = (spans_of(requests.make()) for _ in range(2))
    both = [*first, *second]
    assert len({(span.trace_id, span.span_id) for span in both}) == 40
    assert all((len(span.trace_id), len(span.span_id)) == (16, 8) for span in both)
    assert len(set(values_of(both))) == 40 * 17
    assert values_of(first) == pytest.approx(values_of(second), rel=1e-8)


def test_spans_have_23_attributes() -> None:
    """16 doubles, 4 strings, the model's name and version, one prediction."""
    (span,) = spans_of(Requests(Shape(spans=1), templates=1).make())
    kinds = [each.value.WhichOneof("value") for each in span.attributes]
    assert (len(kinds), kinds.count("double_value"), kinds.count("string_value")) == (23, 17, 6)


def test_event_times_move_on_from_span_to_span_and_from_request_to_request() -> None:
    """A pane holds as many spans as it is said to, and panes can be skipped."""
    requests = Requests(Shape(spans=10), templates=2, spans_per_pane=1_000)
    first, second = (spans_of(requests.make()) for _ in range(2))
    ends = [span.end_time_unix_nano for span in [*first, *second]]
    assert [end - ends[0] for end in ends] == [number * PANE_NS // 1_000 for number in range(20)]
    assert all(span.end_time_unix_nano - span.start_time_unix_nano == 5_000_000 for span in first)
    requests.skip_panes(3)
    assert spans_of(requests.make())[0].end_time_unix_nano == ends[0] + 3 * PANE_NS


def test_spans_take_turns_in_the_models() -> None:
    """Each request holds spans of every model."""
    spans = spans_of(Requests(Shape(spans=6, models=3), templates=1).make())
    names = [span.attributes[0].value.string_value for span in spans]
    assert names == ["flights-0", "flights-1", "flights-2"] * 2
