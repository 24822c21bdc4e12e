"""The real programs that tests talk to: where they are, and running them for the length of a `with` block.

`scripts/components.sh` builds them into a cache outside the tree. A test that needs one calls `require`: it gets the
path, or is skipped, or fails where the environment says `DRIFTMETER_REQUIRE=all`.
"""

import functools
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NoReturn

import httpx
import pytest
import yaml

from programs import LOOPBACK, Program, answers, free_port, running, wait_until

__all__ = [
    "ROOT",
    "Collector",
    "Program",
    "Prometheus",
    "PrometheusApi",
    "Series",
    "answers",
    "find",
    "free_port",
    "missing",
    "require",
    "run_collector",
    "run_prometheus",
    "running",
    "wait_until",
]

ROOT = Path(__file__).resolve().parent.parent
"""The repository's root."""

Name = Literal["otelcol", "prometheus", "promtool", "telemetrygen", "docker", "docker-compose"]


@functools.cache
def _built() -> dict[str, Path]:
    """Where `scripts/components.sh` puts each program, there or not."""
    script = ROOT / "scripts" / "components.sh"
    lines = subprocess.run([script, "--print"], check=True, capture_output=True, text=True).stdout.splitlines()
    return {name: Path(path) for name, _, path in (line.partition(" ") for line in lines)}


def find(name: Name) -> Path | None:
    """The program's path, or None when this machine does not have it."""
    if name == "docker":
        on_path = shutil.which("docker")
        return None if on_path is None else Path(on_path)
    path = _built()[name]
    return path if path.exists() else None


def require(name: Name) -> Path:
    """The program's path. Without it the test is skipped, or fails where DRIFTMETER_REQUIRE=all."""
    path = find(name)
    if path is None:
        missing(f"{name} is not on this machine: " + ("install docker" if name == "docker" else "run make components"))
    return path


def missing(reason: str) -> NoReturn:
    """Skips the test for this reason, or fails it where DRIFTMETER_REQUIRE=all."""
    if os.environ.get("DRIFTMETER_REQUIRE") == "all":
        pytest.fail(f"{reason}; DRIFTMETER_REQUIRE=all allows no skipping", pytrace=False)
    pytest.skip(reason)


@dataclass(frozen=True, slots=True)
class Collector:
    """A real Collector that runs.

    Attributes:
        program: The process and its log.
        grpc: `host:port` of its OTLP/gRPC receiver.
        http: `http://host:port` of its OTLP/HTTP receiver, whether the configuration has one or not.
        prometheus_url: Where its `prometheus` exporter offers metrics, if the configuration has one.
        own_metrics_url: Where its own `otelcol_*` metrics are.
    """

    program: Program
    grpc: str
    http: str
    prometheus_url: str
    own_metrics_url: str

    def own_metric(self, name: str, **labels: str) -> float:
        """Sum over the samples of one of its own metrics whose labels include these; 0 when there are none.

        Counters have no `_total` here. A label's value may be the start of it: `exporter="otlp_grpc"` finds
        `otlp_grpc/driftmeter`.
        """
        text = httpx.get(self.own_metrics_url, timeout=5, trust_env=False).text
        wanted = [f'{key}="{value}' for key, value in labels.items()]
        lines = (line for line in text.splitlines() if line.startswith((name + "{", name + " ")))
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if all(label in line for label in wanted))


@dataclass(frozen=True, slots=True)
class _CollectorPorts:
    grpc: int
    http: int
    prometheus: int
    own_metrics: int
    health: int


def _on_free_ports(config: dict[str, Any], ports: _CollectorPorts, storage: Path) -> dict[str, Any]:
    """Changes a Collector configuration in place so that it listens on these ports and stores in this directory."""
    protocols = config["receivers"]["otlp"]["protocols"]
    for protocol, port in (("grpc", ports.grpc), ("http", ports.http)):
        if protocol in protocols:
            protocols[protocol] = {**(protocols[protocol] or {}), "endpoint": f"{LOOPBACK}:{port}"}
    extensions: dict[str, Any] = config.setdefault("extensions", {})
    extensions["health_check"] = {"endpoint": f"{LOOPBACK}:{ports.health}"}
    for name, settings in extensions.items():
        if name.partition("/")[0] == "file_storage":
            extensions[name] = {**(settings or {}), "directory": str(storage), "create_directory": True}
    for name, settings in config.get("exporters", {}).items():
        if name.partition("/")[0] == "prometheus":
            settings["endpoint"] = f"{LOOPBACK}:{ports.prometheus}"
    service = config["service"]
    service["extensions"] = sorted({*service.get("extensions", []), "health_check"})
    reader = {"pull": {"exporter": {"prometheus": {"host": LOOPBACK, "port": ports.own_metrics}}}}
    service.setdefault("telemetry", {}).setdefault("metrics", {})["readers"] = [reader]
    return config


@contextmanager
def run_collector(
    config: str | Path, directory: Path, *, env: Mapping[str, str] | None = None, grpc_port: int | None = None
) -> Iterator[Collector]:
    """Runs a real Collector with this configuration until the block ends; ready when entered.

    Everything else as written, but it listens on free loopback ports, keeps its `file_storage` under `directory`,
    and answers health checks. Two runs with one `directory` share the queue, as a restart does.

    Args:
        config: The configuration as YAML text, or the file holding it.
        directory: An existing directory for the changed configuration, the log and the queue.
        env: Environment variables that the configuration asks for.
        grpc_port: Port of the OTLP/gRPC receiver; a free one when None.
    """
    binary = require("otelcol")
    text = config.read_text() if isinstance(config, Path) else config
    ports = _CollectorPorts(grpc_port or free_port(), *(free_port() for _ in range(4)))
    changed = _on_free_ports(yaml.safe_load(text), ports, directory / "collector-storage")
    file = directory / "collector.yaml"
    file.write_text(yaml.safe_dump(changed))
    health = f"http://{LOOPBACK}:{ports.health}/"
    command: list[str | Path] = [binary, "--config", file]
    with running(command, directory / "collector.log", lambda: answers(health), env) as program:
        yield Collector(
            program,
            grpc=f"{LOOPBACK}:{ports.grpc}",
            http=f"http://{LOOPBACK}:{ports.http}",
            prometheus_url=f"http://{LOOPBACK}:{ports.prometheus}/metrics",
            own_metrics_url=f"http://{LOOPBACK}:{ports.own_metrics}/metrics",
        )


@dataclass(frozen=True, slots=True)
class Series:
    """One series of a query's answer.

    Attributes:
        labels: Its labels, `__name__` included where the query keeps it.
        samples: (Unix seconds, value) in time order; exactly one for an instant query. Values are exact doubles.
    """

    labels: Mapping[str, str]
    samples: tuple[tuple[float, float], ...]

    @property
    def value(self) -> float:
        """The newest sample's value."""
        return self.samples[-1][1]


def _samples(result: dict[str, Any]) -> tuple[tuple[float, float], ...]:
    """Samples of one series of an answer: `values` of a range query, else the one `value`."""
    return tuple((float(at), float(value)) for at, value in result.get("values") or [result["value"]])


@dataclass(frozen=True, slots=True)
class PrometheusApi:
    """The HTTP API of a Prometheus at `url` (no slash at the end)."""

    url: str

    def query(self, expression: str, time: float | None = None) -> list[Series]:
        """Answer of an instant query; `time` in Unix seconds, now when None."""
        return self._series("query", {"query": expression, **({} if time is None else {"time": repr(time)})})

    def query_range(self, expression: str, start: float, end: float, step_seconds: float) -> list[Series]:
        """Answer of a range query; times in Unix seconds."""
        span = {"start": repr(start), "end": repr(end), "step": repr(step_seconds)}
        return self._series("query_range", {"query": expression, **span})

    def _series(self, endpoint: str, parameters: dict[str, str]) -> list[Series]:
        answer = httpx.post(f"{self.url}/api/v1/{endpoint}", data=parameters, timeout=30, trust_env=False)
        body = answer.json()
        assert body["status"] == "success", f"{parameters['query']}: {body}"
        result = body["data"]["result"]
        if body["data"]["resultType"] == "scalar":
            result = [{"metric": {}, "value": result}]
        return [Series(one["metric"], _samples(one)) for one in result]


@dataclass(frozen=True, slots=True)
class Prometheus(PrometheusApi):
    """A real Prometheus that runs."""

    program: Program

    @property
    def write_url(self) -> str:
        """Where it takes remote write."""
        return f"{self.url}/api/v1/write"

    @property
    def otlp_url(self) -> str:
        """Where it takes OTLP metrics over HTTP."""
        return f"{self.url}/api/v1/otlp/v1/metrics"


@contextmanager
def run_prometheus(directory: Path, config: str | Path = "{}", *, port: int | None = None) -> Iterator[Prometheus]:
    """Runs a real Prometheus until the block ends; ready when entered.

    It takes remote write and OTLP, keeps 20 years so that replays of old data stay, and scrapes nothing unless
    `config` says so.

    Args:
        config: Its configuration as YAML text, or the file holding it.
        directory: An existing directory for data and log. Two runs with one `directory` share the data.
        port: Port to listen on; a free one when None.
    """
    binary = require("prometheus")
    file = directory / "prometheus.yml"
    if isinstance(config, Path):
        file = config
    else:
        file.write_text(config)
    url = f"http://{LOOPBACK}:{port or free_port()}"
    command: list[str | Path] = [
        binary,
        f"--config.file={file}",
        f"--storage.tsdb.path={directory / 'prometheus-data'}",
        "--storage.tsdb.retention.time=20y",
        f"--web.listen-address={url.removeprefix('http://')}",
        "--web.enable-remote-write-receiver",
        "--web.enable-otlp-receiver",
        "--enable-feature=exemplar-storage",
    ]
    with running(command, directory / "prometheus.log", lambda: answers(f"{url}/-/ready")) as program:
        yield Prometheus(url, program)
