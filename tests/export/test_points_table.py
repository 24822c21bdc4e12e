"""From findings, quality and classes to points."""

from datetime import UTC, datetime

import polars as pl

from driftmeter.detect.quality import QUANTILES as DETECTED_QUANTILES
from driftmeter.export.metrics import FAMILIES
from driftmeter.export.points import (
    POINTS_SCHEMA,
    QUANTILES,
    classes_to_points,
    findings_to_points,
    is_stale,
    quality_to_points,
    stale_values,
    windows_to_points,
)
from driftmeter.model.findings import FINDINGS_SCHEMA
from export_samples import classes, evaluated, finding, findings, model_finding, model_findings, quality, series_of

_IDENTITY = {"model": "delays", "version": "3", "stage": "production", "window": "24h"}


def _values(table: pl.DataFrame, metric: str, *labels: str) -> dict[tuple[str, ...], float]:
    rows = table.filter(pl.col("metric") == metric)
    return {tuple(row[label] for label in labels): row["value"] for row in rows.iter_rows(named=True)}


def test_headline_numbers_come_from_the_headline_method() -> None:
    """Score, noise floor, effect and verdict are those of Jensen-Shannon, the statistic is every method's own."""
    rows = [finding(), finding(method="hellinger", value=0.3, noise_floor=0.9, effect=0.8, detected=None)]
    assert series_of(findings_to_points(findings(rows), 7)) == {
        frozenset({"__name__": f"ml_feature_drift_{name}", **_IDENTITY, **labels}.items()): (value, 7)
        for name, labels, value in (
            ("score", {"feature": "temp", "baseline": "file"}, 0.25),
            ("noise_floor", {"feature": "temp", "baseline": "file"}, 0.05),
            ("effect", {"feature": "temp", "baseline": "file"}, 0.2),
            ("detected", {"feature": "temp", "baseline": "file"}, 1.0),
            ("statistic", {"feature": "temp", "baseline": "file", "method": "jensen_shannon"}, 0.25),
            ("statistic", {"feature": "temp", "baseline": "file", "method": "hellinger"}, 0.3),
        )
    }


def test_a_feature_has_drifted_when_any_of_its_verdicts_says_so() -> None:
    """That on its missing values, for one: a feature whose distribution is as ever has drifted all the same."""
    rows = [
        finding(detected=False),
        finding(method="missing_ratio", value=0.01, detected=True),
        finding(column="calm", detected=False),
        finding(column="calm", method="missing_ratio", detected=None, reason="insufficient"),
        finding(baseline="rolling", detected=False),
    ]
    table = findings_to_points(findings(rows), 7)
    verdicts = _values(table, "ml_feature_drift_detected", "feature", "baseline")
    assert verdicts == {("temp", "file"): 1.0, ("calm", "file"): 0.0, ("temp", "rolling"): 0.0}
    statistics = _values(table, "ml_feature_drift_statistic", "feature", "baseline", "method")
    assert statistics["temp", "file", "missing_ratio"] == 0.01


def test_nulls_give_no_points() -> None:
    """A finding without value, floor, effect or verdict says nothing, rather than zero."""
    rows = [finding(value=None, noise_floor=None, effect=None, detected=None, reason="no_baseline")]
    assert findings_to_points(findings(rows), 7).is_empty()
    assert findings_to_points(FINDINGS_SCHEMA.to_frame(), 7).schema == POINTS_SCHEMA


def test_a_prediction_and_a_probability_of_one_name_are_two_series() -> None:
    """Both have the output's name; the probability has its class besides."""
    rows = [finding(column="late", role="prediction", value=0.1), finding(column="late", role="probability", value=0.2)]
    scores = _values(findings_to_points(findings(rows), 7), "ml_prediction_drift_score", "feature", "output", "class")
    assert scores == {("", "late", ""): 0.1, ("", "late", "late"): 0.2}


def test_labels_and_absent_stages_make_no_series_of_their_own() -> None:
    """Labels and segment columns are not scored, rows of a segment have its label, and null labels are absent."""
    rows = [
        finding(role="segment"),
        finding(role="label"),
        finding(segment="region=x", value=0.9),
        finding(stage=None, segment=None),
    ]
    table = findings_to_points(findings(rows), 7)
    scores = table.filter(pl.col("metric") == "ml_feature_drift_score")
    assert set(scores.select("stage", "segment", "value").rows()) == {("", "", 0.25), ("production", "region=x", 0.9)}


def test_a_model_has_its_verdict_and_its_drifted_features() -> None:
    """The alarm, the number of features that drifted and their share, and the window's end."""
    rows = model_findings([model_finding(detected=True, drifted_features=1, drifted_features_ratio=0.5)])
    assert {row["metric"]: row["value"] for row in windows_to_points(rows, 7).iter_rows(named=True)} == {
        "ml_model_drift_detected": 1.0,
        "ml_model_drifted_features": 1.0,
        "ml_model_drifted_features_ratio": 0.5,
        "ml_window_end_timestamp_seconds": datetime(2013, 1, 2, tzinfo=UTC).timestamp(),
    }


def test_of_several_references_the_first_alarms() -> None:
    """The others have findings of their own; a segment has its own verdict."""
    rows = [
        model_finding(segment="region=x", detected=True),
        model_finding(baseline="file", detected=False),
        model_finding(baseline="rolling", detected=True),
    ]
    table = windows_to_points(model_findings(rows), 7)
    expected = {("24h", ""): 0.0, ("24h", "region=x"): 1.0}
    assert _values(table, "ml_model_drift_detected", "window", "segment") == expected


def test_without_a_verdict_only_the_windows_end_is_known() -> None:
    """No verdict is not the same as no drift."""
    rows = [model_finding(detected=None, drifted_features=None, drifted_features_ratio=None)]
    table = windows_to_points(model_findings(rows), 7)
    assert table.get_column("metric").to_list() == ["ml_window_end_timestamp_seconds"]


def test_quality_gives_ratios_and_moments_where_they_apply() -> None:
    """Counts become shares of the rows; what is null for the column's kind is absent; predictions have their mean."""
    numeric = {"column": "temp", "role": "feature", "rows": 200, "missing": 10, "type_mismatch": 1, "out_of_range": 4}
    numeric |= {"non_finite": 30, "constant": False, "freshness_seconds": 2.5}
    moments = {"mean": 12.5, "stddev": 3.0, "min": -1.0, "max": 40.0}
    categorical = {"column": "carrier", "role": "feature", "rows": 200, "missing": 0, "type_mismatch": 0, "unseen": 50}
    categorical |= {"other": 20, "constant": True}
    late = {"column": "late", "role": "probability", "rows": 200, "missing": 100, "mean": 0.25, "stddev": 1.0}
    whole = {"column": "", "role": "model", "rows": 200, "duplicates": 50, "incomplete": 0}
    table = quality_to_points(quality([{**numeric, **moments}, categorical, late, whole]), 7)
    found = {
        (row["metric"], row["feature"], row["output"], row["class"]): row["value"]
        for row in table.iter_rows(named=True)
    }
    assert set(table["quantile"]) == {""}
    assert found == {
        ("ml_feature_missing_ratio", "temp", "", ""): 0.05,
        ("ml_feature_missing_ratio", "carrier", "", ""): 0.0,
        ("ml_feature_type_mismatch_ratio", "temp", "", ""): 0.005,
        ("ml_feature_type_mismatch_ratio", "carrier", "", ""): 0.0,
        ("ml_feature_non_finite_ratio", "temp", "", ""): 0.15,
        ("ml_feature_out_of_range_ratio", "temp", "", ""): 0.02,
        ("ml_feature_unseen_ratio", "carrier", "", ""): 0.25,
        ("ml_feature_other_ratio", "carrier", "", ""): 0.1,
        ("ml_feature_constant", "temp", "", ""): 0.0,
        ("ml_feature_constant", "carrier", "", ""): 1.0,
        ("ml_feature_freshness_seconds", "temp", "", ""): 2.5,
        ("ml_model_window_rows", "", "", ""): 200.0,
        ("ml_model_duplicate_rows_ratio", "", "", ""): 0.25,
        ("ml_model_incomplete_rows_ratio", "", "", ""): 0.0,
        ("ml_feature_mean", "temp", "", ""): 12.5,
        ("ml_feature_stddev", "temp", "", ""): 3.0,
        ("ml_feature_min", "temp", "", ""): -1.0,
        ("ml_feature_max", "temp", "", ""): 40.0,
        ("ml_prediction_mean", "", "late", "late"): 0.25,
    }


def test_quantiles_are_series_of_one_metric() -> None:
    """Each has its label, as Prometheus' own summaries write it; those of predictions are not sent."""
    numbers = {"quantile_0.01": -2.0, "quantile_0.5": 0.5, "quantile_0.99": 3.0}
    rows = [
        {"column": name, "role": role, "rows": 9} | numbers for name, role in (("x", "feature"), ("y", "prediction"))
    ]
    table = quality_to_points(quality(rows), 7).filter(metric="ml_feature_quantile")
    assert _values(table, "ml_feature_quantile", "feature", "output", "quantile") == {
        ("x", "", "0.01"): -2.0,
        ("x", "", "0.5"): 0.5,
        ("x", "", "0.99"): 3.0,
    }


def test_quantiles_have_the_names_that_detection_gives_them() -> None:
    """Both sides of the stage's border list the same ones."""
    assert [f"{quantile:g}" for quantile in DETECTED_QUANTILES] == list(QUANTILES)


def test_a_column_without_rows_has_no_ratios() -> None:
    """Nothing out of nothing is no share, not even a NaN."""
    table = quality_to_points(quality([{"column": "temp", "role": "feature", "rows": 0, "missing": 0}]), 7)
    assert table.is_empty()


def test_class_ratios_add_up_to_one() -> None:
    """Shares are of the rows of one prediction in one window."""
    rows = [{"column": "late", "class": "yes", "rows": 30}, {"column": "late", "class": "no", "rows": 90}]
    table = classes_to_points(classes([*rows, {"column": "none", "class": "x", "rows": 0}]), 7)
    ratios = _values(table, "ml_prediction_class_ratio", "output", "class")
    assert ratios == {("late", "yes"): 0.25, ("late", "no"): 0.75}


def test_a_window_gives_each_series_once_and_only_declared_ones() -> None:
    """All the points of a window together have the schema, declared names, and no series twice."""
    table = evaluated(3).points(9)
    assert table.schema == POINTS_SCHEMA
    assert set(table.get_column("metric")) <= set(FAMILIES.get_column("metric"))
    assert len(series_of(table)) == table.height


def test_stale_markers_are_one_particular_nan() -> None:
    """The marker is recognised by its bits; an ordinary NaN is a value."""
    values = pl.concat([stale_values(2), pl.Series("value", [float("nan"), 0.0])])
    assert is_stale(values.to_numpy()).tolist() == [True, True, False, False]
