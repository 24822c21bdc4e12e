"""Structured logs: one `key=value` line per event on stderr, through the standard library's logging."""

import datetime as dt
import json
import logging
import re
import sys
import threading
from collections.abc import Mapping
from typing import TextIO

from driftmeter.clock import Clock

_PLAIN = re.compile(r"[A-Za-z0-9_./:@%+\-]+")
_FIELDS = "driftmeter_fields"
_KEYS_MAX = 1_000

Value = str | int | float | bool | None
"""What a field of a log line may hold."""


def setup(level: str = "info", stream: TextIO | None = None) -> None:
    """Send this package's logs to `stream` (stderr when None) from `level` on: debug, info, warning or error.

    Calling it again replaces what the last call set up.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(KeyValueFormatter())
    logger = logging.getLogger("driftmeter")
    for old in list(logger.handlers):
        logger.removeHandler(old)
    logger.addHandler(handler)
    logger.setLevel(level.upper())
    logger.propagate = False


def fields(**values: Value) -> Mapping[str, object]:
    """Fields of one log line, for the `extra` argument of the logging calls."""
    return {_FIELDS: values}


class KeyValueFormatter(logging.Formatter):
    """`time=… level=… logger=… message="…" key=value …`, values quoted as JSON where they need it."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever the message and the fields hold."""
        parts = {
            "time": self._utc(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, _FIELDS, {}),
        }
        if record.exc_info:
            parts["exception"] = self.formatException(record.exc_info)
        return " ".join(f"{key}={_quoted(value)}" for key, value in parts.items())

    def _utc(self, record: logging.LogRecord) -> str:
        moment = dt.datetime.fromtimestamp(record.created, dt.UTC)
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _quoted(value: object) -> str:
    """Plain words as they are, all else as a JSON string, so that a line can be taken apart again."""
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)


class RateLimitedLog:
    """Warnings that may be asked for per item and are written at most once per key and interval.

    Args:
        logger: Where the lines go.
        clock: Read for the interval.
        interval_seconds: Shortest time between two lines of one key.
    """

    def __init__(self, logger: logging.Logger, clock: Clock, interval_seconds: float = 30.0) -> None:
        self._logger = logger
        self._clock = clock
        self._interval_seconds = interval_seconds
        self._lock = threading.Lock()
        self._last_seconds: dict[str, float] = {}
        self._suppressed: dict[str, int] = {}

    def warning(self, key: str, message: str, **values: Value) -> None:
        """Write the line, or count it in the `suppressed` field of the key's next one."""
        now = self._clock.monotonic_seconds()
        with self._lock:
            last = self._last_seconds.get(key)
            if last is not None and now - last < self._interval_seconds:
                self._suppressed[key] = self._suppressed.get(key, 0) + 1
                return
            if len(self._last_seconds) >= _KEYS_MAX:
                self._last_seconds.clear()
            self._last_seconds[key] = now
            suppressed = self._suppressed.pop(key, 0)
        if suppressed:
            values["suppressed"] = suppressed
        self._logger.warning(message, extra=fields(**values))
