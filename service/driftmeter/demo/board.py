"""What the demo has seen so far, by column and month, and how it looks in a terminal."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

import polars as pl
from rich import box
from rich.table import Table
from rich.text import Text

from driftmeter.methods import DECIDING
from driftmeter.terminal import sparkline

MONTHS = ("Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_FIRST_MONTH = 3


@dataclass
class ColumnDays:
    """The days of one column that were judged, in order: score, verdict, month (0 is March).

    Attributes:
        noise: Of the last of them, as is `rows`.
    """

    scores: list[float] = field(default_factory=list)
    drifted: list[bool] = field(default_factory=list)
    months: list[int] = field(default_factory=list)
    noise: float = float("nan")
    rows: int = 0

    @property
    def days_drifted(self) -> int:
        """On how many days it was called drifted."""
        return sum(self.drifted)

    def share_by_month(self) -> list[float | None]:
        """Share of each month's judged days on which it was called drifted; None for a month without any."""
        return [_mean(d for d, m in zip(self.drifted, self.months, strict=True) if m == i) for i in range(len(MONTHS))]

    def score_by_month(self) -> list[float | None]:
        """Mean score of each month."""
        return [_mean(s for s, m in zip(self.scores, self.months, strict=True) if m == i) for i in range(len(MONTHS))]


def _mean(values: Iterable[float]) -> float | None:
    given = list(values)
    return sum(given) / len(given) if given else None


class Board:
    """Collects the findings of all days."""

    def __init__(self) -> None:
        self.columns: dict[tuple[str, str], ColumnDays] = defaultdict(ColumnDays)
        self.findings: list[pl.DataFrame] = []
        self.month = -1

    def add(self, findings: pl.DataFrame) -> None:
        """Take the findings of one window, first evaluations only; days with too few rows to judge are no days."""
        self.findings.append(findings)
        deciding = findings.filter((pl.col("method") == DECIDING) & (pl.col("revision") == 0)).select(
            "role", "column", "value", "noise_floor", "rows", "detected", pl.col("window_start").dt.month()
        )
        for role, column, value, noise, rows, detected, month in deciding.iter_rows():
            days = self.columns[role, column]
            if detected is not None:
                self.month = month - _FIRST_MONTH
                days.scores.append(value)
                days.months.append(self.month)
                days.drifted.append(detected)
                days.noise, days.rows = noise, rows

    def table(self, width: int) -> Table:
        """All columns, those that drift most first; months as numbers where `width` characters have room for them."""
        wide = width >= _WIDE
        table = Table(title="Drift by day against January and February", title_justify="left", box=box.SIMPLE_HEAD)
        table.padding = (0, 1, 0, 0)
        table.add_column("column", no_wrap=True)
        for name in ("score", "noise", "rows", "days"):
            table.add_column(name, justify="right", no_wrap=True)
        for month in MONTHS if wide else ("drifted",):
            table.add_column(month, justify="right", no_wrap=True)
        table.add_column("scores", no_wrap=True)
        for (role, column), days in sorted(self.columns.items(), key=lambda item: -item[1].days_drifted):
            shares = days.share_by_month()
            table.add_row(
                Text(title(role, column), style="bold red" if days.days_drifted else ""),
                f"{days.scores[-1]:.3f}" if days.scores else "-",
                f"{days.noise:.3f}" if days.scores else "-",
                f"{days.rows:,}",
                str(days.days_drifted),
                *(map(_cell, shares) if wide else [sparkline(shares, width=len(MONTHS))]),
                sparkline(days.score_by_month(), top=_TOP_SCORE, width=len(MONTHS)),
            )
        months = "months: percent of days called drifted" if wide else "drifted: share of days, March to December"
        table.caption = (
            f"score, noise (what chance alone gives), rows: of the last day judged. {months}. scores: by month."
        )
        table.caption_justify = "left"
        return table


_WIDE = 108
_TOP_SCORE = 0.8


def title(role: str, column: str) -> str:
    """A column's name, with its role unless it is a feature: a prediction and a probability may share a name."""
    return column if role == "feature" else f"{column} ({role})"


def _cell(share: float | None) -> Text:
    if share is None:
        return Text("")
    if share == 0:
        return Text("·", style="dim")
    return Text(f"{share * 100:.0f}", style="red" if share >= 0.5 else "yellow")  # noqa: PLR2004 - half of the days.
