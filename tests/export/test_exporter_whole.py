"""The exporter as a whole: real sockets, a real Prometheus, the same series on every way out."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import polars as pl
import pytest
from prometheus_client.parser import text_string_to_metric_families

from components import Prometheus, free_port, require, run_prometheus
from driftmeter.clock import SystemClock
from driftmeter.errors import ConfigError
from driftmeter.export import routes as routes_module
from driftmeter.export import wire
from driftmeter.export.config import ExportConfig
from driftmeter.export.counters import bucket_durations
from driftmeter.export.delivery import Courier
from driftmeter.export.exporter import Exporter, warm_up
from driftmeter.export.otlp.encode import OtlpSource, encode_metrics_request
from driftmeter.export.remote_write.encode import encode_write_request
from driftmeter.model.predictions import ModelKey
from driftmeter.telemetry.metrics import Destination, DropReason, SampleOutcome, Telemetry
from export_samples import (
    DAY,
    KEY,
    SeriesKey,
    evaluated,
    nanoseconds,
    read_metrics_request,
    read_write_request,
    series_of,
    translated,
)
from scripted_receiver import Reply, ScriptedReceiver

_OTHER = ModelKey("prices", "", "")
_SAID_ALREADY = {("job", "driftmeter"), ("instance", "here")}


def _config(**sections: Any) -> ExportConfig:
    remote_write = {"instance": "here", **sections.pop("remote_write", {})}
    same = {"interval": "200ms", "scrape": {"listen": "127.0.0.1:0"}}
    return ExportConfig.model_validate({**same, "remote_write": remote_write, **sections})


@asynccontextmanager
async def _exporting(
    config: ExportConfig, telemetry: Telemetry, *, event_time: bool = False, deadline_seconds: float = 10
) -> AsyncIterator[Exporter]:
    exporter = Exporter(config, telemetry, SystemClock(), event_time=event_time)
    await exporter.start()
    try:
        yield exporter
    finally:
        await exporter.stop(deadline_seconds)


def _count(exporter: Exporter, key: ModelKey = KEY, rows: int = 4) -> None:
    durations = np.full(rows, 3_000_000, np.int64)
    exporter.counters.add_predictions(key, rows, 1, *bucket_durations(durations))


def _assert_balanced(telemetry: Telemetry, destination: Destination) -> None:
    produced, sent, dropped = (
        telemetry.samples.value(destination=destination, outcome=outcome) for outcome in SampleOutcome
    )
    assert produced == telemetry.queue_samples.value(destination=destination) + sent + dropped


async def _until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not true():  # noqa: ASYNC110  # No event tells: what is waited for is what can be seen from outside.
            await asyncio.sleep(0.01)


def _outcome(telemetry: Telemetry, outcome: SampleOutcome) -> float:
    return telemetry.samples.value(destination=Destination.REMOTE_WRITE, outcome=outcome)


def _dropped(telemetry: Telemetry, reason: DropReason) -> float:
    return telemetry.samples_dropped.value(destination=Destination.REMOTE_WRITE, reason=reason)


@asynccontextmanager
async def _otlp_receiver(bodies: list[bytes]) -> AsyncIterator[str]:
    """A gRPC server that takes everything."""

    async def export(request: bytes, _: Any) -> bytes:
        bodies.append(request)
        return b""

    server = grpc.aio.server()
    handlers = {"Export": grpc.unary_unary_rpc_method_handler(export)}
    service = "opentelemetry.proto.collector.metrics.v1.MetricsService"
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


def _last(requests: list[dict[SeriesKey, tuple[float, int]]]) -> dict[SeriesKey, float]:
    """The newest value of each series, after checking that times of every series strictly increase."""
    found: dict[SeriesKey, tuple[float, int]] = {}
    for request in requests:
        for key, (value, time_ms) in request.items():
            assert key not in found or time_ms > found[key][1], key
            found[key] = (value, time_ms)
    return {key: value for key, (value, _) in found.items()}


def test_every_way_out_carries_the_same_series() -> None:
    """Remote write, OTLP (by Prometheus' translation) and `/metrics` end with equal series and equal values."""
    telemetry, receiver = Telemetry(), ScriptedReceiver([Reply(503), Reply(200), "reset"])
    bodies: list[bytes] = []
    page = ""

    async def test() -> None:
        nonlocal page
        async with receiver.listening(), _otlp_receiver(bodies) as endpoint, asyncio.timeout(30):
            config = _config(
                remote_write={"url": receiver.url, "max_samples_per_send": 40}, otlp={"endpoint": endpoint}
            )
            async with _exporting(config, telemetry) as exporter:
                _count(exporter)
                _count(exporter, _OTHER)
                for index in range(3):
                    exporter.publish(evaluated(index))
                exporter.publish(evaluated(0, key=_OTHER, window="1h"))
                await asyncio.sleep(0.5)
                answer = await asyncio.to_thread(
                    httpx.get, f"http://127.0.0.1:{exporter.scrape_port}/metrics", trust_env=False
                )
                page = answer.text

    asyncio.run(test())
    written = _last(
        [
            read_write_request(one.body)
            for one, after in zip(receiver.received, [*receiver.received[1:], None], strict=True)
            if after is None or "retry-attempt" not in after.headers
        ]
    )
    sent = _last([translated(read_metrics_request(body)) for body in bodies])
    shown = {
        frozenset({("__name__", sample.name), *sample.labels.items(), *_SAID_ALREADY}): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name.startswith("ml_")
    }
    assert written == sent == shown
    assert len(written) > 100
    for destination in Destination:
        _assert_balanced(telemetry, destination)
        assert telemetry.samples.value(destination=destination, outcome=SampleOutcome.DROPPED) == 0


def _found(prometheus: Prometheus, time: float | None = None) -> dict[SeriesKey, float]:
    return {frozenset(series.labels.items()): series.value for series in prometheus.query('{job="driftmeter"}', time)}


def test_a_real_prometheus_has_the_current_values(tmp_path: Path) -> None:
    """Plain queries find the newest values and the counters, and a vanished verdict is gone at once."""
    require("prometheus")
    telemetry = Telemetry()
    with run_prometheus(tmp_path) as prometheus:

        async def test() -> Exporter:
            async with _exporting(_config(remote_write={"url": prometheus.write_url}), telemetry) as exporter:
                _count(exporter)
                for index in range(20):
                    exporter.publish(evaluated(index))
                exporter.publish(evaluated(20, detected=None))
                await asyncio.sleep(1.0)
            return exporter

        expected = series_of(asyncio.run(test()).current_points(), job="driftmeter", instance="here")
        found = _found(prometheus)
        passed = prometheus.query('count_over_time(ml_feature_drift_score{feature="temp"}[5m])')
    assert found == {key: value for key, (value, _) in expected.items()}
    assert not [key for key in found if ("__name__", "ml_feature_drift_detected") in key]
    assert passed[0].value >= 21, "every window was sent, not the newest only"
    assert telemetry.samples.value(destination=Destination.REMOTE_WRITE, outcome=SampleOutcome.DROPPED) == 0


def test_a_replay_stands_in_prometheus_at_its_own_time(tmp_path: Path) -> None:
    """A month of windows of 2013, daily and hourly, with revisions: each value at its window's end, none refused."""
    require("prometheus")
    telemetry = Telemetry()
    days = 30
    with run_prometheus(tmp_path) as prometheus:

        async def test() -> None:
            config = _config(remote_write={"url": prometheus.write_url})
            async with _exporting(config, telemetry, event_time=True, deadline_seconds=60) as exporter:
                for day in range(days):
                    for hour in range(24):
                        _count(exporter)
                        exporter.publish(evaluated(24 * day + hour, window="1h", columns=(("temp", "feature"),)))
                    exporter.publish(evaluated(day))
                    exporter.publish(evaluated(day, revision=1, value=0.9))

        asyncio.run(test())
        start = nanoseconds(DAY) / 1e9
        for window, step_seconds, count in (("24h", 86_400, days), ("1h", 3_600, 24 * days)):
            score = f'ml_feature_drift_score{{feature="temp",window="{window}"}}'
            (series,) = prometheus.query_range(score, start, start + days * 86_400, step_seconds)
            assert series.samples == tuple((start + (i + 1) * step_seconds, (100 + i) / 1000) for i in range(count))
        (total,) = prometheus.query("ml_predictions_total", time=start + days * 86_400)
        results = prometheus.query('ml_evaluated_windows_total{result="drifted"}', time=start + days * 86_400)
    assert total.value == 4 * 24 * days
    assert {series.labels["window"]: series.value for series in results} == {"24h": days, "1h": 24 * days}
    assert _dropped(telemetry, DropReason.REVISED) == days * evaluated(0).points(0).height
    assert telemetry.samples.value(destination=Destination.REMOTE_WRITE, outcome="dropped") == _dropped(
        telemetry, DropReason.REVISED
    )
    _assert_balanced(telemetry, Destination.REMOTE_WRITE)


def test_a_prometheus_that_comes_later_gets_everything(tmp_path: Path) -> None:
    """Absent at start, it receives all windows once it is there, and nothing is dropped."""
    require("prometheus")
    telemetry, port = Telemetry(), free_port()

    async def test() -> None:
        url = f"http://127.0.0.1:{port}/api/v1/write"
        async with _exporting(_config(remote_write={"url": url}), telemetry, event_time=True) as exporter:
            for index in range(5):
                exporter.publish(evaluated(index))
            await asyncio.sleep(0.5)
            assert exporter.queued_samples > 0
            running = await asyncio.to_thread(stack.enter_context, run_prometheus(tmp_path, port=port))
            async with asyncio.timeout(30):
                await exporter._routes.routes[0].outbox.emptied()
            end = nanoseconds(DAY) / 1e9 + 5 * 86_400
            (series,) = running.query('count_over_time(ml_feature_drift_score{feature="temp"}[10d])', time=end)
            assert series.value == 5

    with ExitStack() as stack:
        asyncio.run(test())
    assert telemetry.samples.value(destination=Destination.REMOTE_WRITE, outcome=SampleOutcome.DROPPED) == 0


def test_a_hanging_receiver_never_holds_up_the_pipeline() -> None:
    """Publishing goes on at full speed; the queue keeps its bound, and what it loses it counts."""
    telemetry, receiver = Telemetry(), ScriptedReceiver(["hang"])
    clock = SystemClock()

    async def test() -> None:
        async with receiver.listening(), asyncio.timeout(60):
            config = _config(remote_write={"url": receiver.url, "queue_samples": 2_000}, interval="1h")
            async with _exporting(config, telemetry, deadline_seconds=0.2) as exporter:
                slowest_seconds = 0.0
                for index in range(200):
                    start_seconds = clock.monotonic_seconds()
                    exporter.publish(evaluated(index))
                    slowest_seconds = max(slowest_seconds, clock.monotonic_seconds() - start_seconds)
                expected = sum(evaluated(index).points(0).height for index in range(200))
                await _until(lambda: _outcome(telemetry, SampleOutcome.PRODUCED) >= expected)
                assert exporter.queued_samples <= 2_000
                assert slowest_seconds < 1.0, "the receiver's timeout is 30 s"

    asyncio.run(test())
    _assert_balanced(telemetry, Destination.REMOTE_WRITE)
    assert telemetry.samples.value(destination=Destination.REMOTE_WRITE, outcome=SampleOutcome.SENT) == 0
    assert _dropped(telemetry, DropReason.QUEUE_FULL) > 0
    assert _dropped(telemetry, DropReason.SHUTDOWN) > 0


def test_stopping_delivers_what_is_left() -> None:
    """What was published just before the stop, and the last counters, still go out; a second stop does nothing."""
    telemetry, receiver = Telemetry(), ScriptedReceiver([])

    async def test() -> None:
        async with receiver.listening():
            exporter = Exporter(_config(remote_write={"url": receiver.url}, interval="1h"), telemetry, SystemClock())
            await exporter.start()
            exporter.publish(evaluated(0))
            _count(exporter)
            await exporter.stop(10)
            await exporter.stop(10)

    asyncio.run(test())
    names = {dict(key)["__name__"] for one in receiver.received for key in read_write_request(one.body)}
    assert {"ml_feature_drift_score", "ml_predictions_total"} <= names
    assert telemetry.samples.value(destination=Destination.REMOTE_WRITE, outcome=SampleOutcome.DROPPED) == 0


def _publish_ten(exporter: Exporter, key: ModelKey) -> None:
    for index in range(10):
        exporter.publish(evaluated(index, key=key))


def test_windows_may_be_published_from_any_thread() -> None:
    """Threads publish at once, also before the start, and nothing is lost."""
    telemetry, receiver = Telemetry(), ScriptedReceiver([])

    async def test() -> None:
        async with receiver.listening(), asyncio.timeout(30):
            exporter = Exporter(_config(remote_write={"url": receiver.url}, interval="1h"), telemetry, SystemClock())
            exporter.publish(evaluated(0, key=ModelKey("early", "", "")))
            await exporter.start()
            keys = [ModelKey(f"model-{i}", "", "") for i in range(4)]
            threads = [threading.Thread(target=_publish_ten, args=[exporter, key]) for key in keys]
            for thread in threads:
                thread.start()
            await asyncio.gather(*(asyncio.to_thread(thread.join) for thread in threads))
            await exporter.stop(10)

    asyncio.run(test())
    scores = [
        (dict(key)["model"], value)
        for one in receiver.received
        for key, (value, _) in read_write_request(one.body).items()
        if {("__name__", "ml_feature_drift_score"), ("feature", "temp")} <= key
    ]
    assert {(f"model-{i}", (100 + j) / 1000) for i in range(4) for j in range(10)} <= set(scores)
    assert ("early", 0.1) in scores


def test_a_sender_that_dies_makes_the_service_unready(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Should a task that sends fail all the same, `/readyz` says so from then on, and the log why."""
    telemetry, receiver = Telemetry(), ScriptedReceiver([])

    async def die(_: Courier) -> None:
        await asyncio.sleep(0.3)
        raise RuntimeError("a fault of the courier")

    monkeypatch.setattr(Courier, "run", die)

    async def test() -> None:
        async with receiver.listening(), _exporting(_config(remote_write={"url": receiver.url}), telemetry) as exporter:

            def status() -> int:
                url = f"http://127.0.0.1:{exporter.scrape_port}/readyz"
                return httpx.get(url, trust_env=False).status_code

            assert await asyncio.to_thread(status) == 200
            await _until(lambda: "failed" in caplog.text)
            assert await asyncio.to_thread(status) == 503

    asyncio.run(test())
    assert "a fault of the courier" in caplog.text
    _assert_balanced(telemetry, Destination.REMOTE_WRITE)


def test_without_destinations_the_page_is_still_current() -> None:
    """A laptop without Prometheus sees its results at `/metrics` alone, soon after each window."""
    telemetry = Telemetry()

    async def test() -> pl.DataFrame:
        async with _exporting(_config(interval="1h"), telemetry) as exporter:
            exporter.publish(evaluated(0))
            exporter.publish(evaluated(1))
            await _until(lambda: 0.101 in exporter.current_points().get_column("value"))
            return exporter.current_points()

    table = asyncio.run(test())
    assert set(table.filter(pl.col("metric") == "ml_feature_drift_score").get_column("value")) == {0.101}


def test_a_taken_port_stops_the_start() -> None:
    """The start fails with the field to change, and leaves nothing running."""

    async def test() -> None:
        async with _exporting(_config(), Telemetry()) as first:
            taken = f"127.0.0.1:{first.scrape_port}"
            second = Exporter(_config(scrape={"listen": taken}), Telemetry(), SystemClock())
            with pytest.raises(ConfigError, match=r"export\.scrape\.listen"):
                await second.start()
            await second.stop(1)

    asyncio.run(test())


def test_points_that_cannot_be_encoded_are_counted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A fault in encoding loses that frame, by name, and not the exporter."""
    telemetry, receiver = Telemetry(), ScriptedReceiver([])
    faults = iter([True])

    def encode(table: pl.DataFrame, job: str, instance: str) -> bytes:
        if next(faults, False):
            raise ValueError("a fault")
        return encode_write_request(table, job, instance)

    monkeypatch.setattr(routes_module, "encode_write_request", encode)

    async def test() -> None:
        config = _config(remote_write={"url": receiver.url}, interval="1h")
        async with _exporting(config, telemetry) as exporter:
            exporter.publish(evaluated(0))
            exporter.publish(evaluated(1))

    async def with_receiver() -> None:
        async with receiver.listening():
            await test()

    asyncio.run(with_receiver())
    assert _dropped(telemetry, DropReason.ENCODING) == evaluated(0).points(0).height
    assert "could not be encoded" in caplog.text
    assert telemetry.samples.value(destination=Destination.REMOTE_WRITE, outcome=SampleOutcome.SENT) > 0
    _assert_balanced(telemetry, Destination.REMOTE_WRITE)


def test_warming_up_compiles_everything() -> None:
    """After the warm-up the first points compile no further variant of the kernel."""
    warm_up()
    kernel: Any = wire._encode
    before = len(kernel.signatures)
    encode_write_request(evaluated(0).points(5), "job", "instance")
    encode_metrics_request(evaluated(0).points(5), OtlpSource("job", "instance", "1", 0))
    assert before == len(kernel.signatures) == 1
