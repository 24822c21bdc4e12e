"""Bodies that lie, stall, explode or end too early, on a real port."""

import asyncio
import gzip
import tracemalloc
import zlib

import pytest
from google.rpc.status_pb2 import Status
from hypothesis import given, settings
from hypothesis import strategies as st

from driftmeter.ingest import body
from driftmeter.telemetry.metrics import RefusalReason, RequestResult
from otlp_samples import usual_request
from receiving import MIB, PROTOBUF, Gate, Kept, http_request, raw_http, receiving, run, until

ANY = usual_request(20)
GZIPPED = {"content_encoding": "gzip"}


def bomb(size: int) -> bytes:
    """Zeros in gzip, a thousandth of their size."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    return b"".join(compressor.compress(bytes(MIB)) for _ in range(size // MIB)) + compressor.flush()


def test_gzip_bombs_are_refused_before_they_explode() -> None:
    """Half a gigabyte in half a megabyte: 413, and no more memory than the limit is touched on the way."""
    explosive = bomb(512 * MIB)

    async def test() -> None:
        async with receiving(Kept()) as it:
            tracemalloc.start()
            try:
                answer = await it.post(explosive, **GZIPPED)
                peak_bytes = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
            assert answer.status_code == 413
            assert it.requests() == {RequestResult.TOO_LARGE: 1}
            assert it.telemetry.in_flight_bytes.value() == 0
            assert peak_bytes < 80 * MIB

    run(test)


def test_bombs_are_refused_by_the_room_in_flight_too() -> None:
    """Decompressed bytes count as in flight while they come: beyond the room a sender gets 503, not memory."""

    async def test() -> None:
        gate = Gate()
        async with receiving(gate, max_request_bytes=64 * MIB, max_in_flight_bytes=65 * MIB) as it:
            first = asyncio.create_task(it.post(bytes(60 * MIB)))
            await it.holds_something()
            assert (await it.post(bomb(50 * MIB), **GZIPPED)).status_code == 503
            assert it.refused() == {RefusalReason.IN_FLIGHT: 1}
            gate.open()
            assert (await first).status_code == 200

    run(test)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (gzip.compress(ANY)[:-1], "ends too early"),
        (gzip.compress(ANY)[:20], "ends too early"),
        (b"", "ends too early"),
        (ANY, "not gzip"),
        (gzip.compress(ANY) + b"rubbish", "not gzip"),
        (gzip.compress(ANY)[:-8] + bytes(8), "not gzip"),  # The checksum is wrong.
    ],
    ids=["cut", "cut early", "empty", "plain", "more", "checksum"],
)
def test_damaged_gzip_is_malformed(content: bytes, words: str) -> None:
    """What does not decompress whole is refused for good, and frees its room."""

    async def test() -> None:
        sink = Kept()
        async with receiving(sink) as it:
            answer = await it.post(content, **GZIPPED)
            assert answer.status_code == 400
            assert words in Status.FromString(answer.content).message
            assert it.requests() == {RequestResult.MALFORMED: 1}
            assert it.telemetry.in_flight_bytes.value() == 0
            assert sink.requests == []

    run(test)


def test_gzip_may_have_several_members() -> None:
    """Members one after the other decompress to one body, as the format says."""

    async def test() -> None:
        sink = Kept()
        async with receiving(sink) as it:
            assert (await it.post(gzip.compress(ANY[:100]) + gzip.compress(ANY[100:]), **GZIPPED)).status_code == 200
            assert [request.body for request in sink.requests] == [ANY]

    run(test)


def test_chunked_bodies_are_taken_and_end_where_they_say() -> None:
    """Chunks of any size make one body; a chunk that lies about its length is refused by the server."""

    async def test() -> None:
        sink = Kept()
        async with receiving(sink) as it:
            head = http_request({"content-type": PROTOBUF, "transfer-encoding": "chunked"})
            chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (ANY[:7], ANY[7:300], ANY[300:]))
            answer = await raw_http(it.receiver.http_port, head + chunks + b"0\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 200 ")
            assert [request.body for request in sink.requests] == [ANY]
            answer = await raw_http(it.receiver.http_port, head + b"3\r\nabcdef\r\n0\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 400 ") or answer == b""
            assert len(sink.requests) == 1

    run(test)


def test_lengths_that_lie_take_nothing() -> None:
    """A body shorter than declared whose sender goes is dropped; what is longer is no part of the request."""

    async def test() -> None:
        sink = Kept()
        async with receiving(sink) as it:
            short = http_request({"content-type": PROTOBUF, "content-length": len(ANY) + 10})
            await raw_http(it.receiver.http_port, short + ANY, hang_up=True, pause_seconds=0.1)
            await until(lambda: bool(it.requests()))
            assert it.requests() == {RequestResult.CANCELLED: 1}
            assert sink.requests == []
            assert it.telemetry.in_flight_bytes.value() == 0
            long = http_request({"content-type": PROTOBUF, "content-length": len(ANY) - 10})
            assert (await raw_http(it.receiver.http_port, long + ANY)).startswith(b"HTTP/1.1 200 ")
            assert [request.body for request in sink.requests] == [ANY[:-10]]
            for length in ("-5", "abc", "1e3", "9" * 40):
                head = http_request({"content-type": PROTOBUF, "content-length": length})
                answer = await raw_http(it.receiver.http_port, head)
                assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 413 "))
            assert it.telemetry.in_flight_bytes.value() == 0

    run(test)


def test_a_declared_length_over_the_limit_is_refused_unread() -> None:
    """The answer comes before the body, also to a sender that asks whether to send it."""

    async def test() -> None:
        async with receiving(Kept()) as it:
            headers: dict[str, str | int] = {
                "content-type": PROTOBUF,
                "content-length": 65 * MIB,
                "expect": "100-continue",
            }
            answer = await raw_http(it.receiver.http_port, http_request(headers))
            assert answer.startswith(b"HTTP/1.1 413 ")

    run(test)


def test_senders_that_ask_before_sending_are_told_to() -> None:
    """`Expect: 100-continue` gets its 100, then the answer."""

    async def test() -> None:
        async with receiving(Kept()) as it:
            headers: dict[str, str | int] = {
                "content-type": PROTOBUF,
                "content-length": len(ANY),
                "expect": "100-continue",
            }
            answer = await raw_http(it.receiver.http_port, http_request(headers), ANY, pause_seconds=0.1)
            assert answer.startswith(b"HTTP/1.1 100 ")
            assert b"HTTP/1.1 200 " in answer

    run(test)


def test_bodies_that_stall_free_their_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that does not arrive in time: 503, counted as stalled; its room is free again."""
    monkeypatch.setattr(body, "BODY_SECONDS", 0.3)

    async def test() -> None:
        async with receiving(Kept()) as it:
            head = http_request({"content-type": PROTOBUF, "content-length": len(ANY)})
            answer = await raw_http(it.receiver.http_port, head + ANY[:50])
            assert answer.startswith(b"HTTP/1.1 503 ")
            assert it.refused() == {RefusalReason.STALLED: 1}
            assert it.telemetry.in_flight_bytes.value() == 0

    run(test)


@settings(max_examples=15, deadline=None)
@given(content=st.binary(max_size=300), cut=st.integers(0, 400), flip=st.integers(0, 10_000), gzipped=st.booleans())
def test_any_bytes_get_an_answer(content: bytes, cut: int, flip: int, *, gzipped: bool) -> None:
    """Whatever the body, plain or as damaged gzip: 200, 400, 413 or 415, the connection lives, nothing is held."""

    async def test() -> None:
        async with receiving(Kept()) as it:
            sent = bytearray(gzip.compress(content) if gzipped else content)[: cut or None]
            if sent:
                sent[flip % len(sent)] ^= 1 << flip % 8
            for path, content_type in (("/v1/traces", PROTOBUF), ("/v1/logs", "application/json")):
                answer = await it.post(bytes(sent), path, content_type, **GZIPPED)
                assert answer.status_code in (200, 400, 413, 415)
            assert it.telemetry.in_flight_bytes.value() == 0
            assert (await it.http.get("/healthz")).status_code == 200

    run(test)
