"""Collectors in front of one service: the shipped configuration, a small journal, addresses that stay."""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import yaml

from chaos.programs_killed import Restarted, end_leftovers, lasting_port
from chaos.workload import PRICES, reference
from components import ROOT, require
from driftmeter.baseline.build import build_baseline
from driftmeter.baseline.data import ColumnOptions, to_dataset
from driftmeter.baseline.file import write_baseline
from driftmeter.config import Config
from programs import LOOPBACK, answers
from service_process import Metrics

LENGTHS = ("1m", "5m", "1h", "5000rows")
_CONFIG: dict[str, Any] = {
    "window": {"clock": "data", "lengths": list(LENGTHS), "allowed_lateness": "7d"},
    "baseline": {"learn_rows": 3_000},
    # Everything that happens by size or age happens often.
    "journal": {
        "segment_bytes": 256 * 1024,
        "segment_age": "5s",
        "snapshot_interval": "1s",
        "snapshot_bytes": 1024 * 1024,
        "min_free_bytes": 0,
        "archive": {"max_age": "3650d"},
    },
    "export": {"interval": "1s"},
}


class Ports:
    """Addresses by name, the same whenever a directory is used again.

    Args:
        directory: An existing directory.
    """

    def __init__(self, directory: Path) -> None:
        self._file = directory / "ports.json"
        self._ports: dict[str, int] = json.loads(self._file.read_text()) if self._file.exists() else {}

    def __getitem__(self, name: str) -> str:
        """`host:port`."""
        if name not in self._ports:
            self._ports[name] = lasting_port()
            self._file.write_text(json.dumps(self._ports))
        return f"{LOOPBACK}:{self._ports[name]}"


class Service:
    """`driftmeter serve` as `chaos.launcher` runs it.

    Args:
        directory: An existing directory for everything that it writes.
        parts: What its configuration has in place of the usual one, by part.
    """

    def __init__(self, directory: Path, parts: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        ports = Ports(directory)
        self.directory = directory
        self.otlp = ports["service-otlp"]
        self.pages = f"http://{ports['service-pages']}"
        self.evaluations = directory / "evaluations.ndjson"
        self.slow = directory / "slow.json"
        self.journal = directory / "journal"
        self.settings = self._settings(parts or {})
        self.config = Config.model_validate(self.settings)
        file = directory / "driftmeter.yaml"
        file.write_text(yaml.safe_dump(self.settings))
        env = {"CHAOS_EVALUATIONS": str(self.evaluations), "CHAOS_SLOW": str(self.slow), **_python_path()}
        command = [sys.executable, "-m", "chaos.launcher", "serve", "--config", str(file)]
        self.program = Restarted("service", command, directory, f"{self.pages}/readyz", env)

    @property
    def listening(self) -> bool:
        """Whether it answers at all, ready or not."""
        self.program.assert_alive()
        return answers(f"{self.pages}/healthz")

    def metrics(self) -> Metrics | None:
        """What `/metrics` says; None while it says nothing."""
        try:
            answer = httpx.get(f"{self.pages}/metrics", timeout=10, trust_env=False)
        except httpx.TransportError:
            return None
        return Metrics.parse(answer.text) if answer.status_code == httpx.codes.OK else None

    def slow_down(self, **seconds: float) -> None:
        """Make it slow from now on, as `chaos.launcher` understands it; without arguments, as fast as it can."""
        unfinished = self.slow.with_suffix(".unfinished")
        unfinished.write_text(json.dumps(seconds))
        unfinished.rename(self.slow)

    def _settings(self, parts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        baseline = self.directory / "prices.parquet"
        if not baseline.exists():
            data = to_dataset(reference(), ColumnOptions.of(predictions=["price"]), "rows")
            write_baseline(build_baseline(data, PRICES, "", ()), baseline)
        settings = {name: {**part, **parts.get(name, {})} for name, part in _CONFIG.items()}
        settings["ingest"] = {"grpc": {"listen": self.otlp}, "http": {"listen": None}, **parts.get("ingest", {})}
        settings["baseline"]["files"] = [str(baseline)]
        settings["journal"]["directory"] = str(self.journal)
        settings["export"]["scrape"] = {"listen": self.pages.removeprefix("http://")}
        return settings


class Collector:
    """A real Collector with the shipped configuration: its queue on disk, tried for ever; only batches are smaller.

    Args:
        directory: An existing directory for everything that it writes.
        endpoint: `host:port` of what it sends to.
        batch_spans: Most spans that it sends at a time, however they came.
        name: To tell it from others.
    """

    def __init__(self, directory: Path, endpoint: str, batch_spans: int = 270, name: str = "collector") -> None:
        binary = require("otelcol")
        ports = Ports(directory)
        self.grpc = ports[f"{name}-otlp"]
        health, self._own = ports[f"{name}-health"], ports[f"{name}-metrics"]
        storage = directory / f"{name}-storage"
        config = yaml.safe_load((ROOT / "collector-config" / "collector.yaml").read_text())
        config["receivers"]["otlp"]["protocols"] = {"grpc": {"endpoint": self.grpc}}
        config["extensions"]["health_check"]["endpoint"] = health
        exporter = config["exporters"]["otlp_grpc/driftmeter"]
        exporter["retry_on_failure"] |= {"initial_interval": "100ms", "max_interval": "1s"}
        exporter["sending_queue"]["batch"] |= {
            "min_size": batch_spans // 2,
            "max_size": batch_spans,
            "flush_timeout": "200ms",
        }
        del config["service"]["pipelines"]["metrics"], config["exporters"]["prometheus"]
        host, _, port = self._own.partition(":")
        reader = {"pull": {"exporter": {"prometheus": {"host": host, "port": int(port)}}}}
        config["service"]["telemetry"]["metrics"] = {"readers": [reader]}
        file = directory / f"{name}.yaml"
        file.write_text(yaml.safe_dump(config))
        env = {"DRIFTMETER_ENDPOINT": endpoint, "DRIFTMETER_COLLECTOR_STORAGE": str(storage)}
        self.program = Restarted(name, [binary, "--config", file], directory, f"http://{health}/", env)

    def own_metric(self, name: str) -> float:
        """Sum over one of its own metrics; 0 when it has none, or does not answer."""
        try:
            text = httpx.get(f"http://{self._own}/metrics", timeout=5, trust_env=False).text
        except httpx.TransportError:
            return 0.0
        lines = (line for line in text.splitlines() if line.startswith((name + "{", name + " ")))
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


def producer(name: str, command: list[str], directory: Path) -> Restarted:
    """A process of `chaos.producer`."""
    return Restarted(name, command, directory, env=_python_path())


def prepared(directory: Path) -> Path:
    """The directory, there, and without anything left running from an earlier use of it."""
    directory.mkdir(parents=True, exist_ok=True)
    end_leftovers(directory)
    return directory


def _python_path() -> dict[str, str]:
    path = [str(ROOT / "tests"), str(ROOT / "service"), os.environ.get("PYTHONPATH", "")]
    return {"PYTHONPATH": os.pathsep.join(filter(None, path))}
