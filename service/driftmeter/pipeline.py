"""The way of the data through the stages: the one module that knows their order.

    request bytes ─► columnar ─► (baseline: learn) ─► window ─► detect ─► listeners (export)

All of it but learning runs on one thread, which owns the state; see `app.py`. `accept` does what an acknowledgement
means, `work` what can wait for it. What a stage cannot digest is quarantined: one bad batch neither blocks its sender
nor stops the service.
"""

import logging
import math
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from driftmeter.baseline.book import BaselineBook
from driftmeter.baseline.learning import Learning
from driftmeter.clock import Clock
from driftmeter.columnar.count import count_entries
from driftmeter.columnar.decoder import Decoded, Decoder
from driftmeter.columnar.kinds import KindBook
from driftmeter.config import Config
from driftmeter.detect.detector import Detector
from driftmeter.errors import MalformedError
from driftmeter.export.evaluated import EvaluatedWindow
from driftmeter.model.baseline import Baseline
from driftmeter.model.columns import is_scored_field
from driftmeter.model.predictions import ModelKey, Predictions
from driftmeter.model.receipt import Receipt
from driftmeter.model.request import Request
from driftmeter.model.window_counts import WindowCounts
from driftmeter.model.windows import parse_duration_ns
from driftmeter.quarantine import Quarantine
from driftmeter.summary.fold import warm_up as warm_up_fold
from driftmeter.telemetry.logs import fields
from driftmeter.telemetry.metrics import RowOutcome, SpanOutcome, SpanReason, Telemetry
from driftmeter.window.watermark import NEVER_NS
from driftmeter.window.windows import ModelWindows

_LOG = logging.getLogger(__name__)
_Result = TypeVar("_Result")


@dataclass(eq=False)
class _Scored:
    """A model with a baseline."""

    windows: ModelWindows
    detector: Detector
    baseline: Baseline
    unknown_columns: set[str] = field(default_factory=set)


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
        telemetry: Where everything is counted.
        clock: The time.
        listeners: Who is told what comes out.
    """

    def __init__(
        self, config: Config, baselines: BaselineBook, telemetry: Telemetry, clock: Clock, listeners: Listeners
    ) -> None:
        self._config = config
        self._baselines = baselines
        self._telemetry = telemetry
        self._clock = clock
        self._listeners = listeners
        self._kinds = KindBook()
        self._decoder = Decoder(config.attributes, self._kinds, self._has_baseline)
        self._models: dict[ModelKey, _Scored | Learning] = {}
        self._due: deque[tuple[Detector, WindowCounts]] = deque()
        self._being_learned: deque[tuple[Learning, Future[Baseline | None]]] = deque()
        self._learner = ThreadPoolExecutor(max_workers=1, thread_name_prefix="learner")
        self._quarantine = Quarantine()
        self._max_future_ns = parse_duration_ns(config.window.max_future)
        self._by_data = config.window.clock == "data"

    def warm_up(self) -> None:
        """Compile or load all kernels, so that the first request is as fast as any other."""
        self._decoder.warm_up()
        warm_up_fold()

    def accept(self, request: Request) -> Receipt:
        """Take one OTLP request; raises MalformedError when it is none."""
        try:
            decoded = self._decode(request)
        except MalformedError:
            raise
        except Exception as error:  # noqa: BLE001 - one of the places that catch all: no poison, whatever it is.
            return self._quarantine_request(request, error)
        self._count_decoded(decoded)
        failed = 0
        for batch in decoded.batches:
            try:
                self._add(batch)
            except Exception as error:  # noqa: BLE001 - as above, for one batch of the request.
                self._quarantine_batch(batch, error)
                failed += _spans_in(batch)
        if failed:
            self._keep(request)
        rejected = sum(decoded.rejected.values()) + failed
        messages = [*decoded.messages, *([f"{failed} spans quarantined after an internal error"] if failed else [])]
        return Receipt(rejected, "; ".join(messages))

    def tick(self, *, revise: bool) -> None:
        """Time has passed: close windows of idle models; with `revise`, evaluate changed windows again."""
        now_ns = self._clock.now_ns()
        for key, state in list(self._models.items()):
            if isinstance(state, _Scored):
                due = self._attempt("windows were not closed", key, partial(state.windows.tick, now_ns, revise=revise))
                self._due.extend((state.detector, window) for window in due or [])

    def work(self, budget_seconds: float) -> bool:
        """Do some of what may wait until senders have their answers: take over learned baselines, evaluate windows.

        Args:
            budget_seconds: Time after which nothing further is begun.

        Returns:
            Whether windows are left to evaluate.
        """
        self._take_learned(wait=False)
        started = self._clock.monotonic_seconds()
        evaluated = 0
        while self._due and (not evaluated or self._clock.monotonic_seconds() - started < budget_seconds):
            detector, window = self._due.popleft()
            self._attempt("a window was not evaluated", detector.key, partial(self._publish, detector, window))
            evaluated += 1
        if evaluated:
            self._telemetry.evaluate_seconds.observe(self._clock.monotonic_seconds() - started)
        return bool(self._due)

    def settle(self) -> None:
        """Do all that waits, the learning of baselines included."""
        self._take_learned(wait=True)
        while self.work(math.inf):
            pass

    def drain(self) -> None:
        """Evaluate what is left before stopping: everything for replays, only what is over for live traffic."""
        for state in list(self._models.values()):
            if self._by_data and isinstance(state, Learning) and state.rows and not state.under_way:
                self._begin_to_learn(state)
        self._take_learned(wait=self._by_data)
        for key, state in list(self._models.items()):
            if isinstance(state, _Scored):
                drain = partial(state.windows.drain, everything=self._by_data)
                due = self._attempt("the last windows were not closed", key, drain)
                self._due.extend((state.detector, window) for window in due or [])
        while self.work(math.inf):
            pass

    def close(self) -> None:
        """Begin to learn no more; what is being learned is not waited for."""
        self._learner.shutdown(wait=False, cancel_futures=True)

    def _has_baseline(self, key: ModelKey) -> bool:
        return self._baselines.find(key.model, key.version) is not None

    def _decode(self, request: Request) -> Decoded:
        not_after_ns = None if self._by_data else self._clock.now_ns() + self._max_future_ns
        decode = partial(self._decoder.decode, request.body, request.signal, not_after_ns=not_after_ns)
        decoded = decode()
        new = [batch.key for batch in decoded.batches if batch.key not in self._models]
        if not new:
            return decoded
        # Columns of a new model were read as their first values suggest; its baseline knows better.
        known = [baseline for key in new if (baseline := self._baselines.find(key.model, key.version))]
        for baseline in known:
            self._kinds.declare(baseline.model, baseline.version, baseline.layout.kinds)
        return decode() if known else decoded

    def _add(self, batch: Predictions) -> None:
        state = self._models.get(batch.key) or self._start(batch.key)
        spans, late, due = _spans_in(batch), 0, list[WindowCounts]()
        if isinstance(state, Learning):
            state.add(batch)
        else:
            late, due = state.windows.add(batch, self._clock.now_ns())
        with self._telemetry.moving():
            self._telemetry.in_flight_spans.add(-spans)
            self._telemetry.spans.add(spans, outcome=SpanOutcome.ACCEPTED, reason="")
            if isinstance(state, Learning):
                self._telemetry.pending_rows.add(spans)
            else:
                self._count_folded(batch, spans, late)
        count = partial(self._listeners.on_predictions, batch)
        self._attempt("predictions were not counted for export", batch.key, count)
        if not isinstance(state, Learning):
            self._after_fold(batch, state, due)
        elif state.enough:
            self._begin_to_learn(state)

    def _start(self, key: ModelKey) -> "_Scored | Learning":
        baseline = self._baselines.find(key.model, key.version)
        state: _Scored | Learning
        if baseline is None:
            rows = self._config.baseline.learn_rows
            _LOG.warning(
                "model without a baseline: learning one from its first rows; scores will carry no verdict",
                extra=fields(model=key.model, version=key.version, rows=rows),
            )
            state = Learning(key, rows)
            self._telemetry.models_without_baseline.add(1)
        else:
            state = self._scored(key, baseline)
        self._models[key] = state
        return state

    def _scored(self, key: ModelKey, baseline: Baseline) -> _Scored:
        return _Scored(
            ModelWindows(baseline.layout, self._config.window),
            Detector(key, baseline, self._config.detect),
            baseline,
        )

    def _begin_to_learn(self, learning: Learning) -> None:
        """Learning takes seconds, so it goes on beside; rows go on waiting meanwhile."""
        learning.under_way = True
        self._being_learned.append((learning, self._learner.submit(learning.task())))

    def _take_learned(self, *, wait: bool) -> None:
        """Put baselines to use, in the order in which they are learned; rows that teach nothing are not kept."""
        while self._being_learned:
            learning, future = self._being_learned[0]
            if not (wait or future.done()):
                return
            self._being_learned.popleft()
            baseline = self._attempt("no baseline could be learned", learning.key, future.result)
            learning.under_way = False
            if baseline is None:
                self._settle_waiting(sum(map(_spans_in, learning.forget())), RowOutcome.NOT_SCORED)
            else:
                self._count_waiting(learning, baseline)

    def _count_waiting(self, learning: Learning, baseline: Baseline) -> None:
        self._kinds.declare(baseline.model, baseline.version, baseline.layout.kinds)
        state = self._models[learning.key] = self._scored(learning.key, baseline)
        self._telemetry.models_without_baseline.add(-1)
        for batch in learning.batches:
            self._fold_waiting(batch, state)

    def _fold_waiting(self, batch: Predictions, state: _Scored) -> None:
        spans, now_ns = _spans_in(batch), self._clock.now_ns()
        added = self._attempt("a batch was not counted", batch.key, partial(state.windows.add, batch, now_ns))
        if added is None:
            self._settle_waiting(spans, RowOutcome.FAILED)
            return
        late, due = added
        with self._telemetry.moving():
            self._telemetry.pending_rows.add(-spans)
            self._count_folded(batch, spans, late)
        self._after_fold(batch, state, due)

    def _settle_waiting(self, spans: int, outcome: RowOutcome) -> None:
        with self._telemetry.moving():
            self._telemetry.pending_rows.add(-spans)
            self._telemetry.rows.add(spans, outcome=outcome)

    def _after_fold(self, batch: Predictions, state: _Scored, due: list[WindowCounts]) -> None:
        self._attempt("columns were not noted", batch.key, partial(self._note_unknown_columns, batch, state))
        self._note_lag(batch.key, state, self._clock.now_ns())
        self._due.extend((state.detector, window) for window in due)

    def _publish(self, detector: Detector, window: WindowCounts) -> None:
        evaluation = detector.evaluate([window])
        evaluated = EvaluatedWindow(
            key=detector.key,
            window=window.window,
            window_index=window.index,
            start_ns=window.start_ns,
            end_ns=window.end_ns,
            revision=window.revision,
            findings=evaluation.findings,
            quality=evaluation.quality,
            classes=evaluation.classes,
        )
        self._listeners.on_evaluated(evaluated)

    def _count_decoded(self, decoded: Decoded) -> None:
        telemetry = self._telemetry
        with telemetry.moving():
            telemetry.spans.add(decoded.received, outcome=SpanOutcome.RECEIVED, reason="")
            telemetry.spans.add(decoded.ignored, outcome=SpanOutcome.IGNORED, reason=SpanReason.NOT_FEATURE_BEARING)
            for reason, spans in decoded.rejected.items():
                telemetry.spans.add(spans, outcome=SpanOutcome.REJECTED, reason=reason)
            telemetry.in_flight_spans.add(decoded.accepted)
        for reason, values in decoded.dropped_values.items():
            telemetry.values_dropped.add(values, reason=reason)

    def _count_folded(self, batch: Predictions, spans: int, late_rows: int) -> None:
        """Count the spans of a batch of which so many rows, the oldest, were late."""
        late = late_rows if spans == batch.rows.num_rows else _spans_in_oldest(batch, late_rows)
        self._telemetry.rows.add(spans - late, outcome=RowOutcome.COUNTED)
        self._telemetry.rows.add(late, outcome=RowOutcome.LATE)

    def _note_unknown_columns(self, batch: Predictions, state: _Scored) -> None:
        """Say once per column that the baseline does not have it."""
        known = state.baseline.layout.kinds
        data = {name for name in batch.rows.schema.names if is_scored_field(name)}
        for name in sorted(data - known.keys() - state.unknown_columns):
            state.unknown_columns.add(name)
            _LOG.warning(
                "column without a baseline is not compared: build a baseline that has it",
                extra=fields(model=batch.key.model, version=batch.key.version, column=name),
            )

    def _note_lag(self, key: ModelKey, state: _Scored, now_ns: int) -> None:
        watermark_ns = state.windows.watermark.value_ns
        if watermark_ns > NEVER_NS:
            lag_seconds = (now_ns - watermark_ns) / 1e9
            self._telemetry.watermark_lag_seconds.set(
                lag_seconds, model=key.model, version=key.version, stage=key.stage
            )

    def _quarantine_request(self, request: Request, error: Exception) -> Receipt:
        spans = count_entries(request)
        with self._telemetry.moving():
            self._telemetry.spans.add(spans, outcome=SpanOutcome.RECEIVED, reason="")
            self._telemetry.spans.add(spans, outcome=SpanOutcome.QUARANTINED, reason=SpanReason.EXCEPTION)
        self._keep(request)
        _LOG.error("request quarantined after an internal error", exc_info=error, extra=fields(spans=spans))
        return Receipt(spans, "quarantined after an internal error; the service's log says more")

    def _quarantine_batch(self, batch: Predictions, error: Exception) -> None:
        spans = _spans_in(batch)
        with self._telemetry.moving():
            self._telemetry.in_flight_spans.add(-spans)
            self._telemetry.spans.add(spans, outcome=SpanOutcome.QUARANTINED, reason=SpanReason.EXCEPTION)
        _LOG.error(
            "batch quarantined after an internal error",
            exc_info=error,
            extra=fields(model=batch.key.model, spans=spans),
        )

    def _keep(self, request: Request) -> None:
        self._quarantine.add(request)
        self._telemetry.quarantined_batches.set(len(self._quarantine.requests))

    def _attempt(self, what: str, key: ModelKey, work: Callable[[], _Result]) -> _Result | None:
        """Keeps a fault in what follows an acknowledgement to one model: said, counted, None, and work goes on."""
        try:
            return work()
        except Exception:  # noqa: BLE001 - as above; what was acknowledged cannot be refused any more.
            self._telemetry.internal_errors.add()
            said = fields(model=key.model, version=key.version, stage=key.stage)
            _LOG.exception("internal error: %s", what, extra=said)
            return None


def _spans_in(batch: Predictions) -> int:
    """Spans of a batch: each has one row numbered 0, and more when it has arrays."""
    return len(batch.rows) - int(np.count_nonzero(_row_index(batch)))


def _spans_in_oldest(batch: Predictions, rows: int) -> int:
    """Spans that the oldest rows of a batch belong to. Rows of one span are equally old, so these are whole spans."""
    if not rows:
        return 0
    times_ns = pc.cast(batch.rows.column("event_time"), pa.int64()).to_numpy()
    newest_ns = np.partition(times_ns, rows - 1)[rows - 1]
    return int(np.count_nonzero((times_ns <= newest_ns) & (_row_index(batch) == 0)))


def _row_index(batch: Predictions) -> npt.NDArray[np.uint16]:
    index: npt.NDArray[np.uint16] = batch.rows.column("row_index").to_numpy()
    return index
