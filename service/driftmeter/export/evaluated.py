"""What the pipeline hands over: one evaluated window of one model."""

from dataclasses import dataclass, field

import polars as pl

from driftmeter.errors import ConfigError, DamagedError
from driftmeter.export.points import (
    CLASSES_SCHEMA,
    QUALITY_SCHEMA,
    baseline_drift_to_points,
    classes_to_points,
    findings_to_points,
    quality_to_points,
    whole_rows_to_points,
    windows_to_points,
)
from driftmeter.export.sampled import sampled_to_points
from driftmeter.model.anomalies import ANOMALIES_SCHEMA
from driftmeter.model.bundle import Tree
from driftmeter.model.findings import FINDINGS_SCHEMA, MODEL_FINDINGS_SCHEMA
from driftmeter.model.predictions import ModelKey
from driftmeter.model.stored import Stored
from driftmeter.model.windows import WindowLength, parse_window


@dataclass(frozen=True, slots=True)
class EvaluatedWindow:
    """One window of one model after evaluation.

    Attributes:
        key: The model, version and stage.
        window: The window's length; its name is the `window` label.
        window_index: Number of the window; grows with time.
        start_ns: Start in event time, nanoseconds since the Unix epoch; None for rows without timestamps.
        end_ns: End in event time; None for rows without timestamps.
        revision: 0 at first evaluation, one more each time late rows change it.
        findings: `FINDINGS_SCHEMA`, rows of this window only.
        model: `MODEL_FINDINGS_SCHEMA`, of this window, the reference that alarms first.
        quality: `QUALITY_SCHEMA`, rows of this window only.
        classes: `CLASSES_SCHEMA`, rows of this window only.
        anomalies: `ANOMALIES_SCHEMA`, rows of this window only.
        segment: Label of the segment whose rows the window has; empty when it has all.
        share: Part of the series that the model may have which is this window's, 0 to 1.
    """

    key: ModelKey
    window: WindowLength
    window_index: int
    start_ns: int | None
    end_ns: int | None
    revision: int
    findings: pl.DataFrame = field(default_factory=FINDINGS_SCHEMA.to_frame)
    quality: pl.DataFrame = field(default_factory=QUALITY_SCHEMA.to_frame)
    classes: pl.DataFrame = field(default_factory=CLASSES_SCHEMA.to_frame)
    model: pl.DataFrame = field(default_factory=MODEL_FINDINGS_SCHEMA.to_frame)
    anomalies: pl.DataFrame = field(default_factory=ANOMALIES_SCHEMA.to_frame)
    segment: str = ""
    share: float = 1.0

    def points(self, timestamp_ms: int) -> pl.DataFrame:
        """All points of this window, `POINTS_SCHEMA`, stamped with `timestamp_ms`."""
        return pl.concat(
            [
                findings_to_points(self.findings, timestamp_ms),
                baseline_drift_to_points(self.findings, timestamp_ms),
                windows_to_points(self.model, timestamp_ms),
                whole_rows_to_points(self.findings, timestamp_ms),
                quality_to_points(self.quality, timestamp_ms),
                classes_to_points(self.classes, timestamp_ms),
                sampled_to_points(self.findings, timestamp_ms),
            ]
        )

    def state(self) -> dict[str, Tree]:
        """Which window it is, without its tables, for `from_state`."""
        return {
            "key": list(self.key),
            "window": self.window.name,
            "window_index": self.window_index,
            "start_ns": self.start_ns,
            "end_ns": self.end_ns,
            "revision": self.revision,
            "segment": self.segment,
        }

    @classmethod
    def from_state(cls, stored: Stored) -> "EvaluatedWindow":
        """The same window, its tables empty; raises DamagedError for what `state` never gives."""
        try:
            window = parse_window(stored.text("window"))
        except ConfigError as error:
            raise DamagedError(f"stored state has a window length that is none: {error}") from error
        return cls(
            stored.key("key"),
            window,
            stored.integer("window_index"),
            stored.optional_integer("start_ns"),
            stored.optional_integer("end_ns"),
            stored.integer("revision"),
            segment=stored.text("segment"),
        )
