"""One model's windows against its baseline: findings and quality."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from driftmeter.detect.config import DetectConfig
from driftmeter.detect.null import Null, build_null, surprise
from driftmeter.detect.quality import classes_of, quality_of
from driftmeter.detect.table import Decision, FindingsTable, Numbers
from driftmeter.detect.verdict import Verdicts
from driftmeter.methods import DECIDING, METHODS
from driftmeter.methods.groupings import build_groupings
from driftmeter.methods.score import Scores, score, to_squared_scale
from driftmeter.methods.spec import Scale
from driftmeter.model.baseline import Baseline
from driftmeter.model.bundle import Tree
from driftmeter.model.counts import Moment, stack
from driftmeter.model.predictions import ModelKey
from driftmeter.model.stored import Stored
from driftmeter.model.window_counts import WindowCounts
from driftmeter.model.windows import WindowLength

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What evaluating some windows gave.

    Attributes:
        findings: `FINDINGS_SCHEMA`, ordered by window, column and method.
        quality: One row per window and column: rows, missing, type mismatches, out of range, unseen, moments.
        classes: One row per window, categorical prediction and class: rows.
    """

    findings: pl.DataFrame
    quality: pl.DataFrame
    classes: pl.DataFrame


class Detector:
    """Scores and judges the windows of one model, version and stage.

    Args:
        key: The model, version and stage.
        baseline: What its windows are compared with.
        config: When a column is called drifted.
    """

    def __init__(self, key: ModelKey, baseline: Baseline, config: DetectConfig) -> None:
        self.key = key
        self._baseline = baseline
        self._config = config
        self._groupings = build_groupings(baseline.columns)
        self._reference_rows = np.array([float(each.counts.sum()) for each in baseline.columns])
        self._noise = {key: np.array([each.noise.get(key, np.nan) for each in baseline.columns]) for key in METHODS}
        self._table = FindingsTable(key, baseline, {bins: each.numeric for bins, each in self._groupings.items()})
        self._nulls: dict[str, list[Null]] = {}
        self._verdicts: dict[str, Verdicts] = {}

    def evaluate(self, windows: Sequence[WindowCounts]) -> Evaluation:
        """Findings of some windows, in the order given; verdicts depend on that order."""
        layout = self._baseline.layout
        counts = stack([each.counts.dense(layout) for each in windows])
        observed = counts.bins.astype(np.float64)
        moments = counts.moments()
        tails = moments[:, :, [Moment.TAIL_BELOW, Moment.TAIL_ABOVE]]
        scores = score(METHODS.values(), self._groupings, self._baseline.counts, observed, tails)
        rows = np.add.reduceat(observed, layout.offsets[:-1], axis=1)
        decisions = [
            self._decide(window, scores.values[DECIDING][index], rows[index]) for index, window in enumerate(windows)
        ]
        return Evaluation(
            self._findings(windows, scores, rows, decisions),
            quality_of(self.key, layout, windows, counts, moments),
            classes_of(self.key, layout, windows, counts),
        )

    def state(self) -> Tree:
        """The verdicts made so far, for `restore`; all else follows from the baseline."""
        return {window: verdicts.state() for window, verdicts in self._verdicts.items()}

    def restore(self, tree: Tree) -> None:
        """Take over a state of a detector with the same baseline.

        Raises:
            DamagedError: It is none.
        """
        stored = Stored(tree)
        for window in stored.names:
            self._verdicts[window] = Verdicts(len(self._baseline.columns))
            self._verdicts[window].restore(stored.tree(window))

    def _decide(self, window: WindowCounts, value: Floats, rows: Floats) -> Decision:
        """Verdict of each column in one window, by the deciding statistic."""
        nulls = self._nulls_of(window.window)
        squared = to_squared_scale(METHODS[DECIDING], value, rows)
        sampling = self._sampling(DECIDING, rows)
        natural = np.array([null.natural for null in nulls])
        shape = np.array([null.shape for null in nulls])
        chunks = np.array([float(null.chunks) for null in nulls])
        pvalue = surprise(squared, sampling + natural, shape, chunks)
        effect = np.sqrt(np.maximum(0, squared - sampling))
        exceeds = (pvalue < self._config.level) & (effect >= self._config.min_effect)
        judged = (rows >= self._config.min_rows) & ~np.isnan(pvalue)
        verdicts = self._verdicts.setdefault(window.window.name, Verdicts(len(rows)))
        detected = verdicts.judge(window.index, window.revision, exceeds, judged)
        reasons = [
            None if ok else null.reason or "insufficient" for ok, null in zip(~np.isnan(detected), nulls, strict=True)
        ]
        return Decision(pvalue, detected, reasons, [null.source or None for null in nulls])

    def _findings(
        self, windows: Sequence[WindowCounts], scores: Scores, rows: Floats, decisions: list[Decision]
    ) -> pl.DataFrame:
        value = np.stack([scores.values[key] for key in METHODS])
        beyond = [self._beyond_noise(key, scores.values[key], rows) for key in METHODS]
        own = {**scores.pvalues, DECIDING: np.stack([each.pvalue for each in decisions])}
        none = np.full_like(rows, np.nan)
        numbers = Numbers(
            rows=rows,
            value=value,
            noise_floor=np.stack([floor for floor, _ in beyond]),
            effect=np.stack([effect for _, effect in beyond]),
            pvalue=np.stack([own.get(key, none) for key in METHODS]),
        )
        return self._table.build(windows, numbers, decisions)

    def _nulls_of(self, window: WindowLength) -> list[Null]:
        if window.name not in self._nulls:
            self._nulls[window.name] = [
                build_null(self._baseline, column, window, float(noise), self._config.min_rows)
                for column, noise in zip(self._baseline.columns, self._noise[DECIDING], strict=True)
            ]
        return self._nulls[window.name]

    def _sampling(self, key: str, rows: Floats) -> Floats:
        """What sampling adds to a method's statistic on the squared scale: a (1/n + 1/N)."""
        with np.errstate(divide="ignore", invalid="ignore"):  # No rows: infinitely noisy, or no noise at all.
            return np.asarray(self._noise[key] * (1 / rows + 1 / self._reference_rows))

    def _beyond_noise(self, key: str, value: Floats, rows: Floats) -> tuple[Floats, Floats]:
        """Noise floor and effect in the method's own unit: √x, x or n·x with x what sampling adds."""
        spec, x = METHODS[key], self._sampling(key, rows)
        beyond = np.maximum(0, to_squared_scale(spec, value, rows) - x)
        match spec.scale:
            case Scale.SQUARED:
                return np.sqrt(x), np.sqrt(beyond)
            case Scale.LINEAR:
                return x, beyond
            case Scale.PER_ROW:
                with np.errstate(invalid="ignore"):  # No rows, no value.
                    return x * rows, beyond * rows
        raise AssertionError(spec.scale)
