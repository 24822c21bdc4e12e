"""Findings, baselines and progress as a person in a terminal reads them."""

import math
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

import polars as pl
from rich import box
from rich.console import Console, Group, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from driftmeter.analyze import Analysis
from driftmeter.calibrate import Budget
from driftmeter.detect.judge import Calibration
from driftmeter.methods import DECIDING
from driftmeter.methods.sampled import SAMPLED
from driftmeter.model.baseline import Baseline
from driftmeter.model.bins import NumericBins
from driftmeter.model.columns import Role

_BARS = "▁▂▃▄▅▆▇█"
_SPARK_WIDTH = 16
_NAME_WIDTH = 12  # Of the name of a column, at least: what is long is folded.
_REASONS = {
    # Why a column-window has no verdict, for people.
    "insufficient": "too few rows in the window",
    "no_baseline": "no baseline",
    "provisional": "the baseline is provisional",
    "no_timestamps": "the reference has no timestamps",
    "too_few_chunks": "the reference holds fewer than 20 windows of this length",
    "not_compared": "the reference's windows were not compared in this way",
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


def analysis_table(analysis: Analysis, shown: str) -> RenderableType:
    """One of the results of `analyze`, by its name in `Analysis`."""
    columns: tuple[str, ...]
    match shown:
        case "findings":
            sampled = analysis.findings.filter(pl.col("method").is_in(list(SAMPLED)))
            by_length = analysis.findings.partition_by("segment", "window", maintain_order=True)
            tables = [findings_table(each) for each in by_length]
            for table, each in zip(tables, by_length, strict=True):
                if len(by_length) > 1:
                    segment = each["segment"][0]
                    table.title = f"{table.title}, windows of {each['window'][0]}{f', {segment}' if segment else ''}"
            return Group(*tables, *([] if sampled.is_empty() else [_sampled_table(sampled)]))
        case "verdicts":
            columns = (
                "segment", "window", "window_index", "window_end", "detected", "drifted_features",
                "drifted_features_ratio", "level",
            )  # fmt: skip
            return _frame_table(analysis.verdicts, columns, "The model, by window")
        case "quality":
            columns = (
                "window", "window_end", "column", "rows", "missing", "type_mismatch", "non_finite", "out_of_range",
                "unseen", "mean", "stddev", "min", "max", "freshness_seconds", "duplicates",
            )  # fmt: skip
            return _frame_table(analysis.quality, columns, "Values of each column, and of whole rows, by window")
        case _:
            columns = ("window", "window_start", "row", "time", "score", "limit", "anomalous")
            return _frame_table(analysis.anomalies, columns, "The oddest rows of each window; rows are numbered from 0")


def _frame_table(frame: pl.DataFrame, columns: Sequence[str], title: str) -> Table:
    """Some columns of a frame; those without anything to say, and the window where it is one, are left out."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    shown = [frame[name] for name in columns if name in frame.columns and _tells(frame[name])]
    for each in shown:
        table.add_column(
            each.name.replace("_", " "), justify="right" if each.dtype.is_numeric() else "left",
            min_width=_NAME_WIDTH if each.name == "column" else None, overflow="fold",
        )  # fmt: skip
    for row in zip(*shown, strict=True):
        table.add_row(*map(_cell, row))
    return table


def _tells(values: pl.Series) -> bool:
    if values.name == "window":
        return values.n_unique() > 1
    return not (values.drop_nulls() == 0).all() if values.dtype.is_integer() else values.null_count() < len(values)


def _cell(value: object) -> Text:
    if isinstance(value, datetime):
        return Text(f"{value:%Y-%m-%d %H:%M}")
    if isinstance(value, bool):
        return Text("yes" if value else "no", style="red" if value else "")
    return Text("" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value))


def _sampled_table(sampled: pl.DataFrame) -> Table:
    """One line a method and window length: what it says of all columns together."""
    table = Table(title="All columns together, on a sample of each window's rows", title_justify="left",
                  box=box.SIMPLE_HEAD)  # fmt: skip
    for name in ("method", "window"):
        table.add_column(name, no_wrap=True)
    for name in ("latest", "usual", "p", "least p"):
        table.add_column(name, justify="right", no_wrap=True)
    for (method, window), part in sampled.group_by("method", "window", maintain_order=True):
        last = part.row(-1, named=True)
        numbers = (last["value"], last["noise_floor"], last["pvalue"], part["pvalue"].min())
        table.add_row(str(method), str(window), *map(_number, numbers))
    table.caption = "usual: of blocks of the reference's own rows. p: how often these say as much without drift."
    table.caption_justify = "left"
    return table


def findings_table(findings: pl.DataFrame) -> Table:
    """One line a column: what the deciding method says over all windows, which are of one length."""
    method = DECIDING.replace("_", "-").title()
    table = Table(title=f"Drift against the reference: {method} distance", title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("column", overflow="fold")
    for name in ("windows", "rows", "latest", "noise", "largest"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("scores (0 to 1)", no_wrap=True)
    table.add_column("drifted", no_wrap=True)
    deciding = findings.filter(pl.col("method") == DECIDING)
    for (column, role), part in deciding.group_by("column", "role", maintain_order=True):
        judged, drifted = part["detected"].count(), int(part["detected"].sum() or 0)
        table.add_row(
            Text(str(column) if role == Role.FEATURE else f"{column} ({role})"),
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


def steps(progress: Progress, said: str) -> Callable[[int, int], None]:
    """A further bar that is told how many steps are done and how many there are."""
    task = progress.add_task(said, total=None)
    return lambda done, total: progress.update(task, completed=done, total=total)


def checkup_table(found: Iterable[tuple[str, str, str, str]]) -> Table:
    """One line for each thing that was looked at: what, ok or problem, what was found, what to do."""
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("what", "state", "found", "what to do"):
        table.add_column(name, overflow="fold")
    styles = {"ok": "green", "problem": "red", "note": "yellow"}
    for what, state, said, to_do in found:
        table.add_row(Text(what), Text(state, styles.get(state, "")), Text(said), Text(to_do))
    return table
