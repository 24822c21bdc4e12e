"""The real docker-compose.yml, brought up by a real Docker daemon, from spans to the dashboard's queries.

Grafana alone is left out, since no package registry carries it; its data source is asked what its panels would ask.
The images behind the pinned tags are local ones: see scripts/docker-for-tests.sh.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx
import numpy as np
import polars as pl
import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from components import ROOT, PrometheusApi, free_port, missing, wait_until
from driftmeter.clock import SystemClock
from driftmeter.model.windows import parse_window
from scripts.dashboard import dashboard_queries

pytestmark = pytest.mark.compose

SCRIPT = ROOT / "scripts" / "docker-for-tests.sh"
FILES = (ROOT / "docker-compose.yml", ROOT / "tests" / "compose" / "fast.yaml")
SERVICES = ("collector", "driftmeter", "prometheus")
PORTS = ("OTLP_GRPC", "OTLP_HTTP", "COLLECTOR_METRICS", "DRIFTMETER", "PROMETHEUS")

MODEL = "compose-test"
WINDOW = "5s"
SECONDS = 60
ROWS_A_SECOND = 60
SECOND_NS = 10**9
BASELINE_MEAN, LIVE_MEAN = 0.0, 3.0
CARRIERS = np.array(["AA", "DL", "UA"])


@dataclass(frozen=True, slots=True)
class Stack:
    """The stack of the compose file, under a project name and on published ports of its own.

    Attributes:
        environment: What `docker compose` runs with.
        ports: Published port by the name that follows `PORT_` in the compose file.
    """

    environment: Mapping[str, str]
    ports: Mapping[str, int]

    @property
    def prometheus(self) -> PrometheusApi:
        """The published Prometheus."""
        return PrometheusApi(f"http://127.0.0.1:{self.ports['PROMETHEUS']}")

    def value(self, expression: str) -> float | None:
        """Value of a query's only series in Prometheus; None while there is none."""
        found = self.prometheus.query(expression)
        assert len(found) <= 1, found
        return found[0].value if found else None

    def compose(self, *arguments: str) -> str:
        """Runs `docker compose` with these arguments; all it printed, which is also what a failure shows."""
        files = [argument for file in FILES for argument in ("--file", str(file))]
        command = ["docker", "compose", "--project-name", "driftmeter-test", *files, *arguments]
        done = subprocess.run(
            command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=self.environment
        )
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}"
        return done.stdout


def rows(count: int, mean: float) -> pl.DataFrame:
    """Predictions: `temp` around this mean, a carrier, what the model answered and how sure it was."""
    random = np.random.default_rng(7)
    probability = random.uniform(size=count)
    return pl.DataFrame(
        {
            "temp": random.normal(mean, 1.0, count),
            "carrier": CARRIERS[random.integers(0, len(CARRIERS), count)],
            "late": np.where(probability > 0.5, "yes", "no"),
            "probability": probability,
        }
    )


def build_baseline(file: Path) -> None:
    """Writes a baseline of 60 windows with the command that users write theirs with."""
    count = 60 * 5 * ROWS_A_SECOND
    start = datetime(2026, 1, 1, tzinfo=UTC)
    steps = pl.int_range(pl.len()) * (1_000_000 // ROWS_A_SECOND)
    data = file.with_name("training-data.csv")
    rows(count, BASELINE_MEAN).with_columns(time=pl.lit(start) + pl.duration(microseconds=steps)).write_csv(data)
    options = {"--data": str(data), "--model": MODEL, "--version": "1", "--timestamp": "time", "--prediction": "late"}
    options |= {"--probability": "probability=yes", "--window": WINDOW, "--out": str(file)}
    arguments = [part for option in options.items() for part in option]
    subprocess.run([sys.executable, "-m", "driftmeter", "baseline", "build", *arguments], check=True)
    data.unlink()


def send_predictions(endpoint: str, end_ns: int) -> int:
    """Sends a minute of predictions up to `end_ns` to a Collector as a model server would; how many there were."""
    resource = Resource({"service.name": "model-server", "ml.model.name": MODEL, "ml.model.version": "1"})
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint, insecure=True), max_queue_size=10_000))
    tracer = provider.get_tracer("compose-test")
    count = SECONDS * ROWS_A_SECOND
    for number, row in enumerate(rows(count, LIVE_MEAN).iter_rows(named=True)):
        at_ns = end_ns - (count - number) * SECOND_NS // ROWS_A_SECOND
        values = {
            "ml.feature.temp": row["temp"],
            "ml.feature.carrier": row["carrier"],
            "ml.prediction.late": row["late"],
            "ml.probability.yes": row["probability"],
        }
        tracer.start_span("predict", attributes=values, start_time=at_ns - 1_000_000).end(at_ns)
    provider.shutdown()
    return count


@pytest.fixture(scope="module", name="stack")
def bring_up_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The stack, healthy, with a baseline for the model of the test; taken down with its volumes afterwards."""
    may_install = os.environ.get("DRIFTMETER_REQUIRE") == "all"
    if sys.platform != "linux" or os.geteuid() != 0 or not (shutil.which("dockerd") or may_install):
        missing("needs Linux, root and dockerd, to run a Docker daemon of its own (make test-compose)")
    up = subprocess.run([SCRIPT, "up"], check=True, stdout=subprocess.PIPE, text=True)
    baselines = tmp_path_factory.mktemp("baselines")
    baselines.chmod(0o755)  # The service runs as another user.
    build_baseline(baselines / "compose-test.parquet")
    docker = dict(line.split("=", 1) for line in up.stdout.splitlines())
    ports = {name: free_port() for name in PORTS}
    published = {f"PORT_{name}": str(port) for name, port in ports.items()}
    stack = Stack({**os.environ, **docker, **published, "DRIFTMETER_TEST_BASELINES": str(baselines)}, ports)
    try:
        stack.compose("build", "driftmeter")
        stack.compose("up", "--pull", "never", "--wait", *SERVICES)
        yield stack
    finally:
        print(stack.compose("logs", "--no-color", "--tail", "40"))  # noqa: T201 - pytest shows it beside failures.
        stack.compose("down", "--volumes", "--timeout", "20")
        subprocess.run([SCRIPT, "down"], check=True)


@pytest.fixture(scope="module", name="sent")
def send_a_minute(stack: Stack) -> int:
    """Number of predictions sent through the published port of the Collector.

    They end with a window: one that ended in the middle of one might leave it too few rows for a verdict, and an alert
    has no verdict to fire on then.
    """
    now_ns = SystemClock().now_ns()
    end_ns = now_ns - now_ns % parse_window(WINDOW).length_ns
    return send_predictions(f"http://127.0.0.1:{stack.ports['OTLP_GRPC']}", end_ns)


def test_every_prediction_is_counted_once(stack: Stack, sent: int) -> None:
    """Prometheus knows as many predictions as were sent to the Collector."""
    counted = f'ml_predictions_total{{model="{MODEL}", version="1"}}'
    wait_until("all predictions are counted", lambda: stack.value(counted) == sent)


def test_scores_arrive_in_prometheus_and_tell_drift_from_none(stack: Stack, sent: int) -> None:
    """The feature that moved drifted, far over its noise floor; the one that did not, did not."""
    assert sent
    of = f'{{model="{MODEL}", version="1", window="{WINDOW}", feature="%s"}}'
    drifted, still = of % "temp", of % "carrier"
    wait_until("the drifted feature has its verdict", lambda: stack.value(f"ml_feature_drift_detected{drifted}") == 1)
    score, floor = (
        stack.value(f"ml_feature_drift_score{drifted}"),
        stack.value(f"ml_feature_drift_noise_floor{drifted}"),
    )
    assert score is not None
    assert floor is not None
    assert score > 0.7 > 5 * floor
    assert stack.value(f"ml_feature_drift_detected{still}") == 0
    assert stack.value(f'ml_model_drifted_features{{model="{MODEL}", window="{WINDOW}"}}') == 1


def test_every_query_of_the_dashboard_returns_data(stack: Stack, sent: int) -> None:
    """No panel of the dashboard stays empty for a model with a calibrated baseline."""
    assert sent
    queries = dashboard_queries(MODEL, WINDOW)
    assert len(queries) >= 10
    for panel, query in queries.items():
        wait_until(f"{panel} shows data: {query}", lambda query=query: len(stack.prometheus.query(query)) > 0)  # type: ignore[misc]


def test_alerts_fire(stack: Stack, sent: int) -> None:
    """Prometheus has loaded the rules, and the model's drift raises the alerts for model and feature."""
    assert sent
    alerts = f'ALERTS{{alertstate="firing", model="{MODEL}"}}'
    expected = {"DriftmeterModelDrifted", "DriftmeterFeatureDrifted"}
    wait_until(
        "both alerts fire", lambda: {one.labels["alertname"] for one in stack.prometheus.query(alerts)} >= expected
    )


def test_collector_offers_the_same_scores(stack: Stack, sent: int) -> None:
    """What Prometheus got by remote write, the Collector got as OTLP metrics and offers to other backends."""
    assert sent

    url = f"http://127.0.0.1:{stack.ports['COLLECTOR_METRICS']}/metrics"

    def offered() -> bool:
        lines = httpx.get(url, timeout=10, trust_env=False).text.splitlines()
        scores = [line for line in lines if line.startswith("ml_feature_drift_score{")]
        return any('feature="temp"' in line and f'model="{MODEL}"' in line for line in scores)

    wait_until("the Collector offers the score", offered)


def test_prometheus_scrapes_the_service_itself_and_no_results(stack: Stack, sent: int) -> None:
    """Scraping brings `driftmeter_*` and nothing else, so that results do not come by two roads."""
    assert sent
    wait_until("the service is scraped", lambda: stack.value('up{job="driftmeter"}') == 1)
    wait_until("its metrics are there", lambda: len(stack.prometheus.query('{__name__=~"driftmeter_.+"}')) > 0)
    assert len(stack.prometheus.query(f'ml_predictions_total{{model="{MODEL}"}}')) == 1
