"""The service's metrics about itself."""

import subprocess
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Gauge

from components import require
from driftmeter.model.predictions import ModelKey
from driftmeter.telemetry.families import OTHER, GaugeFamily
from driftmeter.telemetry.metrics import (
    SELF_METRICS,
    DropReason,
    RowOutcome,
    SampleOutcome,
    SpanOutcome,
    SpanReason,
    Telemetry,
    ValueReason,
)
from stored_states import again, assert_damage_is_named


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


def test_made_up_label_values_take_no_memory() -> None:
    """Series are found again by the labels given, but not those that a sender makes up."""
    telemetry = Telemetry()
    known = telemetry.spans._children
    for number in range(100):
        telemetry.spans.add(1, outcome="rejected", reason=f"made up {number}")
        telemetry.spans.add(1, outcome="rejected", reason="future")
    assert len(known) == 1


def test_a_series_that_was_removed_begins_anew() -> None:
    """After its end a series counts again where it is shown."""
    telemetry = Telemetry()
    labels = {"model": "a", "version": "", "stage": ""}
    for value in (3.0, 5.0):
        telemetry.watermark_lag_seconds.set(value, **labels)
        assert telemetry.watermark_lag_seconds.value(**labels) == value
        assert f'model="a",stage="",version=""}} {value}' in telemetry.expose()
        telemetry.watermark_lag_seconds.remove(**labels)
        assert 'model="a"' not in telemetry.expose()


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


def _ledger() -> Telemetry:
    """Something in every account of spans and rows."""
    telemetry = Telemetry()
    telemetry.spans.add(100, outcome=SpanOutcome.RECEIVED, reason="")
    telemetry.spans.add(7, outcome=SpanOutcome.REJECTED, reason=SpanReason.FUTURE)
    telemetry.spans.add(90, outcome=SpanOutcome.ACCEPTED, reason="")
    telemetry.rows.add(80, outcome=RowOutcome.COUNTED)
    telemetry.rows.add(4, outcome=RowOutcome.DUPLICATE)
    telemetry.values_dropped.add(2, reason=ValueReason.INVALID_JSON)
    telemetry.spans_without_identity.add(1)
    telemetry.quarantined.add(1, stage="fold")
    telemetry.in_flight_spans.set(3)
    telemetry.pending_rows.set(6)
    return telemetry


def test_the_ledger_goes_on_over_a_restart() -> None:
    """Every series of the ledger is what it was, and what was counted before the state was read is not lost."""
    before = _ledger()
    after = Telemetry()
    after.restore(again(before.state()))
    assert before.expose() == after.expose()
    late = Telemetry()
    late.rows.add(5, outcome=RowOutcome.COUNTED)
    late.restore(again(before.state()))
    assert late.rows.value(outcome=RowOutcome.COUNTED) == 85


def test_other_counters_begin_anew() -> None:
    """What is no part of the ledger counts since the start of the process."""
    before = _ledger()
    before.requests.add(9, result="ok")
    before.journal_commits.add(9)
    after = Telemetry()
    after.restore(again(before.state()))
    assert (after.requests.value(result="ok"), after.journal_commits.value()) == (0, 0)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_a_damaged_ledger_is_named(seed: int) -> None:
    """Whatever is wrong with the stored ledger, it is an error with a name or does no harm."""
    assert_damage_is_named(_ledger().state(), lambda tree: Telemetry().restore(tree), seed)


def test_a_forgotten_model_has_no_series() -> None:
    """Its own series end, those of others go on; forgetting a model that has none does nothing."""
    telemetry = Telemetry()
    for model in ("m", "n"):
        telemetry.watermark_lag_seconds.set(1, model=model, version="", stage="")
    telemetry.forget_model(ModelKey("m", "", ""))
    telemetry.forget_model(ModelKey("m", "", ""))
    lags = [line for line in telemetry.expose().splitlines() if line.startswith("driftmeter_watermark_lag_seconds{")]
    assert lags == ['driftmeter_watermark_lag_seconds{model="n",stage="",version=""} 1.0']


def test_a_series_that_ends_while_it_is_looked_up_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another thread ends a series between its being found and its being noted: what is set later is shown."""
    registry = CollectorRegistry()
    gauge = GaugeFamily("lag", {"model": None}, "Lag.", registry)
    find = gauge._metric.labels
    enders: list[threading.Thread] = []

    def labels(*values: str) -> Gauge:
        child = find(*values)
        if not enders:
            enders.append(threading.Thread(target=lambda: gauge.remove(model="m")))
            enders[0].start()
            enders[0].join(0.5)  # For as long as it takes, unless it has to wait.
        return child

    monkeypatch.setattr(gauge._metric, "labels", labels)
    gauge.set(1, model="m")
    enders[0].join()
    gauge.set(2, model="m")
    assert registry.get_sample_value("lag", {"model": "m"}) == 2
