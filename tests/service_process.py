"""`driftmeter serve` as a process of its own, for the length of a `with` block."""

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from programs import LOOPBACK, Program, answers, free_port, running

DRIFTMETER = (sys.executable, "-m", "driftmeter")
"""The command line under test."""

COMMAND_SECONDS = 120.0
"""How long a command may take; compiling all kernels anew is the longest part."""


@dataclass(frozen=True, slots=True)
class Metrics:
    """One reading of `/metrics`."""

    families: tuple[Metric, ...]

    @classmethod
    def parse(cls, text: str) -> "Metrics":
        """Of Prometheus' text format."""
        return cls(tuple(text_string_to_metric_families(text)))

    def values(self, name: str, **labels: str) -> dict[frozenset[tuple[str, str]], float]:
        """Values of the samples of this name whose labels include these, by all their labels."""
        wanted = labels.items()
        return {
            frozenset(sample.labels.items()): float(sample.value)
            for family in self.families
            for sample in family.samples
            if sample.name == name and wanted <= sample.labels.items()
        }

    def total(self, name: str, **labels: str) -> float:
        """Sum of these; 0 when there are none."""
        return sum(self.values(name, **labels).values())


@dataclass(frozen=True, slots=True)
class ServiceProcess:
    """A service that runs.

    Attributes:
        program: Its process and log.
        otlp: `host:port` that takes OTLP/gRPC.
        otlp_http: `host:port` that takes OTLP/HTTP; None when the configuration turns it off.
        pages: `http://host:port` of its pages.
    """

    program: Program
    otlp: str
    otlp_http: str | None
    pages: str

    def metrics(self) -> Metrics:
        """What `/metrics` says now."""
        answer = httpx.get(f"{self.pages}/metrics", timeout=10, trust_env=False)
        assert answer.status_code == httpx.codes.OK
        return Metrics.parse(answer.text)

    def log_text(self) -> str:
        """All it has logged so far."""
        return self.program.log_text()

    def stop(self) -> None:
        """Asks it to stop, as an orchestrator does (SIGTERM), and checks that it ended well."""
        assert self.program.stop() == 0, self.log_text()
        assert "message=stopped" in self.log_text()


def complete(config: Mapping[str, Any], directory: Path) -> dict[str, Any]:
    """The configuration, with free loopback ports and a directory for the journal where it names none."""
    export = dict(config.get("export", {}))
    export.setdefault("scrape", {"listen": f"{LOOPBACK}:{free_port()}"})
    ingest = dict(config.get("ingest", {}))
    for protocol in ("grpc", "http"):
        ingest.setdefault(protocol, {"listen": f"{LOOPBACK}:{free_port()}"})
    journal = {"directory": str(directory / "journal"), "min_free_bytes": 0, **config.get("journal", {})}
    return {**config, "ingest": ingest, "export": export, "journal": journal}


@contextmanager
def run_service(config: Mapping[str, Any], directory: Path) -> Iterator[ServiceProcess]:
    """Runs `driftmeter serve` with this configuration until the block ends; ready when entered.

    Args:
        config: As in the YAML file; free ports are taken unless it names some.
        directory: An existing directory for the configuration and the log.
    """
    whole = complete(config, directory)
    file = directory / "driftmeter.yaml"
    file.write_text(yaml.safe_dump(whole))
    pages = f"http://{whole['export']['scrape']['listen']}"
    command = [*DRIFTMETER, "serve", "--config", str(file)]
    with running(command, directory / "driftmeter.log", lambda: answers(f"{pages}/readyz")) as program:
        ingest = whole["ingest"]
        yield ServiceProcess(program, ingest["grpc"]["listen"], ingest["http"]["listen"], pages)


def driftmeter(*arguments: str | Path, timeout_seconds: float = COMMAND_SECONDS) -> subprocess.CompletedProcess[str]:
    """Runs a command of the command line to its end, output and errors kept apart."""
    command: Sequence[str | Path] = [*DRIFTMETER, *arguments]
    return subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=timeout_seconds, encoding="utf-8"
    )


def refused_start(config: Mapping[str, Any], directory: Path) -> subprocess.CompletedProcess[str]:
    """Runs `driftmeter serve` with a configuration that it must not start with."""
    file = directory / "driftmeter.yaml"
    file.write_text(yaml.safe_dump(complete(config, directory)))
    return driftmeter("serve", "--config", file)


def assert_ledger_holds(metrics: Metrics) -> None:
    """Every span that was received is accounted for, and every accepted row."""

    def spans(outcome: str) -> float:
        return metrics.total("driftmeter_spans_total", outcome=outcome)

    fates = sum(spans(outcome) for outcome in ("ignored", "rejected", "quarantined", "accepted"))
    assert spans("received") == metrics.total("driftmeter_in_flight_spans") + fates
    rows = metrics.total("driftmeter_pending_rows") + metrics.total("driftmeter_rows_total")
    assert spans("accepted") == rows
