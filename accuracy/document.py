"""The page about accuracy: its tables between markers, and plots beside it."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from accuracy.detection import MANY, SOON, Compared, Detection, Detector
from accuracy.false_alarms import AT_LEAST, Found
from accuracy.plot import Panel, render
from accuracy.seasons import SLOW_SIZE, SLOW_WEEKS, Season, Slow
from accuracy.shifts import SHIFTS

_MOVES = {"0.1": "mean_0.1", "0.2": "mean_0.2", "0.5": "mean_0.5", "1": "mean_1"}
_PERCENT = 100


def replace_part(page: Path, part: str, content: str) -> None:
    """Put text between the lines `<!-- PART -->` and `<!-- end of PART -->`; raises ValueError where there are none."""
    text = page.read_text(encoding="utf-8")
    begin, end = f"<!-- {part} -->\n", f"<!-- end of {part} -->"
    if begin not in text or end not in text:
        raise ValueError(f"{page} has no place for {part}: it needs the lines {begin.strip()} and {end}")
    first = text.index(begin) + len(begin)
    page.write_text(text[:first] + content + text[text.index(end) :], encoding="utf-8")


def false_alarm_tables(found: Sequence[Found]) -> str:
    """One table for the level alone, one with the smallest effects by default."""
    parts = []
    for every, title in ((True, "The level alone (`min_effect: 0`)"), (False, "With the smallest effects by default")):
        lines = [
            f"**{title}**",
            "",
            f"| {' | '.join(_FALSE_ALARM_HEADS)} |",
            "|---|---:|---:|---|---:|---:|---:|---|---:|---:|---:|---|---|",
        ]
        lines += [_false_alarm_row(each) for each in found if each.every_effect is every]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


_FALSE_ALARM_HEADS = (
    "traffic", "columns", "rows a window", "window", "baseline", "asked a week", "measured a week", "95 %", "weeks",
    "time in drift", "reachable", "at most asked", "at least a fifth",
)  # fmt: skip


def _false_alarm_row(found: Found) -> str:
    setting, rate = found.setting, found.rate
    cells = [
        setting.source.value,
        f"{setting.columns:,}",
        f"{setting.rows:,}",
        setting.window,
        f"{setting.baseline_weeks} weeks" + ("" if setting.long_enough else " (short)"),
        f"{found.asked:g}",
        f"{rate.per_week:.2f}",
        f"{rate.low:.2f} – {rate.high:.2f}",
        f"{rate.weeks:.0f}",
        f"{_PERCENT * found.drifted:.1f} %",
        f"{found.reachable:.2f}",
        _yes(ok=found.at_most, sure=rate.high <= found.asked),
        _at_least(found),
    ]
    return "| " + " | ".join(cells) + " |"


def _yes(*, ok: bool, sure: bool) -> str:
    return "yes" if sure else "yes, within the interval" if ok else "**no**"


def _at_least(found: Found) -> str:
    if not found.every_effect:
        return "not asked: small effects do not count"
    if found.at_least:
        return (
            "yes" if found.rate.per_week >= AT_LEAST * min(found.asked, found.reachable) else "yes, within the interval"
        )
    return "**no**" if found.setting.long_enough else "no (short)"


def detection_tables(found: Sequence[Compared], among: Detection) -> str:
    """Tables by rows per window."""
    first = (
        f"One column of {MANY} moves by 0.5 standard deviations, 1,000 rows a day: found within {SOON} windows "
        f"{_PERCENT * among.soon:.0f} % of the time, after {among.delay:.1f} on average."
    )
    return "\n\n".join([first, *(part for each in found for part in _detection_parts(each))]) + "\n"


def write_plot(page: Path, found: Sequence[Compared]) -> None:
    """A plot of the moved means in a folder named like the page."""
    page.with_suffix("").mkdir(exist_ok=True)
    panels = [
        Panel(
            f"{each.plan.rows:,} rows a window, equal false alarms",
            "mean moves by so many standard deviations",
            list(_MOVES),
            {one.name: [one.shifts[key].soon for key in _MOVES.values()] for one in each.every},
        )
        for each in found
    ]
    (page.with_suffix("") / _PLOT).write_text(render(panels), encoding="utf-8")


def plot_of(page: Path) -> str:
    """The page's reference to its plot."""
    return f"\n![Share of moved means found within {SOON} windows]({page.stem}/{_PLOT})\n"


_PLOT = "detection.svg"


def _detection_parts(found: Compared) -> Iterable[str]:
    plan = found.plan
    yield (
        f"### {plan.rows:,} rows a window\n\nBaseline: {plan.baseline_weeks} weeks of days. Each drift was planted "
        f"{plan.repeats} times in {plan.windows} days. A cell: share found within {SOON} windows, share found at all "
        "within 6, mean delay in windows."
    )
    yield _detection_table("At their own thresholds", found.own)
    if found.equal:
        yield _detection_table("With as many false alarms as Driftmeter by default", [found.own[0], *found.equal])
    yield _detection_table("The same where no effect is too small to count (`min_effect: 0`)", found.every)


def _detection_table(title: str, detectors: Sequence[Detector]) -> str:
    heads = [f"{each.name} ({each.alarms} false)" for each in detectors]
    lines = [f"**{title}**", "", f"| drift | {' | '.join(heads)} |", "|---|" + "---|" * len(heads)]
    for shift in SHIFTS:
        best = max(
            0.0 if math.isnan(each.shifts[shift.key].soon) else each.shifts[shift.key].soon for each in detectors
        )
        cells = []
        for each in detectors:
            one = each.shifts[shift.key]
            if math.isnan(one.soon):
                cells.append("drifted before, always")
                continue
            delay = "" if math.isnan(one.delay) else f", {one.delay:.1f}"
            text = f"{_PERCENT * one.soon:.0f} %, {_PERCENT * one.ever:.0f} %{delay}"
            cells.append(f"**{text}**" if one.soon == best and best > 0 and len(detectors) > 1 else text)
        lines.append(f"| {shift.what} | {' | '.join(cells)} |")
    return "\n".join(lines)


def season_tables(found: Sequence[Season], slow: Slow) -> str:
    """What each reference says of the year's months, and of a slow drift."""
    months = list(found[0].drifted)
    lines = [
        f"| compared with | watched | {' | '.join(_MONTHS[int(month) - 1] for month in months)} |",
        "|---|---|" + "---:|" * len(months),
    ]
    for each in found:
        cells = [f"{_PERCENT * each.drifted.get(month, math.nan):.0f} %" for month in months]
        lines.append(f"| {each.reference} | {each.watched} | {' | '.join(cells)} |")
    creeping = (
        f"A column that creeps by {SLOW_SIZE:g} standard deviations in {SLOW_WEEKS} weeks, 1,000 rows a day: drifted "
        f"on {_PERCENT * slow.rolling:.0f} % of the days against the last 7 days, on {_PERCENT * slow.fixed:.0f} % "
        f"against the baseline. At the end the rolling reference itself is {slow.anchor:.2f} away from the baseline "
        f"(`ml_baseline_drift_score`; sampling alone gives {slow.anchor_noise:.2f})."
    )
    return "\n".join([*lines, "", creeping, ""])


_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
