"""What sampling alone adds to each statistic: exact where the method knows it, else by draws."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from driftmeter.methods import METHODS
from driftmeter.methods.groupings import build_groupings
from driftmeter.methods.sampling import Sampling, draw_uniforms
from driftmeter.methods.score import Floats, Grouping, score, to_squared_scale
from driftmeter.methods.spec import MethodSpec
from driftmeter.model.baseline import ColumnBaseline
from driftmeter.model.bins import NumericBins

DRAW_ROWS = 1_000
"""Rows of a draw: the size of an ordinary window."""

DRAWS = 128
"""Draws of the methods that need them: the standard error of `a` is then at most 13 % (one degree of freedom)."""

_SEED = 20_130_101

_CELLS_MAX = 4_000_000
"""Draws × bins scored at a time: bounds memory at some 500 MB, however many columns there are."""


def noise_per_row(columns: tuple[ColumnBaseline, ...]) -> list[dict[str, float]]:
    """`a` of E[Q] = a (1/n + 1/N) per column and method key, Q on the method's squared scale.

    Of windows of `DRAW_ROWS` rows drawn from each column's counts and compared with the counts themselves, so that the
    term 1/N is nothing: a = n E[Q]. The same counts give the same `a`. Columns without a value have none.
    """
    found: list[dict[str, float]] = [{} for _ in columns]
    uniforms = draw_uniforms(np.random.default_rng(_SEED), DRAWS, DRAW_ROWS)
    step = max(1, _CELLS_MAX // (DRAWS * max(each.bins.size for each in columns)))
    for numeric in (True, False):
        specs = [spec for spec in METHODS.values() if (spec.numeric if numeric else spec.categorical)]
        places = [i for i, each in enumerate(columns) if _is_numeric(each) is numeric and each.counts.any()]
        for first in range(0, len(places), step):
            block = places[first : first + step]
            for key, values in _block([columns[place] for place in block], specs, uniforms).items():
                for place, value in zip(block, values.tolist(), strict=True):
                    if not np.isnan(value):
                        found[place][key] = value
    return found


def _is_numeric(column: ColumnBaseline) -> bool:
    return isinstance(column.bins, NumericBins)


def _block(columns: Sequence[ColumnBaseline], specs: Sequence[MethodSpec], uniforms: Floats) -> dict[str, Floats]:
    """Per method key, `a` of columns of one kind, all of which have values: float64 (columns,), nan for none."""
    groupings = build_groupings(tuple(columns))
    counts = np.concatenate([each.counts for each in columns]).astype(np.float64)[None, :]
    drawn = [spec for spec in specs if spec.noise is None]
    with np.errstate(over="ignore", invalid="ignore"):  # Feature units may be huge: what overflows is null or absent.
        samplings = {bins: _sampling(each, counts, uniforms) for bins, each in groupings.items()}
        found = {spec.key: spec.noise(samplings[spec.bins]) for spec in specs if spec.noise is not None}
    if drawn:
        windows = np.concatenate([_draw(each.counts) for each in columns], axis=1)
        for key, values in score(drawn, groupings, counts, windows).values.items():
            squared = to_squared_scale(METHODS[key], values, np.full(values.shape, float(DRAW_ROWS)))
            found[key] = squared.mean(axis=0) * DRAW_ROWS
    return found


def _sampling(grouping: Grouping, counts: Floats, uniforms: Floats) -> Sampling:
    return Sampling(
        rows=DRAW_ROWS,
        expected=grouping.regroup(counts)[0],
        starts=grouping.lowest,
        width=grouping.right - grouping.left,
        spread=grouping.spread,
        uniforms=uniforms,
    )


def _draw(counts: npt.NDArray[np.uint64]) -> Floats:
    random = np.random.default_rng(_SEED)
    return random.multinomial(DRAW_ROWS, counts / counts.sum(), size=DRAWS).astype(np.float64)
