"""Tables and bars in a terminal."""

import numpy as np
import polars as pl
import pytest
from rich.console import Console
from rich.table import Table

from driftmeter.analyze import analyze
from driftmeter.baseline.build import build_baseline
from driftmeter.detect.config import DetectConfig
from driftmeter.model.windows import parse_window
from driftmeter.terminal import baseline_table, findings_table, progress_bar, sparkline
from rows import DAY_NS, dataset


def printed(table: Table) -> str:
    """What a wide terminal without colours shows."""
    console = Console(width=200, color_system=None)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


@pytest.mark.parametrize(
    ("values", "bars"),
    [
        ([], ""),
        ([0.0, 1.0], "▁█"),
        ([None, 0.5], " ▅"),
        ([-1.0, 2.0], "▁█"),
        ([i / 7 for i in range(8)], "▁▂▃▄▅▆▇█"),
    ],
)
def test_sparkline_draws_each_value(values: list[float | None], bars: str) -> None:
    """Lowest to highest bar, a space where there is no value, nothing beyond the ends."""
    assert sparkline(values) == bars


def test_sparkline_is_thinned_to_its_width() -> None:
    """A year of days fits."""
    assert len(sparkline([0.5] * 365, width=24)) == 24
    assert sparkline([0.0] * 50 + [1.0] * 50, width=4) == "▁▁██"


def test_reasons_are_said_in_words() -> None:
    """Where there is no verdict, the table says why."""
    reference, current = dataset({"x": np.arange(300.0)}), dataset({"x": np.arange(50.0)})
    text = printed(findings_table(analyze(reference, current, [parse_window("50rows")], DetectConfig()).findings))
    assert "no verdict in 1 column-windows: the reference holds fewer than 20 windows" in text
    assert next(line for line in text.splitlines() if " x " in line).rstrip().endswith("no verdict")


def test_column_without_values_has_a_line() -> None:
    """No score, no noise, no verdict, no crash."""
    reference = dataset({"x": np.arange(300.0), "gone": np.arange(300.0)})
    current = dataset({"x": np.arange(50.0)})
    text = printed(findings_table(analyze(reference, current, [parse_window("50rows")], DetectConfig()).findings))
    line = next(line for line in text.splitlines() if "gone" in line)
    assert line.count(" - ") >= 3


@pytest.mark.parametrize(
    "values", [[1.0], [5.0] * 10, [-1.7e308, 0.0, 1.7e308], [0.0, 5e-324], [1e-300, 1e300]], ids=str
)
def test_any_baseline_can_be_shown(values: list[float]) -> None:
    """Constant, huge and tiny ranges are drawn like any other."""
    data = dataset({"x": values, "c": ["a"] * len(values)})
    text = printed(baseline_table(build_baseline(data, "m", "2", [])))
    assert "model m version 2" in text
    assert "a 100%" in text


def test_names_are_shown_as_they_are() -> None:
    """Brackets in names of models, columns and categories are no markup."""
    data = dataset({"[/x]": [1.0, 2.0], "c": ["[/bold]", "[red]"]})
    text = printed(baseline_table(build_baseline(data, "m[/y]", "", [])))
    for name in ("[/x]", "[/bold] 50%", "[red] 50%", "m[/y]"):
        assert name in text


def test_distribution_is_drawn_over_the_range() -> None:
    """Twelve slices of the range, the fullest at the top; rare categories are cut off."""
    values = np.concatenate([np.zeros(10), np.full(90, 11.0)])
    names = [f"n{i}" for i in range(10)] * 10
    times = pl.Series(np.arange(100) * DAY_NS).cast(pl.Datetime("ns"))
    data = dataset({"t": times, "x": values, "c": names}, "t")
    text = printed(baseline_table(build_baseline(data, "m", "", [parse_window("24h")])))
    assert "▂▁▁▁▁▁▁▁▁▁▁█" in text
    assert "n0 10%, n1 10%, n2 10%, n3 10%, n4 10%, …" in text
    assert "24h × 100" in text


def test_progress_is_shown_on_terminals_only() -> None:
    """In logs and pipes a bar would be noise."""
    assert progress_bar(Console(force_terminal=False)).disable
    assert not progress_bar(Console(force_terminal=True)).disable
