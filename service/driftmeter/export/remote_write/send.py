"""Requests to a remote-write 1.0 receiver over HTTP: one attempt, and what its answer means.

Answers are read as the specification says: 2xx is success, 5xx and 429 are tried again, everything else is final.
"""

import asyncio
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx

from driftmeter.clock import Clock
from driftmeter.export.config import RemoteWriteConfig
from driftmeter.export.delivery import Answer, Delivered, Refused, Retry
from driftmeter.model.windows import parse_duration_ns
from driftmeter.telemetry.metrics import DropReason

_MESSAGE_BYTES_MAX = 256
_BODY_BYTES_MAX = 65_536
_NS_PER_SECOND = 1e9
_TOKEN = re.compile(rb"[!-~]+")
_REASONS = {
    400: DropReason.BAD_REQUEST,
    401: DropReason.UNAUTHORIZED,
    403: DropReason.UNAUTHORIZED,
    413: DropReason.TOO_LARGE,
}
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError, httpx.UnsupportedProtocol)


class RemoteWriteTransport:
    """Sends bodies to one receiver. To be made and closed in the event loop that uses it.

    Args:
        config: Where to and how; `url` must be set.
        version: Version of this service, for the header User-Agent.
        clock: Read to turn dates in Retry-After into waits.
    """

    def __init__(self, config: RemoteWriteConfig, version: str, clock: Clock) -> None:
        assert config.url is not None, "no URL to send to"  # noqa: S101
        self._url = config.url
        self._token_file = None if config.bearer_token_file is None else Path(config.bearer_token_file)
        self._timeout_seconds = parse_duration_ns(config.timeout) / _NS_PER_SECOND
        self._clock = clock
        self._headers = {
            **config.headers,
            "Content-Encoding": "snappy",
            "Content-Type": "application/x-protobuf",
            "User-Agent": f"driftmeter/{version}",
            "X-Prometheus-Remote-Write-Version": "0.1.0",
        }
        # Redirects are not followed: a POST would come out of them as a GET.
        self._client = httpx.AsyncClient(timeout=self._timeout_seconds, follow_redirects=False)

    async def attempt(self, body: bytes, attempts: int) -> Answer:
        """Send `body` once; `attempts` counts the attempts before this one."""
        headers = dict(self._headers)
        if attempts:
            headers["Retry-Attempt"] = str(attempts)
        try:
            if self._token_file is not None:
                headers["Authorization"] = f"Bearer {_read_token(self._token_file)}"
        except (OSError, ValueError) as error:
            return Retry(f"cannot read the bearer token: {error}", unknown_outcome=False)
        try:
            # httpx limits each step; this limits the whole, against receivers that answer drop by drop.
            async with (
                asyncio.timeout(self._timeout_seconds),
                self._client.stream("POST", self._url, content=body, headers=headers) as response,
            ):
                message = await _read_message(response)
        except _NOT_SENT as error:
            return Retry(_describe(error), unknown_outcome=False)
        except (httpx.HTTPError, TimeoutError) as error:
            return Retry(_describe(error), unknown_outcome=True)
        return classify(response.status_code, response.headers.get("Retry-After"), message, self._clock.now_ns())

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


def classify(status: int, retry_after: str | None, message: str, now_ns: int) -> Answer:
    """What an HTTP answer means.

    Args:
        status: The status code.
        retry_after: The header Retry-After: seconds or an HTTP date; None when absent.
        message: Beginning of the body.
        now_ns: Wall-clock time, nanoseconds since the Unix epoch.
    """
    if httpx.codes.is_success(status):
        return Delivered()
    described = f"HTTP {status}: {message}"
    if status == httpx.codes.TOO_MANY_REQUESTS or httpx.codes.is_server_error(status):
        # A receiver that refuses with 429 has stored nothing; one that fails with 5xx may have stored a part.
        unknown_outcome = status != httpx.codes.TOO_MANY_REQUESTS
        return Retry(described, unknown_outcome, parse_retry_after_seconds(retry_after, now_ns))
    return Refused(_REASONS.get(status, DropReason.REJECTED), described)


def parse_retry_after_seconds(text: str | None, now_ns: int) -> float | None:
    """Seconds to wait, not negative; None when `text` is neither a number nor a date (RFC 9110, 10.2.3)."""
    if text is None:
        return None
    if text.strip().isascii() and text.strip().isdigit():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    zoned = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return max(0.0, (zoned - datetime.fromtimestamp(now_ns / _NS_PER_SECOND, UTC)).total_seconds())


def _read_token(file: Path) -> str:
    """The token in a file; raises ValueError, which does not repeat it, when it is none that a header can hold."""
    token = file.read_bytes().strip()
    if not _TOKEN.fullmatch(token):
        raise ValueError(f"{file} does not hold one line of printable ASCII without spaces")
    return token.decode("ascii")


async def _read_message(response: httpx.Response) -> str:
    """The beginning of the body. Short bodies are read to the end, so that the connection can be used again."""
    content = b""
    async for chunk in response.aiter_raw():
        content += chunk
        if len(content) > _BODY_BYTES_MAX:
            break
    return content[:_MESSAGE_BYTES_MAX].decode(errors="replace").strip()


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
