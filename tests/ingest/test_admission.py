"""Who is admitted: the decision by itself, its bookkeeping, and a noisy sender beside a quiet one on real sockets."""

import asyncio

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from driftmeter.ingest.admission import ACTIVE_SECONDS, Admission, Lease, Room, refusal_reason
from driftmeter.ingest.refusals import RefusedError
from driftmeter.telemetry.metrics import RefusalReason, RequestResult, Telemetry
from programs import LOOPBACK
from receiving import PROTOBUF, Gate, http_request, receiving, run, until
from spans import export_over

SHARE = RefusalReason.CLIENT_SHARE
FULL = RefusalReason.IN_FLIGHT


class HandClock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.seconds = 1_000.0

    def now_ns(self) -> int:
        """The same time, as nanoseconds."""
        return int(self.seconds * 1e9)

    def monotonic_seconds(self) -> float:
        """The time."""
        return self.seconds


@pytest.mark.parametrize(
    ("size", "held", "others", "first", "alone", "expected"),
    [
        (100, 0, 0, True, True, None),  # Alone: all of it.
        (101, 0, 0, True, True, FULL),
        (40, 60, 0, False, True, None),
        (41, 60, 0, False, True, FULL),
        (20, 30, 0, False, False, None),  # Others are about: half of it.
        (21, 30, 0, False, False, SHARE),
        (10, 20, 40, False, False, None),  # Half of what the others leave.
        (11, 20, 40, False, False, SHARE),
        (60, 0, 40, True, False, None),  # One request always gets through where there is room.
        (61, 0, 40, True, False, FULL),
    ],
)
def test_the_decision(
    size: int, held: int, others: int, *, first: bool, alone: bool, expected: RefusalReason | None
) -> None:
    """Of 100 bytes with a share of one half, as drawn out case by case."""
    assert refusal_reason(size, Room(100, 0.5, held, others, first=first, alone=alone)) == expected


@given(share=st.floats(0.1, 0.9), greedy=st.integers(1, 8))
def test_greedy_clients_always_leave_room_for_another(share: float, greedy: int) -> None:
    """However many clients take all they get, byte by byte, each ends at the share stated, and some room stays free."""
    capacity = 10_000
    held = [0] * greedy
    moved = True
    while moved:
        moved = False
        for number in range(greedy):
            others = sum(held) - held[number]
            while refusal_reason(10, Room(capacity, share, held[number], others, first=False, alone=False)) is None:
                held[number] += 10
                moved = True
    assert capacity - sum(held) > 0
    assert max(held) <= share * capacity


def admission(clock: HandClock, share: float = 0.5) -> Admission:
    """Of 100 bytes."""
    return Admission(100, share, Telemetry(), clock)


def holding(admission: Admission, client: str, size: int) -> Lease:
    """A lease of a client that holds bytes."""
    lease = admission.lease(client)
    lease.__enter__()
    lease.grow(size)
    return lease


def refused(admission: Admission, client: str, size: int) -> RefusalReason | None:
    """Why a further request is not admitted, None when it is; it is over at once."""
    try:
        with admission.lease(client) as lease:
            lease.grow(size)
    except RefusedError as error:
        return error.reason
    return None


def test_a_client_is_alone_until_another_comes_and_again_later() -> None:
    """Another client's request, refused or not, makes this one keep to its share for a while."""
    clock = HandClock()
    room = admission(clock)
    first = holding(room, "noisy", 50)
    assert refused(room, "noisy", 50) is None
    assert refused(room, "quiet", 60) == FULL
    assert refused(room, "noisy", 1) == SHARE
    clock.seconds += ACTIVE_SECONDS + 0.1
    assert refused(room, "noisy", 50) is None
    first.__exit__(None, None, None)


def test_a_client_that_holds_something_counts_however_long() -> None:
    """What another client has in flight for minutes keeps the share in force."""
    clock = HandClock()
    room = admission(clock)
    holding(room, "slow", 10)
    holding(room, "noisy", 45)
    clock.seconds += 10 * ACTIVE_SECONDS
    assert refused(room, "noisy", 1) == SHARE


def test_a_share_of_one_is_no_limit() -> None:
    """With 1 clients come first, get all."""
    room = admission(HandClock(), share=1.0)
    assert refused(room, "quiet", 1) is None
    holding(room, "noisy", 60)
    assert refused(room, "noisy", 40) is None


def test_clients_that_are_gone_are_forgotten() -> None:
    """The book of clients does not grow with every address that ever came."""
    clock = HandClock()
    room = admission(clock)
    for number in range(1_000):
        clock.seconds += 1
        assert refused(room, f"10.0.0.{number}", 1) is None
    assert len(room._clients) <= ACTIVE_SECONDS + 1


def test_nothing_is_admitted_when_stopping() -> None:
    """After `stop` every request is told to come again, and what is held can still end."""
    room = admission(HandClock())
    lease = holding(room, "a", 10)
    room.stop()
    assert refused(room, "a", 1) == RefusalReason.STOPPING
    lease.__exit__(None, None, None)


class AdmissionMachine(RuleBasedStateMachine):
    """Any order of requests that come, grow and end: the sums are right, the capacity holds."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = HandClock()
        self.telemetry = Telemetry()
        self.room = Admission(100, 0.5, self.telemetry, self.clock)
        self.leases: list[tuple[str, Lease]] = []

    @rule(client=st.sampled_from("abc"), size=st.integers(0, 60))
    def come(self, client: str, size: int) -> None:
        """A request comes and is admitted or not."""
        lease = self.room.lease(client)
        try:
            lease.grow(size)
        except RefusedError:
            lease.__exit__(None, None, None)
        else:
            self.leases.append((client, lease))

    @rule(number=st.integers(0, 20), size=st.integers(0, 30))
    def grow(self, number: int, size: int) -> None:
        """More of a body arrives; refused, its request ends."""
        if self.leases:
            client, lease = self.leases.pop(number % len(self.leases))
            try:
                lease.grow(size)
            except RefusedError:
                lease.__exit__(None, None, None)
            else:
                self.leases.append((client, lease))

    @rule(number=st.integers(0, 20))
    def end(self, number: int) -> None:
        """A request ends."""
        if self.leases:
            self.leases.pop(number % len(self.leases))[1].__exit__(None, None, None)

    @rule(seconds=st.floats(0, 20))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.clock.seconds += seconds

    @invariant()
    def sums_hold(self) -> None:
        """What is shown as in flight is what the leases hold, and no more than there is."""
        held = sum(lease.size_bytes for _, lease in self.leases)
        assert self.telemetry.in_flight_bytes.value() == held <= 100


TestAdmissionMachine = AdmissionMachine.TestCase


@pytest.mark.parametrize("quiet_over", ["grpc", "http"])
def test_a_noisy_sender_does_not_starve_a_quiet_one(quiet_over: str) -> None:
    """One address floods with requests that are never done; another one's request is taken nonetheless, at once."""

    async def test() -> None:
        gate = Gate()
        async with receiving(gate, max_request_bytes=1_024, max_in_flight_bytes=10_240) as it:
            port = it.receiver.http_port if quiet_over == "http" else it.receiver.grpc_port
            noisy = [asyncio.create_task(it.post(bytes(1_000))) for _ in range(5)]
            await until(lambda: len(gate.requests) == 5)
            quiet = asyncio.create_task(_from_another_address(quiet_over, port))
            await until(lambda: len(gate.requests) == 6)
            flood = await asyncio.gather(*(it.post(bytes(1_000)) for _ in range(20)))
            assert {answer.status_code for answer in flood} == {503}
            assert it.refused() == {SHARE: 20}
            assert it.telemetry.in_flight_bytes.value() == 6_000
            gate.open()
            await asyncio.gather(quiet, *noisy)
            assert it.requests() == {RequestResult.OK: 6, RequestResult.UNAVAILABLE: 20}

    run(test)


async def _from_another_address(over: str, port: int) -> None:
    """Sends a request of 1,000 bytes from 127.0.0.2."""
    if over == "http":
        reader, writer = await asyncio.open_connection(LOOPBACK, port, local_addr=("127.0.0.2", 0))
        writer.write(http_request({"content-type": PROTOBUF, "content-length": 1_000}) + bytes(1_000))
        assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
        writer.close()
        await writer.wait_closed()
        return
    relay = await asyncio.start_server(lambda r, w: _relay(r, w, port), LOOPBACK, 0)
    async with relay:
        with grpc.insecure_channel(f"{LOOPBACK}:{relay.sockets[0].getsockname()[1]}") as channel:
            await asyncio.to_thread(export_over, channel, bytes(1_000))


async def _relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
    """Passes a connection on, from 127.0.0.2, since gRPC's clients cannot choose their address."""
    there_reader, there_writer = await asyncio.open_connection(LOOPBACK, port, local_addr=("127.0.0.2", 0))

    async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while data := await source.read(65_536):
            target.write(data)
        target.close()

    await asyncio.gather(pump(reader, there_writer), pump(there_reader, writer))
