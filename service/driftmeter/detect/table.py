"""Findings as a table: one data frame out of arrays, since every query costs more than the numbers in it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from driftmeter.methods import DECIDING, METHODS
from driftmeter.methods.spec import Bins, MethodSpec
from driftmeter.model.baseline import Baseline
from driftmeter.model.findings import FINDINGS_SCHEMA
from driftmeter.model.predictions import ModelKey
from driftmeter.model.window_counts import WindowCounts

Floats = npt.NDArray[np.float64]

_INFORMING = "informing"


@dataclass(frozen=True, eq=False)
class Decision:
    """Per column of one window: surprise, verdict (1, 0, nan for none), reason for none, source of the null."""

    pvalue: Floats
    detected: Floats
    reasons: Sequence[str | None]
    sources: Sequence[str | None]


@dataclass(frozen=True, eq=False)
class Numbers:
    """What was computed for w windows of c columns by all methods, in the order of `METHODS`.

    Attributes:
        rows: float64 (w, c): rows with a value.
        value, noise_floor, effect, pvalue: float64 (methods, w, c).
    """

    rows: Floats
    value: Floats
    noise_floor: Floats
    effect: Floats
    pvalue: Floats


class FindingsTable:
    """Builds `FINDINGS_SCHEMA` for one model: by window, column and method.

    Args:
        key: The model, version and stage.
        baseline: Its columns, and what it is called.
        numeric: bool (columns,), for each grouping that methods use: which columns are numeric.
    """

    def __init__(self, key: ModelKey, baseline: Baseline, numeric: dict[Bins, npt.NDArray[np.bool_]]) -> None:
        applies = np.array([_applies(spec, numeric[spec.bins]) for spec in METHODS.values()])
        self._column, self._method = np.nonzero(applies.T)
        keys, columns = list(METHODS), baseline.layout.columns
        self._deciding = self._method == keys.index(DECIDING)
        self._same = pl.DataFrame(
            {
                "column": [columns[place].name for place in self._column.tolist()],
                "role": [columns[place].role.value for place in self._column.tolist()],
                "method": [keys[place] for place in self._method.tolist()],
            },
            schema=dict.fromkeys(("column", "role", "method"), pl.String),
        ).with_columns(
            model=pl.lit(key.model),
            version=pl.lit(key.version),
            stage=pl.lit(key.stage),
            segment=pl.lit(""),
            baseline=pl.lit(baseline.name),
        )

    def build(self, windows: Sequence[WindowCounts], numbers: Numbers, decisions: Sequence[Decision]) -> pl.DataFrame:
        """Findings of some windows; no non-finite number leaves as anything but null."""
        w, size = len(windows), len(self._column)
        detected = np.full((w, size), np.nan)
        detected[:, self._deciding] = self._of_columns([each.detected for each in decisions])
        columns = {
            "window": _repeated([each.window.name for each in windows], size, pl.String),
            "window_index": _repeated([each.index for each in windows], size, pl.Int64),
            "window_start": _repeated([each.start_ns for each in windows], size, pl.Datetime("ns", "UTC")),
            "window_end": _repeated([each.end_ns for each in windows], size, pl.Datetime("ns", "UTC")),
            "revision": _repeated([each.revision for each in windows], size, pl.Int64),
            "rows": pl.Series(numbers.rows[:, self._column].astype(np.int64).ravel()),
            "value": self._finite(numbers.value),
            "noise_floor": self._finite(numbers.noise_floor),
            "effect": self._finite(numbers.effect),
            "pvalue": self._finite(numbers.pvalue),
            "null_source": self._texts([each.sources for each in decisions], None),
            "detected": pl.Series(detected.ravel(), nan_to_null=True).cast(pl.Boolean),
            "reason": self._texts([each.reasons for each in decisions], _INFORMING),
        }
        same = self._same if w == 1 else pl.concat([self._same] * w)
        columns |= {name: same[name] for name in same.columns}
        return pl.DataFrame({name: columns[name] for name in FINDINGS_SCHEMA})

    def _of_columns(self, by_window: Sequence[npt.NDArray[np.generic]]) -> npt.NDArray[np.generic]:
        """(w, deciding rows): what decisions say of their columns."""
        return np.stack(by_window)[:, self._column[self._deciding]]

    def _finite(self, numbers: Floats) -> pl.Series:
        taken = numbers[self._method, :, self._column].T.ravel()
        return pl.Series(np.where(np.isfinite(taken), taken, np.nan), nan_to_null=True)

    def _texts(self, by_window: Sequence[Sequence[str | None]], elsewhere: str | None) -> pl.Series:
        texts = np.full((len(by_window), len(self._column)), elsewhere, object)
        texts[:, self._deciding] = self._of_columns([np.array(each, object) for each in by_window])
        return pl.Series(texts.ravel().tolist(), dtype=pl.String)


def _applies(spec: MethodSpec, numeric: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    return np.where(numeric, spec.numeric, spec.categorical)


def _repeated(values: Sequence[str | int | None], times: int, dtype: pl.DataType | type[pl.DataType]) -> pl.Series:
    """Each value so many times."""
    if len(values) == 1:
        return pl.Series([values[0]], dtype=dtype).new_from_index(0, times)
    return pl.Series(values, dtype=dtype).gather(np.repeat(np.arange(len(values)), times))
