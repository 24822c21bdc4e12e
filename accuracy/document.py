"""The page about accuracy: its tables between markers, and plots beside it."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from accuracy.detection import MANY, SEGMENTS, SOON, Compared, Detection, Detector, Singles
from accuracy.false_alarms import ASKED, BY_DEFAULT, Found
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
    """One table: a line for each kind of traffic."""
    settings = list(dict.fromkeys(each.setting for each in found))
    heads = [
        "traffic", "columns", "rows a window", "window", "baseline", "weeks watched", "reachable",
        *(f"asked for {asked:g}" for asked in ASKED), f"by default, asked for {BY_DEFAULT:g}", "at most asked",
        "at least a fifth",
    ]  # fmt: skip
    lines = [f"| {' | '.join(heads)} |", "|---|---:|---:|---|---|---:|---:|---|---|---|---|---|---|"]
    for setting in settings:
        mine = [each for each in found if each.setting == setting]
        level_alone = [each for each in mine if each.every_effect]
        by_default = next(each for each in mine if not each.every_effect and each.asked == BY_DEFAULT)
        promised = [each for each in mine if not each.uncalibrated]
        cells = [
            setting.source.value,
            f"{setting.columns:,}",
            f"{setting.rows:,}",
            setting.window,
            f"{setting.baseline_weeks} weeks" + ("" if setting.long_enough else " (short)"),
            f"{by_default.rate.weeks:.0f}",
            f"{level_alone[0].reachable:.2f}",
            *(_rate(each) for each in (*level_alone, by_default)),
            _holds([each.at_most for each in promised], [each.rate.high <= each.asked for each in promised]),
            _holds(
                [each.at_least for each in mine if each.is_told],
                [each.surely_at_least for each in mine if each.is_told],
            )
            if setting.long_enough
            else "not asked",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _rate(found: Found) -> str:
    rate = found.rate
    if found.uncalibrated:
        return "baseline too short"
    return f"**{rate.per_week:.2f}** ({rate.low:.2f} – {rate.high:.2f}), {_PERCENT * found.drifted:.1f} %"


def _holds(within: Sequence[bool], sure: Sequence[bool]) -> str:
    """Whether a promise is kept by the figures themselves, or only as far as their intervals can tell."""
    return "yes" if all(sure) else "yes, within the interval" if all(within) else "**no**"


def detection_tables(found: Sequence[Compared], singles: Singles) -> str:
    """Tables by rows per window."""
    segment = f"- One column of 5 moves by 1 in one segment of {SEGMENTS}, 1,000 rows a day, each segment judged too"
    first = [
        f"- One column of {MANY} moves by 0.5 standard deviations, 1,000 rows a day: {_found(singles.column)}",
        f"{segment}: {_found(singles.segment)}",
    ]
    return "\n\n".join(["\n".join(first), *(part for each in found for part in _detection_parts(each))]) + "\n"


def _found(one: Detection) -> str:
    return f"found within {SOON} windows {_PERCENT * one.soon:.0f} % of the time, after {one.delay:.1f} on average."


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
