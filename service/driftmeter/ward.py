"""What becomes of what a stage cannot digest: set aside on disk, said in the journal and in the log, and counted."""

import logging
from collections.abc import Callable, Iterator
from contextlib import suppress

from driftmeter.accounts import Accounts
from driftmeter.columnar.count import count_entries
from driftmeter.errors import DamagedError, MalformedError, TransientError
from driftmeter.journal.entries import BatchEntry, QuarantinedEntry, RetriedEntry
from driftmeter.journal.quarantine import Identity, Item, Origin, Poison
from driftmeter.journal.store import Journal
from driftmeter.model.bundle import Tree
from driftmeter.model.receipt import Receipt
from driftmeter.model.request import Request
from driftmeter.model.stored import Stored
from driftmeter.telemetry.logs import fields
from driftmeter.telemetry.metrics import QuarantineDropReason, Telemetry

_LOG = logging.getLogger(__name__)


class Ward:
    """Puts requests and batches into quarantine.

    Args:
        journal: Whose quarantine it is.
        accounts: Where spans are counted.
        telemetry: Where the quarantine's size is shown.
        now_ns: The time.
    """

    def __init__(self, journal: Journal, accounts: Accounts, telemetry: Telemetry, now_ns: Callable[[], int]) -> None:
        self._journal = journal
        self._accounts = accounts
        self._telemetry = telemetry
        self._now_ns = now_ns
        self._retried: set[Identity] = set()  # Tried again, and may still stand in quarantine after a crash.
        self._held: set[Origin] = set()  # Batches of the journal that are counted nowhere but in quarantine.
        self._unwritten: list[QuarantinedEntry] = []  # What the journal does not say yet of these.

    def take_request(self, request: Request, error: Exception) -> Receipt | MalformedError | TransientError:
        """A request that cannot be decoded: kept on disk, its sender has done its part; returns its outcome."""
        _LOG.error("request quarantined after an internal error", exc_info=error)
        try:
            spans = count_entries(request)
            self.set_aside(request, spans, error)
            entry = QuarantinedEntry(0, 0, spans)
            self._journal.append(entry)
            self._journal.commit()
        except (MalformedError, TransientError) as refusal:
            return refusal
        self.account(entry)
        return Receipt(spans, "quarantined after an internal error; the service's log says more")

    def take_unwritten(self, batch: BatchEntry, error: Exception) -> QuarantinedEntry:
        """A batch that could not be looked through for duplicates.

        Returns:
            The entry that was appended for it, to be accounted once it is committed. Raises TransientError.
        """
        self._say(batch, error)
        self.set_aside(batch, batch.spans, error)
        entry = QuarantinedEntry(0, 1, batch.spans)
        self._journal.append(entry)
        return entry

    def take_written(self, entry: QuarantinedEntry, batch: BatchEntry, error: Exception) -> int:
        """A batch of the journal that cannot be counted; returns its spans. `write_down` says so in the journal."""
        self._say(batch, error)
        origin = Origin(entry.sequence, entry.batch)
        try:
            self.set_aside(batch, entry.spans, error, origin)
        except TransientError as problem:  # Not said in the journal: a start before the next snapshot tries it again.
            _LOG.error("the batch could not be put into quarantine: %s", problem)
            self._telemetry.quarantine_dropped.add(entry.spans, reason=QuarantineDropReason.DISK)
        else:
            self._held.add(origin)
            self._unwritten.append(entry)
        self.account(entry)
        return entry.spans

    def write_down(self) -> None:
        """Say in the journal what went into quarantine, as far as it does not say so yet. Raises TransientError.

        Until it is written, a start may count what is in quarantine: nothing must be tried again before.
        """
        if not self._unwritten:
            return
        for entry in self._unwritten:
            self._journal.append(entry)
        self._journal.commit()
        self._unwritten.clear()

    def recall(self, entry: QuarantinedEntry) -> None:
        """The journal says what went into quarantine; `account` counts it where that is not done yet."""
        if entry.sequence:
            self._held.add(Origin(entry.sequence, entry.batch))
        self._unwritten = [each for each in self._unwritten if each != entry]

    def set_aside(self, content: Poison, spans: int, error: Exception, origin: Origin | None = None) -> None:
        """Put something into quarantine, where the oldest gives way. Raises TransientError."""
        dropped = self._journal.quarantine.keep(content, spans, error, self._now_ns(), origin)
        self._telemetry.quarantine_dropped.add(dropped, reason=QuarantineDropReason.SIZE)

    def retries(self) -> Iterator[Item]:
        """What is to be tried again, but for what is counted already; `end_retry` takes each out.

        Only after `write_down`. Raises TransientError.
        """
        for item in self._journal.quarantine.retries():
            if item.identity not in self._retried if item.origin is None else item.origin in self._held:
                yield item
            else:
                self.end_retry(item)
                _LOG.warning("number %s in quarantine was counted already, and is not tried again", item.number)
        self._retried.clear()
        self._forget_dropped()
        self.show()

    def note_retry(self, entry: RetriedEntry) -> None:
        """Something was tried again, as the journal says: not a second time, though it may still be in quarantine."""
        if entry.sequence:
            self._held.discard(Origin(entry.sequence, entry.batch))
        else:
            self._retried.add(Identity(entry.number, entry.time_ns))

    def end_retry(self, item: Item) -> None:
        """Take out of quarantine what was tried again. Raises TransientError: the next `retries` does so again."""
        self._journal.quarantine.let_go(item)

    def _forget_dropped(self) -> None:
        """Batches that are not in quarantine any more will never be tried again."""
        with suppress(OSError):
            gone = self._held - self._journal.quarantine.origins()
            if gone:  # A file that is given another name just now may be in no list: one look is not enough.
                gone -= self._journal.quarantine.origins()
            self._held -= gone

    def state(self) -> Tree:
        """What is known of the quarantine, for `restore`."""
        return {
            "retried": [[*identity] for identity in self._retried],
            "held": [[*origin] for origin in sorted(self._held)],
            "unwritten": [[*entry] for entry in self._unwritten],
        }

    def restore(self, tree: Tree) -> None:
        """Take over a state. Raises DamagedError when it is none."""
        state = Stored(tree)
        self._retried = {Identity(*each) for each in _integers(state, "retried", 2)}
        self._held = {Origin(*each) for each in _integers(state, "held", 2)}
        self._unwritten = [QuarantinedEntry(*each) for each in _integers(state, "unwritten", 3)]

    def account(self, entry: QuarantinedEntry) -> None:
        """Count what an entry says; it is on disk."""
        self._accounts.quarantine(entry)
        self.show()

    def show(self) -> None:
        """Show how much is in quarantine."""
        with suppress(OSError):
            self._telemetry.quarantined_batches.set(len(self._journal.quarantine))

    def _say(self, batch: BatchEntry, error: Exception) -> None:
        said = fields(model=batch.predictions.key.model, spans=batch.spans)
        _LOG.error("batch quarantined after an internal error", exc_info=error, extra=said)


def _integers(state: Stored, name: str, length: int) -> Iterator[list[int]]:
    """Items of a list, each a list of so many integers."""
    for item in state.items(name):
        if not isinstance(item, list) or len(item) != length:
            raise DamagedError(f"stored state has something else in the place of an item of {name!r}")
        numbers = [each for each in item if type(each) is int]
        if len(numbers) != length:
            raise DamagedError(f"stored state has something else than integers in {name!r}")
        yield numbers
