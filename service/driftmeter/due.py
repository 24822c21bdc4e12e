"""Windows that are due: they wait until senders have their answers, then they are evaluated, in order."""

import logging
import math
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from itertools import chain

from driftmeter.clock import Clock
from driftmeter.export.evaluated import EvaluatedWindow
from driftmeter.model.bundle import Tree
from driftmeter.model.counts import PackedCounts
from driftmeter.model.predictions import ModelKey
from driftmeter.model.stored import Stored
from driftmeter.model.window_counts import WindowCounts
from driftmeter.preparing import Preparing
from driftmeter.telemetry.logs import fields
from driftmeter.telemetry.metrics import GivenUpReason, Telemetry
from driftmeter.watched import WatchedModel

Attempt = Callable[[str, ModelKey, Callable[[], None]], object]
"""Does something and keeps a fault in it to one model; the text says what failed."""

_LOG = logging.getLogger(__name__)

HELD_BYTES_MAX = 256 * 2**20
"""Memory of the windows that wait for what they are judged by, 256 MiB: beyond it the service waits too, so that it is
bounded. A window of a thousand columns and many rows has some 10 MB."""

_LOOK_SECONDS = 0.1  # How often it is looked whether the service is to stop.


class DueWindows:
    """Evaluates windows and tells somebody. Verdicts depend on the order of a model's windows.

    Windows of a model whose nulls and level are still being worked out are held back; those of others go on.

    Args:
        telemetry: Where time is counted.
        clock: The time.
        attempt: Keeps faults to one model.
        tell: Told of each evaluated window.
        beside: What another version has of a window that this model's is compared with; None for most models.
        preparing: Works out what windows are judged by.
    """

    def __init__(
        self,
        telemetry: Telemetry,
        clock: Clock,
        attempt: Attempt,
        tell: Callable[[EvaluatedWindow], None],
        beside: Callable[[WatchedModel, WindowCounts], PackedCounts | None],
        preparing: Preparing,
    ) -> None:
        self._telemetry = telemetry
        self._clock = clock
        self._attempt = attempt
        self._tell = tell
        self._beside = beside
        self._preparing = preparing
        self._waiting: deque[tuple[WatchedModel, WindowCounts]] = deque()
        self._held: dict[ModelKey, deque[tuple[WatchedModel, WindowCounts]]] = {}
        self._held_back = 0  # How many these are, for other threads too.
        self._held_bytes = 0
        self._hurried = False

    def __len__(self) -> int:
        return len(self._waiting) + self._held_back

    def add(self, model: WatchedModel, windows: Iterable[WindowCounts] | None) -> None:
        """These windows of a model are due; None is none.

        What another version has of them is settled here, in the order of the journal, and not when they are evaluated.
        """
        for window in windows or ():
            beside = self._beside(model, window)
            self._waiting.append((model, replace(window, beside=beside) if beside else window))

    def work(self, budget_seconds: float) -> bool:
        """Evaluate windows until the time is over, at least one; returns whether any are left that need not wait."""
        self._let_go()
        started = self._clock.monotonic_seconds()
        evaluated = 0
        while self._waiting and (not evaluated or self._clock.monotonic_seconds() - started < budget_seconds):
            model, window = self._waiting.popleft()
            if model.key in self._held or not self._preparing.is_ready(model):
                self._held.setdefault(model.key, deque()).append((model, window))
                self._held_back += 1
                self._held_bytes += window.memory_bytes
                continue
            self._evaluate(model, window)
            evaluated += 1
        if evaluated:
            self._telemetry.evaluate_seconds.observe(self._clock.monotonic_seconds() - started)
        while self._held_bytes > HELD_BYTES_MAX and not self._hurried:
            self._preparing.wait(_LOOK_SECONDS)
            self._let_go()
        return bool(self._waiting)

    def hurry(self) -> None:
        """The service is to stop: however many windows are held back, `work` waits for nothing; from any thread."""
        self._hurried = True

    @property
    def held_back(self) -> int:
        """How many windows wait for what they are judged by; from any thread."""
        return self._held_back

    def work_off(self, seconds: float | None = None) -> bool:
        """Evaluate windows, those too that are held back, for so many seconds or until none is left; whether any is."""
        while self.work(math.inf if seconds is None else seconds) or self._held:
            if not self._waiting:
                self._preparing.wait(seconds)
                self._let_go()
            if seconds is not None:
                break
        return len(self) > 0

    def finish(self, model: WatchedModel) -> None:
        """Evaluate all windows of one model that are due, now: what they are judged by is about to change."""
        self._let_go()
        everything = [*self._no_longer_held(model.key), *self._waiting]
        self._waiting = deque(each for each in everything if each[0] is not model)
        for window in [each for of, each in everything if of is model]:
            while not self._preparing.is_ready(model):
                self._preparing.wait(None)
            self._evaluate(model, window)

    def _evaluate(self, model: WatchedModel, window: WindowCounts) -> None:
        self._attempt("a window was not evaluated", model.key, partial(self._publish, model, window))

    def _let_go(self) -> None:
        """Windows that were held back and need not wait any more come first: they are older."""
        for key, held in list(self._held.items()):
            if self._preparing.is_ready(held[0][0]):
                self._waiting.extendleft(reversed(self._no_longer_held(key)))

    def _no_longer_held(self, key: ModelKey) -> list[tuple[WatchedModel, WindowCounts]]:
        held = list(self._held.pop(key, ()))
        self._held_back -= len(held)
        self._held_bytes -= sum(window.memory_bytes for _, window in held)
        return held

    def _publish(self, model: WatchedModel, window: WindowCounts) -> None:
        evaluation = model.evaluate(window)
        evaluated = EvaluatedWindow(
            key=model.key,
            window=window.window,
            window_index=window.index,
            start_ns=window.start_ns,
            end_ns=window.end_ns,
            revision=window.revision,
            findings=evaluation.findings,
            model=evaluation.model,
            segment=window.segment,
            share=model.share_of(window.segment),
        )
        if not window.segment:  # What is said of segments is their drift.
            evaluated = replace(
                evaluated,
                quality=evaluation.quality,
                classes=evaluation.classes,
                anomalies=evaluation.anomalies,
            )
        self._tell(evaluated)

    def state(self) -> Tree:
        """All of them, for `restore`."""
        everything = chain(*self._held.values(), self._waiting)  # Of each model in its order.
        return [{"key": list(model.key), "window": window.state()} for model, window in everything]

    def restore(self, stored: Iterable[Stored], models: Mapping[ModelKey, WatchedModel]) -> None:
        """Take over a state, but for windows of models that are compared with something else now: these are counted."""
        given_up = Counter[GivenUpReason]()
        for each in stored:
            model = models.get(each.key("key"))
            window = model.window_of(each.tree("window")) if model else None
            if model and window:
                self._waiting.append((model, window))
            elif model:
                given_up[next(iter(model.windows_given_up), GivenUpReason.OTHER_SEGMENTS)] += 1
        for reason, windows in given_up.items():
            self._telemetry.windows_given_up.add(windows, reason=reason)
            _LOG.warning(
                "windows that waited for their evaluation are given up: %s", reason, extra=fields(windows=windows)
            )
