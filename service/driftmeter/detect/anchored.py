"""How far a rolling reference itself has moved from the fixed anchor, so that slow drift cannot hide in it."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import polars as pl

from driftmeter.detect.reference import Expected
from driftmeter.methods import DECIDING, METHODS
from driftmeter.methods.score import Grouping, score
from driftmeter.methods.spec import Bins
from driftmeter.model.baseline import Baseline
from driftmeter.model.findings import BASELINE_DRIFT, FINDINGS_SCHEMA
from driftmeter.model.predictions import ModelKey
from driftmeter.model.window_counts import WindowCounts


class AnchorScores:
    """Jensen-Shannon distances of references from the anchor.

    Args:
        key: The model, version and stage.
        baseline: The anchor.
        groupings: Of its columns.
        segment: Label of the segment; empty for the model itself.
    """

    def __init__(
        self, key: ModelKey, baseline: Baseline, groupings: Mapping[Bins, Grouping], segment: str = ""
    ) -> None:
        self._key = key
        self._segment = segment
        self._baseline = baseline
        self._groupings = groupings
        self._noise = np.array([each.noise.get(DECIDING, np.nan) for each in baseline.columns])
        self._rows = np.array([float(each.counts.sum()) for each in baseline.columns])

    def findings(self, window: WindowCounts, expected: Expected, name: str) -> pl.DataFrame:
        """One row per column: how far what this window is compared with is from the anchor, 0 to 1.

        `rows` are those of the reference; `noise_floor` and `effect` as for a window of so many rows.
        """
        values = np.add.reduceat(expected.counts, self._baseline.layout.offsets[:-1])
        spec = METHODS[DECIDING]
        distance = score([spec], self._groupings, self._baseline.counts, expected.counts[None]).values[DECIDING][0]
        with np.errstate(divide="ignore", invalid="ignore"):  # No values: no distance.
            noise = self._noise * (1 / values + 1 / self._rows)
        size = len(values)
        columns = self._baseline.layout.columns
        same = {
            **self._key._asdict(),
            "segment": self._segment,
            "window": window.window.name,
            "window_index": window.index,
            "window_start": window.start_ns,
            "window_end": window.end_ns,
            "revision": window.revision,
            "baseline": name,
            "method": BASELINE_DRIFT,
            "pvalue": None,
            "null_source": None,
            "detected": None,
            "reason": "informing",
        }
        own: dict[str, object] = {
            "column": [each.name for each in columns],
            "role": [each.role.value for each in columns],
            "rows": values.astype(np.int64),
            "value": _finite(distance),
            "noise_floor": _finite(np.sqrt(noise)),
            "effect": _finite(np.sqrt(np.maximum(0, distance**2 - noise))),
        }
        return pl.DataFrame(
            {
                name: own[name] if name in own else pl.Series([same[name]], dtype=dtype).new_from_index(0, size)
                for name, dtype in FINDINGS_SCHEMA.items()
            },
            schema=FINDINGS_SCHEMA,
        )


def _finite(numbers: npt.NDArray[np.float64]) -> pl.Series:
    return pl.Series(np.where(np.isfinite(numbers), numbers, np.nan), nan_to_null=True)
