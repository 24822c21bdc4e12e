"""A small baseline and a few windows from end to end: compiles whatever building and judging need, before it counts."""

import numpy as np
import polars as pl

from driftmeter.baseline.build import build_baseline
from driftmeter.baseline.data import ColumnOptions, to_dataset
from driftmeter.detect.config import DetectConfig
from driftmeter.detect.detector import Detector
from driftmeter.detect.reference import FixedReference
from driftmeter.model.counts import Counts
from driftmeter.model.predictions import ModelKey
from driftmeter.model.window_counts import WindowCounts
from driftmeter.model.windows import DAY_NS, parse_window
from driftmeter.summary.fold import fold

_DAYS, _ROWS = 24, 8
"""As few as a null and a level can be had from."""


def rehearse() -> None:
    """Build a baseline and evaluate windows against it; nothing is kept but machine code."""
    days = np.repeat(np.arange(_DAYS), _ROWS)
    number = np.sin(np.arange(len(days)))
    names = pl.Series(np.where(number > 0, "a", "b"))
    times = pl.Series(days * DAY_NS).cast(pl.Datetime("ns"))
    data = to_dataset(pl.DataFrame({"time": times, "x": number, "c": names}), ColumnOptions("time"), "rehearsal")
    window = parse_window("24h")
    baseline = build_baseline(data, "rehearsal", "", [window])
    config = DetectConfig(false_alarms_per_week=7, min_rows=1)
    detector = Detector(ModelKey("rehearsal", "", ""), baseline, [FixedReference(baseline)], config, [window])
    counts = Counts.zeros(baseline.layout, _DAYS)
    fold(baseline.layout, data.rows, days.astype(np.int32), counts)
    detector.evaluate(
        [WindowCounts(window, i, i * DAY_NS, (i + 1) * DAY_NS, 0, counts.window(i)) for i in range(_DAYS)]
    )
