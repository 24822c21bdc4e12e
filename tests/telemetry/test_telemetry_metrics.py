"""The service's metrics about itself."""

import subprocess
import threading

import pytest

from components import require
from driftmeter.telemetry.families import OTHER
from driftmeter.telemetry.metrics import SELF_METRICS, DropReason, SampleOutcome, Telemetry


def _families(text: str) -> set[str]:
    return {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE ")}


def test_every_declared_metric_is_exposed_and_no_other() -> None:
    """The declarations and what `/metrics` shows are the same set."""
    exposed = _families(Telemetry("1").expose())
    assert exposed == {metric.name for metric in SELF_METRICS}


def test_names_follow_the_rules() -> None:
    """Names start with the service's and counters, and only they, end in `_total`."""
    for metric in SELF_METRICS:
        assert metric.name.startswith("driftmeter_")
        assert (metric.kind == "counter") == metric.name.endswith("_total")


def test_undeclared_label_values_are_counted_as_other() -> None:
    """What a sender makes up cannot create a series."""
    telemetry = Telemetry()
    telemetry.spans.add(2, outcome="rejected", reason="made up")
    telemetry.spans.add(3, outcome="rejected", reason="future")
    assert telemetry.spans.value(outcome="rejected", reason=OTHER) == 2
    assert telemetry.spans.value(outcome="rejected", reason="future") == 3
    assert "made up" not in telemetry.expose()


def test_unknown_label_names_are_a_programmers_error() -> None:
    """A misspelt label does not silently count elsewhere."""
    with pytest.raises(TypeError, match="outcom"):
        Telemetry().rows.add(outcom="counted")


def test_open_labels_take_any_value() -> None:
    """Every model has its own gauge."""
    telemetry = Telemetry()
    telemetry.watermark_lag_seconds.set(4.5, model="m", version="1", stage="")
    assert 'driftmeter_watermark_lag_seconds{model="m",stage="",version="1"} 4.5' in telemetry.expose()


def test_a_scrape_sees_no_half_moved_counts() -> None:
    """While one thread moves samples from produced to sent, every scrape finds both equal."""
    telemetry = Telemetry()
    stop = threading.Event()

    def move() -> None:
        while not stop.is_set():
            with telemetry.moving():
                for outcome in (SampleOutcome.PRODUCED, SampleOutcome.SENT):
                    telemetry.samples.add(destination="otlp", outcome=outcome)

    mover = threading.Thread(target=move)
    mover.start()
    try:
        for _ in range(200):
            lines = [line for line in telemetry.expose().splitlines() if line.startswith("driftmeter_samples_total{")]
            assert len({line.split()[-1] for line in lines}) <= 1, lines
    finally:
        stop.set()
        mover.join()


def test_promtool_finds_nothing_to_complain_about() -> None:
    """`promtool check metrics` is content with the exposition."""
    telemetry = Telemetry("0.1.0")
    telemetry.samples_dropped.add(1, destination="otlp", reason=DropReason.TOO_OLD)
    telemetry.export_seconds.observe(0.2, destination="otlp")
    done = subprocess.run(
        [require("promtool"), "check", "metrics"], input=telemetry.expose(), text=True, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
