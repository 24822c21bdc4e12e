"""One model's windows against its baseline: findings and quality."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from driftmeter.detect.config import DetectConfig
from driftmeter.detect.null import Null, build_null, surprise
from driftmeter.detect.quality import classes_of, quality_of
from driftmeter.detect.verdict import Verdicts
from driftmeter.methods import DECIDING, METHODS
from driftmeter.methods.groupings import build_groupings
from driftmeter.methods.score import Scores, score, to_squared_scale
from driftmeter.methods.spec import Scale
from driftmeter.model.baseline import Baseline
from driftmeter.model.counts import Moment, stack
from driftmeter.model.findings import FINDINGS_SCHEMA
from driftmeter.model.predictions import ModelKey
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
        self._nulls: dict[str, list[Null]] = {}
        self._verdicts: dict[str, Verdicts] = {}

    def evaluate(self, windows: Sequence[WindowCounts]) -> Evaluation:
        """Findings of some windows, in the order given; verdicts depend on that order."""
        layout = self._baseline.layout
        counts = stack([each.counts.dense(layout) for each in windows])
        observed = counts.bins.astype(np.float64)
        tails = counts.moments[:, :, [Moment.TAIL_BELOW, Moment.TAIL_ABOVE]]
        scores = score(METHODS.values(), self._groupings, self._baseline.counts, observed, tails)
        rows = np.add.reduceat(observed, layout.offsets[:-1], axis=1)
        decisions = [
            self._decide(window, scores.values[DECIDING][index], rows[index]) for index, window in enumerate(windows)
        ]
        return Evaluation(
            self._findings(windows, scores, rows, decisions),
            quality_of(self.key, layout, windows, counts),
            classes_of(self.key, layout, windows, counts),
        )

    def _decide(self, window: WindowCounts, value: Floats, rows: Floats) -> "_Decision":
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
        return _Decision(pvalue, detected, reasons, [null.source or None for null in nulls])

    def _findings(
        self, windows: Sequence[WindowCounts], scores: Scores, rows: Floats, decisions: list["_Decision"]
    ) -> pl.DataFrame:
        frames = []
        for key, spec in METHODS.items():
            applies = np.flatnonzero(np.where(self._groupings[spec.bins].numeric, spec.numeric, spec.categorical))
            value = scores.values[key]
            floor, effect = self._beyond_noise(key, value, rows)
            if key == DECIDING:
                pvalue = np.stack([each.pvalue for each in decisions])
                verdict: Mapping[str, pl.Series | pl.Expr] = _verdict_columns(decisions, applies)
            else:
                pvalue = scores.pvalues.get(key, np.full_like(value, np.nan))
                verdict = _INFORMING
            frame = pl.DataFrame({
                "window_number": np.repeat(np.arange(len(windows)), len(applies)),
                "column_number": np.tile(applies, len(windows)),
                **{
                    name: table[:, applies].ravel()
                    for name, table in (
                        ("rows", rows), ("value", value), ("noise_floor", floor), ("effect", effect), ("pvalue", pvalue)
                    )
                },
            })  # fmt: skip
            frames.append(frame.with_columns(method=pl.lit(key), **verdict))
        in_order = pl.concat(frames).sort("window_number", "column_number", maintain_order=True)
        return self._complete(windows, in_order)

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

    def _complete(self, windows: Sequence[WindowCounts], part: pl.DataFrame) -> pl.DataFrame:
        """Names and times in the place of numbers; no non-finite number leaves as anything but null."""
        columns = self._baseline.layout.columns
        by_window = pl.DataFrame(
            {
                "window": [each.window.name for each in windows],
                "window_index": [each.index for each in windows],
                "window_start": pl.Series([each.start_ns for each in windows], dtype=pl.Int64),
                "window_end": pl.Series([each.end_ns for each in windows], dtype=pl.Int64),
                "revision": [each.revision for each in windows],
            }
        )[part["window_number"]]
        by_column = pl.DataFrame(
            {
                "column": [each.name for each in columns],
                "role": [each.role.value for each in columns],
            }
        )[part["column_number"]]
        finite = [pl.when(pl.col(name).is_finite()).then(name).alias(name) for name in _NUMBERS]
        return (
            pl.concat([part, by_window, by_column], how="horizontal")
            .select(
                *finite,
                pl.exclude(*_NUMBERS),
                model=pl.lit(self.key.model),
                version=pl.lit(self.key.version),
                stage=pl.lit(self.key.stage),
                segment=pl.lit(""),
                baseline=pl.lit(self._baseline.name),
            )
            .select(pl.col(name).cast(dtype) for name, dtype in FINDINGS_SCHEMA.items())
        )


@dataclass(frozen=True, eq=False)
class _Decision:
    """Per column of one window: surprise, verdict (1, 0, nan for none), reason for none, source of the null."""

    pvalue: Floats
    detected: Floats
    reasons: list[str | None]
    sources: list[str | None]


def _verdict_columns(decisions: list[_Decision], applies: npt.NDArray[np.intp]) -> dict[str, pl.Series]:
    detected = np.stack([each.detected for each in decisions])[:, applies].ravel()
    return {
        "detected": pl.Series(detected).fill_nan(None).cast(pl.Boolean),
        "reason": pl.Series([each.reasons[i] for each in decisions for i in applies], dtype=pl.String),
        "null_source": pl.Series([each.sources[i] for each in decisions for i in applies], dtype=pl.String),
    }


_INFORMING = {
    "detected": pl.lit(None, pl.Boolean),
    "reason": pl.lit("informing"),
    "null_source": pl.lit(None, pl.String),
}
_NUMBERS = ("value", "noise_floor", "effect", "pvalue")
