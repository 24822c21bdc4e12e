"""Known rows travel as spans through decoding, windows and detection; each method's finding is scipy's on the rows.

No number of this file comes from the service's own bins, but for the error bounds, whose frames are counted here.
"""

import math
from collections.abc import Callable
from functools import cache

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from scipy import stats
from scipy.spatial.distance import jensenshannon

from driftmeter.methods import METHODS
from driftmeter.methods.sequential import SEQUENTIAL
from driftmeter.model.baseline import Baseline
from driftmeter.model.bins import NumericBins
from methods.method_bins import bins_frame, doane_bins, number, value_bins
from rows import bin_numbers
from watched_pipeline import MINUTE_NS, START_NS, WatchedPipeline, baseline_of, finding_of

Floats = npt.NDArray[np.float64]
Values = npt.NDArray[np.generic]

HOUR_NS = 60 * MINUTE_NS
ROWS = 600
NUMBERS = ("plain", "heavy", "whole")
COLUMNS = (*NUMBERS, "kind")


@cache
def reference() -> pl.DataFrame:
    """4,000 rows: normal numbers, a heavy tail, whole numbers, and a category."""
    random = np.random.default_rng(20)
    return pl.DataFrame(
        {
            "plain": random.normal(50, 10, 4_000),
            "heavy": random.lognormal(0, 2, 4_000),
            "whole": random.binomial(12, 0.3, 4_000).astype(float),
            "kind": random.choice(["a", "b", "c", "d"], 4_000, p=[0.4, 0.3, 0.2, 0.1]),
        }
    )


@cache
def windows() -> tuple[pl.DataFrame, ...]:
    """Three hours of 600 rows: as usual, moved, and with a unit error, other numbers and a category never seen."""
    random = np.random.default_rng(21)
    return tuple(
        pl.DataFrame(
            {
                "plain": random.normal(50 + shift, 10 + shift, ROWS) * scale,
                "heavy": random.lognormal(shift / 10, 2, ROWS) * scale,
                "whole": random.binomial(12 + int(scale > 1), 0.3 + shift / 50, ROWS).astype(float),
                "kind": random.choice(["a", "b", "c", other], ROWS, p=[0.4 - shift / 50, 0.3, 0.2, 0.1 + shift / 50]),
            }
        )
        for shift, scale, other in ((0.0, 1.0, "d"), (3.0, 1.0, "d"), (3.0, 1_000.0, "new"))
    )


@cache
def built() -> Baseline:
    """The baseline of the reference rows."""
    return baseline_of(reference(), "prices")


@cache
def travelled() -> WatchedPipeline:
    """The pipeline, after the windows went through it as spans."""
    watched = WatchedPipeline({"window": {"lengths": ["1h"], "clock": "data"}}, [built()])
    for hour, rows in enumerate(windows()):
        times = [START_NS + hour * HOUR_NS + place * HOUR_NS // ROWS for place in range(ROWS)]
        watched.send(rows.to_dicts(), times)
    watched.pipeline.drain()
    assert len(watched.windows_of()) == len(windows())
    return watched


def finding(column: str, method: str, window: int) -> float:
    """The value that came out of the pipeline."""
    value = finding_of(travelled().windows_of()[window], column, method)["value"]
    assert isinstance(value, float)
    return value


def sides(column: str, window: int) -> tuple[Values, Values]:
    """The rows themselves: the reference's and the window's."""
    return reference()[column].to_numpy(), windows()[window][column].to_numpy()


def counted(cuts: Floats, values: Values) -> npt.NDArray[np.int64]:
    """How many are below each cut but not the one before, and from the last one on."""
    return np.bincount(np.searchsorted(cuts, values.astype(np.float64), side="right"), minlength=len(cuts) + 1)


def quantile_counts(column: str, window: int) -> list[npt.NDArray[np.int64]]:
    """Both sides on 32 quantiles of the reference and what is out of its range; categories and what is unseen."""
    before, now = sides(column, window)
    if column == "kind":
        frame = value_bins(before, now)
        return [frame[side].to_numpy().astype(np.int64) for side in ("expected", "observed")]
    numbers = before.astype(np.float64)
    distinct = np.unique(numbers)
    starts = distinct if len(distinct) <= 32 else np.quantile(numbers, np.linspace(0, 1, 33))[:-1]
    cuts = np.append(starts, np.nextafter(numbers.max(), np.inf))
    return [counted(cuts, side) for side in (before, now)]


def decile_counts(column: str, window: int) -> list[npt.NDArray[np.int64]]:
    """Both sides on the reference's deciles; few values and categories as they are."""
    before, now = sides(column, window)
    if column != "kind":
        distinct = np.unique(before.astype(np.float64))
        cuts = distinct[1:] if len(distinct) <= 10 else np.quantile(before.astype(np.float64), np.linspace(0.1, 0.9, 9))
        return [counted(np.unique(cuts), side) for side in (before, now)]
    counts = quantile_counts(column, window)
    return [np.insert(side, 4, 0) for side in counts]  # The bin `other`, which is smoothed like any other.


def sturges_counts(column: str, window: int) -> list[npt.NDArray[np.int64]]:
    """Both sides on Sturges' histogram of the reference, its ends open; at most 20 values, and categories, by value."""
    before, now = sides(column, window)
    if column == "kind" or len(np.unique(before)) <= 20:
        frame = value_bins(before, now)
        counts = [frame[side].to_numpy().astype(np.int64) for side in ("expected", "observed")]
        return [np.insert(side, 4, 0) for side in counts] if column == "kind" else counts
    cuts = np.histogram_bin_edges(before.astype(np.float64), bins="sturges")[1:-1]
    return [counted(cuts, side) for side in (before, now)]


def nannyml_counts(column: str, window: int) -> list[npt.NDArray[np.int64]]:
    """Both sides on Doane's histogram of the reference and what falls outside; few values by value."""
    before, now = sides(column, window)
    few = column == "kind" or len(np.unique(before)) <= 50
    frame = value_bins(before, now) if few else doane_bins(before.astype(np.float64), now.astype(np.float64))
    return [frame[side].to_numpy().astype(np.int64) for side in ("expected", "observed")]


def shannon(counts: list[npt.NDArray[np.int64]]) -> float:
    """Jensen-Shannon by scipy."""
    return float(np.nan_to_num(jensenshannon(counts[0], counts[1], base=2)))


def roots(counts: list[npt.NDArray[np.int64]]) -> float:
    """Hellinger."""
    p, q = (side / side.sum() for side in counts)
    return math.sqrt(max(0.0, 1 - float(np.sum(np.sqrt(p * q)))))


def stability(counts: list[npt.NDArray[np.int64]]) -> float:
    """Stability index, ½ added."""
    p, q = ((side + 0.5) / (side.sum() + len(side) / 2) for side in counts)
    return float(np.sum((p - q) * np.log(p / q)))


def stability_evidently(counts: list[npt.NDArray[np.int64]]) -> float:
    """Stability index with Evidently's fill."""
    listed = counts[0] + counts[1] > 0
    p, q = (side[listed] / side.sum() for side in counts)
    p, q = (
        np.where(side > 0, side, 1e-4 if side[side > 0].min() > 1e-4 else side[side > 0].min() / 1e6) for side in (p, q)
    )
    return float(np.sum((p - q) * np.log(p / q)))


def stability_azure(counts: list[npt.NDArray[np.int64]]) -> float:
    """Stability index of counts raised by one."""
    p, q = ((side + 1) / side.sum() for side in counts)
    return float(np.sum((q - p) * np.log(q / p)))


def divergence(counts: list[npt.NDArray[np.int64]]) -> float:
    """Kullback-Leibler by scipy, ½ added; categories have the bin `other` too."""
    return float(stats.entropy(counts[0] + 0.5, counts[1] + 0.5))


def contingency(counts: list[npt.NDArray[np.int64]]) -> float:
    """Chi-square by scipy."""
    table = np.array(counts)
    return float(stats.chi2_contingency(table[:, table.sum(axis=0) > 0]).statistic)


def largest(counts: list[npt.NDArray[np.int64]]) -> float:
    """L-infinity."""
    p, q = (side / side.sum() for side in counts)
    return float(np.max(np.abs(p - q)))


def half_sum(counts: list[npt.NDArray[np.int64]]) -> float:
    """Total variation."""
    p, q = (side / side.sum() for side in counts)
    return float(1 - np.minimum(p, q).sum())


def with_other(column: str, window: int) -> list[npt.NDArray[np.int64]]:
    """As `quantile_counts`, categories with the bin `other`."""
    counts = quantile_counts(column, window)
    return [np.insert(side, 4, 0) for side in counts] if column == "kind" else counts


ON_BINS: dict[str, tuple[Callable[[str, int], list[npt.NDArray[np.int64]]], Callable[..., float]]] = {
    "jensen_shannon": (quantile_counts, shannon),
    "jensen_shannon_nannyml": (nannyml_counts, shannon),
    "hellinger": (quantile_counts, roots),
    "hellinger_nannyml": (nannyml_counts, roots),
    "population_stability_index": (decile_counts, stability),
    "population_stability_index_evidently": (sturges_counts, stability_evidently),
    "population_stability_index_azure": (sturges_counts, stability_azure),
    "kullback_leibler": (with_other, divergence),
    "chi_square": (quantile_counts, contingency),
    "l_infinity": (quantile_counts, largest),
    "total_variation": (quantile_counts, half_sum),
}
"""Methods that are exact on their bins: the bins from the rows, and the number."""


def smirnov(before: Floats, now: Floats) -> float:
    """Kolmogorov-Smirnov by scipy."""
    return float(stats.ks_2samp(before, now, method="asymp").statistic)


def mises(before: Floats, now: Floats) -> float:
    """Cramér-von Mises over the rows of both sides."""
    both = np.concatenate([before, now])
    gap = [np.searchsorted(np.sort(side), both, side="right") / len(side) for side in (before, now)]
    return math.sqrt(float(np.mean((gap[0] - gap[1]) ** 2)))


def darling(before: Floats, now: Floats) -> float:
    """Anderson-Darling over the rows of both sides, by the definition."""
    both = np.sort(np.concatenate([before, now]))
    values, rows = np.unique(both, return_counts=True)
    gap = [np.searchsorted(np.sort(side), values, side="right") / len(side) for side in (before, now)]
    pooled = np.cumsum(rows) / len(both)
    inner = slice(0, -1)
    squares = (gap[0] - gap[1])[inner] ** 2 / (pooled * (1 - pooled))[inner]
    return math.sqrt(float(np.sum(rows[inner] / len(both) * squares)))


def in_deviations(before: Floats, now: Floats) -> float:
    """Wasserstein over the reference's standard deviation, as Evidently and Azure have it."""
    return float(stats.wasserstein_distance(before, now) / np.std(before))


ON_ROWS: dict[str, Callable[[Floats, Floats], float]] = {
    "kolmogorov_smirnov": smirnov,
    "cramer_von_mises": mises,
    "anderson_darling": darling,
    "wasserstein": lambda before, now: float(stats.wasserstein_distance(before, now)),
    "wasserstein_normalised": in_deviations,
    "energy": lambda before, now: float(stats.energy_distance(before, now)),
}
"""Methods whose number is the rows' own within a stated error."""


def error_of(method: str, column: str, window: int) -> float:
    """The stated error, on the baseline's fine bins, counted here."""
    before, now = (side.astype(np.float64) for side in sides(column, window))
    (own,) = (each for each in built().columns if each.column.name == column)
    assert isinstance(own.bins, NumericBins)
    edges = own.bins.edges
    counts = [np.bincount(bin_numbers(edges, side), minlength=len(edges) + 2) for side in (before, now)]
    tail = np.zeros(len(edges) + 2)
    tail[0], tail[-1] = np.sum((edges[0] - now)[now < edges[0]]), np.sum((now - edges[-1])[now > edges[-1]])
    frame = bins_frame(counts[0], counts[1], np.concatenate([edges[:1], edges, edges[-1:], edges[-1:]]), tail)
    return number(method, frame.with_columns(spread=pl.lit(float(np.std(before)))), "error")


@pytest.mark.parametrize("window", range(3))
@pytest.mark.parametrize(
    ("method", "column"),
    [
        (method, column)
        for method in ON_BINS
        for column in COLUMNS
        if (METHODS[method].categorical if column == "kind" else METHODS[method].numeric)
    ],
)
def test_methods_on_bins_are_exact(method: str, column: str, window: int) -> None:
    """The finding is the formula on bins that are made of the rows here, to 1e-9."""
    bins, formula = ON_BINS[method]
    # Squared: the root of one rounding error is 1e-8.
    assert finding(column, method, window) ** 2 == pytest.approx(
        formula(bins(column, window)) ** 2, rel=1e-9, abs=1e-14
    )


@pytest.mark.parametrize("window", range(3))
@pytest.mark.parametrize("column", NUMBERS)
@pytest.mark.parametrize("method", ON_ROWS)
def test_methods_on_rows_are_within_their_error(method: str, column: str, window: int) -> None:
    """The finding is scipy's number on the rows, but for the stated error; exact for columns of few values."""
    before, now = (side.astype(np.float64) for side in sides(column, window))
    exact, ours = ON_ROWS[method](before, now), finding(column, method, window)
    assert abs(ours - exact) <= error_of(method, column, window) * (1 + 1e-9) + 1e-9 * max(1.0, exact)
    if column == "whole" and now.max() <= before.max():
        assert ours == pytest.approx(exact, rel=1e-9)


@pytest.mark.parametrize("column", NUMBERS)
def test_cumulative_sums_are_those_of_the_rows_means(column: str) -> None:
    """Page's sums of (mean - reference's) / standard error, at most 20, over the three windows, to 2 %."""
    rise = fall = 0.0
    for window in range(3):
        before, now = (side.astype(np.float64) for side in sides(column, window))
        x = (now.mean() - before.mean()) / (np.std(before) * math.sqrt(1 / len(now) + 1 / len(before)))
        x = min(20.0, max(-20.0, x))
        rise, fall = max(0.0, rise + x - 0.5), max(0.0, fall - x - 0.5)
        assert finding(column, "cusum", window) == pytest.approx(max(rise, fall), rel=0.02, abs=0.1)
        if max(rise, fall) > SEQUENTIAL["cusum"].threshold:
            rise = fall = 0.0


def test_every_method_is_compared() -> None:
    """No method is left out, nor anything else compared."""
    assert ON_BINS.keys() | ON_ROWS.keys() == METHODS.keys()
    travelled().assert_ledger_holds()
