"""A pipeline over a journal on a file system that fails when told to, which can be started again at any time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeAlias

import numpy as np

from archive_samples import NestedFiles
from driftmeter.baseline.book import BaselineBook
from driftmeter.config import Config
from driftmeter.errors import DamagedError, DriftmeterError
from driftmeter.export.evaluated import EvaluatedWindow
from driftmeter.journal.store import DiskJournal, Journal, MemoryJournal
from driftmeter.model.baseline import Baseline
from driftmeter.model.predictions import ModelKey
from driftmeter.model.receipt import Receipt
from driftmeter.model.request import Request
from driftmeter.model.stored import Stored
from driftmeter.model.window_counts import WindowCounts
from driftmeter.model.windows import parse_duration_ns
from driftmeter.pipeline import Listeners, Outcome, Pipeline
from driftmeter.telemetry.metrics import Telemetry
from driftmeter.watched import WatchedModel
from export_samples import StillClock
from faulty_files import FaultyFiles, dice
from service_process import Metrics, assert_ledger_holds
from watched_pipeline import START_NS

Name: TypeAlias = tuple[ModelKey, str, int, str]
"""A window: its model, its length, its start, or its number when it is one of rows, and its segment."""

LEDGER = (
    "driftmeter_spans_total",
    "driftmeter_in_flight_spans",
    "driftmeter_rows_total",
    "driftmeter_pending_rows",
    "driftmeter_values_dropped_total",
    "driftmeter_spans_without_identity_total",
    "driftmeter_quarantined_total",
)
"""Metrics that a restart does not change."""


@dataclass
class Seen:
    """What came out of all lives of a pipeline.

    Attributes:
        counts: The counts of each evaluation, as bytes, by window and revision.
        evaluated: What was said of it.
    """

    counts: dict[tuple[Name, int], bytes] = field(default_factory=dict)
    evaluated: dict[tuple[Name, int], EvaluatedWindow] = field(default_factory=dict)

    def final(self) -> dict[Name, bytes]:
        """The counts of each window's last evaluation."""
        return {name: self.counts[name, revision] for name, revision in sorted(self.counts, key=lambda each: each[1])}

    def note(self, window: WindowCounts, key: ModelKey, layout: Any) -> None:
        """Keep the counts of an evaluation; one that is made again after a crash has to be the same."""
        dense = window.counts.dense(layout)
        parts = (dense.rows, dense.bins, dense.tallies, dense.sums, dense.extremes)
        content = b"".join(np.ascontiguousarray(part).tobytes() for part in parts)
        place = (_name(key, window.window.name, window.start_ns, window.index, window.segment), window.revision)
        assert self.counts.setdefault(place, content) == content, f"{place} was evaluated twice and differs"

    def note_evaluated(self, window: EvaluatedWindow) -> None:
        """Keep what was said of it."""
        name = _name(window.key, window.window.name, window.start_ns, window.window_index, window.segment)
        place = (name, window.revision)
        before = self.evaluated.setdefault(place, window)
        assert before.findings.equals(window.findings), f"{place} was judged twice and differs"
        assert before.quality.equals(window.quality)


def _name(key: ModelKey, window: str, start_ns: int | None, index: int, segment: str) -> Name:
    by_rows = window.endswith("rows") or start_ns is None
    return key, window, index if by_rows or start_ns is None else start_ns, segment


@dataclass
class Restarting:
    """A pipeline with its journal, its clock, and all it says over all its lives.

    Attributes:
        config: Parts of the configuration, as in the YAML file.
        baselines: Baselines from files.
        directory: Of its state; None keeps nothing, and it must not be restarted then.
        files: The file system that its state is on.
        clock: The time, which goes on over restarts.
    """

    config: Mapping[str, Any]
    baselines: Sequence[Baseline] = ()
    directory: Path | None = None
    files: FaultyFiles = field(default_factory=NestedFiles)
    clock: StillClock = field(default_factory=lambda: StillClock(START_NS))
    seen: Seen = field(default_factory=Seen)
    accept_loss: bool = False
    starts: int = 0

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Begin a life: take over the newest snapshot, do again what came after it."""
        self.starts += 1
        below: int | None = None
        while True:
            self.telemetry = Telemetry()
            self.journal = self._open(below)
            book = BaselineBook(self.baselines)
            listeners = Listeners(on_evaluated=self.seen.note_evaluated)
            config = Config.model_validate(self.config)
            self.pipeline = Pipeline(config, book, self.journal, self.telemetry, self.clock, listeners)
            self._spy()
            journal = self.journal
            if not isinstance(journal, DiskJournal):
                return
            try:
                if journal.tree is not None:
                    self.pipeline.restore(Stored(journal.tree).tree("pipeline"))
            except DamagedError:
                below = journal.covered
                self.pipeline.close()
                journal.close()
                continue
            journal.release_tree()
            self.pipeline.replay(journal.replay(), journal.quarantined())
            self.pipeline.settle()
            return

    def _open(self, below: int | None) -> Journal:
        if self.directory is None:
            return MemoryJournal()
        config = Config.model_validate(self.config).journal
        accept_loss, files = self.accept_loss, self.files
        return DiskJournal(
            self.directory, config, self.telemetry, self.clock, accept_loss=accept_loss, below=below, files=files
        )

    def _spy(self) -> None:
        publish = self.pipeline._due._publish

        def spy(model: WatchedModel, window: WindowCounts) -> None:
            assert model.baseline is not None
            self.seen.note(window, model.key, model.baseline.layout)
            publish(model, window)

        self.pipeline._due._publish = spy  # type: ignore[method-assign]

    def accept(self, *requests: Request, settle: bool = True) -> list[Outcome]:
        """Take requests together, and do what waits after their answers."""
        outcomes = self.pipeline.accept(requests)
        if settle:
            self.pipeline.settle()
        return outcomes

    def take(self, *requests: Request) -> list[Receipt]:
        """The same for requests that must be taken."""
        taken = []
        for outcome in self.accept(*requests):
            assert not isinstance(outcome, DriftmeterError), outcome
            taken.append(outcome)
        return taken

    def tick(self, seconds: float = 0, *, revise: bool = True) -> None:
        """Let time pass."""
        self.clock.advance(seconds)
        self.pipeline.tick(revise=revise)
        self.pipeline.settle()

    def snapshot(self) -> None:
        """Take a snapshot, and put into the archive what is not needed any more."""
        journal = self.journal
        assert isinstance(journal, DiskJournal)
        pending = journal.begin_snapshot({"pipeline": self.pipeline.state()})
        journal.write_snapshot(pending)
        journal.finish_snapshot(pending)
        for segment in journal.superseded():
            journal.archive(segment)
            journal.forget(segment)
        journal.trim_archive()

    def kill(self, power_failure: int | None = None) -> None:
        """End its life at once; with a seed, the machine stops too, and what was not synced may be gone."""
        self.pipeline.close()
        journal = self.journal
        assert isinstance(journal, DiskJournal)
        journal._lock.release()
        journal.blobs.close()
        if power_failure is None:
            self.files.restart()
        else:
            self.files = self.files.after_power_failure(dice(power_failure))

    def __enter__(self) -> Self:
        """Itself, for the length of a block."""
        return self

    def __exit__(self, *_: object) -> None:
        """End its life, if it has one."""
        self.pipeline.close()
        if isinstance(self.journal, DiskJournal):
            self.journal._lock.release()

    def restart(self, power_failure: int | None = None) -> None:
        """End its life and begin the next."""
        self.kill(power_failure)
        self.start()

    def close_all_windows(self) -> dict[Name, bytes]:
        """Let so much time pass that every window by time is over; returns the last counts of each."""
        lateness_ns = parse_duration_ns(Config.model_validate(self.config).window.allowed_lateness)
        for _ in range(3):
            self.tick(3_600 + lateness_ns // 10**9)
        return self.seen.final()

    def ledger(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        """All counts of the ledger but zeros."""
        metrics = Metrics.parse(self.telemetry.expose())
        found = {(name, labels): value for name in LEDGER for labels, value in metrics.values(name).items()}
        return {each: value for each, value in found.items() if value}

    def rows(self, outcome: str) -> int:
        """Spans of this outcome."""
        return int(Metrics.parse(self.telemetry.expose()).total("driftmeter_rows_total", outcome=outcome))

    def spans(self, outcome: str) -> int:
        """Spans of this outcome, whatever the reason."""
        return int(Metrics.parse(self.telemetry.expose()).total("driftmeter_spans_total", outcome=outcome))

    def assert_ledger_holds(self) -> None:
        """Every span and row is accounted for; nothing is in flight between requests."""
        assert_ledger_holds(Metrics.parse(self.telemetry.expose()))
        assert self.telemetry.in_flight_spans.value() == 0
