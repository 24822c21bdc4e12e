"""How often a model that does not drift raises an alarm, beside how often it was asked to at most."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from accuracy import engine, traffic
from accuracy.drawn import draw_baseline, draw_windows
from accuracy.rates import Rate, alarms, clustered_rate, most_alarms
from accuracy.traffic import WEEKS
from accuracy.work import spread
from driftmeter.model.windows import DAY_NS, WEEK_NS, parse_window

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

ASKED = (0.1, 1.0, 10.0)
"""`false_alarms_per_week` that is tried."""
BY_DEFAULT = 1.0
"""The one that is tried with the smallest effects by default too."""
AT_LEAST = 1 / 5
"""Smallest part of what was asked for that is still honest: a detector that never alarms is easily made."""
TOLD_MIN = 5
"""Alarms that the baseline's own time has to hold for `AT_LEAST` to be asked: with fewer, one more or less of them
moves the level by more than that, and it is set with caution."""
LONG_WEEKS = 26
"""Length of a baseline of days that depend on each other, from which on it must hold: eight weeks of days with ρ = 0.9
say as much as three that are independent."""

SEGMENTS = 4


class Source(StrEnum):
    """Where undrifted traffic comes from."""

    DAYS = "flights, days shuffled"
    WEEKS = "flights, weeks shuffled"
    AUTOREGRESSIVE = "AR(1) day effect"
    INDEPENDENT = "i.i.d. counts"
    SEGMENTS = "i.i.d. rows, 4 segments judged too"


@dataclass(frozen=True, slots=True)
class Setting:
    """One kind of traffic and how it is watched.

    Attributes:
        source: Where the traffic comes from.
        window: Length of its windows.
        baseline_weeks: Length of the baseline.
        live_weeks: Time watched after it, in each trial.
        trials: How often all of it is done anew.
        columns: Number of columns; of synthetic traffic.
        rows: Rows in a window; of flights, on average.
    """

    source: Source
    window: str
    baseline_weeks: int
    live_weeks: int
    trials: int
    columns: int = len(traffic.FEATURES)
    rows: int = 920

    @property
    def windows_per_week(self) -> float:
        """Windows in a week."""
        return WEEK_NS / parse_window(self.window).length_ns

    @property
    def long_enough(self) -> bool:
        """Whether the baseline is long enough for the rate to be held to what was asked for."""
        return self.source in (Source.INDEPENDENT, Source.SEGMENTS) or self.baseline_weeks >= LONG_WEEKS


@dataclass(frozen=True, slots=True)
class Found:
    """What one setting gave for one budget.

    Attributes:
        setting: The setting.
        asked: Alarms a week that were allowed.
        every_effect: True when the level alone decides; false when also the smallest effects by default.
        rate: Alarms a week that there were.
        drifted: Share of the windows in which the model was called drifted.
        reachable: The most alarms a week that any level gives: where windows are few, they run into each other.
        uncalibrated: Trials in which the baseline was too short for the budget.
    """

    setting: Setting
    asked: float
    every_effect: bool
    rate: Rate
    drifted: float
    reachable: float
    uncalibrated: int

    @property
    def broken(self) -> bool:
        """Whether a promise is: more alarms than asked for with a baseline that is long enough, or hardly any."""
        promised = self.setting.long_enough and not self.uncalibrated
        return promised and not (self.at_most and (self.at_least or not self.is_told))

    @property
    def is_told(self) -> bool:
        """Whether it is asked that there be alarms at all."""
        long_enough = self.setting.long_enough and self.asked * self.setting.baseline_weeks >= TOLD_MIN
        return long_enough and self.every_effect and not self.uncalibrated

    @property
    def at_most(self) -> bool:
        """Whether the rate is at most what was asked for, as far as can be told from so much time."""
        return self.rate.low <= self.asked

    @property
    def at_least(self) -> bool:
        """Whether it is at least a fifth of it, or of what can be reached at all, as far as can be told."""
        return self.rate.high >= self._least

    @property
    def surely_at_least(self) -> bool:
        """Whether the rate measured is at least that."""
        return self.rate.per_week >= self._least

    @property
    def _least(self) -> float:
        return AT_LEAST * min(self.asked, self.reachable)


@dataclass(frozen=True, slots=True)
class _Piece:
    setting: Setting
    trial: int
    seed: int


@dataclass(frozen=True, eq=False, slots=True)
class _Watched:
    """What one trial gave.

    Attributes:
        drift_levels: Per configuration, the drift level of each live window.
        levels: Per configuration and budget, the level.
        clusters: What each live window was made of.
    """

    drift_levels: list[Floats]
    levels: list[list[float]]
    clusters: Ints


_EVERY_EFFECT = (True, False)


def measure(settings: Sequence[Setting], seed: int, processes: int | None = None) -> list[Found]:
    """All settings, each with the level alone and with the smallest effects by default."""
    pieces = [_Piece(setting, trial, seed) for setting in settings for trial in range(setting.trials)]
    watched = spread("false alarms", _watch, pieces, processes)
    found = []
    for setting in settings:
        mine = [each for piece, each in zip(pieces, watched, strict=True) if piece.setting == setting]
        found += [
            _summed(setting, asked, every, mine, seed)
            for every in range(len(_EVERY_EFFECT))
            for asked in range(len(ASKED))
        ]
    return found


def _watch(piece: _Piece) -> _Watched:
    setting, window = piece.setting, parse_window(piece.setting.window)
    configs = [engine.config(every_effect=each) for each in _EVERY_EFFECT]
    kind = list(Source).index(setting.source)
    rng = np.random.default_rng([piece.seed, piece.trial, kind, setting.columns, setting.rows])
    if setting.source is Source.INDEPENDENT:
        per_week = round(setting.windows_per_week)
        chunks, windows = setting.baseline_weeks * per_week, setting.live_weeks * per_week
        drawn = draw_baseline(rng, setting.columns, setting.rows, window, chunks)
        watch = engine.Watch(drawn.baseline, window, configs)
        levels = watch.drift_levels(draw_windows(rng, drawn, setting.rows, window, chunks, windows))
        # Windows are independent of each other, their baseline is one.
        return _Watched(levels, watch.levels(ASKED), np.full(windows, piece.trial))
    rows, first = _rows(setting, rng), setting.baseline_weeks * WEEK_NS
    known, live = rows.between(0, first), rows.between(first, first + setting.live_weeks * WEEK_NS)
    watch = engine.Watch(engine.build(known.columns, known.times_ns, [window]), window, configs)
    levels = watch.drift_levels_of_all(live.columns, live.times_ns)
    places = np.unique(live.times_ns // window.length_ns, return_index=True)[1]
    of_trial = setting.source in (Source.AUTOREGRESSIVE, Source.SEGMENTS)
    clusters = np.full(len(places), piece.trial) if of_trial else live.sources[places]
    return _Watched(levels, watch.levels(ASKED), clusters)


def _rows(setting: Setting, rng: np.random.Generator) -> traffic.Rows:
    match setting.source:
        case Source.DAYS:
            return traffic.shuffle(traffic.read_flights(), DAY_NS, rng)
        case Source.WEEKS:
            return traffic.shuffle(traffic.read_flights(), WEEK_NS, rng)
        case Source.SEGMENTS:
            windows = round((setting.baseline_weeks + setting.live_weeks) * setting.windows_per_week)
            length_ns = parse_window(setting.window).length_ns
            return traffic.independent(rng, setting.columns, windows, length_ns, setting.rows, SEGMENTS)
        case _:
            days = (setting.baseline_weeks + setting.live_weeks) * traffic.DAYS_IN_WEEK
            per_day = round(setting.windows_per_week / traffic.DAYS_IN_WEEK)
            return traffic.autoregressive(rng, setting.columns, days, setting.rows, per_day)


def _summed(setting: Setting, asked: int, every: int, trials: Sequence[_Watched], seed: int) -> Found:
    """One budget over all trials."""
    begins, drifted, clusters, reachable = [], [], [], 0
    for each in trials:
        levels = each.drift_levels[every]
        verdicts = np.where(np.isnan(levels), np.nan, levels < each.levels[every][asked])
        begins.append(alarms(verdicts))
        drifted.append(verdicts[~np.isnan(verdicts)])
        clusters.append(each.clusters)
        reachable += most_alarms(levels)
    per_week = setting.windows_per_week
    windows = sum(len(each) for each in clusters)
    return Found(
        setting,
        ASKED[asked],
        _EVERY_EFFECT[every],
        clustered_rate(np.concatenate(begins), np.concatenate(clusters), per_week, seed),
        float(np.concatenate(drifted).mean()),
        reachable / (windows / per_week),
        sum(bool(np.isnan(each.levels[every][asked])) for each in trials),
    )


def settings(*, quick: bool) -> tuple[Setting, ...]:
    """What the tables show; `quick`: a little of each, to see that it works."""
    if quick:
        return (
            Setting(Source.DAYS, "24h", 26, 26, 1),
            Setting(Source.AUTOREGRESSIVE, "24h", 26, 26, 1, 10, 1_000),
            Setting(Source.INDEPENDENT, "1h", 8, 2, 1, 10, 1_000),
            Setting(Source.SEGMENTS, "1h", 8, 2, 1, 2, 400),
        )
    independent = [
        Setting(Source.INDEPENDENT, "1h", 8, live, trials, columns, rows)
        for columns, live, trials in ((1_000, 4, 3), (100, 6, 6), (10, 8, 12))
        for rows in (100, 1_000, 100_000)
    ]
    segments = Setting(Source.SEGMENTS, "1h", 8, 8, 6, 10, 400)
    hourly = Setting(Source.AUTOREGRESSIVE, "1h", 26, 26, 6, 10, 100)
    autoregressive = [
        Setting(Source.AUTOREGRESSIVE, "24h", weeks, 52, trials, columns, 1_000)
        for columns, weeks, trials in ((100, 26, 6), (10, 52, 20), (10, 26, 20), (10, 8, 20))
    ]
    flights = [
        Setting(source, "24h", weeks, WEEKS - weeks, 12) for source in (Source.DAYS, Source.WEEKS) for weeks in (8, 26)
    ]
    return (*independent, segments, hourly, *autoregressive, *flights)
