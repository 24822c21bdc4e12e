"""Sums over all windows since the start."""

import numpy as np
import polars as pl
import pytest

from driftmeter.export.counters import DURATION_BOUNDS_SECONDS, RESULTS, ResultCounters, bucket_durations
from driftmeter.model.findings import FINDINGS_SCHEMA
from driftmeter.model.predictions import ModelKey
from export_samples import KEY, evaluated, finding, findings

_OTHER = ModelKey("prices", "", "")


def _results(counters: ResultCounters) -> dict[str, float]:
    rows = counters.points(5).filter(pl.col("metric") == "ml_evaluated_windows_total")
    return {row["result"]: row["value"] for row in rows.iter_rows(named=True)}


def test_predictions_and_errors_add_up_per_model() -> None:
    """Counts of different models stay apart."""
    counters = ResultCounters(1)
    nothing = np.zeros(len(DURATION_BOUNDS_SECONDS) + 1, np.int64)
    counters.add_predictions(KEY, 10, 1, nothing, 0.0)
    counters.add_predictions(KEY, 5, 2, nothing, 0.0)
    counters.add_predictions(_OTHER, 7, 0, nothing, 0.0)
    table = counters.points(5).filter(pl.col("metric").is_in(["ml_predictions_total", "ml_inference_errors_total"]))
    found = {(row["metric"], row["model"]): row["value"] for row in table.iter_rows(named=True)}
    assert found == {
        ("ml_predictions_total", "delays"): 15.0,
        ("ml_inference_errors_total", "delays"): 3.0,
        ("ml_predictions_total", "prices"): 7.0,
        ("ml_inference_errors_total", "prices"): 0.0,
    }


def test_the_histogram_is_cumulative_with_inclusive_bounds() -> None:
    """A duration equal to a bound lies in its bucket; the infinite bucket equals the count; negative ones are zero."""
    durations = np.array([0, -5, 1_000_000, 1_000_001, 10_000_000_000, 10_000_000_001], np.int64)
    counts, seconds = bucket_durations(durations)
    counters = ResultCounters(1)
    counters.add_predictions(KEY, len(durations), 0, counts, seconds)
    table = counters.points(5)
    buckets = dict(
        table.filter(pl.col("metric") == "ml_inference_duration_seconds_bucket").select("le", "value").rows()
    )
    assert list(buckets) == [*(f"{bound:g}" for bound in DURATION_BOUNDS_SECONDS), "+Inf"]
    assert buckets["0.001"] == 3
    assert buckets["0.0025"] == 4
    assert buckets["10"] == 5
    assert buckets["+Inf"] == 6
    totals = {row["metric"]: row["value"] for row in table.iter_rows(named=True)}
    assert totals["ml_inference_duration_seconds_count"] == 6
    assert totals["ml_inference_duration_seconds_sum"] == pytest.approx(20.002000002, abs=1e-12)


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ([(True, None), (False, None), (None, "insufficient")], "drifted"),
        ([(False, None), (None, "insufficient")], "ok"),
        ([(None, "insufficient"), (None, "insufficient")], "insufficient"),
        ([(None, "insufficient"), (None, "no_baseline")], "uncalibrated"),
        ([(None, "too_few_chunks")], "uncalibrated"),
    ],
)
def test_a_window_has_one_result(verdicts: list[tuple[bool | None, str | None]], expected: str) -> None:
    """The result follows from the verdicts of all columns, and every result has its series from the first window on."""
    rows = [finding(column=f"c{i}", detected=verdict, reason=reason) for i, (verdict, reason) in enumerate(verdicts)]
    rows += [finding(column="c0", method="hellinger", detected=None, reason="informing")]
    counters = ResultCounters(1)
    counters.add_findings(findings(rows))
    assert _results(counters) == {result: float(result == expected) for result in RESULTS}


def test_windows_and_drifted_features_are_counted_one_by_one() -> None:
    """Every window counts once; a feature's counter moves only with its own drift."""
    counters = ResultCounters(1)
    for index, drifted in enumerate([True, False, True]):
        counters.add_findings(evaluated(index, detected=drifted).findings)
    both = pl.concat([evaluated(3).findings, evaluated(4, detected=None).findings])
    counters.add_findings(both)
    counters.add_findings(FINDINGS_SCHEMA.to_frame())
    assert _results(counters) == {"ok": 1.0, "drifted": 3.0, "insufficient": 0.0, "uncalibrated": 1.0}
    features = counters.points(5).filter(pl.col("metric") == "ml_feature_drifted_windows_total")
    assert dict(features.select("feature", "value").rows()) == {"temp": 3.0, "carrier": 3.0}
