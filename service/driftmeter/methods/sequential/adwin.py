"""Adaptive windowing."""

from dataclasses import dataclass
from math import fabs, log, sqrt

import numpy as np
import numpy.typing as npt

from driftmeter.errors import DamagedError
from driftmeter.methods.sequential.spec import Bools, Floats, Ints, SequentialSpec, one_per_series
from driftmeter.model.bundle import Tree
from driftmeter.model.compiled import inlined, kernel
from driftmeter.model.stored import Stored

BUCKETS = 5
"""Buckets of one size that are kept; one more, and the two oldest become one of the double size."""

_ROWS_MAX = 60
"""Sizes that there can be: more than 2^60 values are never seen."""


@dataclass(frozen=True, slots=True)
class AdwinSettings:
    """Settings.

    Attributes:
        confidence: δ, chance of an alarm without drift, per value, for independent values in [0, 1].
        every: Looks for a change at every so many values.
        part_min: Values that each part must have.
        values_min: Values that there must be more of.
    """

    confidence: float = 0.05
    every: int = 1
    part_min: int = 5
    values_min: int = 10


@dataclass(frozen=True, eq=False, slots=True)
class AdwinState:
    """State of s series: values since the last alarm, in buckets of 1, 2, 4, … of them, the oldest in the largest.

    Attributes:
        totals: float64 (s, sizes, BUCKETS + 1): sums of the buckets of each size, the oldest first; 0 where none is.
        variances: The same shape: sums of squared deviations from each bucket's mean.
        filled: int64 (s, sizes): buckets of each size, at most BUCKETS.
        seen: int64 (s,): values.
        width: float64 (s,): values that are still in buckets.
        total: float64 (s,): their sum.
        variance: float64 (s,): sum of their squared deviations.
        alarmed: bool (s,): the last value raised an alarm, and the series begins anew.
    """

    totals: Floats
    variances: Floats
    filled: Ints
    seen: Ints
    width: Floats
    total: Floats
    variance: Floats
    alarmed: Bools


DEFAULT = AdwinSettings()


def begin(series: int) -> AdwinState:
    """State of so many series that have seen nothing."""
    shape = (series, 1, BUCKETS + 1)
    return AdwinState(
        np.zeros(shape), np.zeros(shape), np.zeros(shape[:2], np.int64), np.zeros(series, np.int64), np.zeros(series),
        np.zeros(series), np.zeros(series), np.zeros(series, np.bool_),
    )  # fmt: skip


def adwin(state: AdwinState, values: Floats, settings: AdwinSettings = DEFAULT) -> tuple[AdwinState, Floats]:
    """Largest difference of the means of an older and a newer part of the values, over what chance allows.

    |m₀ - m₁| / ε, the largest over all borders of buckets that leave n₀ and n₁ ≥ `part_min` values on both sides, with
    ε = √(2·v·d / μ) + 2/3·d / μ, 1/μ = 1 / (n₀ - part_min + 1) + 1 / (n₁ - part_min + 1), d = ln(2·ln(n) / δ), and v
    the variance of all n values. An alarm above 1: the oldest buckets go until no difference is left.

    Args:
        state: State of s series.
        values: Next value of each, float64 (s,), any unit, though ε has a term for values in [0, 1]; nan where there
            is none: that series stays as it is.
        settings: δ, and how often and on how many values it looks.

    Returns:
        The next state, and float64 (s,) in [0, ∞), no unit; nan where there was no value or nothing to compare yet.

    Cost: O(log values) a series, of memory too: twelve numbers for each doubling of the values seen.

    >>> state = begin(1)
    >>> for value in [0.0] * 20 + [1.0] * 20:
    ...     state, score = adwin(state, np.array([value]))
    ...     if score.item() > 1:
    ...         print(state.seen.item(), round(score.item(), 3))
    39 1.003

    Bifet and Gavaldà, 2007, https://doi.org/10.1137/1.9781611972771.42.
    """
    # The largest size may overflow: room for the next one.
    more = (0, int((state.filled[:, -1] == BUCKETS).any()))
    now = AdwinState(
        np.pad(state.totals, ((0, 0), more, (0, 0))),
        np.pad(state.variances, ((0, 0), more, (0, 0))),
        np.pad(state.filled, ((0, 0), more)),
        state.seen.copy(), state.width.copy(), state.total.copy(), state.variance.copy(), state.alarmed.copy(),
    )  # fmt: skip
    scores = np.full(len(values), np.nan)
    _step(
        np.ascontiguousarray(values), now.totals, now.variances, now.filled, now.seen, now.width, now.total,
        now.variance, now.alarmed, scores, settings.confidence, settings.every, settings.part_min, settings.values_min,
    )  # fmt: skip
    return now, scores


@kernel
def _step(  # noqa: PLR0913 - arrays of the state, as compiled code takes them.
    values: Floats,
    totals: Floats,
    variances: Floats,
    filled: Ints,
    seen: Ints,
    width: Floats,
    total: Floats,
    variance: Floats,
    alarmed: Bools,
    scores: Floats,
    confidence: float,
    every: int,
    part_min: int,
    values_min: int,
) -> None:
    for i in range(len(values)):
        x = values[i]
        if np.isnan(x):
            continue
        if alarmed[i]:
            totals[i], variances[i], filled[i] = 0.0, 0.0, 0
            seen[i], width[i], total[i], variance[i] = 0, 0.0, 0.0, 0.0
        seen[i] += 1
        width[i] += 1.0
        if width[i] > 1.0:
            away = x - total[i] / (width[i] - 1.0)
            variance[i] += (width[i] - 1.0) * away * away / width[i]
        total[i] += x
        _insert(totals[i], variances[i], filled[i], x)
        alarmed[i] = False
        if seen[i] % every or width[i] <= values_min:
            continue
        while True:
            ratio = _largest(totals[i], filled[i], width[i], total[i], variance[i], confidence, part_min)
            if np.isnan(scores[i]) or ratio > scores[i]:
                scores[i] = ratio
            if not ratio > 1.0:
                break
            alarmed[i] = True
            width[i], total[i], variance[i] = _drop_oldest(
                totals[i], variances[i], filled[i], width[i], total[i], variance[i]
            )


@inlined
def _insert(totals: Floats, variances: Floats, filled: Ints, x: float) -> None:
    """Put a value into a bucket of its own, and merge the two oldest of each size that there are too many of."""
    totals[0, filled[0]], variances[0, filled[0]] = x, 0.0
    filled[0] += 1
    size, row = 1.0, 0
    while filled[row] == BUCKETS + 1:
        one, two = totals[row, 0], totals[row, 1]
        place = filled[row + 1]
        totals[row + 1, place] = one + two
        away = one / size - two / size
        variances[row + 1, place] = variances[row, 0] + variances[row, 1] + size * away * away / 2.0
        filled[row + 1] += 1
        _remove(totals[row], variances[row], 2)
        filled[row] -= 2
        size, row = 2.0 * size, row + 1


@inlined
def _remove(totals: Floats, variances: Floats, count: int) -> None:
    """Take the oldest buckets of one size away."""
    for k in range(count, BUCKETS + 1):
        totals[k - count], variances[k - count] = totals[k], variances[k]
    for k in range(BUCKETS + 1 - count, BUCKETS + 1):
        totals[k], variances[k] = 0.0, 0.0


@inlined
def _top(filled: Ints) -> int:
    """The largest size that has buckets."""
    row = len(filled) - 1
    while row > 0 and filled[row] == 0:
        row -= 1
    return row


@inlined
def _largest(  # noqa: PLR0913 - as above.
    totals: Floats,
    filled: Ints,
    width: float,
    total: float,
    variance: float,
    confidence: float,
    part_min: int,
) -> float:
    """The first quotient above 1 from the oldest border on, or else the largest; nan when no border can be judged."""
    best = np.nan
    n0, n1, u0, u1 = 0.0, width, 0.0, total
    d = log(2.0 * log(width) / confidence)
    for row in range(_top(filled), -1, -1):
        size = 2.0**row
        for k in range(filled[row]):
            n0, n1, u0, u1 = n0 + size, n1 - size, u0 + totals[row, k], u1 - totals[row, k]
            if n0 < part_min or n1 < part_min:
                continue
            inverse = 1.0 / (n0 - part_min + 1.0) + 1.0 / (n1 - part_min + 1.0)
            chance = sqrt(2.0 * inverse * variance / width * d) + 2.0 / 3.0 * d * inverse
            ratio = fabs(u0 / n0 - u1 / n1) / chance
            if np.isnan(best) or ratio > best:
                best = ratio
            if ratio > 1.0:
                return best
    return best


@inlined
def _drop_oldest(
    totals: Floats, variances: Floats, filled: Ints, width: float, total: float, variance: float
) -> tuple[float, float, float]:
    """Take the oldest bucket away; returns what is left: width, total, variance."""
    row = _top(filled)
    n, u = 2.0**row, totals[row, 0]
    left, rest = width - n, total - u
    away = u / n - rest / left
    less = variances[row, 0] + n * left * away * away / (n + left)
    _remove(totals[row], variances[row], 1)
    filled[row] -= 1
    return left, rest, variance - less


def restore(tree: Tree, series: int) -> AdwinState:
    """A stored state of so many series; raises DamagedError for anything else."""
    stored = Stored(tree)
    filled: npt.NDArray[np.int64] = stored.array("filled", np.int64, series, None).copy()
    sizes = filled.shape[1]
    totals, variances = (
        stored.array(name, np.float64, series, sizes, BUCKETS + 1).copy() for name in ("totals", "variances")
    )
    if not 1 <= sizes <= _ROWS_MAX or ((filled < 0) | (filled > BUCKETS)).any():
        raise DamagedError("stored buckets are more than there can be")
    kinds = {"seen": np.int64, **dict.fromkeys(("width", "total", "variance"), np.float64), "alarmed": np.bool_}
    others = one_per_series(tree, series, **kinds)
    # Compiled code takes buckets away as long as the width says that there are some.
    if not np.array_equal(filled @ 2.0 ** np.arange(sizes), others["width"]):
        raise DamagedError("stored buckets do not hold as many values as they are said to")
    return AdwinState(totals, variances, filled, **others)


SPEC = SequentialSpec(
    key="adwin",
    title="Adaptive windowing (ADWIN)",
    begin=begin,
    step=adwin,
    restore=restore,
    threshold=1.0,
    formula=(
        "the largest |m₀ - m₁| / ε over the borders of buckets, m₀ and m₁ the means before and after;"
        " ε = √(2·v·d / μ) + 2/3·d / μ with v the variance of all n values, d = ln(2·ln(n) / δ),"
        f" 1/μ = 1 / (n₀ - 4) + 1 / (n₁ - 4); δ = {DEFAULT.confidence:g}, at least 5 values on both sides"
    ),
    unit="none",
    range=(0.0, float("inf")),
    undefined="nan where there is no value, and nothing changes, and until there are 11 values.",
    cost="O(log values), of memory too: twelve numbers for each doubling of the values seen.",
    misleads=(
        "It learns what is usual from the stream alone: it finds changes, not distance from a baseline, and is slow:"
        " measured on independent normal values, a shift by one standard deviation is found after 33 of them (half of"
        " the streams), by a half after 96, and there is one false alarm in 27,000. Its bound is for values in [0, 1],"
        " such as errors, and for independent ones."
    ),
    reference=(
        "Bifet and Gavaldà, Learning from time-changing data with adaptive windowing, 2007,"
        " https://doi.org/10.1137/1.9781611972771.42"
    ),
    agrees_with="river 0.26.1 `ADWIN`, value by value: width, sum, variance (to 1e-9) and alarms.",
)
