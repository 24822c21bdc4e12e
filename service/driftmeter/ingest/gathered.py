"""Requests that wait while others are worked on are taken together: one wait for the disk serves them all."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from driftmeter.errors import DriftmeterError
from driftmeter.ingest.worker import Worker
from driftmeter.model.receipt import Receipt
from driftmeter.model.request import Request

GROUP_BYTES = 16 * 1024 * 1024
GROUP_REQUESTS = 512
"""Most requests, and their bytes, that are taken together: bounds how long the first of them waits for the last."""

Work = Callable[[Sequence[Request]], Sequence[Receipt | DriftmeterError]]
"""What is done with requests: one outcome for each, in order."""


@dataclass(eq=False, slots=True)
class _Waiting:
    """A request, until its sender has gone, and where its outcome goes."""

    request: Request | None
    future: asyncio.Future[Receipt]


class Gathered:
    """Hands requests to a worker, as many at a time as wait.

    Args:
        worker: Whose thread does the work.
        work: What is done.
    """

    def __init__(self, worker: Worker, work: Work) -> None:
        self._worker = worker
        self._work = work
        self._waiting: deque[_Waiting] = deque()
        self._runner: asyncio.Task[None] | None = None

    async def submit(self, request: Request) -> Receipt:
        """What becomes of a request; raises what its outcome is if that is an error.

        A request whose sender goes away before its turn is not taken.
        """
        waiting = _Waiting(request, asyncio.get_running_loop().create_future())
        del request
        self._waiting.append(waiting)
        if self._runner is None:
            self._runner = asyncio.create_task(self._run())
        try:
            return await waiting.future
        finally:
            waiting.request = None  # Its bytes count as in flight no longer: they must not wait for their turn.

    async def _run(self) -> None:
        try:
            while group := self._next_group():
                await self._take(group)
                del group
        finally:
            self._runner = None

    async def _take(self, group: list["_Waiting"]) -> None:
        futures = [each.future for each in group]
        work = partial(self._work, [each.request for each in group if each.request is not None])
        group.clear()
        try:
            outcomes = await self._worker.run(work)
        except asyncio.CancelledError:
            for future in futures:
                future.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - every sender is told, and the door makes an answer of it.
            _settle(futures, [error] * len(futures))
        else:
            _settle(futures, outcomes)

    def _next_group(self) -> list["_Waiting"]:
        group: list[_Waiting] = []
        size_bytes = 0
        while self._waiting and len(group) < GROUP_REQUESTS:
            request = self._waiting[0].request
            if request is None:
                self._waiting.popleft()
                continue
            size_bytes += len(request.body)
            if group and size_bytes > GROUP_BYTES:
                break
            group.append(self._waiting.popleft())
        return group


def _settle(futures: Sequence[asyncio.Future[Receipt]], outcomes: Sequence[Receipt | Exception]) -> None:
    for future, outcome in zip(futures, outcomes, strict=True):
        if future.done():
            continue
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
