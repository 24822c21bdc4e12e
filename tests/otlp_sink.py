"""An OTLP/gRPC server that keeps what it is sent, for tests of what leaves a real Collector."""

import threading
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass, field

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from programs import LOOPBACK

SERVICE = "opentelemetry.proto.collector.trace.v1.TraceService"
MAX_BYTES = 128 * 1024 * 1024
"""Largest request taken, in bytes."""


@dataclass
class TraceSink:
    """Keeps every request; thread-safe.

    Attributes:
        endpoint: `host:port` it listens on.
    """

    endpoint: str
    _requests: list[trace_service_pb2.ExportTraceServiceRequest] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def export(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        """Keeps the request and answers with full success, whose encoding is empty."""
        del context
        with self._lock:
            self._requests.append(trace_service_pb2.ExportTraceServiceRequest.FromString(request))
        return b""

    def spans(self) -> list[Span]:
        """All spans so far, in order of arrival."""
        with self._lock:
            return [
                span
                for request in self._requests
                for resource in request.resource_spans
                for scope in resource.scope_spans
                for span in scope.spans
            ]


@contextmanager
def trace_sink(port: int) -> Iterator[TraceSink]:
    """A sink that listens on this loopback port until the block ends."""
    sink = TraceSink(f"{LOOPBACK}:{port}")
    options = [("grpc.max_receive_message_length", MAX_BYTES), ("grpc.so_reuseport", 0)]
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4), options=options)
    handlers = {"Export": grpc.unary_unary_rpc_method_handler(sink.export)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    server.add_insecure_port(sink.endpoint)
    server.start()
    try:
        yield sink
    finally:
        server.stop(grace=None).wait()
