"""What the seasons of a real year do, and a drift so slow that a rolling reference swallows it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import polars as pl

from accuracy import engine, traffic
from driftmeter.detect.detector import Detector
from driftmeter.detect.reference import FixedReference, Reference
from driftmeter.detect.rolling import RollingReference
from driftmeter.detect.seasonal import SeasonalReference
from driftmeter.model.baseline import Baseline
from driftmeter.model.columns import Role
from driftmeter.model.findings import BASELINE_DRIFT
from driftmeter.model.window_counts import WindowCounts
from driftmeter.model.windows import DAY_NS, WEEK_NS, parse_window

BASELINE_WEEKS = 8
WATCHED = {
    "rhythm": ("weekday", "carrier", "origin"),
    "local clock": ("hour",),
    "weather": ("temp", "humid"),
}
"""Columns that follow the week, and hardly the seasons; the local hour, which daylight saving moves against UTC from 10
March to 3 November; and columns that follow the seasons."""
ZONES = ("UTC", "America/New_York")
"""Whose hours of the week `seasonal` goes by."""
SLOW_WEEKS, SLOW_SIZE = 26, 2.0
"""A column that moves by two standard deviations in half a year: too slow for a week to tell."""

_DAY, _QUARTER = parse_window("24h"), parse_window("6h")
_MONTHS = 12


@dataclass(frozen=True, slots=True)
class Season:
    """What one reference says of some columns.

    Attributes:
        reference: What windows are compared with.
        watched: Which columns and windows.
        drifted: Per month, the share of the windows in which one of the columns is called drifted.
    """

    reference: str
    watched: str
    drifted: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Slow:
    """A slow drift as a rolling reference of seven days and as the fixed baseline see it.

    Attributes:
        rolling: Share of the days that are drifted against the last seven.
        fixed: Share that are against the baseline.
        anchor: Distance (Jensen-Shannon, 0 to 1) of the rolling reference itself from the baseline at the end.
        anchor_noise: What sampling alone gives there.
    """

    rolling: float
    fixed: float
    anchor: float
    anchor_noise: float


def year() -> list[Season]:
    """The flights of 2013 in their own order, January and February being the baseline."""
    rows = traffic.read_flights()
    known, live = rows.between(0, BASELINE_WEEKS * WEEK_NS), rows.between(BASELINE_WEEKS * WEEK_NS, 2**62)
    found = []
    for window, zone in product((_DAY, _QUARTER), ZONES):
        baseline = engine.build(known.columns, known.times_ns + _MONDAYS_NS, [window], season_zone=zone)
        references: list[Reference] = [SeasonalReference(f"seasonal, {zone}", baseline)]
        if zone == ZONES[0]:
            references.insert(0, FixedReference(baseline))
        windows = engine.count(baseline, live.columns, live.times_ns + _MONDAYS_NS, window)
        findings = _findings(baseline, references, windows)
        for reference in references:
            mine = findings.filter(pl.col("baseline") == reference.name)
            for what, columns in WATCHED.items():
                text = f"{what} ({', '.join(columns)}), {window.name}"
                found.append(Season(reference.name, text, _by_month(mine, columns)))
    return found


_MONDAYS_NS = DAY_NS * 15_706
"""1 January 2013, a Tuesday: hours of the week are those of the calendar."""


def slow_drift(seed: int) -> Slow:
    """One column that creeps away, 1,000 rows a day."""
    rng, per_day = np.random.default_rng(seed), 1_000
    days = (BASELINE_WEEKS + SLOW_WEEKS) * traffic.DAYS_IN_WEEK
    day = np.repeat(np.arange(days), per_day)
    live_day = np.maximum(0, day - BASELINE_WEEKS * traffic.DAYS_IN_WEEK)
    moved = SLOW_SIZE * live_day / (SLOW_WEEKS * traffic.DAYS_IN_WEEK)
    times = day * DAY_NS + np.tile(np.arange(per_day) * (DAY_NS // per_day), days)
    rows = traffic.Rows({"x": rng.standard_normal(len(day)) + moved}, times, day)
    known, live = rows.between(0, BASELINE_WEEKS * WEEK_NS), rows.between(BASELINE_WEEKS * WEEK_NS, 2**62)
    baseline = engine.build(known.columns, known.times_ns, [_DAY])
    references: list[Reference] = [FixedReference(baseline), RollingReference("rolling", baseline.layout, WEEK_NS)]
    findings = _findings(baseline, references, engine.count(baseline, live.columns, live.times_ns, _DAY))
    drifted = findings.filter(pl.col("method") == "jensen_shannon").group_by("baseline").agg(pl.col("detected").mean())
    share = dict(drifted.iter_rows())
    last = findings.filter(pl.col("method") == BASELINE_DRIFT).sort("window_index").tail(1).row(0, named=True)
    return Slow(float(share["rolling"]), float(share["file"]), float(last["value"]), float(last["noise_floor"]))


def _findings(baseline: Baseline, references: Sequence[Reference], windows: Iterable[WindowCounts]) -> pl.DataFrame:
    detector = Detector(engine.KEY, baseline, references, engine.config())
    parts = [detector.evaluate(part).findings for part in engine.batches(baseline, windows)]
    return pl.concat(parts).filter(pl.col("detected").is_not_null() | (pl.col("method") == BASELINE_DRIFT))


def _by_month(findings: pl.DataFrame, columns: Sequence[str]) -> dict[str, float]:
    mine = findings.filter(pl.col("column").is_in(columns) & (pl.col("role") == Role.FEATURE.value))
    of_window = mine.group_by(pl.col("window_start").dt.month().alias("month"), "window_index").agg(
        pl.col("detected").any()
    )
    months = dict(of_window.group_by("month").agg(pl.col("detected").mean()).iter_rows())
    return {str(month): float(months[month]) for month in range(1, _MONTHS + 1) if month in months}
