"""Findings as a table: one data frame out of arrays, since every query costs more than the numbers in it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from driftmeter.detect.units import KEYS, Units
from driftmeter.model.findings import FINDINGS_SCHEMA
from driftmeter.model.predictions import ModelKey
from driftmeter.model.window_counts import WindowCounts

Floats = npt.NDArray[np.float64]

_INFORMING = "informing"
_MODEL = "model"


@dataclass(frozen=True, eq=False)
class Numbers:
    """What was computed for w windows of c columns, and of the model as a whole on the place after them.

    Attributes:
        rows: float64 (keys, w, c + 1): rows that a number is of.
        value, noise_floor, effect, pvalue: float64 (keys, w, c + 1), keys in the order of `KEYS`.
        detected: float64 (w, units): 1 drifted, 0 not, nan no verdict.
        reasons: object (w, units): why there is none; None where there is one.
        sources: object (w, units): source of the null; None where there is none.
    """

    rows: Floats
    value: Floats
    noise_floor: Floats
    effect: Floats
    pvalue: Floats
    detected: Floats
    reasons: npt.NDArray[np.object_]
    sources: npt.NDArray[np.object_]


class FindingsTable:
    """Builds `FINDINGS_SCHEMA` for one model: by window, column and method.

    Args:
        key: The model, version and stage.
        units: What is judged.
        segment: Label of the segment; empty for the model itself.
    """

    def __init__(self, key: ModelKey, units: Units, segment: str = "") -> None:
        self._column, self._key = np.nonzero(units.applies.T)
        self._unit = units.number[self._key, self._column]
        names = [each.name for each in units.columns] + [""]
        roles = [each.role.value for each in units.columns] + [_MODEL]
        self._same = pl.DataFrame(
            {
                "column": [names[place] for place in self._column.tolist()],
                "role": [roles[place] for place in self._column.tolist()],
                "method": [KEYS[place] for place in self._key.tolist()],
            },
            schema=dict.fromkeys(("column", "role", "method"), pl.String),
        ).with_columns(
            model=pl.lit(key.model),
            version=pl.lit(key.version),
            stage=pl.lit(key.stage),
            segment=pl.lit(segment),
        )

    def build(self, windows: Sequence[WindowCounts], numbers: Numbers, baseline: str) -> pl.DataFrame:
        """Findings of some windows against one reference; no non-finite number leaves as anything but null."""
        w, size = len(windows), len(self._column)
        columns = {
            "window": _repeated([each.window.name for each in windows], size, pl.String),
            "window_index": _repeated([each.index for each in windows], size, pl.Int64),
            "window_start": _repeated([each.start_ns for each in windows], size, pl.Datetime("ns", "UTC")),
            "window_end": _repeated([each.end_ns for each in windows], size, pl.Datetime("ns", "UTC")),
            "revision": _repeated([each.revision for each in windows], size, pl.Int64),
            "baseline": _repeated([baseline], w * size, pl.String),
            "rows": pl.Series(self._taken(numbers.rows).astype(np.int64)),
            "value": self._finite(numbers.value),
            "noise_floor": self._finite(numbers.noise_floor),
            "effect": self._finite(numbers.effect),
            "pvalue": self._finite(numbers.pvalue),
            "null_source": self._texts(numbers.sources, None),
            "detected": pl.Series(self._of_units(numbers.detected, np.nan).ravel(), nan_to_null=True).cast(pl.Boolean),
            "reason": self._texts(numbers.reasons, _INFORMING),
        }
        same = self._same if w == 1 else pl.concat([self._same] * w)
        columns |= {name: same[name] for name in same.columns}
        return pl.DataFrame({name: columns[name] for name in FINDINGS_SCHEMA})

    def _of_units(self, by_unit: npt.NDArray[np.generic], elsewhere: object) -> npt.NDArray[np.generic]:
        """(w, findings): what units say; something else where a finding only informs."""
        return np.where(self._unit >= 0, by_unit[:, self._unit], elsewhere)  # type: ignore[call-overload, no-any-return]

    def _taken(self, numbers: Floats) -> Floats:
        return np.asarray(numbers[self._key, :, self._column].T.ravel())

    def _finite(self, numbers: Floats) -> pl.Series:
        taken = self._taken(numbers)
        return pl.Series(np.where(np.isfinite(taken), taken, np.nan), nan_to_null=True)

    def _texts(self, by_unit: npt.NDArray[np.object_], elsewhere: str | None) -> pl.Series:
        return pl.Series(self._of_units(by_unit, elsewhere).ravel().tolist(), dtype=pl.String)


def _repeated(values: Sequence[str | int | None], times: int, dtype: pl.DataType | type[pl.DataType]) -> pl.Series:
    """Each value so many times."""
    if len(values) == 1:
        return pl.Series([values[0]], dtype=dtype).new_from_index(0, times)
    return pl.Series(values, dtype=dtype).gather(np.repeat(np.arange(len(values)), times))
