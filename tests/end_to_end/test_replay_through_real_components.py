"""A month of real flights: real SDK, real Collector, `driftmeter serve`, a real Prometheus that scrapes nothing."""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from components import ROOT, Collector, Series, free_port, require, run_collector, run_prometheus, wait_until
from end_to_end.flights_by_hand import DAY_SECONDS, FEATURES, daily_distances, flights_of, seconds
from export_samples import SeriesKey, translated
from metrics_sink import MetricsSink, metrics_sink
from service_process import Metrics, ServiceProcess, assert_ledger_holds, driftmeter, run_service
from spans import identity, serve_with_sdk

MODEL, VERSION = "flight-delay", "7"
MARCH_DAYS = 31
FAR_MILES = 1_000
COLLECTOR_CONFIG = ROOT / "collector-config" / "collector.yaml"


def answered(flights: pl.DataFrame) -> pl.DataFrame:
    """The flights with a model's answer that needs no training: is it far?"""
    far = pl.col("distance") >= FAR_MILES
    return flights.with_columns(haul=pl.when(far).then(pl.lit("long")).otherwise(pl.lit("short")))


def as_attributes(flights: pl.DataFrame) -> pl.DataFrame:
    """Columns by the keys that their values have on a span."""
    features = [pl.col(name).alias(f"ml.feature.{name}") for name in FEATURES]
    return answered(flights).select(*features, pl.col("haul").alias("ml.prediction.haul"))


def ends_ns(flights: pl.DataFrame) -> list[int]:
    """When each flight's span ends."""
    return [second * 10**9 for second in seconds(flights).tolist()]


def collector_config(sink: str, *, filtering: bool = True) -> str:
    """The Collector configuration of this repository, forwarding metrics to a sink.

    One consumer instead of four: a replay compresses a month into seconds, in which four would mix up weeks.
    """
    config: dict[str, Any] = yaml.safe_load(COLLECTOR_CONFIG.read_text())
    config["exporters"]["otlp_grpc/driftmeter"]["sending_queue"]["num_consumers"] = 1
    config["exporters"]["otlp_grpc/sink"] = {"endpoint": sink, "tls": {"insecure": True}}
    config["service"]["pipelines"]["metrics"]["exporters"] = ["otlp_grpc/sink"]
    if not filtering:
        config["service"]["pipelines"]["traces"]["processors"] = ["memory_limiter"]
    return yaml.safe_dump(config)


@dataclass(frozen=True)
class Replay:
    """What a replay left behind.

    Attributes:
        made: Spans that the SDK ended.
        collector_accepted: Spans that the Collector's receiver accepted.
        collector_sent: Spans that its exporter sent to the service.
        before_stop: The service's metrics when all had arrived.
        stored: Every sample in Prometheus: series, and its samples.
        forwarded: Every OTLP sample that left the Collector, by series and time in milliseconds.
        log: What the service logged.
    """

    made: int
    collector_accepted: float
    collector_sent: float
    before_stop: Metrics
    stored: list[Series]
    forwarded: dict[tuple[SeriesKey, int], float]
    log: str


def build_baseline(directory: Path) -> Path:
    """The baseline of January and February, by the command that users run."""
    rows, baseline = directory / "training.parquet", directory / "baseline.parquet"
    answered(flights_of(1, 2)).write_parquet(rows)
    done = driftmeter(
        "baseline", "build", "--data", rows, "--model", MODEL, "--version", VERSION, "--timestamp", "scheduled",
        "--prediction", "haul", "--window", "24h", "--window", "1h", "--out", baseline,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return baseline


def forwarded_samples(sink: MetricsSink) -> dict[tuple[SeriesKey, int], float]:
    """Every sample that reached the sink, under the names that Prometheus would give them."""
    found: dict[tuple[SeriesKey, int], float] = {}
    for request in sink.requests():
        for series, (value, time_ms) in translated(request).items():
            assert (series, time_ms) not in found, f"{set(series)} was sent twice for one time"
            found[series, time_ms] = value
    return found


@pytest.fixture(scope="module")
def replay(tmp_path_factory: pytest.TempPathFactory) -> Replay:
    """March, once, through everything; all processes stopped again but what they said kept."""
    require("otelcol"), require("prometheus")
    directory = tmp_path_factory.mktemp("replay")
    march = flights_of(3)
    with ExitStack() as stack:
        prometheus = stack.enter_context(run_prometheus(directory))
        sink = stack.enter_context(metrics_sink(free_port()))
        collector_port = free_port()
        config = {
            "window": {"lengths": ["24h"], "clock": "data", "out_of_orderness": "1h"},
            "baseline": {"files": [str(build_baseline(directory))]},
            "export": {
                "remote_write": {"url": prometheus.write_url},
                "otlp": {"endpoint": f"127.0.0.1:{collector_port}"},
                "scrape": {"listen": f"127.0.0.1:{free_port()}"},
            },
        }
        service = stack.enter_context(run_service(config, directory))
        collector = stack.enter_context(
            run_collector(
                collector_config(sink.endpoint), directory, env={"DRIFTMETER_ENDPOINT": service.otlp},
                grpc_port=collector_port,
            )
        )  # fmt: skip
        made = serve_with_sdk(collector.grpc, as_attributes(march), ends_ns(march), identity(MODEL, VERSION))
        wait_until(
            "all spans reached the service",
            lambda: spans(service.metrics(), "received") >= made,
        )
        # The Collector counts a batch after its answer.
        wait_until("the Collector has counted them", lambda: sent_spans(collector) >= made)
        before_stop = service.metrics()
        service.stop()
        every = f'{{__name__=~"ml_.+"}}[{MARCH_DAYS + 10}d]'
        after_march = float(seconds(march)[-1]) + 5 * DAY_SECONDS
        stored = prometheus.query(every, after_march)
        samples = sum(len(series.samples) for series in stored)
        wait_until("the Collector has forwarded all metrics", lambda: len(forwarded_samples(sink)) >= samples)
        return Replay(
            made,
            collector.own_metric("otelcol_receiver_accepted_spans"),
            sent_spans(collector),
            before_stop,
            stored,
            forwarded_samples(sink),
            service.log_text(),
        )
    raise AssertionError


def spans(metrics: Metrics, outcome: str) -> float:
    """Spans of the service with this outcome."""
    return metrics.total("driftmeter_spans_total", outcome=outcome)


def sent_spans(collector: Collector) -> float:
    """Spans that the Collector sent to the service."""
    return collector.own_metric("otelcol_exporter_sent_spans", exporter="otlp_grpc/driftmeter")


def stored_values(replay: Replay, name: str) -> dict[tuple[int, str], float]:
    """Samples of a metric by time in Unix seconds and feature."""
    return {
        (int(time), series.labels.get("feature", "")): value
        for series in replay.stored
        if series.labels["__name__"] == name
        for time, value in series.samples
    }


def test_every_daily_score_is_the_one_that_numpy_computes(replay: Replay) -> None:
    """For each UTC day and feature a score arrived, and it is scipy's distance of the same rows, to 1e-9."""
    by_hand = daily_distances(flights_of(1, 2), flights_of(3))
    arrived = stored_values(replay, "ml_feature_drift_score")
    assert len(by_hand) == MARCH_DAYS * len(FEATURES)
    assert arrived.keys() == by_hand.keys()
    for key, expected in by_hand.items():
        assert arrived[key] == pytest.approx(expected, abs=1e-9), key


def test_scores_carry_the_labels_that_say_what_they_are(replay: Replay) -> None:
    """Each score's series has model, version, feature, window, baseline, job and instance, and nothing else."""
    scores = [series.labels for series in replay.stored if series.labels["__name__"] == "ml_feature_drift_score"]
    assert len(scores) == len(FEATURES)
    for labels in scores:
        assert labels.keys() == {"__name__", "model", "version", "feature", "window", "baseline", "job", "instance"}
        assert (labels["model"], labels["version"]) == (MODEL, VERSION)
        assert (labels["window"], labels["baseline"]) == ("24h", "file")


def test_prediction_is_scored_like_a_feature(replay: Replay) -> None:
    """The model's answer has its own scores, one a day."""
    (series,) = (each for each in replay.stored if each.labels["__name__"] == "ml_prediction_drift_score")
    assert series.labels["output"] == "haul"
    assert len(series.samples) == MARCH_DAYS


def test_spans_agree_at_each_hop(replay: Replay) -> None:
    """What the SDK ended, the Collector took and sent, and the service received, accepted and counted is one number."""
    march = flights_of(3).height
    assert replay.made == march
    assert replay.collector_accepted == march
    assert replay.collector_sent == march
    assert spans(replay.before_stop, "received") == march
    assert spans(replay.before_stop, "accepted") == march
    assert replay.before_stop.total("driftmeter_rows_total", outcome="counted") == march
    assert replay.before_stop.total("ml_predictions_total", model=MODEL, version=VERSION) == march
    assert_ledger_holds(replay.before_stop)


def test_counters_end_at_the_totals(replay: Replay) -> None:
    """Counters only grow, and the last samples say all predictions, no errors, and every window once."""
    last = {}
    for series in replay.stored:
        name = series.labels["__name__"]
        if name.endswith(("_total", "_count", "_bucket")):
            values = [value for _, value in series.samples]
            assert values == sorted(values), series.labels
            last[name, series.labels.get("result", series.labels.get("le", ""))] = values[-1]
    march = flights_of(3).height
    assert last["ml_predictions_total", ""] == march
    assert last["ml_inference_errors_total", ""] == 0
    assert last["ml_inference_duration_seconds_count", ""] == march
    assert last["ml_inference_duration_seconds_bucket", "0.0025"] == march  # Each took 2 ms.
    assert last["ml_inference_duration_seconds_bucket", "0.001"] == 0
    windows = {result: count for (name, result), count in last.items() if name == "ml_evaluated_windows_total"}
    assert sum(windows.values()) == MARCH_DAYS
    drifted = stored_values(replay, "ml_model_drift_detected")
    assert windows["drifted"] == sum(drifted.values())


def test_collector_forwards_the_same_values_under_the_same_names(replay: Replay) -> None:
    """Every sample in Prometheus left the Collector as OTLP too, bit for bit, and no others did."""
    stored = {
        (frozenset(series.labels.items()), round(time * 1_000)): value
        for series in replay.stored
        for time, value in series.samples
    }
    assert len(stored) > MARCH_DAYS * len(FEATURES)
    assert replay.forwarded == stored


def test_nothing_went_wrong_on_the_way(replay: Replay) -> None:
    """No sample was dropped before the stop, and the service logged no warning at all."""
    assert replay.before_stop.total("driftmeter_samples_dropped_total") == 0
    assert replay.before_stop.total("driftmeter_values_dropped_total") == 0
    assert "level=warning" not in replay.log
    assert "level=error" not in replay.log


@pytest.fixture
def idle_service(tmp_path: Path) -> Iterator[ServiceProcess]:
    """A service without baselines or destinations."""
    with run_service({}, tmp_path) as service:
        yield service


def generate_spans(collector: Collector, traces: int) -> int:
    """Has telemetrygen send so many traces of two spans without any feature; returns the number of spans."""
    command: list[str | Path] = [
        require("telemetrygen"), "traces", "--otlp-insecure", f"--otlp-endpoint={collector.grpc}",
        f"--traces={traces}", "--child-spans=1", "--rate=0",
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return 2 * traces


@pytest.mark.parametrize("filtering", [True, False], ids=["filtered", "unfiltered"])
def test_ordinary_spans_do_no_harm(idle_service: ServiceProcess, tmp_path: Path, *, filtering: bool) -> None:
    """Telemetrygen's spans stop at the Collector's filter; without it they are counted as not feature-bearing."""
    config = collector_config("127.0.0.1:1", filtering=filtering)
    with run_collector(config, tmp_path, env={"DRIFTMETER_ENDPOINT": idle_service.otlp}) as collector:
        generated = generate_spans(collector, 30)
        wait_until("accepted", lambda: collector.own_metric("otelcol_receiver_accepted_spans") == generated)
        one = answered(flights_of(3)).head(1)
        last = as_attributes(one)
        assert serve_with_sdk(collector.grpc, last, ends_ns(one), identity(MODEL)) == 1
        wait_until("the last span arrived", lambda: spans(idle_service.metrics(), "accepted") == 1)
    metrics = idle_service.metrics()
    ignored = metrics.total("driftmeter_spans_total", outcome="ignored", reason="not_feature_bearing")
    assert ignored == (0 if filtering else generated)
    assert spans(metrics, "received") == ignored + 1
    assert_ledger_holds(metrics)
    idle_service.stop()
