"""Cumulative sums, in tables."""

from dataclasses import dataclass

import numpy as np

from driftmeter.methods.sequential.spec import Bools, Floats, SequentialSpec, one_per_series
from driftmeter.model.bundle import Tree


@dataclass(frozen=True, slots=True)
class CusumSettings:
    """Settings, in standard deviations of the values without drift.

    Attributes:
        slack: k, subtracted from each deviation: half of the shift that matters is customary.
        threshold: h, what the score must exceed.
    """

    slack: float = 0.5
    threshold: float = 5.0


@dataclass(frozen=True, eq=False, slots=True)
class CusumState:
    """State of s series, each array of shape (s,).

    Attributes:
        rise, fall: Sums of what values were above, and below, the mean without drift by more than k; never below 0.
        alarmed: bool: the last value raised an alarm, and the series begins anew.
    """

    rise: Floats
    fall: Floats
    alarmed: Bools


DEFAULT = CusumSettings()


def begin(series: int) -> CusumState:
    """State of so many series that have seen nothing."""
    return CusumState(np.zeros(series), np.zeros(series), np.zeros(series, np.bool_))


def cusum(state: CusumState, values: Floats, settings: CusumSettings = DEFAULT) -> tuple[CusumState, Floats]:
    """How much values have been above, or below, what is usual by more than the slack, summed up.

    rise = max(0, rise + x - k); fall = max(0, fall - x - k); score = max(rise, fall), an alarm above h. The mean and
    the deviation without drift are known from the baseline, so that values come standardised: a mean estimated on the
    way would follow the very shift that is looked for.

    Args:
        state: State of s series.
        values: Next value of each, float64 (s,), of mean 0 and standard deviation 1 without drift; nan where there is
            none: that series stays as it is.
        settings: k and h.

    Returns:
        The next state, and float64 (s,) in [0, ∞), in standard deviations; nan where there was no value.

    Cost: O(series), three numbers of memory each.

    >>> state = begin(1)
    >>> for value in (0.0, 2.0, 2.0):
    ...     state, score = cusum(state, np.array([value]))
    >>> score.item()  # 2·(2 - ½)
    3.0

    Page, 1954, https://doi.org/10.1093/biomet/41.1-2.100.
    """
    known = ~np.isnan(values)
    goes_on = np.where(state.alarmed, 0.0, 1.0)
    rise = np.maximum(0.0, goes_on * state.rise + values - settings.slack)
    fall = np.maximum(0.0, goes_on * state.fall - values - settings.slack)
    score = np.maximum(rise, fall)
    now = CusumState(
        rise=np.where(known, rise, state.rise),
        fall=np.where(known, fall, state.fall),
        alarmed=np.where(known, score > settings.threshold, state.alarmed),
    )
    return now, np.where(known, score, np.nan)


def restore(tree: Tree, series: int) -> CusumState:
    """A stored state of so many series; raises DamagedError for anything else."""
    return CusumState(**one_per_series(tree, series, rise=np.float64, fall=np.float64, alarmed=np.bool_))


SPEC = SequentialSpec(
    key="cusum",
    title="Cumulative sum chart",
    begin=begin,
    step=cusum,
    restore=restore,
    threshold=DEFAULT.threshold,
    formula=f"U = max(0, U + x - k); L = max(0, L - x - k); score = max(U, L); k = {DEFAULT.slack:g}",
    unit="standard deviations",
    range=(0.0, float("inf")),
    undefined="nan where there is no value, and nothing changes.",
    cost="O(1), three numbers of memory.",
    misleads=(
        "Its threshold stands for one false alarm in some 465 values that are independent and normal, and a shift by"
        " one standard deviation found after 8 (half of the streams). Windows that are alike for days, or a baseline"
        " whose mean is a little off, add up to an alarm without drift: one in 20 where neighbours correlate by 0.9."
    ),
    reference="Page, Continuous inspection schemes, 1954, https://doi.org/10.1093/biomet/41.1-2.100",
    agrees_with=(
        "The published recurrence, which is also river's `CUSUM` with the mean and deviation that it else takes from"
        " its first values, value by value."
    ),
)
