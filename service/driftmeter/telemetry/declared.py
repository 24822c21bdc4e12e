"""Every metric of the service about itself, declared once."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from driftmeter.telemetry.families import Labels
from driftmeter.telemetry.outcomes import (
    Credentials,
    Destination,
    DropReason,
    GivenUpReason,
    QuarantineDropReason,
    QuarantineStage,
    RefusalReason,
    ReloadResult,
    RemovalReason,
    RequestResult,
    RowOutcome,
    SampleOutcome,
    SnapshotResult,
    SpanOutcome,
    SpanReason,
    ValueReason,
    WithheldReason,
)

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
    SelfMetric(
        "driftmeter_spans_without_identity_total",
        "counter",
        "Spans and log records without valid ids, told apart by their prediction id or content.",
    ),
    SelfMetric("driftmeter_keys", "gauge", "Span keys that are held to find duplicates."),
    SelfMetric("driftmeter_keys_bytes", "gauge", "Memory that span keys take."),
    SelfMetric("driftmeter_quarantined_batches", "gauge", "Requests and batches in quarantine."),
    SelfMetric(
        "driftmeter_quarantined_total",
        "counter",
        "Requests and batches that were put into quarantine, by the stage that could not digest them.",
        {"stage": _closed(QuarantineStage)},
    ),
    SelfMetric(
        "driftmeter_quarantine_dropped_total",
        "counter",
        "Spans in requests and batches that left the quarantine without being taken in.",
        {"reason": _closed(QuarantineDropReason)},
    ),
    SelfMetric("driftmeter_journal_appended_bytes_total", "counter", "Bytes written to the journal."),
    SelfMetric(
        "driftmeter_journal_commits_total",
        "counter",
        "Times that the journal was flushed to disk, for many requests each.",
    ),
    SelfMetric("driftmeter_journal_commit_seconds", "histogram", "Time of one flush of the journal."),
    SelfMetric(
        "driftmeter_journal_bytes",
        "gauge",
        "Bytes of the journal that no snapshot covers or that are not archived yet.",
    ),
    SelfMetric(
        "driftmeter_journal_cut_bytes_total",
        "counter",
        "Bytes of entries half written at a crash, cut at a start; no sender was told that they were taken.",
    ),
    SelfMetric(
        "driftmeter_journal_lost_entries_total", "counter", "Damaged entries passed over because of `--accept-loss`."
    ),
    SelfMetric("driftmeter_snapshot_seconds", "histogram", "Time to write a snapshot of state."),
    SelfMetric(
        "driftmeter_snapshots_total",
        "counter",
        "Snapshots of state by what became of them.",
        {"result": _closed(SnapshotResult)},
    ),
    SelfMetric("driftmeter_snapshot_age_seconds", "gauge", "Time since the newest snapshot of state was begun."),
    SelfMetric("driftmeter_archived_rows_total", "counter", "Rows written to the archive."),
    SelfMetric("driftmeter_archive_bytes", "gauge", "Bytes of the archive."),
    SelfMetric(
        "driftmeter_archive_removed_bytes_total",
        "counter",
        "Bytes of the archive that were removed, by reason.",
        {"reason": _closed(RemovalReason)},
    ),
    SelfMetric(
        "driftmeter_watermark_lag_seconds", "gauge", "How far the watermark of a model is behind the clock.", _MODEL
    ),
    SelfMetric(
        "driftmeter_internal_errors_total", "counter", "Faults of this service that were kept to one batch or window."
    ),
    SelfMetric("driftmeter_evaluate_seconds", "histogram", "Time to evaluate closed windows."),
    SelfMetric("driftmeter_models_without_baseline", "gauge", "Models that are not compared, for want of a baseline."),
    SelfMetric(
        "driftmeter_models_without_version",
        "gauge",
        "Models that are not compared with another version as configured: it has no rows, or other bins.",
    ),
    SelfMetric(
        "driftmeter_model_baseline_info",
        "gauge",
        "Always 1; the labels say with which baseline a model is compared. `provisional` ones carry no verdict yet.",
        {**_MODEL, "baseline": _OPEN, "hash": _OPEN, "provisional": _closed(("true", "false"))},
    ),
    SelfMetric(
        "driftmeter_baseline_reloads_total",
        "counter",
        "Baseline files that were new or had changed, by whether they could be used.",
        {"result": _closed(ReloadResult)},
    ),
    SelfMetric(
        "driftmeter_windows_given_up_total",
        "counter",
        "Windows whose rows are not compared, since the model's baseline or windows are others now, by reason.",
        {"reason": _closed(GivenUpReason)},
    ),
    SelfMetric(
        "driftmeter_samples_withheld_total",
        "counter",
        "Values of evaluated windows that are sent nowhere, by reason; they are not among those produced.",
        {"reason": _closed(WithheldReason)},
    ),
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
