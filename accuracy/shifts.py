"""Undrifted rows, and drifts that are planted in some of their columns."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from accuracy.engine import Columns

Floats = npt.NDArray[np.float64]
Values = npt.NDArray[np.generic]

STEPS = 6
"""Windows that a planted drift lasts."""
RAMP_STEPS = 6
"""Windows in which a gradual drift reaches its whole size."""

_NORMAL = ("amount", "age", "delay", "speed")
_CARRIERS = ("AA", "B6", "DL", "EV", "MQ", "UA", "US", "WN")
_CARRIER_SHARES = (0.3, 0.2, 0.15, 0.1, 0.1, 0.05, 0.05, 0.05)
_SEGMENTS = tuple(f"s{number}" for number in range(10))
_HOURS = 24


def draw(rng: np.random.Generator, rows: int) -> dict[str, Values]:
    """Rows in which nothing drifts: numbers of standard deviation 1 unless said otherwise, and names.

    Columns: amount, age, delay, speed: normal. weight: normal, mean 10, standard deviation 2. height: normal, mean 1.
    income: lognormal, σ = 3. carrier: 8 names. segment: 10 names of equal shares.
    """
    numbers: dict[str, Values] = {name: rng.standard_normal(rows) for name in _NORMAL}
    return numbers | {
        "weight": rng.normal(10, 2, rows),
        "height": rng.normal(1, 1, rows),
        "income": rng.lognormal(0, 3, rows),
        "carrier": rng.choice(_CARRIERS, rows, p=_CARRIER_SHARES),
        "segment": rng.choice(_SEGMENTS, rows),
    }


Change = Callable[[np.random.Generator, Columns, Floats], dict[str, Values]]
"""Random numbers, undrifted rows and each row's number of windows since the drift began to changed columns."""


@dataclass(frozen=True, slots=True)
class Shift:
    """A planted drift.

    Attributes:
        key: Short name.
        what: What happens, for people.
        change: How rows change.
    """

    key: str
    what: str
    change: Change


def _moved(by: float) -> Change:
    return lambda _rng, rows, _since: {"amount": _floats(rows["amount"]) + by}


def _floats(values: Values) -> Floats:
    return values.astype(np.float64)


def _spread(_rng: np.random.Generator, rows: Columns, _since: Floats) -> dict[str, Values]:
    return {"amount": 1.5 * _floats(rows["amount"])}


def _category(rng: np.random.Generator, rows: Columns, _since: Floats) -> dict[str, Values]:
    return {"carrier": np.where(rng.random(len(rows["carrier"])) < 0.1, "EV", rows["carrier"])}


def _new_category(rng: np.random.Generator, rows: Columns, _since: Floats) -> dict[str, Values]:
    return {"carrier": np.where(rng.random(len(rows["carrier"])) < 0.02, "YV", rows["carrier"])}


def _missing(rng: np.random.Generator, rows: Columns, _since: Floats) -> dict[str, Values]:
    return {"age": np.where(rng.random(len(rows["age"])) < 0.01, np.nan, _floats(rows["age"]))}


def _unit(_rng: np.random.Generator, rows: Columns, _since: Floats) -> dict[str, Values]:
    return {"weight": 1_000 * _floats(rows["weight"])}


def _unit_of_some(rng: np.random.Generator, rows: Columns, _since: Floats) -> dict[str, Values]:
    weight = _floats(rows["weight"])
    return {"weight": np.where(rng.random(len(weight)) < 0.02, 1_000 * weight, weight)}


def _swapped(_rng: np.random.Generator, rows: Columns, _since: Floats) -> dict[str, Values]:
    return {"speed": rows["height"], "height": rows["speed"]}


def _gradual(_rng: np.random.Generator, rows: Columns, since: Floats) -> dict[str, Values]:
    return {"amount": _floats(rows["amount"]) + np.minimum(1, (since + 1) / RAMP_STEPS)}


def _one_window(_rng: np.random.Generator, rows: Columns, since: Floats) -> dict[str, Values]:
    return {"amount": _floats(rows["amount"]) + (since == 0)}


def _one_hour(rng: np.random.Generator, rows: Columns, since: Floats) -> dict[str, Values]:
    amount = _floats(rows["amount"])
    return {"amount": np.where((since == 0) & (rng.random(len(amount)) < 1 / _HOURS), amount + 3, amount)}


def _segment(_rng: np.random.Generator, rows: Columns, _since: Floats) -> dict[str, Values]:
    return {"amount": _floats(rows["amount"]) + (rows["segment"] == _SEGMENTS[0])}


def _heavier(rng: np.random.Generator, rows: Columns, _since: Floats) -> dict[str, Values]:
    return {"amount": rng.standard_t(3, len(rows["amount"])) / np.sqrt(3)}


def _doubled(_rng: np.random.Generator, rows: Columns, _since: Floats) -> dict[str, Values]:
    return {"income": 2 * _floats(rows["income"])}


SHIFTS = (
    Shift("mean_0.1", "mean moves by 0.1 standard deviations", _moved(0.1)),
    Shift("mean_0.2", "mean moves by 0.2 standard deviations", _moved(0.2)),
    Shift("mean_0.5", "mean moves by 0.5 standard deviations", _moved(0.5)),
    Shift("mean_1", "mean moves by 1 standard deviation", _moved(1)),
    Shift("variance", "standard deviation grows by half", _spread),
    Shift("category", "a tenth of the rows change to one category", _category),
    Shift("new_category", "2 % of the rows have a category never seen before", _new_category),
    Shift("missing", "missing values from none to 1 %", _missing),
    Shift("unit", "unit error: all values × 1,000", _unit),
    Shift("unit_of_some", "unit error in 2 % of the rows", _unit_of_some),
    Shift("swapped", "two columns swapped (means 0 and 1)", _swapped),
    Shift("gradual", f"mean creeps to 1 standard deviation over {RAMP_STEPS} windows", _gradual),
    Shift("one_window", "mean moves by 1 for a single window", _one_window),
    Shift("one_hour", "mean moves by 3 for one hour of a single day", _one_hour),
    Shift("segment", "mean moves by 1 in one segment of ten", _segment),
    Shift("heavy_tails", "Student's t with 3 degrees instead of a normal, spread unchanged", _heavier),
    Shift("doubled", "a lognormal with σ = 3 doubles", _doubled),
)
"""All planted drifts, in the order of the tables."""
