"""What `driftmeter serve` does when something around it is missing or wrong."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components import free_port, run_collector, run_prometheus, wait_until
from driftmeter.clock import SystemClock
from end_to_end.test_replay_through_real_components import collector_config, forwarded_samples
from metrics_sink import metrics_sink
from programs import LOOPBACK
from service_process import assert_ledger_holds, driftmeter, refused_start, run_service
from spans import identity, requests_of, send

ROWS = 400
KEY = b"driftmeter.baseline"


def rows(seed: int, height: int = ROWS) -> pl.DataFrame:
    """Rows of a model with one number and one category."""
    random = np.random.default_rng(seed)
    return pl.DataFrame({"size": random.normal(size=height), "colour": random.choice(["red", "blue"], height)})


def live_requests(seed: int, columns: pl.DataFrame | None = None) -> Iterator[bytes]:
    """Requests of rows that end now; each seed has ids of its own."""
    table = rows(seed) if columns is None else columns
    now_ns = SystemClock().now_ns()
    return requests_of(
        table.select(pl.all().name.prefix("ml.feature.")), [now_ns] * table.height, identity("prices"), 100, seed * ROWS
    )


@pytest.fixture(scope="module")
def baseline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A baseline file of that model."""
    directory = tmp_path_factory.mktemp("baseline")
    rows(0, 2_000).write_parquet(directory / "rows.parquet")
    out = directory / "prices.parquet"
    done = driftmeter("baseline", "build", "--data", directory / "rows.parquet", "--model", "prices", "--out", out)
    assert done.returncode == 0, done.stderr
    return out


def config_with(baseline: Path, **export: Any) -> dict[str, Any]:
    """A service for live traffic with a small window by rows."""
    scrape = {"listen": f"{LOOPBACK}:{free_port()}"}
    return {
        "window": {"lengths": ["200rows"]},
        "baseline": {"files": [str(baseline)]},
        "export": {"interval": "500ms", "scrape": scrape, **export},
    }


def test_destinations_may_appear_later(tmp_path: Path, baseline: Path) -> None:
    """With neither Prometheus nor Collector there the service serves; once they appear they get what they missed."""
    prometheus_port, collector_port = free_port(), free_port()
    destinations = {
        "remote_write": {"url": f"http://{LOOPBACK}:{prometheus_port}/api/v1/write"},
        "otlp": {"endpoint": f"{LOOPBACK}:{collector_port}"},
    }
    with metrics_sink(free_port()) as sink, run_service(config_with(baseline, **destinations), tmp_path) as service:
        send(service.otlp, *live_requests(1))
        wait_until("samples wait", lambda: service.metrics().total("driftmeter_queue_samples") > 0)
        wait_until("it tries again", lambda: service.metrics().total("driftmeter_export_retries_total") > 2)
        assert service.metrics().total("ml_predictions_total") == ROWS
        absent_until = SystemClock().now_ns() / 1e9
        with (
            run_prometheus(tmp_path, port=prometheus_port) as prometheus,
            run_collector(collector_config(sink.endpoint), tmp_path, grpc_port=collector_port),
        ):
            query = "ml_feature_drift_score[1h]"
            wait_until("Prometheus has scores", lambda: bool(prometheus.query(query)))
            wait_until("the Collector has forwarded some", lambda: bool(sink.requests()))
            first = min(time for series in prometheus.query(query) for time, _ in series.samples)
            assert first < absent_until, "what was evaluated while Prometheus was absent is not lost"
            assert min(time_ms for _, time_ms in forwarded_samples(sink)) / 1e3 < absent_until
            send(service.otlp, *live_requests(2))
            total = 'last_over_time(ml_predictions_total{model="prices"}[1m])'
            wait_until("both batches are counted", lambda: [s.value for s in prometheus.query(total)] == [2 * ROWS])
            metrics = service.metrics()
            assert metrics.total("driftmeter_samples_dropped_total") == 0
            assert_ledger_holds(metrics)
            service.stop()


def test_truncated_baseline_is_refused(tmp_path: Path, baseline: Path) -> None:
    """Half of a baseline file: exit 2, and a message that names the file and says to build it again."""
    half = tmp_path / "half.parquet"
    content = baseline.read_bytes()
    half.write_bytes(content[: len(content) // 2])
    refused = refused_start(config_with(half), tmp_path)
    assert refused.returncode == 2
    assert str(half) in refused.stderr
    assert "damaged" in refused.stderr
    assert "driftmeter baseline build" in refused.stderr


def test_baseline_of_a_newer_format_is_refused(tmp_path: Path, baseline: Path) -> None:
    """A file from a later release: exit 2, and a message with both format numbers and the way out."""
    newer = tmp_path / "newer.parquet"
    table = pq.read_table(baseline)
    header = json.loads(table.schema.metadata[KEY])
    changed = {KEY: json.dumps({**header, "format": 99}).encode()}
    pq.write_table(table.replace_schema_metadata(changed), newer)
    refused = refused_start(config_with(newer), tmp_path)
    assert refused.returncode == 2
    assert f"{newer}: written in baseline format 99" in refused.stderr
    assert "upgrade driftmeter" in refused.stderr


def test_changed_baseline_is_refused(tmp_path: Path, baseline: Path) -> None:
    """A file whose content was changed does not match its hash: exit 2."""
    edited = tmp_path / "edited.parquet"
    table = pq.read_table(baseline)
    missing = table.column("missing").to_pylist()
    place = table.schema.get_field_index("missing")
    field = table.schema.field("missing")
    changed = table.set_column(place, field, pa.array([value + 1 for value in missing], field.type))
    pq.write_table(changed.replace_schema_metadata(table.schema.metadata), edited)
    refused = refused_start(config_with(edited), tmp_path)
    assert refused.returncode == 2
    assert f"{edited}: the content does not match its hash" in refused.stderr


def test_absent_baseline_is_refused(tmp_path: Path) -> None:
    """A file that is not there: exit 2, and a message that says how to make it."""
    refused = refused_start(config_with(tmp_path / "none.parquet"), tmp_path)
    assert refused.returncode == 2
    assert "there is no such baseline file" in refused.stderr


def test_all_mistakes_of_a_configuration_are_reported_at_once(tmp_path: Path) -> None:
    """Three mistakes: exit 2, each with its place in the file."""
    config = {"ingest": {"lisen": "x"}, "window": {"clock": "tomorrow"}, "detect": {"level": 2}}
    refused = refused_start(config, tmp_path)
    assert refused.returncode == 2
    assert "3 mistakes" in refused.stderr
    for place in ("ingest.lisen", "window.clock", "detect.level"):
        assert place in refused.stderr


def test_baseline_for_other_columns_is_no_reason_to_stop(tmp_path: Path, baseline: Path) -> None:
    """Spans with none of the baseline's columns: said once a column, counted as missing, and the service goes on."""
    other = rows(3).rename({"size": "weight", "colour": "shape"})
    with run_service(config_with(baseline), tmp_path) as service:
        send(service.otlp, *live_requests(3, other), *live_requests(4, other))
        metrics = service.metrics()
        missing = metrics.values("ml_feature_missing_ratio")
        assert {dict(labels)["feature"]: value for labels, value in missing.items()} == {"size": 1.0, "colour": 1.0}
        assert metrics.values("ml_feature_drift_score") == {}
        assert metrics.total("driftmeter_rows_total", outcome="counted") == 2 * ROWS
        assert_ledger_holds(metrics)
        service.stop()
        said = [line for line in service.log_text().splitlines() if "column without a baseline" in line]
        assert len(said) == 2
        assert {word for line in said for word in line.split() if word.startswith("column=")} == {
            "column=feature.weight",
            "column=feature.shape",
        }


@pytest.mark.parametrize("setting", ["ingest.grpc", "ingest.http", "export.scrape"])
def test_port_in_use_is_refused(tmp_path: Path, setting: str) -> None:
    """A second service on a port of the first: exit 2, and a message with the setting and the address."""
    with run_service({}, tmp_path) as service:
        addresses = {"ingest.grpc": service.otlp, "ingest.http": service.otlp_http}
        address = addresses.get(setting) or service.pages.removeprefix("http://")
        part, _, where = setting.partition(".")
        second = {part: {where: {"listen": address}}}
        (tmp_path / "second").mkdir()
        refused = refused_start(second, tmp_path / "second")
        assert refused.returncode == 2
        assert f"cannot listen on {address}" in refused.stderr
        assert f"{setting}.listen" in refused.stderr
        assert "Traceback" not in refused.stderr
        service.stop()


def test_listening_for_other_machines_needs_to_be_meant(tmp_path: Path) -> None:
    """An address beyond loopback without `insecure: true`: exit 2, and a message that says what to write."""
    refused = refused_start({"ingest": {"grpc": {"listen": "0.0.0.0:0"}}}, tmp_path)  # Refused.
    assert refused.returncode == 2
    assert "write insecure: true" in refused.stderr


def test_stopping_without_its_destinations_is_quick_and_said(tmp_path: Path, baseline: Path) -> None:
    """With Prometheus absent for good, a stop gives up after its grace time, says so and exits 0."""
    destination = {"remote_write": {"url": f"http://{LOOPBACK}:{free_port()}/api/v1/write"}}
    with run_service(config_with(baseline, **destination), tmp_path) as service:
        send(service.otlp, *live_requests(1))
        started = SystemClock().monotonic_seconds()
        service.stop()
        assert SystemClock().monotonic_seconds() - started < 15
        assert "samples undelivered" in service.log_text()
