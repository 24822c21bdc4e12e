"""The points table: one number of one series, the common form from which every output is encoded.

Each function turns one kind of input into points, without loops over rows. Nulls give no point.
"""

import numpy as np
import numpy.typing as npt
import polars as pl

from driftmeter.methods import DECIDING
from driftmeter.methods.ratios import FRESHNESS, MODEL_KEYS
from driftmeter.model.findings import BASELINE_DRIFT

LABELS = (
    "model",
    "version",
    "stage",
    "segment",
    "feature",
    "output",
    "class",
    "window",
    "baseline",
    "method",
    "quantile",
    "result",
    "le",
)
"""Label columns of the points table."""

_TEXT: type[pl.String] = pl.String

POINTS_SCHEMA = pl.Schema(
    [
        ("metric", _TEXT),
        *((label, _TEXT) for label in LABELS),
        ("value", pl.Float64),
        ("timestamp_ms", pl.Int64),
    ]
)
"""A point: the Prometheus name of its series (with `_bucket`, `_sum` or `_count` for parts of a histogram), its labels
(empty string: the series has no such label), its value and its time in milliseconds since the Unix epoch.
`(metric, labels)` is unique within a table."""

SERIES = ("metric", *LABELS)
"""Columns that identify a series."""

STALE_BITS = 0x7FF0000000000002
"""The NaN that marks the end of a series (remote-write 1.0 specification, "stale markers")."""

QUANTILES = ("0.01", "0.05", "0.25", "0.5", "0.75", "0.95", "0.99")
"""Values of the label `quantile`."""

QUALITY_SCHEMA = pl.Schema(
    {
        "model": pl.String,
        "version": pl.String,
        "stage": pl.String,
        "window": pl.String,
        "column": pl.String,
        "role": pl.String,
        "rows": pl.Int64,
        "missing": pl.Int64,
        "type_mismatch": pl.Int64,
        "non_finite": pl.Int64,
        "out_of_range": pl.Int64,
        "unseen": pl.Int64,
        "other": pl.Int64,
        "constant": pl.Boolean,
        "mean": pl.Float64,
        "stddev": pl.Float64,
        "min": pl.Float64,
        "max": pl.Float64,
        **{f"quantile_{quantile}": pl.Float64 for quantile in QUANTILES},
        "freshness_seconds": pl.Float64,
        "duplicates": pl.Int64,
        "incomplete": pl.Int64,
        "dropped_attributes": pl.Int64,
    }
)
"""One column in one window, or, with the role `model` and no column, all of the window's rows: numbers of rows, moments
and quantiles of finite values, age of the newest value. Null where a number does not apply."""

CLASSES_SCHEMA = pl.Schema(
    {
        "model": pl.String,
        "version": pl.String,
        "stage": pl.String,
        "window": pl.String,
        "column": pl.String,
        "class": pl.String,
        "rows": pl.Int64,
    }
)
"""How many rows of a window were answered with one class of a categorical prediction."""

_GROUP = ("model", "version", "stage", "window")
_SEGMENT = (*_GROUP, "segment")
_SUBJECT = ("feature", "output", "class")
_COLUMN = (*_SEGMENT, "role", "column", "baseline")
_RATIOS = ("missing", "type_mismatch", "non_finite", "out_of_range", "unseen", "other")
_NUMBERS = ("constant", "mean", "stddev", "min", "max", "freshness_seconds")
_OF_MODELS = {"duplicates": "ml_model_duplicate_rows_ratio", "incomplete": "ml_model_incomplete_rows_ratio"}
_NUMBER = pl.Float64()


def empty_points() -> pl.DataFrame:
    """A points table without points."""
    return POINTS_SCHEMA.to_frame()


def stale_values(count: int) -> pl.Series:
    """`count` stale markers, bit for bit."""
    bits: npt.NDArray[np.uint64] = np.full(count, STALE_BITS, np.uint64)
    return pl.Series("value", bits.view(np.float64))


def is_stale(values: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Which values are stale markers; an ordinary NaN is none."""
    return np.asarray(np.ascontiguousarray(values).view(np.uint64) == np.uint64(STALE_BITS))


def as_stale(points: pl.DataFrame) -> pl.DataFrame:
    """A stale marker for each series of `points`."""
    return points.with_columns(stale_values(points.height))


def as_points(frame: pl.DataFrame) -> pl.DataFrame:
    """`frame` in the shape of `POINTS_SCHEMA`: missing label columns become empty, rows without a value go.

    Args:
        frame: Columns `metric`, `value`, `timestamp_ms` and any of `LABELS`; further columns are left out.
    """
    labels = [
        (pl.col(label).cast(pl.String).fill_null("") if label in frame.columns else pl.lit("")).alias(label)
        for label in LABELS
    ]
    return frame.filter(pl.col("value").is_not_null()).select(
        "metric", *labels, pl.col("value").cast(_NUMBER), pl.col("timestamp_ms").cast(pl.Int64)
    )


def findings_to_points(findings: pl.DataFrame, timestamp_ms: int) -> pl.DataFrame:
    """Scores, noise floors, effects, verdicts and statistics of every column.

    A column has drifted when its distribution has, or any of its ratios, such as that of missing values. That its
    newest value is old is told apart: by default it has no say in whether the model has drifted.

    Args:
        findings: `FINDINGS_SCHEMA`, at most one window per model, segment and window length.
        timestamp_ms: Time of every point.

    Returns:
        Points of `ml_feature_drift_*` and `ml_prediction_drift_*`. A probability has the label `class` beside
        `output`, so that it cannot be taken for a prediction of the same name.
    """
    value, headline, age = pl.col("value"), pl.col("method") == DECIDING, pl.col("method") == FRESHNESS.key
    detected = pl.col("detected").cast(_NUMBER)
    numbers = {
        "score": pl.when(headline).then(value),
        "noise_floor": pl.when(headline).then("noise_floor"),
        "effect": pl.when(headline).then("effect"),
        "detected": pl.when(headline).then(pl.when(~age).then(detected).max().over(_COLUMN)),
        "stale": pl.when(age).then(detected),
        "statistic": value,
    }
    rows = _with_subject(findings).select(*_SEGMENT, *_SUBJECT, "subject", "baseline", "method", **numbers)
    long = rows.unpivot(on=list(numbers), index=rows.columns[: -len(numbers)], variable_name="number")
    statistic = pl.col("number") == "statistic"
    return as_points(
        long.with_columns(
            metric=pl.concat_str(pl.lit("ml_"), "subject", pl.lit("_drift_"), "number"),
            method=pl.when(statistic).then("method").otherwise(pl.lit("")),
            timestamp_ms=pl.lit(timestamp_ms),
        )
    )


def whole_rows_to_points(findings: pl.DataFrame, timestamp_ms: int) -> pl.DataFrame:
    """Verdicts on the rows of a model as a whole, `ml_model_quality_detected`.

    Args:
        findings: `FINDINGS_SCHEMA`, at most one window per model, segment and window length.
        timestamp_ms: Time of every point.
    """
    rows = findings.filter((pl.col("role") == "model") & pl.col("method").is_in(MODEL_KEYS))
    return as_points(
        rows.select(
            *_SEGMENT,
            "baseline",
            "method",
            metric=pl.lit("ml_model_quality_detected"),
            value=pl.col("detected").cast(_NUMBER),
            timestamp_ms=pl.lit(timestamp_ms),
        )
    )


def baseline_drift_to_points(findings: pl.DataFrame, timestamp_ms: int) -> pl.DataFrame:
    """How far the references that move have gone from the fixed baseline: the column that has gone furthest counts.

    Args:
        findings: `FINDINGS_SCHEMA`.
        timestamp_ms: Time of every point.
    """
    moved = findings.filter(pl.col("method") == BASELINE_DRIFT)
    return as_points(
        moved.group_by(*_SEGMENT, "baseline", maintain_order=True)
        .agg(value=pl.col("value").max())
        .with_columns(metric=pl.lit("ml_baseline_drift_score"), timestamp_ms=pl.lit(timestamp_ms))
    )


def quality_to_points(quality: pl.DataFrame, timestamp_ms: int) -> pl.DataFrame:
    """Ratios, moments and quantiles of every feature, the mean of every prediction and probability, rows of the model.

    Args:
        quality: `QUALITY_SCHEMA`; a column without rows gives no ratios.
        timestamp_ms: Time of every point.
    """
    feature, model, some = pl.col("role") == "feature", pl.col("role") == "model", pl.col("rows") > 0
    numbers = {
        **{f"ml_feature_{name}_ratio": pl.when(feature & some).then(pl.col(name) / pl.col("rows")) for name in _RATIOS},
        **{f"ml_feature_{name}": pl.when(feature).then(pl.col(name).cast(_NUMBER)) for name in _NUMBERS},
        **{quantile: pl.when(feature).then(f"quantile_{quantile}") for quantile in QUANTILES},
        "ml_prediction_mean": pl.when(~feature).then("mean"),
        **{metric: pl.when(model & some).then(pl.col(name) / pl.col("rows")) for name, metric in _OF_MODELS.items()},
        "ml_model_window_rows": pl.when(model).then(pl.col("rows").cast(_NUMBER)),
    }
    rows = _with_subject(quality, "model").select(*_GROUP, *_SUBJECT, **numbers)
    long = rows.unpivot(on=list(numbers), index=[*_GROUP, *_SUBJECT], variable_name="metric")
    of_quantile = pl.col("metric").is_in(QUANTILES)
    return as_points(
        long.with_columns(
            metric=pl.when(of_quantile).then(pl.lit("ml_feature_quantile")).otherwise("metric"),
            quantile=pl.when(of_quantile).then("metric").otherwise(pl.lit("")),
            timestamp_ms=pl.lit(timestamp_ms),
        )
    )


def classes_to_points(classes: pl.DataFrame, timestamp_ms: int) -> pl.DataFrame:
    """Share of each class among the rows of its prediction and window.

    Args:
        classes: `CLASSES_SCHEMA`; predictions without rows give no points.
        timestamp_ms: Time of every point.
    """
    total = pl.col("rows").sum().over(*_GROUP, "column")
    return as_points(
        classes.with_columns(
            metric=pl.lit("ml_prediction_class_ratio"),
            output=pl.col("column"),
            value=pl.when(total > 0).then(pl.col("rows") / total),
            timestamp_ms=pl.lit(timestamp_ms),
        )
    )


def windows_to_points(model: pl.DataFrame, timestamp_ms: int) -> pl.DataFrame:
    """What a window says about the model as a whole: has it drifted, how many features have, when did the window end.

    Of several references the first one alarms. Without a verdict there is no point but the window's end.

    Args:
        model: `MODEL_FINDINGS_SCHEMA`, at most one window per model, segment and window length.
        timestamp_ms: Time of every point.
    """
    windows = model.unique(_SEGMENT, keep="first", maintain_order=True).select(
        *_SEGMENT,
        ml_model_drift_detected=pl.col("detected").cast(_NUMBER),
        ml_model_drifted_features=pl.col("drifted_features").cast(_NUMBER),
        ml_model_drifted_features_ratio=pl.col("drifted_features_ratio"),
        ml_window_end_timestamp_seconds=pl.col("window_end").dt.timestamp("ns") / 1e9,
    )
    points = windows.unpivot(index=_SEGMENT, variable_name="metric", value_name="value")
    return as_points(points.with_columns(timestamp_ms=pl.lit(timestamp_ms)))


def _with_subject(frame: pl.DataFrame, *further: str) -> pl.DataFrame:
    """Adds what the metric is about, and the labels that name the column; rows of other roles go, but for `further`."""
    feature = pl.col("role") == "feature"
    scored = frame.filter(pl.col("role").is_in(["feature", "prediction", "probability", *further]))
    return scored.with_columns(
        subject=pl.when(feature).then(pl.lit("feature")).otherwise(pl.lit("prediction")),
        feature=pl.when(feature).then("column").otherwise(pl.lit("")),
        output=pl.when(feature).then(pl.lit("")).otherwise("column"),
        **{"class": pl.when(pl.col("role") == "probability").then("column").otherwise(pl.lit(""))},
    )
