"""The ledger: every span is counted once on each side, at the moment at which its fate is on disk.

    received = in flight + ignored + rejected + quarantined + accepted
    accepted = pending + counted + duplicate + late + not scored + failed

Nothing is counted before it is on disk, so no counter ever steps back over a crash.
"""

from driftmeter.journal.entries import QuarantinedEntry, RowsEntry
from driftmeter.telemetry.metrics import QuarantineStage, RowOutcome, SpanOutcome, SpanReason, Telemetry
from driftmeter.watched import Added


class Accounts:
    """Moves the ledger's counters, so that its sums hold in every scrape.

    Args:
        telemetry: Where they are.
    """

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry

    def take_in(self, entry: RowsEntry) -> None:
        """A request is on disk: its fresh spans are in flight, the others have their fate."""
        telemetry = self._telemetry
        duplicates = sum(batch.duplicates for batch in entry.batches)
        with telemetry.moving():
            telemetry.spans.add(entry.received, outcome=SpanOutcome.RECEIVED, reason="")
            telemetry.spans.add(entry.ignored, outcome=SpanOutcome.IGNORED, reason=SpanReason.NOT_FEATURE_BEARING)
            for reason, spans in entry.rejected.items():
                telemetry.spans.add(spans, outcome=SpanOutcome.REJECTED, reason=reason)
            telemetry.spans.add(duplicates, outcome=SpanOutcome.ACCEPTED, reason="")
            telemetry.rows.add(duplicates, outcome=RowOutcome.DUPLICATE)
            telemetry.in_flight_spans.add(sum(batch.spans for batch in entry.batches))
        for reason, values in entry.dropped_values.items():
            telemetry.values_dropped.add(values, reason=reason)
        telemetry.spans_without_identity.add(sum(batch.without_identity for batch in entry.batches))

    def accept(self, spans: int, added: Added) -> None:
        """Fresh spans of one batch are counted or wait."""
        telemetry = self._telemetry
        with telemetry.moving():
            telemetry.in_flight_spans.add(-spans)
            telemetry.spans.add(spans, outcome=SpanOutcome.ACCEPTED, reason="")
            telemetry.pending_rows.add(added.waiting)
            telemetry.rows.add(spans - added.waiting - added.late, outcome=RowOutcome.COUNTED)
            telemetry.rows.add(added.late, outcome=RowOutcome.LATE)

    def quarantine(self, entry: QuarantinedEntry) -> None:
        """Spans went into quarantine: those of a batch in flight, or of what never came so far.

        An entry of sequence 0 is about a request that cannot be decoded, or, numbered 1, about a batch of one.
        """
        telemetry = self._telemetry
        before = QuarantineStage.DUPLICATES if entry.batch else QuarantineStage.DECODE
        telemetry.quarantined.add(stage=QuarantineStage.FOLD if entry.sequence else before)
        with telemetry.moving():
            if entry.sequence:
                telemetry.in_flight_spans.add(-entry.spans)
            else:
                telemetry.spans.add(entry.spans, outcome=SpanOutcome.RECEIVED, reason="")
            telemetry.spans.add(entry.spans, outcome=SpanOutcome.QUARANTINED, reason=SpanReason.EXCEPTION)

    def end_wait(self, spans: int, added: Added) -> None:
        """Spans that waited for a baseline are counted."""
        with self._telemetry.moving():
            self._telemetry.pending_rows.add(-spans)
            self._telemetry.rows.add(spans - added.late, outcome=RowOutcome.COUNTED)
            self._telemetry.rows.add(added.late, outcome=RowOutcome.LATE)

    def give_up(self, spans: int, outcome: RowOutcome) -> None:
        """Spans that waited are not counted."""
        with self._telemetry.moving():
            self._telemetry.pending_rows.add(-spans)
            self._telemetry.rows.add(spans, outcome=outcome)
