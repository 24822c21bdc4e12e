"""A bounded queue of encoded requests for one destination, whose accounts always balance.

`produced = queued + sent + dropped` holds at every moment at which it can be read, since each step moves both sides in
one `Telemetry.moving()`. A request that is being sent counts as queued. `state` may be called from any thread, all else
belongs to the event loop.

After a restart the queue is as it was at the snapshot, and the accounts balance again. After a stop they go on where
they were. After a crash they begin anew, with what is queued as produced: what became of samples since the snapshot is
not known, and counters that step back by a little would look like an increase by all they stand at.
"""

import asyncio
from collections import deque
from dataclasses import dataclass

import numpy as np

from driftmeter.clock import Clock
from driftmeter.errors import DamagedError
from driftmeter.model.bundle import Tree
from driftmeter.model.stored import Stored
from driftmeter.telemetry.metrics import Destination, DropReason, SampleOutcome, Telemetry

_NS_PER_SECOND = 1e9


@dataclass(frozen=True, slots=True)
class EncodedRequest:
    """One request, encoded once and never again.

    Attributes:
        body: What goes over the wire.
        samples: How many samples it holds.
        created_seconds: `Clock.monotonic_seconds()` when it was made.
        unknown_outcome: True when the receiver may have it already, from before a restart.
    """

    body: bytes
    samples: int
    created_seconds: float
    unknown_outcome: bool = False


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
            self._make_room()
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
        with self._telemetry.moving():
            self._sending = self._requests.popleft()
        self._signal()
        return self._sending

    def sent(self, rejected: int = 0) -> None:
        """The request in hand was delivered, but for `rejected` samples that the receiver did not take."""
        with self._telemetry.moving():
            request = self._settle()
            rejected = min(max(rejected, 0), request.samples)
            self._move(rejected - request.samples)
            self._count(SampleOutcome.SENT, request.samples - rejected)
            self._drop(rejected, DropReason.PARTIAL)
        self._signal()

    def dropped(self, reason: DropReason) -> None:
        """The request in hand is given up."""
        with self._telemetry.moving():
            request = self._settle()
            self._drop(request.samples, reason)
        self._signal()

    def close(self) -> None:
        """Give up all that is left, the request in hand included, counted as `shutdown`."""
        with self._telemetry.moving():
            left = self._unsettled()
            self._requests.clear()
            self._sending = None
            self._drop(sum(request.samples for request in left), DropReason.SHUTDOWN)
        self._signal()

    async def emptied(self) -> None:
        """Returns once nothing is queued or being sent."""
        await self._emptied.wait()

    def state(self) -> Tree:
        """Requests that are not settled, the one in hand first, and the accounts, for `restore`."""
        with self._telemetry.moving():
            requests = self._unsettled()
            sent = self._telemetry.samples.value(destination=self.destination, outcome=SampleOutcome.SENT)
            dropped = {
                reason.value: self._telemetry.samples_dropped.value(destination=self.destination, reason=reason)
                for reason in DropReason
            }
        # The monotonic clock means nothing to the next process.
        now_ns, now_seconds = self._clock.now_ns(), self._clock.monotonic_seconds()
        ages_ns = [int((now_seconds - request.created_seconds) * _NS_PER_SECOND) for request in requests]
        return {
            "bodies": [request.body for request in requests],
            "samples": np.array([request.samples for request in requests], np.int64),
            "created_ns": now_ns - np.array(ages_ns, np.int64),
            "sent": int(sent),
            "dropped": {name: int(samples) for name, samples in dropped.items() if samples},
        }

    def restore(self, tree: Tree, *, stopped: bool) -> None:
        """Queue the requests of a state, before any other; raises DamagedError when it is none.

        Args:
            tree: The state.
            stopped: Whether nothing was sent since it was taken, so that its accounts go on.
        """
        stored = Stored(tree)
        requests, samples = self._stored_requests(stored), stored.array("samples", np.int64, None)
        accounts = stored.member("dropped")
        with self._telemetry.moving():
            if stopped:
                self._count_settled(SampleOutcome.SENT, stored.count("sent"))
                for reason in accounts.names:
                    dropped = accounts.count(reason)
                    self._count_settled(SampleOutcome.DROPPED, dropped)
                    self._telemetry.samples_dropped.add(dropped, destination=self.destination, reason=reason)
            self._requests.extend(requests)
            self._move(int(samples.sum()))
            self._count(SampleOutcome.PRODUCED, int(samples.sum()))
            self._make_room()
        self._signal()

    def _stored_requests(self, stored: Stored) -> list[EncodedRequest]:
        bodies = stored.items("bodies")
        samples = stored.array("samples", np.int64, len(bodies))
        created_ns = stored.array("created_ns", np.int64, len(bodies))
        if not all(isinstance(body, bytes) for body in bodies) or (samples < 0).any():
            raise DamagedError("stored requests are none")
        # A clock that was set back makes nothing younger than new.
        ages_seconds = np.maximum(self._clock.now_ns() - created_ns, 0) / _NS_PER_SECOND
        created_seconds = self._clock.monotonic_seconds() - ages_seconds
        columns = zip(bodies, samples.tolist(), created_seconds.tolist(), strict=True)
        return [
            EncodedRequest(body, count, seconds, unknown_outcome=True)
            for body, count, seconds in columns
            if isinstance(body, bytes)
        ]

    def _unsettled(self) -> list[EncodedRequest]:
        """What is queued, in order."""
        return [*([self._sending] if self._sending else []), *self._requests]

    def _make_room(self) -> None:
        while self._samples > self._samples_max and self._requests:
            self._drop(self._requests.popleft().samples, DropReason.QUEUE_FULL)

    def _count_settled(self, outcome: SampleOutcome, samples: int) -> None:
        """Count what was produced and settled before a restart."""
        self._count(SampleOutcome.PRODUCED, samples)
        self._count(outcome, samples)

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
