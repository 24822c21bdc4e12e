"""`driftmeter doctor`: what it finds, what it advises, and with what exit code."""

import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from driftmeter.baseline.build import build_baseline
from driftmeter.baseline.data import ColumnOptions, to_dataset
from driftmeter.baseline.derived_rows import DerivedRows
from driftmeter.baseline.file import write_baseline
from driftmeter.clock import SystemClock
from driftmeter.config import Config
from driftmeter.doctor import Checkup, Doctor, State
from driftmeter.journal.archive_layout import HOUR_NS, file_name, hour_path
from driftmeter.journal.archive_rows import by_hour, joined, parquet_of
from driftmeter.model.predictions import ModelKey
from rows import DAY_NS, dataset, predictions
from service_process import driftmeter, run_service

START_NS = 20_000 * DAY_NS


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _config(tmp_path: Path, **parts: Any) -> Config:
    """A configuration on ports that are free."""
    listens = [f"127.0.0.1:{_free_port()}" for _ in range(3)]
    tree: dict[str, Any] = {
        "ingest": {"grpc": {"listen": listens[0]}, "http": {"listen": listens[1]}},
        "export": {"scrape": {"listen": listens[2]}},
        "journal": {"directory": str(tmp_path / "state"), "min_free_bytes": 0},
    }
    for name, part in parts.items():
        tree[name] = tree.get(name, {}) | part
    return Config.model_validate(tree)


def _look(config: Config) -> dict[str, Checkup]:
    return {each.what: each for each in Doctor(config, SystemClock()).look()}


@contextmanager
def _answering(status: int) -> Iterator[str]:
    """An HTTP server that answers every request so."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/api/v1/write"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_nothing_runs_and_nothing_is_in_the_way(tmp_path: Path) -> None:
    """Ports are free, the disk has room: that the service does not run is a note."""
    found = _look(_config(tmp_path))
    assert found["service"].state is State.NOTE
    assert found["disk"].state is State.OK
    assert [found[f"port {name}"].state for name in ("OTLP/gRPC", "OTLP/HTTP", "/metrics")] == [State.OK] * 3
    assert not (tmp_path / "state").exists()


def test_a_port_in_use_is_a_problem(tmp_path: Path) -> None:
    """With its name, its address, and what to do."""
    config = _config(tmp_path)
    assert config.ingest.grpc.listen is not None
    port = int(config.ingest.grpc.listen.rpartition(":")[2])
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        found = _look(config)["port OTLP/gRPC"]
    assert found.state is State.PROBLEM
    assert str(port) in found.said
    assert "stop what uses it" in found.to_do


def test_a_full_disk_is_a_problem(tmp_path: Path) -> None:
    """Less room than the service needs to take data."""
    found = _look(_config(tmp_path, journal={"min_free_bytes": 1 << 60}))["disk"]
    assert found.state is State.PROBLEM
    assert "min_free_bytes" in found.to_do


def test_destinations_that_do_not_answer(tmp_path: Path) -> None:
    """The Collector and Prometheus, each by itself."""
    endpoint, url = f"127.0.0.1:{_free_port()}", f"http://127.0.0.1:{_free_port()}/api/v1/write"
    found = _look(_config(tmp_path, export={"otlp": {"endpoint": endpoint}, "remote_write": {"url": url}}))
    assert found["Collector"].state is State.PROBLEM
    assert endpoint in found["Collector"].said
    assert found["Prometheus"].state is State.PROBLEM
    assert url in found["Prometheus"].said


@pytest.mark.parametrize(
    ("status", "state", "to_do"),
    [
        (204, State.OK, ""),
        (404, State.PROBLEM, "--web.enable-remote-write-receiver"),
        (401, State.PROBLEM, "bearer_token_file"),
        (500, State.PROBLEM, "look into its log"),
    ],
)
def test_what_prometheus_answers_says_what_to_do(tmp_path: Path, status: int, state: State, to_do: str) -> None:
    """Each refusal has its own advice."""
    with _answering(status) as url:
        found = _look(_config(tmp_path, export={"remote_write": {"url": url}}))["Prometheus"]
    assert found.state is state
    assert to_do in found.to_do


def test_baselines_are_read(tmp_path: Path) -> None:
    """A good one is named with what it is for, a damaged one with what is wrong, one without times with a note."""
    times = (START_NS + np.arange(100) * HOUR_NS).astype("datetime64[ns]")
    good = build_baseline(dataset({"time": times, "x": np.arange(100.0)}, "time"), "price", "3", [])
    write_baseline(good, tmp_path / "good.parquet")
    write_baseline(build_baseline(dataset({"x": np.arange(100.0)}), "plain", "", []), tmp_path / "plain.parquet")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1")
    config = _config(tmp_path, baseline={"files": [str(tmp_path / "*.parquet")]})
    broken, fine, plain = (each for each in Doctor(config, SystemClock()).look() if each.what == "baseline")
    assert broken.state is State.PROBLEM
    assert "broken.parquet" in broken.said
    assert fine.state is State.OK
    assert "model price version 3, 100 rows, 1 columns" in fine.said
    assert plain.state is State.NOTE
    seasonal = config.baseline.model_copy(update={"references": _seasonal()})
    found = list(Doctor(config.model_copy(update={"baseline": seasonal}), SystemClock()).look())
    assert "--seasonal hour-of-week" in next(each.to_do for each in found if "model price" in each.said)


def _seasonal() -> object:
    return Config.model_validate({"baseline": {"references": [{"seasonal": "hour-of-week"}]}}).baseline.references


def _archive(state: Path, key: ModelKey, columns: Mapping[str, list[Any]]) -> None:
    table = joined([predictions([START_NS] * 2, columns, key=key).rows])
    for each in by_hour(table):
        path = hour_path(state / "archive", key, each.hour)
        path.mkdir(parents=True)
        (path / file_name(1, 1)).write_bytes(parquet_of(key, each.rows))


def test_live_columns_are_held_against_the_baseline(tmp_path: Path) -> None:
    """What is missing, new or of another kind is said, and which models have no baseline."""
    data = dataset({"age": [1.0, 2.0], "town": ["a", "b"], "fare": [1.0, 2.0]})
    write_baseline(build_baseline(data, "price", "", []), tmp_path / "price.parquet")
    config = _config(tmp_path, baseline={"files": [str(tmp_path / "price.parquet")]})
    fitting: dict[str, list[Any]] = {"age": [1.0, 2.0], "town": ["a", None], "fare": [None, 2.0]}
    _archive(tmp_path / "state", ModelKey("price", "1", ""), fitting)
    _archive(
        tmp_path / "state", ModelKey("price", "2", ""), {"age": ["old", "new"], "town": ["a", "b"], "sex": [1.0, 2.0]}
    )
    _archive(tmp_path / "state", ModelKey("other", "", "canary"), {"x": [1.0, 2.0]})
    found = _look(config)
    assert found["model price version 1"].state is State.OK
    unfit = found["model price version 2"]
    assert unfit.state is State.PROBLEM
    assert "in the baseline and missing live: feature fare" in unfit.said
    assert "live and not in the baseline: feature sex" in unfit.said
    assert "feature age (numeric there, categorical live)" in unfit.said
    assert found["model other canary"].state is State.PROBLEM
    assert "--from-archive other" in found["model other canary"].to_do


def test_texts_and_embeddings_are_held_against_the_baseline_as_they_are_sent(tmp_path: Path) -> None:
    """Raw columns fit numbers that the baseline has made of them; an embedding that is not marked is a problem."""
    vectors = pl.Series(np.random.default_rng(1).normal(size=(40, 3)).tolist(), dtype=pl.List(pl.Float64))
    frame = pl.DataFrame({"vec": vectors, "note": ["a b", "c d"] * 20, "x": np.arange(40.0)})
    rows = to_dataset(frame, ColumnOptions.of(embeddings=["vec"]), "rows")
    write_baseline(build_baseline(DerivedRows.of_reference(rows, ["note"]), "m", "", []), tmp_path / "m.parquet")
    files = {"files": [str(tmp_path / "m.parquet")]}
    live = {"vec": pa.array([[1.0, 2.0, 3.0], None], pa.list_(pa.float64())), "note": ["a", "b"], "x": [1.0, 2.0]}
    _archive(tmp_path / "state", ModelKey("m", "", ""), live)
    found = _look(_config(tmp_path, baseline=files, attributes={"embeddings": ["v*"]}))
    assert found["model m"].state is State.OK, found["model m"].said
    found = _look(_config(tmp_path, baseline=files))
    assert found["baseline"].state is State.PROBLEM
    assert "attributes.embeddings does not name vec" in found["baseline"].said


def test_a_running_service_counts_a_span(tmp_path: Path) -> None:
    """The whole way, by the command: exit code 0, and JSON for scripts; then 1 when something is wrong."""
    listens = {name: f"127.0.0.1:{_free_port()}" for name in ("grpc", "http", "scrape")}
    config = {
        "ingest": {"grpc": {"listen": listens["grpc"]}, "http": {"listen": listens["http"]}},
        "export": {"scrape": {"listen": listens["scrape"]}},
    }
    with run_service(config, tmp_path) as service:
        done = driftmeter("doctor", "--config", tmp_path / "driftmeter.yaml", "--json")
        found = {each["what"]: each for each in json.loads(done.stdout)}
        assert found["a span"]["state"] == "ok", found
        assert found["service"]["said"] == "is running and ready"
        assert done.returncode == 0, found
        assert service.metrics().total("driftmeter_spans_total", outcome="ignored") == 1
    (tmp_path / "bad.yaml").write_text("baseline: {files: [nowhere.parquet]}\njournal: {directory: null}\n")
    done = driftmeter("doctor", "--config", tmp_path / "bad.yaml")
    assert done.returncode == 1
    assert "nowhere.parquet" in done.stdout
