"""What is judged: units, each with its own sequence of verdicts.

A column's distribution is one unit, over all methods that decide of it; each ratio of a column is one; so is each of
the model's rows as a whole, and its volume.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from driftmeter.detect.config import DetectConfig
from driftmeter.methods import DECIDING_METHODS, METHODS
from driftmeter.methods.ratios import DUPLICATES, FRESHNESS, INCOMPLETE, MODEL_KEYS, RATIOS, ROWS
from driftmeter.methods.sequential import SEQUENTIAL
from driftmeter.model.columns import Column

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

KEYS: tuple[str, ...] = (*METHODS, *SEQUENTIAL, *RATIOS, *MODEL_KEYS)
"""Everything that has a finding, in order; what is the model's stands on a place of its own after the columns."""

DECIDING_KEYS: tuple[str, ...] = (*DECIDING_METHODS, *RATIOS, *MODEL_KEYS)
"""Everything that decides, in order."""

GROUPS: tuple[tuple[str, ...], ...] = (DECIDING_METHODS, *((key,) for key in (*RATIOS, *MODEL_KEYS)))
"""What decides together."""


@dataclass(frozen=True, eq=False)
class Units:
    """The units of one model with c columns; place c is the model itself.

    Attributes:
        columns: The columns.
        numeric: bool (c,): which are numeric.
        min_effect: float64 (deciding keys, c + 1): smallest effects.
        weights: float64 (c + 1,): how much each column counts; 0 for no say in the model's drift.
        say: float64 (groups,): the same of what decides together; 0 for no say.
    """

    columns: Sequence[Column]
    numeric: Bools
    min_effect: Floats
    weights: Floats
    say: Floats

    @classmethod
    def of(cls, columns: Sequence[Column], numeric: Bools, config: DetectConfig) -> "Units":
        """The units of these columns."""
        effects = [config.min_effects(each.name) for each in columns] + [config.min_effects("")]
        weights = [config.of_column(each.name).weight for each in columns] + [1.0]
        table = np.array([[each[key] for each in effects] for key in DECIDING_KEYS])
        by_key = {
            ROWS: config.volume_weight,
            DUPLICATES.key: config.duplicates_weight,
            INCOMPLETE.key: config.incomplete_weight,
            FRESHNESS.key: config.freshness_weight,
        }
        say = [by_key.get(keys[0], 1.0) for keys in GROUPS]
        return cls(columns, numeric, table, np.array(weights), np.array(say))

    @cached_property
    def applies(self) -> Bools:
        """What has a finding where: bool (keys, c + 1)."""
        numeric, model = np.append(self.numeric, False), np.arange(len(self.columns) + 1) == len(self.columns)
        return np.array([model if key in MODEL_KEYS else _where(key, numeric) & ~model for key in KEYS])

    @cached_property
    def group(self) -> Ints:
        """The group of each unit: int64 (units,)."""
        return self._places[1]

    @cached_property
    def column(self) -> Ints:
        """The column of each unit, c for the model: int64 (units,)."""
        return self._places[0]

    @cached_property
    def number(self) -> Ints:
        """The unit that each finding stands for, -1 for none: int64 (keys, c + 1)."""
        found = np.full(self.applies.shape, -1, np.int64)
        by_group = np.full((len(GROUPS), len(self.columns) + 1), -1, np.int64)
        by_group[self.group, self.column] = np.arange(len(self.group))
        for group, keys in enumerate(GROUPS):
            for key in keys:
                place = KEYS.index(key)
                found[place] = np.where(self.applies[place], by_group[group], -1)
        return found

    @cached_property
    def counts(self) -> Bools:
        """Which units have a say in the model's drift: bool (units,)."""
        return (self.weights[self.column] > 0) & (self.say[self.group] > 0)

    @cached_property
    def _places(self) -> tuple[Ints, Ints]:
        there = np.array([self.applies[[KEYS.index(key) for key in keys]].any(axis=0) for keys in GROUPS])
        column, group = np.nonzero(there.T)
        return column, group

    def exceeding(
        self, pvalue: Mapping[str, Floats], excess: Mapping[str, Floats], sufficient: Mapping[str, Bools]
    ) -> Floats:
        """float64 (w, units): the smallest surprise of each unit whose excess is large enough.

        Args:
            pvalue: Per deciding key, float64 (w, c), or (w, 1) for the model's own.
            excess: The same.
            sufficient: Per first key of each group, bool of that shape: whether there are rows enough.

        Returns:
            The level from which on a window exceeds; infinite where no excess is large enough, nan where the window
            cannot be judged.
        """
        found = np.empty((len(pvalue[ROWS]), len(self.group)))
        for group, keys in enumerate(GROUPS):
            mine = np.flatnonzero(self.group == group)
            column = self.column[mine]
            place = np.zeros_like(column) if keys[0] in MODEL_KEYS else column
            least = np.full((len(found), len(mine)), np.nan)
            for key in keys:
                own, smallest = pvalue[key][:, place], self.min_effect[DECIDING_KEYS.index(key), column]
                large = (excess[key][:, place] >= smallest) | np.isnan(own)
                np.fmin(least, np.where(large, own, np.inf), out=least)
            found[:, mine] = np.where(sufficient[keys[0]][:, place], least, np.nan)
        return found


def _where(key: str, numeric: Bools) -> Bools:
    """Which columns a method, sequential detector or ratio applies to."""
    if key in SEQUENTIAL:
        return np.ones_like(numeric)
    spec = METHODS.get(key) or RATIOS[key]
    return np.asarray(np.where(numeric, spec.numeric, spec.categorical))
