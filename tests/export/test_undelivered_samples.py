"""Samples that are not delivered when the service ends: kept for the next start, or counted."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import httpx
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftmeter.clock import SystemClock
from driftmeter.errors import DamagedError
from driftmeter.export import routes as routes_module
from driftmeter.export.config import ExportConfig
from driftmeter.export.counters import SILENCE_NS
from driftmeter.export.exporter import Exporter
from driftmeter.export.outbox import Outbox
from driftmeter.export.remote_write.encode import encode_write_request
from driftmeter.model.bundle import Tree
from driftmeter.telemetry.metrics import Destination, DropReason, SampleOutcome, Telemetry
from export_samples import KEY, StillClock, evaluated, read_write_request
from scripted_receiver import Reply, ScriptedReceiver
from stored_states import again, assert_damage_is_named

_HERE = Destination.REMOTE_WRITE


def _accounts(telemetry: Telemetry) -> tuple[float, float, float, float]:
    """Produced, queued, sent, dropped."""
    produced, sent, dropped = (telemetry.samples.value(destination=_HERE, outcome=outcome) for outcome in SampleOutcome)
    return produced, telemetry.queue_samples.value(destination=_HERE), sent, dropped


def _dropped(telemetry: Telemetry, reason: DropReason) -> float:
    return telemetry.samples_dropped.value(destination=_HERE, reason=reason)


def _run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(test)


async def _bodies(outbox: Outbox) -> list[bytes]:
    """Deliver everything that is queued."""
    bodies = []
    while outbox.samples:
        bodies.append((await outbox.take()).body)
        outbox.sent()
    return bodies


@pytest.mark.parametrize(("stopped", "expected"), [(True, (60, 60, 0, 0)), (False, (50, 50, 0, 0))])
def test_what_is_queued_is_queued_again_in_order(stopped: bool, expected: tuple[int, ...]) -> None:  # noqa: FBT001
    """The request in hand comes first. Accounts go on after a stop, and begin with what is queued after a crash."""

    async def test() -> None:
        telemetry = Telemetry()
        outbox = Outbox(_HERE, 100, telemetry, StillClock())
        for body, samples in ((b"settled", 10), (b"in hand", 20), (b"waiting", 30)):
            outbox.put(body, samples)
        await outbox.take()
        outbox.sent()
        assert (await outbox.take()).body == b"in hand"
        telemetry = Telemetry()
        fresh = Outbox(_HERE, 100, telemetry, StillClock())
        fresh.restore(again(outbox.state()), stopped=stopped)
        sent = 10 if stopped else 0
        assert _accounts(telemetry) == (expected[0], 50, sent, 0)
        fresh.put(b"new", 5)
        assert await _bodies(fresh) == [b"in hand", b"waiting", b"new"]
        assert _accounts(telemetry) == (expected[0] + 5, 0, sent + 55, 0)

    _run(test())


def test_requests_are_as_old_after_a_restart_as_the_outage_made_them() -> None:
    """Time goes on while the service is down; a clock that was set back makes no request younger than new."""

    async def test() -> None:
        clock = StillClock()
        outbox = Outbox(_HERE, 100, Telemetry(), clock)
        outbox.put(b"a", 1)
        clock.advance(60)
        for now_ns, age_seconds in ((clock.ns + 3_600 * 10**9, 3_660), (clock.ns - 3_600 * 10**9, 0)):
            fresh = Outbox(_HERE, 100, Telemetry(), StillClock(now_ns))
            fresh.restore(again(outbox.state()), stopped=False)
            request = await fresh.take()
            assert request.unknown_outcome
            assert now_ns / 1e9 - request.created_seconds == pytest.approx(age_seconds, abs=1e-3)

    _run(test())


def test_a_smaller_queue_drops_the_oldest() -> None:
    """When the queue may hold less than before the restart, what does not fit is counted."""

    async def test() -> None:
        outbox = Outbox(_HERE, 100, Telemetry(), StillClock())
        for body in (b"a", b"b", b"c"):
            outbox.put(body, 30)
        telemetry = Telemetry()
        fresh = Outbox(_HERE, 70, telemetry, StillClock())
        fresh.restore(again(outbox.state()), stopped=False)
        assert _accounts(telemetry) == (90, 60, 0, 30)
        assert _dropped(telemetry, DropReason.QUEUE_FULL) == 30
        assert await _bodies(fresh) == [b"b", b"c"]

    _run(test())


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["put", "take", "sent", "drop", "refuse", "restart", "crash"]), st.integers(1, 60)),
        max_size=40,
    )
)
def test_the_accounts_balance_over_restarts(steps: list[tuple[str, int]]) -> None:
    """What was produced is queued, sent or dropped after every step, and nothing leaves the queue but in order."""

    async def test() -> None:
        telemetry = Telemetry()
        outbox = Outbox(_HERE, 100, telemetry, StillClock())
        in_hand = 0
        for number, (step, samples) in enumerate(steps):
            if step == "put":
                outbox.put(str(number).encode(), samples)
            elif step == "refuse":
                outbox.refuse(samples, DropReason.REVISED)
            elif step == "take" and not in_hand and outbox.samples:
                in_hand = (await outbox.take()).samples
            elif step == "sent" and in_hand:
                outbox.sent()
                in_hand = 0
            elif step == "drop" and in_hand:
                outbox.dropped(DropReason.BAD_REQUEST)
                in_hand = 0
            elif step in {"restart", "crash"}:
                before, bodies = _accounts(telemetry), [request.body for request in outbox._unsettled()]
                state, telemetry, in_hand = again(outbox.state()), Telemetry(), 0
                outbox = Outbox(_HERE, 100, telemetry, StillClock())
                outbox.restore(state, stopped=step == "restart")
                after = _accounts(telemetry)
                assert after == (before if step == "restart" else (before[1], before[1], 0, 0))
                assert bodies == [request.body for request in outbox._unsettled()]
            produced, queued, sent, dropped = _accounts(telemetry)
            assert produced == queued + sent + dropped
            assert queued == outbox.samples <= 100
            assert sum(_dropped(telemetry, reason) for reason in DropReason) == dropped

    _run(test())


def _config(url: str | None, **sections: Any) -> ExportConfig:
    remote_write = {"instance": "here", "url": url}
    same = {"interval": "1h", "scrape": {"listen": None}}
    return ExportConfig.model_validate({**same, "remote_write": remote_write, **sections})


def _scores(receiver: ScriptedReceiver) -> list[float]:
    """Values of one series, in the order in which they came."""
    return [
        value
        for one in receiver.received
        for key, (value, _) in read_write_request(one.body).items()
        if {("__name__", "ml_feature_drift_score"), ("feature", "temp")} <= key
    ]


async def _until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not true():  # noqa: ASYNC110  # No event tells: what is waited for is what can be seen from outside.
            await asyncio.sleep(0.01)


def _restored(config: ExportConfig, tree: Tree) -> tuple[Exporter, Telemetry]:
    telemetry = Telemetry()
    exporter = Exporter(config, telemetry, SystemClock(), event_time=True)
    exporter.restore(again(tree))
    return exporter, telemetry


@pytest.mark.parametrize("stopped", [True, False])
def test_what_was_not_delivered_is_delivered_after_the_restart(stopped: bool) -> None:  # noqa: FBT001  # Parametrized.
    """Each window reaches a receiver that was away before the restart, once and in order, and the accounts balance."""
    receiver = ScriptedReceiver([])

    async def test() -> None:
        telemetry = Telemetry()
        config = _config("http://127.0.0.1:9/nobody")
        exporter = Exporter(config, telemetry, SystemClock(), event_time=True)
        await exporter.start()
        for index in range(3):
            exporter.publish(evaluated(index))
        await _until(lambda: exporter.queued_samples > 0)
        crashed = exporter.state()
        await exporter.stop(0.1, keep=True)
        before = _accounts(telemetry)
        assert before[3] == 0
        tree = exporter.state() if stopped else crashed
        async with receiver.listening():
            exporter, telemetry = _restored(_config(receiver.url), tree)
            if stopped:
                assert _accounts(telemetry)[0] == before[0]
            exporter.publish(evaluated(3))
            await exporter.start()
            await exporter.stop(60)
            await exporter.stop(60)
        produced, queued, sent, dropped = _accounts(telemetry)
        assert (queued, dropped) == (0, 0)
        assert produced == sent > 0

    _run(test())
    assert _scores(receiver) == [0.1, 0.101, 0.102, 0.103]


class _Slow:
    """An encoder that waits until it is let go."""

    def __init__(self) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()

    def __call__(self, table: pl.DataFrame, job: str, instance: str) -> bytes:
        """Encode, in time."""
        self.begun.set()
        assert self.go_on.wait(60)
        return encode_write_request(table, job, instance)


@pytest.mark.parametrize("keep", [False, True])
def test_what_is_being_encoded_at_the_end_is_counted_or_kept(
    keep: bool,  # noqa: FBT001  # Parametrized.
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Points in the hands of the encoder when the time is up, and windows behind them, are no loss without a number."""
    slow, receiver = _Slow(), ScriptedReceiver([])
    monkeypatch.setattr(routes_module, "encode_write_request", slow)
    points = evaluated(0).points(0).height

    async def test() -> None:
        telemetry = Telemetry()
        exporter = Exporter(_config("http://127.0.0.1:9/nobody"), telemetry, SystemClock(), event_time=True)
        await exporter.start()
        exporter.publish(evaluated(0))
        await _until(slow.begun.is_set)
        exporter.publish(evaluated(1))
        await exporter.stop(0.1, keep=keep)
        if not keep:
            slow.go_on.set()
            assert _accounts(telemetry) == (
                _dropped(telemetry, DropReason.SHUTDOWN),
                0,
                0,
                telemetry.samples.value(destination=_HERE, outcome=SampleOutcome.DROPPED),
            )
            assert _dropped(telemetry, DropReason.SHUTDOWN) >= 2 * points
            return
        assert _accounts(telemetry) == (0, 0, 0, 0)
        tree = exporter.state()
        slow.go_on.set()
        async with receiver.listening():
            exporter, _ = _restored(_config(receiver.url), tree)
            await exporter.start()
            await exporter.stop(60)

    _run(test())
    assert _scores(receiver) == ([0.1, 0.101] if keep else [])


def test_a_snapshot_while_points_are_encoded_has_them_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """State that is taken at any moment between a window and its delivery leads to the same samples."""
    slow, receiver = _Slow(), ScriptedReceiver([])
    monkeypatch.setattr(routes_module, "encode_write_request", slow)
    trees: list[Tree] = []

    async def test() -> None:
        exporter = Exporter(_config("http://127.0.0.1:9/nobody"), Telemetry(), SystemClock(), event_time=True)
        exporter.publish(evaluated(0))
        trees.append(exporter.state())
        await exporter.start()
        await _until(slow.begun.is_set)
        trees.append(exporter.state())
        slow.go_on.set()
        await _until(lambda: exporter.queued_samples > 0)
        trees.append(exporter.state())
        await exporter.stop(0.1)
        for tree in trees:
            async with receiver.listening():
                exporter, telemetry = _restored(_config(receiver.url), tree)
                await exporter.start()
                await exporter.stop(60)
                produced, queued, sent, dropped = _accounts(telemetry)
                assert (produced, queued, dropped) == (sent, 0, 0)

    _run(test())
    assert _scores(receiver) == [0.1, 0.1, 0.1]


def test_requests_of_a_destination_that_is_gone_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    """A restart without the destination drops what waits for it, as `shutdown`, and says so."""

    async def test() -> None:
        exporter = Exporter(_config("http://127.0.0.1:9/nobody"), Telemetry(), SystemClock(), event_time=True)
        await exporter.start()
        exporter.publish(evaluated(0))
        await _until(lambda: exporter.queued_samples > 0)
        queued = exporter.queued_samples
        tree = exporter.state()
        await exporter.stop(0.1)
        _, telemetry = _restored(_config(None), tree)
        assert _accounts(telemetry) == (queued, 0, 0, queued)
        assert _dropped(telemetry, DropReason.SHUTDOWN) == queued

    _run(test())
    assert "not configured any more" in caplog.text


def test_a_refusal_of_what_may_have_been_delivered_is_no_proof_of_loss() -> None:
    """A request that was queued at a crash may have been sent after the snapshot: a 400 for it counts as such."""
    receiver = ScriptedReceiver([Reply(400), Reply(200)])

    async def test() -> None:
        exporter = Exporter(_config("http://127.0.0.1:9/nobody"), Telemetry(), SystemClock(), event_time=True)
        await exporter.start()
        exporter.publish(evaluated(0))
        await _until(lambda: exporter.queued_samples > 0)
        tree = exporter.state()
        await exporter.stop(0.1)
        async with receiver.listening():
            exporter, telemetry = _restored(_config(receiver.url), tree)
            await exporter.start()
            await exporter.stop(60)
        assert _dropped(telemetry, DropReason.BAD_REQUEST_AFTER_RETRY) > 0
        assert _dropped(telemetry, DropReason.BAD_REQUEST) == 0

    _run(test())


def test_the_page_waits_for_the_counters() -> None:
    """While a service recovers it is alive and not ready, and `/metrics` shows no counter that stepped back."""

    async def test() -> None:
        config = _config(None, scrape={"listen": "127.0.0.1:0"})
        exporter = Exporter(config, Telemetry(), SystemClock(), ready=lambda: False)
        await exporter.serve()
        await exporter.serve()

        def status(page: str) -> int:
            return httpx.get(f"http://127.0.0.1:{exporter.scrape_port}/{page}", trust_env=False).status_code

        async def statuses() -> list[int]:
            return [await asyncio.to_thread(status, page) for page in ("healthz", "readyz", "metrics")]

        assert await statuses() == [200, 503, 503]
        await exporter.start()
        assert await statuses() == [200, 503, 200]
        await exporter.stop(1)

    _run(test())


def test_a_forgotten_model_has_no_lag_any_more() -> None:
    """When a model's counters end after an hour of silence, so does the lag of its watermark."""
    telemetry, clock = Telemetry(), StillClock()
    telemetry.watermark_lag_seconds.set(5, model=KEY.model, version=KEY.version, stage=KEY.stage)
    exporter = Exporter(_config(None), telemetry, clock)
    exporter.publish(evaluated(0))
    exporter._take_due(tick=True)
    assert 'driftmeter_watermark_lag_seconds{model="delays"' in telemetry.expose()
    clock.advance(SILENCE_NS / 1e9 + 1)
    exporter._take_due(tick=True)
    assert "driftmeter_watermark_lag_seconds{" not in telemetry.expose()


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_damaged_state_is_named(seed: int) -> None:
    """Whatever is wrong with the exporter's state, it is an error with a name or does no harm."""
    config = _config("http://127.0.0.1:9/nobody")
    exporter = Exporter(config, Telemetry(), StillClock())
    exporter.publish(evaluated(0))
    exporter._take_due(tick=True)
    exporter._routes.routes[0].outbox.put(b"body", 3)
    tree = exporter.state()
    assert isinstance(tree, dict)
    assert_damage_is_named(tree, lambda each: Exporter(config, Telemetry(), StillClock()).restore(each), seed)
    with pytest.raises(DamagedError, match="no destination"):
        Exporter(config, Telemetry(), StillClock()).restore(tree | {"routes": {"nowhere": {}}})
