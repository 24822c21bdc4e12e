"""One service is sent everything it should not be sent, over its real port, and goes on."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import polars as pl
import pytest

from driftmeter.clock import SystemClock
from otlp_samples import Scalar, make_request, make_span, usual_request
from programs import wait_until
from service_process import ServiceProcess, assert_ledger_holds, driftmeter, run_service
from spans import channel_to, export_over, identity, request_of, send

MIB = 1024 * 1024
ROWS = 200


def reference() -> pl.DataFrame:
    """Rows that the baseline is built from."""
    random = np.random.default_rng(0)
    return pl.DataFrame({"size": random.normal(size=2_000), "colour": random.choice(["red", "blue"], 2_000)})


def request_now(rows: list[dict[str, Any]], model: str = "prices", seconds_ahead: int = 0) -> bytes:
    """A request of rows of features whose spans end now, or so far ahead."""
    keyed: list[Mapping[str, Scalar]] = [{f"ml.feature.{name}": value for name, value in row.items()} for row in rows]
    end_ns = SystemClock().now_ns() + seconds_ahead * 10**9
    return request_of(keyed, [end_ns] * len(rows), identity(model))


def refusal(service: ServiceProcess, request: bytes) -> grpc.StatusCode:
    """Status of a request that must not be taken."""
    with channel_to(service.otlp) as channel, pytest.raises(grpc.RpcError) as refused:
        export_over(channel, request)
    code: grpc.StatusCode = refused.value.code()
    return code


def test_service_survives_all_bad_input(tmp_path: Path) -> None:
    """Each bad input has its status or its counter; then good rows are counted and scored, and it stops well."""
    reference().write_parquet(tmp_path / "rows.parquet")
    baseline = tmp_path / "prices.parquet"
    built = driftmeter("baseline", "build", "--data", tmp_path / "rows.parquet", "--model", "prices", "--out", baseline)
    assert built.returncode == 0, built.stderr
    config = {"window": {"lengths": [f"{ROWS}rows"]}, "baseline": {"files": [str(baseline)]}}
    good = reference().head(ROWS).to_dicts()
    with run_service(config, tmp_path) as service:
        assert refusal(service, b"\xff" * 1_000) is grpc.StatusCode.INVALID_ARGUMENT
        assert refusal(service, usual_request(10)[:-1]) is grpc.StatusCode.INVALID_ARGUMENT
        large = make_request([make_span({"body": "x" * 65 * MIB})]).SerializeToString()
        assert refusal(service, large) is grpc.StatusCode.RESOURCE_EXHAUSTED
        (answer,) = send(service.otlp, request_now(good[:7], seconds_ahead=3_600))
        assert answer.partial_success.rejected_spans == 7
        (answer,) = send(service.otlp, request_now([{f"name_{number}": 1.0 for number in range(10_000)}], "flood"))
        assert not answer.HasField("partial_success")
        mixed: list[dict[str, Any]] = [
            {**good[0], "size": math.nan},
            {**good[1], "size": math.inf},
            {**good[2], "size": "large"},
            {"colour": "red"},
            {**good[3], "weight": 1.0},
            *good[5:ROWS],
        ]
        send(service.otlp, b"", request_now(good[:30], "unknown"), request_now([{}] * 5), request_now(mixed))
        wait_until("the window is scored", lambda: bool(service.metrics().values("ml_feature_drift_score")))
        metrics = service.metrics()
        results = {result: metrics.total("driftmeter_requests_total", result=result) for result in
                   ("malformed", "too_large", "partial", "ok")}  # fmt: skip
        assert results == {"malformed": 2, "too_large": 1, "partial": 1, "ok": 5}
        assert metrics.total("driftmeter_spans_total", outcome="rejected", reason="future") == 7
        assert metrics.total("driftmeter_spans_total", outcome="ignored", reason="not_feature_bearing") == 5
        assert metrics.total("driftmeter_spans_total", outcome="quarantined") == 0
        assert metrics.total("driftmeter_values_dropped_total", reason="too_many_columns") == 8_000
        assert metrics.total("driftmeter_pending_rows") == 31
        assert metrics.total("driftmeter_models_without_baseline") == 2
        assert metrics.total("ml_feature_type_mismatch_ratio", feature="size") == pytest.approx(1 / ROWS)
        assert metrics.total("ml_feature_missing_ratio", feature="size") == pytest.approx(2 / ROWS)
        assert len(metrics.values("ml_feature_drift_score", model="prices")) == 2
        assert_ledger_holds(metrics)
        service.stop()
        log = service.log_text()
        assert "level=error" not in log
        assert "column=feature.weight" in log
        assert log.count("model without a baseline") == 2
