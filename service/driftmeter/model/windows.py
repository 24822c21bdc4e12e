"""Window lengths as users write them: `5m`, `1h`, `24h`, `7d` by event time; `5000rows` by rows."""

import re
from typing import NamedTuple

from driftmeter.errors import ConfigError

_UNITS_NS = {"ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9, "d": 86400 * 10**9}
_DURATION = re.compile(r"([0-9]{1,18})(ms|s|m|h|d)")
_ROWS = re.compile(r"([0-9]{1,18})rows")

HOUR_NS = _UNITS_NS["h"]
DAY_NS = _UNITS_NS["d"]
WEEK_NS = 7 * DAY_NS

DURATION_DAYS_MAX = 3_650
"""Ten years: far beyond any use, and added to a time of today it still fits into 64 bits of nanoseconds."""
WINDOW_DAYS_MAX = 366
"""Longest window by time: a year."""


class WindowLength(NamedTuple):
    """A window's length: exactly one of `length_ns` and `rows` is not zero.

    `name` is the text as configured; it is the `window` label of everything that comes out.
    """

    name: str
    length_ns: int
    rows: int

    @property
    def by_rows(self) -> bool:
        """True when windows are cut by number of rows, false when by event time."""
        return self.rows > 0


def parse_duration_ns(text: str) -> int:
    """Nanoseconds of `5m`, `90s`, `24h`, `7d` or `250ms`; raises ConfigError for anything else, and beyond 10 years."""
    duration_ns = _nanoseconds(text.strip())
    if duration_ns == 0:
        raise ConfigError(f"{text!r} is not a duration: write a whole number and a unit, such as 30s, 5m, 1h or 7d")
    if duration_ns > DURATION_DAYS_MAX * DAY_NS:
        raise ConfigError(f"{text!r} is too long: a duration has at most 10 years, {DURATION_DAYS_MAX}d")
    return duration_ns


def parse_window(text: str) -> WindowLength:
    """The window length that `text` names; raises ConfigError when it names none, and beyond a year."""
    name = text.strip()
    rows = _ROWS.fullmatch(name)
    window = WindowLength(name, _nanoseconds(name), int(rows[1]) if rows else 0)
    if window.length_ns == window.rows == 0:
        raise ConfigError(
            f"{text!r} is not a window: write a duration such as 5m, 1h or 24h, or a number of rows such as 5000rows"
        )
    if window.length_ns > WINDOW_DAYS_MAX * DAY_NS:
        raise ConfigError(f"{text!r} is too long: a window by time has at most a year, {WINDOW_DAYS_MAX}d")
    return window


def _nanoseconds(text: str) -> int:
    """0 for what is no duration."""
    match = _DURATION.fullmatch(text)
    return int(match[1]) * _UNITS_NS[match[2]] if match else 0
