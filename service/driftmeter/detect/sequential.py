"""Sequential detectors over a model's windows: each window gives each column one standardised value."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special

from driftmeter.methods.sequential import SEQUENTIAL, tree_of
from driftmeter.model.bundle import Tree
from driftmeter.model.stored import Stored
from driftmeter.model.window_counts import WindowCounts

Floats = npt.NDArray[np.float64]

_SMALLEST = 1e-16
"""A surprise below this, or as near to 1, counts as this: 8.2 standard deviations, so that none is infinite."""

_LARGEST = 20.0
"""A mean that is more standard errors away counts as so many: enough for an alarm at once, and soon forgotten. The
variance that adaptive windowing would keep of one absurd window would hide all changes after it."""


@dataclass(eq=False)
class _Length:
    """One window length: the states of all detectors, and the last window's number and scores (detectors, columns)."""

    states: dict[str, Any]
    scores: Floats
    index: int | None = field(default=None)


class SequentialDetectors:
    """All sequential detectors over one model and reference, each window length by itself.

    Its state depends on the windows it was shown and their order alone. Memory: some hundred numbers per column and
    window length.

    Args:
        columns: Number of columns.
    """

    def __init__(self, columns: int) -> None:
        self.columns = columns
        self._lengths: dict[str, _Length] = {}

    def observe(self, window: WindowCounts, values: Floats, stride: int) -> Floats:
        """Scores of all detectors, float64 (detectors, columns) in the order of `SEQUENTIAL`.

        Only the first evaluation of windows that have no time in common counts: what overlaps would count a change as
        often as it is seen. Others have the scores of the last window that counted, unless it is past.

        Args:
            window: Which window.
            values: float64 (columns,): see `standardised`; nan where there is none.
            stride: After how many windows one begins that does not overlap.
        """
        length = self._lengths.get(window.window.name)
        if length is None:
            length = self._lengths[window.window.name] = self._begin()
        if window.revision == 0 and window.index % stride == 0:
            for place, (key, spec) in enumerate(SEQUENTIAL.items()):
                length.states[key], length.scores[place] = spec.step(length.states[key], values)
            length.index = window.index
        known = length.index is not None and 0 <= window.index - length.index < stride
        return length.scores.copy() if known else np.full_like(length.scores, np.nan)

    def state(self) -> Tree:
        """All of it, for `restore`."""
        return {
            name: {
                "index": length.index,
                "scores": length.scores.copy(),
                "states": {key: tree_of(state) for key, state in length.states.items()},
            }
            for name, length in self._lengths.items()
        }

    def restore(self, tree: Tree) -> None:
        """Take over a state.

        Raises:
            DamagedError: It is none, or one for another number of columns.
        """
        stored = Stored(tree)
        for name in stored.names:
            own = stored.member(name)
            states = own.member("states")
            self._lengths[name] = _Length(
                {key: spec.restore(states.tree(key), self.columns) for key, spec in SEQUENTIAL.items()},
                own.array("scores", np.float64, len(SEQUENTIAL), self.columns).copy(),
                own.optional_integer("index"),
            )

    def _begin(self) -> _Length:
        states = {key: spec.begin(self.columns) for key, spec in SEQUENTIAL.items()}
        return _Length(states, np.full((len(SEQUENTIAL), self.columns), np.nan))


def standardised(shift: Floats, spread: Floats, inverse_rows: Floats, natural: Floats, surprise: Floats) -> Floats:
    """What sequential detectors see of a window: float64 (columns,), mean 0 and standard deviation 1 without drift.

    Of numeric columns the window's mean less that of what it is compared with, over its standard error: σ times the
    root of 1/n + 1/N + b, with σ the baseline's standard deviation and b the natural variation of the normalised
    Wasserstein distance between its chunks, which no mean varies more than. Of columns without a mean, or without
    spread, how surprising the window is, as a standard normal deviation: Φ⁻¹(1 - p). At most 20 either way.

    Args:
        shift: Difference of the means, feature units; nan for none.
        spread: σ, feature units; nan or 0 for none.
        inverse_rows: 1/n + 1/N.
        natural: b, squared standard deviations; nan where it is not known, and left out.
        surprise: p of the deciding statistic on bins; nan for none.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = np.where(spread > 0, spread, np.nan)
        mean = shift / (spread * np.sqrt(inverse_rows + np.nan_to_num(natural)))
    deviation = -np.asarray(special.ndtri(np.clip(surprise, _SMALLEST, 1 - _SMALLEST)))
    return np.where(np.isnan(mean), deviation, np.clip(mean, -_LARGEST, _LARGEST))
