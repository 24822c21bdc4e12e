"""Predictions as spans: OTLP requests made from tables of rows, and ways to send them."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import grpc
import polars as pl
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from otlp_samples import Scalar, make_request, make_span

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
"""The gRPC method that takes traces."""

DURATION_NS = 2_000_000
"""Length of every span made here."""

_MAX_BYTES = 256 * 1024 * 1024
_QUEUE_SPANS = 8_000


def identity(model: str, version: str = "", stage: str = "") -> dict[str, str]:
    """Attributes that say which model answered."""
    given = {"ml.model.name": model, "ml.model.version": version, "ml.model.stage": stage}
    return {key: value for key, value in given.items() if value}


def request_of(
    rows: Iterable[Mapping[str, Scalar]],
    ends_ns: Iterable[int],
    model: Mapping[str, Scalar],
    first_number: int = 0,
) -> bytes:
    """One request: a span per row, which ends at its time and has the row's items as attributes.

    Args:
        rows: Attributes of each span by their whole key, None for a missing value.
        ends_ns: When each ends, nanoseconds since the epoch.
        model: Attributes of the resource; see `identity`.
        first_number: Makes the spans' ids, counted up; requests must not overlap.
    """
    spans = [
        make_span(
            {key: value for key, value in row.items() if value is not None},
            number,
            start_time_unix_nano=end_ns - DURATION_NS,
            end_time_unix_nano=end_ns,
        )
        for number, (row, end_ns) in enumerate(zip(rows, ends_ns, strict=True), first_number)
    ]
    return make_request(spans, model).SerializeToString()


def requests_of(
    table: pl.DataFrame,
    ends_ns: Iterable[int],
    model: Mapping[str, Scalar],
    spans_per_request: int = 1_000,
    first_number: int = 0,
) -> Iterator[bytes]:
    """Requests of so many spans each from a table whose columns are named by whole attribute keys.

    Their ids are counted up from `first_number`: what is sent twice under one id is counted once.
    """
    times = list(ends_ns)
    for start in range(0, table.height, spans_per_request):
        part = table.slice(start, spans_per_request)
        ends = times[start : start + part.height]
        yield request_of(part.iter_rows(named=True), ends, model, first_number + start)


def channel_to(endpoint: str) -> grpc.Channel:
    """A channel without encryption that sends requests of any size."""
    return grpc.insecure_channel(endpoint, options=[("grpc.max_send_message_length", _MAX_BYTES)])


def export_over(channel: grpc.Channel, request: bytes, **options: Any) -> ExportTraceServiceResponse:
    """Sends the bytes as they are; raises grpc.RpcError when they are not taken."""
    call = channel.unary_unary(EXPORT)
    return ExportTraceServiceResponse.FromString(call(request, timeout=60, **options))


def send(endpoint: str, *requests: bytes) -> list[ExportTraceServiceResponse]:
    """Sends requests one after the other over one connection."""
    with channel_to(endpoint) as channel:
        return [export_over(channel, request) for request in requests]


def spans_in(request: bytes) -> int:
    """Number of spans of a request."""
    parsed = ExportTraceServiceRequest.FromString(request)
    return sum(len(scope.spans) for resource in parsed.resource_spans for scope in resource.scope_spans)


def serve_with_sdk(endpoint: str, table: pl.DataFrame, ends_ns: Iterable[int], model: Mapping[str, str]) -> int:
    """Does what a model server does, with the ordinary SDK: one span per row; returns the number of spans ended.

    Args:
        endpoint: `host:port` of an OTLP/gRPC receiver.
        table: Columns named by whole attribute keys; nulls are not set.
        ends_ns: When each row's span ends.
        model: Attributes of every span that say which model answered.
    """
    provider = TracerProvider(resource=Resource({"service.name": "model-server"}))
    exporter = OTLPSpanExporter(endpoint=endpoint, insecure=True)
    # An SDK drops spans without a word when its queue is full: it is flushed before it can be.
    processor = BatchSpanProcessor(exporter, max_queue_size=2 * _QUEUE_SPANS, max_export_batch_size=1_000)
    provider.add_span_processor(processor)
    tracer = provider.get_tracer("model")
    ended = 0
    for values, end_ns in zip(table.iter_rows(), ends_ns, strict=True):
        given = {key: value for key, value in zip(table.columns, values, strict=True) if value is not None}
        span = tracer.start_span("predict", start_time=end_ns - DURATION_NS, attributes={**model, **given})
        span.end(end_time=end_ns)
        ended += 1
        if ended % _QUEUE_SPANS == 0:
            assert provider.force_flush()
    assert provider.force_flush()
    provider.shutdown()
    return ended
