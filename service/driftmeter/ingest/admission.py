"""Who may hold how many bytes in flight, decided before anything is decoded, for both transports together."""

from collections import OrderedDict
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from driftmeter.clock import Clock
from driftmeter.ingest.refusals import unavailable
from driftmeter.telemetry.metrics import RefusalReason, Telemetry

ACTIVE_SECONDS = 10.0
"""A client that came within so long counts as one that others must leave room for."""


@dataclass(frozen=True, slots=True)
class Room:
    """What the decision about some bytes depends on.

    Attributes:
        capacity_bytes: Bytes that may be in flight in all.
        share: What a client may hold of what others leave, in (0, 1].
        held_bytes: Bytes that the client holds already.
        other_bytes: Bytes that the other clients hold.
        first: Whether it holds them all for this one request: a client always gets one through where there is room.
        alone: Whether no other client is active.
    """

    capacity_bytes: int
    share: float
    held_bytes: int
    other_bytes: int
    first: bool
    alone: bool


def refusal_reason(size_bytes: int, room: Room) -> RefusalReason | None:
    """Why so many more bytes are not admitted; None when they are.

    A client may hold at most `share` of what the others leave. So some room always stays free for one that comes
    anew: with share s and k greedy clients, each holds s / (1 + (k - 1)s) of the whole.
    """
    if room.held_bytes + room.other_bytes + size_bytes > room.capacity_bytes:
        return RefusalReason.IN_FLIGHT
    left_bytes = room.capacity_bytes - room.other_bytes
    if not room.alone and not room.first and room.held_bytes + size_bytes > room.share * left_bytes:
        return RefusalReason.CLIENT_SHARE
    return None


_WORDS = {
    RefusalReason.IN_FLIGHT: "too many bytes in flight: try again",
    RefusalReason.CLIENT_SHARE: "too many bytes in flight from this address while others wait: try again",
}


@dataclass(eq=False, slots=True)
class _Client:
    seen_seconds: float
    held_bytes: int = 0
    leases: int = 0


class Admission:
    """Counts the bytes in flight. Not thread-safe: the event loop's alone.

    Args:
        capacity_bytes: Bytes that may be in flight.
        share: What a client may hold of what others leave, in (0, 1].
        telemetry: Where the bytes in flight are shown.
        clock: The time.
    """

    def __init__(self, capacity_bytes: int, share: float, telemetry: Telemetry, clock: Clock) -> None:
        self._capacity_bytes = capacity_bytes
        self._share = share
        self._telemetry = telemetry
        self._clock = clock
        self._held_bytes = 0
        self._clients: OrderedDict[str, _Client] = OrderedDict()  # In the order in which they were last seen.
        self._stopping = False

    def stop(self) -> None:
        """Admit nothing any more; what is in flight may end."""
        self._stopping = True

    def lease(self, client: str) -> "Lease":
        """Room for one request of a client, which holds no bytes yet; leave it as a context manager to free it."""
        return Lease(self, client)

    def _enter(self, name: str) -> _Client:
        now_seconds = self._clock.monotonic_seconds()
        client = self._clients.get(name)
        if client is None:
            client = self._clients[name] = _Client(now_seconds)
        client.seen_seconds = now_seconds
        client.leases += 1
        self._clients.move_to_end(name)
        self._forget_before(now_seconds - ACTIVE_SECONDS)
        return client

    def _leave(self, client: _Client, size_bytes: int) -> None:
        client.leases -= 1
        self._move(client, -size_bytes)

    def _grow(self, client: _Client, size_bytes: int) -> None:
        if self._stopping:
            raise unavailable(RefusalReason.STOPPING, "the service is stopping: try again")
        other_bytes = self._held_bytes - client.held_bytes
        alone = other_bytes == 0 and not self._others_active(client)
        first = client.leases == 1
        room = Room(self._capacity_bytes, self._share, client.held_bytes, other_bytes, first=first, alone=alone)
        reason = refusal_reason(size_bytes, room)
        if reason is not None:
            raise unavailable(reason, _WORDS[reason])
        self._move(client, size_bytes)

    def _move(self, client: _Client, size_bytes: int) -> None:
        client.held_bytes += size_bytes
        self._held_bytes += size_bytes
        self._telemetry.in_flight_bytes.set(self._held_bytes)

    def _others_active(self, client: _Client) -> bool:
        """Whether another client came lately; the newest two decide."""
        after_seconds = self._clock.monotonic_seconds() - ACTIVE_SECONDS
        for other in reversed(self._clients.values()):
            if other is not client:
                return other.seen_seconds > after_seconds
        return False

    def _forget_before(self, seconds: float) -> None:
        """Drop clients that have not come since and hold nothing; one that holds something ends the search."""
        while self._clients:
            name, oldest = next(iter(self._clients.items()))
            if oldest.leases or oldest.seen_seconds > seconds:
                return
            del self._clients[name]


class Lease:
    """The bytes in flight of one request."""

    def __init__(self, admission: Admission, client: str) -> None:
        self._admission = admission
        self._client = admission._enter(client)  # noqa: SLF001 - two halves of one thing.
        self.size_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._admission._leave(self._client, self.size_bytes)  # noqa: SLF001 - as above.

    def grow(self, size_bytes: int) -> None:
        """Hold so many bytes more; raises RefusedError when they are not admitted."""
        self._admission._grow(self._client, size_bytes)  # noqa: SLF001 - as above.
        self.size_bytes += size_bytes
