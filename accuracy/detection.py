"""What planted drifts are found, and how soon, beside other libraries on the same rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from accuracy import engine, traffic
from accuracy.engine import Columns
from accuracy.peers.scores import PEERS, Peer, scores
from accuracy.rates import alarms
from accuracy.shifts import SHIFTS, STEPS, Values, draw
from accuracy.work import spread
from driftmeter.detect.level import drift_levels
from driftmeter.detect.verdict import Rule
from driftmeter.model.windows import DAY_NS, parse_window

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

OURS = "Driftmeter"
ASKED = 1.0
"""`false_alarms_per_week`, as by default."""
LEAD = 4
"""Undrifted windows before each planted drift: drift called before is over by then."""
MANY, SEGMENTS = 100, 8
PERIOD = LEAD + STEPS
SOON = 3
"""Windows after its begin in which a drift should be found."""

_DAY = parse_window("24h")
_SINGLE, _TWO_OF_THREE = Rule(1, 1, 1), Rule(2, 3, 1)


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is drawn.

    Attributes:
        rows: Rows in a window of a day.
        repeats: How often each drift is planted.
        baseline_weeks: Length of the baseline.
        seed: Of all random numbers.
        peers: Whether other libraries look at the same rows.
    """

    rows: int
    repeats: int
    baseline_weeks: int = 8
    seed: int = 0
    peers: bool = True

    @property
    def windows(self) -> int:
        """Windows after the baseline."""
        return self.repeats * PERIOD


@dataclass(frozen=True, slots=True)
class Detection:
    """How one detector did on one drift.

    Attributes:
        soon: Share of the repeats in which drift was called within `SOON` windows of its begin.
        ever: The same within all windows of the drift.
        delay: Mean number of windows from its begin until drift was called, 1 being the first, where it was.
    """

    soon: float
    ever: float
    delay: float


@dataclass(frozen=True, slots=True)
class Detector:
    """How one detector did.

    Attributes:
        name: What it is.
        alarms: Alarms in the undrifted windows.
        shifts: Per key of a shift.
    """

    name: str
    alarms: int
    shifts: Mapping[str, Detection]


@dataclass(frozen=True, slots=True)
class Compared:
    """All detectors on the same rows.

    Attributes:
        plan: What was drawn.
        own: Each by its own defaults: ours, then the others.
        equal: The others with the threshold at which they raise as many alarms in undrifted windows as ours by default.
        every: Ours with no smallest effect, and the others at its number of alarms.
    """

    plan: Plan
    own: Sequence[Detector]
    equal: Sequence[Detector] = field(default_factory=tuple)
    every: Sequence[Detector] = field(default_factory=tuple)


@dataclass(frozen=True, slots=True)
class Singles:
    """Small parts of a model that drift alone.

    Attributes:
        column: One column of `MANY` by half a standard deviation.
        segment: One column in one segment of `SEGMENTS` by one, where segments are judged.
    """

    column: Detection
    segment: Detection


def run(plan: Plan) -> Compared:
    """Draw, plant and look."""
    rng = np.random.default_rng(plan.seed)
    reference = draw(rng, plan.baseline_weeks * 7 * plan.rows)
    quiet = draw(rng, plan.windows * plan.rows)
    planted = _plant(rng, quiet, plan)
    ours, every = _ours(plan, reference, quiet, planted)
    if not plan.peers:
        return Compared(plan, [ours], [], [every])
    scored = [_Scored.of(peer, plan, reference, quiet, planted) for peer in PEERS]
    return Compared(
        plan,
        [ours, *(each.by_default() for each in scored)],
        [each.at_equal_alarms(ours.alarms) for each in scored],
        [every, *(each.at_equal_alarms(every.alarms) for each in scored)],
    )


def plans(*, quick: bool, seed: int, peers: bool) -> list[Plan]:
    """What the tables show."""
    if quick:
        return [Plan(1_000, 2, seed=seed, peers=False)]
    return [Plan(rows, repeats, seed=seed, peers=peers) for rows, repeats in ((10_000, 6), (1_000, 20), (100, 40))]


def measure(wanted: Sequence[Plan], processes: int | None = None) -> list[Compared]:
    """All plans, few rows first."""
    return spread("detection", run, wanted, processes)[::-1]


def one_among_many(seed: int, repeats: int = 6) -> Detection:
    """One column of 100 moves by 0.5 standard deviations, 1,000 rows a day, `SOON` windows to find it."""
    plan, rng = Plan(1_000, repeats, seed=seed, peers=False), np.random.default_rng([seed, MANY])
    names = [f"x{number}" for number in range(MANY)]
    baseline_days = plan.baseline_weeks * 7
    reference, live = (
        {name: rng.standard_normal(days * plan.rows) for name in names} for days in (baseline_days, plan.windows)
    )
    live[names[0]] += 0.5 * np.repeat(_since(plan) >= 0, plan.rows)
    step_ns = DAY_NS // plan.rows
    baseline = engine.build(reference, _times(0, baseline_days, plan.rows, step_ns), [_DAY])
    watch = engine.Watch(baseline, _DAY, [engine.config(ASKED)])
    times = _times(baseline_days, plan.windows, plan.rows, step_ns)
    return _judged_at_level(watch.drift_levels(engine.count(baseline, live, times, _DAY))[0], watch, plan)


def one_segment_of_several(seed: int, repeats: int = 6) -> Detection:
    """The mean of one column moves by 1 in one segment of `SEGMENTS`, 1,000 rows a day; each is judged too."""
    plan, rng = Plan(1_000, repeats, seed=seed, peers=False), np.random.default_rng([seed, SEGMENTS])
    baseline_days = plan.baseline_weeks * 7
    rows = traffic.independent(rng, 5, baseline_days + plan.windows, DAY_NS, plan.rows, SEGMENTS)
    known, live = rows.between(0, baseline_days * DAY_NS), rows.between(baseline_days * DAY_NS, 2**62)
    moved = (np.repeat(_since(plan) >= 0, plan.rows)) & (live.columns[engine.SEGMENT] == "s0")
    columns = {**live.columns, "x0": live.columns["x0"].astype(np.float64) + moved}
    watch = engine.Watch(engine.build(known.columns, known.times_ns, [_DAY]), _DAY, [engine.config(ASKED)])
    return _judged_at_level(watch.drift_levels_of_all(columns, live.times_ns)[0], watch, plan)


def _judged_at_level(levels: Floats, watch: engine.Watch, plan: Plan) -> Detection:
    return judged(np.where(np.isnan(levels), np.nan, levels < watch.levels([ASKED])[0][0]), plan)


def _since(plan: Plan) -> Floats:
    """float64 (windows,): windows since the drift began; negative before."""
    return (np.arange(plan.windows) % PERIOD - LEAD).astype(np.float64)


def _plant(rng: np.random.Generator, quiet: Columns, plan: Plan) -> dict[str, dict[str, Values]]:
    """Per shift, the columns it changes, in its windows alone."""
    drifting = np.repeat(_since(plan) >= 0, plan.rows)
    rows = {name: values[drifting] for name, values in quiet.items()}
    since = np.repeat(_since(plan), plan.rows)[drifting]
    return {shift.key: shift.change(rng, rows, since) for shift in SHIFTS}


def judged(drifted: Floats, plan: Plan) -> Detection:
    """How soon drift was called, over the repeats in which it was not called before it began.

    Args:
        drifted: float64 (windows,): 1 drifted, 0 not, nan none.
        plan: How the windows were made.
    """
    table = drifted.reshape(plan.repeats, PERIOD)
    fair = table[table[:, LEAD - 1] != 1][:, LEAD:] == 1
    if not len(fair):
        return Detection(np.nan, np.nan, np.nan)
    found, first = fair.any(axis=1), fair.argmax(axis=1) + 1
    delay = float(first[found].mean()) if found.any() else np.nan
    return Detection(float(fair[:, :SOON].any(axis=1).mean()), float(found.mean()), delay)


def _ours(
    plan: Plan, reference: Columns, quiet: Columns, planted: Mapping[str, Mapping[str, Values]]
) -> tuple[Detector, Detector]:
    """Ours by default, and with no smallest effect."""
    rows_ns = DAY_NS // plan.rows
    baseline_days = plan.baseline_weeks * 7
    times = _times(0, baseline_days, plan.rows, rows_ns)
    baseline = engine.build(reference, times, [_DAY])
    live = _times(baseline_days, plan.windows, plan.rows, rows_ns)
    drifting = np.repeat(_since(plan) >= 0, plan.rows)
    watch = engine.Watch(baseline, _DAY, [engine.config(), engine.config(every_effect=True)])
    allowed = [levels[0] for levels in watch.levels([ASKED])]

    def drifted(rows: Columns) -> list[Floats]:
        found = watch.drift_levels(engine.count(baseline, rows, live, _DAY))
        return [np.where(np.isnan(each), np.nan, each < level) for each, level in zip(found, allowed, strict=True)]

    still = drifted(quiet)
    shifts: tuple[dict[str, Detection], dict[str, Detection]] = ({}, {})
    for key, columns in planted.items():
        rows = {column: _replaced(values, drifting, columns.get(column)) for column, values in quiet.items()}
        for own, verdicts in zip(shifts, drifted(rows), strict=True):
            own[key] = judged(verdicts, plan)
    default, every = (Detector(OURS, int(alarms(each).sum()), own) for each, own in zip(still, shifts, strict=True))
    return default, every


def _times(first_day: int, days: int, rows: int, step_ns: int) -> Ints:
    return np.repeat((first_day + np.arange(days)) * DAY_NS, rows) + np.tile(np.arange(rows) * step_ns, days)


def _replaced(values: Values, where: npt.NDArray[np.bool_], by: Values | None) -> Values:
    if by is None:
        return values
    changed = values.astype(np.result_type(values, by)) if values.dtype.kind != "f" else values.copy()
    changed[where] = by
    return changed


@dataclass(frozen=True, eq=False)
class _Scored:
    """Scores of another library.

    Attributes:
        peer: The library.
        plan: What was drawn.
        quiet: float64 (windows, columns): of undrifted rows.
        shifted: Per shift, float64 (windows, columns): of the rows with the drift planted.
    """

    peer: Peer
    plan: Plan
    quiet: Floats
    shifted: Mapping[str, Floats]

    @classmethod
    def of(
        cls,
        peer: Peer,
        plan: Plan,
        reference: Columns,
        quiet: Columns,
        planted: Mapping[str, Mapping[str, Values]],
    ) -> "_Scored":
        """Scores of all rows: each changed column beside the others, since no column's score depends on another."""
        still = scores(peer, reference, quiet, plan.rows)
        changed = {(key, name): values for key, columns in planted.items() for name, values in columns.items()}
        wide = {f"{name} {key}": values for (key, name), values in changed.items()}
        of_changed = scores(peer, {f"{name} {key}": reference[name] for key, name in changed}, wide, plan.rows)
        drifting, names = _since(plan) >= 0, list(quiet)
        shifted = {key: still.copy() for key in planted}
        for place, (key, name) in enumerate(changed):
            shifted[key][drifting, names.index(name)] = of_changed[:, place]
        return cls(peer, plan, still, shifted)

    def by_default(self) -> Detector:
        """At the library's own thresholds, each window by itself."""
        return self._at(_SINGLE, -1.0, self.peer.name)

    def at_equal_alarms(self, allowed: int) -> Detector:
        """At the threshold that gives so many alarms in undrifted windows, with the rule that then detects more."""
        found = [self._at(rule, self._level(rule, allowed), self.peer.name) for rule in (_SINGLE, _TWO_OF_THREE)]
        return max(found, key=lambda each: sum(shift.soon for shift in each.shifts.values()))

    def _level(self, rule: Rule, allowed: int) -> float:
        """The largest level (a negative score) such that it and all smaller ones raise at most so many alarms."""
        levels = _model_levels(self.quiet, rule)
        for place in np.unique(levels):
            if int(alarms((levels <= place).astype(np.float64)).sum()) > allowed:
                return float(place)  # Below this score's own place: the comparison is strict.
        return float(np.nextafter(levels.max(), np.inf))

    def _at(self, rule: Rule, level: float, name: str) -> Detector:
        def drifted(table: Floats) -> Floats:
            return (_model_levels(table, rule) < level).astype(np.float64)

        shifts = {key: judged(drifted(table), self.plan) for key, table in self.shifted.items()}
        return Detector(name, int(alarms(drifted(self.quiet)).sum()), shifts)


def _model_levels(table: Floats, rule: Rule) -> Floats:
    """float64 (windows,): the level, a negative score, from which on any column drifts by a rule."""
    return np.asarray(drift_levels(-table, rule).min(axis=1))
