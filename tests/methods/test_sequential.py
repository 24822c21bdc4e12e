"""Sequential detectors: river's numbers, the published recurrences, series by themselves, and states that return."""

import doctest
import importlib
import json
import pkgutil
import types
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import driftmeter.methods.sequential
from driftmeter.errors import DamagedError
from driftmeter.methods.sequential import SEQUENTIAL, SequentialSpec, tree_of
from driftmeter.methods.sequential.adwin import AdwinSettings, adwin
from driftmeter.methods.sequential.cusum import CusumSettings, cusum
from driftmeter.methods.sequential.page_hinkley import PageHinkleySettings, page_hinkley
from methods.method_bins import ORACLES
from stored_states import again

Floats = npt.NDArray[np.float64]

SETTINGS = settings(max_examples=60, deadline=None, derandomize=True)
EVERY = pytest.mark.parametrize("spec", SEQUENTIAL.values(), ids=SEQUENTIAL)


@cache
def oracle() -> dict[str, Any]:
    """What river computed."""
    found: dict[str, Any] = json.loads((ORACLES / "river_sequential.json").read_text())
    return found


def cases(key: str) -> pytest.MarkDecorator:
    """A test for each stream and settings of a detector."""
    return pytest.mark.parametrize("case", oracle()[key], ids=lambda case: f"{case['stream']}, {case['settings']}")


def run(spec: SequentialSpec, streams: Floats) -> tuple[Any, Floats]:
    """State at the end and all scores of streams of shape (values, series)."""
    state, scores = spec.begin(streams.shape[1]), []
    for values in streams:
        state, score = spec.step(state, values)
        scores.append(score)
    return state, np.array(scores)


@cases("page_hinkley")
def test_page_hinkley_is_rivers(case: dict[str, Any]) -> None:
    """Score and alarms are river's, value by value."""
    theirs = case["settings"]
    own = PageHinkleySettings(theirs["delta"], theirs["threshold"], theirs["alpha"], theirs["min_instances"])
    state, scores, alarms = SEQUENTIAL["page_hinkley"].begin(1), [], []
    for place, value in enumerate(oracle()["streams"][case["stream"]]):
        state, score = page_hinkley(state, np.array([value]), own)
        scores.append(score.item())
        alarms += [place] * bool(state.alarmed.item())
    assert alarms == case["alarms"]
    np.testing.assert_allclose(np.array(scores)[case["places"]], case["score"], rtol=1e-9, atol=1e-9)


@cases("adwin")
def test_adwin_is_rivers(case: dict[str, Any]) -> None:
    """Width, sum, variance and alarms are river's, value by value; the score exceeds 1 at the alarms alone."""
    theirs = case["settings"]
    own = AdwinSettings(theirs["delta"], theirs["clock"], theirs["min_window_length"], theirs["grace_period"])
    state, kept, alarms, high = SEQUENTIAL["adwin"].begin(1), [], [], []
    for place, value in enumerate(oracle()["streams"][case["stream"]]):
        state, score = adwin(state, np.array([value]), own)
        kept.append([state.width.item(), state.total.item(), state.variance.item()])
        alarms += [place] * bool(state.alarmed.item())
        high += [place] * (score.item() > 1)
    assert alarms == high == case["alarms"]
    table = np.array(kept)[case["places"]].T
    for ours, name in zip(table, ("width", "total", "variance"), strict=True):
        np.testing.assert_allclose(ours, case[name], rtol=1e-9, atol=1e-6)


def test_oracle_has_streams_with_and_without_alarms() -> None:
    """Both detectors are compared on streams in which river finds a change and on such in which it finds none."""
    for key in ("page_hinkley", "adwin"):
        assert {bool(case["alarms"]) for case in oracle()[key]} == {True, False}
    assert oracle()["river"] == "0.26.1"


@pytest.mark.parametrize("stream", oracle()["streams"])
@pytest.mark.parametrize("own", [CusumSettings(), CusumSettings(0.0, 2.0), CusumSettings(1.0, 3.0)], ids=str)
def test_cusum_is_the_published_recurrence(stream: str, own: CusumSettings) -> None:
    """Page's two tabular sums, written by hand one value at a time, begun anew after each alarm."""
    values = np.array(oracle()["streams"][stream])
    values = (values - np.mean(values[:50])) / (np.std(values[:50]) or 1.0)
    state, above, below = SEQUENTIAL["cusum"].begin(1), 0.0, 0.0
    for x in values.tolist():
        above, below = max(0.0, above + (x - own.slack)), max(0.0, below + (-x - own.slack))
        state, score = cusum(state, np.array([x]), own)
        assert score.item() == pytest.approx(max(above, below), rel=1e-12, abs=1e-12)
        assert bool(state.alarmed.item()) == (max(above, below) > own.threshold)
        if max(above, below) > own.threshold:
            above = below = 0.0


def test_cusum_alarms_as_often_as_the_tables_say() -> None:
    """With slack ½ and threshold 5 a stream of independent normal values alarms once in 465 (Montgomery, table 9.3)."""
    random, state, alarms = np.random.default_rng(8), SEQUENTIAL["cusum"].begin(500), 0
    for _ in range(2_000):
        state, _ = cusum(state, random.normal(size=500))
        alarms += int(state.alarmed.sum())
    assert 1_000_000 / alarms == pytest.approx(465, rel=0.06)


def test_errors_are_a_stream_like_any_other() -> None:
    """A model that errs in 10 % of cases and then in 40 % is found out; one that goes on as before is not."""
    random = np.random.default_rng(5)
    streams = np.stack(
        [random.random(600) < np.where(np.arange(600) < 300, 0.1, 0.4), random.random(600) < 0.1], axis=1
    ).astype(np.float64)
    _, scores = run(SEQUENTIAL["adwin"], streams)
    over = scores > 1
    assert not over[:300].any()
    assert over[300:400, 0].any()
    assert not over[:, 1].any()


@st.composite
def streams_of(draw: st.DrawFn) -> Floats:
    """Values of shape (40, 4): normal ones, shifted or not, some of them missing."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    values = random.normal(scale=draw(st.sampled_from([0.1, 1.0, 1e6])), size=(40, 4))
    values[draw(st.integers(1, 39)) :] += draw(st.sampled_from([0.0, 5.0, -1e7]))
    values[random.random(values.shape) < draw(st.sampled_from([0.0, 0.3, 1.0]))] = np.nan
    return values


@EVERY
@SETTINGS
@given(streams=streams_of())
def test_series_do_not_touch_each_other(spec: SequentialSpec, streams: Floats) -> None:
    """All series at once give what each gives alone, bit for bit."""
    together = run(spec, streams)[1]
    for series in range(streams.shape[1]):
        np.testing.assert_array_equal(run(spec, streams[:, [series]])[1][:, 0], together[:, series])


@EVERY
@SETTINGS
@given(streams=streams_of())
def test_missing_values_change_nothing(spec: SequentialSpec, streams: Floats) -> None:
    """A missing value gives nan, and the values after it what they give without it."""
    scores = run(spec, streams)[1]
    assert np.isnan(scores[np.isnan(streams)]).all()
    for series in range(streams.shape[1]):
        there = ~np.isnan(streams[:, series])
        without = run(spec, streams[there][:, [series]])[1]
        np.testing.assert_array_equal(without.reshape(-1), scores[there, series])


@EVERY
@SETTINGS
@given(streams=streams_of())
def test_scores_are_in_range_and_inputs_are_not_changed(spec: SequentialSpec, streams: Floats) -> None:
    """Scores are nan or in the declared range; values and the state before stay as they were."""
    state = spec.begin(streams.shape[1])
    for values in streams:
        before, kept = tree_of(state), values.copy()
        following, score = spec.step(state, values)
        np.testing.assert_array_equal(values, kept)
        np.testing.assert_equal(tree_of(state), before)
        known = score[~np.isnan(score)]
        assert ((known >= spec.range[0]) & (known <= spec.range[1])).all()
        state = following


@EVERY
@SETTINGS
@given(streams=streams_of())
def test_a_stored_state_goes_on_the_same(spec: SequentialSpec, streams: Floats) -> None:
    """After every value the state goes through a snapshot: no score differs by a bit."""
    undisturbed, disturbed = (spec.begin(streams.shape[1]) for _ in range(2))
    for values in streams:
        disturbed = spec.restore(again(tree_of(disturbed)), streams.shape[1])
        undisturbed, expected = spec.step(undisturbed, values)
        disturbed, actual = spec.step(disturbed, values)
        np.testing.assert_array_equal(expected, actual)


@EVERY
def test_damaged_states_are_refused(spec: SequentialSpec) -> None:
    """A state that lacks an array, has one of another kind, or is of other series raises DamagedError."""
    tree = again(tree_of(spec.begin(3)))
    assert isinstance(tree, dict)
    for name in tree:
        with pytest.raises(DamagedError):
            spec.restore({other: each for other, each in tree.items() if other != name}, 3)
        with pytest.raises(DamagedError):
            spec.restore(tree | {name: np.zeros(3, np.int8)}, 3)
    with pytest.raises(DamagedError):
        spec.restore(tree, 4)
    with pytest.raises(DamagedError):
        spec.restore([], 3)


@pytest.mark.parametrize("filled", [-1, 6])
def test_more_buckets_than_there_is_room_for_are_refused(filled: int) -> None:
    """Compiled code would write beyond its arrays."""
    tree = again(tree_of(SEQUENTIAL["adwin"].begin(2)))
    assert isinstance(tree, dict)
    with pytest.raises(DamagedError):
        SEQUENTIAL["adwin"].restore(tree | {"filled": np.full((2, 1), filled, np.int64)}, 2)


@pytest.mark.parametrize("width", [3.0, float("nan")])
def test_buckets_that_do_not_hold_what_they_should_are_refused(width: float) -> None:
    """Compiled code would take away buckets that are not there."""
    tree = again(tree_of(SEQUENTIAL["adwin"].begin(2)))
    assert isinstance(tree, dict)
    with pytest.raises(DamagedError):
        SEQUENTIAL["adwin"].restore(tree | {"width": np.full(2, width)}, 2)


def test_memory_of_adwin_grows_with_the_logarithm_of_the_values() -> None:
    """After 3,000 values there are ten sizes of buckets, which hold all of them."""
    random, state = np.random.default_rng(1), SEQUENTIAL["adwin"].begin(2)
    for _ in range(3_000):
        state, _ = adwin(state, random.normal(size=2))
    assert state.totals.shape == (2, 10, 6)
    assert (state.filled * 2 ** np.arange(10)).sum(axis=1).tolist() == state.width.tolist() == [3_000, 3_000]


@EVERY
def test_detector_is_declared(spec: SequentialSpec) -> None:
    """A detector is found under its key, with a paper and all its texts."""
    module = importlib.import_module(f"driftmeter.methods.sequential.{spec.key}")
    assert SEQUENTIAL[spec.key] is module.SPEC is spec
    assert getattr(module, spec.key) is spec.step
    assert "https://doi.org/10." in spec.reference
    for text in (spec.title, spec.formula, spec.unit, spec.undefined, spec.cost, spec.misleads, spec.agrees_with):
        assert text.strip()
    assert isinstance(SEQUENTIAL, types.MappingProxyType)


@pytest.mark.parametrize("module", [m.name for m in pkgutil.iter_modules(driftmeter.methods.sequential.__path__)])
def test_examples_in_docstrings_hold(module: str) -> None:
    """Every example in a docstring gives what it shows."""
    loaded = importlib.import_module(f"driftmeter.methods.sequential.{module}")
    outcome = doctest.testmod(loaded)
    assert outcome.failed == 0
    assert outcome.attempted > 0 or module == "spec"
