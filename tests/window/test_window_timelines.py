"""Windows by event time along drawn timelines.

Times are seconds; windows are 1m and 3m, the watermark stays 10 s behind, rows may be 5 minutes late:

    0        60       120      180      240
    |---1m---|---1m---|---1m---|---1m---|
    |------------3m------------|------------3m---
"""

import pytest

from driftmeter.model.counts import Tally
from driftmeter.model.window_counts import WindowCounts
from driftmeter.window import by_time
from driftmeter.window.config import WindowConfig
from driftmeter.window.windows import ModelWindows
from rows import ONE_COLUMN, SECOND_NS, predictions

CONFIG = WindowConfig(
    lengths=("1m", "3m"), clock="data", out_of_orderness="10s", allowed_lateness="5m", idle_after="30s"
)
Seen = list[tuple[str, int, int, int, int]]


class Timeline:
    """A model's windows, with times in seconds."""

    def __init__(self, config: WindowConfig = CONFIG) -> None:
        self.windows = ModelWindows(ONE_COLUMN, config)
        self.late = 0

    def rows(self, *seconds: int, now: int = 0) -> Seen:
        """One batch of rows at these times."""
        batch = predictions([second * SECOND_NS for second in seconds], {"x": [1.5] * len(seconds)})
        late, due = self.windows.add(batch, now * SECOND_NS)
        self.late += late
        return _seen(due)

    def tick(self, now: int = 0, *, revise: bool = False) -> Seen:
        """Time passes."""
        return _seen(self.windows.tick(now * SECOND_NS, revise=revise))

    def drain(self, *, everything: bool = True) -> Seen:
        """The end."""
        return _seen(self.windows.drain(everything=everything))


def _seen(due: list[WindowCounts]) -> Seen:
    """Name, start in seconds, index, revision and rows of each evaluation."""
    for each in due:
        assert each.counts.rows[0] == each.counts.bins.sum() + each.counts.tallies[0, 0, Tally.MISSING]
        if not each.window.by_rows:
            assert each.end_ns is not None
            assert each.start_ns == each.end_ns - each.window.length_ns
    return [
        (each.window.name, (each.start_ns or 0) // SECOND_NS, each.index, each.revision, int(each.counts.rows[0]))
        for each in due
    ]


def test_first_evaluation_is_when_the_watermark_reaches_the_end() -> None:
    """One row short of the end plus the allowance evaluates nothing; the row that reaches it does, once."""
    line = Timeline()
    assert line.rows(0, 59, 60) == []
    assert line.rows(69) == []
    assert line.rows(70) == [("1m", 0, 0, 0, 2)]
    assert line.rows(71) == []
    assert line.tick(revise=True) == []


def test_ends_are_exclusive() -> None:
    """A row at a window's end belongs to the next window."""
    line = Timeline()
    assert line.rows(0, 60, 120, 190) == [
        ("1m", 0, 0, 0, 1),
        ("1m", 60, 1, 0, 1),
        ("1m", 120, 2, 0, 1),
        ("3m", 0, 0, 0, 3),
    ]


def test_windows_come_in_order_of_end_then_length() -> None:
    """Catching up over a long gap evaluates old windows first, and only those that have rows."""
    line = Timeline()
    assert line.rows(200, 10, 70) == [("1m", 0, 0, 0, 1), ("1m", 60, 1, 0, 1), ("3m", 0, 0, 0, 2)]
    assert line.rows(1000) == [("1m", 180, 2, 0, 1), ("3m", 180, 1, 0, 1)]


def test_late_row_is_a_new_revision_with_all_rows() -> None:
    """A row behind the watermark changes its windows; the next revision tells the whole window, under its old index."""
    line = Timeline()
    line.rows(5, 65)
    assert line.rows(75) == [("1m", 0, 0, 0, 1)]
    assert line.rows(6) == []
    assert line.tick(revise=False) == []
    assert line.tick(revise=True) == [("1m", 0, 0, 1, 2)]
    assert line.tick(revise=True) == []
    assert line.rows(7) == []
    assert line.tick(revise=True) == [("1m", 0, 0, 2, 3)]
    assert line.rows(190) == [("1m", 60, 1, 0, 2), ("3m", 0, 0, 0, 5)]
    assert line.late == 0


def test_longer_window_counts_a_late_row_once() -> None:
    """A late row enters each longer window once, whether that was evaluated before or not."""
    line = Timeline()
    line.rows(5, 65, 125)
    line.rows(190)
    line.rows(6)
    assert line.tick(revise=True) == [("1m", 0, 0, 1, 2), ("3m", 0, 0, 1, 4)]


def test_late_row_of_an_empty_window_is_its_first_evaluation() -> None:
    """A window that nothing had reached yet is evaluated at once when late rows make it."""
    line = Timeline()
    line.rows(5)
    assert line.rows(135) == [("1m", 0, 0, 0, 1)]
    assert line.rows(65) == [("1m", 60, 1, 0, 1)]


def test_late_only_when_no_window_takes_the_row() -> None:
    """The longest window decides: a row too late for its minute still enters its three minutes."""
    line = Timeline()
    line.rows(5, 65, 125)
    line.rows(60 + 300 + 10)  # The first minute takes no more rows, its three minutes do.
    assert line.late == 0
    assert line.rows(6) == []
    assert line.late == 0
    assert line.tick(revise=True) == [("3m", 0, 0, 1, 4)]
    line.rows(180 + 300 + 9)
    line.rows(6)
    assert line.late == 0
    line.rows(180 + 300 + 10)  # Now it is too late for both.
    line.rows(6)
    assert line.late == 1


def test_rows_late_and_in_time_in_one_batch_are_told_apart() -> None:
    """Of a mixed batch the late rows alone are left out, and mismatches keep their rows."""
    line = Timeline()
    line.rows(1000)
    batch = predictions(
        [second * SECOND_NS for second in (1, 1001, 2, 1002)], {"x": [None, 1.0, None, None]}, {"x": [0, 2, 3]}
    )
    late, due = line.windows.add(batch, 0)
    assert (late, due) == (2, [])
    window = line.windows.drain(everything=True)[0].counts
    assert window.rows[0] == 3
    assert window.tallies[0, 0].tolist() == [1, 0, 1]


def test_late_rows_are_told_before_their_window_is_forgotten() -> None:
    """A change that was not yet evaluated again is, when the watermark passes the last moment for it."""
    line = Timeline()
    line.rows(5, 65)
    line.rows(75)
    line.rows(6)
    assert ("1m", 0, 0, 1, 2) in line.rows(5000)


def test_rows_older_than_the_lateness_in_the_first_batch_are_kept() -> None:
    """Nothing is known before the first batch, so nothing in it is late, however far apart its rows are."""
    line = Timeline()
    assert line.rows(0, 10_000) == [("1m", 0, 0, 0, 1), ("3m", 0, 0, 0, 1)]
    assert line.late == 0


def test_pending_rows_survive_a_jump_of_the_watermark() -> None:
    """Rows taken in time are evaluated even when the next batch is further ahead than the allowed lateness."""
    line = Timeline()
    line.rows(5)
    assert line.rows(10_000) == [("1m", 0, 0, 0, 1), ("3m", 0, 0, 0, 1)]


def test_draining_a_replay_evaluates_everything() -> None:
    """At the end of a replay every open window and every unsent revision comes out; a second drain has nothing."""
    line = Timeline()
    line.rows(5, 65)
    line.rows(75)
    line.rows(6)
    assert line.drain() == [("1m", 0, 0, 1, 2), ("1m", 60, 1, 0, 2), ("3m", 0, 0, 0, 4)]
    assert line.drain() == []


def test_draining_live_traffic_leaves_open_windows() -> None:
    """A live service that stops sends what is over, revisions included, and not windows that are only partly seen."""
    line = Timeline()
    line.rows(5, 65)
    line.rows(75)
    line.rows(6)
    assert line.drain(everything=False) == [("1m", 0, 0, 1, 2)]


def test_idle_model_is_closed_by_the_clock() -> None:
    """A live model that falls silent has its last windows evaluated when the clock has passed them."""
    line = Timeline(CONFIG.model_copy(update={"clock": "wall"}))
    assert line.rows(5, now=6) == []
    assert line.tick(now=35) == []
    assert line.tick(now=69) == []
    assert line.tick(now=70) == [("1m", 0, 0, 0, 1)]
    assert line.tick(now=190) == [("3m", 0, 0, 0, 1)]


def test_clock_of_a_sender_days_behind_loses_nothing() -> None:
    """Rows far behind the clock are evaluated when idleness moves the watermark past them."""
    line = Timeline(CONFIG.model_copy(update={"clock": "wall"}))
    line.rows(5, now=1_000_000)
    assert line.tick(now=1_000_030) == [("1m", 0, 0, 0, 1), ("3m", 0, 0, 0, 1)]


def test_rows_before_the_epoch_have_windows_too() -> None:
    """Windows are multiples of their length on both sides of 1970."""
    line = Timeline()
    assert line.rows(-1, -60, -61) == [("1m", -120, 0, 0, 1)]
    assert line.drain() == [("1m", -60, 1, 0, 2), ("3m", -180, 0, 0, 3)]


def test_windows_by_rows_alone_take_rows_as_long_as_keys_are_kept() -> None:
    """Where rows alone decide, a row is late once its five minutes are `allowed_lateness` past: it may come twice."""
    line = Timeline(WindowConfig(lengths=("2rows",), clock="data", out_of_orderness="10s", allowed_lateness="5m"))
    assert line.rows(10, 609) == [("2rows", 10, 0, 0, 2)]
    assert line.rows(0, 610) == [("2rows", 0, 1, 0, 2)]
    assert line.late == 0
    assert line.rows(299, 299) == []
    assert line.late == 2
    assert line.rows(300, 611) == [("2rows", 300, 2, 0, 2)]
    assert line.late == 2


def test_row_that_no_window_by_time_takes_is_late_for_windows_by_rows_too() -> None:
    """Nobody knows any more whether it was counted before."""
    line = Timeline(WindowConfig(lengths=("1m", "3rows"), clock="data", allowed_lateness="5m"))
    line.rows(10_000, 10_001)
    assert line.rows(0) == []
    assert line.late == 1
    assert line.rows(10_002) == [("3rows", 10_000, 0, 0, 3)]


OVERLAPPING = CONFIG.model_copy(update={"lengths": ("3m every 1m",)})
"""Windows of three minutes, one each minute:

    -120     -60      0        60       120      180      240
    |------------3m------------|
             |------------3m------------|
                      |------------3m------------|
"""


def test_each_row_is_in_every_window_that_covers_it() -> None:
    """A window a minute, each evaluated when the watermark has passed its own end, and none without rows."""
    line = Timeline(OVERLAPPING)
    assert line.rows(5) == []
    assert line.rows(65) == []
    assert line.rows(70) == [("3m every 1m", -120, 0, 0, 1)]
    assert line.rows(135) == [("3m every 1m", -60, 1, 0, 3)]
    assert line.rows(200, 500) == [
        ("3m every 1m", 0, 2, 0, 4),
        ("3m every 1m", 60, 3, 0, 4),
        ("3m every 1m", 120, 4, 0, 2),
        ("3m every 1m", 180, 5, 0, 1),
    ]
    assert line.rows(1000) == [("3m every 1m", start, index, 0, 1) for index, start in ((6, 360), (7, 420), (8, 480))]


def test_late_row_revises_every_window_that_covers_it() -> None:
    """Those that were evaluated are told again, once each; the others count the row when they are due."""
    line = Timeline(OVERLAPPING)
    assert line.rows(5, 65, 125) == [("3m every 1m", -120, 0, 0, 1)]
    assert line.rows(135) == [("3m every 1m", -60, 1, 0, 2)]
    assert line.rows(7, 70) == []
    assert line.tick(revise=False) == []
    assert line.tick(revise=True) == [("3m every 1m", -120, 0, 1, 2), ("3m every 1m", -60, 1, 1, 4)]
    assert line.tick(revise=True) == []
    assert line.rows(190) == [("3m every 1m", 0, 2, 0, 6)]


def test_rows_are_late_when_the_last_window_that_covers_them_is() -> None:
    """A row at 65 is in windows that end at 120, 180 and 240: it is late 300 seconds after the last of these."""
    line = Timeline(OVERLAPPING)
    line.rows(5)
    line.rows(240 + 300 + 9)
    assert line.rows(65) == [("3m every 1m", 60, 3, 0, 1)]
    assert line.late == 0
    line.rows(240 + 300 + 10)
    line.rows(119)
    assert line.late == 1


def test_windows_that_overlap_are_closed_by_the_clock() -> None:
    """Of a model that falls silent, each window is evaluated when the clock has passed its own end."""
    line = Timeline(OVERLAPPING.model_copy(update={"clock": "wall"}))
    line.rows(5, now=6)
    assert line.tick(now=69) == []
    assert line.tick(now=70) == [("3m every 1m", -120, 0, 0, 1)]
    assert line.tick(now=190) == [("3m every 1m", -60, 1, 0, 1), ("3m every 1m", 0, 2, 0, 1)]
    assert line.tick(now=10_000) == []


def test_draining_tells_no_window_that_ends_after_the_newest_rows() -> None:
    """Of windows that overlap and are not over, only that with the newest rows is told: the others have fewer."""
    line = Timeline(OVERLAPPING)
    line.rows(5, 65)
    assert line.drain() == [("3m every 1m", -120, 0, 0, 1), ("3m every 1m", -60, 1, 0, 2)]
    assert line.drain() == []


def test_few_windows_that_overlap_are_added_up_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a gap the first windows are told before revisions, the others one by one, and none is forgotten untold."""
    monkeypatch.setattr(by_time, "_CELLS_AT_A_TIME", 1)
    line = Timeline(OVERLAPPING)
    line.rows(5)
    assert line.rows(500) == [("3m every 1m", -120, 0, 0, 1)]
    assert line.tick() == [("3m every 1m", -60, 1, 0, 1)]
    assert line.tick(revise=True) == [("3m every 1m", 0, 2, 0, 1)]
    assert line.tick(revise=True) == []
    assert line.rows(400) == [("3m every 1m", 240, 3, 0, 1)]
    assert line.tick() == [("3m every 1m", 300, 4, 0, 1)]
    assert line.rows(401) == []
    assert line.rows(670) == [("3m every 1m", 360, 5, 0, 3)]
    assert [each for _ in range(5) for each in line.tick(revise=True)] == [
        ("3m every 1m", 420, 6, 0, 1),
        ("3m every 1m", 480, 7, 0, 1),
        ("3m every 1m", 240, 3, 1, 2),
        ("3m every 1m", 300, 4, 1, 2),
    ]


@pytest.mark.parametrize("everything", [True, False])
def test_nothing_in_nothing_out(everything: bool) -> None:  # noqa: FBT001
    """A model without rows has no windows."""
    line = Timeline()
    assert line.rows() == []
    assert line.tick(now=10**6, revise=True) == []
    assert line.drain(everything=everything) == []
