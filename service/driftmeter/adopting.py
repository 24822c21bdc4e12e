"""Baselines taken into use: those that are learned, and files that are new or have changed.

    learned ──► LearnedEntry ──┐
                               ├─► the model compares with it from then on ─► rows that waited are counted
    file read ► BaselineEntry ─┘

What is written down is enough to do the same again in a replay.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

from driftmeter.accounts import Accounts
from driftmeter.baseline.book import BaselineBook, ChangedFiles
from driftmeter.baseline.file import baseline_from_bytes, write_baseline
from driftmeter.baseline.learning import Learning
from driftmeter.due import DueWindows
from driftmeter.errors import BaselineError, DamagedError
from driftmeter.intake import Intake
from driftmeter.journal.archive_layout import encoded_name
from driftmeter.journal.entries import BaselineEntry, Entry, LearnedEntry
from driftmeter.learner import Learner
from driftmeter.model.baseline import Baseline
from driftmeter.model.predictions import ModelKey, Predictions
from driftmeter.telemetry.logs import fields
from driftmeter.telemetry.metrics import GivenUpReason, ReloadResult, RowOutcome, Telemetry
from driftmeter.watched import Added, WatchedModel, spans_in

LEARNED_DIRECTORY = "learned"
"""Where learned baselines are written, in the state directory; named after model, version and stage."""

_LOG = logging.getLogger(__name__)
_Result = TypeVar("_Result")


class Attempt(Protocol):
    """Does something and keeps a fault in it to one model; the text says what failed."""

    def __call__(self, what: str, key: ModelKey, work: Callable[[], _Result], /) -> _Result | None:
        """What came of it; None when it failed."""
        ...


@dataclass(frozen=True, slots=True)
class Around:
    """What of the pipeline a baseline touches.

    Attributes:
        models: All there are.
        intake: Told what kind of values columns hold.
        due: Where windows wait for their evaluation.
        accounts: Where spans are counted.
        attempt: Keeps faults to one model.
        write_down: Puts an entry into the journal, at once or with those that come next.
        now_ns: The time.
    """

    models: Mapping[ModelKey, WatchedModel]
    intake: Intake
    due: DueWindows
    accounts: Accounts
    attempt: Attempt
    write_down: Callable[[Entry], None]
    now_ns: Callable[[], int]


class Adopting:
    """Puts baselines to use.

    Args:
        book: Baselines from files; it is added to.
        learner: What learns baselines.
        telemetry: Where is counted.
        around: What of the pipeline a baseline touches.
        directory: The service's state directory, in which learned baselines are written for people to look at; None
            writes none.
    """

    def __init__(
        self, book: BaselineBook, learner: Learner, telemetry: Telemetry, around: Around, directory: Path | None
    ) -> None:
        self._book = book
        self._learner = learner
        self._telemetry = telemetry
        self._around = around
        self._learned = None if directory is None else directory / LEARNED_DIRECTORY
        self._shown: dict[ModelKey, dict[str, str]] = {}

    def anchor(self, key: ModelKey, other_version: str | None) -> Baseline | None:
        """The baseline that gives the bins: of the version that a model is compared with, or its own."""
        if other_version not in (None, key.version):
            other = self._around.models.get(key._replace(version=other_version or ""))
            found = other.baseline if other else self._book.find(key.model, other_version or "")
            if found is not None:
                return found.labelled(key.model, key.version, found.name)
            _LOG.warning(
                "the version to compare with has no baseline yet: this one is counted in bins of its own, and not "
                "compared with it",
                extra=fields(model=key.model, version=key.version, other_version=other_version),
            )
        return self._book.find(key.model, key.version)

    # What was learned.

    def take_learned(self, *, wait: bool) -> None:
        """Put baselines to use, in the order in which they are learned; rows that teach nothing are not kept."""
        for learning, result in self._learner.learned(wait=wait):
            baseline = self._around.attempt("no baseline could be learned", learning.key, result)
            now_ns = self._around.now_ns()
            self._around.write_down(LearnedEntry(learning.key, learning.rows if baseline else 0, now_ns))
            self._take_over(learning, baseline, now_ns)

    def learn_again(self, entry: LearnedEntry) -> None:
        """Do what a learned baseline did before a restart."""
        model = self._around.models.get(entry.key)
        learning = model.learning if model else None
        if learning is None:
            return
        task = learning.task()
        baseline = self._around.attempt("no baseline could be learned", entry.key, task) if entry.rows else None
        self._take_over(learning, baseline, entry.now_ns)

    def _take_over(self, learning: Learning, baseline: Baseline | None, now_ns: int) -> None:
        model = self._around.models[learning.key]
        if model.learning is not learning:  # A file came first.
            return
        if baseline is None:
            self._around.accounts.give_up(sum(map(spans_in, learning.forget())), RowOutcome.NOT_SCORED)
            return
        self._begin(model, learning, baseline, now_ns)
        self._anchor_again(model.key.model, now_ns)  # Of versions that waited for this one.

    # Files.

    def change(self, files: ChangedFiles) -> None:
        """Files were looked at: those that are new or have changed take effect."""
        for mistake in files.mistakes:
            self._telemetry.baseline_reloads.add(result=ReloadResult.FAILED)
            _LOG.warning("a changed baseline file cannot be used, what was read before stays: %s", mistake)
        for path in files.gone:
            _LOG.warning("baseline file is gone: %s; models go on with it until the service is started anew", path)
        for file in files.read:
            self._telemetry.baseline_reloads.add(result=ReloadResult.OK)
            _LOG.info("baseline file read: %s", file.path, extra=fields(content=file.baseline.content_hash[:16]))
            now_ns = self._around.now_ns()
            self._around.write_down(BaselineEntry(file.content, now_ns))
            self._put(file.baseline, now_ns)

    def change_again(self, entry: BaselineEntry) -> None:
        """Do what a changed file did before a restart."""
        try:
            self._put(baseline_from_bytes(entry.content), entry.now_ns)
        except DamagedError as error:
            _LOG.warning("a baseline in the journal cannot be used any more: %s", error)

    def _put(self, baseline: Baseline, now_ns: int) -> None:
        """A baseline for all models that it is the nearest for."""
        self._book.put(baseline)
        self._anchor_again(baseline.model, now_ns)

    def _anchor_again(self, name: str, now_ns: int) -> None:
        """Each version and stage of a model takes the baseline that is the nearest for it now."""
        for key, model in self._around.models.items():
            if key.model != name:
                continue
            found = self.anchor(key, model.other_version)
            if found is None or (model.baseline and model.baseline.content_hash == found.content_hash):
                continue
            if model.learning is not None:
                self._begin(model, model.learning, found, now_ns)
            else:
                self._around.attempt("a baseline was not put to use", key, partial(self._replace, model, found))

    def _replace(self, model: WatchedModel, baseline: Baseline) -> None:
        """Windows that are due were counted for the baseline that goes, and are evaluated with it."""
        self._around.due.finish(model)
        same = model.fingerprint == baseline.layout.fingerprint
        given_up = model.change_baseline(baseline)
        said = fields(model=model.key.model, version=model.key.version, windows_given_up=given_up)
        _LOG.info("the model is compared with another baseline from now on", extra=said)
        reason = GivenUpReason.OTHER_SEGMENTS if same else GivenUpReason.OTHER_BINS
        self._telemetry.windows_given_up.add(given_up, reason=reason)
        self._around.intake.declare(baseline)
        self.show()

    # Both.

    def _begin(self, model: WatchedModel, learning: Learning, baseline: Baseline, now_ns: int) -> None:
        """A model that had none has a baseline now."""
        take = partial(model.take_baseline, baseline)
        waiting = self._around.attempt("a baseline was not put to use", model.key, take)
        if waiting is None:
            self._around.accounts.give_up(sum(map(spans_in, learning.forget())), RowOutcome.FAILED)
            return
        self._around.intake.declare(baseline)
        self.show()
        self.count_waiting(model, waiting, now_ns)

    def count_waiting(self, model: WatchedModel, waiting: Sequence[Predictions], now_ns: int) -> None:
        """Count rows that waited for a baseline."""
        around = self._around
        for batch in waiting:
            spans = spans_in(batch)
            add = partial(model.add, batch, spans, now_ns, waited=True)
            added = around.attempt("a batch was not counted", model.key, add)
            if added is None:
                around.accounts.give_up(spans, RowOutcome.FAILED)
                continue
            around.accounts.end_wait(spans, added)
            around.due.add(model, added.due)
            self.count_in_segments(model, added)
            around.due.add(model, around.attempt("windows were not closed", model.key, model.close))

    def count_in_segments(self, model: WatchedModel, added: Added) -> None:
        """Count rows that were counted by segment too."""
        if added.counted is not None:
            count = partial(model.add_to_segments, added.counted)
            self._around.due.add(model, self._around.attempt("segments were not counted", model.key, count))

    def show(self) -> None:
        """Say in metrics which models have which baseline, and how many have none."""
        models = self._around.models
        self._telemetry.models_without_baseline.set(sum(each.baseline is None for each in models.values()))
        self._telemetry.models_without_version.set(sum(self._lacks_version(*each) for each in models.items()))
        for key, model in models.items():
            baseline = model.baseline
            if baseline is None:
                continue
            labels = {
                **key._asdict(),
                "baseline": baseline.name,
                "hash": baseline.content_hash[:16],
                "provisional": "true" if model.is_provisional else "false",
            }
            before = self._shown.get(key)
            if before == labels:
                continue
            with self._telemetry.moving():
                if before is not None:
                    self._telemetry.model_baseline_info.remove(**before)
                self._telemetry.model_baseline_info.set(1, **labels)
            self._shown[key] = labels
            if baseline.name == "learned":
                self._write(key, baseline)

    def _lacks_version(self, key: ModelKey, model: WatchedModel) -> bool:
        """Whether a model is to be compared with a version that has no windows in the same bins."""
        if model.other_version is None:
            return False
        other = self._around.models.get(key._replace(version=model.other_version))
        return other is None or not model.fingerprint or other.fingerprint != model.fingerprint

    def _write(self, key: ModelKey, baseline: Baseline) -> None:
        """Write a learned baseline as a file. Nothing depends on it: the service has it in its state."""
        if self._learned is None:
            return
        name = "@".join(map(encoded_name, filter(None, key)))
        try:
            write_baseline(baseline, self._learned / f"{name}.parquet")
        except BaselineError as error:
            _LOG.warning("a learned baseline is not written for people to look at: %s", error)
