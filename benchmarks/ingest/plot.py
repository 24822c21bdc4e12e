"""A small line chart on logarithmic axes as SVG, for pages that are read on the web."""

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_WIDTH, _HEIGHT, _LEFT, _TOP, _RIGHT, _BOTTOM = 360, 260, 64, 36, 16, 44
_LINE, _GRID, _TEXT = "#0b6e99", "#d5d5d5", "#444444"


@dataclass(frozen=True, slots=True)
class Panel:
    """One chart: positive values over positive places, both on logarithmic axes.

    Attributes:
        title: What is shown, with its unit.
        across: What the places are.
        values: Value at each place.
    """

    title: str
    across: str
    values: Mapping[float, float]


def render(panels: Sequence[Panel]) -> str:
    """The charts beside each other as one SVG document."""
    width = _WIDTH * len(panels)
    body = "".join(
        f'<g transform="translate({_WIDTH * number},0)">{_panel(each)}</g>\n' for number, each in enumerate(panels)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {_HEIGHT}" width="{width}" height="{_HEIGHT}" '
        f'font-family="sans-serif" font-size="12">\n<rect width="{width}" height="{_HEIGHT}" fill="white"/>\n'
        f"{body}</svg>\n"
    )


@dataclass(frozen=True, slots=True)
class _Axis:
    """Decades from `low` to `high` along pixels from `start` to `end`."""

    low: int
    high: int
    start: float
    end: float

    @classmethod
    def over(cls, values: Sequence[float], start: float, end: float) -> "_Axis":
        low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
        return cls(low, max(high, low + 1), start, end)

    def at(self, value: float) -> float:
        share = (math.log10(value) - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)

    def ticks(self) -> list[tuple[str, float]]:
        return [(f"{10.0**power:,g}", self.at(10.0**power)) for power in range(self.low, self.high + 1)]


def _panel(panel: Panel) -> str:
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    points = {place: value for place, value in sorted(panel.values.items()) if value > 0}
    if not points:
        return _words(panel.title, _WIDTH / 2, 20, "middle")
    across = _Axis.over(list(points), _LEFT, right)
    up = _Axis.over(list(points.values()), bottom, _TOP)
    parts = [_words(panel.title, _WIDTH / 2, 20, "middle"), _words(panel.across, _WIDTH / 2, _HEIGHT - 8, "middle")]
    for label, x in across.ticks():
        parts += [_rule(x, _TOP, x, bottom), _words(label, x, bottom + 16, "middle")]
    for label, y in up.ticks():
        parts += [_rule(_LEFT, y, right, y), _words(label, _LEFT - 6, y + 4, "end")]
    places = [(across.at(place), up.at(value)) for place, value in points.items()]
    line = " ".join(f"{x},{y}" for x, y in places)
    parts.append(f'<polyline points="{line}" fill="none" stroke="{_LINE}" stroke-width="2"/>')
    for (x, y), value in zip(places, points.values(), strict=True):
        parts.append(f'<circle cx="{x}" cy="{y}" r="3.5" fill="{_LINE}"/>')
        parts.append(_words(f"{value:,.3g}", x, y - 8, "middle"))
    return "\n".join(parts)


def _rule(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="{_GRID}"/>'


def _words(text: str, x: float, y: float, anchor: str) -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" fill="{_TEXT}">{html.escape(text)}</text>'
