"""A wall clock that goes backwards, or jumps, damages nothing; what it costs is counted."""

from pathlib import Path

import pytest

from restarting import Restarting
from traffic import BASELINES, CONFIG, Sent, requests_of
from watched_pipeline import MINUTE_NS, START_NS


def send(it: Restarting, first: int, end_ns: int, spans: int = 10) -> None:
    """Rows that end then."""
    it.take(*requests_of([Sent(first + number, "prices", "row", end_ns) for number in range(spans)]))
    it.assert_ledger_holds()


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("back_seconds", [1, 240])
def test_a_clock_that_goes_back_a_little_changes_no_window(tmp_path: Path, back_seconds: int, restart: bool) -> None:  # noqa: FBT001
    """Up to `window.max_future`, rows of machines with the right time are counted as if nothing had happened."""
    with Restarting(CONFIG, BASELINES) as steady, Restarting(CONFIG, BASELINES, tmp_path) as stepping:
        for it in (steady, stepping):
            for number in range(8):
                end_ns = START_NS + number * MINUTE_NS
                back = it is stepping and number >= 4
                it.clock.ns = end_ns - back * back_seconds * 10**9
                if it is stepping and restart and number in (3, 6):
                    it.restart()
                send(it, 100 * number, end_ns)
                it.tick()
            it.clock.ns = START_NS + 8 * MINUTE_NS
        assert steady.close_all_windows() == stepping.close_all_windows()
        assert steady.ledger() == stepping.ledger()


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("back_seconds", [3_600, 400 * 86_400])
def test_a_clock_that_goes_back_far_takes_the_right_time_for_the_future(
    tmp_path: Path,
    back_seconds: int,
    restart: bool,  # noqa: FBT001
) -> None:
    """Such rows are rejected and counted so until the clock is right; windows stay as they are and go on then."""
    with Restarting(CONFIG, BASELINES, tmp_path) as it:
        send(it, 0, START_NS)
        it.clock.advance(-back_seconds)
        if restart:
            it.restart()
        it.tick()
        (receipt,) = it.take(*requests_of([Sent(100, "prices", "row", START_NS)]))
        assert (receipt.rejected_spans, it.rows("counted")) == (1, 10)
        send(it, 200, it.clock.now_ns())
        within = back_seconds <= 20 * 60
        assert (it.rows("counted"), it.rows("late")) == ((20, 0) if within else (10, 10))
        it.clock.advance(back_seconds)
        if restart:
            it.restart()
        send(it, 300, START_NS)
        assert it.rows("counted") == (30 if within else 20)
        counts = it.close_all_windows()
        assert {place for place, _ in it.seen.counts} == set(counts)


def test_a_clock_that_jumped_ahead_makes_rows_late_and_says_so(tmp_path: Path) -> None:
    """Idle models' windows close by the wrong time; rows older than the lateness are counted as late."""
    with Restarting(CONFIG, BASELINES, tmp_path) as it:
        send(it, 0, START_NS)
        it.clock.advance(86_400)
        it.tick()
        it.clock.advance(-86_400)
        it.restart()
        it.tick()
        send(it, 100, START_NS)
        assert (it.rows("counted"), it.rows("late")) == (10, 10)
        it.clock.advance(86_400)
        send(it, 200, START_NS + 86_400 * 10**9)
        assert (it.rows("counted"), it.rows("late")) == (20, 10)
