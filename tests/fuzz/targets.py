"""What is fed with bytes from anywhere: each either works or raises what it says, and takes no more memory than that.

Hypothesis runs these in the suite for a moment, `make fuzz` for as long as wanted.
"""

import asyncio
import contextlib
import gzip
import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from decode_oracle import expect, parse
from driftmeter.clock import SystemClock
from driftmeter.columnar.config import AttributesConfig
from driftmeter.columnar.decoder import Decoder
from driftmeter.columnar.kinds import KindBook
from driftmeter.errors import ConfigError, DamagedError, MalformedError
from driftmeter.ingest.config import IngestConfig
from driftmeter.ingest.door import Door
from driftmeter.ingest.http_app import HttpApp
from driftmeter.ingest.otlp_json import protobuf_of
from driftmeter.journal.entries import (
    BaselineEntry,
    BatchEntry,
    LearnedEntry,
    QuarantinedEntry,
    RowsEntry,
    TickEntry,
    decode,
    encode,
)
from driftmeter.journal.frames import frame_header
from driftmeter.journal.log import Log
from driftmeter.journal.snapshots import read_newest, snapshot_path, write_snapshot
from driftmeter.model.bundle import pack, unpack
from driftmeter.model.predictions import ModelKey
from driftmeter.model.receipt import Receipt
from driftmeter.model.request import Request, Signal
from driftmeter.telemetry.metrics import RequestResult, Telemetry
from faulty_files import FaultyFiles
from otlp_json import json_tree
from otlp_samples import array, make_logs, make_record, make_request, make_span
from restarting import Restarting
from traffic import BASELINES, CONFIG, Sent, requests_of
from watched_pipeline import START_NS

JOURNAL, SNAPSHOTS = Path("/state/journal"), Path("/state/snapshots")
EXPANDED_BYTES_MAX = 4 * 1024 * 1024


def journal(data: bytes) -> None:
    """A directory of two segments, the second one cut out of the bytes: opened, read, each entry decoded.

    What was damaged is named; with `--accept-loss` it opens, and goes on.
    """
    cut = int.from_bytes(data[:2], "big") % (len(data) + 1)
    for accept_loss in (False, True):
        files = FaultyFiles()
        files.overwrite(JOURNAL / f"{1:020}.segment", data[2:cut] if cut > 2 else data)
        if cut > 2 and len(data) > cut:
            first = 2 + data[cut] % 4
            files.overwrite(JOURNAL / f"{first:020}.segment", data[cut + 1 :])
        try:
            log = Log.open(JOURNAL, files=files, accept_loss=accept_loss)
        except ConfigError:
            return
        except DamagedError:
            assert not accept_loss
            continue
        last = 0
        for entry in log.replay():
            assert last < entry.sequence <= log.last_sequence
            last = entry.sequence
            with contextlib.suppress(DamagedError):
                decode(entry.kind, entry.payload)
        log.append(1, [b"more"])
        log.commit()
        assert [bytes(each.payload) for each in log.replay(log.last_sequence - 1)] == [b"more"]


def framed_journal(data: bytes) -> None:
    """The bytes as payloads of frames whose checksums fit: what a fault of ours, or malice, might write."""
    kind, payload = (data[0] % 6 + 1, data[1:]) if data else (1, data)
    with contextlib.suppress(DamagedError):
        decode(kind, memoryview(payload))
    parts = [payload]
    journal(b"\xff\xff" + b"DRIFTJ01" + frame_header(kind, 1, parts, position=0) + payload)


def bundle(data: bytes) -> None:
    """A bundle either is what can be packed again, or damaged."""
    try:
        tree = unpack(memoryview(data))
    except DamagedError:
        return
    again = b"".join(bytes(part) for part in pack(tree))
    unpack(memoryview(again))


def snapshot(data: bytes) -> None:
    """A file in the place of a snapshot: read, or passed over for the one before it."""
    files = FaultyFiles()
    write_snapshot(files, SNAPSHOTS, 1, {"state": "old"})
    files.overwrite(snapshot_path(SNAPSHOTS, 2), data)
    found = read_newest(files, SNAPSHOTS)
    assert found is not None
    assert found[0] in (1, 2)


def state(data: bytes) -> None:
    """A state of a pipeline that was read from a snapshot: taken over, or damaged."""
    try:
        tree = unpack(memoryview(data))
    except DamagedError:
        return
    with Restarting(CONFIG, BASELINES) as it, contextlib.suppress(DamagedError):
        it.pipeline.restore(tree)


def decoder(data: bytes) -> None:
    """The decoder and protobuf's parser agree on what a request is, and on how many spans it holds."""
    signal = Signal.LOGS if data[:1] > b"\x7f" else Signal.TRACES
    request = parse(data[1:], signal)
    try:
        decoded = _decoder().decode(data[1:], signal)
    except MalformedError:
        assert request is None
        return
    assert request is not None
    expected = expect(request)
    assert decoded.received == expected.received
    assert decoded.ignored == expected.ignored
    assert dict(decoded.rejected) == expected.rejected


def _decoder() -> Decoder:
    return Decoder(AttributesConfig(), KindBook())


def json_body(data: bytes) -> None:
    """Any text is an OTLP request in JSON, which protobuf can read then, or malformed."""
    signal = Signal.LOGS if data[:1] > b"\x7f" else Signal.TRACES
    try:
        made = protobuf_of(data[1:], signal)
    except MalformedError:
        return
    assert parse(made, signal) is not None


def http_body(data: bytes) -> None:
    """A body in pieces, with headers that may lie about it: always one answer, and nothing is held afterwards."""
    asyncio.run(_http_body(data))


async def _http_body(data: bytes) -> None:
    telemetry = Telemetry()
    listen = {"listen": "127.0.0.1:0"}
    settings = {"grpc": listen, "http": listen, "max_request_bytes": EXPANDED_BYTES_MAX}
    config = IngestConfig.model_validate(settings)

    async def sink(request: Request) -> Receipt:
        assert len(request.body) <= EXPANDED_BYTES_MAX
        return Receipt()

    app = HttpApp(Door(config, sink, telemetry, SystemClock()), lambda: True)
    chosen, body = (data[0], data[1:]) if data else (0, data)
    headers = [(b"content-type", b"application/json" if chosen & 1 else b"application/x-protobuf")]
    encoding = (b"", b"gzip", b"deflate", b"identity", b"br")[(chosen >> 1) % 5]
    if encoding:
        headers.append((b"content-encoding", encoding))
    if chosen & 64:
        headers.append((b"content-length", str(chosen * 7_919).encode()))
    if chosen & 32:
        body = gzip.compress(body) if encoding == b"gzip" else zlib.compress(body)
    pieces = iter(_pieces(body, 1 + chosen))
    answers: list[int] = []

    async def receive() -> Mapping[str, Any]:
        for piece in pieces:
            return {"type": "http.request", "body": piece, "more_body": True}
        if not ended:
            ended.append(True)
            return {"type": "http.request", "body": b"", "more_body": False}
        await asyncio.Event().wait()
        raise AssertionError("never")

    async def send(message: Mapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            answers.append(message["status"])

    ended: list[bool] = []
    scope = {"type": "http", "path": "/v1/traces", "method": "POST", "headers": headers, "client": ("127.0.0.1", 1)}
    try:
        await app(scope, receive, send)
    finally:
        app.close()
    assert len(answers) == 1
    assert answers[0] in (200, 400, 413, 415), answers
    assert telemetry.in_flight_bytes.value() == 0
    assert sum(telemetry.requests.value(result=result) for result in RequestResult) == 1


def _pieces(body: bytes, size: int) -> Iterator[bytes]:
    for at in range(0, len(body), size * 16):
        yield body[at : at + size * 16]


@cache
def samples() -> dict[str, list[bytes]]:
    """For each target bytes that are as they should be, to start from."""
    spans = [Sent(number, "prices", shape, START_NS) for number, shape in enumerate(("row", "text", "rows", "wrong"))]
    (request,) = requests_of(spans)
    traces = make_request([make_span({"ml.model.name": "m", "ml.feature.a": array(1.0, "b")}, 1)], {"x": 1})
    logs = make_logs([make_record({"ml.model.name": "m", "ml.label.a": True}, 1)])
    payloads = list(_payloads(request))
    segment = b"DRIFTJ01"
    for sequence, (kind, payload) in enumerate(payloads, 1):
        segment += frame_header(kind, sequence, [payload], position=0) + payload
    files = FaultyFiles()
    write_snapshot(files, SNAPSHOTS, 2, {"state": [1, 2.5, "x", b"y"]})
    with Restarting(CONFIG, BASELINES) as it:
        it.take(request)
        it.tick(400)
        it.take(*requests_of([Sent(9, "new", "row", START_NS)]))
        stored = b"".join(bytes(part) for part in pack(it.pipeline.state()))
    body = traces.SerializeToString()
    as_json = json.dumps(json_tree(traces)).encode()
    return {
        "journal": [b"\xff\xff" + segment, b"\x00\x40" + segment, b""],
        "framed_journal": [bytes([kind - 1]) + payload for kind, payload in payloads],
        "bundle": [payload for _, payload in payloads],
        "snapshot": [files.content(snapshot_path(SNAPSHOTS, 2))],
        "state": [stored],
        "decoder": [b"\x00" + body, b"\x00" + request.body, b"\xff" + logs.SerializeToString()],
        "json_body": [b"\x00" + as_json, b"\xff" + json.dumps(json_tree(logs)).encode()],
        "http_body": [
            b"\x00" + body,
            b"\x01" + as_json,
            b"\x02" + gzip.compress(body),
            b"\x22" + body,
            b"\x23" + as_json,
            b"\x02" + gzip.compress(bytes(8 * EXPANDED_BYTES_MAX)),
            b"\x01" + b"[" * 100_000,
        ],
    }


def _payloads(request: Request) -> Iterator[tuple[int, bytes]]:
    """Entries of all kinds, encoded."""
    decoded = _decoder().decode(request.body, request.signal)
    batches = tuple(BatchEntry(batch, 1, 0, 0) for batch in decoded.batches)
    key = ModelKey("prices", "", "")
    entries = (
        RowsEntry(START_NS, 4, 0, {"future": 1}, {}, batches),
        TickEntry(START_NS, revise=True),
        LearnedEntry(key, 100, START_NS),
        BaselineEntry(b"some file", START_NS),
        QuarantinedEntry(1, 0, 4),
    )
    for entry in entries:
        kind, parts = encode(entry)
        yield kind, b"".join(bytes(part) for part in parts)


TARGETS: dict[str, Callable[[bytes], None]] = {
    "journal": journal,
    "framed_journal": framed_journal,
    "bundle": bundle,
    "snapshot": snapshot,
    "state": state,
    "decoder": decoder,
    "json_body": json_body,
    "http_body": http_body,
}
