"""Bodies of HTTP requests: read, decompressed and limited while they arrive."""

import asyncio
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeVar

from driftmeter.ingest.admission import Lease
from driftmeter.ingest.refusals import malformed, too_large, unavailable, unsupported
from driftmeter.telemetry.metrics import RefusalReason

Result = TypeVar("Result")

Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
"""As ASGI has it: the next piece of a request."""

BODY_SECONDS = 60.0
"""How long a whole body may take to arrive, so that a sender that stalls does not hold its room for ever."""

_PIECE_BYTES = 256 * 1024
"""Decompressed at a time: about a millisecond of the event loop."""

_FORMATS = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
"""Content encodings, as zlib is told of them. OTLP has gzip alone; SDKs know deflate too."""


@dataclass(slots=True)
class Body:
    """The body of one request on its way in.

    Attributes:
        receive: Gives its pieces.
        complete: Whether all of it has been received.
        gone: Whether the sender has gone before it was answered.
    """

    receive: Receive
    complete: bool = False
    gone: bool = False

    async def read(self, headers: Mapping[bytes, bytes], limit_bytes: int, lease: Lease) -> bytes:
        """The whole body, decompressed; the lease grows with it.

        Raises:
            RefusedError: An unknown or damaged encoding, too large, no room in flight, too slow.
            CancelledError: The sender has gone.
        """
        encoding = _encoding_of(headers)
        if encoding is None:
            # The server has checked that this is a number, and holds the sender to it.
            declared_bytes = int(headers.get(b"content-length", b"0"))
            _check(declared_bytes, limit_bytes)
            lease.grow(declared_bytes)
        pieces: list[bytes] = []
        size_bytes = 0
        try:
            async with asyncio.timeout(BODY_SECONDS):
                async for piece in self._pieces() if encoding is None else self._decompressed(encoding):
                    size_bytes += len(piece)
                    _check(size_bytes, limit_bytes)
                    lease.grow(max(0, size_bytes - lease.size_bytes))
                    pieces.append(piece)
        except TimeoutError:
            raise unavailable(
                RefusalReason.STALLED, f"the body did not arrive within {BODY_SECONDS:.0f} s: try again"
            ) from None
        return b"".join(pieces)

    async def unless_gone(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Await the work on a body that was read, unless its sender goes meanwhile: then the work is cancelled.

        Raises:
            CancelledError: The sender has gone.
        """
        working = asyncio.ensure_future(work)
        going = asyncio.ensure_future(self.receive())  # After the last piece only the sender's going ends this.
        try:
            await asyncio.wait((working, going), return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                return working.result()
            self.gone = True
            raise asyncio.CancelledError
        finally:
            working.cancel()
            going.cancel()

    async def _pieces(self) -> AsyncIterator[bytes]:
        while not self.complete:
            message = await self.receive()
            if message["type"] != "http.request":
                self.gone = True
                raise asyncio.CancelledError
            self.complete = not message.get("more_body", False)
            yield message.get("body", b"")

    async def _decompressed(self, encoding: str) -> AsyncIterator[bytes]:
        members = _Members(encoding)
        async for piece in self._pieces():
            for data in members.feed(piece):
                yield data
                await asyncio.sleep(0)  # Others get their turn while a large body is decompressed.
        if not members.ended:
            raise malformed(f"the {encoding} body ends too early")


class _Members:
    """The members of a compressed stream, one after the other, as gzip allows."""

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding
        self._member = zlib.decompressobj(_FORMATS[encoding])
        self._begun = False
        self._any = False

    @property
    def ended(self) -> bool:
        """Whether what was fed so far is one or more whole members."""
        return self._any and not self._begun

    def feed(self, compressed: bytes) -> Iterator[bytes]:
        """What some more bytes decompress to, in pieces; raises RefusedError when they are something else."""
        rest = compressed
        while rest:
            self._begun = self._any = True
            try:
                data = self._member.decompress(rest, _PIECE_BYTES)
            except zlib.error as error:
                raise malformed(f"the body is not {self._encoding}: {error}") from None
            rest = self._member.unconsumed_tail
            if self._member.eof:
                rest = self._member.unused_data
                self._member, self._begun = zlib.decompressobj(_FORMATS[self._encoding]), False
            if data:
                yield data


def _encoding_of(headers: Mapping[bytes, bytes]) -> str | None:
    """The content encoding, None for none; raises RefusedError for those that are not understood."""
    encoding = headers.get(b"content-encoding", b"").decode("latin-1").strip().lower()
    if encoding in ("", "identity"):
        return None
    if encoding not in _FORMATS:
        known = ", ".join(_FORMATS)
        message = f"content encoding {encoding!r} is not understood: send {known} or none"
        raise unsupported(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, message, accept_encoding=known)
    return encoding


def _check(size_bytes: int, limit_bytes: int) -> None:
    if size_bytes > limit_bytes:
        raise too_large(f"request of more than {limit_bytes} bytes")
