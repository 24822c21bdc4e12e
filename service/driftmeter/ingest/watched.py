"""Files that are read again when they change, so that certificates and tokens can be rotated."""

import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from driftmeter.clock import Clock
from driftmeter.errors import ConfigError
from driftmeter.telemetry.logs import fields
from driftmeter.telemetry.metrics import Credentials, ReloadResult, Telemetry

CHECK_SECONDS = 0.5
"""How often at most the files are looked at; only when somebody asks."""

Content = TypeVar("Content")
_Stamp = tuple[tuple[int, int, int] | None, ...]
_LOG = logging.getLogger(__name__)


class WatchedFiles(Generic[Content]):
    """What some files say together. Thread-safe.

    A change that cannot be used (half of a pair replaced, a file being written) is logged and counted, and what was
    read before stays in force until it can.

    Args:
        what: Which credentials these are.
        paths: The files.
        read: Reads them; raises ConfigError when they cannot be used.
        telemetry: Where reloads are counted.
        clock: The time.

    Raises:
        ConfigError: They cannot be used now.
    """

    def __init__(
        self,
        what: Credentials,
        paths: Sequence[str],
        read: Callable[[], Content],
        telemetry: Telemetry,
        clock: Clock,
    ) -> None:
        self._what, self._paths, self._read = what, tuple(paths), read
        self._telemetry, self._clock = telemetry, clock
        self._lock = threading.Lock()
        self._stamp = self._failed = self._look()
        self._content = read()
        self._next_look_seconds = clock.monotonic_seconds() + CHECK_SECONDS

    def current(self) -> Content:
        """What the files say now."""
        if self._clock.monotonic_seconds() >= self._next_look_seconds:
            with self._lock:
                self._refresh()
        return self._content

    def _refresh(self) -> None:
        now_seconds = self._clock.monotonic_seconds()
        if now_seconds < self._next_look_seconds:
            return  # Another thread was faster.
        self._next_look_seconds = now_seconds + CHECK_SECONDS
        stamp = self._look()  # Before reading: a change while reading is then seen at the next look.
        if stamp == self._stamp:
            return
        try:
            self._content = self._read()
        except ConfigError as error:
            if stamp != self._failed:  # Said once for each change, tried again until it works.
                self._failed = stamp
                self._count(ReloadResult.FAILED)
                _LOG.error("%s; what was read before stays in force", error, extra=fields(credentials=self._what))
            return
        self._stamp = stamp
        self._count(ReloadResult.OK)
        _LOG.info("credentials read again", extra=fields(credentials=self._what))

    def _count(self, result: ReloadResult) -> None:
        self._telemetry.credentials_reloads.add(credentials=self._what, result=result)

    def _look(self) -> _Stamp:
        return tuple(_stamp_of(path) for path in self._paths)


def _stamp_of(path: str) -> tuple[int, int, int] | None:
    """What changes when the file, or the one a link points to, is written or replaced; None when there is none."""
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
