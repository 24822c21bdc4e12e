"""Window lengths as users write them: `5m`, `1h`, `24h`, `7d` by event time; `5000rows` by rows; `24h every 1h`."""

import re
from datetime import UTC, datetime
from typing import NamedTuple

from driftmeter.errors import ConfigError

_UNITS_NS = {"ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9, "d": 86400 * 10**9}
_DURATION = re.compile(r"([0-9]{1,18})(ms|s|m|h|d)")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ROWS = re.compile(r"([0-9]{1,18})rows")
_HOPPING = re.compile(r"(\S+) +every +(\S+)")

HOUR_NS = _UNITS_NS["h"]
DAY_NS = _UNITS_NS["d"]
WEEK_NS = 7 * DAY_NS

DURATION_DAYS_MAX = 3_650
"""Ten years: far beyond any use, and added to a time of today it still fits into 64 bits of nanoseconds."""
WINDOW_DAYS_MAX = 366
"""Longest window by time: a year."""
ROLLING_FILLED = 0.5
"""Share of its time that a rolling reference must reach back before anything is compared with it: a day tells little of
a week, and what is compared with it would look drifted for that."""
OVERLAP_MAX = 288
"""Windows that a row may fall into: a day in steps of five minutes. What a window costs to evaluate grows with it."""


class WindowLength(NamedTuple):
    """A window's length, and how far apart windows begin.

    Attributes:
        name: The text as configured; it is the `window` label of everything that comes out.
        length_ns: Length of windows by event time; 0 for windows by rows.
        rows: Length of windows by rows; 0 for windows by event time.
        hop_ns: How far apart windows by event time begin: their length, unless they overlap; a part of it always.
        hop_rows: The same for windows by rows.
    """

    name: str
    length_ns: int
    rows: int
    hop_ns: int
    hop_rows: int

    @property
    def by_rows(self) -> bool:
        """True when windows are cut by number of rows, false when by event time."""
        return self.rows > 0

    @property
    def overlap(self) -> int:
        """How many windows each row falls into; windows whose numbers are so far apart have no row in common."""
        return self.rows // self.hop_rows if self.by_rows else self.length_ns // self.hop_ns

    @property
    def disjoint(self) -> "WindowLength":
        """Windows of the same length that do not overlap, as a baseline is cut into chunks: `24h` of `24h every 1h`."""
        name = self.name if self.overlap == 1 else self.name.split()[0]
        return WindowLength(name, self.length_ns, self.rows, self.length_ns, self.rows)

    @property
    def step(self) -> "WindowLength":
        """Windows as long as one step, which windows that overlap share: `1h` of `24h every 1h`."""
        name = self.name if self.overlap == 1 else self.name.split()[-1]
        return WindowLength(name, self.hop_ns, self.hop_rows, self.hop_ns, self.hop_rows)


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
    hopping = _HOPPING.fullmatch(name)
    length_ns, rows = _length(hopping[1] if hopping else name, text)
    hop_ns, hop_rows = _length(hopping[2], text) if hopping else (length_ns, rows)
    if length_ns > WINDOW_DAYS_MAX * DAY_NS:
        raise ConfigError(f"{text!r} is too long: a window by time has at most a year, {WINDOW_DAYS_MAX}d")
    if (rows > 0) != (hop_rows > 0) or (length_ns or rows) % (hop_ns or hop_rows):
        raise ConfigError(f"{text!r}: the length must be a multiple of the step, such as 24h every 1h")
    window = WindowLength(name, length_ns, rows, hop_ns, hop_rows)
    if window.overlap > OVERLAP_MAX:
        raise ConfigError(f"{text!r}: the step is too small; a window has at most {OVERLAP_MAX} of them")
    return window


def _length(part: str, text: str) -> tuple[int, int]:
    """Nanoseconds and rows of a length, one of them 0; raises ConfigError when both are."""
    rows = _ROWS.fullmatch(part)
    length = _nanoseconds(part), int(rows[1]) if rows else 0
    if not any(length):
        raise ConfigError(
            f"{text!r} is not a window: write a duration such as 5m, 1h or 24h, or a number of rows such as 5000rows; "
            "or windows that overlap, such as 24h every 1h"
        )
    return length


def instant_ns(time: datetime) -> int:
    """Nanoseconds since the epoch of a time, which is in UTC unless it says otherwise; exact."""
    since = (time if time.tzinfo else time.replace(tzinfo=UTC)) - _EPOCH
    return ((since.days * 86_400 + since.seconds) * 10**6 + since.microseconds) * 10**3


def _nanoseconds(text: str) -> int:
    """0 for what is no duration."""
    match = _DURATION.fullmatch(text)
    return int(match[1]) * _UNITS_NS[match[2]] if match else 0
