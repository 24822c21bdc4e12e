"""Categories of the reference: the commonest, the others, and what nobody has seen."""

import numpy as np
import polars as pl

from driftmeter.baseline.build import build_baseline
from driftmeter.baseline.edges import category_bins
from driftmeter.model.bins import CATEGORIES_MAX, OTHER_NAMES_MAX, CategoryBins
from driftmeter.model.counts import Counts
from driftmeter.summary.fold import fold
from rows import dataset, layout_of, record_batch


def places_of(bins: CategoryBins, names: list[str]) -> list[int]:
    """The bin that each name is counted in."""
    layout = layout_of({"c": bins})
    counts = Counts.zeros(layout, len(names))
    fold(layout, record_batch({"c": names}), np.arange(len(names), dtype=np.int32), counts)
    return [int(place) for place in counts.bins.argmax(axis=1)]


def test_commonest_first_and_ties_by_name() -> None:
    """The order of categories depends on counts and names alone."""
    bins = category_bins(pl.Series("value", ["b", "a", "c", "c", None, "B", "ä"]))
    assert bins.categories == ("c", "B", "a", "b", "ä")
    assert bins.others == ()
    assert not bins.others_truncated


def test_categories_beyond_the_first_256_share_one_bin() -> None:
    """Names of rarer categories are remembered, so that they count as `other` and new ones as `unseen`."""
    names = [f"{i:04}" for i in range(300) for _ in range(2 if i < CATEGORIES_MAX else 1)]
    bins = category_bins(pl.Series("value", names))
    assert bins.categories == tuple(f"{i:04}" for i in range(CATEGORIES_MAX))
    assert len(bins.others) == 300 - CATEGORIES_MAX
    assert places_of(bins, ["0000", "0255", "0256", "0299", "new"]) == [0, 255, 256, 256, 257]


def test_exactly_256_categories_leave_nothing_for_other() -> None:
    """The last category that fits has a bin of its own."""
    bins = category_bins(pl.Series("value", [str(i) for i in range(CATEGORIES_MAX)]))
    assert len(bins.categories) == CATEGORIES_MAX
    assert bins.others == ()


def test_million_categories_cost_no_more_than_a_few_hundred_counters() -> None:
    """Bins, remembered names and noise draws of an identifier column are bounded; unknown names count as `other`."""
    names = np.arange(1_000_000).astype(str)
    built = build_baseline(dataset({"id": pl.Series(names)}), "m", "", []).columns[0]
    assert built.bins.size == CATEGORIES_MAX + 2
    assert built.counts.sum() == 1_000_000
    assert built.counts[-1] == 0
    bins = category_bins(pl.Series("value", names))
    assert len(bins.others) == OTHER_NAMES_MAX
    assert bins.others_truncated
    assert places_of(bins, ["never seen"]) == [CATEGORIES_MAX]


def test_no_values_no_categories() -> None:
    """A column of nulls has only `other` and `unseen`."""
    assert category_bins(pl.Series("value", [None], dtype=pl.String)).size == 2
