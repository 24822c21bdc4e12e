"""The bounded queue of a destination and its accounts."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from driftmeter.export.outbox import Outbox
from driftmeter.telemetry.metrics import Destination, DropReason, SampleOutcome, Telemetry
from export_samples import StillClock

_HERE = Destination.REMOTE_WRITE


def _accounts(telemetry: Telemetry) -> tuple[float, float, float, float]:
    """Produced, queued, sent, dropped."""
    produced, sent, dropped = (telemetry.samples.value(destination=_HERE, outcome=outcome) for outcome in SampleOutcome)
    return produced, telemetry.queue_samples.value(destination=_HERE), sent, dropped


def _run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(test)


def test_the_oldest_gives_way_when_the_queue_is_full() -> None:
    """What is dropped is the oldest that is not being sent, and it is counted with its samples."""

    async def test() -> None:
        telemetry = Telemetry()
        outbox = Outbox(_HERE, 100, telemetry, StillClock())
        outbox.put(b"a", 40)
        assert (await outbox.take()).body == b"a"
        outbox.put(b"b", 40)
        outbox.put(b"c", 40)
        assert _accounts(telemetry) == (120, 80, 0, 40)
        assert telemetry.samples_dropped.value(destination=_HERE, reason=DropReason.QUEUE_FULL) == 40
        outbox.sent()
        assert (await outbox.take()).body == b"c"

    _run(test())


def test_take_waits_for_something_to_send() -> None:
    """A courier sleeps until there is a request."""

    async def test() -> None:
        outbox = Outbox(_HERE, 100, Telemetry(), StillClock())
        taking = asyncio.create_task(outbox.take())
        await asyncio.sleep(0)
        assert not taking.done()
        outbox.put(b"a", 1)
        assert (await taking).body == b"a"

    _run(test())


def test_emptied_waits_for_the_request_in_hand() -> None:
    """The outbox is empty only once the last request is settled."""

    async def test() -> None:
        outbox = Outbox(_HERE, 100, Telemetry(), StillClock())
        await outbox.emptied()
        outbox.put(b"a", 1)
        await outbox.take()
        waiting = asyncio.create_task(outbox.emptied())
        await asyncio.sleep(0)
        assert not waiting.done()
        outbox.sent()
        await waiting

    _run(test())


def test_a_partial_success_counts_both_parts() -> None:
    """What the receiver did not take is dropped as `partial`, the rest is sent; it cannot reject more than it got."""

    async def test() -> None:
        telemetry = Telemetry()
        outbox = Outbox(_HERE, 100, telemetry, StillClock())
        for rejected in (3, 99):
            outbox.put(b"a", 10)
            await outbox.take()
            outbox.sent(rejected)
        assert _accounts(telemetry) == (20, 0, 7, 13)

    _run(test())


def test_closing_counts_what_is_left() -> None:
    """Requests waiting and in hand at the end are dropped as `shutdown`."""

    async def test() -> None:
        telemetry = Telemetry()
        outbox = Outbox(_HERE, 100, telemetry, StillClock())
        outbox.put(b"a", 10)
        outbox.put(b"b", 20)
        await outbox.take()
        outbox.close()
        outbox.close()
        assert _accounts(telemetry) == (30, 0, 0, 30)
        assert telemetry.samples_dropped.value(destination=_HERE, reason=DropReason.SHUTDOWN) == 30

    _run(test())


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["put", "take", "sent", "drop", "refuse"]), st.integers(1, 60)), max_size=40))
def test_the_accounts_balance_after_every_step(steps: list[tuple[str, int]]) -> None:
    """What was produced is queued, sent or dropped; the queue holds what it says and never more than allowed."""

    async def test() -> None:
        telemetry = Telemetry()
        outbox = Outbox(_HERE, 100, telemetry, StillClock())
        in_hand = 0
        for step, samples in steps:
            if step == "put":
                outbox.put(b"x", samples)
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
            produced, queued, sent, dropped = _accounts(telemetry)
            assert produced == queued + sent + dropped
            assert queued == outbox.samples == in_hand + sum(request.samples for request in outbox._requests)
            assert queued <= 100
            by_reason = sum(telemetry.samples_dropped.value(destination=_HERE, reason=reason) for reason in DropReason)
            assert by_reason == dropped

    _run(test())
