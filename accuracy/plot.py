"""Line charts of shares as SVG, for pages that are read on the web."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_WIDTH, _HEIGHT, _LEFT, _TOP, _RIGHT, _BOTTOM = 380, 270, 48, 36, 16, 84
_COLORS = ("#0b6e99", "#d1495b", "#edae49", "#6a4c93")
_GRID, _TEXT = "#d5d5d5", "#444444"
_LEGEND_STEP = 15


@dataclass(frozen=True, slots=True)
class Panel:
    """One chart of shares, 0 to 1, at places side by side.

    Attributes:
        title: What is shown.
        across: What the places are.
        places: Their names, in order.
        lines: Per line's name, its share at each place.
    """

    title: str
    across: str
    places: Sequence[str]
    lines: Mapping[str, Sequence[float]]


def render(panels: Sequence[Panel]) -> str:
    """The charts beside each other as one SVG document, and what its lines are."""
    width, height = _WIDTH * len(panels), _HEIGHT
    body = "".join(f'<g transform="translate({_WIDTH * i},0)">{_panel(each)}</g>\n' for i, each in enumerate(panels))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'font-family="sans-serif" font-size="12">\n<rect width="{width}" height="{height}" fill="white"/>\n'
        f"{body}</svg>\n"
    )


def _panel(panel: Panel) -> str:
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    parts = [_words(panel.title, _WIDTH / 2, 20, "middle"), _words(panel.across, _WIDTH / 2, bottom + 34, "middle")]
    for percent in range(0, 101, 25):
        y = bottom - (bottom - _TOP) * percent / 100
        parts.append(f'<line x1="{_LEFT}" y1="{y}" x2="{right}" y2="{y}" stroke="{_GRID}"/>')
        parts.append(_words(f"{percent} %", _LEFT - 6, y + 4, "end"))
    step = (right - _LEFT) / max(1, len(panel.places) - 1)
    for number, place in enumerate(panel.places):
        parts.append(_words(place, round(_LEFT + number * step, 1), bottom + 16, "middle"))
    for color, (name, shares) in zip(_COLORS, panel.lines.items(), strict=False):
        points = [(round(_LEFT + i * step, 1), round(bottom - (bottom - _TOP) * y, 1)) for i, y in enumerate(shares)]
        line = " ".join(f"{x},{y}" for x, y in points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{color}" stroke-width="2"/>')
        parts += [f'<circle cx="{x}" cy="{y}" r="3" fill="{color}"/>' for x, y in points]
        row = list(panel.lines).index(name)
        x, y = _LEFT + (row % 2) * (right - _LEFT) / 2, bottom + 54 + _LEGEND_STEP * (row // 2)
        parts.append(f'<line x1="{x}" y1="{y - 4}" x2="{x + 18}" y2="{y - 4}" stroke="{color}" stroke-width="3"/>')
        parts.append(_words(name, x + 24, y, "start"))
    return "\n".join(parts)


def _words(text: str, x: float, y: float, anchor: str) -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" fill="{_TEXT}">{html.escape(text)}</text>'
