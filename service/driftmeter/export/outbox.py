"""A bounded queue of encoded requests for one destination, whose accounts always balance.

`produced = queued + sent + dropped` holds at every moment at which it can be read, since each step moves both sides in
one `Telemetry.moving()`. A request that is being sent counts as queued.
"""

import asyncio
from collections import deque
from dataclasses import dataclass

from driftmeter.clock import Clock
from driftmeter.telemetry.metrics import Destination, DropReason, SampleOutcome, Telemetry


@dataclass(frozen=True, slots=True)
class EncodedRequest:
    """One request, encoded once and never again.

    Attributes:
        body: What goes over the wire.
        samples: How many samples it holds.
        created_seconds: `Clock.monotonic_seconds()` when it was made.
    """

    body: bytes
    samples: int
    created_seconds: float


class Outbox:
    """Requests of one destination, in order. When it is full the oldest that is not being sent gives way.

    Args:
        destination: Label of the accounts.
        samples_max: Most samples kept.
        telemetry: Where is counted.
        clock: Read for the age of requests.
    """

    def __init__(self, destination: Destination, samples_max: int, telemetry: Telemetry, clock: Clock) -> None:
        self.destination = destination
        self._samples_max = samples_max
        self._telemetry = telemetry
        self._clock = clock
        self._requests: deque[EncodedRequest] = deque()
        self._sending: EncodedRequest | None = None
        self._samples = 0
        self._filled = asyncio.Event()
        self._emptied = asyncio.Event()
        self._emptied.set()
        for outcome in SampleOutcome:
            telemetry.samples.add(0, destination=destination, outcome=outcome)
        telemetry.queue_samples.set(0, destination=destination)

    @property
    def samples(self) -> int:
        """Samples in the queue, those being sent included."""
        return self._samples

    def put(self, body: bytes, samples: int) -> None:
        """Queue a request; makes room by dropping the oldest, counted as `queue_full`."""
        with self._telemetry.moving():
            self._requests.append(EncodedRequest(body, samples, self._clock.monotonic_seconds()))
            self._move(samples)
            self._count(SampleOutcome.PRODUCED, samples)
            while self._samples > self._samples_max and self._requests:
                self._drop(self._requests.popleft().samples, DropReason.QUEUE_FULL)
        self._signal()

    def refuse(self, samples: int, reason: DropReason) -> None:
        """Count samples that were produced but cannot be queued."""
        with self._telemetry.moving():
            self._move(samples)
            self._count(SampleOutcome.PRODUCED, samples)
            self._drop(samples, reason)

    async def take(self) -> EncodedRequest:
        """The oldest request, to be settled by `sent` or `dropped` before the next is taken."""
        assert self._sending is None, "the request before was not settled"  # noqa: S101
        while not self._requests:
            await self._filled.wait()
        self._sending = self._requests.popleft()
        self._signal()
        return self._sending

    def sent(self, rejected: int = 0) -> None:
        """The request in hand was delivered, but for `rejected` samples that the receiver did not take."""
        request = self._settle()
        rejected = min(max(rejected, 0), request.samples)
        with self._telemetry.moving():
            self._move(rejected - request.samples)
            self._count(SampleOutcome.SENT, request.samples - rejected)
            self._drop(rejected, DropReason.PARTIAL)
        self._signal()

    def dropped(self, reason: DropReason) -> None:
        """The request in hand is given up."""
        request = self._settle()
        with self._telemetry.moving():
            self._drop(request.samples, reason)
        self._signal()

    def close(self) -> None:
        """Give up all that is left, the request in hand included, counted as `shutdown`."""
        left = [*self._requests, *([self._sending] if self._sending else [])]
        self._requests.clear()
        self._sending = None
        with self._telemetry.moving():
            self._drop(sum(request.samples for request in left), DropReason.SHUTDOWN)
        self._signal()

    async def emptied(self) -> None:
        """Returns once nothing is queued or being sent."""
        await self._emptied.wait()

    def _settle(self) -> EncodedRequest:
        assert self._sending is not None, "no request was taken"  # noqa: S101
        request, self._sending = self._sending, None
        return request

    def _move(self, samples: int) -> None:
        self._samples += samples
        self._telemetry.queue_samples.set(self._samples, destination=self.destination)

    def _count(self, outcome: SampleOutcome, samples: int) -> None:
        self._telemetry.samples.add(samples, destination=self.destination, outcome=outcome)

    def _drop(self, samples: int, reason: DropReason) -> None:
        if samples:
            self._move(-samples)
            self._count(SampleOutcome.DROPPED, samples)
            self._telemetry.samples_dropped.add(samples, destination=self.destination, reason=reason)

    def _signal(self) -> None:
        (self._filled.set if self._requests else self._filled.clear)()
        (self._emptied.clear if self._requests or self._sending else self._emptied.set)()
