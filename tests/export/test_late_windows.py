"""Windows that are evaluated late, from rows to requests: real pipeline, real exporter, real sockets."""

import asyncio
import math

import numpy as np
import polars as pl

from driftmeter.clock import SystemClock
from driftmeter.export.config import ExportConfig
from driftmeter.export.exporter import Exporter
from driftmeter.telemetry.metrics import Destination, DropReason, SampleOutcome, Telemetry
from export_samples import read_write_request
from scripted_receiver import ScriptedReceiver
from watched_pipeline import MINUTE_NS, SECOND_NS, START_NS, WatchedPipeline, baseline_of

_WINDOWS = ("5m", "1h", "100rows")


def _ends(bodies: list[bytes]) -> dict[str, list[tuple[int, float]]]:
    """Time and value of each sample that says where a window ends, by window length, in order of arrival."""
    found: dict[str, list[tuple[int, float]]] = {window: [] for window in _WINDOWS}
    for body in bodies:
        for key, (value, time_ms) in read_write_request(body).items():
            labels = dict(key)
            if labels["__name__"] == "ml_window_end_timestamp_seconds" and not math.isnan(value):
                found[labels["window"]].append((time_ms, value))
    return found


def _serve(watched: WatchedPipeline, first_minute: int, minutes: int) -> None:
    """A row every two seconds arrives in one go, when these minutes are over."""
    watched.clock.ns = max(watched.clock.ns, START_NS + (first_minute + minutes) * MINUTE_NS)
    numbers = np.random.default_rng(first_minute).normal(size=30 * minutes)
    ends_ns = [START_NS + (first_minute * 60 + 2 * row) * SECOND_NS for row in range(len(numbers))]
    watched.send([{"x": float(number)} for number in numbers], ends_ns)
    watched.pipeline.settle()
    watched.pipeline.tick(revise=True)
    watched.pipeline.settle()


def test_every_window_of_a_backlog_that_comes_after_fresh_rows_is_sent() -> None:
    """An outage, then live rows, then what had waited: each window reaches the receiver, and the newest one stands."""
    telemetry, receiver = Telemetry(), ScriptedReceiver([])
    reference = pl.DataFrame({"x": np.random.default_rng(1).normal(size=2_000)})
    watched = WatchedPipeline({"window": {"lengths": _WINDOWS}}, [baseline_of(reference, "prices")])

    async def test() -> None:
        async with receiver.listening(), asyncio.timeout(60):
            sections = {"interval": "1h", "scrape": {"listen": None}, "remote_write": {"url": receiver.url}}
            exporter = Exporter(ExportConfig.model_validate(sections), telemetry, SystemClock())
            await exporter.start()
            # 20 minutes, an outage of four hours, 20 minutes after it, then the backlog, its later part first.
            for first_minute, minutes in ((0, 20), (260, 20), (140, 120), (20, 120)):
                published = len(watched.evaluated)
                _serve(watched, first_minute, minutes)
                for window in watched.evaluated[published:]:
                    exporter.publish(window)
                await asyncio.sleep(0.5)
            await exporter.stop(30)

    asyncio.run(test())
    evaluated = {
        name: [
            window.end_ns / SECOND_NS for window in watched.evaluated if window.window.name == name and window.end_ns
        ]
        for name in _WINDOWS
    }
    arrived = _ends([one.body for one in receiver.received])
    assert len(set(evaluated["5m"])) >= 50
    for name, samples in arrived.items():
        assert {end for _, end in samples} == set(evaluated[name])
        times_ms = [time_ms for time_ms, _ in samples]
        assert times_ms == sorted(set(times_ms))
        newest = evaluated[name][-1] if name == "100rows" else max(evaluated[name])
        assert samples[-1][1] == newest
    assert [window for window in watched.evaluated if window.revision], "late rows changed windows, too"
    produced, sent, dropped = (
        telemetry.samples.value(destination=Destination.REMOTE_WRITE, outcome=outcome) for outcome in SampleOutcome
    )
    revised = telemetry.samples_dropped.value(destination=Destination.REMOTE_WRITE, reason=DropReason.REVISED)
    assert dropped == revised > 0
    assert produced == sent + dropped
