"""Another try for what is in quarantine, when an operator asks for it."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from driftmeter.clock import Clock
from driftmeter.errors import DriftmeterError, TransientError
from driftmeter.journal.entries import BatchEntry, Entry, RowsEntry
from driftmeter.journal.quarantine import Item
from driftmeter.journal.store import Journal
from driftmeter.model.predictions import ModelKey
from driftmeter.model.receipt import Receipt
from driftmeter.model.request import Request
from driftmeter.telemetry.metrics import Telemetry
from driftmeter.ward import Ward
from driftmeter.watched import WatchedModel

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Steps:
    """What the pipeline does with what comes out of quarantine.

    Attributes:
        accept: Takes requests as if they came from senders; an outcome for each.
        model_of: The state of a model.
        apply_rows: Counts an entry that is on disk.
        write_down: Puts an entry into the journal, at once or with those that come next.
    """

    accept: Callable[[Sequence[Request]], Sequence[Receipt | DriftmeterError]]
    model_of: Callable[[ModelKey], WatchedModel]
    apply_rows: Callable[[int, RowsEntry], int]
    write_down: Callable[[Entry], None]


class Retrying:
    """Takes things out of quarantine, each at most once.

    Args:
        journal: Where batches are written down anew.
        ward: Whose quarantine it is.
        telemetry: Where faults are counted.
        clock: The time.
        steps: What is done with them.
    """

    def __init__(self, journal: Journal, ward: Ward, telemetry: Telemetry, clock: Clock, steps: Steps) -> None:
        self._journal = journal
        self._ward = ward
        self._telemetry = telemetry
        self._clock = clock
        self._steps = steps

    def retry(self) -> None:
        """Try all that is to be tried again; what fails stays, and is tried again the next time."""
        try:
            for item in self._ward.retries():
                if self._retry(item):
                    self._ward.end_retry(item)
        except TransientError as error:
            _LOG.warning("not tried again yet: %s", error)

    def _retry(self, item: Item) -> bool:
        """Whether it came out of quarantine; nothing has changed when not. Raises TransientError."""
        try:
            if isinstance(item.content, BatchEntry):
                self._take_again(item, item.content)
            else:
                self._accept_again(item, item.content)
        except TransientError:
            raise
        except Exception:  # noqa: BLE001 - one fault must not keep the others from their try.
            self._telemetry.internal_errors.add()
            _LOG.exception("number %s stays in quarantine after an internal error", item.number)
            return False
        return True

    def _accept_again(self, item: Item, request: Request) -> None:
        (outcome,) = self._steps.accept([request])
        if isinstance(outcome, TransientError):
            raise outcome
        self._ward.note_retry(item.retried)
        self._steps.write_down(item.retried)

    def _take_again(self, item: Item, batch: BatchEntry) -> None:
        """A batch from quarantine. Where its spans are known already, its origin keeps it from coming twice."""
        model = self._steps.model_of(batch.predictions.key)
        batch, undo = batch._replace(duplicates=0), None
        if item.origin is None:
            try:
                fresh, undo = model.admit(batch.predictions)
            except TransientError:
                raise
            except Exception as error:  # noqa: BLE001 - the same batch once more, as it could not be looked through.
                _LOG.error("batch stays in quarantine after an internal error", exc_info=error)
                self._ward.set_aside(batch, batch.spans, error)
                self._ward.note_retry(item.retried)
                return
            batch = BatchEntry(fresh, batch.spans - undo.duplicates, undo.duplicates, 0)
        entry = RowsEntry(self._clock.now_ns(), batch.spans + batch.duplicates, 0, {}, {}, (batch,))
        try:
            sequence = self._journal.append(entry)
            self._journal.append(item.retried)
            self._journal.commit()
        except Exception:
            self._journal.abandon()
            if undo is not None:
                model.undo(undo)
            raise
        self._ward.note_retry(item.retried)
        self._steps.apply_rows(sequence, entry)
