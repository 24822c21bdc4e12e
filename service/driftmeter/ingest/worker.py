"""One thread that works for the event loop, one piece of work after the other."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

Result = TypeVar("Result")

_AHEAD = 2
"""Pieces of work handed to the thread at a time: one that it does, one that it finds when that is done."""


class _Work(Generic[Result]):
    """Work that can be taken back as long as it has not begun, and lets go then of all that it holds."""

    def __init__(self, work: Callable[[], Result]) -> None:
        self._work: Callable[[], Result] | None = work

    def take_back(self) -> None:
        self._work = None

    def __call__(self) -> Result:
        work, self._work = self._work, None
        if work is None:
            raise asyncio.CancelledError
        try:
            return work()
        except StopIteration as error:  # A future cannot hold it, and its coroutine would wait for ever.
            raise RuntimeError("work raised StopIteration") from error


class Worker:
    """A thread that does what coroutines ask for, in the order in which they asked.

    Work whose coroutine is cancelled before its turn is not done, and what it holds is freed at once.
    """

    def __init__(self, name: str) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self._turns = asyncio.Semaphore(_AHEAD)

    async def run(self, work: Callable[[], Result]) -> Result:
        """The work's result, or what it raised."""
        await self._turns.acquire()
        held = _Work(work)
        del work
        try:
            future = asyncio.get_running_loop().run_in_executor(self._thread, held)
        except RuntimeError:
            self._turns.release()
            raise
        future.add_done_callback(self._end_turn)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            held.take_back()
            raise

    def close(self) -> None:
        """Do what has been asked for, then end the thread. Blocks. Safe to call twice."""
        self._thread.shutdown()

    def _end_turn(self, future: "asyncio.Future[Result]") -> None:
        self._turns.release()
        if not future.cancelled():
            future.exception()  # Read here since nobody else may: its coroutine can be gone.
