"""The way of the data through the stages: the one module that knows their order.

    requests ─► columnar ─► drop duplicates ─► journal ─► (baseline: learn) ─► window ─► detect ─► listeners (export)
                                                 └ on disk: what follows can be done again after a crash

A deterministic machine: its state is a function of the entries of the journal, in their order. What may go one way or
another (the clock, when a baseline is learned, what fails) is written down before it has an effect, so that a replay
comes to the same state. One thread owns the state and does all but learning and calibrating; see `app.py`.

What a stage cannot digest is quarantined: one bad batch neither blocks its sender nor stops the service or its start.
"""

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias, TypeVar

from driftmeter.accounts import Accounts
from driftmeter.adopting import Adopting, Around
from driftmeter.baseline.book import BaselineBook, ChangedFiles
from driftmeter.clock import Clock
from driftmeter.config import Config
from driftmeter.due import DueWindows
from driftmeter.errors import MalformedError, TransientError
from driftmeter.export.evaluated import EvaluatedWindow
from driftmeter.intake import Failed, Intake, Taken, quarantined_message
from driftmeter.journal.entries import (
    BaselineEntry,
    BatchEntry,
    Entry,
    LearnedEntry,
    QuarantinedEntry,
    RetriedEntry,
    RowsEntry,
    TickEntry,
)
from driftmeter.journal.store import Journal
from driftmeter.learner import Learner
from driftmeter.methods.sampled import warm_up as warm_up_sampled
from driftmeter.model.bundle import Tree
from driftmeter.model.counts import PackedCounts
from driftmeter.model.predictions import ModelKey, Predictions
from driftmeter.model.receipt import Receipt
from driftmeter.model.request import Request
from driftmeter.model.stored import Stored
from driftmeter.model.window_counts import WindowCounts
from driftmeter.preparing import Preparing
from driftmeter.rehearsal import rehearse
from driftmeter.retrying import Retrying, Steps
from driftmeter.summary.embeddings import warm_up as warm_up_embeddings
from driftmeter.summary.fold import warm_up as warm_up_fold
from driftmeter.telemetry.logs import fields
from driftmeter.telemetry.metrics import Telemetry
from driftmeter.ward import Ward
from driftmeter.watched import Added, WatchedModel
from driftmeter.window.key_table import warm_up as warm_up_keys

BEHIND_MIN = 64
"""Windows that wait, beyond which changed baseline files are looked at later: a second or a few of evaluation."""

_LOG = logging.getLogger(__name__)
_Result = TypeVar("_Result")

Outcome: TypeAlias = Receipt | MalformedError | TransientError
"""What a request ends with: taken, no OTLP request, or to be sent again later."""


@dataclass(eq=False)
class Listeners:
    """Who is told what comes out; called on the pipeline's thread."""

    on_predictions: Callable[[Predictions], None] = lambda _: None
    on_evaluated: Callable[[EvaluatedWindow], None] = lambda _: None


class Pipeline:
    """State of all models, and what a request does to it. Not thread-safe: one thread owns it.

    Args:
        config: The service's configuration.
        baselines: Baselines from files.
        journal: Where what is accepted is written down first.
        telemetry: Where everything is counted.
        clock: The time.
        listeners: Who is told what comes out.
    """

    def __init__(
        self,
        config: Config,
        baselines: BaselineBook,
        journal: Journal,
        telemetry: Telemetry,
        clock: Clock,
        listeners: Listeners,
    ) -> None:
        self._config = config
        self._journal = journal
        self._telemetry = telemetry
        self._accounts = Accounts(telemetry)
        self._ward = Ward(journal, self._accounts, telemetry, clock.now_ns)
        self._models: dict[ModelKey, WatchedModel] = {}
        self._clock = clock
        self._listeners = listeners
        self._intake = Intake(config, baselines, self._model, self._models.__contains__)
        self._preparing = Preparing(clock)
        self._due = DueWindows(telemetry, clock, self._attempt, self._tell, self._beside, self._preparing)
        steps = Steps(self.accept, self._model, self._apply_rows, self._write_down)
        self._retrying = Retrying(journal, self._ward, telemetry, clock, steps)
        self._learner = Learner()
        around = Around(
            self._models, self._intake, self._due, self._accounts, self._attempt, self._write_down, self._now_ns
        )
        self._adopting = Adopting(baselines, self._learner, telemetry, around, journal.directory)
        self._by_data = config.window.clock == "data"
        self._replaying = False
        self.broken = False
        """Whether state is not what the journal's entries lead to any more: it must not be kept nor counted to."""
        self._unwritten: list[Entry] = []  # What took effect and is not on disk: after a full disk, or a replay.
        self._left_out: set[tuple[int, int]] = set()  # Batches that a replay does not count, as they are in quarantine.

    def warm_up(self) -> None:
        """Compile or load all kernels, so that the first request is as fast as any other."""
        self._intake.warm_up()
        warm_up_keys()
        warm_up_fold()
        warm_up_embeddings()
        warm_up_sampled()
        rehearse()

    # Requests.

    def accept(self, requests: Sequence[Request]) -> list[Outcome]:
        """Take OTLP requests: when it returns they are on disk and counted, or their senders are told why not."""
        if self.broken:
            return [TransientError("the service must be started anew")] * len(requests)
        outcomes: list[Outcome | None] = [None] * len(requests)
        taken: list[Taken] = []
        written_late = 0
        try:
            for each in self._intake.take(requests, self._now_ns()):
                if isinstance(each, Failed):
                    outcomes[each.place] = self._refuse(requests[each.place], each.error)
                else:
                    taken.append(each)
            written_late = self._append_unwritten()
            sequences = [self._write(each) for each in taken]
            self._journal.commit()
            del self._unwritten[:written_late]
        except TransientError as error:
            self._take_back(taken)
            return [outcome or error for outcome in outcomes]
        except Exception as error:  # noqa: BLE001 - one of the places that catch all: no poison, whatever it is.
            self._take_back(taken)
            return [outcome or self._take_alone(requests, at, error) for at, outcome in enumerate(outcomes)]
        for sequence, each in zip(sequences, taken, strict=True):
            quarantined = self._apply(sequence, each)
            for place, receipt in _receipts(each, quarantined):
                outcomes[place] = receipt
        return [outcome or Receipt() for outcome in outcomes]

    def _apply(self, sequence: int, taken: Taken) -> int:
        """Count what has just been put on disk; returns how many spans went into quarantine instead."""
        try:
            for aside in taken.set_aside:
                self._ward.account(aside)
            return self._apply_rows(sequence, taken.entry)
        except Exception:  # noqa: BLE001 - as above.
            # It is on disk, so it is acknowledged; what it should have led to, only a replay can tell now.
            _LOG.critical("state is behind the journal: the service must be started anew", exc_info=True)
            self.broken = True
            return 0

    def _write(self, taken: Taken) -> int:
        """Append what becomes of requests; returns the sequence of their entry, 0 when they are none."""
        sequence = self._journal.append(taken.entry) if taken.entry.received else 0
        taken.set_aside = [self._ward.take_unwritten(batch, error) for batch, error in taken.poisoned]
        return sequence

    def _take_back(self, taken: Sequence[Taken]) -> None:
        """Nothing of these requests is on disk, and nothing shall be."""
        self._journal.abandon()
        for each in reversed(taken):
            each.undo()

    def _take_alone(self, requests: Sequence[Request], place: int, error: Exception) -> Outcome:
        """A request by itself: one of those that came together fails, and nobody knows which."""
        if len(requests) == 1:
            return self._ward.take_request(requests[place], error)
        (outcome,) = self.accept([requests[place]])
        return outcome

    def _refuse(self, request: Request, error: Exception) -> Outcome:
        return error if isinstance(error, MalformedError) else self._ward.take_request(request, error)

    def _model(self, key: ModelKey) -> WatchedModel:
        model = self._models.get(key)
        if model is None:
            baseline = self._adopting.anchor(key, self._config.for_model(key).baseline.other_version)
            model = self._models[key] = WatchedModel(key, self._config, self._journal.blobs, baseline)
            if baseline is None:
                learn_rows = self._config.for_model(key).baseline.learn_rows
                _LOG.warning(
                    "model without a baseline: learning one from its first rows; scores will carry no verdict",
                    extra=fields(model=key.model, version=key.version, rows=learn_rows),
                )
            else:
                self._intake.declare(baseline)
            self._adopting.show()
        return model

    # What the entries of the journal do.

    def replay(
        self,
        entries: Iterable[tuple[int, Entry]],
        quarantined: frozenset[tuple[int, int]],
        give_up: Callable[[], bool] = lambda: False,
    ) -> int:
        """Do again what the journal's tail did, and go on from there; returns how many entries it had.

        Args:
            entries: What was written down, by sequence.
            quarantined: Sequence and number of the batches that went into quarantine: these are left out.
            give_up: Asked before each entry whether to stop there.

        Raises:
            TransientError: It was given up: nothing can be done with this pipeline.
        """
        self._replaying = True
        done = 0
        for sequence, entry in entries:
            if give_up():
                raise TransientError("recovery was given up: the service was told to stop")
            self._replay(sequence, entry, quarantined)
            done += 1
        self._replaying = False
        self._write_down()
        self._say_quarantined()
        self._left_out.clear()
        for model in self._models.values():
            if model.learning is not None and model.learning.enough:
                self._learner.begin(model.learning)
        self._ward.show()
        return done

    def _replay(self, sequence: int, entry: Entry, quarantined: frozenset[tuple[int, int]]) -> None:
        match entry:
            case RowsEntry():
                for batch in entry.batches:
                    self._attempt("keys were not noted", batch.predictions.key, partial(self._insert, batch))
                self._apply_rows(sequence, entry, quarantined)
            case TickEntry():
                self._tick(entry.now_ns, revise=entry.revise)
            case LearnedEntry():
                self._adopting.learn_again(entry)
            case BaselineEntry():
                self._adopting.change_again(entry)
            case QuarantinedEntry():
                self._ward.recall(entry)
                place = (entry.sequence, entry.batch)
                if not entry.sequence or place in self._left_out:  # Else a snapshot has it, or damage took its batch.
                    self._left_out.discard(place)
                    self._ward.account(entry)
            case RetriedEntry():
                self._ward.note_retry(entry)

    def _insert(self, batch: BatchEntry) -> None:
        predictions = batch.predictions
        model = self._model(predictions.key)
        self._intake.observe(predictions)
        model.insert(predictions)

    def _apply_rows(
        self, sequence: int, entry: RowsEntry, quarantined: frozenset[tuple[int, int]] = frozenset()
    ) -> int:
        """Count what is on disk; returns how many spans went into quarantine instead."""
        self._accounts.take_in(entry)
        failed = 0
        for number, batch in enumerate(entry.batches):
            if (sequence, number) in quarantined:
                self._left_out.add((sequence, number))
                continue
            if not batch.spans:  # All of it was duplicates.
                continue
            predictions = batch.predictions
            try:
                model = self._model(predictions.key)
                added = model.add(predictions, batch.spans, entry.now_ns)
            except Exception as error:  # noqa: BLE001 - one of the places that catch all: no poison, whatever it is.
                entry_of_it = QuarantinedEntry(sequence, number, batch.spans)
                failed += self._ward.take_written(entry_of_it, batch, error)
                continue
            self._accounts.accept(batch.spans, added)
            self._attempt(
                "what follows counting failed", model.key, partial(self._after_adding, model, predictions, added)
            )
        if failed and not self._replaying:
            self._say_quarantined()
        return failed

    def _say_quarantined(self) -> bool:
        """Say in the journal what went into quarantine; whether that is done. It may be done later."""
        try:
            self._ward.write_down()
        except Exception as error:  # noqa: BLE001 - as above; what is counted already must not fail for it.
            self._journal.abandon()
            _LOG.warning("what is in quarantine is not written down yet: %r", error)
            return False
        return True

    def _after_adding(self, model: WatchedModel, batch: Predictions, added: Added) -> None:
        self._due.add(model, added.due)
        self._adopting.count_in_segments(model, added)
        self._due.add(model, self._attempt("windows were not closed", model.key, model.close))
        count = partial(self._listeners.on_predictions, batch)
        self._attempt("predictions were not counted for export", model.key, count)
        learning = model.learning
        if learning is not None and learning.enough and not self._replaying:
            self._learner.begin(learning)
        self._note_lag(model)

    def tick(self, *, revise: bool) -> None:
        """Time has passed: close windows of idle models; with `revise`, evaluate changed windows again."""
        now_ns = self._now_ns()
        if self._tick(now_ns, revise=revise):
            self._write_down(TickEntry(now_ns, revise))
        self.tidy()
        self._adopting.show()
        self._telemetry.keys.set(sum(model.seen.keys for model in self._models.values()))
        self._telemetry.keys_bytes.set(sum(model.seen.memory_bytes for model in self._models.values()))
        self._journal.measure()

    def tidy(self) -> bool:
        """Put a piece of what is seldom looked at out of memory: some milliseconds; returns whether there is more."""
        left = [self._attempt("old keys were not put aside", key, model.tidy) for key, model in self._models.items()]
        return any(left)

    def _tick(self, now_ns: int, *, revise: bool) -> bool:
        """Whether anything came of it: a window is due, or a watermark has moved."""
        before, moved = len(self._due), False
        for key, model in self._models.items():
            watermark_ns = model.watermark_ns
            tick = partial(model.tick, now_ns, revise=revise)
            self._due.add(model, self._attempt("windows were not closed", key, tick))
            self._preparing.is_ready(model)  # Before a window is due, where there is time.
            moved |= model.watermark_ns != watermark_ns
        return moved or len(self._due) > before

    def retry_quarantined(self) -> None:
        """Take what an operator wants to be tried again, as if it came for the first time."""
        if self._say_quarantined():
            self._retrying.retry()

    # Work that waits until senders have their answers.

    @property
    def has_work(self) -> bool:
        """Whether there may be something for `work` to do; from any thread."""
        return bool(self._due) or self._learner.is_busy

    def work(self, budget_seconds: float) -> bool:
        """Do some of what may wait until senders have their answers: take over learned baselines, evaluate windows.

        Args:
            budget_seconds: Time after which nothing further is begun.

        Returns:
            Whether windows are left to evaluate.
        """
        self._adopting.take_learned(wait=False)
        return self._due.work(budget_seconds)

    def work_off(self, seconds: float | None = None) -> bool:
        """The same with windows that wait for what they are judged by, for so many seconds, or until none is left."""
        self._adopting.take_learned(wait=False)
        return self._due.work_off(seconds)

    def settle(self) -> None:
        """Do all that waits, the learning of baselines included."""
        self._adopting.take_learned(wait=True)
        self.work_off()

    def drain(self) -> None:
        """Evaluate what is left before stopping: everything for replays, only what is over for live traffic."""
        for model in list(self._models.values()):
            if self._by_data and model.learning is not None and model.learning.rows and not model.learning.under_way:
                self._learner.begin(model.learning)
        self._adopting.take_learned(wait=self._by_data)
        for key, model in list(self._models.items()):
            drain = partial(model.drain, everything=self._by_data)
            self._due.add(model, self._attempt("the last windows were not closed", key, drain))
        if self._by_data or self._journal.directory is None:
            while self._due.work(math.inf):
                pass
            if self._due.held_back:
                said = fields(windows=self._due.held_back)
                _LOG.warning("stopping once it is worked out what the last windows are judged by", extra=said)
            self.work_off()
        while self.work(math.inf):
            pass  # What waits for its level is evaluated after the next start.

    def hurry(self) -> None:
        """The service is to stop: windows that wait for their level hold it up no more; from any thread."""
        self._due.hurry()

    def close(self) -> None:
        """Begin to learn no more; what is being learned is not waited for."""
        self._learner.close()
        self._preparing.close()

    @property
    def is_behind(self) -> bool:
        """Whether so many windows wait that a model would be held up by evaluating its own at once; from any thread."""
        return self._preparing.is_busy or len(self._due) > BEHIND_MIN

    def reload(self, files: ChangedFiles) -> None:
        """Baseline files were looked at: those that are new or have changed take effect."""
        self._adopting.change(files)

    def _beside(self, model: WatchedModel, window: WindowCounts) -> PackedCounts | None:
        """What the version that a model is compared with has of a window by now."""
        other = self._models.get(model.key._replace(version=model.other_version)) if model.other_version else None
        return other.counted(window, model.fingerprint) if other else None

    def _tell(self, evaluated: EvaluatedWindow) -> None:
        self._listeners.on_evaluated(evaluated)

    # State.

    def state(self) -> Tree:
        """All of it, for `restore`: what the entries of the journal up to now have led to."""
        self._unwritten.clear()  # Their effect is in it; written behind it, they would have it twice.
        return {
            "intake": self._intake.state(),
            "models": [{"key": list(key), "state": model.state()} for key, model in self._models.items()],
            "due": self._due.state(),
            "ward": self._ward.state(),
            "telemetry": self._telemetry.state(),
        }

    def restore(self, tree: Tree) -> None:
        """Take over a state. Raises DamagedError when it is none."""
        state = Stored(tree)
        self._intake.restore(state.tree("intake"))
        self._telemetry.restore(state.tree("telemetry"))
        self._ward.restore(state.tree("ward"))
        for each in state.objects("models"):
            key = each.key("key")
            baseline = self._adopting.anchor(key, self._config.for_model(key).baseline.other_version)
            model = self._models[key] = WatchedModel(key, self._config, self._journal.blobs, baseline)
            waiting = model.restore(each.tree("state"), baseline)
            if model.baseline is not None:
                self._intake.declare(model.baseline)
            self._adopting.count_waiting(model, waiting, self._now_ns())
            for reason, windows in model.windows_given_up.items():
                self._telemetry.windows_given_up.add(windows, reason=reason)
        self._due.restore(state.objects("due"), self._models)
        self._adopting.show()

    # Helpers.

    def _now_ns(self) -> int:
        return self._clock.now_ns()

    def _note_lag(self, model: WatchedModel) -> None:
        if model.watermark_ns is not None:
            lag_seconds = (self._clock.now_ns() - model.watermark_ns) / 1e9
            self._telemetry.watermark_lag_seconds.set(lag_seconds, **model.key._asdict())

    def _write_down(self, *entries: Entry) -> None:
        """Put entries that no sender waits for into the journal, at once or with those that come next."""
        self._unwritten += entries
        if self._replaying or not self._unwritten:
            return
        try:
            written = self._append_unwritten()
            self._journal.commit()
            del self._unwritten[:written]
        except TransientError as error:
            self._journal.abandon()
            _LOG.warning("not written down yet: %s", error)

    def _append_unwritten(self) -> int:
        """Append what could not be written before, ahead of what follows from it; returns how many entries."""
        for entry in self._unwritten:
            self._journal.append(entry)
        return len(self._unwritten)

    def _attempt(self, what: str, key: ModelKey, work: Callable[[], _Result]) -> _Result | None:
        """Keeps a fault in what follows an acknowledgement to one model: said, counted, None, and work goes on."""
        try:
            return work()
        except Exception:  # noqa: BLE001 - as above; what was acknowledged cannot be refused any more.
            self._telemetry.internal_errors.add()
            said = fields(model=key.model, version=key.version, stage=key.stage)
            _LOG.exception("internal error: %s", what, extra=said)
            return None


def _receipts(taken: Taken, quarantined: int) -> Iterator[tuple[int, Receipt]]:
    """Answers to the requests of one entry. What went wrong with one of several is told all of them, as a warning."""
    rejected = taken.rejected + quarantined
    message = "; ".join([*taken.messages, *([quarantined_message(quarantined)] if quarantined else [])])
    alone = len(taken.places) == 1
    for place in taken.places:
        yield place, Receipt(rejected if alone else 0, message)
