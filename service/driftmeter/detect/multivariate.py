"""A window's sampled rows against the baseline's: drift of all columns together, and rows that are odd by themselves.

What the baseline's own rows say without drift is found by leaving out blocks of them: rows that are neighbours in time
against all others, so that what varies from day to day is in it. The numbers inform; they decide nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy import special

from driftmeter.detect.beta_binomial import tails
from driftmeter.methods.sampled import SAMPLED
from driftmeter.methods.sampled.encoding import Encoding
from driftmeter.methods.sampled.isolation_forest import IsolationForest
from driftmeter.methods.sampled.spec import Fitted, SampledSpec
from driftmeter.model.anomalies import ANOMALIES_SCHEMA, ODDEST
from driftmeter.model.baseline import Baseline
from driftmeter.model.bins import CategoryBins
from driftmeter.model.columns import Role
from driftmeter.model.findings import FINDINGS_SCHEMA
from driftmeter.model.predictions import ModelKey
from driftmeter.model.sample import RowSample
from driftmeter.model.window_counts import WindowCounts

Floats = npt.NDArray[np.float64]

ROWS_MIN = 32
"""Sampled rows that a window needs, and a block of the baseline."""

BLOCKS_MIN, BLOCKS_MAX = 4, 8
"""Blocks that the baseline's sample is cut into."""

_SIZES = (32, 48, 64, 96, 128, 192, 256, 384, 512)
"""Rows in a block: the largest of these that is no more than the window has."""

_STEP = 16
"""Blocks begin at multiples of this, and have a multiple of it: see `thinned`."""

_FITTED_MAX = 256
"""Methods kept fitted, over all models: up to 1 MB each."""

_NO_FINDINGS, _NO_ANOMALIES = FINDINGS_SCHEMA.to_frame(), ANOMALIES_SCHEMA.to_frame()
_OTHERS_REASON = "informing"
_TIME = pl.Datetime("ns", "UTC")


class _Ready(NamedTuple):
    """One method for one baseline.

    Attributes:
        columns: int64 (c,): the columns that it looks at.
        encoding: How their values become numbers.
        fitted: The method.
    """

    columns: npt.NDArray[np.int64]
    encoding: Encoding
    fitted: Fitted


@dataclass(frozen=True)
class BlockNull:
    """What a method says of blocks of the baseline's own rows.

    Attributes:
        mean: The mean number.
        deviation: The standard deviation, ddof 1.
        blocks: How many there were; 0 when the baseline is too small.
        size: Rows in each.
    """

    mean: float = np.nan
    deviation: float = np.nan
    blocks: int = 0
    size: int = 0

    def pvalue_of_share(self, value: float, rows: int) -> float:
        """Probability of at least such a share of so many rows without drift.

        Beta-binomial: what the blocks had, after Jeffreys' prior, made as uncertain as the blocks differ among
        themselves beyond what drawing rows explains.
        """
        if not self.blocks:
            return float("nan")
        total = self.blocks * self.size
        mean = (self.mean * total + 0.5) / (total + 1)
        between = self.deviation**2 - mean * (1 - mean) / self.size
        precision = min(total + 1.0, mean * (1 - mean) / between) if between > 0 else total + 1.0
        asked = (round(value * rows), rows, mean, precision)
        upper, _ = tails(*(np.array([each], np.float64) for each in asked))
        return float(upper[0])

    def pvalue(self, value: float, *, two_sided: bool) -> float:
        """Probability of a number so far from the mean without drift: a new block's has Student's t distribution."""
        if not self.blocks or not self.deviation > 0:
            return float("nan")
        distance = (value - self.mean) / (self.deviation * np.sqrt(1 + 1 / self.blocks))
        tail = special.stdtr(self.blocks - 1, -abs(distance) if two_sided else -distance)
        return float(min(1.0, 2 * tail)) if two_sided else float(tail)


class SampleMethods:
    """The methods on samples for one model, version and stage.

    Args:
        key: The model, version and stage.
        baseline: What its windows are compared with.
        methods: Keys of `SAMPLED`, in the order of the findings.
    """

    def __init__(self, key: ModelKey, baseline: Baseline, methods: Sequence[str]) -> None:
        self._key = key
        self._baseline = baseline
        self._methods = [SAMPLED[method] for method in methods] if len(baseline.sample) >= 2 * ROWS_MIN else []
        self._nulls: dict[tuple[str, int], BlockNull] = {}

    def evaluate(self, windows: Sequence[WindowCounts]) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Findings, `FINDINGS_SCHEMA`, on the model as a whole (role `model`, no column), and `ANOMALIES_SCHEMA`.

        Windows of fewer than `ROWS_MIN` sampled rows have none.
        """
        findings, anomalies = [_NO_FINDINGS], [_NO_ANOMALIES]
        for window in windows:
            sample = window.sample
            if sample.size < ROWS_MIN:
                continue
            for spec in self._methods:
                ready = _ready(self._baseline, spec)
                rows = ready.encoding.standardised(sample.values[:, ready.columns])
                findings.append(self._finding(window, spec, ready, rows))
                if isinstance(ready.fitted, IsolationForest):
                    anomalies.append(self._oddest(window, sample, ready.fitted, rows))
        return pl.concat(findings), pl.concat(anomalies)

    def _finding(self, window: WindowCounts, spec: SampledSpec, ready: _Ready, rows: Floats) -> pl.DataFrame:
        value = ready.fitted.score(rows)
        null = self._null(spec, ready, len(rows))
        beyond = abs(value - null.mean) if spec.two_sided else max(0.0, value - null.mean)
        numbers = {
            "value": value,
            "noise_floor": null.mean,
            "effect": beyond,
            "pvalue": null.pvalue_of_share(value, len(rows))
            if spec.share
            else null.pvalue(value, two_sided=spec.two_sided),
        }
        return pl.DataFrame(
            {
                **self._key._asdict(),
                "segment": "",
                "column": "",
                "role": "model",
                "window": window.window.name,
                "window_index": window.index,
                "window_start": window.start_ns,
                "window_end": window.end_ns,
                "revision": window.revision,
                "rows": len(rows),
                "baseline": self._baseline.name,
                "method": spec.key,
                **{name: number if np.isfinite(number) else None for name, number in numbers.items()},
                "null_source": "own" if null.blocks else None,
                "detected": None,
                "reason": _OTHERS_REASON,
            },
            schema=FINDINGS_SCHEMA,
        )

    def _oddest(self, window: WindowCounts, sample: RowSample, forest: IsolationForest, rows: Floats) -> pl.DataFrame:
        scores = forest.scores(rows)
        first = np.lexsort((sample.keys, -scores))[:ODDEST]
        traces = [bytes(trace).hex() if trace.any() else "" for trace in sample.traces[first]]
        same = {
            **self._key._asdict(),
            "window": window.window.name,
            "window_start": window.start_ns,
            "window_end": window.end_ns,
        }
        return pl.DataFrame(
            {"trace_id": traces, "time": pl.Series(sample.times_ns[first]).cast(_TIME), "score": scores[first]}
        ).select(
            *(pl.lit(value, ANOMALIES_SCHEMA[name]).alias(name) for name, value in same.items()),
            "trace_id",
            "time",
            "score",
            pl.lit(forest.limit).alias("limit"),
            (pl.col("score") > forest.limit).alias("anomalous"),
        )

    def _null(self, spec: SampledSpec, ready: _Ready, rows: int) -> BlockNull:
        """What the method says of blocks of about so many of the baseline's rows."""
        total = len(self._baseline.sample)
        fitting = [size for size in _SIZES if size <= min(rows, total // BLOCKS_MIN)]
        if not fitting:
            return BlockNull()
        size = fitting[-1]
        if (spec.key, size) not in self._nulls:
            self._nulls[spec.key, size] = _block_null(spec, ready, self._baseline.sample, size)
        return self._nulls[spec.key, size]


def _block_null(spec: SampledSpec, ready: _Ready, sample: Floats, size: int) -> BlockNull:
    rows = ready.encoding.standardised(sample[:, ready.columns])
    starts = np.linspace(0, len(rows) - size, min(BLOCKS_MAX, len(rows) // size)).astype(np.int64) // _STEP * _STEP
    numbers = [
        spec.fit(np.concatenate([rows[:start], rows[start + size :]])).score(rows[start : start + size])
        for start in starts.tolist()
    ]
    return BlockNull(float(np.mean(numbers)), float(np.std(numbers, ddof=1)), len(numbers), size)


@lru_cache(maxsize=_FITTED_MAX)
def _ready(baseline: Baseline, spec: SampledSpec) -> _Ready:
    """A method fitted to a baseline's sample."""
    features = [i for i, each in enumerate(baseline.columns) if spec.all_roles or each.column.role == Role.FEATURE]
    columns = np.array(features or range(len(baseline.columns)), np.int64)
    counts = [_category_counts(baseline, number) for number in columns.tolist()]
    sample = baseline.sample[:, columns]
    encoding = Encoding.of(sample, counts)
    return _Ready(columns, encoding, spec.fit(encoding.standardised(sample)))


def _category_counts(baseline: Baseline, number: int) -> Floats | None:
    column = baseline.columns[number]
    return column.counts.astype(np.float64) if isinstance(column.bins, CategoryBins) else None
