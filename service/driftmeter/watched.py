"""What the service holds of one model: the spans it has seen, and its rows, counted or waiting for a baseline.

batch ─► admit (drop duplicates) ─► ... journal ... ─► add ─► windows ─► due windows ─► evaluate
└► learning, until there is a baseline
"""

import logging
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from driftmeter.baseline.derivation import Derivation
from driftmeter.baseline.file import baseline_from_bytes, baseline_to_bytes, hashed
from driftmeter.baseline.fitting import words
from driftmeter.baseline.learning import Learning
from driftmeter.config import Config
from driftmeter.detect.detector import Detector, Evaluation
from driftmeter.detect.preparing import Preparation
from driftmeter.model.baseline import Baseline
from driftmeter.model.blobs import Blobs
from driftmeter.model.bundle import Tree
from driftmeter.model.columns import Kind, is_scored_field
from driftmeter.model.counts import PackedCounts
from driftmeter.model.predictions import ModelKey, Predictions
from driftmeter.model.stored import Stored
from driftmeter.model.window_counts import WindowCounts
from driftmeter.model.windows import parse_duration_ns
from driftmeter.references import references_of
from driftmeter.segmented import SegmentedWindows
from driftmeter.telemetry.logs import fields
from driftmeter.telemetry.outcomes import GivenUpReason
from driftmeter.window.batch import event_times_ns, keep_from
from driftmeter.window.horizon import Horizon
from driftmeter.window.seen import Admitted, SeenSpans
from driftmeter.window.watermark import NEVER_NS, Watermark
from driftmeter.window.windows import ModelWindows

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Added:
    """What became of a batch's spans, and what is to be done next.

    Attributes:
        late: Spans that no window took.
        waiting: Spans whose rows wait for a baseline.
        due: Windows to evaluate, in order; `close` tells of the others.
        counted: What `add_to_segments` still has to count.
    """

    late: int = 0
    waiting: int = 0
    due: list[WindowCounts] = field(default_factory=list)
    counted: "Counted | None" = None


@dataclass(frozen=True, slots=True)
class Counted:
    """Rows that the windows of a model have taken, without late ones, when, and whether windows were due before."""

    batch: Predictions
    now_ns: int
    due: bool


@dataclass(eq=False)
class _Scored:
    """A model with a baseline."""

    baseline: Baseline
    windows: ModelWindows
    detector: Detector
    segments: SegmentedWindows
    unknown_columns: set[str] = field(default_factory=set)
    looked_at: bool = False  # Whether a window's columns were held against the baseline's.
    schema: pa.Schema | None = None  # Of the last batch.

    @cached_property
    def learned(self) -> bytes | None:
        """A learned baseline as it is kept in state; None for one from a file."""
        return baseline_to_bytes(self.baseline) if self.baseline.name == "learned" else None

    @cached_property
    def derivation(self) -> Derivation:
        """How texts and vectors are looked at."""
        return Derivation.of(self.baseline)

    def with_numbers(self, batch: Predictions) -> Predictions:
        """The batch with columns of numbers in the place of its columns of texts and of embeddings."""
        return Predictions(batch.key, *self.derivation.numbers(batch.rows, batch.mismatches))


class WatchedModel:
    """State of one model, version and stage. Not thread-safe: the pipeline's thread owns it.

    Args:
        key: The model.
        config: The service's configuration.
        blobs: Where what is seldom looked at goes.
        baseline: What its windows are compared with; None learns one.
    """

    def __init__(self, key: ModelKey, config: Config, blobs: Blobs, baseline: Baseline | None) -> None:
        self.key = key
        self._config = config.for_model(key)
        self._texts = config.attributes.texts
        self._blobs = blobs
        lateness_ns = parse_duration_ns(self._config.window.allowed_lateness)
        self._horizon = Horizon.of(self._config.window.parsed, lateness_ns)
        self._seen = SeenSpans(blobs, self._horizon)
        self._waiting_watermark = Watermark.of(self._config.window)
        self._scored: _Scored | None = None
        self._continues = False  # With windows that were counted before a restart.
        self.learning: Learning | None = None
        self.windows_given_up: dict[GivenUpReason, int] = {}
        """Windows of the state that was taken over last which are not evaluated any more."""
        if baseline is None:
            self.learning = self._begin_learning()
        else:
            self._scored = self._score_with(baseline)

    @property
    def watermark_ns(self) -> int | None:
        """How far event time has got; None before any row was counted."""
        value_ns = self._watermark.value_ns
        return None if self._scored is None or value_ns == NEVER_NS else value_ns

    @property
    def baseline(self) -> Baseline | None:
        """What its windows are compared with; None while it waits for one."""
        return self._scored.baseline if self._scored else None

    @property
    def other_version(self) -> str | None:
        """The version that its windows are compared with; None when they are with none."""
        other = self._config.baseline.other_version
        return None if other == self.key.version else other

    @property
    def fingerprint(self) -> str:
        """Of the layout that its windows are counted for; empty while there is none."""
        return self._scored.baseline.layout.fingerprint if self._scored else ""

    @property
    def is_provisional(self) -> bool:
        """Whether its baseline is learned and carries no verdict yet."""
        return self._scored is not None and self._scored.baseline.is_provisional

    def share_of(self, segment: str) -> float:
        """Part of the model's series that a window of a segment, or with an empty label of the model, may have.

        All window lengths have equal parts; where there are segments, these share one half.
        """
        lengths = len(self._config.window.lengths)
        segments = len(self._scored.segments.labels) if self._scored else 0
        if not segments:
            return 1 / lengths
        return 0.5 / lengths / (segments if segment else 1)

    @property
    def preparation(self) -> Preparation | None:
        """What judging its windows takes beforehand; None while it has no baseline."""
        return self._scored.segments.preparation if self._scored else None

    @property
    def seen(self) -> SeenSpans:
        """The spans that were accepted, as far back as rows are taken."""
        return self._seen

    def admit(self, batch: Predictions) -> tuple[Predictions, Admitted]:
        """The batch without spans that were accepted before, and what was decided."""
        admitted = self._seen.admit(batch)
        return (batch if admitted.fresh is None else batch.keep(admitted.fresh)), admitted

    def undo(self, admitted: Admitted) -> None:
        """Forget again what `admit` has noted, the newest first: the batch could not be written down."""
        self._seen.undo(admitted.undo)

    def insert(self, batch: Predictions) -> None:
        """Note the spans of a batch that was admitted before the service was started anew."""
        self._seen.insert(batch)

    def add(self, batch: Predictions, spans: int, now_ns: int, *, waited: bool = False) -> Added:
        """Count the rows of an admitted batch, or let them wait for a baseline: all of them, or none when it fails.

        Rows of panes whose keys are forgotten are late, whatever windows there are by now: they may have been counted.

        Args:
            batch: Rows without duplicates.
            spans: How many spans they are.
            now_ns: When they came; the same in a replay.
            waited: They waited for a baseline, and were in time when they came.
        """
        if not batch.rows.num_rows:
            return Added()
        floor_ns = NEVER_NS if waited else self._seen.floor_ns
        if self._scored is None:
            late = self._wait(batch, now_ns, floor_ns)
            return Added(late=late, waiting=spans - late)
        batch = self._scored.with_numbers(batch)
        self._note_unknown_columns(batch, self._scored)
        windows = self._scored.windows
        in_time_ns = max(floor_ns, windows.horizon.starts_ns(windows.watermark.after(now_ns)))
        late_rows, due = windows.take(batch, now_ns, floor_ns)
        counted = Counted(keep_from(batch, in_time_ns)[0], now_ns, bool(due)) if self._config.segments else None
        late = late_rows if spans == batch.rows.num_rows else spans_in_oldest(batch, late_rows)
        return Added(late=late, due=due, counted=counted)

    def add_to_segments(self, counted: Counted) -> list[WindowCounts]:
        """Count what `add` has counted by segment too; returns the windows that are due. To be called before `close`.

        By itself, since the rows are counted already: what goes wrong here must not count them again.
        """
        assert self._scored is not None  # noqa: S101 - `add` has counted them.
        scored = self._scored
        return scored.segments.take(counted.batch, counted.now_ns, scored.windows, due=counted.due)

    def close(self) -> list[WindowCounts]:
        """What follows `add`: lets go of old keys, and returns the windows that are due for the rows."""
        self._forget()
        if self._scored is None:
            return []
        due = self._scored.windows.close()
        return due + self._scored.segments.close(self._scored.windows, due=bool(due))

    def take_baseline(self, baseline: Baseline) -> list[Predictions]:
        """Compare with this baseline from now on; returns the rows that waited for it, to be added as such."""
        self._forget()  # By the watermark that is given up: the new windows' begins anew and knows nothing of it.
        self._scored = self._score_with(baseline)
        waiting = self.learning.forget() if self.learning else []
        self.learning = None
        return waiting

    def change_baseline(self, baseline: Baseline) -> int:
        """Compare with another baseline from now on.

        Windows that are open go on when the bins are the same; what was said before of those that are over stays.

        Returns:
            How many windows are given up, since their rows were counted in other bins, or in segments that are gone.
        """
        assert self._scored is not None  # noqa: S101 - else there is nothing to change.
        before = self._scored
        if baseline.layout.fingerprint == self.fingerprint:
            self._scored = self._score_with(baseline, before.windows)
            self._scored.detector.restore(before.detector.state())
            before.segments.count(before.windows)
            self._scored.segments.keep_pace(before.windows)
            return self._scored.segments.go_on_from(before.segments)
        self._forget()  # As in `take_baseline`.
        self._scored = self._score_with(baseline)
        given_up = before.windows.unfinished
        before.windows.abandon()
        before.segments.abandon()
        return given_up

    def counted(self, window: WindowCounts, fingerprint: str) -> PackedCounts | None:
        """What it has of the same window as another version's, if both are counted in the same bins."""
        if self._scored is None or window.start_ns is None or fingerprint != self.fingerprint:
            return None
        if window.segment:
            return self._scored.segments.counted(window, self._scored.windows)
        return self._scored.windows.counted(window.window, window.start_ns)

    def tick(self, now_ns: int, *, revise: bool) -> list[WindowCounts]:
        """Time has passed; returns the windows that are due for it.

        Nothing is due for rows that wait: their watermark moves when rows come, so that a replay has the same.
        """
        due: list[WindowCounts] = []
        if self._scored:
            due = self._scored.windows.tick(now_ns, revise=revise)
            due += self._scored.segments.tick(now_ns, self._scored.windows, due=bool(due), revise=revise)
        self._forget()
        return due

    def tidy(self) -> bool:
        """Put aside a piece of what is seldom looked at; returns whether there is more to do at once."""
        watermark_ns = self._watermark.value_ns
        return watermark_ns > NEVER_NS and self._seen.retire(watermark_ns)

    def drain(self, *, everything: bool) -> list[WindowCounts]:
        """The last windows before stopping; `everything` as in `ModelWindows.drain`."""
        if self._scored is None:
            return []
        due = self._scored.windows.drain(everything=everything)
        return due + self._scored.segments.drain(self._scored.windows, everything=everything)

    def evaluate(self, window: WindowCounts) -> Evaluation:
        """Findings of one of its windows. Verdicts depend on the order of calls."""
        assert self._scored is not None  # noqa: S101 - only scored models have windows.
        if window.segment:
            return self._scored.segments.evaluate(window)
        evaluation = self._scored.detector.evaluate([window])
        self._note_columns(evaluation, self._scored)
        learned = self._scored.detector.learned()
        if learned is not None:  # Its verdicts begin with the next window.
            self.change_baseline(hashed(learned))
            said = fields(model=self.key.model, version=self.key.version)
            _LOG.info("the learned baseline has seen a week of windows: verdicts begin", extra=said)
        return evaluation

    def window_of(self, tree: Tree) -> WindowCounts | None:
        """A window that waited for its evaluation; None when its baseline is not the model's any more."""
        if self._scored is None or not self._continues:
            return None
        window = WindowCounts.from_state(tree, self._scored.baseline.layout)
        return window if not window.segment or window.segment in self._scored.segments else None

    def state(self) -> Tree:
        """All of it, for `restore`."""
        scored = self._scored
        return {
            "seen": self._seen.state(),
            "waiting_watermark": self._waiting_watermark.state(),
            "learning": self.learning.state() if self.learning else None,
            "scored": {
                "content_hash": scored.baseline.content_hash,
                "fingerprint": self.fingerprint,
                "unfinished": scored.windows.unfinished,
                "lengths": list[Tree](self._config.window.lengths),
                "learned": scored.learned,
                "windows": scored.windows.state(),
                "detector": scored.detector.state(),
                "segments": scored.segments.state(),
            }
            if scored
            else None,
        }

    def restore(self, tree: Tree, baseline: Baseline | None) -> list[Predictions]:
        """Take over a state.

        Args:
            tree: What `state` gave.
            baseline: The model's baseline from a file, if there is one now.

        Returns:
            Rows that waited for a baseline which is there now, to be added.
        """
        state = Stored(tree)
        self._seen.restore(state.tree("seen"))
        self._waiting_watermark.restore(state.tree("waiting_watermark"))
        if state.tree("learning") is not None:
            learning = self._begin_learning()
            learning.restore(state.tree("learning"))
            self._scored, self.learning = None, learning
            return self.take_baseline(baseline) if baseline else []
        scored = state.member("scored")
        if baseline is None and scored.tree("learned") is not None:
            learned = baseline_from_bytes(scored.data("learned"))
            baseline = learned.labelled(self.key.model, self.key.version, "learned")
        self._take_over(baseline, scored)
        return []

    def _take_over(self, baseline: Baseline | None, scored: Stored) -> None:
        """Go on with windows counted against the same baseline; another one has other bins and begins anew."""
        self.windows_given_up = {}
        if baseline is None:
            self._say_given_up(scored, GivenUpReason.NO_BASELINE, "the model's baseline is gone: learning one")
            return
        self.learning = None
        self._scored = self._score_with(baseline)
        if self.fingerprint != scored.text("fingerprint"):
            self._say_given_up(scored, GivenUpReason.OTHER_BINS, "the model has a baseline with other bins than before")
            return
        if scored.texts("lengths") != list(self._config.window.lengths):
            self._say_given_up(scored, GivenUpReason.OTHER_LENGTHS, "window.lengths are others than before")
            return
        self._continues = True
        self._scored.windows.restore(scored.tree("windows"))
        self._scored.detector.restore(scored.tree("detector"))
        self._scored.segments.restore(scored.member("segments"), self._scored.windows)

    def _say_given_up(self, scored: Stored, reason: GivenUpReason, why: str) -> None:
        windows = self.windows_given_up[reason] = scored.count("unfinished")
        said = fields(model=self.key.model, version=self.key.version, windows=windows)
        _LOG.warning("%s; its open windows are given up", why, extra=said)

    def _wait(self, batch: Predictions, now_ns: int, floor_ns: int) -> int:
        """Keep rows until there is a baseline, but for late ones, by the rule of windows; returns the late spans."""
        assert self.learning is not None  # noqa: S101 - a model is one or the other.
        watermark = self._waiting_watermark
        kept, late_rows = keep_from(batch, max(floor_ns, self._horizon.starts_ns(watermark.after(now_ns))))
        if kept.rows.num_rows:
            self.learning.add(kept)
        watermark.tick(now_ns)
        watermark.observe(int(event_times_ns(batch.rows).max()), now_ns)
        return spans_in_oldest(batch, late_rows)

    def _forget(self) -> None:
        """Let go of keys that no row in time has: when the watermark has moved, so that a replay forgets the same."""
        watermark_ns = self._watermark.value_ns
        if watermark_ns > NEVER_NS:
            self._seen.forget(watermark_ns)

    @property
    def _watermark(self) -> Watermark:
        return self._waiting_watermark if self._scored is None else self._scored.windows.watermark

    def _begin_learning(self) -> Learning:
        return Learning(self.key, self._config.baseline.learn_rows, texts=self._texts)

    def _score_with(self, baseline: Baseline, windows: ModelWindows | None = None) -> _Scored:
        """With windows that go on, or new ones."""
        config = self._config
        windows = windows or ModelWindows(baseline.layout, config.window, self._blobs)
        references = references_of(baseline, config.baseline)
        kinds = {each.kind for each in references}
        segments = SegmentedWindows(self.key, baseline, config, self._blobs, kinds)
        detector = Detector(
            self.key, baseline, references, config.detect, config.window.parsed, calibrations=segments.of_model
        )
        return _Scored(baseline, windows, detector, segments)

    def _note_columns(self, evaluation: Evaluation, scored: _Scored) -> None:
        """Say once which columns of the baseline have no value, or values of another kind, in live rows."""
        quality = evaluation.quality
        if scored.looked_at or quality.is_empty() or not quality["rows"].min():
            return
        scored.looked_at = True
        without = quality.filter(pl.col("missing") == pl.col("rows"))
        other = without.filter(pl.col("type_mismatch") == pl.col("rows"))
        kinds, fields_of = scored.baseline.layout.kinds, pl.concat_str("role", pl.lit("."), "column")
        mismatched = {name: (kinds[name], _other(kinds[name])) for name in other.select(fields_of).to_series()}
        gone = set(without.select(fields_of).to_series()) - mismatched.keys()
        for line in words(gone, (), mismatched):
            _LOG.warning("columns do not fit the baseline: %s", line, extra=fields(**self.key._asdict()))

    def _note_unknown_columns(self, batch: Predictions, scored: _Scored) -> None:
        """Say once per column that the baseline does not have it."""
        schema = batch.rows.schema
        if scored.schema is not None and schema.equals(scored.schema):
            return
        scored.schema = schema
        data = {name for name in schema.names if is_scored_field(name)}
        for name in sorted(data - scored.baseline.layout.kinds.keys() - scored.unknown_columns):
            scored.unknown_columns.add(name)
            _LOG.warning(
                "column without a baseline is not compared: build a baseline that has it",
                extra=fields(model=self.key.model, version=self.key.version, column=name),
            )


def _other(kind: Kind) -> Kind:
    return Kind.CATEGORICAL if kind is Kind.NUMERIC else Kind.NUMERIC


def spans_in(batch: Predictions) -> int:
    """Spans of a batch: each has one row numbered 0, and more when it has arrays."""
    return len(batch.rows) - int(np.count_nonzero(_row_index(batch)))


def spans_in_oldest(batch: Predictions, rows: int) -> int:
    """Spans that the oldest rows of a batch belong to. Rows of one span are equally old, so these are whole spans."""
    if not rows:
        return 0
    times_ns = event_times_ns(batch.rows)
    newest_ns = np.partition(times_ns, rows - 1)[rows - 1]
    return int(np.count_nonzero((times_ns <= newest_ns) & (_row_index(batch) == 0)))


def _row_index(batch: Predictions) -> npt.NDArray[np.uint16]:
    index: npt.NDArray[np.uint16] = batch.rows.column("row_index").to_numpy()
    return index
