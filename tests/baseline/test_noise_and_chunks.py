"""What sampling adds, and how much undrifted data differs from itself: against theory and plain numpy."""

import math

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest

from driftmeter.baseline.build import build_baseline
from driftmeter.baseline.chunks import Cut, cut_rows
from driftmeter.baseline.data import Dataset
from driftmeter.baseline.timeline import Timeline
from driftmeter.errors import BaselineError
from driftmeter.methods import METHODS
from driftmeter.model.baseline import Baseline, Comparison
from driftmeter.model.windows import parse_window
from rows import DAY_NS, HOUR_NS, Floats, dataset

REST, PREVIOUS = Comparison.REST, Comparison.PREVIOUS


def jensen_shannon_squared(p: Floats, q: Floats) -> float:
    """The divergence of two arrays of counts in bits, by its definition."""
    p, q = p / p.sum(), q / q.sum()
    m = (p + q) / 2

    def relative(x: Floats) -> float:
        inside = x > 0
        return float(np.sum(x[inside] * np.log2(x[inside] / m[inside])))

    return (relative(p) + relative(q)) / 2


def cut_of(window: str, data: Dataset) -> Cut | None:
    """Rows cut into chunks of one length."""
    length = parse_window(window)
    return cut_rows(length, Timeline(data, [length]), data.count)


def noise_of(values: npt.NDArray[np.generic], method: str = "jensen_shannon") -> float:
    """`a` of one column."""
    return build_baseline(dataset({"x": pl.Series(values)}), "m", "", []).columns[0].noise[method]


@pytest.mark.parametrize("bins", [2, 5, 12, 32])
@pytest.mark.parametrize("kind", ["numbers", "texts"])
def test_noise_of_jensen_shannon_agrees_with_theory(bins: int, kind: str) -> None:
    """A = (k - 1) / (8 ln 2) for k bins that hold rows, but for what is left of the series with bins of few rows."""
    values = np.repeat(np.arange(bins), 200_000 // bins)
    theory = (bins - 1) / (8 * math.log(2))
    assert noise_of(values.astype(str) if kind == "texts" else values) == pytest.approx(theory, rel=0.02)


def test_noise_of_a_continuous_column_is_that_of_its_32_bins() -> None:
    """The fine bins play no part in it."""
    theory = 31 / (8 * math.log(2))
    assert noise_of(np.random.default_rng(0).normal(size=100_000)) == pytest.approx(theory, rel=0.02)


def test_noise_of_chi_square_is_its_degrees_of_freedom() -> None:
    """On the scale per row, a (1/n + 1/N) of windows of 1,000 rows is the number of categories less one, by rows."""
    values = np.repeat(np.arange(10), 100_000).astype(str)
    assert noise_of(values, "chi_square") * (1 / 1_000 + 1 / 1_000_000) == pytest.approx(9 / 1_000, rel=1e-4)


def test_constant_column_has_no_noise() -> None:
    """Sampling from one value adds nothing to any distance, smoothed ones apart."""
    built = build_baseline(dataset({"x": np.full(100, 3.0), "c": ["a"] * 100}), "m", "", [])
    for column in built.columns:
        for method, noise in column.noise.items():
            if method != "chi_square" and "smoothed" not in METHODS[method].undefined:
                assert noise == pytest.approx(0, abs=1e-12), method


def test_noise_is_there_for_every_method_that_applies() -> None:
    """Each column has an `a` per method for its kind, and the same one every time."""
    data = dataset({"x": np.random.default_rng(1).normal(size=500), "c": ["a", "b"] * 250})
    first, second = (build_baseline(data, "m", "", []).columns for _ in range(2))
    numeric, categorical = first
    assert set(numeric.noise) == {key for key, spec in METHODS.items() if spec.numeric}
    assert set(categorical.noise) == {key for key, spec in METHODS.items() if spec.categorical}
    assert [dict(each.noise) for each in first] == [dict(each.noise) for each in second]


def three_weeks() -> tuple[npt.NDArray[np.int64], Floats, list[str | None]]:
    """Times out of order and with gaps; numbers with a daily cycle and holes; colours."""
    random = np.random.default_rng(7)
    times = random.integers(0, 21 * DAY_NS, 20_000)
    times = times[(times // HOUR_NS) % 24 > 5]
    numbers = random.normal(size=len(times)) + np.sin(times / DAY_NS * 2 * np.pi)
    numbers[::17] = np.nan
    colors = [None if i % 13 == 0 else str(c) for i, c in enumerate(random.integers(0, 4, len(times)))]
    return times, numbers, colors


def built() -> Baseline:
    """A baseline of the three weeks."""
    times, numbers, colors = three_weeks()
    stamps = pl.Series(times).cast(pl.Datetime("ns"))
    data = dataset({"t": stamps, "x": numbers, "c": pl.Series(colors)}, "t")
    return build_baseline(data, "m", "", [parse_window(text) for text in ("1h", "24h", "1000rows", "30000rows")])


@pytest.mark.parametrize("window", ["1h", "24h", "1000rows"])
def test_chunk_statistics_are_numpys(window: str) -> None:
    """Each chunk against all rows outside its block, by searchsorted and the definition; missing values left out."""
    baseline = built()
    times, numbers, colors = three_weeks()
    length = parse_window(window)
    where = np.arange(len(times)) // length.rows if length.by_rows else times // length.length_ns
    chunks = np.unique(where) if not length.by_rows else np.arange(len(times) // length.rows)
    numeric, categorical = baseline.columns
    found = baseline.chunks[window]
    assert numeric.cuts is not None
    codes_x = np.searchsorted(numeric.cuts.quantile_starts, numbers, side="right")
    codes_c = np.array([-1 if color is None else int(color) for color in colors])
    for column, codes, there in ((numeric, codes_x, ~np.isnan(numbers)), (categorical, codes_c, codes_c >= 0)):
        place = baseline.columns.index(column)
        compared = found.compared[Comparison.REST]
        squared, previous = (found.compared[kind].squared["jensen_shannon"][:, place] for kind in (REST, PREVIOUS))
        assert len(found.rows) == len(squared) == len(chunks)
        before = None
        for number, chunk in enumerate(chunks):
            inside = np.bincount(codes[there & (where == chunk)], minlength=40).astype(np.float64)
            block = np.isin(where, chunks[found.blocks == found.blocks[number]])
            rest = np.bincount(codes[there & ~block], minlength=40).astype(np.float64)
            assert found.rows[number] == np.count_nonzero(where == chunk)
            assert found.values[number, place] == inside.sum()
            absent = "non_finite_ratio" if column is numeric else "missing_ratio"
            assert found.ratios[absent][number, place] == np.count_nonzero(~there & (where == chunk))
            assert compared.rows[number, place] == rest.sum()
            assert squared[number] == pytest.approx(jensen_shannon_squared(rest, inside), abs=1e-12)
            expected = np.nan if before is None else jensen_shannon_squared(before, inside)
            assert previous[number] == pytest.approx(expected, abs=1e-12, nan_ok=True)
            before = inside


def test_windows_longer_than_the_data_have_no_chunks() -> None:
    """With a single chunk there is no rest to compare it with."""
    assert "30000rows" in built().windows
    assert "30000rows" not in built().chunks


@pytest.mark.parametrize(
    ("starts", "blocks"),
    [
        (np.arange(8) * DAY_NS, [0, 0, 1, 1, 2, 2, 3, 3]),
        (np.array([0, 1, 2, 99, 100]) * DAY_NS, [0, 0, 1, 2, 3]),
        (np.arange(3) * DAY_NS, [0, 1, 2]),
        (np.zeros(1, np.int64), [0]),
    ],
)
def test_blocks_are_quarters_of_the_chunks_in_time(starts: npt.NDArray[np.int64], blocks: list[int]) -> None:
    """Neighbours are left out together, and a gap in the data makes no block of nearly all of it."""
    cut = cut_of("24h", dataset({"t": pl.Series(starts).cast(pl.Datetime("ns")), "x": starts}, "t"))
    assert cut is not None
    assert cut.blocks.tolist() == blocks


def test_blocks_without_times_are_quarters_of_the_chunks() -> None:
    """By rows in file order."""
    cut = cut_of("1rows", dataset({"x": np.arange(6.0)}))
    assert cut is not None
    assert cut.blocks.tolist() == [0, 0, 1, 2, 2, 3]


def test_without_timestamps_there_are_only_chunks_by_rows() -> None:
    """Windows by time cannot be cut from rows without time."""
    data = dataset({"x": np.arange(100.0)})
    baseline = build_baseline(data, "m", "", [parse_window("1h"), parse_window("10rows")])
    assert baseline.windows == ("10rows",)
    assert baseline.start_ns is None
    assert len(baseline.chunks["10rows"].rows) == 10


def test_columns_without_a_finite_value_are_left_out() -> None:
    """They are named; with no column left there is no baseline."""
    data = dataset({"x": np.array([math.nan, math.inf]), "y": [1.0, 2.0]})
    assert build_baseline(data, "m", "", []).skipped == {"x": "none of its values is finite"}
    with pytest.raises(BaselineError, match="at least one"):
        build_baseline(dataset({"x": np.array([math.nan])}), "m", "", [])


@pytest.mark.parametrize(
    "values", [[-1.7e308, 1.7e308, 0.0], [1e200, 2e200], [5e-324, 0.0], [2.0**63, 1.0], [1.0]], ids=str
)
def test_extreme_values_make_a_baseline(values: list[float]) -> None:
    """Ranges that overflow or vanish, and a single row, are counted without a warning."""
    column = build_baseline(dataset({"x": values}), "m", "", [parse_window("1rows")]).columns[0]
    assert column.counts.sum() == len(values)
    assert column.counts[0] == column.counts[-1] == 0
    assert (column.minimum, column.maximum) == (min(values), max(values))


def test_numbers_of_a_column_are_numpys() -> None:
    """Missing, non-finite, mean, standard deviation and range of the finite values."""
    column = build_baseline(dataset({"x": [1.0, 4.0, None, math.nan, -math.inf]}), "m", "", []).columns[0]
    assert (column.missing, column.non_finite) == (1, 2)
    assert (column.mean, column.stddev, column.minimum, column.maximum) == (2.5, 1.5, 1.0, 4.0)
