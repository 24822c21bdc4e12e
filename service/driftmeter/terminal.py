"""Findings, baselines and progress as a person in a terminal reads them."""

import math
from collections.abc import Iterable, Sequence

import polars as pl
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from driftmeter.calibrate import Budget
from driftmeter.detect.judge import Calibration
from driftmeter.methods import DECIDING
from driftmeter.model.baseline import Baseline
from driftmeter.model.bins import NumericBins

_BARS = "▁▂▃▄▅▆▇█"
_SPARK_WIDTH = 16
_REASONS = {
    # Why a column-window has no verdict, for people.
    "insufficient": "too few rows in the window",
    "no_baseline": "no baseline",
    "provisional": "the baseline is provisional",
    "no_timestamps": "the reference has no timestamps",
    "too_few_chunks": "the reference holds fewer than 20 windows of this length",
    "no_weekly_cycle": "the reference covers less than a week",
    "uncalibrated": "the reference is too short for so few false alarms a week",
    "maintenance": "the window lies in a maintenance",
}


def sparkline(values: Iterable[float | None], top: float = 1.0, width: int = _SPARK_WIDTH) -> str:
    """Values from 0 to `top` as bars, evenly thinned to `width`; a space where there is none."""
    given = list(values)
    step = max(1.0, len(given) / width)
    picked = [given[int(i * step)] for i in range(min(width, len(given)))]
    last = len(_BARS) - 1
    return "".join(" " if v is None else _BARS[min(last, max(0, round(v / top * last)))] for v in picked)


def findings_table(findings: pl.DataFrame) -> Table:
    """One line a column: what the deciding method says over all windows."""
    method = DECIDING.replace("_", "-").title()
    table = Table(title=f"Drift against the reference: {method} distance", title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("column", overflow="fold")
    table.add_column("role", no_wrap=True)
    for name in ("windows", "rows", "latest", "noise", "largest"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("scores (0 to 1)", no_wrap=True)
    table.add_column("drifted", no_wrap=True)
    deciding = findings.filter(pl.col("method") == DECIDING)
    for (column, role), part in deciding.group_by("column", "role", maintain_order=True):
        judged, drifted = part["detected"].count(), int(part["detected"].sum() or 0)
        table.add_row(
            Text(str(column)),
            str(role),
            str(part.height),
            f"{part['rows'].sum():,}",
            _number(part["value"][-1]),
            _number(part["noise_floor"][-1]),
            _number(part["value"].max()),
            sparkline(part["value"], width=_SPARK_WIDTH),
            f"{drifted} of {judged}" if judged else "no verdict",
            style="red" if drifted else None,
        )
    table.caption, table.caption_justify = _findings_caption(deciding), "left"
    return table


def _findings_caption(deciding: pl.DataFrame) -> str:
    lines = ["noise: the score that chance alone gives. latest: of the last window."]
    reasons = deciding.filter(pl.col("reason").is_not_null()).group_by("reason").len().sort("reason")
    lines += [f"no verdict in {count:,} column-windows: {_REASONS.get(name, name)}" for name, count in reasons.rows()]
    return "\n".join(lines)


def _number(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else "-"


def baseline_table(baseline: Baseline) -> Table:
    """One line a column."""
    title = Text(_baseline_title(baseline), style="table.title")
    table = Table(title_justify="left", title=title, box=box.SIMPLE_HEAD)
    for name in ("column", "role", "kind"):
        table.add_column(name, no_wrap=name != "column")
    for name in ("bins", "missing", "mean", "std dev", "min", "max"):
        table.add_column(name, justify="right")
    table.add_column("distribution", min_width=18, no_wrap=True)
    for each in baseline.columns:
        numeric = isinstance(each.bins, NumericBins)
        moments = [f"{v:.4g}" if numeric else "" for v in (each.mean, each.stddev, each.minimum, each.maximum)]
        table.add_row(
            Text(each.column.name),
            each.column.role.value,
            "numeric" if numeric else "categorical",
            str(each.bins.size),
            f"{each.missing / max(baseline.rows, 1):.1%}",
            *moments,
            Text(_distribution(each.bins, each.counts.tolist())),
        )
    return table


def _baseline_title(baseline: Baseline) -> str:
    version = f" version {baseline.version}" if baseline.version else ", any version"
    lines = [f"Baseline of model {baseline.model}{version}: {baseline.rows:,} rows, {len(baseline.columns)} columns"]
    if baseline.start_ns is not None:
        start, end = (pl.from_epoch(pl.Series([t]), "ns")[0] for t in (baseline.start_ns, baseline.end_ns))
        lines.append(f"from {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC")
    chunks = ", ".join(f"{name} × {len(each.rows)}" for name, each in baseline.chunks.items())
    lines.append(f"chunks: {chunks or 'none'}")
    if baseline.content_hash:
        lines.append(f"content {baseline.content_hash[:16]}")
    return "\n".join(lines)


def _distribution(bins: object, counts: list[int]) -> str:
    """Twelve equal slices of a numeric column's range, or its commonest categories."""
    if isinstance(bins, NumericBins):
        low, high = float(bins.edges[0]), float(bins.edges[-1])
        slices = [0.0] * 12
        width = high / 12 - low / 12  # Divided first: the whole range may overflow.
        for edge, count in zip(bins.edges.tolist(), counts[1:-1], strict=True):
            slices[min(11, int(edge / width - low / width)) if width > 0 else 0] += count
        return sparkline(slices, top=max(*slices, 1.0))
    total = max(sum(counts), 1)
    names = bins.categories[:5]  # type: ignore[attr-defined]
    text = ", ".join(f"{name} {count / total:.0%}" for name, count in zip(names, counts[:5], strict=False))
    return text + (", …" if len(bins.categories) > 5 else "")  # type: ignore[attr-defined]  # noqa: PLR2004


def budgets_table(budgets: Sequence[Budget], asked: float, calibration: Calibration) -> Table:
    """One line a budget; the one asked for in bold."""
    weeks = calibration.weeks
    table = Table(title=f"False alarms that {weeks:.1f} weeks of baseline can promise", title_justify="left",
                  box=box.SIMPLE_HEAD)  # fmt: skip
    for name in ("asked per week", "level", "replayed per week", "time in drift"):
        table.add_column(name, justify="right", no_wrap=True)
    for each in budgets:
        known = not math.isnan(each.level)
        numbers = (
            (f"{each.level:.2g}", f"{each.replayed:.2f}", f"{each.drifted_time:.1%}") if known else ("-", "-", "-")
        )
        style = "bold" if each.alarms_per_week == asked else None
        table.add_row(f"{each.alarms_per_week:g}", *(numbers if known else "---"), style=style)
    table.caption = (
        "replayed: alarms of the baseline's own time at that level; fewer than asked where windows are too few for more"
        f"\n-: the baseline is too short; it supports {calibration.least_budget:.2g} a week or more"
        if weeks
        else "-: the baseline has no times, so nobody knows how many windows make a week"
    )
    table.caption_justify = "left"
    return table


def detectable_table(detectable: pl.DataFrame, window: str) -> Table:
    """One line a column: the smallest drift that exceeds in a usual window."""
    table = Table(title=f"Smallest drift that is seen in a window of {window}", title_justify="left",
                  box=box.SIMPLE_HEAD)  # fmt: skip
    table.add_column("column", overflow="fold", min_width=16)
    table.add_column("role", no_wrap=True)
    for name in ("rows", "Jensen-Shannon", "mean shift (sd)", "missing"):
        table.add_column(name, justify="right", overflow="fold")
    for row in detectable.iter_rows(named=True):
        missing = row["missing_ratio"]
        table.add_row(
            Text(row["column"]), row["role"], f"{row['rows']:,}", _number(row["jensen_shannon"]),
            _number(row["wasserstein_normalised"]), "-" if missing is None else f"{missing:.2%}",
        )  # fmt: skip
    return table


def progress_bar(console: Console) -> Progress:
    """A bar for work that a person waits for; shown only on a terminal, and gone when done."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def checkup_table(found: Iterable[tuple[str, str, str, str]]) -> Table:
    """One line for each thing that was looked at: what, ok or problem, what was found, what to do."""
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("what", "state", "found", "what to do"):
        table.add_column(name, overflow="fold")
    styles = {"ok": "green", "problem": "red", "note": "yellow"}
    for what, state, said, to_do in found:
        table.add_row(Text(what), Text(state, styles.get(state, "")), Text(said), Text(to_do))
    return table
