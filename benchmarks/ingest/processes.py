"""The processes of a benchmark: the service, the Collector, a bare gRPC server, and a place for what is exported."""

import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import psutil
import yaml

from benchmarks.ingest.baselines import baseline_file
from benchmarks.ingest.workload import Shape
from components import Collector, find, run_collector
from driftmeter.clock import SystemClock
from programs import LOOPBACK, Program, answers, free_port, running
from service_process import complete

_QUIET_CORES = 0.1
"""A process that uses less of a core than this does nothing but wait."""
_LOOK_SECONDS, _QUIET_LOOKS, _LOUD_SECONDS = 0.25, 3, 120.0
_CLOCK = SystemClock()


def pause(seconds: float) -> None:
    """Do nothing for so long."""
    threading.Event().wait(seconds)


@dataclass(frozen=True, slots=True)
class Watched:
    """A process, its children included, whose cost is measured."""

    process: psutil.Process

    @classmethod
    def of(cls, program: Program) -> "Watched":
        """A program that runs."""
        return cls(psutil.Process(program.process.pid))

    def cpu_seconds(self) -> float:
        """CPU time used so far, by children that have ended too."""
        own = self.process.cpu_times()
        total = own.user + own.system + own.children_user + own.children_system
        for child in self.process.children(recursive=True):
            try:
                times = child.cpu_times()
            except psutil.NoSuchProcess:
                continue
            total += times.user + times.system
        return float(total)

    def resident_bytes(self) -> int:
        """Memory it holds."""
        return int(self.process.memory_info().rss)

    def peak_bytes(self) -> int:
        """The most memory it has held at any moment, by the system's account."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        (peak,) = (line.split()[1] for line in lines if line.startswith("VmHWM:"))
        return int(peak) * 1024

    def settle(self) -> None:
        """Wait until it has done what it put off: archives written, windows evaluated, samples sent."""
        quiet, until = 0, _CLOCK.monotonic_seconds() + _LOUD_SECONDS
        before, then = self.cpu_seconds(), _CLOCK.monotonic_seconds()
        while quiet < _QUIET_LOOKS and then < until:
            pause(_LOOK_SECONDS)
            after, now = self.cpu_seconds(), _CLOCK.monotonic_seconds()
            quiet = quiet + 1 if after - before < _QUIET_CORES * (now - then) else 0
            before, then = after, now


@dataclass(frozen=True, slots=True)
class Service:
    """A service that runs.

    Attributes:
        watched: Its cost.
        otlp: `host:port` that takes OTLP/gRPC.
        pages: `http://host:port` of its pages.
        program: Its process.
    """

    watched: Watched
    otlp: str
    pages: str
    program: Program

    def own_metrics(self) -> dict[str, float]:
        """Its metrics about itself that have no labels, by name."""
        with urllib.request.urlopen(f"{self.pages}/metrics") as answer:  # noqa: S310 - our own page.
            text = answer.read().decode()
        found = (line for line in text.splitlines() if line.startswith("driftmeter_") and "{" not in line)
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in found)}


@contextmanager
def discarding_sink() -> Iterator[str]:
    """A server that takes what is posted to it and forgets it; its URL. Runs in this process, which is not measured."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name it has.
            del format, args

    server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://{LOOPBACK}:{server.server_address[1]}/api/v1/write"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def run_service(
    shape: Shape, directory: Path, *, module: str = "driftmeter", journal: dict[str, Any] | None = None
) -> Iterator[Service]:
    """`driftmeter serve` with all that is usual: journal, archive, a baseline, remote write; ready when entered.

    Args:
        shape: Requests that it will get; its models get baselines.
        directory: For its files. A second run with the same directory goes on with the first one's state.
        module: What to start instead of `driftmeter`.
        journal: Changes to the journal's configuration.
    """
    directory.mkdir(parents=True, exist_ok=True)
    baselines = directory / "baselines-of-models"
    if not baselines.exists():
        baseline_file(shape, baselines)
    with discarding_sink() as url:
        config = complete(
            {
                "window": {"lengths": ["5m", "1h", "24h"]},
                "baseline": {"files": [str(baselines / "*.parquet")]},
                "export": {"remote_write": {"url": url}},
                "journal": {"directory": str(directory / "state"), **(journal or {})},
            },
            directory,
        )
        file = directory / "driftmeter.yaml"
        file.write_text(yaml.safe_dump(config))
        pages = f"http://{config['export']['scrape']['listen']}"
        command = [sys.executable, "-m", module, "serve", "--config", str(file)]
        with running(command, directory / "service.log", lambda: answers(f"{pages}/readyz")) as program:
            yield Service(Watched.of(program), config["ingest"]["grpc"]["listen"], pages, program)


@contextmanager
def run_acknowledging(directory: Path) -> Iterator[tuple[Watched, str]]:
    """A bare grpcio server that says OK to everything: its cost and `host:port`."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.ingest.acknowledging", str(port)]

    def ready() -> bool:
        with grpc.insecure_channel(f"{LOOPBACK}:{port}") as channel:
            try:
                grpc.channel_ready_future(channel).result(timeout=1)
            except grpc.FutureTimeoutError:
                return False
            return True

    with running(command, directory / f"acknowledging-{port}.log", ready) as program:
        yield Watched.of(program), f"{LOOPBACK}:{port}"


_COLLECTOR = """
extensions:
  file_storage/queue: {fsync: true}
receivers:
  otlp: {protocols: {grpc: {max_recv_msg_size_mib: 64}}}
exporters:
  otlp_grpc:
    endpoint: %s
    tls: {insecure: true}
    compression: none
    retry_on_failure: {max_elapsed_time: 0}
    sending_queue:
      storage: file_storage/queue
      sizer: items
      queue_size: 2000000
      num_consumers: 4
      block_on_overflow: true
      batch: {sizer: items, min_size: 1000, max_size: 8000, flush_timeout: 1s}
service:
  extensions: [file_storage/queue]
  pipelines:
    traces: {receivers: [otlp], exporters: [otlp_grpc]}
"""
"""The queue of collector-config/collector.yaml, and none of its processors, which would only add to its cost."""


def collector_is_here() -> bool:
    """Whether the real Collector has been built on this machine."""
    return find("otelcol") is not None


@contextmanager
def run_forwarding_collector(directory: Path) -> Iterator[Collector]:
    """The real Collector, forwarding through its fsynced queue to a server that says OK to everything."""
    with run_acknowledging(directory) as (_, sink), run_collector(_COLLECTOR % sink, directory) as collector:
        yield collector


def wait_until_forwarded(collector: Collector, spans: int) -> None:
    """Returns when the Collector has forwarded so many spans since it was started."""
    until = _CLOCK.monotonic_seconds() + _LOUD_SECONDS
    while collector.own_metric("otelcol_exporter_sent_spans") < spans:
        if _CLOCK.monotonic_seconds() > until:
            raise RuntimeError(f"the Collector did not forward {spans} spans: {collector.program.log}")
        pause(0.5)
