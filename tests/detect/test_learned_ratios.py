"""Ratios of a learned baseline: what is usual is what live windows have had since."""

import numpy as np
import polars as pl
import pytest

from driftmeter.baseline.learning import Learning
from driftmeter.detect.config import DetectConfig
from driftmeter.detect.detector import Detector
from driftmeter.detect.reference import FixedReference
from driftmeter.model.baseline import Baseline
from driftmeter.model.counts import Counts
from driftmeter.model.window_counts import WindowCounts
from driftmeter.model.windows import parse_window
from driftmeter.summary.fold import fold
from rows import KEY, predictions

WINDOW = parse_window("6h")
ROWS = 400


def _detector(baseline: Baseline) -> Detector:
    return Detector(KEY, baseline, [FixedReference(baseline)], DetectConfig(multivariate=()), [WINDOW])


def _findings(
    detector: Detector, baseline: Baseline, number: int, share: float, random: np.random.Generator, *, wrong: bool
) -> pl.DataFrame:
    """Of a window in which such a share of a column is missing, or of the wrong type."""
    bad = random.random(ROWS) < share
    values = [
        None if wanting else number for wanting, number in zip(bad, random.normal(size=ROWS).tolist(), strict=True)
    ]
    mismatches = {"feature.x": np.flatnonzero(bad).astype(np.uint32)} if wrong else {}
    counts = Counts.zeros(baseline.layout, 1)
    batch = predictions(np.zeros(ROWS, np.int64), {"x": values})
    fold(baseline.layout, batch.rows, np.zeros(ROWS, np.int32), counts, mismatches)
    start = number * WINDOW.length_ns
    return detector.evaluate([WindowCounts(WINDOW, number, start, start + WINDOW.length_ns, 0, counts)]).findings


@pytest.mark.parametrize(("key", "wrong"), [("type_mismatch_ratio", True), ("missing_ratio", False)])
def test_what_windows_always_had_is_no_drift(key: str, wrong: bool) -> None:  # noqa: FBT001 - a parameter.
    """The rows learned from know no mismatches, and were few; a ratio that stays is usual, one that jumps is not."""
    random = np.random.default_rng(3)
    learning = Learning(KEY, ROWS)
    learning.add(predictions(np.zeros(ROWS, np.int64), {"x": random.normal(size=ROWS).tolist()}))
    learned = learning.task()()
    assert learned is not None
    detector, number = _detector(learned), 0
    while (known := detector.learned()) is None:
        _findings(detector, learned, number, 0.04, random, wrong=wrong)
        number += 1
    detector = _detector(known)
    usual = [_findings(detector, known, number + i, 0.04, random, wrong=wrong) for i in range(28)]
    drifted = pl.concat(usual).filter(pl.col("method") == key)["detected"]
    assert drifted.null_count() == 0
    assert drifted.sum() <= 2
    later = [_findings(detector, known, number + 28 + i, 0.2, random, wrong=wrong) for i in range(3)]
    assert later[-1].filter(pl.col("method") == key)["detected"].item() is True
