"""A real pipeline on a still clock, with everything that comes out of it kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from driftmeter.baseline.book import BaselineBook
from driftmeter.baseline.build import build_baseline
from driftmeter.baseline.data import ColumnOptions, to_dataset
from driftmeter.config import Config
from driftmeter.errors import DriftmeterError
from driftmeter.export.evaluated import EvaluatedWindow
from driftmeter.journal.store import Journal, MemoryJournal
from driftmeter.model.baseline import Baseline
from driftmeter.model.predictions import ModelKey, Predictions
from driftmeter.model.receipt import Receipt
from driftmeter.model.request import Request, Signal
from driftmeter.model.windows import parse_window
from driftmeter.pipeline import Listeners, Pipeline
from driftmeter.telemetry.metrics import SpanOutcome, Telemetry
from export_samples import StillClock
from otlp_samples import Scalar
from service_process import Metrics, assert_ledger_holds
from spans import identity, request_of

SECOND_NS = 10**9
MINUTE_NS = 60 * SECOND_NS
START_NS = 1_700_000_000 // 3_600 * 3_600 * SECOND_NS
"""A full hour, at which the clock and the sample rows start."""


def baseline_of(rows: pl.DataFrame, model: str, version: str = "", windows: Sequence[str] = ()) -> Baseline:
    """A baseline as from a file, of rows whose columns are features but for `prediction`."""
    predictions = ["prediction"] if "prediction" in rows.columns else []
    data = to_dataset(rows, ColumnOptions.of(predictions=predictions), "rows")
    return build_baseline(data, model, version, [parse_window(window) for window in windows])


@dataclass
class WatchedPipeline:
    """A pipeline and what came out.

    Attributes:
        config: Parts of the configuration, as in the YAML file.
        baselines: Baselines from files.
        journal: Where it writes down what it accepts; by default it does not.
    """

    config: Mapping[str, Any]
    baselines: Sequence[Baseline] = ()
    journal: Journal = field(default_factory=MemoryJournal)
    telemetry: Telemetry = field(default_factory=Telemetry)
    clock: StillClock = field(default_factory=lambda: StillClock(START_NS))
    evaluated: list[EvaluatedWindow] = field(default_factory=list)
    predictions: list[Predictions] = field(default_factory=list)
    _sent: int = 0

    def __post_init__(self) -> None:
        listeners = Listeners(self.predictions.append, self.evaluated.append)
        config = Config.model_validate(self.config)
        baselines = BaselineBook(self.baselines)
        self.pipeline = Pipeline(config, baselines, self.journal, self.telemetry, self.clock, listeners)

    def send(
        self, rows: Sequence[Mapping[str, Scalar]], ends_ns: Sequence[int] | int = START_NS, **model: str
    ) -> Receipt:
        """Accepts a request of these rows; keys are names of features unless they start with `ml.`.

        Args:
            rows: Values by name.
            ends_ns: When each row's span ends, or all of them.
            model: `model`, `version` and `stage`; the model is `prices` unless given.
        """
        keyed = [{_key(name): value for name, value in row.items()} for row in rows]
        times = [ends_ns] * len(rows) if isinstance(ends_ns, int) else ends_ns
        request = request_of(keyed, times, identity(**{"model": "prices", **model}), self._sent)
        self._sent += len(rows)
        return self.accept(Request(Signal.TRACES, request))

    def accept(self, request: Request) -> Receipt:
        """Accepts a request, and does what waits after its answer."""
        (outcome,) = self.pipeline.accept([request])
        self.pipeline.settle()
        if isinstance(outcome, DriftmeterError):
            raise outcome
        return outcome

    def tick(self, *, revise: bool) -> None:
        """Lets the pipeline see the clock, and does what waits then."""
        self.pipeline.tick(revise=revise)
        self.pipeline.settle()

    def windows_of(self, model: str = "prices", version: str = "", stage: str = "") -> list[EvaluatedWindow]:
        """Evaluations of one model's windows, in order."""
        return [each for each in self.evaluated if each.key == ModelKey(model, version, stage)]

    def spans(self, outcome: SpanOutcome, reason: str = "") -> int:
        """Spans with this outcome."""
        return int(self.telemetry.spans.value(outcome=outcome, reason=reason))

    def assert_ledger_holds(self) -> None:
        """Every span and row is accounted for; nothing is in flight between requests."""
        assert_ledger_holds(Metrics.parse(self.telemetry.expose()))
        assert self.telemetry.in_flight_spans.value() == 0


def _key(name: str) -> str:
    return name if name.startswith("ml.") else f"ml.feature.{name}"


def score_of(window: EvaluatedWindow, column: str) -> float | None:
    """The headline score of a column in a window."""
    value: float | None = finding_of(window, column)["value"]
    return value


def finding_of(window: EvaluatedWindow, column: str, method: str = "jensen_shannon") -> dict[str, Any]:
    """The finding of one method on one column of a window."""
    (row,) = window.findings.filter((pl.col("column") == column) & (pl.col("method") == method)).to_dicts()
    return row


def quality_of(window: EvaluatedWindow, column: str) -> dict[str, Any]:
    """What a window says of a column's values."""
    (row,) = window.quality.filter(pl.col("column") == column).to_dicts()
    return row
