"""Bearer tokens that senders may show."""

import hashlib
import hmac
from pathlib import Path

from driftmeter.clock import Clock
from driftmeter.errors import ConfigError
from driftmeter.ingest.watched import WatchedFiles
from driftmeter.telemetry.metrics import Credentials, Telemetry

_SCHEME = "bearer "


class BearerTokens:
    """The tokens of a file, which is read again when it changes; see `WatchedFiles`.

    Raises:
        ConfigError: The file cannot be read or holds none.
    """

    def __init__(self, path: str, telemetry: Telemetry, clock: Clock) -> None:
        self._digests = WatchedFiles(Credentials.BEARER_TOKENS, [path], lambda: _read_digests(path), telemetry, clock)

    def allow(self, authorization: str | None) -> bool:
        """Whether the value of an `Authorization` header holds one of them.

        Every token is compared, as a digest and in constant time: how long it takes says nothing about any of them.
        """
        given = authorization or ""
        shown = given[len(_SCHEME) :].strip() if given[: len(_SCHEME)].lower() == _SCHEME else ""
        digest = _digest(shown)
        matches = sum(hmac.compare_digest(digest, one) for one in self._digests.current())
        return bool(shown) and matches > 0


def _read_digests(path: str) -> tuple[bytes, ...]:
    try:
        lines = Path(path).read_text(encoding="ascii").splitlines()
    except OSError as error:
        raise ConfigError(f"ingest.bearer_tokens_file: {path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"ingest.bearer_tokens_file: {path}: tokens are ASCII; it holds other bytes") from error
    tokens = [token for line in lines if (token := line.strip()) and not token.startswith("#")]
    if not tokens:
        raise ConfigError(f"ingest.bearer_tokens_file: {path}: holds no token: write one a line")
    return tuple(map(_digest, tokens))


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="replace")).digest()
