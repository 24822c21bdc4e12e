"""The load generator: a process of its own that sends what it is told to over real gRPC, and says how it went.

`python -m benchmarks.ingest.load SHAPE` takes one `Load` as JSON from each line of its input, and answers each with a
line holding a `Sent`.
"""

import dataclasses
import json
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import grpc
import numpy as np

from benchmarks.ingest.workload import SPANS_PER_PANE, Requests, Shape
from driftmeter.clock import SystemClock

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"

_TIMEOUT_SECONDS = 120
_RETRY_SECONDS = 0.05
_CLOCK = SystemClock()


@dataclass(frozen=True, slots=True)
class Load:
    """What to send.

    Attributes:
        target: `host:port`.
        requests: How many requests.
        callers: Connections.
        in_flight: Requests in flight on each connection at most.
        requests_per_second: When to begin each; as soon as there is room when None.
        gzip: Whether to compress.
        panes_skipped: Panes by which event time moves on first.
    """

    target: str
    requests: int
    callers: int = 2
    in_flight: int = 4
    requests_per_second: float | None = None
    gzip: bool = False
    panes_skipped: int = 0


@dataclass(frozen=True, slots=True)
class Sent:
    """How it went.

    Attributes:
        spans: Spans acknowledged.
        seconds: From the first request to the last answer.
        refused: Answers that said to try again; tried again after a moment.
        latency_p50_ms, latency_p99_ms, latency_max_ms: From when a request was due to its acknowledgement.
    """

    spans: int
    seconds: float
    refused: int
    latency_p50_ms: float
    latency_p99_ms: float
    latency_max_ms: float


class LoadGenerator:
    """Tells the process what to do."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def send(self, load: Load) -> Sent:
        """Have this sent; returns when all of it is acknowledged. Raises RuntimeError when something else happens."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(dataclasses.asdict(load)) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the load generator ended: what it printed says why")
        return Sent(**json.loads(line))


@contextmanager
def load_generator(
    shape: Shape, *, templates: int = 16, spans_per_pane: int = SPANS_PER_PANE
) -> Iterator[LoadGenerator]:
    """A load generator for requests of one shape; ready when entered."""
    settings = json.dumps([dataclasses.asdict(shape), templates, spans_per_pane])
    command = [sys.executable, "-m", "benchmarks.ingest.load", settings]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - ourselves.
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            if process.stdout.readline() != "ready\n":
                raise RuntimeError("the load generator did not start: what it printed says why")
            yield LoadGenerator(process)
        finally:
            process.stdin.close()
            process.kill()


@dataclass(eq=False)
class _Run:
    """One load being sent. Answers come on gRPC's threads."""

    load: Load
    stubs: "list[grpc.UnaryUnaryMultiCallable[bytes, bytes]]"
    free: "queue.SimpleQueue[int]" = field(default_factory=queue.SimpleQueue)
    latencies: list[float] = field(default_factory=list)
    failure: grpc.RpcError | None = None
    refused: int = 0

    def go(self, requests: Requests) -> Sent:
        """Send everything and wait for every answer."""
        load = self.load
        for caller in [*range(load.callers)] * load.in_flight:
            self.free.put(caller)
        if load.panes_skipped:
            requests.skip_panes(load.panes_skipped)
        began = _CLOCK.monotonic_seconds()
        pause = threading.Event()
        for number in range(load.requests):
            body = requests.make()
            due = began + number / load.requests_per_second if load.requests_per_second else None
            if due is not None:
                pause.wait(max(0.0, due - _CLOCK.monotonic_seconds()))
            caller = self.free.get()
            self._call(caller, body, due or _CLOCK.monotonic_seconds())
        for _ in range(load.callers * load.in_flight):
            self.free.get()
        if self.failure is not None:
            raise self.failure
        latencies = np.array(self.latencies) * 1e3
        p50, p99 = np.percentile(latencies, (50, 99)).tolist()
        seconds = _CLOCK.monotonic_seconds() - began
        return Sent(len(latencies) * requests.shape.spans, seconds, self.refused, p50, p99, float(latencies.max()))

    def _call(self, caller: int, body: bytes, due: float) -> None:
        compression = grpc.Compression.Gzip if self.load.gzip else None
        future = self.stubs[caller].future(body, timeout=_TIMEOUT_SECONDS, compression=compression)

        def answered(call: grpc.Future) -> None:
            error = call.exception()
            if error is None:
                self.latencies.append(_CLOCK.monotonic_seconds() - due)
            elif isinstance(error, grpc.RpcError) and error.code() == grpc.StatusCode.UNAVAILABLE:
                self.refused += 1
                threading.Timer(_RETRY_SECONDS, self._call, (caller, body, due)).start()
                return
            else:
                self.failure = error
            self.free.put(caller)

        future.add_done_callback(answered)


def main() -> None:
    """Entry point of the process."""
    shape, templates, spans_per_pane = json.loads(sys.argv[1])
    requests = Requests(Shape(**shape), templates, spans_per_pane)
    print("ready", flush=True)
    for line in sys.stdin:
        load = Load(**json.loads(line))
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", 1 << 27)]
        channels = [grpc.insecure_channel(load.target, options) for _ in range(load.callers)]
        sent = _Run(load, [channel.unary_unary(EXPORT) for channel in channels]).go(requests)
        for channel in channels:
            channel.close()
        print(json.dumps(dataclasses.asdict(sent)), flush=True)


if __name__ == "__main__":
    main()
