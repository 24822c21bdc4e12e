"""A model server as any other: answers requests, and describes each answer as an OpenTelemetry span.

Run by the demo in a process of its own; it knows the service by its OTLP address only. It writes one JSON object a
line to standard output: the day it has got to, and the predictions made.
"""

import json
import pickle
import sys
from pathlib import Path
from typing import Any

import polars as pl
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from driftmeter.demo.flights import FEATURES, MODEL, VERSION, answer, as_inputs, read_flights

SPANS_PER_FLUSH = 20_000
DURATION_NS = 2_000_000  # The answers come in batches of a day; each is given a plausible duration.


def serve_year(model: Any, endpoint: str) -> None:
    """Answer every flight after the training months, day by day."""
    provider = TracerProvider(resource=Resource({"service.name": "flight-delay-server"}))
    exporter = OTLPSpanExporter(endpoint=endpoint, insecure=True)
    # A full queue drops spans without a word, so it is larger than what is made between two flushes.
    processor = BatchSpanProcessor(
        exporter, max_queue_size=2 * SPANS_PER_FLUSH, max_export_batch_size=2_000, schedule_delay_millis=500
    )
    provider.add_span_processor(processor)
    tracer = provider.get_tracer("flight-delay")
    _, flights = read_flights()
    made = unflushed = 0
    for (day,), flights_of_day in flights.group_by(pl.col("scheduled").dt.date(), maintain_order=True):
        late = model.predict_proba(as_inputs(flights_of_day))[:, 1]
        rows = flights_of_day.select(pl.col("scheduled").dt.epoch("ns"), *FEATURES)
        for (end_ns, *values), p_late, said in zip(rows.iter_rows(), late.tolist(), answer(late), strict=True):
            span = tracer.start_span("predict", start_time=end_ns - DURATION_NS)
            span.set_attribute("ml.model.name", MODEL)
            span.set_attribute("ml.model.version", VERSION)
            for name, value in zip(FEATURES, values, strict=True):
                if value is not None:
                    span.set_attribute(f"ml.feature.{name}", value)
            span.set_attribute("ml.prediction.late", said)
            span.set_attribute("ml.probability.late", p_late)
            span.end(end_time=end_ns)
        made += flights_of_day.height
        unflushed += flights_of_day.height
        if unflushed >= SPANS_PER_FLUSH:
            provider.force_flush()
            unflushed = 0
        print(json.dumps({"day": str(day), "made": made}), flush=True)  # noqa: T201 - read by the demo.
    provider.shutdown()
    print(json.dumps({"done": True, "made": made}), flush=True)  # noqa: T201


if __name__ == "__main__":
    with Path(sys.argv[1]).open("rb") as file:
        trained = pickle.load(file)  # noqa: S301 - written by the demo itself a moment ago.
    serve_year(trained, sys.argv[2])
