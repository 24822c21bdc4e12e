"""An OTLP/gRPC server that keeps the metrics it is sent, for tests of what leaves a real Collector."""

import threading
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass, field

import grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc

from programs import LOOPBACK


@dataclass
class MetricsSink(metrics_service_pb2_grpc.MetricsServiceServicer):
    """Keeps every request; thread-safe.

    Attributes:
        endpoint: `host:port` it listens on.
    """

    endpoint: str
    _requests: list[metrics_service_pb2.ExportMetricsServiceRequest] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def Export(  # noqa: N802  # The name gRPC calls.
        self, request: metrics_service_pb2.ExportMetricsServiceRequest, context: grpc.ServicerContext
    ) -> metrics_service_pb2.ExportMetricsServiceResponse:
        """Keeps the request and answers with full success."""
        del context
        with self._lock:
            self._requests.append(request)
        return metrics_service_pb2.ExportMetricsServiceResponse()

    def requests(self) -> list[metrics_service_pb2.ExportMetricsServiceRequest]:
        """All requests so far, in order of arrival."""
        with self._lock:
            return list(self._requests)


@contextmanager
def metrics_sink(port: int) -> Iterator[MetricsSink]:
    """A sink that listens on this loopback port until the block ends."""
    sink = MetricsSink(f"{LOOPBACK}:{port}")
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4), options=[("grpc.so_reuseport", 0)])
    metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(sink, server)  # type: ignore[no-untyped-call]
    server.add_insecure_port(sink.endpoint)
    server.start()
    try:
        yield sink
    finally:
        server.stop(grace=None).wait()
