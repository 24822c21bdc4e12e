"""Every metric of the service about itself, declared once; `Telemetry` holds them and is passed to the stages."""

import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric

from driftmeter.telemetry.families import CounterFamily, GaugeFamily, HistogramFamily, Labels


class SpanOutcome(StrEnum):
    """What became of a span. `received` is the sum of the others and of what is in flight."""

    RECEIVED = "received"
    IGNORED = "ignored"
    REJECTED = "rejected"
    QUARANTINED = "quarantined"
    ACCEPTED = "accepted"


class SpanReason(StrEnum):
    """Why a span was not accepted; empty for received and accepted ones."""

    NOT_FEATURE_BEARING = "not_feature_bearing"
    FUTURE = "future"
    NO_TIMESTAMP = "no_timestamp"
    TOO_MANY_MODELS = "too_many_models"
    TOO_SPARSE = "too_sparse"
    TOO_MANY_ATTRIBUTES = "too_many_attributes"
    STRING_TOO_LONG = "string_too_long"
    """Its model's name, version or stage."""
    ARRAY_LENGTHS = "array_lengths"
    """Its arrays have different lengths."""
    TOO_MANY_ELEMENTS = "too_many_elements"
    EXCEPTION = "exception"


class RowOutcome(StrEnum):
    """What became of an accepted row. Rows that are none of these yet are pending."""

    COUNTED = "counted"
    LATE = "late"
    NOT_SCORED = "not_scored"
    """No baseline could be learned from them: they hold nothing that can be compared."""
    FAILED = "failed"
    """An internal error kept them from being counted; the log says more."""


class RequestResult(StrEnum):
    """How an OTLP request was answered."""

    OK = "ok"
    PARTIAL = "partial"
    MALFORMED = "malformed"
    TOO_LARGE = "too_large"
    UNAVAILABLE = "unavailable"
    UNAUTHENTICATED = "unauthenticated"
    UNSUPPORTED = "unsupported"
    """Another path, method, content type or encoding than those of OTLP/HTTP."""
    CANCELLED = "cancelled"


class RefusalReason(StrEnum):
    """Why a sender was told to try again."""

    IN_FLIGHT = "in_flight"
    """All bytes that may be in flight were."""
    CLIENT_SHARE = "client_share"
    """This client held its share while others were active too."""
    STALLED = "stalled"
    """The body did not arrive in time."""
    STOPPING = "stopping"
    """The service is about to stop."""
    EXCEPTION = "exception"
    """Something failed that should not have; the log says what."""


class Credentials(StrEnum):
    """Files that say who may connect and whom to trust, read again when they change."""

    TLS = "tls"
    BEARER_TOKENS = "bearer_tokens"


class ReloadResult(StrEnum):
    """What became of a changed file."""

    OK = "ok"
    FAILED = "failed"
    """It cannot be used; what was read before stays in force."""


class ValueReason(StrEnum):
    """Why a value of an accepted span was not kept."""

    TOO_MANY_COLUMNS = "too_many_columns"
    NAME_TOO_LONG = "name_too_long"
    ID_TOO_LONG = "id_too_long"
    STRING_TOO_LONG = "string_too_long"
    INVALID_JSON = "invalid_json"


class Destination(StrEnum):
    """Where samples are sent."""

    REMOTE_WRITE = "remote_write"
    OTLP = "otlp"


class SampleOutcome(StrEnum):
    """What became of a sample: `produced = queued + sent + dropped` at every scrape."""

    PRODUCED = "produced"
    SENT = "sent"
    DROPPED = "dropped"


class DropReason(StrEnum):
    """Why a sample was dropped instead of sent."""

    QUEUE_FULL = "queue_full"
    """The queue was full and this was the oldest in it."""
    TOO_OLD = "too_old"
    """It could not be delivered within the longest time allowed."""
    BAD_REQUEST = "bad_request"
    """The receiver found it wrong at the first attempt (400, INVALID_ARGUMENT): lost."""
    BAD_REQUEST_AFTER_RETRY = "bad_request_after_retry"
    """The same answer after an attempt whose outcome is unknown: it may have been stored by that one."""
    UNAUTHORIZED = "unauthorized"
    """The receiver does not accept the credentials (401, 403)."""
    TOO_LARGE = "too_large"
    """The receiver takes no request of this size (413)."""
    REJECTED = "rejected"
    """Any other final answer."""
    PARTIAL = "partial"
    """Part of a request that was otherwise accepted (OTLP partial success)."""
    REVISED = "revised"
    """New values of a window after late rows. With event time, a value was already sent for this window, and Prometheus
    would refuse a second one; on the wall clock, a later window is current."""
    OUT_OF_ORDER = "out_of_order"
    """With event time, a later window of the same series was already sent."""
    NO_TIMESTAMP = "no_timestamp"
    """With event time, the window has no end to stamp it with."""
    ENCODING = "encoding"
    """It could not be encoded, which is a fault of this service; the log says more."""
    SHUTDOWN = "shutdown"
    """The service stopped before it could be delivered."""


_OPEN: frozenset[str] | None = None


def _closed(values: Iterable[str]) -> frozenset[str] | None:
    return frozenset(str(value) for value in values)


@dataclass(frozen=True, slots=True)
class SelfMetric:
    """Declaration of one metric of the service about itself.

    Attributes:
        name: Prometheus name, `driftmeter_` first, unit last; counters end in `_total`.
        kind: counter, gauge or histogram (of seconds).
        description: One sentence.
        labels: Label names in order with their closed set of values; None where values are open.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    description: str
    labels: Labels = field(default_factory=dict)


_MODEL: Mapping[str, frozenset[str] | None] = {"model": _OPEN, "version": _OPEN, "stage": _OPEN}
_DESTINATION: Mapping[str, frozenset[str] | None] = {"destination": _closed(Destination)}

SELF_METRICS: tuple[SelfMetric, ...] = (
    SelfMetric("driftmeter_build_info", "gauge", "Always 1; the label says which version runs.", {"version": _OPEN}),
    SelfMetric(
        "driftmeter_requests_total",
        "counter",
        "OTLP requests by how they were answered.",
        {"result": _closed(RequestResult)},
    ),
    SelfMetric(
        "driftmeter_requests_refused_total",
        "counter",
        "OTLP requests whose senders were told to try again, by reason.",
        {"reason": _closed(RefusalReason)},
    ),
    SelfMetric(
        "driftmeter_credentials_reloads_total",
        "counter",
        "Times that changed certificates or bearer tokens were read again.",
        {"credentials": _closed(Credentials), "result": _closed(ReloadResult)},
    ),
    SelfMetric("driftmeter_received_bytes_total", "counter", "Bytes of OTLP requests, decompressed."),
    SelfMetric("driftmeter_in_flight_bytes", "gauge", "Bytes of requests that were admitted and not yet answered."),
    SelfMetric(
        "driftmeter_spans_total",
        "counter",
        "Spans by what became of them.",
        {"outcome": _closed(SpanOutcome), "reason": _closed(SpanReason)},
    ),
    SelfMetric("driftmeter_in_flight_spans", "gauge", "Spans that were received and have no outcome yet."),
    SelfMetric(
        "driftmeter_rows_total",
        "counter",
        "Accepted spans by what became of their rows; a span with arrays is one, however many rows it makes.",
        {"outcome": _closed(RowOutcome)},
    ),
    SelfMetric("driftmeter_pending_rows", "gauge", "Accepted spans whose rows wait to be counted."),
    SelfMetric(
        "driftmeter_values_dropped_total",
        "counter",
        "Values of accepted spans that were not kept.",
        {"reason": _closed(ValueReason)},
    ),
    SelfMetric("driftmeter_quarantined_batches", "gauge", "Batches in quarantine."),
    SelfMetric(
        "driftmeter_watermark_lag_seconds", "gauge", "How far the watermark of a model is behind the clock.", _MODEL
    ),
    SelfMetric(
        "driftmeter_internal_errors_total", "counter", "Faults of this service that were kept to one batch or window."
    ),
    SelfMetric("driftmeter_evaluate_seconds", "histogram", "Time to evaluate closed windows."),
    SelfMetric("driftmeter_models_without_baseline", "gauge", "Models that are not compared, for want of a baseline."),
    SelfMetric(
        "driftmeter_samples_total",
        "counter",
        "Samples by what became of them; produced is the sum of sent, dropped and queued.",
        {**_DESTINATION, "outcome": _closed(SampleOutcome)},
    ),
    SelfMetric(
        "driftmeter_samples_dropped_total",
        "counter",
        "Samples that were dropped, by reason.",
        {**_DESTINATION, "reason": _closed(DropReason)},
    ),
    SelfMetric("driftmeter_queue_samples", "gauge", "Samples waiting to be sent or being sent.", _DESTINATION),
    SelfMetric("driftmeter_export_seconds", "histogram", "Time of one attempt to send a request.", _DESTINATION),
    SelfMetric("driftmeter_export_retries_total", "counter", "Attempts that were not the first one.", _DESTINATION),
)
"""All metrics of the service about itself."""

_BY_NAME = {metric.name: metric for metric in SELF_METRICS}


class Telemetry:
    """The service's metrics about itself, one object per process, in a registry of its own.

    Counts that belong together are moved inside `moving()`, so that sums such as
    `produced = queued + sent + dropped` hold in every scrape.
    """

    def __init__(self, version: str = "") -> None:
        self.registry = CollectorRegistry()
        self._moving = threading.RLock()
        self.requests = self._counter("driftmeter_requests_total")
        self.requests_refused = self._counter("driftmeter_requests_refused_total")
        self.credentials_reloads = self._counter("driftmeter_credentials_reloads_total")
        self.received_bytes = self._counter("driftmeter_received_bytes_total")
        self.in_flight_bytes = self._gauge("driftmeter_in_flight_bytes")
        self.spans = self._counter("driftmeter_spans_total")
        self.in_flight_spans = self._gauge("driftmeter_in_flight_spans")
        self.rows = self._counter("driftmeter_rows_total")
        self.pending_rows = self._gauge("driftmeter_pending_rows")
        self.values_dropped = self._counter("driftmeter_values_dropped_total")
        self.quarantined_batches = self._gauge("driftmeter_quarantined_batches")
        self.watermark_lag_seconds = self._gauge("driftmeter_watermark_lag_seconds")
        self.internal_errors = self._counter("driftmeter_internal_errors_total")
        self.evaluate_seconds = self._histogram("driftmeter_evaluate_seconds")
        self.models_without_baseline = self._gauge("driftmeter_models_without_baseline")
        self.samples = self._counter("driftmeter_samples_total")
        self.samples_dropped = self._counter("driftmeter_samples_dropped_total")
        self.queue_samples = self._gauge("driftmeter_queue_samples")
        self.export_seconds = self._histogram("driftmeter_export_seconds")
        self.export_retries = self._counter("driftmeter_export_retries_total")
        self._gauge("driftmeter_build_info").set(1, version=version)

    @contextmanager
    def moving(self) -> Iterator[None]:
        """Hold back scrapes while several counts change together; keep the body short."""
        with self._moving:
            yield

    def expose(self) -> str:
        """All of these metrics in Prometheus' text format 0.0.4."""
        with self._moving:
            return generate_latest(_WithoutCreated(self.registry)).decode()

    def _counter(self, name: str) -> CounterFamily:
        declared = _BY_NAME[name]
        return CounterFamily(name, declared.labels, declared.description, self.registry)

    def _gauge(self, name: str) -> GaugeFamily:
        declared = _BY_NAME[name]
        return GaugeFamily(name, declared.labels, declared.description, self.registry)

    def _histogram(self, name: str) -> HistogramFamily:
        declared = _BY_NAME[name]
        return HistogramFamily(name, declared.labels, declared.description, self.registry)


class _WithoutCreated:
    """A view of a registry without the `_created` series, which would double the number of series for little."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        """Families as the library's own exposition reads them."""
        for family in self._registry.collect():
            family.samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
            yield family
