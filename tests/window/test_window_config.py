"""Window lengths and their configuration."""

import pytest
from pydantic import ValidationError

from driftmeter.errors import ConfigError
from driftmeter.model.windows import parse_duration_ns, parse_window
from driftmeter.window.config import WindowConfig
from rows import DAY_NS, HOUR_NS, MINUTE_NS, SECOND_NS


@pytest.mark.parametrize(
    ("text", "length_ns", "rows"),
    [
        ("250ms", SECOND_NS // 4, 0),
        ("90s", 90 * SECOND_NS, 0),
        ("5m", 5 * MINUTE_NS, 0),
        (" 1h ", HOUR_NS, 0),
        ("7d", 7 * DAY_NS, 0),
        ("5000rows", 0, 5000),
    ],
)
def test_windows_are_read_as_written(text: str, length_ns: int, rows: int) -> None:
    """Durations and numbers of rows, with the text as name."""
    window = parse_window(text)
    assert window == (text.strip(), length_ns, rows)
    assert window.by_rows == (rows > 0)


@pytest.mark.parametrize(
    "text",
    ["", "5", "m", "0m", "0rows", "-5m", "1.5h", "5 m", "1h30m", "5M", "rows", "5000 rows", "٣m", "9" * 5000 + "rows"],
)
def test_what_is_no_window_is_refused_with_examples(text: str) -> None:
    """The message repeats what was given and shows what would be right."""
    with pytest.raises(ConfigError, match="5000rows") as caught:
        parse_window(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(("longest", "too_long"), [("366d", "367d"), ("8784h", "8785h")])
def test_windows_by_time_have_at_most_a_year(longest: str, too_long: str) -> None:
    """In whatever unit; the message names the limit."""
    assert parse_window(longest).length_ns == 366 * DAY_NS
    with pytest.raises(ConfigError, match=f"'{too_long}' is too long: a window by time has at most a year, 366d"):
        parse_window(too_long)


@pytest.mark.parametrize("too_long", ["3651d", "100000d", "9" * 18 + "d"])
def test_durations_have_at_most_ten_years(too_long: str) -> None:
    """Longer ones would not fit into 64 bits of nanoseconds."""
    assert parse_duration_ns("3650d") == 3650 * DAY_NS
    with pytest.raises(ConfigError, match=f"'{too_long}' is too long: a duration has at most 10 years, 3650d"):
        parse_duration_ns(too_long)


def test_durations_take_no_rows() -> None:
    """Where only time makes sense, rows are refused."""
    with pytest.raises(ConfigError, match="not a duration"):
        parse_duration_ns("5000rows")


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ((), "at least 1"),
        (("5m", "7m"), "7m is not a multiple of the shortest window, 5m"),
        (("5m", " 5m"), "5m stands here twice"),
        (("5m", "367d"), "too long"),
        (("5x",), "not a window"),
    ],
)
def test_lengths_that_do_not_fit_together_are_refused(lengths: tuple[str, ...], message: str) -> None:
    """Longer windows are sums of the shortest one's panes, so they must be multiples of it."""
    with pytest.raises(ValidationError, match=message):
        WindowConfig(lengths=lengths)


def test_lengths_by_rows_stand_beside_those_by_time() -> None:
    """Numbers of rows need be multiples of nothing."""
    config = WindowConfig(lengths=("777rows", "5m", "1h", "50rows"))
    assert [window.by_rows for window in config.parsed] == [True, False, False, True]
