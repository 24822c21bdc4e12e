"""What samples of rows say of windows: findings about the model as a whole, and the oddest rows."""

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from pydantic import ValidationError
from scipy import stats

from driftmeter.baseline.build import build_baseline
from driftmeter.detect.config import DetectConfig
from driftmeter.detect.multivariate import BLOCKS_MAX, ROWS_MIN, BlockNull, SampleMethods
from driftmeter.methods.sampled import SAMPLED
from driftmeter.model.anomalies import ANOMALIES_SCHEMA, ODDEST
from driftmeter.model.baseline import Baseline
from driftmeter.model.counts import Counts
from driftmeter.model.findings import FINDINGS_SCHEMA
from driftmeter.model.predictions import Predictions
from driftmeter.model.window_counts import WindowCounts
from driftmeter.model.windows import parse_window
from driftmeter.summary.fold import fold
from rows import HOUR_NS, KEY, dataset, predictions

HOUR = parse_window("1h")
ROWS = 3_000


def columns_of(rows: int, seed: int, turned: float = 1.0) -> dict[str, object]:
    """Two dependent numbers, and a category; `turned` -1 turns the dependence round and leaves each column alone."""
    random = np.random.default_rng(seed)
    x = random.normal(size=rows)
    y = turned * x + random.normal(size=rows) / 2
    return {"x": x, "y": y, "c": random.choice(["a", "b", "c"], rows, p=[0.6, 0.3, 0.1]).tolist()}


@pytest.fixture(scope="module")
def baseline() -> Baseline:
    """A baseline of undrifted rows."""
    return build_baseline(dataset(columns_of(ROWS, 1)), "model", "", [])  # type: ignore[arg-type]


def window_of(baseline: Baseline, batch: Predictions, index: int = 0) -> WindowCounts:
    """One window with all rows of a batch."""
    counts = Counts.zeros(baseline.layout)
    fold(baseline.layout, batch.rows, np.zeros(batch.rows.num_rows, np.int32), counts)
    return WindowCounts(HOUR, index, index * HOUR_NS, (index + 1) * HOUR_NS, 0, counts.packed())


def batch_of(rows: int, seed: int, turned: float = 1.0) -> Predictions:
    """Rows of one hour."""
    return predictions(np.arange(rows) * 10**9, columns_of(rows, seed, turned))  # type: ignore[arg-type]


def test_findings_are_of_the_model_as_a_whole(baseline: Baseline) -> None:
    """One row per method: no column, the role `model`, the sampled rows, and no verdict."""
    findings, _ = SampleMethods(KEY, baseline, list(SAMPLED)).evaluate([window_of(baseline, batch_of(2_000, 2), 7)])
    assert findings.schema == FINDINGS_SCHEMA
    assert findings["method"].to_list() == list(SAMPLED)
    assert findings.select("model", "column", "role", "segment", "baseline").unique().rows() == [
        ("model", "", "model", "", "file")
    ]
    assert findings["rows"].unique().to_list() == [512]
    assert findings["window_index"].unique().to_list() == [7]
    assert findings["window_end"].dt.timestamp("ns").unique().to_list() == [8 * HOUR_NS]
    assert findings["detected"].null_count() == len(SAMPLED)
    assert findings["reason"].unique().to_list() == ["informing"]
    assert findings["pvalue"].is_between(0.001, 1).all()


def test_dependence_that_turns_round_is_seen_by_all_drift_methods(baseline: Baseline) -> None:
    """Each column is as it was: only methods that look at several at once can see it."""
    methods = SampleMethods(KEY, baseline, list(SAMPLED))
    findings, _ = methods.evaluate([window_of(baseline, batch_of(2_000, 3, turned=-1.0))])
    drift = findings.filter(pl.col("method") != "isolation_forest")
    assert (drift["pvalue"] < 1e-4).all()
    assert (drift["effect"] > 0).all()
    assert (drift["value"] - drift["noise_floor"]).abs().equals(drift["effect"])


def test_surprises_without_drift_are_rare() -> None:
    """Over six baselines and 20 undrifted windows of each: a p-value below 0.1 at most in a quarter, below 0.01 in 5 %.

    Each baseline's own blocks are few, so single baselines are off to either side; this is why the numbers inform only.
    """
    findings = []
    for number in range(6):
        rows = dataset(columns_of(ROWS, 10 + number))  # type: ignore[arg-type]
        own = build_baseline(rows, "model", "", [])
        windows = [window_of(own, batch_of(600, 1_000 * number + seed)) for seed in range(20)]
        findings.append(SampleMethods(KEY, own, list(SAMPLED)).evaluate(windows)[0])
    for _, part in pl.concat(findings).group_by("method"):
        assert 0 < (part["pvalue"] < 0.1).mean() < 0.25  # type: ignore[operator]
        assert (part["pvalue"] < 0.01).mean() < 0.05  # type: ignore[operator]


def test_windows_of_few_rows_have_no_findings(baseline: Baseline) -> None:
    """Fewer rows than a sample needs say nothing."""
    methods = SampleMethods(KEY, baseline, list(SAMPLED))
    findings, anomalies = methods.evaluate([window_of(baseline, batch_of(ROWS_MIN - 1, 2))])
    assert findings.is_empty()
    assert anomalies.is_empty()
    assert not methods.evaluate([window_of(baseline, batch_of(ROWS_MIN, 2))])[0].is_empty()


def test_a_small_baseline_has_numbers_without_surprise() -> None:
    """With too few rows for blocks there is a value, and nothing to say how usual it is; with fewer still, nothing."""
    small = build_baseline(dataset(columns_of(100, 1)), "model", "", [])  # type: ignore[arg-type]
    findings, _ = SampleMethods(KEY, small, list(SAMPLED)).evaluate([window_of(small, batch_of(500, 2))])
    assert findings["value"].null_count() == 0
    assert findings["pvalue"].null_count() == len(SAMPLED)
    tiny = build_baseline(dataset(columns_of(50, 1)), "model", "", [])  # type: ignore[arg-type]
    assert SampleMethods(KEY, tiny, list(SAMPLED)).evaluate([window_of(tiny, batch_of(500, 2))])[0].is_empty()


def test_findings_depend_on_the_window_alone(baseline: Baseline) -> None:
    """Whatever was evaluated before or with it, and however its rows came."""
    batch = batch_of(1_500, 4)
    shuffled = Predictions(KEY, batch.rows.take(np.random.default_rng(1).permutation(1_500)))
    alone, _ = SampleMethods(KEY, baseline, list(SAMPLED)).evaluate([window_of(baseline, batch)])
    methods = SampleMethods(KEY, baseline, list(SAMPLED))
    methods.evaluate([window_of(baseline, batch_of(100, 8))])
    both, _ = methods.evaluate([window_of(baseline, batch_of(700, 9)), window_of(baseline, shuffled)])
    assert both.tail(len(SAMPLED)).equals(alone)


def test_the_oddest_rows_are_listed(baseline: Baseline) -> None:
    """Rows far off are at the top, with their trace and time, and above the limit."""
    batch = batch_of(400, 5)
    x = batch.rows.column("feature.x").to_numpy().copy()
    y = batch.rows.column("feature.y").to_numpy().copy()
    odd = [17, 230]
    x[odd], y[odd] = 6.0, -6.0
    c = ["new" if number in odd else name for number, name in enumerate(batch.rows.column("feature.c").to_pylist())]
    names = batch.rows.schema.names
    rows = batch.rows
    changed = {"feature.x": pa.array(x), "feature.y": pa.array(y), "feature.c": pa.array(c).dictionary_encode()}
    for name, values in changed.items():
        rows = rows.set_column(names.index(name), rows.schema.field(name), values)
    traces = pa.array([number.to_bytes(16, "big") for number in range(400)], pa.binary())
    rows = rows.set_column(names.index("trace_id"), rows.schema.field("trace_id"), traces)
    _, anomalies = SampleMethods(KEY, baseline, ["isolation_forest"]).evaluate(
        [window_of(baseline, Predictions(KEY, rows))]
    )
    assert anomalies.schema == ANOMALIES_SCHEMA
    assert anomalies.height == ODDEST
    found = anomalies.filter(pl.col("trace_id").is_in([f"{number:032x}" for number in odd])).sort("time")
    assert found["time"].dt.timestamp("ns").to_list() == [number * 10**9 for number in odd]
    assert found["anomalous"].all()
    assert anomalies["trace_id"].n_unique() == ODDEST
    assert anomalies["score"].is_sorted(descending=True)
    assert (anomalies["anomalous"] == (anomalies["score"] > anomalies["limit"])).all()


def test_block_nulls_are_students() -> None:
    """A number is as surprising as a new block's would be: Student's t with the blocks' own mean and deviation."""
    blocks = np.array([0.1, 0.3, 0.2, 0.25, 0.15])
    null = BlockNull(float(blocks.mean()), float(blocks.std(ddof=1)), len(blocks))
    distance = (0.4 - blocks.mean()) / (blocks.std(ddof=1) * np.sqrt(1 + 1 / 5))
    assert null.pvalue(0.4, two_sided=False) == pytest.approx(stats.t.sf(distance, 4))
    assert null.pvalue(0.4, two_sided=True) == pytest.approx(2 * stats.t.sf(distance, 4))
    assert null.pvalue(0.0, two_sided=True) == pytest.approx(null.pvalue(0.4, two_sided=True))
    assert np.isnan(BlockNull().pvalue(0.4, two_sided=True))
    assert len(blocks) <= BLOCKS_MAX


def test_shares_of_blocks_are_beta_binomial() -> None:
    """Blocks that differ no more than drawn rows do count as so many rows, with Jeffreys' prior; others as fewer."""
    calm = BlockNull(0.005, 0.001, 8, 512)
    mean = (0.005 * 4_096 + 0.5) / 4_097
    expected = stats.betabinom.sf(7, 512, mean * 4_097, (1 - mean) * 4_097)
    assert calm.pvalue_of_share(8 / 512, 512) == pytest.approx(expected)
    restless = BlockNull(0.005, 0.02, 8, 512).pvalue_of_share(8 / 512, 512)
    assert expected < restless < 1
    assert calm.pvalue_of_share(0.0, 512) == 1
    assert np.isnan(BlockNull().pvalue_of_share(0.1, 512))


def test_configuration_names_the_methods() -> None:
    """Any of them, in any order, each once; others are refused with what there is."""
    assert DetectConfig().multivariate == tuple(SAMPLED)
    assert DetectConfig(multivariate=()).multivariate == ()
    twice = ("isolation_forest", "isolation_forest")
    assert DetectConfig(multivariate=twice).multivariate == ("isolation_forest",)
    with pytest.raises(ValidationError, match="no method 'psi' on samples; there is pca_reconstruction"):
        DetectConfig(multivariate=("psi",))
