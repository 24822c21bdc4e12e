"""Sequential detectors over a model's windows: what they see, what is found, and what does not count."""

import math

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from scipy.stats import norm

from detect.test_detector_findings import baseline, evaluate, usual, window_of
from driftmeter.detect.sequential import SequentialDetectors, standardised
from driftmeter.errors import DamagedError
from driftmeter.methods.sequential import SEQUENTIAL
from driftmeter.model.counts import Counts
from driftmeter.model.window_counts import WindowCounts
from driftmeter.model.windows import parse_window
from rows import ONE_COLUMN
from stored_states import again

Floats = npt.NDArray[np.float64]

HOUR = parse_window("1h")


def empty_window(index: int, revision: int = 0) -> WindowCounts:
    """A window of which only the number matters."""
    return WindowCounts(HOUR, index, None, None, revision, Counts.zeros(ONE_COLUMN))


def scores_of(findings: pl.DataFrame, column: str, method: str) -> list[float | None]:
    """Values of a column's and method's findings."""
    return findings.filter(pl.col("column") == column, pl.col("method") == method)["value"].to_list()


def test_numeric_columns_give_their_standardised_means() -> None:
    """Cumulative sums of (mean - baseline's) / standard error, all from the rows, by hand; it finds a shift."""
    days = [usual(seed=day) for day in range(12)]
    for day, values in enumerate(days):
        values["x"] = np.random.default_rng(day).normal(0.0 if day < 4 else 0.8, 1, 500)
    findings = evaluate(*(window_of(values, day) for day, values in enumerate(days))).findings
    x = baseline().columns[0]
    chunks = baseline().chunks["24h"]
    (compared,) = (each for kind, each in chunks.compared.items() if kind == "rest")
    rows = chunks.values[:, 0].astype(np.float64)
    noise = x.noise["wasserstein_normalised"] * (1 / rows + 1 / compared.rows[:, 0])
    natural = max(0.0, float(np.mean(compared.squared["wasserstein_normalised"][:, 0] - noise)))
    state, hand = SEQUENTIAL["cusum"].begin(1), []
    for values in days:
        error = x.stddev * math.sqrt(1 / 500 + 1 / x.counts.sum() + natural)
        state, score = SEQUENTIAL["cusum"].step(state, np.array([(np.mean(np.asarray(values["x"])) - x.mean) / error]))
        hand.append(score.item())
    # Means come from the bins, a thousandth of a standard deviation exact.
    assert scores_of(findings, "x", "cusum") == pytest.approx(hand, abs=0.05)
    assert max(hand[:4]) < SEQUENTIAL["cusum"].threshold < max(hand[4:])


def test_categorical_columns_give_their_surprise() -> None:
    """A column without a mean is seen through the surprise of its deciding method, as a normal deviation."""
    findings = evaluate(*(window_of(usual(seed=day), day) for day in range(3))).findings
    state, hand = SEQUENTIAL["cusum"].begin(1), []
    for p in findings.filter(pl.col("column") == "color", pl.col("method") == "jensen_shannon")["pvalue"].to_list():
        state, score = SEQUENTIAL["cusum"].step(state, np.array([norm.isf(p)]))
        hand.append(score.item())
    assert scores_of(findings, "color", "cusum") == pytest.approx(hand, abs=1e-9)


def test_they_inform_and_decide_nothing() -> None:
    """Their findings have a value alone."""
    findings = evaluate(*(window_of(usual(seed=day), day) for day in range(12))).findings
    found = findings.filter(pl.col("method").is_in(list(SEQUENTIAL)))
    assert found["reason"].unique().to_list() == ["informing"]
    for name in ("detected", "pvalue", "effect", "noise_floor"):
        assert found[name].null_count() == found.height
    last = found.filter(pl.col("window_index") == 11)
    assert last["value"].null_count() == 0


def test_standardised_by_hand() -> None:
    """A shift of 2 with σ = 4 and 1/n + 1/N + b = ¼ + ¼ is 1/√2 · ½·2; without spread the surprise is taken."""
    nan = np.nan
    values = standardised(
        shift=np.array([2.0, 2.0, nan, 2.0, nan]),
        spread=np.array([4.0, 4.0, nan, 0.0, nan]),
        inverse_rows=np.full(5, 0.25),
        natural=np.array([0.25, nan, nan, nan, nan]),
        surprise=np.array([0.5, 0.5, 0.025, 0.0, nan]),
    )
    assert values[:3] == pytest.approx([0.5 / math.sqrt(0.5), 0.5 / 0.5, 1.959964], abs=1e-6)
    assert values[3] == pytest.approx(norm.isf(1e-16))
    assert math.isnan(values[4])


@pytest.mark.parametrize("absurd", [1e308, -1e308, np.inf])
def test_one_absurd_window_is_forgotten(absurd: float) -> None:
    """After one window that is absurdly far away every detector goes on, and finds a later change."""
    detectors, ones = SequentialDetectors(1), np.ones(1)
    found = []
    for index in range(200):
        shift = np.array([absurd if index == 20 else 0.0 if index < 100 else 6.0])
        seen = standardised(shift, ones, ones, 0 * ones, np.full(1, 0.5))
        found.append(detectors.observe(empty_window(index), seen, 1)[:, 0])
    scores = np.array(found)
    assert np.isfinite(scores[20:, :2]).all()
    for place, spec in enumerate(SEQUENTIAL.values()):
        assert (scores[100:, place] > spec.threshold).any(), spec.key


def test_revisions_and_overlapping_windows_do_not_count() -> None:
    """Only first evaluations of disjoint windows move a detector; the others show the score that stands."""
    detectors, alone = SequentialDetectors(1), SequentialDetectors(1)
    value = np.array([2.0])
    expected = [alone.observe(empty_window(index), value, 1)[1, 0] for index in range(3)]
    found = [detectors.observe(empty_window(index), value, 4)[1, 0] for index in range(12)]
    assert found == [each for each in expected for _ in range(4)]
    assert detectors.observe(empty_window(8, revision=1), value * 9, 4)[1, 0] == expected[2]
    assert np.isnan(detectors.observe(empty_window(4, revision=1), value, 4)[1, 0])
    assert detectors.observe(empty_window(12), np.zeros(1), 4)[1, 0] == expected[2] - 0.5


def test_window_lengths_are_apart() -> None:
    """What one length sees changes nothing in another."""
    detectors = SequentialDetectors(1)
    first = detectors.observe(empty_window(0), np.array([3.0]), 1)
    day = WindowCounts(parse_window("24h"), 0, None, None, 0, Counts.zeros(ONE_COLUMN))
    np.testing.assert_array_equal(detectors.observe(day, np.array([3.0]), 1), first)


def test_a_restored_state_goes_on_the_same() -> None:
    """After every window the state goes through a snapshot: no score differs by a bit."""
    random = np.random.default_rng(4)
    undisturbed, disturbed = SequentialDetectors(3), SequentialDetectors(3)
    for index in range(60):
        fresh = SequentialDetectors(3)
        fresh.restore(again(disturbed.state()))
        disturbed = fresh
        values = random.normal(size=3)
        revision = int(random.integers(0, 2))
        expected = undisturbed.observe(empty_window(index, revision), values, 1)
        np.testing.assert_array_equal(disturbed.observe(empty_window(index, revision), values, 1), expected)


def test_damaged_states_are_refused() -> None:
    """A state of other columns, or without a detector, raises DamagedError."""
    detectors = SequentialDetectors(2)
    detectors.observe(empty_window(0), np.zeros(2), 1)
    tree = again(detectors.state())
    assert isinstance(tree, dict)
    with pytest.raises(DamagedError):
        SequentialDetectors(3).restore(tree)
    hour = tree["1h"]
    assert isinstance(hour, dict)
    for name in hour:
        with pytest.raises(DamagedError):
            SequentialDetectors(2).restore({"1h": {other: each for other, each in hour.items() if other != name}})
