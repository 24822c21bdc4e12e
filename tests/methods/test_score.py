"""Scoring all columns and windows at once gives what each gives alone, by plain numpy."""

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest

from driftmeter.baseline.edges import category_bins, numeric_bins
from driftmeter.methods import METHODS
from driftmeter.methods import score as scoring
from driftmeter.methods.groupings import build_groupings
from driftmeter.methods.score import Scores, score
from driftmeter.methods.spec import Bins
from driftmeter.model.baseline import ColumnBaseline
from driftmeter.model.bins import NumericBins
from driftmeter.model.columns import Column, Role
from methods.method_bins import bins_frame, number, pvalue
from rows import bin_numbers

Floats = npt.NDArray[np.float64]

WINDOWS = 5


def columns_of(random: np.random.Generator) -> tuple[ColumnBaseline, ...]:
    """Normal numbers, few whole ones, a constant, and categories."""
    samples = [random.normal(3, 2, 2_000), random.integers(0, 7, 900).astype(float), np.full(50, 4.0)]
    columns = []
    for place, values in enumerate(samples):
        bins, cuts = numeric_bins(values)
        counts = np.bincount(bin_numbers(bins.edges, values), minlength=bins.size).astype(np.uint64)
        name = Column(Role.FEATURE, f"x{place}")
        columns.append(ColumnBaseline(name, bins, cuts, counts, 0, 0, float(values.mean()), float(values.std())))
    kinds = category_bins(pl.Series("value", random.choice(["a", "b", "c"], 300)))
    counts = np.array([120, 100, 80, 0, 0], np.uint64)
    return (*columns, ColumnBaseline(Column(Role.FEATURE, "kind"), kinds, None, counts, 0, 0))


def drawn(random: np.random.Generator, columns: tuple[ColumnBaseline, ...]) -> tuple[Floats, Floats]:
    """Counts of some windows, float64 (WINDOWS, bins), the last one empty, and their tails (WINDOWS, columns, 2)."""
    parts = [random.integers(0, 4, (WINDOWS, each.bins.size)).astype(np.float64) for each in columns]
    observed = np.concatenate(parts, axis=1)
    observed[-1] = 0
    tails = np.zeros((WINDOWS, len(columns), 2))
    tails[:-1, :3] = random.random((WINDOWS - 1, 3, 2))
    return observed, tails


def one_by_one(columns: tuple[ColumnBaseline, ...], expected: Floats, observed: Floats, tails: Floats) -> Scores:
    """Each method on each column of each window by itself, bins regrouped by numpy."""
    groupings = build_groupings(columns)
    offsets = np.cumsum([0, *(each.bins.size for each in columns)])
    shape = (len(observed), len(columns))
    values = {key: np.full(shape, np.nan) for key in METHODS}
    pvalues = {key: np.full(shape, np.nan) for key, spec in METHODS.items() if spec.pvalue}
    shifts = np.full(shape, np.nan)
    for w in range(shape[0]):
        for c, column in enumerate(columns):
            part = slice(offsets[c], offsets[c + 1])
            for key, spec in METHODS.items():
                if not (spec.numeric if isinstance(column.bins, NumericBins) else spec.categorical):
                    continue
                grouping = groupings[spec.bins]
                group = grouping.group[part] - grouping.lowest[c]
                e, o = (np.bincount(group, side[w % len(side), part]) for side in (expected, observed))
                frame = bins_frame(e, o)
                if spec.bins is Bins.FINE:
                    own = slice(grouping.lowest[c], grouping.highest[c] + 1)
                    tail = np.zeros(len(e))
                    tail[[0, -1]] = tails[w, c]
                    frame = frame.with_columns(
                        left=grouping.left[own], right=grouping.right[own], tail=tail, spread=pl.lit(column.stddev)
                    )
                    if e.sum() and o.sum():
                        gap = np.concatenate([[0.0], np.cumsum(e / e.sum() - o / o.sum())])
                        area = np.sum((grouping.right[own] - grouping.left[own]) * (gap[1:] + gap[:-1]) / 2)
                        shifts[w, c] = area + (tail[-1] - tail[0]) / o.sum()
                values[key][w, c] = number(spec, frame)
                if spec.pvalue:
                    pvalues[key][w, c] = pvalue(spec, frame)
    return Scores(values, pvalues, shifts)


@pytest.mark.parametrize("each_its_own", [False, True], ids=["one expectation", "one per window"])
@pytest.mark.parametrize("cells", [1, 3_000, 1 << 20])
def test_all_at_once_is_one_by_one(cells: int, each_its_own: bool, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: FBT001 - a parameter.
    """Values, p-values and shifts are those of each group alone, however many windows a query takes."""
    random = np.random.default_rng(7)
    columns = columns_of(random)
    observed, tails = drawn(random, columns)
    expected = np.concatenate([each.counts for each in columns]).astype(np.float64)[None]
    if each_its_own:  # As of a reference that changes; shares of rows need not be whole.
        expected = expected * random.random((WINDOWS, 1)) + 0.25 * (expected > 0)
    monkeypatch.setattr(scoring, "_CELLS", cells)
    found = score(METHODS.values(), build_groupings(columns), expected, observed, tails)
    alone = one_by_one(columns, expected, observed, tails)
    for key, values in alone.values.items():
        np.testing.assert_allclose(found.values[key], values, rtol=1e-9, atol=1e-9, err_msg=key)
    for key, values in alone.pvalues.items():
        np.testing.assert_allclose(found.pvalues[key], values, rtol=1e-6, atol=1e-12, err_msg=key)
    numeric = [isinstance(each.bins, NumericBins) for each in columns]
    np.testing.assert_allclose(found.shifts[:, numeric], alone.shifts[:, numeric], rtol=1e-9, atol=1e-9)
    assert np.isnan(found.values["jensen_shannon"][-1]).all()
