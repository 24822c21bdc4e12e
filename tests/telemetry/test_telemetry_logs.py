"""Structured logs."""

import io
import json
import logging
import re
from collections.abc import Iterator

import pytest

from driftmeter.telemetry.logs import RateLimitedLog, Value, fields, setup
from export_samples import StillClock

_PAIR = re.compile(r'(\w+)=("(?:[^"\\]|\\.)*"|[^ "]+)(?: |$)')


def _parse(line: str) -> dict[str, str]:
    found = {key: json.loads(value) if value.startswith('"') else value for key, value in _PAIR.findall(line)}
    assert _PAIR.sub("", line).strip() == ""
    return found


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """What the package's logger writes; put back as it was afterwards."""
    logger = logging.getLogger("driftmeter")
    before = list(logger.handlers), logger.level, logger.propagate
    written = io.StringIO()
    setup("info", written)
    yield written
    logger.handlers[:], logger.level, logger.propagate = before


def test_a_line_can_be_taken_apart_again(stream: io.StringIO) -> None:
    """Whatever the fields hold, a line is one line of key=value pairs."""
    values: dict[str, Value] = {
        "path": "/metrics",
        "text": 'say "hi" = \n two',
        "count": 3,
        "ratio": 0.5,
        "none": None,
        "empty": "",
    }
    logging.getLogger("driftmeter.test").info("it happened", extra=fields(**values))
    (line,) = stream.getvalue().splitlines()
    parsed = _parse(line)
    assert parsed["message"] == "it happened"
    assert parsed["level"] == "info"
    assert parsed["logger"] == "driftmeter.test"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", parsed["time"])
    assert [parsed[key] for key in values] == ["/metrics", 'say "hi" = \n two', "3", "0.5", "null", ""]


def test_setup_twice_writes_each_line_once(stream: io.StringIO) -> None:
    """A second set-up replaces the first, and its level counts."""
    setup("warning", stream)
    logging.getLogger("driftmeter.test").info("quiet")
    logging.getLogger("driftmeter.test").warning("loud")
    assert len(stream.getvalue().splitlines()) == 1


def test_exceptions_stay_on_their_line(stream: io.StringIO) -> None:
    """A traceback is a field, not further lines."""
    try:
        int("broken")
    except ValueError:
        logging.getLogger("driftmeter.test").exception("failed")
    (line,) = stream.getvalue().splitlines()
    assert "ValueError: invalid literal" in _parse(line)["exception"]


def test_warnings_are_limited_per_key(stream: io.StringIO) -> None:
    """A flood of one key gives one line per interval, which says how many were held back; other keys are not held."""
    clock = StillClock()
    limited = RateLimitedLog(logging.getLogger("driftmeter.test"), clock, interval_seconds=30)
    for _ in range(100):
        limited.warning("full", "queue is full", samples=5)
    limited.warning("other", "something else")
    clock.advance(31)
    limited.warning("full", "queue is full", samples=5)
    lines = [_parse(line) for line in stream.getvalue().splitlines()]
    assert [line["message"] for line in lines] == ["queue is full", "something else", "queue is full"]
    assert lines[2]["suppressed"] == "99"
