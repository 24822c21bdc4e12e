"""Sums over all windows since the start."""

import numpy as np
import polars as pl
import pytest

from driftmeter.export.counters import DURATION_BOUNDS_SECONDS, RESULTS, SILENCE_NS, ResultCounters, bucket_durations
from driftmeter.export.points import is_stale
from driftmeter.model.findings import FINDINGS_SCHEMA
from driftmeter.model.predictions import ModelKey
from export_samples import KEY, evaluated, finding, findings, series_of

_OTHER = ModelKey("prices", "", "")


def _results(counters: ResultCounters) -> dict[str, float]:
    rows = counters.points(5).filter(pl.col("metric") == "ml_evaluated_windows_total")
    return {row["result"]: row["value"] for row in rows.iter_rows(named=True)}


def test_predictions_and_errors_add_up_per_model() -> None:
    """Counts of different models stay apart."""
    counters = ResultCounters(1)
    nothing = np.zeros(len(DURATION_BOUNDS_SECONDS) + 1, np.int64)
    counters.add_predictions(KEY, 10, 1, nothing, 0)
    counters.add_predictions(KEY, 5, 2, nothing, 0)
    counters.add_predictions(_OTHER, 7, 0, nothing, 0)
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
    counts, sum_ns = bucket_durations(durations)
    counters = ResultCounters(1)
    counters.add_predictions(KEY, len(durations), 0, counts, sum_ns)
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


_NOTHING = np.zeros(len(DURATION_BOUNDS_SECONDS) + 1, np.int64)
_SECOND_NS = 10**9


def _models(table: pl.DataFrame) -> set[str]:
    return set(table.get_column("model"))


def test_a_model_without_predictions_for_an_hour_is_ended_once_and_forgotten() -> None:
    """All its counters get a stale marker at one call, are gone from then on, and those of others go on."""
    counters = ResultCounters(1)
    for key in (KEY, _OTHER):
        counters.add_predictions(key, 10, 1, _NOTHING, 0)
    counters.add_findings(evaluated(0).findings)
    assert counters.expire(0).is_empty()
    of_key = counters.points(0).filter(pl.col("model") == KEY.model)
    counters.add_predictions(_OTHER, 10, 1, _NOTHING, 0)
    counters.add_findings(evaluated(1).findings)  # A window that closes later is no prediction.
    assert counters.expire(SILENCE_NS).is_empty()
    ended = counters.expire(SILENCE_NS + 1)
    assert is_stale(ended.get_column("value").to_numpy()).all()
    assert set(series_of(ended)) == set(series_of(of_key))
    assert _models(counters.points(0)) == {_OTHER.model}
    assert counters.expire(SILENCE_NS + _SECOND_NS).is_empty()


def test_windows_of_a_forgotten_model_are_counted_and_forgotten_too() -> None:
    """The day of a model that stopped in the morning closes at night; its counters last an hour more, not for ever."""
    counters = ResultCounters(1)
    counters.add_findings(evaluated(0).findings)
    counters.expire(0)
    assert _models(counters.points(0)) == {KEY.model}
    ended = counters.expire(SILENCE_NS + 1)
    assert set(ended.get_column("metric")) == {"ml_evaluated_windows_total", "ml_feature_drifted_windows_total"}
    assert counters.points(0).is_empty()


def test_a_model_begins_at_zero_again_when_it_comes_back() -> None:
    """Every new model has zeros once, also one that was forgotten, so that what it begins with is an increase."""
    counters = ResultCounters(1)
    for time_ns, rows in ((0, 10), (SILENCE_NS + 1, 3)):
        counters.expire(time_ns)
        counters.add_predictions(KEY, rows, 1, _NOTHING, 0)
        counters.expire(time_ns)
        zeros = counters.begin()
        assert set(series_of(zeros)) == set(series_of(counters.points(0)))
        assert set(zeros.get_column("value")) == {0.0}
        assert counters.begin().is_empty()
        assert counters.points(0).filter(metric="ml_predictions_total").get_column("value").to_list() == [rows]


def test_hundreds_of_retired_models_leave_nothing_behind() -> None:
    """What is kept does not grow with the number of models there ever were."""
    counters = ResultCounters(1)
    for version in range(300):
        key = ModelKey("m", str(version), "")
        counters.add_predictions(key, 1, 0, _NOTHING, 0)
        counters.begin()
        counters.expire(version * 60 * _SECOND_NS)
    assert counters.points(0).filter(metric="ml_predictions_total").height <= 62
    kept = [vars(counters)[name] for name in ("_totals", "_heard", "_heard_ns", "_begun")]
    assert all(len(each) <= 62 for each in kept)
