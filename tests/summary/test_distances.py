"""The compiled distances are those of the methods in polars."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftmeter.baseline.build import build_baseline
from driftmeter.methods import METHODS
from driftmeter.methods.groupings import build_groupings
from driftmeter.methods.score import score
from driftmeter.methods.spec import Bins
from driftmeter.summary.distances import jensen_shannon_squared, wasserstein
from rows import Floats, dataset


def columns_of(seed: int) -> list[dict[str, object]]:
    """Continuous, discrete, heavy-tailed and categorical values."""
    random = np.random.default_rng(seed)
    return [
        {"x": random.normal(size=2000)},
        {"x": random.integers(0, 9, 2000).astype(float)},
        {"x": random.lognormal(0, 3, 2000)},
        {"x": random.choice(list("abcdef"), 2000).tolist()},
    ]


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10**6), st.integers(0, 3), st.sampled_from([0, 1, 30, 5000]))
def test_agree_with_the_methods(seed: int, sort: int, rows: int) -> None:
    """Any windows inside the range, against several expectations, whole numbers or not, to 1e-9."""
    random = np.random.default_rng(seed)
    built = build_baseline(dataset(columns_of(seed)[sort]), "m", "", []).columns  # type: ignore[arg-type]
    size = built[0].bins.size
    shares = random.dirichlet(np.full(size, 0.3), 5)
    observed = np.array([random.multinomial(rows, each) for each in shares], np.uint64)
    expected = np.stack([built[0].counts.astype(np.float64), random.random(size) * 10, np.zeros(size)])
    against = random.integers(-1, 3, 5)
    groupings = build_groupings(built)
    fine = groupings[Bins.FINE]
    found = {
        "jensen_shannon": jensen_shannon_squared(observed, expected, against, groupings[Bins.QUANTILE_32].group),
        "wasserstein": wasserstein(observed, expected, against, fine.right - fine.left),
    }
    for key, values in found.items():
        if not (METHODS[key].numeric if sort < 3 else METHODS[key].categorical):
            continue
        defined = [
            score([METHODS[key]], groupings, each[None], observed.astype(np.float64)).values[key][:, 0]
            for each in expected
        ]
        exact = np.array([np.nan if e < 0 else defined[e][i] for i, e in enumerate(against)])
        if key == "jensen_shannon":
            exact = exact**2
        np.testing.assert_allclose(values, exact, rtol=1e-9, atol=1e-12)


def test_nothing_to_compare_is_nan() -> None:
    """No rows on either side, and no other side at all."""
    observed = np.array([[1, 2], [0, 0], [1, 1]], np.uint64)
    expected: Floats = np.array([[1.0, 1.0], [0.0, 0.0]])
    against = np.array([-1, 0, 1])
    assert np.isnan(jensen_shannon_squared(observed, expected, against, np.array([0, 1]))).all()
    assert np.isnan(wasserstein(observed, expected, against, np.ones(2))).all()
    assert wasserstein(observed[:1], expected, np.zeros(1, np.int64), np.ones(2))[0] == pytest.approx(1 / 6)
