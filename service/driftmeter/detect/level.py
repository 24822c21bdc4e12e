"""The level: how surprising a window must be, so that undrifted data raises as many alarms as were asked for.

The baseline's own chunks go through exactly the rule of live windows, all units and window lengths together, in the
order of time. An alarm is a model going from no drift to drift. No independence is assumed, of columns or of windows,
and nothing is divided by the number of columns.

The rule at every level at once: a unit drifts in a window when `needed` of its last `of` judged windows exceed, that is
when the level is above the `needed`-th smallest of their surprises; and it stays so while it is above the `keeps`-th.
So each unit and window has one number, the level from which on it drifts there, and the model has the smallest one of
its units. Alarms at a level are the windows where that number falls from above the level to below it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from driftmeter.detect.verdict import Rule
from driftmeter.model.compiled import frozen, jit
from driftmeter.model.windows import WEEK_NS

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

LEVEL_RULE = 2
"""Raised when the same baseline and settings would give another level: those kept in baseline files are then unused."""

NOMINAL_LEVEL = 0.01
"""Level of windows by rows whose baseline has no times, or none in order: nobody knows then how many make a week."""

LEVEL_MAX = 0.5
"""What happens every second time is no surprise."""

DRIFTED_TIME_MAX = 0.2
"""Largest part of the baseline's own time that may be called drifted. Where windows are few for what was asked for (one
alarm a week, windows of a day), episodes run into each other before there are so many: their number never exceeds what
was asked for, and without this limit everything would be called drifted all the time."""

LEVEL_MIN = 1e-12
"""No null is known as exactly as that: a level below it would only say that nothing is ever called drifted."""


@dataclass(frozen=True, eq=False)
class Replayed:
    """Where a model drifts, for all levels at once.

    Attributes:
        ends_ns: int64 (n,), ascending: ends of the windows.
        model: float64 (n,): the level from which on the model drifts in one of the windows that end there or have
            ended last; infinite for never.
    """

    ends_ns: Ints
    model: Floats

    def alarms(self, level: float) -> int:
        """How often the model goes from no drift to drift at a level."""
        drifts = self.model < level
        return int(np.count_nonzero(drifts & ~np.concatenate(([False], drifts[:-1]))))

    def drifted_time(self, level: float) -> float:
        """Part of the time that the model is called drifted at a level, 0 to 1."""
        return float(self._times[self.model < level].sum() / max(self._times.sum(), 1))

    @property
    def longest(self) -> float:
        """The highest level at which the model is called drifted no longer than it may be."""
        order = np.argsort(self.model, kind="stable")
        drifted = np.cumsum(self._times[order]) / max(self._times.sum(), 1)
        over = np.flatnonzero(drifted > DRIFTED_TIME_MAX)
        return float(self.model[order][over[0]]) if len(over) else np.inf

    @property
    def _times(self) -> Floats:
        """How long each window's verdict stands, at most a week; the last one's as long as the one before."""
        times = np.minimum(np.diff(self.ends_ns), WEEK_NS).astype(np.float64)
        return np.append(times, times[-1:] if len(times) else [1.0] * len(self.ends_ns))


def drift_levels(exceeding: Floats, rule: Rule) -> Floats:
    """The level from which on each unit drifts in each window.

    Args:
        exceeding: float64 (windows, units): the level from which on each window exceeds, infinite for never; nan where
            it cannot be judged.
        rule: When drift begins and ends.

    Returns:
        float64 (windows, units); nan where the window cannot be judged.

    Cost: 5 ns per window, unit and window looked at.
    """
    return _drift_levels(frozen(np.ascontiguousarray(exceeding)), rule.needed, rule.of, rule.keeps)


def replay(lengths: Sequence[tuple[Ints, Floats]]) -> Replayed:
    """All window lengths of a model together.

    Args:
        lengths: Per length, ends of the windows, int64 (k,) ascending, and `drift_levels` of the units that have a say,
            float64 (k, units).
    """
    ends = np.concatenate([np.empty(0, np.int64), *(each for each, _ in lengths)])
    which = np.concatenate([np.empty(0, np.int64), *(np.full(len(each), i) for i, (each, _) in enumerate(lengths))])
    least = np.concatenate([np.empty(0), *(_least(levels) for _, levels in lengths)])
    judged = ~np.isnan(least)
    ends, which, least = ends[judged], which[judged], least[judged]
    order = np.lexsort((which, ends))
    model = _together(frozen(which[order]), frozen(least[order]), len(lengths))
    # Windows that end at the same instant are one event: it is over when the last of them is judged.
    last = np.flatnonzero(np.diff(ends[order], append=np.iinfo(np.int64).max))
    return Replayed(ends[order][last], model[last])


def choose_level(replayed: Replayed, weeks: float, alarms_per_week: float) -> float:
    """The level at which undrifted data raises at most so many alarms a week; nan when the time is too short.

    It is nan, too, when nothing was judged in that time: no alarms of no windows say nothing.

    The largest level such that for it and all smaller ones (alarms + √alarms + 1) / weeks is at most what was asked
    for: the root is what a count varies by from one time to the next (without it, i.i.d. counts raised up to 6 % more
    alarms than were asked for). At high levels episodes run into each other and alarms become fewer again, which says
    nothing. Between the surprise that would be one alarm too many and the one before it any level gives the same
    alarms; their geometric middle is taken.

    Args:
        replayed: The baseline's own chunks.
        weeks: How long they are, in weeks.
        alarms_per_week: What was asked for.
    """
    allowed = _allowed(alarms_per_week * weeks)
    if allowed < 0 or not len(replayed.model):
        return float("nan")
    before = np.concatenate(([np.inf], replayed.model[:-1]))
    begins = replayed.model < before
    # Each fall is an alarm for the levels above where it ends, up to where it began.
    levels = np.concatenate((replayed.model[begins], before[begins]))
    steps = np.concatenate((np.ones(begins.sum()), -np.ones(begins.sum())))
    places, inverse = np.unique(levels, return_inverse=True)
    alarms = np.cumsum(np.bincount(inverse, steps, minlength=len(places)))  # Of levels just above each place.
    too_many = np.flatnonzero(alarms > allowed)
    longest = min(replayed.longest, LEVEL_MAX)
    if not len(too_many):
        return max(longest, LEVEL_MIN)
    highest = float(places[too_many[0]])
    lower = float(places[too_many[0] - 1]) if too_many[0] else highest / 4
    middle = np.sqrt(max(lower, LEVEL_MIN) * max(highest, LEVEL_MIN))
    return float(np.clip(min(middle, longest), LEVEL_MIN, LEVEL_MAX))


def _allowed(budget: float) -> float:
    """The most alarms a with a + √a + 1 <= budget; negative when there is none."""
    if budget < 1 - 1e-9:
        return -1.0
    return float(np.floor((np.sqrt(max(budget - 0.75, 0.25)) - 0.5) ** 2 + 1e-9))


def _least(levels: Floats) -> Floats:
    """The smallest of each window's units, nan where none is judged."""
    return np.fmin.reduce(levels, axis=1) if levels.shape[1] else np.full(len(levels), np.nan)


@jit
def _drift_levels(exceeding: Floats, needed: int, of: int, keeps: int) -> Floats:
    windows, units = exceeding.shape
    found = np.full((windows, units), np.nan)
    last = np.full((units, of), np.inf)
    place = np.zeros(units, np.int64)
    state = np.full(units, np.inf)
    ordered = np.empty(of)
    for t in range(windows):
        for u in range(units):
            own = exceeding[t, u]
            if np.isnan(own):
                continue
            last[u, place[u]] = own
            place[u] = (place[u] + 1) % of
            for i in range(of):  # Insertion: there are three of them.
                value, j = last[u, i], i
                while j > 0 and ordered[j - 1] > value:
                    ordered[j] = ordered[j - 1]
                    j -= 1
                ordered[j] = value
            state[u] = min(ordered[needed - 1], max(state[u], ordered[keeps - 1]))
            found[t, u] = state[u]
    return found


@jit
def _together(which: Ints, least: Floats, lengths: int) -> Floats:
    """The smallest of each length's newest level, after each window."""
    newest = np.full(lengths, np.inf)
    found = np.empty(len(which))
    for i in range(len(which)):
        newest[which[i]] = least[i]
        found[i] = newest.min()
    return found
