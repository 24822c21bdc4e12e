"""What a method on a sample of rows declares about itself, and its part of the documentation."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


class Fitted(Protocol):
    """A method that has seen the reference's rows."""

    def score(self, rows: Floats) -> float:
        """The method's number for a window's rows, float64 (n, c), standardised like the reference; n >= 2."""
        ...


Fit = Callable[[Floats], Fitted]
"""The reference's rows, float64 (N, c) as `Encoding.standardised` gives them, N >= 2, to the method that has seen
them. The same rows give the same method: whatever is random in it comes from fixed seeds."""


def thinned(rows: Floats, most: int) -> Floats:
    """Every row, or every second, fourth, …, so that they are at most so many.

    So it takes the same rows, but those of the block, when a block of a multiple of the step is left out before it:
    what these rows themselves say by chance is then the same with and without the block.
    """
    step = 1
    while -(-len(rows) // step) > most:
        step *= 2
    return rows[::step]


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class SampledSpec:
    """One method on a sample of rows.

    Attributes:
        key: Name in configuration, labels and findings.
        title: Name in documentation.
        fit: The method.
        two_sided: Whether smaller numbers than the baseline's own speak of drift as well.
        share: Whether the number is a share of the window's rows.
        all_roles: Whether it looks at predictions and probabilities beside features.
        unit: Unit of the number, for people.
        range: Smallest and largest value; either may be infinite.
        formula: The formula.
        undefined: What missing values and few rows give.
        cost: What one window costs.
        misleads: When not to believe it.
        agrees_with: Whose numbers it reproduces, and how closely.
        reference: The paper, with DOI.
    """

    key: str
    title: str
    fit: Fit
    two_sided: bool = False
    share: bool = False
    all_roles: bool = False
    unit: str
    range: tuple[float, float]
    formula: str
    undefined: str
    cost: str
    misleads: str
    agrees_with: str
    reference: str


def section(spec: SampledSpec) -> str:
    """The documentation page's part about one method, in Markdown, ending in a newline."""
    smallest, largest = (
        ("-" if limit < 0 else "") + ("∞" if math.isinf(limit) else f"{abs(limit):g}") for limit in spec.range
    )
    rows = [
        ("Looks at", "features, predictions and probabilities together" if spec.all_roles else "all features together"),
        ("Formula", spec.formula),
        ("Range and unit", f"{smallest} to {largest}; unit: {spec.unit}"),
        ("Drift makes it", "larger or smaller" if spec.two_sided else "larger"),
        ("Missing values and few rows", spec.undefined),
        ("Cost of one window", spec.cost),
        ("When it misleads", spec.misleads),
        ("Agrees with", spec.agrees_with),
        ("Paper", spec.reference),
    ]
    lines = [f"- **{name}**: {text}{'' if text.endswith('.') else '.'}" for name, text in rows]
    return "\n".join([f"## `{spec.key}`: {spec.title}", "", *lines, ""])
