"""Windows that overlap go the whole way: counted, compared with chunks that do not overlap, judged like these."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from driftmeter.baseline.build import build_baseline
from driftmeter.baseline.data import ColumnOptions, to_dataset
from driftmeter.model.baseline import Baseline
from driftmeter.model.windows import parse_window
from watched_pipeline import MINUTE_NS, START_NS, WatchedPipeline, finding_of

HOURS, ROWS = 24 * 14, 200
WINDOW = "1h every 30m"


def baseline() -> Baseline:
    """Two weeks of hours that are all alike, cut for windows that overlap."""
    random = np.random.default_rng(1)
    start = datetime.fromtimestamp(START_NS / 10**9, UTC) - timedelta(hours=HOURS)
    times = [start + timedelta(seconds=number * 3600 / ROWS) for number in range(HOURS * ROWS)]
    rows = pl.DataFrame({"x": random.normal(size=len(times)), "time": times})
    return build_baseline(to_dataset(rows, ColumnOptions("time"), "rows"), "prices", "", [parse_window(WINDOW)])


def test_verdicts_look_at_windows_that_do_not_overlap() -> None:
    """The second of three needs an hour of its own: half an hour later is not enough."""
    anchor = baseline()
    assert list(anchor.chunks) == ["1h"]
    it = WatchedPipeline({"window": {"lengths": [WINDOW], "out_of_orderness": "1s"}}, [anchor])
    random = np.random.default_rng(2)
    for half in range(7):
        times = [START_NS + half * 30 * MINUTE_NS + number * 10**9 for number in range(ROWS // 2)]
        it.clock.ns = times[-1]
        it.send([{"x": float(value)} for value in random.normal(3 if half else 0, 1, ROWS // 2)], times)
    windows = it.windows_of("prices")
    assert [int(each.quality["rows"][0]) for each in windows] == [100, 200, 200, 200, 200, 200]
    assert [finding_of(each, "x")["null_source"] for each in windows] == ["own"] * 6
    assert [finding_of(each, "x")["detected"] for each in windows] == [None, False, False, True, True, True]
