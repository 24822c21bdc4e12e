"""What the remote-write sender does with every kind of answer, on real sockets."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from components import free_port
from driftmeter.clock import SystemClock
from driftmeter.export.config import RemoteWriteConfig
from driftmeter.export.delivery import (
    BACKOFF_SECONDS_MAX,
    BACKOFF_SECONDS_MIN,
    Answer,
    Backoff,
    Courier,
    Delivered,
    Refused,
    Retry,
)
from driftmeter.export.outbox import Outbox
from driftmeter.export.remote_write.encode import encode_write_request
from driftmeter.export.remote_write.send import RemoteWriteTransport, classify, parse_retry_after_seconds
from driftmeter.model.windows import parse_duration_ns
from driftmeter.telemetry.metrics import Destination, DropReason, SampleOutcome, Telemetry
from export_samples import points, read_write_request
from scripted_receiver import Reply, ScriptedReceiver, Step

_HERE = Destination.REMOTE_WRITE
_NOW_NS = 1_700_000_000_000_000_000


@dataclass(frozen=True, slots=True)
class _Sender:
    outbox: Outbox
    telemetry: Telemetry

    def sent(self) -> float:
        return self.telemetry.samples.value(destination=_HERE, outcome=SampleOutcome.SENT)

    def dropped(self, reason: DropReason) -> float:
        return self.telemetry.samples_dropped.value(destination=_HERE, reason=reason)

    def dropped_in_all(self) -> float:
        return self.telemetry.samples.value(destination=_HERE, outcome=SampleOutcome.DROPPED)


@asynccontextmanager
async def _sending(config: RemoteWriteConfig) -> AsyncIterator[_Sender]:
    telemetry, clock = Telemetry(), SystemClock()
    outbox = Outbox(_HERE, config.queue_samples, telemetry, clock)
    transport = RemoteWriteTransport(config, "9.9", clock)
    max_age_seconds = parse_duration_ns(config.max_age) / 1e9
    run = asyncio.create_task(Courier(outbox, transport.attempt, max_age_seconds, telemetry, clock).run())
    try:
        yield _Sender(outbox, telemetry)
    finally:
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)
        await transport.close()


def _table(number: int, series: int = 3) -> pl.DataFrame:
    """Samples of the same series at a time that tells requests apart."""
    return points(
        {"metric": "ml_feature_mean", "feature": f"f{i}", "value": float(number), "timestamp_ms": 1_000 + number}
        for i in range(series)
    )


async def _deliver(script: Sequence[Step], requests: int, **config: object) -> tuple[ScriptedReceiver, _Sender]:
    """Sends requests of three samples each to a receiver with this script until all are settled."""
    receiver = ScriptedReceiver(script)
    async with (
        receiver.listening(),
        _sending(RemoteWriteConfig.model_validate({"url": receiver.url, **config})) as sender,
        asyncio.timeout(20),
    ):
        for number in range(requests):
            sender.outbox.put(encode_write_request(_table(number), "driftmeter", "here"), 3)
        await sender.outbox.emptied()
    return receiver, sender


def _times(receiver: ScriptedReceiver) -> list[int]:
    """The time of the samples in each request that arrived."""
    return [time_ms for one in receiver.received for _, time_ms in [next(iter(read_write_request(one.body).values()))]]


def test_requests_carry_the_headers_of_the_specification() -> None:
    """Reserved headers, the user agent, configured headers; only a retry says that it is one."""

    async def test() -> None:
        receiver, sender = await _deliver([Reply(503)], 1, headers={"X-Scope-OrgID": "team"})
        first, second = receiver.received
        assert first.line == "POST /api/v1/write HTTP/1.1"
        assert first.headers["content-encoding"] == "snappy"
        assert first.headers["content-type"] == "application/x-protobuf"
        assert first.headers["user-agent"] == "driftmeter/9.9"
        assert first.headers["x-prometheus-remote-write-version"] == "0.1.0"
        assert first.headers["x-scope-orgid"] == "team"
        assert "retry-attempt" not in first.headers
        assert second.headers["retry-attempt"] == "1"
        assert second.body == first.body
        assert sender.sent() == 3

    asyncio.run(test())


@pytest.mark.parametrize(
    "step", [Reply(500), Reply(502), Reply(503), Reply(504), Reply(429), "reset", "reset in answer", "garbage"], ids=str
)
def test_what_may_pass_is_tried_again_in_order(step: Step) -> None:
    """5xx, 429 and broken connections: the same bytes again, nothing lost, and no later request overtakes."""

    async def test() -> None:
        receiver, sender = await _deliver([step, step, Reply(200), step], 3)
        assert _times(receiver) == [1000, 1000, 1000, 1001, 1001, 1002]
        assert (sender.sent(), sender.dropped_in_all()) == (9, 0)
        assert sender.telemetry.export_retries.value(destination=_HERE) == 3

    asyncio.run(test())


@pytest.mark.parametrize("step", ["hang", "drip"])
def test_a_receiver_that_does_not_finish_is_tried_again(step: Step) -> None:
    """The timeout holds for the whole answer, also for one that comes a byte at a time."""

    async def test() -> None:
        receiver, sender = await _deliver([step], 2, timeout="300ms")
        assert _times(receiver) == [1000, 1000, 1001]
        assert (sender.sent(), sender.dropped_in_all()) == (6, 0)

    asyncio.run(test())


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (400, DropReason.BAD_REQUEST),
        (401, DropReason.UNAUTHORIZED),
        (403, DropReason.UNAUTHORIZED),
        (404, DropReason.REJECTED),
        (413, DropReason.TOO_LARGE),
        (415, DropReason.REJECTED),
        (302, DropReason.REJECTED),
    ],
)
def test_final_answers_drop_and_count_by_reason(status: int, reason: DropReason) -> None:
    """4xx is not tried again: as many samples are counted as dropped as the receiver refused, and the next go out."""

    async def test() -> None:
        receiver, sender = await _deliver([Reply(status, {"Location": "/elsewhere"}, b"no")], 2)
        assert _times(receiver) == [1000, 1001]
        assert (sender.sent(), sender.dropped(reason), sender.dropped_in_all()) == (3, 3, 3)

    asyncio.run(test())


@pytest.mark.parametrize("first", [Reply(500), "reset"], ids=str)
def test_a_refusal_after_an_unknown_outcome_is_no_proof_of_loss(first: Step) -> None:
    """A 400 after an attempt that may have been stored is counted apart; after one that cannot have been, it is not."""

    async def test() -> None:
        _, sender = await _deliver([first, Reply(400), Reply(429), Reply(400)], 2)
        assert sender.dropped(DropReason.BAD_REQUEST_AFTER_RETRY) == 3
        assert sender.dropped(DropReason.BAD_REQUEST) == 3

    asyncio.run(test())


def test_retry_after_is_honoured_in_seconds_and_as_a_date() -> None:
    """The next attempt comes no sooner than asked for."""

    async def test() -> None:
        receiver, sender = await _deliver([Reply(429, {"Retry-After": "1"})], 1)
        first, second = receiver.received
        assert 1.0 <= second.at_seconds - first.at_seconds < 3.0
        assert sender.sent() == 3
        when = formatdate(SystemClock().now_ns() / 1e9 + 2, usegmt=True)
        receiver, _ = await _deliver([Reply(503, {"Retry-After": when})], 1)
        first, second = receiver.received
        assert 0.9 <= second.at_seconds - first.at_seconds < 4.0

    asyncio.run(test())


def test_requests_are_given_up_when_they_are_too_old() -> None:
    """A receiver that is never well gets no request twice for longer than the longest age."""

    async def test() -> None:
        _, sender = await _deliver([Reply(500)] * 1000, 2, max_age="400ms")
        assert (sender.sent(), sender.dropped(DropReason.TOO_OLD)) == (0, 6)

    asyncio.run(test())


def test_a_receiver_that_is_absent_gets_everything_once_it_is_there() -> None:
    """Refused connections lose nothing; after the start of the receiver all arrives in order."""

    async def test() -> None:
        port = free_port()
        receiver = ScriptedReceiver([])
        config = RemoteWriteConfig(url=f"http://127.0.0.1:{port}/api/v1/write")
        async with _sending(config) as sender, asyncio.timeout(20):
            for number in range(5):
                sender.outbox.put(encode_write_request(_table(number), "driftmeter", "here"), 3)
            await asyncio.sleep(0.3)
            assert sender.telemetry.export_retries.value(destination=_HERE) > 0
            async with receiver.listening(port):
                await sender.outbox.emptied()
        assert _times(receiver) == [1000, 1001, 1002, 1003, 1004]
        assert (sender.sent(), sender.dropped_in_all()) == (15, 0)

    asyncio.run(test())


def test_a_full_queue_loses_exactly_what_it_counts() -> None:
    """Everything that was produced either arrived at the receiver or is in the counter of `queue_full`."""

    async def test() -> None:
        receiver, sender = await _deliver(
            [Reply(503, {"Retry-After": "1"})], 20, queue_samples=15, max_samples_per_send=5
        )
        arrived = set(_times(receiver))
        assert sender.sent() == 3 * len(arrived)
        assert sender.dropped(DropReason.QUEUE_FULL) == 3 * (20 - len(arrived)) > 0
        assert max(arrived) == 1019

    asyncio.run(test())


def test_the_token_is_read_anew_for_each_attempt(tmp_path: Path) -> None:
    """A missing file is not fatal, and a rotated token takes effect at once."""
    file = tmp_path / "token"

    async def test() -> None:
        receiver = ScriptedReceiver([])
        async with (
            receiver.listening(),
            _sending(RemoteWriteConfig(url=receiver.url, bearer_token_file=str(file))) as sender,
            asyncio.timeout(20),
        ):
            sender.outbox.put(encode_write_request(_table(0), "", ""), 3)
            await asyncio.sleep(0.1)
            assert receiver.received == []
            for token in ("first", "second"):
                file.write_text(token + "\n")
                sender.outbox.put(encode_write_request(_table(1), "", ""), 3)
                await sender.outbox.emptied()
                assert receiver.received[-1].headers["authorization"] == f"Bearer {token}"

    asyncio.run(test())


@pytest.mark.parametrize("wrong", [b"gr\xc3\xb6\xc3\x9fe\n", b"\xff\n", b"two words\n", b"two\nlines\n", b""])
def test_a_token_that_no_header_can_hold_is_waited_out(tmp_path: Path, wrong: bytes) -> None:
    """The sender lives on, and delivers all that waited once the file holds a token."""
    file = tmp_path / "token"
    file.write_bytes(wrong)

    async def test() -> None:
        receiver = ScriptedReceiver([])
        async with (
            receiver.listening(),
            _sending(RemoteWriteConfig(url=receiver.url, bearer_token_file=str(file))) as sender,
            asyncio.timeout(20),
        ):
            sender.outbox.put(encode_write_request(_table(0), "", ""), 3)
            await asyncio.sleep(0.2)
            assert receiver.received == []
            file.write_text("right\n")
            await sender.outbox.emptied()
        assert [one.headers["authorization"] for one in receiver.received] == ["Bearer right"]
        assert (sender.sent(), sender.dropped_in_all()) == (3, 0)

    asyncio.run(test())


def test_a_fault_in_an_attempt_loses_that_request_alone(caplog: pytest.LogCaptureFixture) -> None:
    """What an attempt raises is final for its request, counted and said; the next ones are delivered."""

    async def test() -> None:
        receiver, clock = ScriptedReceiver([]), SystemClock()
        telemetry = Telemetry()
        outbox = Outbox(_HERE, 100, telemetry, clock)
        async with receiver.listening(), asyncio.timeout(20):
            # A URL that passes no check at load: httpx takes the port, the socket does not.
            wrong = RemoteWriteConfig.model_construct(**{**dict(RemoteWriteConfig()), "url": "http://127.0.0.1:99999/"})
            faulty = RemoteWriteTransport(wrong, "9.9", clock)
            good = RemoteWriteTransport(RemoteWriteConfig(url=receiver.url), "9.9", clock)
            transports = [faulty, good]

            async def attempt(body: bytes, attempts: int) -> Answer:
                return await transports.pop(0).attempt(body, attempts)

            run = asyncio.create_task(Courier(outbox, attempt, 20.0, telemetry, clock).run())
            for number in range(2):
                outbox.put(encode_write_request(_table(number), "driftmeter", "here"), 3)
            await outbox.emptied()
            assert not run.done()
            run.cancel()
            await asyncio.gather(run, return_exceptions=True)
            await faulty.close()
            await good.close()
        assert _times(receiver) == [1001]
        assert _Sender(outbox, telemetry).dropped(DropReason.REJECTED) == 3
        assert _Sender(outbox, telemetry).sent() == 3

    asyncio.run(test())
    assert "OverflowError" in caplog.records[-1].__dict__["driftmeter_fields"]["reason"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, None),
        ("3", 3.0),
        ("0", 0.0),
        ("Tue, 14 Nov 2023 22:13:50 GMT", 30.0),
        ("Tue, 14 Nov 2023 22:00:00 GMT", 0.0),
        ("Tue, 14 Nov 2023 22:13:50 -0000", 30.0),
        ("soon", None),
        ("-5", None),
        ("", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(text: str | None, expected: float | None) -> None:
    """A date in the past means now; anything else means nothing."""
    assert parse_retry_after_seconds(text, _NOW_NS) == expected


def test_answers_are_read_as_the_specification_says() -> None:
    """2xx is success whatever the body, 5xx may have stored a part, 429 has stored nothing, the rest is final."""
    assert classify(204, None, "", _NOW_NS) == Delivered()
    assert classify(200, "9", "odd", _NOW_NS) == Delivered()
    assert classify(503, "7", "busy", _NOW_NS) == Retry("HTTP 503: busy", unknown_outcome=True, retry_after_seconds=7)
    assert classify(429, None, "", _NOW_NS) == Retry("HTTP 429: ", unknown_outcome=False)
    assert classify(400, None, "why", _NOW_NS) == Refused(DropReason.BAD_REQUEST, "HTTP 400: why")


def _waits(backoff: Backoff, asked: Callable[[int], float | None]) -> list[float]:
    return [backoff.wait_seconds(asked(i)) for i in range(12)]


def test_waits_double_with_jitter_up_to_a_limit() -> None:
    """Each wait lies between half of its step and the step, and no two senders wait alike."""
    waits = _waits(Backoff(np.random.default_rng(1)), lambda _: None)
    steps = [min(BACKOFF_SECONDS_MIN * 2**i, BACKOFF_SECONDS_MAX) for i in range(12)]
    assert all(step / 2 <= wait <= step for wait, step in zip(waits, steps, strict=True))
    assert waits != _waits(Backoff(np.random.default_rng(2)), lambda _: None)


def test_waits_are_never_shorter_than_asked() -> None:
    """Retry-After wins over a shorter step, and the step after it does not start from the beginning."""
    waits = _waits(Backoff(np.random.default_rng(1)), lambda i: 2.0 if i == 0 else None)
    assert waits[0] == 2.0
    assert waits[1] >= 2.0
