"""Methods on samples of rows: published values, other implementations, and what holds for all of them."""

import inspect
import math

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from sklearn.ensemble import IsolationForest as SklearnForest
from sklearn.metrics import roc_auc_score

from driftmeter.methods.sampled import SAMPLED
from driftmeter.methods.sampled.domain_classifier import DomainClassifier, area_under_curve
from driftmeter.methods.sampled.encoding import Encoding
from driftmeter.methods.sampled.isolation_forest import QUANTILE, IsolationForest, average_path
from driftmeter.methods.sampled.maximum_mean_discrepancy import MaximumMeanDiscrepancy
from driftmeter.methods.sampled.pca_reconstruction import PcaReconstruction
from driftmeter.methods.sampled.spec import section
from methods.method_bins import ORACLES

Floats = npt.NDArray[np.float64]

FEATURES = (
    "car_value",
    "salary_range",
    "debt_to_income_ratio",
    "loan_length",
    "repaid_loan_on_prev_car",
    "size_of_downpayment",
    "driver_tenure",
)
NANNYML = (
    1.141517, 1.130636, 1.138914, 1.145040, 1.137563, 1.249205, 1.243101, 1.258147, 1.228179, 1.259884,
)  # fmt: skip
"""Reconstruction errors of the ten chunks of the analysis set, features as above, as NannyML's tutorial "Multivariate
drift" prints them: https://nannyml.readthedocs.io/en/stable/tutorials/detecting_data_drift/multivariate_drift_detection/pca.html"""


def random_rows(rows: int, columns: int = 5, seed: int = 0) -> Floats:
    """Normal rows."""
    return np.random.default_rng(seed).normal(size=(rows, columns))


def car_loans() -> tuple[Floats, Floats, list[Floats | None]]:
    """The reference and the analysis set, categories as numbers by frequency, and the categories' counts."""
    frames = [pl.read_parquet(ORACLES / f"synthetic_car_loan_{part}.parquet") for part in ("reference", "analysis")]
    columns: list[tuple[Floats, Floats]] = []
    counts: list[Floats | None] = []
    for name in FEATURES:
        reference, analysis = (frame[name] for frame in frames)
        if reference.dtype.is_numeric():
            counts.append(None)
        else:
            found = reference.cast(pl.String).value_counts(sort=True)
            counts.append(found["count"].to_numpy().astype(np.float64))
            numbers = dict(zip(found[name].to_list(), range(found.height), strict=True))
            reference, analysis = (
                each.cast(pl.String).replace_strict(numbers, return_dtype=pl.Float64) for each in (reference, analysis)
            )
        columns.append((reference.to_numpy().astype(np.float64), analysis.to_numpy().astype(np.float64)))
    return np.column_stack([one for one, _ in columns]), np.column_stack([other for _, other in columns]), counts


def test_reconstruction_errors_are_those_nannyml_publishes() -> None:
    """All ten chunks agree with the published digits."""
    reference, analysis, counts = car_loans()
    encoding = Encoding.of(reference, counts)
    fitted = PcaReconstruction.fit(encoding.standardised(reference))
    ours = [fitted.score(encoding.standardised(chunk)) for chunk in np.split(analysis, len(NANNYML))]
    np.testing.assert_allclose(ours, NANNYML, atol=1e-6)


def test_reconstruction_errors_of_a_sample_are_near_those_of_all_rows() -> None:
    """With 4,096 rows of the reference and 512 of a chunk: within five of NannyML's sampling errors."""
    reference, analysis, counts = car_loans()
    random = np.random.default_rng(3)
    some = reference[np.sort(random.choice(len(reference), 4_096, replace=False))]
    encoding = Encoding.of(some, counts)
    fitted = PcaReconstruction.fit(encoding.standardised(some))
    error = 5 * 0.007 * math.sqrt(5_000 / 512)  # 0.007 is published, for 5,000 rows.
    for chunk, published in zip(np.split(analysis, len(NANNYML)), NANNYML, strict=True):
        rows = chunk[random.choice(len(chunk), 512, replace=False)]
        assert fitted.score(encoding.standardised(rows)) == pytest.approx(published, abs=error)


def test_the_domain_classifier_sees_what_nannyml_sees() -> None:
    """Chunks of the first half cannot be told from the reference, those of the second half can.

    Without drift the area's standard deviation is 0.022 for so many rows.
    """
    reference, analysis, counts = car_loans()
    encoding = Encoding.of(reference[::13], counts)
    fitted = DomainClassifier.fit(encoding.standardised(reference[::13]))
    areas = [fitted.score(encoding.standardised(chunk[::10])) for chunk in np.split(analysis, 10)]
    assert max(abs(area - 0.5) for area in areas[:5]) < 0.1
    assert min(areas[5:]) > 0.8


def test_mean_discrepancy_is_its_formula_in_loops() -> None:
    """The kernel's means over pairs of different rows, one pair after the other."""
    reference, rows = random_rows(30), random_rows(20, seed=1) + 0.3
    distances = [math.dist(reference[i], reference[j]) for i in range(30) for j in range(i)]
    width = float(np.median(distances))

    def k(x: Floats, y: Floats) -> float:
        return math.exp(-(math.dist(x, y) ** 2) / (2 * width**2))

    def own(each: Floats) -> float:
        size = len(each)
        return sum(k(each[i], each[j]) for i in range(size) for j in range(size) if i != j) / (size * (size - 1))

    between = sum(k(x, y) for x in reference for y in rows) / (30 * 20)
    expected = own(reference) + own(rows) - 2 * between
    assert MaximumMeanDiscrepancy.fit(reference).score(rows) == pytest.approx(expected, abs=1e-12)


def test_mean_discrepancy_is_unbiased() -> None:
    """Over many samples without drift its mean is zero, within four standard errors."""
    fitted = [
        MaximumMeanDiscrepancy.fit(random_rows(100, 3, seed)).score(random_rows(80, 3, 1_000 + seed))
        for seed in range(200)
    ]
    assert abs(np.mean(fitted)) < 4 * np.std(fitted) / math.sqrt(len(fitted))


@pytest.mark.parametrize("seed", range(5))
def test_area_under_curve_is_scikit_learns(seed: int) -> None:
    """With ties and without."""
    random = np.random.default_rng(seed)
    scores = random.integers(0, 10, 200) / 10 if seed % 2 else random.random(200)
    positive = random.random(200) < 0.3
    expected = roc_auc_score(positive, scores)
    assert area_under_curve(scores.astype(np.float64), positive) == pytest.approx(expected, abs=1e-12)


def test_area_under_curve_needs_both_kinds() -> None:
    """Without a positive or a negative there is none."""
    assert math.isnan(area_under_curve(np.zeros(3), np.zeros(3, np.bool_)))


def test_the_classifier_is_fair_without_drift() -> None:
    """Rows are scored by trees that have not seen them: over many samples the area is one half, within 0.02."""
    areas = [
        DomainClassifier.fit(random_rows(400, 4, seed)).score(random_rows(200, 4, 500 + seed)) for seed in range(30)
    ]
    assert abs(float(np.mean(areas)) - 0.5) < 0.02


def test_the_classifier_sees_dependence() -> None:
    """Columns whose distributions stay and whose dependence turns round are told apart."""
    random = np.random.default_rng(4)
    x = random.normal(size=1_500)
    noise = random.normal(size=1_500) / 2
    reference, turned = np.column_stack([x, x + noise])[:1_000], np.column_stack([x, -x + noise])[1_000:]
    assert DomainClassifier.fit(reference).score(turned) > 0.8


def test_isolation_scores_are_scikit_learns_for_the_same_trees() -> None:
    """Trees that scikit-learn has grown, put into our arrays, give its scores."""
    reference, rows = random_rows(600, 4), random_rows(300, 4, seed=1) * 2
    theirs = SklearnForest(n_estimators=50, max_samples=256, random_state=7).fit(reference)
    trees = [each.tree_ for each in theirs.estimators_]
    nodes = 2 * max(tree.node_count for tree in trees)
    columns, left = np.full((50, nodes), -1, np.int32), np.zeros((50, nodes), np.int32)
    limits, paths = np.zeros((50, nodes)), np.zeros((50, nodes))
    for number, tree in enumerate(trees):
        waiting, free = [(0, 0, 0)], 1
        while waiting:
            node, place, depth = waiting.pop()
            if tree.children_left[node] < 0:
                paths[number, place] = depth + average_path(int(tree.n_node_samples[node]))
                continue
            columns[number, place], limits[number, place] = tree.feature[node], tree.threshold[node]
            left[number, place] = free
            waiting += [
                (int(tree.children_left[node]), free, depth + 1),
                (int(tree.children_right[node]), free + 1, depth + 1),
            ]
            free += 2
    # scikit-learn compares values as float32.
    asked = rows.astype(np.float32).astype(np.float64)
    ours = IsolationForest(columns, limits, left, paths, average_path(256)).scores(asked)
    np.testing.assert_allclose(ours, -theirs.score_samples(asked), atol=1e-12)


def test_isolation_scores_of_our_trees_are_like_scikit_learns() -> None:
    """Forests of the same rows, grown with other random numbers, order rows alike and score them alike."""
    reference, rows = random_rows(2_000, 6), random_rows(500, 6, seed=1) * np.linspace(0.5, 4, 500)[:, None]
    ours = IsolationForest.fit(reference).scores(rows)
    theirs = -SklearnForest(n_estimators=100, max_samples=256, random_state=0).fit(reference).score_samples(rows)
    assert np.corrcoef(ours, theirs)[0, 1] > 0.97
    assert np.abs(ours - theirs).mean() < 0.02


def test_few_rows_of_the_reference_are_odd() -> None:
    """By the limit's definition 0.5 % of the reference are; rows far off in several columns nearly all are."""
    reference = random_rows(4_000, 5)
    forest = IsolationForest.fit(reference)
    assert forest.score(reference) == pytest.approx(1 - QUANTILE, abs=1e-3)
    assert forest.score(reference[:200] + 5) > 0.9


def test_average_path_is_the_papers() -> None:
    """c(n) of one, two, and 256 rows: 0, 1, and twice the harmonic number less 2 (n - 1) / n."""
    assert average_path(1) == 0
    assert average_path(2) == 1
    harmonic = sum(1 / i for i in range(1, 256))
    assert average_path(256) == pytest.approx(2 * harmonic - 2 * 255 / 256, abs=5e-3)


@pytest.mark.parametrize("key", SAMPLED)
@pytest.mark.parametrize(
    "reference",
    [
        random_rows(200),
        random_rows(200, 1),
        np.zeros((100, 3)),
        random_rows(40, 120),
        random_rows(2),
        np.repeat(random_rows(4), 50, axis=0),
    ],
    ids=["usual", "one column", "constant", "wide", "two rows", "repeated"],
)
def test_every_method_is_defined_and_the_same_each_time(key: str, reference: Floats) -> None:
    """A finite number in range, the same twice, and inputs are not changed."""
    spec = SAMPLED[key]
    rows = np.random.default_rng(9).normal(size=(64, reference.shape[1]))
    before = reference.copy(), rows.copy()
    first, again = spec.fit(reference).score(rows), spec.fit(reference).score(rows)
    assert math.isfinite(first)
    assert spec.range[0] <= first <= spec.range[1]
    assert first == again
    np.testing.assert_array_equal(before[0], reference)
    np.testing.assert_array_equal(before[1], rows)


@pytest.mark.parametrize("key", SAMPLED)
def test_every_method_sees_a_large_shift(key: str) -> None:
    """All columns moved by three standard deviations, one against the other: far beyond what undrifted rows give."""
    spec = SAMPLED[key]
    fitted = spec.fit(random_rows(2_000, 6))
    usual = [fitted.score(random_rows(300, 6, seed)) for seed in range(1, 11)]
    shifted = fitted.score(random_rows(300, 6, 99) + 3 * np.array([1, -1, 1, -1, 1, -1]))
    assert shifted > np.mean(usual) + 10 * np.std(usual)


@pytest.mark.parametrize("key", SAMPLED)
def test_every_method_has_its_part_of_the_page(key: str) -> None:
    """The page says formula, missing values, cost, dangers, agreement and paper; the code names the paper too."""
    spec = SAMPLED[key]
    text = section(spec)
    for each in (spec.formula, spec.unit, spec.undefined, spec.cost, spec.misleads, spec.agrees_with, spec.reference):
        assert each in text
    assert text.startswith(f"## `{key}`: {spec.title}\n")
    assert "http" in spec.reference
    assert inspect.getdoc(inspect.getmodule(spec.fit))


def test_encoding_is_the_convention() -> None:
    """Means for missing numbers, shares for categories, the most frequent one for a missing, 0 for an unseen one."""
    rows = np.array([[1.0, 0.0], [3.0, 0.0], [np.nan, 1.0], [np.inf, 0.0]])
    encoding = Encoding.of(rows, [None, np.array([3.0, 1.0, 0.0, 0.0])])
    encoded = np.array([[1.0, 0.75], [3.0, 0.75], [2.0, 0.25], [2.0, 0.75]])
    mean, deviation = encoded.mean(axis=0), encoded.std(axis=0)
    np.testing.assert_allclose(encoding.standardised(rows), (encoded - mean) / deviation)
    new = encoding.standardised(np.array([[np.nan, np.nan], [2.0, 3.0]]))
    np.testing.assert_allclose(new, (np.array([[2.0, 0.75], [2.0, 0.0]]) - mean) / deviation)


def test_encoding_survives_huge_and_empty_columns() -> None:
    """Numbers whose squares overflow, and columns without any value, give finite rows."""
    rows = np.column_stack([np.array([1e308, -1e308, 1e300, 0.0]), np.full(4, np.nan), np.full(4, 0.1)])
    encoded = Encoding.of(rows, [None, None, None]).standardised(rows)
    assert np.isfinite(encoded).all()
    assert not encoded[:, 1:].any()
