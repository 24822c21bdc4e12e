"""Data quality of windows, against numpy and polars on the same rows."""

import math
from typing import Any

import numpy as np
import polars as pl
import pytest

from driftmeter.baseline.build import build_baseline
from driftmeter.detect.quality import QUANTILES, quality_of, ratios_of
from driftmeter.model.baseline import Baseline
from driftmeter.model.counts import Counts
from driftmeter.model.window_counts import WindowCounts
from driftmeter.model.windows import parse_window
from driftmeter.summary.fold import fold
from rows import HOUR_NS, KEY, MINUTE_NS, dataset, predictions

HOUR = parse_window("1h")
Values = dict[str, Any]


def baseline_of(columns: Values) -> Baseline:
    """A baseline of these rows."""
    return build_baseline(dataset(columns), "model", "", [])


def quality(baseline: Baseline, columns: Values, times_ns: list[int] | None = None) -> dict[str, dict[str, Any]]:
    """Quality of one window, [0, 1h), of these rows: by column, the model's own by the empty name."""
    rows = len(next(iter(columns.values())))
    batch = predictions(times_ns or list(range(rows)), columns)
    counts = Counts.zeros(baseline.layout)
    fold(baseline.layout, batch.rows, np.zeros(rows, np.int32), counts)
    window = WindowCounts(HOUR, 0, 0, HOUR_NS, 0, counts)
    table = quality_of(KEY, baseline, [window], counts, counts.moments())
    return {row["column"]: row for row in table.to_dicts()}


DRAWS = {
    "normal": lambda random, rows: random.normal(size=rows),
    "lognormal": lambda random, rows: random.lognormal(sigma=3, size=rows),
    "uniform": lambda random, rows: random.uniform(-5, 5, rows),
    "cauchy": lambda random, rows: random.standard_cauchy(rows),
}


@pytest.mark.parametrize("name", DRAWS)
@pytest.mark.parametrize("shift", [0.0, 0.5, 1e3])
def test_quantiles_lie_in_the_bin_of_numpys(name: str, shift: float) -> None:
    """The error is at most the width of the fine bin, within the window's own range; shifted windows included."""
    random = np.random.default_rng(5)
    baseline = baseline_of({"x": DRAWS[name](random, 20_000)})
    values = DRAWS[name](random, 3_000) + shift
    found = quality(baseline, {"x": values})["x"]
    edges = baseline.layout.bins[0].edges  # type: ignore[union-attr]  # Numeric.
    ends = np.concatenate(([-np.inf], edges, [np.inf]))
    for quantile in QUANTILES:
        exact = np.quantile(values, quantile, method="inverted_cdf")
        place = np.searchsorted(ends, exact, side="right")
        low, high = max(ends[place - 1], values.min()), min(ends[place], values.max())
        assert low <= found[f"quantile_{quantile:g}"] <= high, quantile
        assert low <= exact <= high


def test_quantiles_of_undrifted_windows_are_close() -> None:
    """With 1,024 quantile bins, at most 1/1,000 of the rows lie between the quantile and what is said."""
    random = np.random.default_rng(6)
    baseline = baseline_of({"x": random.lognormal(sigma=3, size=50_000)})
    values = random.lognormal(sigma=3, size=20_000)
    found = quality(baseline, {"x": values})["x"]
    for quantile in QUANTILES:
        below = np.count_nonzero(values <= found[f"quantile_{quantile:g}"]) / len(values)
        assert below == pytest.approx(quantile, abs=0.0015)


def test_quantiles_of_few_values_are_these_values() -> None:
    """A column of few distinct values has its quantiles among them, as polars says."""
    random = np.random.default_rng(7)
    baseline = baseline_of({"x": random.integers(0, 5, 4_000).astype(float)})
    values = random.integers(0, 5, 1_111).astype(float)
    found = quality(baseline, {"x": values})["x"]
    for quantile in QUANTILES:
        exact = np.quantile(values, quantile, method="inverted_cdf")
        assert found[f"quantile_{quantile:g}"] == exact


@pytest.mark.parametrize("values", [[7.0], [1e308, -1e308], [0.5] * 9, [-1e9, 1e9], [None, None]])
def test_quantiles_of_odd_windows_are_within_their_range(values: list[float | None]) -> None:
    """One value, constants, all out of range, overflowing widths: in order, between smallest and largest, or null."""
    baseline = baseline_of({"x": np.random.default_rng(8).normal(size=2_000)})
    found = quality(baseline, {"x": values})["x"]
    quantiles = [found[f"quantile_{quantile:g}"] for quantile in QUANTILES]
    if values[0] is None:
        assert quantiles == [None] * len(QUANTILES)
        return
    assert quantiles == sorted(quantiles)
    assert found["min"] <= quantiles[0]
    assert quantiles[-1] <= found["max"]


def test_ratios_and_moments_are_those_of_polars() -> None:
    """Every count and moment of a mixed window, by polars on the rows."""
    random = np.random.default_rng(9)
    names = [f"n{i}" for i in range(400)]
    weights = 1 / np.arange(1, 401) ** 0.7
    drawn = random.choice(names, 30_000, p=weights / weights.sum())
    baseline = baseline_of({"x": random.normal(size=30_000), "c": drawn})
    numbers = random.normal(scale=3, size=2_000)
    x = [None if i % 50 == 0 else math.nan if i % 70 == 0 else value for i, value in enumerate(numbers.tolist())]
    c = [None if i % 40 == 0 else name for i, name in enumerate(random.choice([*names, "new", "newer"], 2_000))]
    found = quality(baseline, {"x": x, "c": c})
    low, high = baseline.columns[0].minimum, baseline.columns[0].maximum
    bins = baseline.layout.bins[1]
    frame = pl.DataFrame({"x": x, "c": c})
    finite = frame["x"].drop_nulls().drop_nans()
    expected_x = {
        "rows": 2_000,
        "missing": frame["x"].null_count(),
        "non_finite": int(frame["x"].is_nan().sum()),
        "out_of_range": int(((finite < low) | (finite > high)).sum()),
        "unseen": None,
        "other": None,
        "constant": False,
    }
    assert {name: found["x"][name] for name in expected_x} == expected_x
    assert found["x"]["mean"] == pytest.approx(finite.mean(), rel=1e-12)
    assert found["x"]["stddev"] == pytest.approx(finite.std(ddof=0), rel=1e-12)
    assert (found["x"]["min"], found["x"]["max"]) == (finite.min(), finite.max())
    expected_c = {
        "missing": frame["c"].null_count(),
        "out_of_range": None,
        "unseen": int(frame["c"].is_in(["new", "newer"]).sum()),
        "other": int(frame["c"].is_in(list(bins.others)).sum()),  # type: ignore[union-attr]  # Categorical.
        "constant": False,
        "mean": None,
        "quantile_0.5": None,
    }
    assert expected_c["other"]
    assert {name: found["c"][name] for name in expected_c} == expected_c


@pytest.mark.parametrize(
    ("values", "constant"),
    [
        ([3.0, 3.0, None], True),
        ([3.0, 3.5], False),
        ([3.0, 3.0, math.inf], False),
        ([1e9, 1e9], True),
        ([3.0], None),
        ([None, None], None),
        (["a", "a"], True),
        (["a", "b"], False),
        (["new", "new"], None),
        (["a", "new"], False),
    ],
)
def test_a_column_is_constant_when_all_its_values_are_one(values: list[Any], constant: bool | None) -> None:  # noqa: FBT001
    """At least two values, all the same; categories without a bin of their own cannot be told apart."""
    random = np.random.default_rng(1)
    baseline = baseline_of({"x": random.normal(size=300), "c": random.choice(["a", "b"], 300)})
    column = "c" if isinstance(values[0], str) else "x"
    assert quality(baseline, {column: values})[column]["constant"] is constant


def test_freshness_is_the_age_of_the_newest_value() -> None:
    """At the window's end; a column without any is as old as the window at least."""
    random = np.random.default_rng(2)
    names = ("x", "y", "z", "absent")
    baseline = baseline_of({name: random.normal(size=300) for name in names})
    times = [10 * MINUTE_NS, 50 * MINUTE_NS, 30 * MINUTE_NS]
    found = quality(baseline, {"x": [1.0, 1.0, 1.0], "y": [1.0, None, 1.0], "z": [None, None, None]}, times)
    ages = [found[name]["freshness_seconds"] for name in names]
    assert ages == [10 * 60, 30 * 60, 60 * 60, 60 * 60]
    assert found[""]["freshness_seconds"] is None


def test_rows_without_times_have_no_freshness() -> None:
    """Nothing is known, which is not the same as old."""
    baseline = baseline_of({"x": np.arange(300.0)})
    counts = Counts.zeros(baseline.layout)
    fold(baseline.layout, dataset({"x": [1.0, 2.0]}).rows, np.zeros(2, np.int32), counts)
    table = quality_of(KEY, baseline, [WindowCounts(HOUR, 0, None, None, 0, counts)], counts, counts.moments())
    assert table["freshness_seconds"].to_list() == [None, None]
    assert table["duplicates"].to_list() == [None, None]


def test_duplicates_of_rows_are_the_models() -> None:
    """The row of the model says how many rows repeat another, and has nothing of a column's."""
    baseline = baseline_of({"x": np.arange(300.0), "y": np.arange(300.0)})
    found = quality(baseline, {"x": [1.0, 1.0, 2.0, 1.0], "y": [5.0, 5.0, 5.0, 6.0]})
    assert (found[""]["role"], found[""]["rows"], found[""]["duplicates"], found[""]["incomplete"]) == (
        "model",
        4,
        1,
        0,
    )
    assert found[""]["missing"] is found[""]["mean"] is None
    assert found["x"]["duplicates"] is None


def test_a_million_categories_take_no_more_than_their_bins() -> None:
    """Counts of a column with as many categories as rows stay at 258 bins, and what is in `other` is visible."""
    names = np.array([f"id{i}" for i in range(100_000)])
    baseline = baseline_of({"c": names})
    assert baseline.layout.size == 258
    counts = Counts.zeros(baseline.layout)
    for first in range(0, 1_000_000, 50_000):
        batch = predictions(range(50_000), {"c": [f"id{i}" for i in range(first, first + 50_000)]})
        fold(baseline.layout, batch.rows, np.zeros(50_000, np.int32), counts)
    assert Counts.cells(baseline.layout) < 6_000
    assert len(counts.contents[0].hashes) == 1_024
    ratios = ratios_of(baseline.layout, counts)
    assert ratios["other"][0, 0] == 1_000_000 - counts.bins[0, :256].sum()
    assert ratios["unseen"][0, 0] == 0
