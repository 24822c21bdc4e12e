"""What is lost before it reaches anybody: by the SDK, which this service cannot see."""

import threading
from collections.abc import Sequence

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult


class Waiting(SpanExporter):
    """An exporter that waits for its receiver."""

    def __init__(self) -> None:
        self.there = threading.Event()
        self.exported = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Counts what it would send."""
        self.there.wait(30)
        self.exported += len(spans)
        return SpanExportResult.SUCCESS


def test_an_sdk_with_a_full_queue_drops_without_a_word() -> None:
    """Of 500 spans ended while the receiver is slow, what does not fit into the queue never leaves the process."""
    exporter = Waiting()
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=50, max_export_batch_size=10))
    tracer = provider.get_tracer("model")
    for _ in range(500):
        tracer.start_span("predict").end()
    exporter.there.set()
    assert provider.force_flush()
    provider.shutdown()
    assert 50 <= exporter.exported < 500


def test_an_sdk_that_is_not_flushed_loses_what_it_holds() -> None:
    """Spans wait in the process for up to five seconds: `shutdown` sends them, an end without it does not."""
    exporter = Waiting()
    exporter.there.set()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    provider.get_tracer("model").start_span("predict").end()
    assert exporter.exported == 0, "it waits"
    provider.shutdown()
    assert exporter.exported == 1
