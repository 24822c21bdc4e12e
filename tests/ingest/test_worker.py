"""The thread that works for the event loop: order, and work that nobody waits for any more."""

import asyncio
import gc
import threading
import weakref
from functools import partial

import pytest

from driftmeter.ingest.worker import Worker
from receiving import run


class Payload:
    """Something that work holds."""


def test_results_and_exceptions_come_back_in_order() -> None:
    """Work is done one after the other, in the order asked for; what it raises reaches who asked."""

    async def test() -> None:
        worker, done = Worker("test"), list[int]()
        await asyncio.gather(*(worker.run(partial(done.append, number)) for number in range(20)))
        assert done == list(range(20))
        assert await worker.run(lambda: 7) == 7
        with pytest.raises(ZeroDivisionError):
            await worker.run(lambda: 1 // 0)
        worker.close()
        worker.close()

    run(test)


def test_cancelled_work_is_not_done_and_let_go() -> None:
    """Work whose asker goes before its turn is never begun, and what it holds is freed while others still wait."""

    async def test() -> None:
        worker, release, done = Worker("test"), threading.Event(), list[str]()
        running = asyncio.create_task(worker.run(release.wait))
        payloads = [Payload() for _ in range(5)]
        freed = [weakref.ref(payload) for payload in payloads]

        def work(payload: Payload) -> None:
            done.append(str(payload))

        waiting = [asyncio.create_task(worker.run(partial(work, payload))) for payload in payloads]
        await asyncio.sleep(0.05)
        del payloads
        while waiting:
            task = waiting.pop()
            task.cancel()
            await asyncio.wait([task])
        del task
        gc.collect()
        assert [payload() for payload in freed] == [None] * 5
        release.set()
        await running
        assert await worker.run(lambda: "next") == "next"
        assert done == []
        worker.close()

    run(test)


def test_work_that_has_begun_ends_though_nobody_waits() -> None:
    """Cancelling does not stop the thread in the middle, nor does its exception reach anybody."""

    async def test() -> None:
        worker, begun, release = Worker("test"), threading.Event(), threading.Event()

        def work() -> None:
            begun.set()
            release.wait()
            raise RuntimeError("nobody hears")

        task = asyncio.create_task(worker.run(work))
        await asyncio.to_thread(begun.wait)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        release.set()
        assert await worker.run(lambda: 1) == 1
        worker.close()

    run(test)
