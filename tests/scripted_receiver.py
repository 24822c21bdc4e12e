"""An HTTP receiver on a real socket that answers as it is told, for tests of what senders do then."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from driftmeter.clock import SystemClock

_CLOCK = SystemClock()


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


Step: TypeAlias = Reply | Literal["hang", "reset", "reset in answer", "garbage", "drip"]
"""One answer: `hang` never answers, `reset` hangs up after reading the request, `reset in answer` does so halfway
through its answer, `garbage` answers with something else than HTTP, `drip` sends its answer a byte at a time."""


@dataclass(frozen=True, slots=True)
class Received:
    """One request.

    Attributes:
        line: Its first line.
        headers: By name in lower case.
        body: Its content.
        at_seconds: When it had been read.
    """

    line: str
    headers: Mapping[str, str]
    body: bytes
    at_seconds: float


class ScriptedReceiver:
    """Answers requests with the steps of a script, one after the other, and then with 204."""

    def __init__(self, script: Sequence[Step]) -> None:
        self._script = list(script)
        self.received: list[Received] = []
        self.port = 0

    @property
    def url(self) -> str:
        """Where to send to."""
        return f"http://127.0.0.1:{self.port}/api/v1/write"

    @asynccontextmanager
    async def listening(self, port: int = 0) -> AsyncIterator["ScriptedReceiver"]:
        """Listens until the block ends; port 0 takes a free one."""
        connections: set[asyncio.Task[None]] = set()

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.create_task(self._serve(reader, writer))
            connections.add(task)
            task.add_done_callback(connections.discard)

        server = await asyncio.start_server(connected, "127.0.0.1", port)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in list(connections):
                task.cancel()
            await asyncio.gather(*connections, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._answer_one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # The client went away.
        finally:
            writer.transport.abort()

    async def _answer_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Reads one request and answers it; false when the connection is over."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers["content-length"]))
        self.received.append(Received(head[0], headers, body, _CLOCK.monotonic_seconds()))
        step = self._script.pop(0) if self._script else Reply(204)
        if isinstance(step, Reply):
            writer.write(_encoded(step))
            await writer.drain()
            return True
        if step == "hang":
            await asyncio.sleep(3600)
        elif step == "reset in answer":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
            await writer.drain()
        elif step == "garbage":
            writer.write(b"this is not HTTP\r\n\r\n")
            await writer.drain()
        elif step == "drip":
            for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 1000:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0.05)
        return False


def _encoded(reply: Reply) -> bytes:
    headers = {"Content-Length": str(len(reply.body)), **reply.headers}
    lines = [f"HTTP/1.1 {reply.status} x", *(f"{name}: {value}" for name, value in headers.items())]
    if reply.status == 204:
        lines = [line for line in lines if not line.startswith("Content-Length")]
    return "\r\n".join([*lines, "", ""]).encode() + reply.body
