"""Requests that wait are taken together, each with an outcome of its own."""

import asyncio
import gc
import threading
import weakref
from collections.abc import Coroutine, Sequence
from typing import Any

import pytest

from driftmeter.errors import DiskFullError, MalformedError
from driftmeter.ingest.gathered import GROUP_BYTES, Gathered
from driftmeter.ingest.worker import Worker
from driftmeter.model.receipt import Receipt
from driftmeter.model.request import Request, Signal


class Seen(Request):
    """A request whose end can be seen."""


class Working:
    """Work that waits until it is let go, and remembers what it was given."""

    def __init__(self) -> None:
        self.groups: list[int] = []
        self.begun = threading.Event()
        self.go_on = threading.Event()

    def __call__(self, requests: Sequence[Request]) -> list[Receipt]:
        """A receipt each, whose count of rejected spans is the size of the request."""
        self.groups.append(len(requests))
        self.begun.set()
        assert self.go_on.wait(30)
        return [Receipt(len(request.body)) for request in requests]


def request(size_bytes: int) -> Request:
    """A request of so many bytes."""
    return Seen(Signal.TRACES, bytes(size_bytes))


def run(test: Coroutine[Any, Any, None]) -> None:
    """Run a test to its end."""
    asyncio.run(asyncio.wait_for(test, 60))


def test_those_that_wait_are_taken_together() -> None:
    """While one request is worked on, ten others come: they are one group, and each gets its own receipt."""

    async def test() -> None:
        worker, working = Worker("test"), Working()
        gathered = Gathered(worker, working)
        first = asyncio.create_task(gathered.submit(request(1)))
        await asyncio.to_thread(working.begun.wait, 30)
        others = [asyncio.create_task(gathered.submit(request(size))) for size in range(2, 12)]
        await asyncio.sleep(0)
        working.go_on.set()
        receipts = await asyncio.gather(first, *others)
        assert [receipt.rejected_spans for receipt in receipts] == list(range(1, 12))
        assert working.groups == [1, 10]
        worker.close()

    run(test())


def test_groups_are_bounded_by_bytes() -> None:
    """Three requests of half a group's bytes are not taken at once."""

    async def test() -> None:
        worker, working = Worker("test"), Working()
        gathered = Gathered(worker, working)
        first = asyncio.create_task(gathered.submit(request(1)))
        await asyncio.to_thread(working.begun.wait, 30)
        others = [asyncio.create_task(gathered.submit(request(GROUP_BYTES // 2))) for _ in range(3)]
        await asyncio.sleep(0)
        working.go_on.set()
        await asyncio.gather(first, *others)
        assert working.groups == [1, 2, 1]
        worker.close()

    run(test())


def test_senders_that_go_away_leave_no_bytes_behind() -> None:
    """A cancelled request's bytes are freed at once, though the one before it is still worked on; it is not taken."""

    async def test() -> None:
        worker, working = Worker("test"), Working()
        gathered = Gathered(worker, working)
        first = asyncio.create_task(gathered.submit(request(1)))
        await asyncio.to_thread(working.begun.wait, 30)
        gone = request(2)
        seen = weakref.ref(gone)
        second = asyncio.create_task(gathered.submit(gone))
        await asyncio.sleep(0)
        del gone
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        del second
        gc.collect()
        assert seen() is None
        working.go_on.set()
        await first
        assert (await gathered.submit(request(3))).rejected_spans == 3
        assert working.groups == [1, 1]
        worker.close()

    run(test())


def test_each_sender_gets_its_own_outcome() -> None:
    """Of three requests taken together one is malformed and one has no room on disk: the third is taken."""

    def work(requests: Sequence[Request]) -> list[Receipt | MalformedError | DiskFullError]:
        outcomes: dict[int, Receipt | MalformedError | DiskFullError]
        outcomes = {1: Receipt(), 2: MalformedError("no request"), 3: DiskFullError("full")}
        return [outcomes[len(each.body)] for each in requests]

    async def test() -> None:
        worker = Worker("test")
        gathered = Gathered(worker, work)
        outcomes = await asyncio.gather(*(gathered.submit(request(size)) for size in (1, 2, 3)), return_exceptions=True)
        assert outcomes[0] == Receipt()
        assert isinstance(outcomes[1], MalformedError)
        assert isinstance(outcomes[2], DiskFullError)
        worker.close()

    run(test())


def test_work_that_fails_tells_all_and_goes_on() -> None:
    """A fault of the work reaches every sender of the group; the next group is worked on."""
    faults = [RuntimeError("broken")]

    def work(requests: Sequence[Request]) -> list[Receipt]:
        if faults:
            raise faults.pop()
        return [Receipt()] * len(requests)

    async def test() -> None:
        worker = Worker("test")
        gathered = Gathered(worker, work)
        both = (gathered.submit(request(1)), gathered.submit(request(1)))
        outcomes = await asyncio.gather(*both, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [RuntimeError, RuntimeError]
        assert await gathered.submit(request(1)) == Receipt()
        worker.close()

    run(test())
