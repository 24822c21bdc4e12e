"""What samples of rows say of a model as a whole: points, and the oddest rows for `/api/v1/anomalies`."""

import json
import threading
from collections.abc import Mapping

import polars as pl
import polars.selectors as cs

from driftmeter.errors import ConfigError
from driftmeter.export.points import as_points
from driftmeter.methods.sampled import SAMPLED
from driftmeter.methods.sampled.isolation_forest import SPEC as FOREST
from driftmeter.model.anomalies import ANOMALIES_SCHEMA
from driftmeter.model.bundle import Tree
from driftmeter.model.predictions import ModelKey
from driftmeter.model.stored import Stored, frame_of, rows_of

PARAMETERS = ("model", "version", "stage", "window")
"""What `/api/v1/anomalies` can be asked for; all of what is not named."""

_GROUP = ("model", "version", "stage", "window")
_NUMBERS = {"statistic": "value", "noise_floor": "noise_floor", "effect": "effect"}


def sampled_to_points(findings: pl.DataFrame, timestamp_ms: int) -> pl.DataFrame:
    """Points of `ml_model_drift_*` with a method, and of `ml_anomalous_predictions_ratio`.

    Args:
        findings: `FINDINGS_SCHEMA`, at most one window per model and window length; rows of methods on samples count.
        timestamp_ms: Time of every point.
    """
    rows = findings.filter((pl.col("role") == "model") & pl.col("method").is_in(list(SAMPLED)))
    odd = pl.col("method") == FOREST.key
    drift = rows.filter(~odd).select(
        *_GROUP, "baseline", "method", **{f"ml_model_drift_{name}": number for name, number in _NUMBERS.items()}
    )
    share = rows.filter(odd).select(*_GROUP, ml_anomalous_predictions_ratio="value")
    points = [
        as_points(
            part.unpivot(on=cs.starts_with("ml_"), index=~cs.starts_with("ml_"), variable_name="metric").with_columns(
                timestamp_ms=pl.lit(timestamp_ms)
            )
        )
        for part in (drift, share)
    ]
    return pl.concat(points)


class Anomalies:
    """The oddest rows of each model's last window of each length. Thread-safe."""

    def __init__(self) -> None:
        self._frames: dict[tuple[ModelKey, str], pl.DataFrame] = {}
        self._lock = threading.Lock()

    def publish(self, key: ModelKey, window: str, anomalies: pl.DataFrame) -> None:
        """Take the place of what the window length had before; windows without a sample have none."""
        with self._lock:
            self._frames[key, window] = anomalies

    def forget(self, key: ModelKey) -> None:
        """A model that has fallen silent."""
        with self._lock:
            self._frames = {place: frame for place, frame in self._frames.items() if place[0] != key}

    def page(self, asked: Mapping[str, str]) -> str:
        """JSON, one object for each model and window length that is asked for; raises ConfigError for other questions.

        Args:
            asked: Values by name, `PARAMETERS`.
        """
        unknown = sorted(asked.keys() - set(PARAMETERS))
        if unknown:
            raise ConfigError(f"there is no parameter {', '.join(unknown)}: there are {', '.join(PARAMETERS)}")
        with self._lock:
            frames = [frame for frame in self._frames.values() if frame.height]
        found = (_as_object(frame) for frame in frames)
        chosen = [each for each in found if all(each[name] == value for name, value in asked.items())]
        return json.dumps({"results": chosen}, ensure_ascii=False, indent=1) + "\n"

    def state(self) -> Tree:
        """All of it, for `restore`."""
        with self._lock:
            return [
                {"key": list(key), "window": name, "rows": rows_of(each)} for (key, name), each in self._frames.items()
            ]

    def restore(self, stored: Stored, name: str) -> None:
        """Take over a state, a member of that name. Raises DamagedError when it is none."""
        frames = {
            (each.key("key"), each.text("window")): frame_of(each.rows("rows"), ANOMALIES_SCHEMA)
            for each in stored.objects(name)
        }
        with self._lock:
            self._frames = frames


def _as_object(frame: pl.DataFrame) -> dict[str, object]:
    """One window: what all its rows have in common, and the rows, the oddest first."""
    times = [pl.col(name).dt.to_string("iso:strict") for name in ("window_start", "window_end", "time")]
    rows = frame.with_columns(times).to_dicts()
    common = {name: rows[0][name] for name in (*_GROUP, "window_start", "window_end", "limit")}
    own = ("trace_id", "time", "score", "anomalous")
    return {**common, "rows": [{name: row[name] for name in own} for row in rows]}
