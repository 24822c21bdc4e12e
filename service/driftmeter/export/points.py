"""The points table: one number of one series, the common form from which every output is encoded.

Each function turns one kind of input into points, without loops over rows. Nulls give no point.
"""

import numpy as np
import numpy.typing as npt
import polars as pl

from driftmeter.methods import DECIDING

LABELS = (
    "model",
    "version",
    "stage",
    "feature",
    "output",
    "class",
    "window",
    "baseline",
    "method",
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
        "mean": pl.Float64,
        "stddev": pl.Float64,
        "min": pl.Float64,
        "max": pl.Float64,
    }
)
"""One column in one window: numbers of rows, and moments of its finite values. Null where a number does not apply."""

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
_SUBJECT = ("feature", "output", "class")
_RATIOS = ("missing", "type_mismatch", "non_finite", "out_of_range", "unseen")
_MOMENTS = ("mean", "stddev", "min", "max")
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

    Args:
        findings: `FINDINGS_SCHEMA`, at most one window per model and window length. Rows of a segment are left out,
            since points have no such label yet.
        timestamp_ms: Time of every point.

    Returns:
        Points of `ml_feature_drift_*` and `ml_prediction_drift_*`. A probability has the label `class` beside
        `output`, so that it cannot be taken for a prediction of the same name.
    """
    value, headline = pl.col("value"), pl.col("method") == DECIDING
    numbers = {
        "score": pl.when(headline).then(value),
        "noise_floor": pl.when(headline).then("noise_floor"),
        "effect": pl.when(headline).then("effect"),
        "detected": pl.when(headline).then(pl.col("detected").cast(_NUMBER)),
        "statistic": value,
    }
    rows = _with_subject(findings.filter(pl.col("segment").fill_null("") == "")).select(
        *_GROUP, *_SUBJECT, "subject", "baseline", "method", **numbers
    )
    long = rows.unpivot(on=list(numbers), index=rows.columns[: -len(numbers)], variable_name="number")
    statistic = pl.col("number") == "statistic"
    return as_points(
        long.with_columns(
            metric=pl.concat_str(pl.lit("ml_"), "subject", pl.lit("_drift_"), "number"),
            method=pl.when(statistic).then("method").otherwise(pl.lit("")),
            timestamp_ms=pl.lit(timestamp_ms),
        )
    )


def quality_to_points(quality: pl.DataFrame, timestamp_ms: int) -> pl.DataFrame:
    """Ratios and moments of every feature, and the mean of every prediction and probability.

    Args:
        quality: `QUALITY_SCHEMA`; a column without rows gives no ratios.
        timestamp_ms: Time of every point.
    """
    feature = pl.col("role") == "feature"
    counted = feature & (pl.col("rows") > 0)
    numbers = {
        **{f"ml_feature_{name}_ratio": pl.when(counted).then(pl.col(name) / pl.col("rows")) for name in _RATIOS},
        **{f"ml_feature_{name}": pl.when(feature).then(name) for name in _MOMENTS},
        "ml_prediction_mean": pl.when(~feature).then("mean"),
    }
    rows = _with_subject(quality).select(*_GROUP, *_SUBJECT, **numbers)
    long = rows.unpivot(on=list(numbers), index=[*_GROUP, *_SUBJECT], variable_name="metric")
    return as_points(long.with_columns(timestamp_ms=pl.lit(timestamp_ms)))


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


def windows_to_points(findings: pl.DataFrame, timestamp_ms: int) -> pl.DataFrame:
    """What a window says about the model as a whole: has it drifted, how many features have, when did the window end.

    A model has drifted when any of its features, predictions or probabilities has. Without a verdict on any column
    there is no point but the window's end.

    Args:
        findings: `FINDINGS_SCHEMA`, at most one window per model and window length.
        timestamp_ms: Time of every point.
    """
    detected = pl.col("detected")
    feature = pl.col("role") == "feature"
    drifted = pl.col("column").filter(feature & detected.fill_null(False)).n_unique()
    judged = pl.col("column").filter(feature & detected.is_not_null()).n_unique()
    verdict = detected.is_not_null().any()
    windows = (
        findings.filter(pl.col("segment").fill_null("") == "")
        .group_by(_GROUP, maintain_order=True)
        .agg(
            ml_model_drift_detected=pl.when(verdict).then(detected.any()).cast(_NUMBER),
            ml_model_drifted_features=pl.when(verdict).then(drifted).cast(_NUMBER),
            ml_model_drifted_features_ratio=pl.when(judged > 0).then(drifted / judged),
            ml_window_end_timestamp_seconds=pl.col("window_end").max().dt.timestamp("ns") / 1e9,
        )
    )
    points = windows.unpivot(index=_GROUP, variable_name="metric", value_name="value")
    return as_points(points.with_columns(timestamp_ms=pl.lit(timestamp_ms)))


def _with_subject(frame: pl.DataFrame) -> pl.DataFrame:
    """Adds what the metric is about (`feature` or `prediction`), and the labels that name the column."""
    feature = pl.col("role") == "feature"
    scored = frame.filter(pl.col("role").is_in(["feature", "prediction", "probability"]))
    return scored.with_columns(
        subject=pl.when(feature).then(pl.lit("feature")).otherwise(pl.lit("prediction")),
        feature=pl.when(feature).then("column").otherwise(pl.lit("")),
        output=pl.when(feature).then(pl.lit("")).otherwise("column"),
        **{"class": pl.when(pl.col("role") == "probability").then("column").otherwise(pl.lit(""))},
    )
