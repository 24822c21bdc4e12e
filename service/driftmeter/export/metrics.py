"""Every result metric, declared once: its two names, kind, unit, labels and meaning.

The OTLP name has dots between the words of the namespace and its object; Prometheus' own translation of name, kind
and unit gives the Prometheus name, which is what the points table, remote write and `/metrics` use. Gauges never have
the unit `1`: Prometheus would append `_ratio` to their names and other translators would not.
"""

from dataclasses import dataclass
from enum import StrEnum

import polars as pl


class MetricKind(StrEnum):
    """What the numbers of a metric do over time."""

    GAUGE = "gauge"
    """A value that stands for a moment."""
    COUNTER = "counter"
    """A sum since the start of the service; never falls."""
    HISTOGRAM = "histogram"
    """Counts per bucket since the start of the service."""


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """Declaration of one result metric.

    Attributes:
        otlp_name: Name in OTLP.
        prometheus_name: Name in Prometheus; a histogram's series append `_bucket`, `_sum` and `_count`.
        kind: Gauge, counter or histogram.
        unit: UCUM unit as OTLP writes it; empty for numbers without one.
        labels: Labels beyond `IDENTITY_LABELS`. A label without a value is absent from the series.
        description: One sentence; when the metric is absent, it says so.
    """

    otlp_name: str
    prometheus_name: str
    kind: MetricKind
    unit: str
    labels: tuple[str, ...]
    description: str


IDENTITY_LABELS = ("model", "version", "stage")
"""Labels of every result metric."""

_GAUGE, _COUNTER, _HISTOGRAM = MetricKind.GAUGE, MetricKind.COUNTER, MetricKind.HISTOGRAM
_OUTPUT = ("output", "class", "window")


def _drift(subject: str, what: str, labels: tuple[str, ...]) -> tuple[MetricSpec, ...]:
    """The six metrics that tell how far one column is from its baseline."""
    rows = (
        ("score", f"Jensen-Shannon distance of {what} from its baseline, 0 to 1.", ()),
        ("noise_floor", f"Score that {what} would have from sampling noise alone.", ()),
        ("effect", f"Score of {what} beyond noise.", ()),
        (
            "detected",
            f"1 when {what} has drifted (its values or its missing ones), 0 when not; absent without a verdict.",
            (),
        ),
        (
            "stale",
            f"1 when the newest value of {what} is older than usual, 0 when not; absent without a verdict.",
            (),
        ),
        ("statistic", f"Every method's number for {what}, in the method's own unit.", ("method",)),
    )
    return tuple(
        MetricSpec(f"ml.{subject}.drift.{name}", f"ml_{subject}_drift_{name}", _GAUGE, "", labels + extra, description)
        for name, description, extra in rows
    )


def _feature(name: str, description: str, further: tuple[str, ...] = ()) -> MetricSpec:
    """A data-quality number of one feature in one window."""
    labels = ("feature", "window", *further)
    return MetricSpec(f"ml.feature.{name}", f"ml_feature_{name}", _GAUGE, "", labels, description)


def _model(name: str, description: str, *, segmented: bool = False) -> MetricSpec:
    """A number of one model in one window, or of its segments too."""
    prometheus_name = f"ml_model_{name.replace('.', '_')}"
    return MetricSpec(
        f"ml.model.{name}", prometheus_name, _GAUGE, "", (*(["segment"] if segmented else []), "window"), description
    )


def _together(name: str, description: str) -> MetricSpec:
    """A number of all features of one model together, in one window."""
    labels = ("window", "baseline", "method")
    return MetricSpec(f"ml.model.drift.{name}", f"ml_model_drift_{name}", _GAUGE, "", labels, description)


RESULT_METRICS: tuple[MetricSpec, ...] = (
    *_drift("feature", "the feature", ("segment", "feature", "window", "baseline")),
    *_drift("prediction", "the prediction", ("segment", "output", "class", "window", "baseline")),
    _model(
        "drift.detected",
        "1 when a feature or prediction has drifted, 0 when none; absent without a verdict.",
        segmented=True,
    ),
    _model("drifted_features", "Number of features that have drifted; absent without a verdict.", segmented=True),
    _model(
        "drifted_features_ratio",
        "Share of the judged features that have drifted; absent without a verdict.",
        segmented=True,
    ),
    MetricSpec(
        "ml.baseline.drift.score",
        "ml_baseline_drift_score",
        _GAUGE,
        "",
        ("segment", "window", "baseline"),
        "Largest Jensen-Shannon distance, over all columns, of a rolling baseline from the fixed one, 0 to 1.",
    ),
    _together("statistic", "Number that a method gives for all features together, on a sample of the window's rows."),
    _together("noise_floor", "The same number for rows of the baseline itself, on average."),
    _together("effect", "Distance of the two, 0 when it points away from drift."),
    MetricSpec(
        "ml.anomalous_predictions_ratio",
        "ml_anomalous_predictions_ratio",
        _GAUGE,
        "",
        ("window",),
        "Share of a window's sampled rows that are odder than 99.5 % of the baseline's; absent without a sample.",
    ),
    _feature("missing_ratio", "Share of rows without a value."),
    _feature("type_mismatch_ratio", "Share of rows whose value had the wrong type."),
    _feature("non_finite_ratio", "Share of rows whose value was NaN or infinite."),
    _feature("out_of_range_ratio", "Share of rows outside the range of the baseline; numeric features only."),
    _feature("unseen_ratio", "Share of rows with a category unknown to the baseline; categorical features only."),
    _feature(
        "other_ratio",
        "Share of rows whose category the baseline knows but does not count by itself (all beyond its commonest 256); "
        "categorical features only.",
    ),
    _feature(
        "constant",
        "1 when all values, two at least, are the same, 0 when not; absent when all are categories counted as other.",
    ),
    _feature("mean", "Mean, in the feature's own unit; numeric features only."),
    _feature("stddev", "Standard deviation, in the feature's own unit; numeric features only."),
    _feature("min", "Smallest value, in the feature's own unit; numeric features only."),
    _feature("max", "Largest value, in the feature's own unit; numeric features only."),
    _feature(
        "quantile",
        "Quantile, in the feature's own unit, exact to the width of the fine bin that it lies in (1,024 quantiles of "
        "the baseline are edges; columns of few values are exact); numeric features only.",
        ("quantile",),
    ),
    MetricSpec(
        "ml.feature.freshness",
        "ml_feature_freshness_seconds",
        _GAUGE,
        "s",
        ("feature", "window"),
        "Age of the feature's newest value at the window's end; the window's whole length when it holds none, which is "
        "then the least that it can be.",
    ),
    _model("window_rows", "Rows of the window."),
    _model(
        "withheld_columns",
        "Columns without series of their own, since the model would have more than `export.max_series`; absent "
        "otherwise.",
        segmented=True,
    ),
    _model("withheld_score_max", "Highest score among them; absent otherwise.", segmented=True),
    _model(
        "duplicate_rows_ratio",
        "Share of rows that repeat another row of the window in all columns of the baseline; exact up to 1,024 "
        "different rows, estimated from as many beyond.",
    ),
    _model(
        "incomplete_rows_ratio",
        "Share of rows whose sender dropped attributes, by its own account (`dropped_attributes_count`).",
    ),
    MetricSpec("ml.prediction.mean", "ml_prediction_mean", _GAUGE, "", _OUTPUT, "Mean prediction; numeric ones only."),
    MetricSpec(
        "ml.model.quality.detected",
        "ml_model_quality_detected",
        _GAUGE,
        "",
        ("segment", "window", "baseline", "method"),
        "1 when the model's rows as a whole have drifted, 0 when not; absent without a verdict. The method is rows "
        "(their number), duplicate_ratio or incomplete_ratio.",
    ),
    MetricSpec(
        "ml.prediction.class_ratio",
        "ml_prediction_class_ratio",
        _GAUGE,
        "",
        _OUTPUT,
        "Share of rows for which the model answered this class; categorical predictions only.",
    ),
    MetricSpec(
        "ml.window.end_timestamp",
        "ml_window_end_timestamp_seconds",
        _GAUGE,
        "s",
        ("segment", "window"),
        "End of the window that the other values describe, as Unix time.",
    ),
    MetricSpec("ml.predictions", "ml_predictions_total", _COUNTER, "{prediction}", (), "Predictions received."),
    MetricSpec(
        "ml.inference.errors",
        "ml_inference_errors_total",
        _COUNTER,
        "{error}",
        (),
        "Predictions whose span has the status ERROR.",
    ),
    MetricSpec(
        "ml.inference.duration",
        "ml_inference_duration_seconds",
        _HISTOGRAM,
        "s",
        (),
        "Time a prediction took: the length of its span.",
    ),
    MetricSpec(
        "ml.evaluated_windows",
        "ml_evaluated_windows_total",
        _COUNTER,
        "{window}",
        ("result", "window"),
        "Windows that were evaluated, by result: ok, drifted, insufficient or uncalibrated.",
    ),
    MetricSpec(
        "ml.feature.drifted_windows",
        "ml_feature_drifted_windows_total",
        _COUNTER,
        "{window}",
        ("feature", "window"),
        "Windows in which the feature had drifted.",
    ),
)
"""All result metrics, in the order of the documentation."""

_PARTS = ("_bucket", "_sum", "_count")

FAMILIES = pl.DataFrame(
    [
        (name, index, spec.kind.value)
        for index, spec in enumerate(RESULT_METRICS)
        for name in (
            [spec.prometheus_name + part for part in _PARTS] if spec.kind is _HISTOGRAM else [spec.prometheus_name]
        )
    ],
    schema={"metric": pl.String, "family": pl.Int32, "kind": pl.String},
    orient="row",
)
"""For each value of the points' `metric` column: the number of its spec in `RESULT_METRICS`, and its kind."""
