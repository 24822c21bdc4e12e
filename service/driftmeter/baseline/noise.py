"""What sampling alone adds to each statistic, by drawing from the baseline's own counts."""

import numpy as np
import numpy.typing as npt

from driftmeter.methods import METHODS
from driftmeter.methods.groupings import build_groupings
from driftmeter.methods.score import Floats, score, to_squared_scale
from driftmeter.model.baseline import ColumnBaseline

DRAW_ROWS = 1_000
"""Rows of a draw: the size of an ordinary window."""

DRAWS = 128
"""Draws per column: the standard error of `a` is then at most 13 % (one degree of freedom), 2 % for 32 bins."""

_SEED = 20_130_101

_CELLS_MAX = 4_000_000
"""Draws × bins scored at a time: bounds memory at some 500 MB, however many columns there are."""


def noise_per_row(columns: tuple[ColumnBaseline, ...], draws: int = DRAWS) -> list[dict[str, float]]:
    """`a` of E[Q] = a (1/n + 1/N) per column and method key, Q on the method's squared scale.

    Multinomial draws of `DRAW_ROWS` rows from each column's counts, each compared with the counts themselves, so that
    the term 1/N is nothing: a = n E[Q]. Seeded: the same counts give the same `a`.
    """
    random = np.random.default_rng(_SEED)
    found: list[dict[str, float]] = []
    step = max(1, _CELLS_MAX // (draws * max(each.bins.size for each in columns)))
    for first in range(0, len(columns), step):
        found += _block(random, columns[first : first + step], draws)
    return found


def _block(random: np.random.Generator, columns: tuple[ColumnBaseline, ...], draws: int) -> list[dict[str, float]]:
    expected = np.concatenate([each.counts for each in columns]).astype(np.float64)[None, :]
    drawn = np.concatenate([_draw(random, each.counts, draws) for each in columns], axis=1)
    scores = score(METHODS.values(), build_groupings(columns), expected, drawn)
    found: list[dict[str, float]] = [{} for _ in columns]
    for key, values in scores.values.items():
        squared = to_squared_scale(METHODS[key], values, np.full(values.shape, float(DRAW_ROWS)))
        for index in np.flatnonzero(~np.isnan(values).all(axis=0)):
            found[index][key] = float(np.nanmean(squared[:, index]) * DRAW_ROWS)
    return found


def _draw(random: np.random.Generator, counts: npt.NDArray[np.uint64], draws: int) -> Floats:
    total = int(counts.sum())
    if total == 0:
        return np.zeros((draws, len(counts)))
    return random.multinomial(DRAW_ROWS, counts / total, size=draws).astype(np.float64)
