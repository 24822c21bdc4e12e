"""Window lengths as users write them: `5m`, `1h`, `24h`, `7d` by event time; `5000rows` by rows."""

import re
from typing import NamedTuple

from driftmeter.errors import ConfigError

_UNITS_NS = {"ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9, "d": 86400 * 10**9}
_DURATION = re.compile(r"(\d+)(ms|s|m|h|d)")
_ROWS = re.compile(r"(\d+)rows")

HOUR_NS = _UNITS_NS["h"]
DAY_NS = _UNITS_NS["d"]
WEEK_NS = 7 * DAY_NS


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
    """Nanoseconds of `5m`, `90s`, `24h`, `7d` or `250ms`; raises ConfigError for anything else."""
    match = _DURATION.fullmatch(text.strip())
    if match is None or int(match[1]) == 0:
        raise ConfigError(f"{text!r} is not a duration: write a whole number and a unit, such as 30s, 5m, 1h or 7d")
    return int(match[1]) * _UNITS_NS[match[2]]


def parse_window(text: str) -> WindowLength:
    """The window length that `text` names; raises ConfigError when it names none."""
    rows = _ROWS.fullmatch(text.strip())
    if rows is not None and int(rows[1]) > 0:
        return WindowLength(text.strip(), 0, int(rows[1]))
    try:
        return WindowLength(text.strip(), parse_duration_ns(text), 0)
    except ConfigError:
        raise ConfigError(
            f"{text!r} is not a window: write a duration such as 5m, 1h or 24h, or a number of rows such as 5000rows"
        ) from None
