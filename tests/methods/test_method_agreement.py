"""The methods agree with scipy, with plain numpy and with cases computed by hand."""

import math
import warnings
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import (
    anderson_ksamp,
    chi2_contingency,
    cramervonmises_2samp,
    energy_distance,
    entropy,
    ks_2samp,
    kstwobign,
    norm,
    wasserstein_distance,
)

from methods.method_bins import Floats, bins_frame, fine_bins, number, pvalue

Counts = npt.NDArray[np.int64]

SETTINGS = settings(max_examples=200, deadline=None, derandomize=True)


@st.composite
def two_counts(draw: st.DrawFn) -> tuple[Counts, Counts]:
    """Counts of both sides over 1 to 40 bins, small ones and zeros often, both sides with rows."""
    bins = draw(st.integers(1, 40))
    counts = st.lists(st.integers(0, draw(st.sampled_from([2, 50, 10**6]))), min_size=bins, max_size=bins)
    expected, observed = np.array(draw(counts)), np.array(draw(counts))
    assume(expected.sum() > 0 and observed.sum() > 0)
    return expected, observed


@st.composite
def two_samples(draw: st.DrawFn) -> tuple[Floats, Floats]:
    """Values of both sides: of several shapes, moved, stretched, rounded to a grid or not; some out of range."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows = st.sampled_from([2, 30, 3000])
    reference, observed = (
        getattr(rng, draw(st.sampled_from(["normal", "lognormal", "uniform"])))(size=draw(rows)) for _ in range(2)
    )
    observed = observed * draw(st.sampled_from([0.5, 1.0, 100.0])) + draw(st.sampled_from([0.0, 0.1, -5.0]))
    grid = draw(st.sampled_from([None, 0, 1]))
    if grid is not None:
        reference, observed = np.round(reference, grid), np.round(observed, grid)
    return reference, observed


@SETTINGS
@given(two_counts())
def test_jensen_shannon_is_scipys(counts: tuple[Counts, Counts]) -> None:
    """Jensen-Shannon is scipy's distance to base 2, whether bins are called Driftmeter's or NannyML's."""
    expected, observed = counts
    # scipy leaves rounding below zero as nan, which means zero.
    theirs = np.nan_to_num(jensenshannon(expected, observed, base=2))
    for method in ("jensen_shannon", "jensen_shannon_nannyml"):
        # Squared, since the root of one rounding error is 1e-8, which scipy's value may hold.
        assert number(method, bins_frame(*counts)) ** 2 == pytest.approx(theirs**2, abs=1e-14)
        assert theirs < 1e-6 or number(method, bins_frame(*counts)) == pytest.approx(theirs, abs=1e-9)


@SETTINGS
@given(two_counts())
def test_plain_distances_are_their_formulas(counts: tuple[Counts, Counts]) -> None:
    """Hellinger, total variation, L-infinity and the stability index are their formulas in numpy."""
    bins = bins_frame(*counts)
    p, q = (side / side.sum() for side in counts)
    by_roots = math.sqrt(max(0.0, 1 - np.sum(np.sqrt(p * q))))
    assert number("hellinger", bins) == pytest.approx(by_roots, abs=1e-7)
    assert number("hellinger", bins) == pytest.approx(np.linalg.norm(np.sqrt(p) - np.sqrt(q)) / math.sqrt(2), abs=1e-9)
    assert number("hellinger_nannyml", bins) == number("hellinger", bins)
    assert number("total_variation", bins) == pytest.approx(1 - np.minimum(p, q).sum(), abs=1e-9)
    assert number("l_infinity", bins) == pytest.approx(max(np.max(p - q), np.max(q - p)), abs=1e-9)
    e, o = ((side + 0.5) / (side.sum() + len(side) / 2) for side in counts)
    divergences = np.sum(e * np.log(e / o)) + np.sum(o * np.log(o / e))
    assert number("population_stability_index", bins) == pytest.approx(divergences, rel=1e-9, abs=1e-9)


@SETTINGS
@given(two_counts())
def test_chi_square_is_scipys(counts: tuple[Counts, Counts]) -> None:
    """Statistic, degrees of freedom and p-value are those of scipy's contingency test, Yates' correction included."""
    table = np.array(counts)
    theirs = chi2_contingency(table[:, table.sum(axis=0) > 0])
    bins = bins_frame(*counts)
    # The absolute term is one rounding error of the largest count.
    assert number("chi_square", bins) == pytest.approx(theirs.statistic, rel=1e-9, abs=1e-12)
    assert number("chi_square", bins, "dof") == theirs.dof
    assert pvalue("chi_square", bins) == pytest.approx(theirs.pvalue, rel=1e-6, abs=1e-12)


def test_chi_square_of_two_bins_is_corrected_by_hand() -> None:
    """[[20, 30], [30, 20]]: all mean counts are 25, every difference 5 less Yates' ½: 4 · 4.5² / 25 = 3.24."""
    bins = bins_frame(np.array([20, 30, 0]), np.array([30, 20, 0]))
    assert number("chi_square", bins) == pytest.approx(3.24, rel=1e-12)
    assert number("chi_square", bins, "dof") == 1.0


def test_chi_square_holds_for_more_rows_than_32_bits_count() -> None:
    """Products of counts beyond 64 bits do not wrap."""
    counts = np.array([6, 5, 4]) * 10**10, np.array([5, 5, 5]) * 10**10
    assert number("chi_square", bins_frame(*counts)) == pytest.approx(chi2_contingency(np.array(counts)).statistic)


@pytest.mark.parametrize(
    ("expected", "observed", "index"),
    [
        # Shares 0.3, 0.7 against 0.7, 0.3 after the halves: 2 · 0.4 · ln(7/3). Formula: Yurdakul and Naranjo, 2020.
        ([1, 3], [3, 1], 0.8 * math.log(7 / 3)),
        # An empty bin: shares 3/4, 1/4 against 1/4, 3/4: 2 · ½ · ln 3.
        ([1, 0], [0, 1], math.log(3)),
        # Other numbers of rows: 1/2, 1/2 against 3/4, 1/4: ¼ · ln(3/2) + ¼ · ln 2 = ¼ · ln 3.
        ([1, 1], [4, 1], 0.25 * math.log(3)),
    ],
)
def test_stability_index_by_hand(expected: list[int], observed: list[int], index: float) -> None:
    """The index of small counts is what its definition gives on paper."""
    assert number("population_stability_index", bins_frame(np.array(expected), np.array(observed))) == pytest.approx(
        index
    )


def test_stability_index_of_two_normals() -> None:
    """Of N(0, 1) and N(1, 1) on the first's deciles it is the deciles' own divergence, 0.926, below δ² = 1.

    The symmetrised divergence of two normal distributions one standard deviation apart is δ² = 1 (Kullback,
    Information Theory and Statistics, 1959, chapter 9); grouping into deciles can only lower it.
    """
    edges = np.concatenate([[-np.inf], norm.ppf(np.arange(1, 10) / 10), [np.inf]])
    p, q = np.diff(norm.cdf(edges)), np.diff(norm.cdf(edges - 1))
    exact = float(np.sum((p - q) * np.log(p / q)))
    assert exact == pytest.approx(0.926, abs=0.001)
    index = number("population_stability_index", bins_frame(np.round(p * 10**9), np.round(q * 10**9)))
    assert index == pytest.approx(exact, abs=1e-6)
    assert index < 1.0
    for rows, accuracy in ((100, 0.2), (1000, 0.05), (100_000, 0.001)):
        few = number("population_stability_index", bins_frame(p * rows, q * rows))
        assert few == pytest.approx(exact, abs=accuracy)


@SETTINGS
@given(two_samples(), st.sampled_from([4, 32, 1024]))
def test_kolmogorov_smirnov_is_scipys_within_its_bound(samples: tuple[Floats, Floats], bins: int) -> None:
    """The rows' own statistic is never below the bins' and never above by more than the stated error."""
    frame = fine_bins(*samples, bins)
    ours, error = number("kolmogorov_smirnov", frame), number("kolmogorov_smirnov", frame, "error")
    exact = ks_2samp(*samples, method="asymp").statistic
    assert ours - 1e-12 <= exact <= ours + error + 1e-12
    n, m = (len(sample) for sample in samples)
    conservative = kstwobign.sf(math.sqrt(n * m / (n + m)) * max(0.0, ours - error))
    assert pvalue("kolmogorov_smirnov", frame) == pytest.approx(conservative, rel=1e-9, abs=1e-300)


@SETTINGS
@given(two_samples(), st.sampled_from([4, 32, 1024]))
def test_wasserstein_is_scipys_within_its_bound(samples: tuple[Floats, Floats], bins: int) -> None:
    """The rows' own distance is within the stated error, values out of range included."""
    frame = fine_bins(*samples, bins)
    ours, error = number("wasserstein", frame), number("wasserstein", frame, "error")
    exact = float(wasserstein_distance(*samples))
    assert abs(ours - exact) <= error + 1e-9 * max(1.0, exact)


@SETTINGS
@given(two_counts(), st.integers(0, 2**32 - 1))
def test_wasserstein_is_the_area_between_the_curves(counts: tuple[Counts, Counts], seed: int) -> None:
    """Inside the range it is the integral of |F - G| of two piecewise linear curves, crossings included."""
    expected, observed = counts
    edges = np.cumsum(np.random.default_rng(seed).exponential(size=len(expected) + 1))
    gap = np.concatenate([[0.0], np.cumsum(expected / expected.sum() - observed / observed.sum())])
    # Between its crossings, added here as points of their own, |F - G| is linear: the trapeze rule is exact.
    crossing = np.flatnonzero(gap[:-1] * gap[1:] < 0)
    share = gap[crossing] / (gap[crossing] - gap[crossing + 1])
    points = np.sort(np.concatenate([edges, edges[crossing] + share * np.diff(edges)[crossing]]))
    area = np.trapezoid(np.abs(np.interp(points, edges, gap)), points)
    assert number("wasserstein", bins_frame(*counts, edges)) == pytest.approx(area, rel=1e-9, abs=1e-9)


def test_wasserstein_beyond_the_range_is_exact() -> None:
    """A thousandfold value keeps its size: the part beyond the range is no estimate."""
    reference, observed = np.array([0.0, 1.0, 1.0, 1.0]), np.array([1000.0, 1.0, -50.0, 0.0])
    frame = fine_bins(reference, observed, bins=1)  # Below, [0, 1), the maximum's own, above.
    exact = float(wasserstein_distance(reference, observed))
    assert exact == pytest.approx((50 + 1 + 0 + 999) / 4)
    assert number("wasserstein", frame) == pytest.approx(exact, abs=number("wasserstein", frame, "error"))
    assert number("wasserstein", frame, "error") == pytest.approx(1.0 * (0.25 + 0.25) / 2)
    assert frame["tail"].sum() / 4 == pytest.approx((999 + 50) / 4)


def test_wasserstein_error_is_not_bounded_by_the_smaller_share() -> None:
    """Two samples with no bin in common differ from the bins' distance although min(p, q) is zero everywhere."""
    reference, observed = np.array([0.0, 0.0]), np.array([1.9, 1.9])
    frame = bins_frame(np.array([2, 0]), np.array([0, 2]), [0.0, 1.0, 2.0])
    exact = float(wasserstein_distance(reference, observed))
    assert number("wasserstein", frame) == pytest.approx(1.0)
    assert exact - 1.0 > 0.8
    assert exact - 1.0 <= number("wasserstein", frame, "error")


@SETTINGS
@given(two_counts())
def test_kullback_leibler_is_scipys_entropy(counts: tuple[Counts, Counts]) -> None:
    """The divergence is scipy's relative entropy of the counts raised by one half."""
    theirs = float(entropy(counts[0] + 0.5, counts[1] + 0.5))
    assert number("kullback_leibler", bins_frame(*counts)) == pytest.approx(theirs, rel=1e-9, abs=1e-12)


def evidently_index(expected: npt.NDArray[np.generic], observed: npt.NDArray[np.generic]) -> float:
    """Evidently's index of counts over its own bins or categories, by its documented treatment of empty shares.

    https://docs.evidentlyai.com/metrics/customize_data_drift: shares per bin; empty ones become 0.0001, or a millionth
    of the smallest other share when that is no more than 0.0001.
    """
    sides = []
    for counts in (expected, observed):
        share = np.asarray(counts, np.float64) / np.sum(counts)
        least = np.min(share[share != 0])
        sides.append(np.where(share == 0, least / 10**6 if least <= 0.0001 else 0.0001, share))
    return float(np.sum((sides[0] - sides[1]) * np.log(sides[0] / sides[1])))


def azure_index(expected: npt.NDArray[np.generic], observed: npt.NDArray[np.generic]) -> float:
    """Azure's index of counts over its own bins or categories: every count one more, over the rows as they are.

    azureml-assets, model_monitoring, data_drift_compute_metrics.
    """
    p, q = ((np.asarray(counts, np.float64) + 1) / np.sum(counts) for counts in (expected, observed))
    return float(np.sum((q - p) * np.log(q / p)))


@SETTINGS
@given(two_counts())
def test_stability_indices_of_others_are_their_formulas(counts: tuple[Counts, Counts]) -> None:
    """On the same bins Evidently's and Azure's indices come out; Evidently's without bins that no side has rows in."""
    expected, observed = counts
    listed = expected + observed > 0
    bins = bins_frame(*counts)
    theirs = evidently_index(expected[listed], observed[listed])
    assert number("population_stability_index_evidently", bins) == pytest.approx(theirs, rel=1e-9, abs=1e-12)
    theirs = azure_index(expected, observed)
    assert number("population_stability_index_azure", bins) == pytest.approx(theirs, rel=1e-9, abs=1e-12)


def _cumulative_at(sample: Floats, points: Floats) -> Floats:
    """Share of the sample at or below each point."""
    return np.asarray(np.searchsorted(np.sort(sample), points, side="right") / len(sample))


@SETTINGS
@given(two_samples(), st.sampled_from([4, 32, 1024]))
def test_cramer_von_mises_is_the_rows_within_its_bound(samples: tuple[Floats, Floats], bins: int) -> None:
    """Anderson's sum over the rows of both sides, from which scipy's statistic comes, is within the stated error."""
    frame = fine_bins(*samples, bins)
    ours, error = number("cramer_von_mises", frame), number("cramer_von_mises", frame, "error")
    both = np.concatenate(samples)
    exact = math.sqrt(np.mean((_cumulative_at(samples[0], both) - _cumulative_at(samples[1], both)) ** 2))
    assert abs(ours - exact) <= error + 1e-9
    n, m = (len(sample) for sample in samples)
    if len(np.unique(both)) == n + m:
        theirs = cramervonmises_2samp(*samples, method="asymptotic").statistic
        assert exact**2 * n * m / (n + m) == pytest.approx(theirs, rel=1e-9)


def _scholz_stephens_sigma(rows: Sequence[int]) -> float:
    """Standard deviation of the k-sample Anderson-Darling statistic without drift, Scholz and Stephens 1987, (4)."""
    total, k = sum(rows), len(rows)
    inverse = 1.0 / np.arange(1, total)
    h = float(inverse.sum())
    beyond = np.cumsum(inverse[::-1])[::-1]  # Σ over j ≥ i of 1/j, from i = 1.
    g = float(np.sum(beyond[1:] / (total - np.arange(1, total - 1))))
    large_h = sum(1 / n for n in rows)
    a = (4 * g - 6) * (k - 1) + (10 - 6 * g) * large_h
    b = (2 * g - 4) * k**2 + 8 * h * k + (2 * g - 14 * h - 4) * large_h - 8 * h + 4 * g - 6
    c = (6 * h + 2 * g - 2) * k**2 + (4 * h - 4 * g + 6) * k + (2 * h - 6) * large_h + 4 * h
    d = (2 * h + 6) * k**2 - 4 * h * k
    return math.sqrt((a * total**3 + b * total**2 + c * total + d) / ((total - 1) * (total - 2) * (total - 3)))


@SETTINGS
@given(two_samples(), st.sampled_from([4, 32, 1024]))
def test_anderson_darling_is_scipys_within_its_bound(samples: tuple[Floats, Floats], bins: int) -> None:
    """The statistic of scipy, taken back to what it was before it was standardised, is within the stated error."""
    assume(len(np.unique(np.concatenate(samples))) > 1)
    n, m = (len(sample) for sample in samples)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # That its p-value is outside of scipy's table.
        theirs = anderson_ksamp(samples, variant="right").statistic
    exact = math.sqrt(max(0.0, theirs * _scholz_stephens_sigma((n, m)) + 1) * (n + m) / (n * m))
    frame = fine_bins(*samples, bins)
    ours, error = number("anderson_darling", frame), number("anderson_darling", frame, "error")
    assert abs(ours - exact) <= error + 1e-6


@SETTINGS
@given(two_samples(), st.sampled_from([4, 32, 1024]))
def test_energy_is_scipys_within_its_bound(samples: tuple[Floats, Floats], bins: int) -> None:
    """The rows' own distance is within the stated error, values out of range included."""
    frame = fine_bins(*samples, bins)
    ours, error = number("energy", frame), number("energy", frame, "error")
    exact = float(energy_distance(*samples))
    assert abs(ours - exact) <= error + 1e-7 * max(1.0, exact)


@SETTINGS
@given(two_counts(), st.integers(0, 2**32 - 1))
def test_energy_is_the_squared_area_between_the_curves(counts: tuple[Counts, Counts], seed: int) -> None:
    """Inside the range it is the integral of (F - G)² of two piecewise linear curves: Simpson's rule is exact."""
    expected, observed = counts
    widths = np.random.default_rng(seed).exponential(size=len(expected))
    gap = np.concatenate([[0.0], np.cumsum(expected / expected.sum() - observed / observed.sum())])
    middle = (gap[:-1] + gap[1:]) / 2
    area = float(np.sum(widths * (gap[:-1] ** 2 + 4 * middle**2 + gap[1:] ** 2) / 6))
    bins = bins_frame(*counts, np.concatenate([[0.0], np.cumsum(widths)]))
    assert number("energy", bins) == pytest.approx(math.sqrt(2 * area), rel=1e-9, abs=1e-7)


@pytest.mark.parametrize("key", ["cramer_von_mises", "anderson_darling", "energy"])
def test_cumulative_methods_are_exact_on_whole_numbers(key: str) -> None:
    """A bin per value, as columns of few distinct values have it, gives the rows' own number."""
    random = np.random.default_rng(3)
    reference, observed = random.integers(0, 9, 700).astype(float), random.binomial(8, 0.4, 300).astype(float)
    values = np.arange(9.0)
    # As a baseline's edges: each value, and the next number after it.
    edges = np.unique(np.concatenate([values, np.nextafter(values[:-1], np.inf)]))
    counts = [np.bincount(np.searchsorted(edges, side, side="right"), minlength=18) for side in (reference, observed)]
    frame = bins_frame(counts[0], counts[1], np.concatenate([[edges[0]], edges, [edges[-1]]]))
    gap = _cumulative_at(reference, values) - _cumulative_at(observed, values)
    both = np.concatenate([reference, observed])
    below = _cumulative_at(both, values)
    share = np.bincount(both.astype(int), minlength=9) / len(both)
    exact = {
        "cramer_von_mises": math.sqrt(np.sum(share * gap**2)),
        "anderson_darling": math.sqrt(np.sum(share[:-1] * gap[:-1] ** 2 / (below * (1 - below))[:-1])),
        "energy": float(energy_distance(reference, observed)),
    }
    assert number(key, frame) == pytest.approx(exact[key], rel=1e-9)


def test_far_away_windows_are_known_to_a_factor_of_root_two_by_energy() -> None:
    """All rows a thousand times as large, nearly at one point: the distance is the bound's upper end, √2 times ours."""
    reference = np.random.default_rng(2).normal(100.0, 1.0, 1000)
    frame = fine_bins(reference, reference * 1000)
    exact = float(energy_distance(reference, reference * 1000))
    assert exact / number("energy", frame) == pytest.approx(math.sqrt(2), rel=0.01)
    assert exact <= number("energy", frame) + number("energy", frame, "error")
