"""Findings, baselines and progress as a person in a terminal reads them."""

from collections.abc import Iterable

import polars as pl
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

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
    first = baseline.columns[0]
    chunks = ", ".join(f"{name} × {len(first.chunks[name].rows)}" for name in baseline.windows if name in first.chunks)
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
