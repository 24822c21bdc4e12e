"""What the demo's table shows of the findings."""

from datetime import UTC, datetime, timedelta

import polars as pl
from rich.console import Console

from driftmeter.demo.board import Board
from driftmeter.methods import DECIDING
from driftmeter.model.findings import FINDINGS_SCHEMA


def day(start: datetime, value: float | None, rows: int, *, detected: bool | None, revision: int = 0) -> pl.DataFrame:
    """The finding of one day of the feature `temp`."""
    finding = {
        "role": "feature", "column": "temp", "method": DECIDING, "window_start": start, "revision": revision,
        "rows": rows, "value": value, "noise_floor": 1 / rows if rows else None, "detected": detected,
    }  # fmt: skip
    return pl.DataFrame([finding], schema=FINDINGS_SCHEMA)


def row(board: Board) -> list[str]:
    """The words of the line of `temp`."""
    console = Console(width=120, color_system=None)
    with console.capture() as capture:
        console.print(board.table(120))
    return next(line.split() for line in capture.get().splitlines() if line.startswith(" temp "))


def test_numbers_are_of_the_last_day_judged() -> None:
    """A fragment of a day, too few rows to judge, changes nothing; nor do revisions and days without rows."""
    board = Board()
    last = datetime(2013, 12, 31, tzinfo=UTC)
    board.add(day(last - timedelta(days=1), 0.5, 1_000, detected=True))
    board.add(day(last, 0.25, 500, detected=False))
    expected = row(board)
    assert expected == ["temp", "0.250", "0.002", "500", "1", "50", "▄"]
    board.add(day(last, 0.75, 600, detected=True, revision=1))
    board.add(day(last + timedelta(days=1), 0.9, 80, detected=None))
    board.add(day(last + timedelta(days=1), None, 0, detected=None))
    assert row(board) == expected
    assert len(board.findings) == 5
    assert board.month == 9


def test_column_that_was_never_judged_has_a_line() -> None:
    """Without numbers."""
    board = Board()
    board.add(day(datetime(2013, 3, 1, tzinfo=UTC), 0.9, 80, detected=None))
    assert row(board)[1:5] == ["-", "-", "0", "0"]
