"""The loop that delivers requests of one outbox in order: attempts, waits, gives up, counts.

What an attempt is and how its answer reads is the transport's business (`remote_write/send.py`, `otlp/send.py`).
One request is under way at a time, which keeps the order per series across retries.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from driftmeter.clock import Clock
from driftmeter.export.outbox import EncodedRequest, Outbox
from driftmeter.telemetry.logs import RateLimitedLog
from driftmeter.telemetry.metrics import DropReason, Telemetry

BACKOFF_SECONDS_MIN = 0.03
BACKOFF_SECONDS_MAX = 5.0


@dataclass(frozen=True, slots=True)
class Delivered:
    """The receiver has it, but for `rejected` samples, for which `message` says why."""

    rejected: int = 0
    message: str = ""


@dataclass(frozen=True, slots=True)
class Retry:
    """A later attempt may succeed.

    Attributes:
        message: What happened.
        unknown_outcome: True when the receiver may have stored the request all the same.
        retry_after_seconds: How long the receiver asked to be left alone; None when it did not.
    """

    message: str
    unknown_outcome: bool
    retry_after_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """No later attempt can succeed."""

    reason: DropReason
    message: str


Answer: TypeAlias = Delivered | Retry | Refused
"""What came of one attempt."""

Attempt: TypeAlias = Callable[[bytes, int], Awaitable[Answer]]
"""Sends a body once; the number counts the attempts before this one. Whatever it raises is a fault of this service."""


class Backoff:
    """Waits between attempts: doubling from 30 ms to 5 s, each shortened at random by up to half.

    Without jitter, services that lost one receiver together would come back to it together.
    """

    def __init__(self, random: np.random.Generator) -> None:
        self._random = random
        self._next_seconds = BACKOFF_SECONDS_MIN

    def wait_seconds(self, retry_after_seconds: float | None) -> float:
        """The next wait; never shorter than what the receiver asked for."""
        wait = self._next_seconds * float(self._random.uniform(0.5, 1.0))
        if retry_after_seconds is not None:
            wait = max(wait, retry_after_seconds)
            self._next_seconds = max(self._next_seconds, wait)
        self._next_seconds = min(2 * self._next_seconds, BACKOFF_SECONDS_MAX)
        return wait


class Courier:
    """Delivers an outbox.

    Args:
        outbox: Where requests come from and are settled.
        attempt: The transport.
        max_age_seconds: After this long a request is given up.
        telemetry: Where attempts are counted.
        clock: Read for durations and ages.
    """

    def __init__(
        self, outbox: Outbox, attempt: Attempt, max_age_seconds: float, telemetry: Telemetry, clock: Clock
    ) -> None:
        self._outbox = outbox
        self._attempt = attempt
        self._max_age_seconds = max_age_seconds
        self._telemetry = telemetry
        self._clock = clock
        self._log = RateLimitedLog(logging.getLogger(__name__), clock)
        self._random = np.random.default_rng()

    async def run(self) -> None:
        """Deliver for ever; ends by cancellation."""
        while True:
            answer = await self._deliver(await self._outbox.take())
            if isinstance(answer, Refused):
                self._warn(answer.reason, answer.message)
                self._outbox.dropped(answer.reason)
            else:
                if answer.rejected or answer.message:
                    self._warn("partial success", answer.message, rejected=answer.rejected)
                self._outbox.sent(answer.rejected)

    async def _deliver(self, request: EncodedRequest) -> Delivered | Refused:
        """Attempt until there is a final answer or the request is too old."""
        backoff = Backoff(self._random)
        unknown_outcome = request.unknown_outcome
        attempts = 0
        while True:
            left_seconds = request.created_seconds + self._max_age_seconds - self._clock.monotonic_seconds()
            if left_seconds <= 0:
                return Refused(DropReason.TOO_OLD, f"not delivered for {self._max_age_seconds:g} s")
            answer = await self._timed_attempt(request.body, attempts)
            attempts += 1
            if isinstance(answer, Delivered):
                return answer
            if isinstance(answer, Refused):
                if unknown_outcome and answer.reason is DropReason.BAD_REQUEST:
                    return Refused(DropReason.BAD_REQUEST_AFTER_RETRY, answer.message)
                return answer
            unknown_outcome = unknown_outcome or answer.unknown_outcome
            self._warn("retrying", answer.message)
            await asyncio.sleep(min(backoff.wait_seconds(answer.retry_after_seconds), left_seconds))

    async def _timed_attempt(self, body: bytes, attempts: int) -> Answer:
        if attempts:
            self._telemetry.export_retries.add(destination=self._outbox.destination)
        start_seconds = self._clock.monotonic_seconds()
        try:
            return await self._attempt(body, attempts)
        except Exception as error:  # noqa: BLE001 - no request may end the deliveries of all that come after it.
            return Refused(DropReason.REJECTED, f"a fault in sending: {error!r}")
        finally:
            elapsed_seconds = self._clock.monotonic_seconds() - start_seconds
            self._telemetry.export_seconds.observe(elapsed_seconds, destination=self._outbox.destination)

    def _warn(self, what: str, message: str, **values: int) -> None:
        destination = self._outbox.destination
        self._log.warning(what, f"{destination}: {what}", reason=message, destination=destination, **values)
