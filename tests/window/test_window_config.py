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
    """Durations and numbers of rows, with the text as name; one begins where the other ends."""
    window = parse_window(text)
    assert window == (text.strip(), length_ns, rows, length_ns, rows)
    assert window.by_rows == (rows > 0)
    assert (window.overlap, window.disjoint) == (1, window)


@pytest.mark.parametrize(
    ("text", "length_ns", "rows", "hop_ns", "hop_rows", "overlap", "disjoint"),
    [
        ("24h every 1h", DAY_NS, 0, HOUR_NS, 0, 24, "24h"),
        (" 1d  every  5m ", DAY_NS, 0, 5 * MINUTE_NS, 0, 288, "1d"),
        ("1h every 60m", HOUR_NS, 0, HOUR_NS, 0, 1, "1h every 60m"),
        ("5000rows every 1000rows", 0, 5000, 0, 1000, 5, "5000rows"),
    ],
)
def test_windows_that_overlap_are_read_as_written(  # noqa: PLR0913 - what a window is made of.
    text: str, length_ns: int, rows: int, hop_ns: int, hop_rows: int, overlap: int, disjoint: str
) -> None:
    """A length and a step; a baseline is cut into windows of that length that do not overlap."""
    window = parse_window(text)
    assert window == (text.strip(), length_ns, rows, hop_ns, hop_rows)
    assert window.overlap == overlap
    assert window.disjoint == (disjoint, length_ns, rows, length_ns, rows)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("24h every", "is not a window"),
        ("every 1h", "is not a window"),
        ("24h every 1x", "is not a window"),
        ("24hevery1h", "is not a window"),
        ("24h every 1h every 5m", "is not a window"),
        ("24h every 5h", "multiple of the step"),
        ("1h every 24h", "multiple of the step"),
        ("24h every 100rows", "multiple of the step"),
        ("100rows every 1h", "multiple of the step"),
        ("100rows every 30rows", "multiple of the step"),
        ("24h every 4m", "at most 288"),
        ("289rows every 1rows", "at most 288"),
        ("367d every 1d", "too long"),
    ],
)
def test_steps_that_do_not_fit_are_refused(text: str, words: str) -> None:
    """The message says what would be right."""
    with pytest.raises(ConfigError, match=words) as caught:
        parse_window(text)
    assert repr(text) in str(caught.value)


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
        (("5m", "301s"), "301s is not a multiple of the other windows, nor of a 60th of them"),
        (("24h every 1h", "3601s"), "3601s is not a multiple of the other windows"),
        (("5m", " 5m"), "5m stands here twice"),
        (("5m", "367d"), "too long"),
        (("5x",), "not a window"),
    ],
)
def test_lengths_that_do_not_fit_together_are_refused(lengths: tuple[str, ...], message: str) -> None:
    """Windows are sums of panes, so they must be multiples of one, and not of too small a one."""
    with pytest.raises(ValidationError, match=message):
        WindowConfig(lengths=lengths)


@pytest.mark.parametrize("lengths", [("5m", "7m"), ("45m every 15m", "1h every 20m"), ("90s", "1m", "24h every 30m")])
def test_lengths_need_only_a_common_part(lengths: tuple[str, ...]) -> None:
    """What they are all multiples of need not be one of them."""
    assert [window.name for window in WindowConfig(lengths=lengths).parsed] == list(lengths)


def test_lengths_by_rows_stand_beside_those_by_time() -> None:
    """Numbers of rows need be multiples of nothing."""
    config = WindowConfig(lengths=("777rows", "5m", "1h", "50rows"))
    assert [window.by_rows for window in config.parsed] == [True, False, False, True]
