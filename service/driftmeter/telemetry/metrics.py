"""`Telemetry` holds the service's metrics about itself and is passed to the stages.

They are declared in `declared.py`, the values of their labels in `outcomes.py`.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric

from driftmeter.model.bundle import Tree
from driftmeter.model.predictions import ModelKey
from driftmeter.model.stored import Stored
from driftmeter.telemetry.declared import SELF_METRICS, SelfMetric
from driftmeter.telemetry.families import CounterFamily, GaugeFamily, HistogramFamily
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

__all__ = [
    "SELF_METRICS",
    "Credentials",
    "Destination",
    "DropReason",
    "GivenUpReason",
    "QuarantineDropReason",
    "QuarantineStage",
    "RefusalReason",
    "ReloadResult",
    "RemovalReason",
    "RequestResult",
    "RowOutcome",
    "SampleOutcome",
    "SelfMetric",
    "SnapshotResult",
    "SpanOutcome",
    "SpanReason",
    "Telemetry",
    "ValueReason",
    "WithheldReason",
]

_BY_NAME = {metric.name: metric for metric in SELF_METRICS}


class Telemetry:
    """The service's metrics about itself, one object per process, in a registry of its own.

    Counts that belong together are moved inside `moving()`, so that sums such as
    `produced = queued + sent + dropped` hold in every scrape.

    The ledger of spans and rows goes on over a restart (`state`, `restore`), and so do the samples of each outbox; all
    other counters count since the start of the process, as counters do.
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
        self.spans_without_identity = self._counter("driftmeter_spans_without_identity_total")
        self.keys = self._gauge("driftmeter_keys")
        self.keys_bytes = self._gauge("driftmeter_keys_bytes")
        self.quarantined_batches = self._gauge("driftmeter_quarantined_batches")
        self.quarantined = self._counter("driftmeter_quarantined_total")
        self.quarantine_dropped = self._counter("driftmeter_quarantine_dropped_total")
        self.journal_appended_bytes = self._counter("driftmeter_journal_appended_bytes_total")
        self.journal_commits = self._counter("driftmeter_journal_commits_total")
        self.journal_commit_seconds = self._histogram("driftmeter_journal_commit_seconds")
        self.journal_bytes = self._gauge("driftmeter_journal_bytes")
        self.journal_cut_bytes = self._counter("driftmeter_journal_cut_bytes_total")
        self.journal_lost_entries = self._counter("driftmeter_journal_lost_entries_total")
        self.snapshot_seconds = self._histogram("driftmeter_snapshot_seconds")
        self.snapshots = self._counter("driftmeter_snapshots_total")
        self.snapshot_age_seconds = self._gauge("driftmeter_snapshot_age_seconds")
        self.archived_rows = self._counter("driftmeter_archived_rows_total")
        self.archive_bytes = self._gauge("driftmeter_archive_bytes")
        self.archive_removed_bytes = self._counter("driftmeter_archive_removed_bytes_total")
        self.watermark_lag_seconds = self._gauge("driftmeter_watermark_lag_seconds")
        self.internal_errors = self._counter("driftmeter_internal_errors_total")
        self.evaluate_seconds = self._histogram("driftmeter_evaluate_seconds")
        self.models_without_baseline = self._gauge("driftmeter_models_without_baseline")
        self.models_without_version = self._gauge("driftmeter_models_without_version")
        self.model_baseline_info = self._gauge("driftmeter_model_baseline_info")
        self.baseline_reloads = self._counter("driftmeter_baseline_reloads_total")
        self.windows_given_up = self._counter("driftmeter_windows_given_up_total")
        self.samples_withheld = self._counter("driftmeter_samples_withheld_total")
        self.samples = self._counter("driftmeter_samples_total")
        self.samples_dropped = self._counter("driftmeter_samples_dropped_total")
        self.queue_samples = self._gauge("driftmeter_queue_samples")
        self.export_seconds = self._histogram("driftmeter_export_seconds")
        self.export_retries = self._counter("driftmeter_export_retries_total")
        self._gauge("driftmeter_build_info").set(1, version=version)
        self._ledger = (self.spans, self.rows, self.values_dropped, self.spans_without_identity, self.quarantined)
        self._waiting = (self.in_flight_spans, self.pending_rows)

    @contextmanager
    def moving(self) -> Iterator[None]:
        """Hold back scrapes while several counts change together; keep the body short."""
        with self._moving:
            yield

    def forget_model(self, key: ModelKey) -> None:
        """End the series that a model has of its own."""
        self.watermark_lag_seconds.remove(model=key.model, version=key.version, stage=key.stage)

    def state(self) -> Tree:
        """The ledger of spans and rows, for `restore`: to be taken where it stands for the entries applied so far."""
        with self._moving:
            return {
                "counters": {family.name: family.state() for family in self._ledger},
                "gauges": {family.name: family.value() for family in self._waiting},
            }

    def restore(self, tree: Tree) -> None:
        """Go on from a state: what was counted since this object was made is added to it.

        Raises:
            DamagedError: It is none.
        """
        counters, gauges = Stored(tree).member("counters"), Stored(tree).member("gauges")
        with self._moving:
            for counter in self._ledger:
                counter.restore(counters.tree(counter.name))
            for gauge in self._waiting:
                gauge.add(gauges.number(gauge.name))

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
