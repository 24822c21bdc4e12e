"""An embedding and a text from training data to an alarm: the commands, and the service that the same rows reach."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from components import wait_until
from otlp_samples import Scalar, array
from service_process import Metrics, driftmeter, run_service
from spans import identity, request_of, send

HOUR_NS = 3_600 * 10**9
START_NS = 1_700_000_000 // 86_400 * 86_400 * 10**9
ROWS_AN_HOUR, DAYS, HOURS, DIMENSIONS = 120, 9, 6, 24
WORDS = np.array([f"word{number}" for number in range(300)])
DRIFTED = ("vec.component_1", "vec.distance", "note.oov_ratio")


def rows_of(hours: int, seed: int, first_ns: int, *, drifted: bool) -> pl.DataFrame:
    """Vectors that move along their widest direction and texts with new words, beside a number that stays."""
    random = np.random.default_rng(seed)
    rows = hours * ROWS_AN_HOUR
    widths = np.concatenate(([4.0], np.ones(DIMENSIONS - 1)))
    vectors = random.normal(size=(rows, DIMENSIONS)) * widths + (6.0 if drifted else 0.0) * (widths > 1)
    notes = [" ".join(random.choice(WORDS, 6)) + (" neologism another" if drifted else "") for _ in range(rows)]
    times = pl.Series(first_ns + np.arange(rows) * (HOUR_NS // ROWS_AN_HOUR)).cast(pl.Datetime("ns", "UTC"))
    embedding = pl.Series(vectors.astype(np.float32), dtype=pl.Array(pl.Float32, DIMENSIONS))
    return pl.DataFrame({"time": times, "vec": embedding, "note": notes, "x": random.normal(size=rows)})


def send_rows(rows: pl.DataFrame, otlp: str) -> None:
    """All rows as spans."""
    spans: list[dict[str, Scalar]] = [
        {"ml.feature.vec": array(*row["vec"]), "ml.feature.note": row["note"], "ml.feature.x": row["x"]}
        for row in rows.to_dicts()
    ]
    for answer in send(otlp, request_of(spans, rows["time"].dt.epoch("ns"), identity("search"))):
        assert not answer.HasField("partial_success")


def done(*arguments: str | Path) -> str:
    """The output of a command that succeeds."""
    ran = driftmeter(*arguments)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[dict[str, Any]], Metrics, str]:
    """Findings by the command, and the metrics and log of a service that had the same rows."""
    folder = tmp_path_factory.mktemp("search")
    train, live, baseline = folder / "train.parquet", folder / "live.parquet", folder / "search.baseline.parquet"
    rows_of(DAYS * 24, 1, START_NS - DAYS * 24 * HOUR_NS, drifted=False).write_parquet(train)
    rows = rows_of(HOURS, 2, START_NS, drifted=True)
    rows.write_parquet(live)
    marks = ("--timestamp", "time", "--embedding", "vec", "--text", "note", "--model", "search", "--window", "1h")
    done("baseline", "build", "--data", train, "--out", baseline, *marks)
    output = done("analyze", "--reference", train, "--current", live, "--format", "json", "--whole-rows", *marks)
    config: dict[str, Any] = {
        "window": {"lengths": ["1h"], "clock": "data"},
        "baseline": {"files": [str(baseline)]},
        "attributes": {"embeddings": ["vec"]},
    }
    with run_service(config, folder) as service:
        send_rows(rows, service.otlp)
        # The last hour ends with a row of the next one.
        send_rows(rows_of(1, 3, START_NS + (HOURS + 1) * HOUR_NS, drifted=True)[:1], service.otlp)
        last = (START_NS + HOURS * HOUR_NS) / 1e9
        wait_until(
            "the last hour is on the page",
            lambda: last in service.metrics().values("ml_window_end_timestamp_seconds").values(),
        )
        return json.loads(output), service.metrics(), service.log_text()


def test_the_page_has_what_the_command_found(seen: tuple[list[dict[str, Any]], Metrics, str]) -> None:
    """The last window's scores of all columns are equal."""
    findings, metrics, _ = seen
    last = {
        each["column"]: each["value"]
        for each in findings
        if each["method"] == "jensen_shannon" and each["window_index"] == HOURS - 1
    }
    assert len(last) == 7 + 3 + 1
    for column, value in last.items():
        (found,) = metrics.values("ml_feature_drift_score", feature=column).values()
        assert found == value


def test_drift_is_found_where_it_is(seen: tuple[list[dict[str, Any]], Metrics, str]) -> None:
    """The embedding and the text have drifted, the number has not, and the model has."""
    findings, metrics, _ = seen
    for column in DRIFTED:
        assert set(metrics.values("ml_feature_drift_detected", feature=column).values()) == {1.0}
        verdicts = [each["detected"] for each in findings if each["column"] == column
                    and each["method"] in ("jensen_shannon", "wasserstein_normalised")]  # fmt: skip
        assert any(verdicts)
    assert set(metrics.values("ml_feature_drift_detected", feature="x").values()) == {0.0}
    assert set(metrics.values("ml_model_drift_detected").values()) == {1.0}


def test_all_columns_together_are_told_from_the_reference(seen: tuple[list[dict[str, Any]], Metrics, str]) -> None:
    """The classifier and the discrepancy of means see the embedding and the text, offline and live."""
    findings, metrics, _ = seen
    for method in ("domain_classifier", "maximum_mean_discrepancy"):
        own = [each for each in findings if each["method"] == method]
        assert len(own) == HOURS
        assert all(each["pvalue"] < 0.01 for each in own)
        (live,) = metrics.values("ml_model_drift_statistic", method=method).values()
        assert live == pytest.approx(own[-1]["value"], abs=0.1)


def test_nothing_is_said_of_columns_that_do_not_fit(seen: tuple[list[dict[str, Any]], Metrics, str]) -> None:
    """Raw texts and embeddings are what the baseline was made of."""
    _, _, log = seen
    assert "column without a baseline" not in log
    assert "columns do not fit" not in log
