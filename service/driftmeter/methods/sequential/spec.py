"""What a sequential detector declares about itself, and what all of them share."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from driftmeter.model.bundle import Tree
from driftmeter.model.stored import Stored

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class SequentialSpec:
    """One detector: it sees one value after the other and says how far the stream has moved.

    It runs over many series at once, each by itself. `step(state, values)` takes float64 (series,), one value of each,
    nan where a series has none, and returns the next state and a score for each, float64 (series,): nan where there
    was no value. What it is given is not changed. A score above `threshold` is the detector's own alarm, after which a
    series begins anew.

    Attributes:
        key: Name in labels and findings.
        title: Name in documentation.
        begin: State of so many series that have seen nothing.
        step: From a state and a value of each series to the next state and its scores.
        restore: The state of so many series that `tree_of` was given; raises DamagedError for anything else.
        threshold: What the score must exceed.
        formula: The recurrence, x being the value.
        unit: Unit of the score.
        range: Smallest and largest score; the largest may be infinite.
        undefined: What missing values and the beginning give.
        cost: What one value of one series costs, in time and memory.
        misleads: When not to believe it.
        reference: The paper, with DOI.
        agrees_with: Whose numbers it reproduces, and how closely.
    """

    key: str
    title: str
    begin: Callable[[int], Any]
    step: Callable[[Any, Floats], tuple[Any, Floats]]
    restore: Callable[[Tree, int], Any]
    threshold: float
    formula: str
    unit: str
    range: tuple[float, float]
    undefined: str
    cost: str
    misleads: str
    reference: str
    agrees_with: str


def tree_of(state: Any) -> Tree:
    """A state for a snapshot: its arrays by name, copied."""
    return {name: getattr(state, name).copy() for name in type(state).__dataclass_fields__}


def one_per_series(tree: Tree, series: int, **kinds: type[np.generic]) -> dict[str, npt.NDArray[Any]]:
    """Arrays of shape (series,) by name, read from a tree into memory of their own; raises DamagedError."""
    stored = Stored(tree)
    return {name: stored.array(name, kind, series).copy() for name, kind in kinds.items()}
