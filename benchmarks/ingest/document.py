"""The page about performance: its tables between markers, and plots beside it."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.ingest.plot import Panel, render
from benchmarks.measure import Measurement

_GROWTH = re.compile(r"(features|models)_(\d+)_(cpu|evaluation|memory)")
_HEADINGS = ("CPU per span, µs", "CPU per evaluation of a pane, ms", "memory, MB")
_FIGURES = ("cpu", "evaluation", "memory")

_Grown = dict[str, dict[int, dict[str, float]]]


def write(page: Path, found: Mapping[str, Sequence[Measurement]]) -> None:
    """Put the figures of each part that was run between its markers; plots go into a folder named like the page.

    Markers are lines `<!-- PART -->` and `<!-- end of PART -->`; raises ValueError where a page lacks one.
    """
    text = page.read_text(encoding="utf-8")
    for part, measurements in found.items():
        if measurements:
            text = _replaced(text, part, _growth(page, measurements) if part == "growth" else _table(measurements))
    page.write_text(text, encoding="utf-8")


def _replaced(text: str, part: str, content: str) -> str:
    begin, end = f"<!-- {part} -->\n", f"<!-- end of {part} -->"
    if begin not in text or end not in text:
        raise ValueError(f"the page has no place for {part}: it needs the lines {begin.strip()} and {end}")
    return text[: text.index(begin)] + begin + content + text[text.index(end) :]


def _table(measurements: Sequence[Measurement]) -> str:
    lines = ["| metric | value | compared with | ratio | asked for |", "|---|---:|---|---:|---|"]
    for each in measurements:
        against = "" if each.reference is None else f"{each.reference}: {each.reference_value or 0:,.3g}"
        ratio = "" if each.ratio is None else f"{each.ratio:.3g}"
        lines.append(f"| `{each.metric}` | {_number(each.value)} {each.unit} | {against} | {ratio} | {_bound(each)} |")
    return "\n".join(lines) + "\n"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:,.3g}"


def _bound(measurement: Measurement) -> str:
    if measurement.target is not None:
        return f"at most {measurement.target:g}"
    return "" if measurement.at_least is None else f"at least {measurement.at_least:,.0f}"


def _growth(page: Path, measurements: Sequence[Measurement]) -> str:
    """A table and a plot for features, the same for models, then the rest."""
    grown: _Grown = {}
    rest: list[Measurement] = []
    for each in measurements:
        match = _GROWTH.fullmatch(each.metric)
        if match is None:
            rest.append(each)
            continue
        what, count, figure = match.groups()
        grown.setdefault(what, {}).setdefault(int(count), {})[figure] = each.value
    folder = page.with_suffix("")
    folder.mkdir(exist_ok=True)
    parts: list[str] = []
    for what, points in grown.items():
        panels = [
            Panel(heading, what, {float(count): point[figure] for count, point in points.items()})
            for figure, heading in zip(_FIGURES, _HEADINGS, strict=True)
        ]
        (folder / f"growth-{what}.svg").write_text(render(panels), encoding="utf-8")
        rows = [
            f"| {count:,} | " + " | ".join(_number(point[figure]) for figure in _FIGURES) + " |"
            for count, point in points.items()
        ]
        table = [f"| {what} | {' | '.join(_HEADINGS)} |", "|---:|---:|---:|---:|", *rows]
        parts.append("\n".join([*table, "", f"![Cost by {what}]({folder.name}/growth-{what}.svg)", ""]))
    return "\n".join([*parts, _table(rest)])
