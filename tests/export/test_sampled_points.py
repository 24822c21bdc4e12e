"""What samples say of a model: points, and the page of the oddest rows."""

import json
from datetime import UTC, datetime

import polars as pl
import pytest

from driftmeter.errors import ConfigError, DamagedError
from driftmeter.export.metrics import RESULT_METRICS
from driftmeter.export.points import POINTS_SCHEMA
from driftmeter.export.sampled import Anomalies, sampled_to_points
from driftmeter.model.anomalies import ANOMALIES_SCHEMA
from driftmeter.model.findings import FINDINGS_SCHEMA
from driftmeter.model.predictions import ModelKey
from driftmeter.model.stored import Stored

KEY = ModelKey("m", "1", "")
END = datetime(2025, 3, 1, 1, tzinfo=UTC)


def finding(method: str, value: float | None, role: str = "model") -> dict[str, object]:
    """One row of findings; what is not given is null."""
    names = dict.fromkeys(FINDINGS_SCHEMA)
    given = {"model": "m", "version": "1", "stage": "", "segment": "", "column": "", "window": "1h", "baseline": "file"}
    numbers = {"value": value, "noise_floor": 0.25, "effect": 0.5}
    return {**names, **given, **numbers, "role": role, "method": method}


def anomalies_of(key: ModelKey, window: str, scores: list[float]) -> pl.DataFrame:
    """Odd rows of one window."""
    return pl.DataFrame(
        [
            {
                **key._asdict(),
                "window": window,
                "window_start": datetime(2025, 3, 1, tzinfo=UTC),
                "window_end": END,
                "trace_id": f"{number:032x}",
                "time": datetime(2025, 3, 1, 0, number, tzinfo=UTC),
                "score": score,
                "limit": 0.6,
                "anomalous": score > 0.6,
            }
            for number, score in enumerate(scores)
        ],
        schema=ANOMALIES_SCHEMA,
    )


def test_each_method_has_its_points() -> None:
    """Statistic, noise floor and effect by method; the forest's share under a name of its own; nothing else."""
    rows = [finding("pca_reconstruction", 1.25), finding("isolation_forest", 0.01), finding("rows", 3.0)]
    rows += [finding("domain_classifier", None), finding("psi", 1.0, role="feature")]
    points = sampled_to_points(pl.DataFrame(rows, schema=FINDINGS_SCHEMA), 5)
    assert points.schema == POINTS_SCHEMA
    assert points.select("metric", "method", "baseline", "window", "value", "timestamp_ms").rows() == [
        ("ml_model_drift_statistic", "pca_reconstruction", "file", "1h", 1.25, 5),
        ("ml_model_drift_noise_floor", "pca_reconstruction", "file", "1h", 0.25, 5),
        ("ml_model_drift_noise_floor", "domain_classifier", "file", "1h", 0.25, 5),
        ("ml_model_drift_effect", "pca_reconstruction", "file", "1h", 0.5, 5),
        ("ml_model_drift_effect", "domain_classifier", "file", "1h", 0.5, 5),
        ("ml_anomalous_predictions_ratio", "", "", "1h", 0.01, 5),
    ]
    assert set(points["metric"]) <= {spec.prometheus_name for spec in RESULT_METRICS}


def test_no_findings_no_points() -> None:
    """A window without a sample has none."""
    assert sampled_to_points(FINDINGS_SCHEMA.to_frame(), 0).is_empty()


def test_the_page_has_the_last_window_of_each_length() -> None:
    """One object for each model and length, the rows as they came, times in ISO 8601."""
    anomalies = Anomalies()
    anomalies.publish(KEY, "1h", anomalies_of(KEY, "1h", [0.9]))
    anomalies.publish(KEY, "1h", anomalies_of(KEY, "1h", [0.8, 0.5]))
    anomalies.publish(KEY, "5m", ANOMALIES_SCHEMA.to_frame())
    (result,) = json.loads(anomalies.page({}))["results"]
    assert result == {
        "model": "m",
        "version": "1",
        "stage": "",
        "window": "1h",
        "window_start": "2025-03-01T00:00:00.000000000+00:00",
        "window_end": "2025-03-01T01:00:00.000000000+00:00",
        "limit": 0.6,
        "rows": [
            {"trace_id": "0" * 32, "time": "2025-03-01T00:00:00.000000000+00:00", "score": 0.8, "anomalous": True},
            {
                "trace_id": "0" * 31 + "1",
                "time": "2025-03-01T00:01:00.000000000+00:00",
                "score": 0.5,
                "anomalous": False,
            },
        ],
    }


def test_the_page_can_be_asked_for_some() -> None:
    """Any of the names narrows it down; an empty value is one; other names are refused with those there are."""
    anomalies = Anomalies()
    canary = ModelKey("m", "1", "canary")
    for key, window in ((KEY, "1h"), (KEY, "24h"), (canary, "1h"), (ModelKey("ä", "", ""), "1h")):
        anomalies.publish(key, window, anomalies_of(key, window, [0.7]))

    def asked(**query: str) -> list[tuple[str, str, str]]:
        return [(each["model"], each["stage"], each["window"]) for each in json.loads(anomalies.page(query))["results"]]

    assert asked(model="m", window="1h") == [("m", "", "1h"), ("m", "canary", "1h")]
    assert asked(stage="", model="m") == [("m", "", "1h"), ("m", "", "24h")]
    assert asked(model="ä") == [("ä", "", "1h")]
    assert asked(model="other") == []
    with pytest.raises(ConfigError, match="no parameter feature: there are model, version, stage, window"):
        anomalies.page({"feature": "x"})


def test_models_are_forgotten() -> None:
    """A silent model's rows go, of all its lengths; others stay."""
    anomalies = Anomalies()
    other = ModelKey("n", "", "")
    for key, window in ((KEY, "1h"), (KEY, "24h"), (other, "1h")):
        anomalies.publish(key, window, anomalies_of(key, window, [0.7]))
    anomalies.forget(KEY)
    assert [each["model"] for each in json.loads(anomalies.page({}))["results"]] == ["n"]


def test_state_comes_back() -> None:
    """After a restart the page says the same."""
    anomalies, restored = Anomalies(), Anomalies()
    anomalies.publish(KEY, "1h", anomalies_of(KEY, "1h", [0.8, 0.5]))
    anomalies.publish(KEY, "5m", ANOMALIES_SCHEMA.to_frame())
    state = Stored({"anomalies": anomalies.state()})
    restored.restore(state, "anomalies")
    assert restored.page({}) == anomalies.page({})
    with pytest.raises(DamagedError):
        restored.restore(Stored({"anomalies": [{"key": ["m", "1", ""], "window": "1h", "rows": None}]}), "anomalies")
