"""The only place that reads the time, so that tests and replays can put another clock in its place."""

import time
from typing import Protocol


class Clock(Protocol):
    """Two readings of the time."""

    def now_ns(self) -> int:
        """Wall-clock time, nanoseconds since the Unix epoch, UTC."""
        ...

    def monotonic_seconds(self) -> float:
        """A time that never goes back, for durations; its zero means nothing."""
        ...


class SystemClock:
    """The machine's clock."""

    def now_ns(self) -> int:
        """Wall-clock time, nanoseconds since the Unix epoch, UTC."""
        return time.time_ns()

    def monotonic_seconds(self) -> float:
        """A time that never goes back, for durations."""
        return time.monotonic()
