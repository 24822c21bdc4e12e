"""What is counted over all windows since the first start of the service: predictions, errors, durations, verdicts."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import polars as pl

from driftmeter.errors import DamagedError
from driftmeter.export.points import as_points, as_stale, empty_points
from driftmeter.methods import DECIDING
from driftmeter.model.bundle import Tree
from driftmeter.model.predictions import ModelKey
from driftmeter.model.stored import Stored, model_key, rows_of

DURATION_BOUNDS_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the duration buckets, inclusive; one more bucket holds all above."""

SILENCE_NS = 3_600 * 10**9
"""A model without predictions for longer than this, one hour, has its counters ended and forgotten. Longer than the
alert on silence waits, so that it sees the counters stand still; bounded, so that retired models do not pile up."""

RESULTS = ("ok", "drifted", "insufficient", "uncalibrated")
"""Results of an evaluated window: values of the label `result` of `ml_evaluated_windows_total`."""

_GROUP = ("model", "version", "stage", "window")
_IDENTITY = ("model", "version", "stage")
_BUCKETS = (*(f"{bound:g}" for bound in DURATION_BOUNDS_SECONDS), "+Inf")
_NS_PER_SECOND = 10**9
_BOUNDS_NS = np.array([round(bound * _NS_PER_SECOND) for bound in DURATION_BOUNDS_SECONDS], np.int64)

AWAY_NS_MAX = 600 * 10**9
"""Time that a restart adds to a model's silence at most, ten minutes: nobody could hear it while the service was down.
Longer than restarts usually take, so that only real outages are left out."""


def bucket_durations(durations_ns: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], int]:
    """Counts of durations per bucket, int64 of shape (len(DURATION_BOUNDS_SECONDS) + 1,), and their sum in nanoseconds.

    Negative durations, from clocks that were set back, count as zero. The sum is exact, so that it does not depend on
    how rows are cut into batches.
    """
    durations_ns = np.maximum(durations_ns, 0)
    counts = np.bincount(np.searchsorted(_BOUNDS_NS, durations_ns, side="left"), minlength=len(_BUCKETS))
    # In halves: the sum of a few absurd durations has more than 64 bits.
    sum_ns = (int((durations_ns >> 32).sum()) << 32) + int((durations_ns & 0xFFFF_FFFF).sum())
    return counts.astype(np.int64, copy=False), sum_ns


@dataclass(slots=True)
class _Totals:
    """Counts of one model."""

    rows: int = 0
    errors: int = 0
    buckets: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(_BUCKETS), np.int64))
    durations_ns: int = 0


class ResultCounters:
    """Sums since the first start of the service, safe to feed and read from several threads.

    A model that is silent for `SILENCE_NS` is forgotten by `expire`; should it come back, it counts from zero again.

    They go on over a restart: state of a snapshot, and what was journalled since counted once more, give the same sums.
    Silence is not journalled: a model that was forgotten and came back between a snapshot and a crash goes on where
    it was at the snapshot.

    Args:
        start_ns: Since when is counted, nanoseconds since the Unix epoch; 0 when unknown.
    """

    def __init__(self, start_ns: int) -> None:
        self.start_ns = start_ns
        self._lock = threading.Lock()
        self._totals: dict[ModelKey, _Totals] = {}
        self._heard: set[ModelKey] = set()
        self._heard_ns: dict[ModelKey, int] = {}
        self._begun: set[ModelKey] = set()
        self._asked_ns: int | None = None
        self._away_since_ns: int | None = None
        self._windows = _empty(*_GROUP, "result")
        self._features = _empty(*_GROUP, "feature")

    def add_predictions(
        self, key: ModelKey, rows: int, errors: int, duration_counts: npt.NDArray[np.int64], duration_sum_ns: int
    ) -> None:
        """Count predictions of one model.

        Args:
            key: The model.
            rows: Number of predictions.
            errors: How many of them failed.
            duration_counts: How many fell into each bucket, int64 of shape (len(DURATION_BOUNDS_SECONDS) + 1,).
            duration_sum_ns: Sum of their durations.
        """
        with self._lock:
            self._heard.add(key)
            totals = self._totals.setdefault(key, _Totals())
            totals.rows += rows
            totals.errors += errors
            totals.buckets = totals.buckets + duration_counts
            totals.durations_ns += duration_sum_ns

    def add_findings(self, findings: pl.DataFrame, features_max: int | None = None) -> int:
        """Count evaluated windows and the features that drifted in them.

        Args:
            findings: `FINDINGS_SCHEMA`; whole windows, each passed once, so no later revisions.
            features_max: Most counters of features that a model may have; where a window's new ones are too many, those
                that drifted get one as long as there is room. None is no limit.

        Returns:
            How many new counters of features there was no room for.
        """
        findings = findings.filter(pl.col("segment").fill_null("") == "").with_columns(pl.col(_IDENTITY).fill_null(""))
        windows = _count_windows(findings.filter(pl.col("method") == DECIDING))
        features = _count_features(findings)
        models = {ModelKey(*row) for row in windows.select(_IDENTITY).unique().rows()}
        with self._lock:
            self._heard |= models - self._heard_ns.keys()
            self._windows = _added(self._windows, windows)
            fitting = features if features_max is None else _fitting(self._features, features, features_max)
            self._features = _added(self._features, fitting)
        return features.height - fitting.height

    def points(self, timestamp_ms: int) -> pl.DataFrame:
        """All counters as points, stamped with `timestamp_ms`."""
        with self._lock:
            totals, windows, features = _total_points(self._totals), self._windows, self._features
        return _as_counters(totals, windows, features, timestamp_ms)

    def begin(self) -> pl.DataFrame:
        """Zeros for the predictions of models that are new since the last call, at time 0.

        A counter whose first sample is not zero hides from Prometheus what it begins with, and one that begins again
        above its last value hides that it did.
        """
        with self._lock:
            new = {key: _Totals() for key in self._totals if key not in self._begun}
            self._begun.update(new)
        return _as_counters(_total_points(new), _empty(*_GROUP, "result"), _empty(*_GROUP, "feature"), 0)

    def go_on(self) -> None:
        """Send no zeros for the models counted so far: they may have been sent before a restart.

        A zero between two values of a counter that goes on would look like a reset, and all of it like an increase.
        """
        with self._lock:
            self._begun.update(self._totals)

    def expire(self, now_ns: int) -> pl.DataFrame:
        """Forget the models that fell silent; returns a stale marker for each of their series, once, at time 0.

        To be called again and again: a prediction counts as made at the first call after it.

        Args:
            now_ns: Wall-clock time, nanoseconds since the Unix epoch.
        """
        with self._lock:
            if self._away_since_ns is not None:
                beyond_ns = max(0, now_ns - self._away_since_ns - AWAY_NS_MAX)
                self._heard_ns = {key: heard_ns + beyond_ns for key, heard_ns in self._heard_ns.items()}
                self._away_since_ns = None
            self._asked_ns = now_ns
            self._heard_ns.update(dict.fromkeys(self._heard, now_ns))
            self._heard.clear()
            silent = [key for key, heard_ns in self._heard_ns.items() if now_ns - heard_ns > SILENCE_NS]
            if not silent:
                return empty_points()
            for key in silent:
                del self._heard_ns[key]
            self._begun.difference_update(silent)
            totals = _total_points({key: self._totals.pop(key) for key in silent if key in self._totals})
            self._windows, windows = _parted(self._windows, silent)
            self._features, features = _parted(self._features, silent)
        return as_stale(_as_counters(totals, windows, features, 0))

    def state(self) -> Tree:
        """All of it, for `restore`."""
        with self._lock:
            totals = list(self._totals.values())
            return {
                "start_ns": self.start_ns,
                "asked_ns": self._asked_ns,
                "models": [list(key) for key in self._totals],
                "counts": [[each.rows, each.errors, each.durations_ns] for each in totals],
                "buckets": np.array([each.buckets for each in totals], np.int64).reshape(-1, len(_BUCKETS)),
                "heard": [list(key) for key in sorted(self._heard)],
                "heard_ns": [[*key, heard_ns] for key, heard_ns in self._heard_ns.items()],
                "begun": [list(key) for key in sorted(self._begun)],
                "windows": rows_of(self._windows),
                "features": rows_of(self._features),
            }

    def restore(self, tree: Tree) -> None:
        """Take over a state; counters that it has go on, and keep their start time.

        Raises:
            DamagedError: It is none.
        """
        stored = Stored(tree)
        models, counts = stored.keys("models"), stored.items("counts")
        buckets = stored.array("buckets", np.int64, len(models), len(_BUCKETS)).copy()
        if len(counts) != len(models):
            raise DamagedError("stored counters are not as many as their models")
        with self._lock:
            self.start_ns = stored.integer("start_ns")
            self._asked_ns = self._away_since_ns = stored.optional_integer("asked_ns")
            self._totals = {
                key: _stored_totals(numbers, row) for key, numbers, row in zip(models, counts, buckets, strict=True)
            }
            self._heard, self._begun = set(stored.keys("heard")), set(stored.keys("begun"))
            self._heard_ns = dict(map(_stored_time, stored.items("heard_ns")))
            self._windows = stored.frame("windows", self._windows.schema)
            self._features = stored.frame("features", self._features.schema)


def _stored_totals(tree: Tree, buckets: npt.NDArray[np.int64]) -> _Totals:
    match tree:
        case [int(rows), int(errors), int(durations_ns)]:
            return _Totals(rows, errors, buckets, durations_ns)
    raise DamagedError("stored counters are no integers")


def _stored_time(tree: Tree) -> tuple[ModelKey, int]:
    match tree:
        case [*key, int(time_ns)]:
            return model_key(key), time_ns
    raise DamagedError("stored counters have a time that is none")


def _empty(*labels: str) -> pl.DataFrame:
    return pl.DataFrame(schema={**dict.fromkeys(labels, pl.String), "value": pl.Int64})


def _added(sums: pl.DataFrame, more: pl.DataFrame) -> pl.DataFrame:
    """Both tables as one, values of equal labels added; the order of first appearance is kept."""
    labels = [name for name in sums.columns if name != "value"]
    both = pl.concat([sums, more.select(sums.columns)])
    return both.group_by(labels, maintain_order=True).agg(pl.col("value").sum())


def _fitting(sums: pl.DataFrame, more: pl.DataFrame, features_max: int) -> pl.DataFrame:
    """Those of `more` that are in `sums`, and of the others as many as a model may have, or that drifted."""
    labels = [name for name in more.columns if name != "value"]
    there = pl.col("taken").fill_null(0)
    new = (
        more.join(sums, on=labels, how="anti", maintain_order="left")
        .join(sums.group_by(_IDENTITY).len("taken"), on=_IDENTITY, how="left", maintain_order="left")
        .with_columns(room=features_max - there.cast(pl.Int64))
        .filter((pl.len().over(_IDENTITY) <= pl.col("room")) | (pl.col("value") > 0))
        .filter(pl.int_range(pl.len()).over(_IDENTITY) < pl.col("room"))
    )
    return pl.concat([more.join(sums, on=labels, how="semi", maintain_order="left"), new.select(more.columns)])


def _models(keys: Sequence[ModelKey]) -> pl.DataFrame:
    return pl.DataFrame(keys, schema=dict.fromkeys(_IDENTITY, pl.String), orient="row")


def _parted(sums: pl.DataFrame, keys: Sequence[ModelKey]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows of the other models, and those of these models."""
    models = _models(keys)
    return (
        sums.join(models, on=_IDENTITY, how="anti", maintain_order="left"),
        sums.join(models, on=_IDENTITY, how="semi", maintain_order="left"),
    )


def _as_counters(
    totals: pl.DataFrame, windows: pl.DataFrame, features: pl.DataFrame, timestamp_ms: int
) -> pl.DataFrame:
    """The three kinds of sums as points."""
    parts = (
        totals,
        windows.with_columns(metric=pl.lit("ml_evaluated_windows_total")),
        features.with_columns(metric=pl.lit("ml_feature_drifted_windows_total")),
    )
    return pl.concat([as_points(part.with_columns(timestamp_ms=pl.lit(timestamp_ms))) for part in parts])


def _count_windows(findings: pl.DataFrame) -> pl.DataFrame:
    """1 for the result of each window and 0 for the others, so that every series exists from its first window on."""
    detected = pl.col("detected")
    result = (
        pl.when(detected.any())
        .then(pl.lit("drifted"))
        .when(detected.is_not_null().any())
        .then(pl.lit("ok"))
        .when((pl.col("reason") == "insufficient").fill_null(False).all())
        .then(pl.lit("insufficient"))
        .otherwise(pl.lit("uncalibrated"))
    )
    windows = findings.group_by(*_GROUP, "window_index", maintain_order=True).agg(actual=result)
    every = windows.join(pl.DataFrame({"result": RESULTS}), how="cross")
    return every.with_columns(value=(pl.col("actual") == pl.col("result")).cast(pl.Int64))


def _count_features(findings: pl.DataFrame) -> pl.DataFrame:
    """1 for each feature and window with drift, 0 for those without."""
    features = findings.filter(pl.col("role") == "feature")
    drifted = features.group_by(*_GROUP, "window_index", "column", maintain_order=True).agg(
        value=pl.col("detected").fill_null(False).any().cast(pl.Int64)
    )
    return drifted.select(*_GROUP, feature=pl.col("column"), value="value")


def _total_points(by_model: Mapping[ModelKey, _Totals]) -> pl.DataFrame:
    """Predictions, errors and duration histogram of every model, without a time."""
    totals = list(by_model.values())
    cumulative = (
        np.cumsum([total.buckets for total in totals], axis=1) if totals else np.zeros((0, len(_BUCKETS)), np.int64)
    )
    columns: dict[tuple[str, str], Sequence[float] | npt.NDArray[np.int64]] = {
        ("ml_predictions_total", ""): [total.rows for total in totals],
        ("ml_inference_errors_total", ""): [total.errors for total in totals],
        ("ml_inference_duration_seconds_sum", ""): [total.durations_ns / _NS_PER_SECOND for total in totals],
        ("ml_inference_duration_seconds_count", ""): cumulative[:, -1],
        **{
            ("ml_inference_duration_seconds_bucket", bound): cumulative[:, index]
            for index, bound in enumerate(_BUCKETS)
        },
    }
    models = _models(list(by_model))
    return pl.concat(
        [
            models.with_columns(metric=pl.lit(metric), le=pl.lit(le), value=pl.Series(values, dtype=pl.Float64))
            for (metric, le), values in columns.items()
        ]
    )
