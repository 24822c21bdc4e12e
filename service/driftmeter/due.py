"""Windows that are due: they wait until senders have their answers, then they are evaluated, in order."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from driftmeter.clock import Clock
from driftmeter.export.evaluated import EvaluatedWindow
from driftmeter.model.bundle import Tree
from driftmeter.model.counts import PackedCounts
from driftmeter.model.predictions import ModelKey
from driftmeter.model.stored import Stored
from driftmeter.model.window_counts import WindowCounts
from driftmeter.telemetry.metrics import Telemetry
from driftmeter.watched import WatchedModel

Attempt = Callable[[str, ModelKey, Callable[[], None]], object]
"""Does something and keeps a fault in it to one model; the text says what failed."""


class DueWindows:
    """Evaluates windows and tells somebody. Verdicts depend on the order of a model's windows.

    Args:
        telemetry: Where time is counted.
        clock: The time.
        attempt: Keeps faults to one model.
        tell: Told of each evaluated window.
        beside: What another version has of a window that this model's is compared with; None for most models.
    """

    def __init__(
        self,
        telemetry: Telemetry,
        clock: Clock,
        attempt: Attempt,
        tell: Callable[[EvaluatedWindow], None],
        beside: Callable[[WatchedModel, WindowCounts], PackedCounts | None],
    ) -> None:
        self._telemetry = telemetry
        self._clock = clock
        self._attempt = attempt
        self._tell = tell
        self._beside = beside
        self._waiting: deque[tuple[WatchedModel, WindowCounts]] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, model: WatchedModel, windows: Iterable[WindowCounts] | None) -> None:
        """These windows of a model are due; None is none.

        What another version has of them is settled here, in the order of the journal, and not when they are evaluated.
        """
        for window in windows or ():
            beside = self._beside(model, window)
            self._waiting.append((model, replace(window, beside=beside) if beside else window))

    def work(self, budget_seconds: float) -> bool:
        """Evaluate windows until the time is over, at least one; returns whether any are left."""
        started = self._clock.monotonic_seconds()
        evaluated = 0
        while self._waiting and (not evaluated or self._clock.monotonic_seconds() - started < budget_seconds):
            model, window = self._waiting.popleft()
            self._attempt("a window was not evaluated", model.key, lambda: self._publish(model, window))  # noqa: B023
            evaluated += 1
        if evaluated:
            self._telemetry.evaluate_seconds.observe(self._clock.monotonic_seconds() - started)
        return bool(self._waiting)

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
        return [{"key": list(model.key), "window": window.state()} for model, window in self._waiting]

    def restore(self, stored: Iterable[Stored], models: Mapping[ModelKey, WatchedModel]) -> None:
        """Take over a state, but for windows of models that are compared with something else now."""
        for each in stored:
            model = models.get(each.key("key"))
            window = model.window_of(each.tree("window")) if model else None
            if model and window:
                self._waiting.append((model, window))
