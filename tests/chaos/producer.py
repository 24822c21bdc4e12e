"""A process that sends batches to a Collector until each is acknowledged, and writes down which are.

A batch that was not acknowledged is sent again as the same spans, as SDKs do; now and then one that was is sent again
too, as SDKs do whose answer was lost. What is written down lets the next process go on.

    python -m chaos.producer '{"seed": 1, "endpoint": "127.0.0.1:4317", "acknowledged": "acknowledged.txt"}'
"""

import json
import os
import random
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path

import grpc

from chaos.workload import Workload
from spans import EXPORT

_PAUSE_SECONDS = 0.1
_CALL_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Order:
    """What to send.

    Attributes:
        seed: Of the workload.
        endpoint: `host:port` of the Collector.
        acknowledged: File of the numbers of acknowledged batches, one a line.
        first: The first batch.
        step: From one batch to the next.
        end: The first batch that is not sent any more; None goes on until SIGTERM.
        per_second: Batches a second, about.
        senders: Requests in flight at a time.
        again: Share of acknowledged batches that are sent once more.
    """

    seed: int
    endpoint: str
    acknowledged: str
    first: int = 0
    step: int = 1
    end: int | None = None
    per_second: float = 30.0
    senders: int = 4
    again: float = 0.05

    def command(self) -> list[str]:
        """Starts the process."""
        return [sys.executable, "-m", "chaos.producer", json.dumps(asdict(self))]


def acknowledged_batches(file: Path) -> list[int]:
    """Numbers of the acknowledged batches, ascending; none when there is no file."""
    return sorted({int(line) for line in file.read_text().split()}) if file.exists() else []


class _Numbers:
    """Hands out numbers of batches to several threads: first those left over from an earlier process."""

    def __init__(self, order: Order, stopping: threading.Event) -> None:
        done = set(acknowledged_batches(Path(order.acknowledged)))
        self._numbers = self._left(order, done)
        self._lock = threading.Lock()
        self._stopping = stopping

    def take(self) -> int | None:
        """The next one; None when there is nothing more to send."""
        with self._lock:
            return None if self._stopping.is_set() else next(self._numbers, None)

    def _left(self, order: Order, done: set[int]) -> Iterator[int]:
        numbers = count(order.first, order.step) if order.end is None else range(order.first, order.end, order.step)
        return (number for number in numbers if number not in done)


def _send(order: Order, numbers: _Numbers, stopping: threading.Event, log: int) -> None:
    workload, random_ = Workload(order.seed), random.Random(threading.get_ident())  # noqa: S311 - no secret.
    options = [("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 500)]
    with grpc.insecure_channel(order.endpoint, options=options) as channel:
        export = channel.unary_unary(EXPORT)
        while (number := numbers.take()) is not None:
            request = workload.request(number)
            _insist(export, request)
            os.write(log, f"{number}\n".encode())
            if random_.random() < order.again:
                _insist(export, request)
            stopping.wait(order.senders / order.per_second * random_.uniform(0.5, 1.5))


def _insist(export: grpc.UnaryUnaryMultiCallable, request: bytes) -> None:
    pause = threading.Event()
    while True:
        try:
            export(request, timeout=_CALL_SECONDS)
        except grpc.RpcError:
            pause.wait(_PAUSE_SECONDS)
        else:
            return


def main() -> None:
    """Send as ordered; after SIGTERM only what was begun."""
    order = Order(**json.loads(sys.argv[1]))
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    numbers = _Numbers(order, stopping)
    log = os.open(order.acknowledged, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    senders = [threading.Thread(target=_send, args=(order, numbers, stopping, log)) for _ in range(order.senders)]
    for each in senders:
        each.start()
    for each in senders:
        each.join()
    os.close(log)


if __name__ == "__main__":
    main()
