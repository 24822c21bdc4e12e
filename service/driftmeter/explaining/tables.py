"""An explanation as a person in a terminal reads it."""

from collections.abc import Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from driftmeter.explaining.bars import Bar
from driftmeter.explaining.facts import Explanation, Past, Statistic

_WIDTH = 24
_PARTS = " ▏▎▍▌▋▊▉█"


def explanation_tables(found: Explanation) -> RenderableType:
    """Verdict, histograms, statistics, null, windows, what moved."""
    return Group(
        *_head(found), _histograms(found), _moved(found.moved), _statistics(found), *_null(found), _past(found)
    )


def bar_text(share: float, full: float, width: int = _WIDTH) -> str:
    """A bar as long as `share` is of `full`, in eighths of a character; anything at all can be seen."""
    if share <= 0 or full <= 0:
        return ""
    eighths = max(1, round(share / full * width * 8))
    return "█" * (eighths // 8) + _PARTS[eighths % 8].strip()


def _head(found: Explanation) -> list[RenderableType]:
    version = "".join(
        f" {name} {value}"
        for name, value in (("version", found.version), ("stage", found.stage), ("segment", found.segment))
        if value
    )
    colour = {True: "bold red", False: "bold green", None: "bold yellow"}[found.verdict]
    span = f"{found.baseline['start']} to {found.baseline['end']}" if found.baseline["start"] else "without times"
    lines = [
        Text(f"{found.role} {found.feature} ({found.kind}) of model {found.model}{version}", style="bold"),
        Text(
            f"window of {found.window} from {found.start} to {found.end}: {found.rows:,} rows, {found.values:,} values"
        ),
        Text(f"baseline {found.baseline['name']}: {found.baseline['rows']:,} rows, {span}"),
        Text(found.said, style=colour),
    ]
    notes = [Text(f"note: {note}", style="dim") for note in found.notes]
    quality = _quality(found)
    return [*lines, *notes, *([Text(quality)] if quality else [])]


def _quality(found: Explanation) -> str:
    """Baseline and window in one line: what changed of rows without a proper value, and of moments."""
    words = []
    for name, sides in found.quality.items():
        before, after = sides["baseline"], sides["window"]
        share = name in ("missing", "non_finite", "out_of_range", "unseen", "other")
        if share and not before and not after:
            continue
        words.append(f"{name.replace('_', ' ')} {_quantity(before, share=share)} → {_quantity(after, share=share)}")
    return ", ".join(words)


def _quantity(value: float | None, *, share: bool) -> str:
    if value is None:
        return "-"
    return f"{value:.2%}" if share else f"{value:.4g}"


def _histograms(found: Explanation) -> Table:
    table = _table("", "baseline", "", "window", "", right=(1, 3))
    full = max((max(bar.baseline, bar.window) for bar in found.histogram), default=0.0)
    for bar in found.histogram:
        cells = (f"{bar.baseline:.1%}", bar_text(bar.baseline, full), f"{bar.window:.1%}", bar_text(bar.window, full))
        style = "yellow" if abs(bar.window - bar.baseline) > full / 4 else None
        table.add_row(Text(bar.label), *cells, style=style)
    return table


def _moved(moved: Sequence[Bar]) -> Table:
    table = _table("moved most", "baseline", "window", "of the distance", right=(1, 2, 3))
    for bar in moved:
        cells = Text(bar.label), f"{bar.baseline:.2%}", f"{bar.window:.2%}", f"{bar.contribution or 0:.1%}"
        table.add_row(*cells)
    return table


def _statistics(found: Explanation) -> Group:
    """What decides with all that the verdict is made of, then what informs."""
    names = ("decides", "value", "noise", "effect", "beyond", "needed", "p", "exceeds", "verdict")
    deciding = _table(*names, right=(1, 2, 3, 4, 5, 6))
    informing = _table("informs", "value", "noise", "effect", "p", right=(1, 2, 3, 4))
    for each in found.statistics:
        if each.deciding:
            numbers = map(_short, (each.value, each.noise_floor, each.effect, each.excess, each.min_effect))
            deciding.add_row(each.method, *numbers, _chance(each.pvalue), _answer(each.exceeds), _verdict(each))
        else:
            numbers = map(_short, (each.value, each.noise_floor, each.effect))
            informing.add_row(each.method, *numbers, _chance(each.pvalue), style="dim")
    return Group(deciding, informing)


def _null(found: Explanation) -> list[RenderableType]:
    level = "none: the baseline cannot tell" if found.level is None else f"{found.level:.3g}"
    rule = f"drift is {found.needed} of {found.of} windows that exceed"
    large = "what is beyond noise and natural variation is as large as needed"
    lines = [f"level: {level}. A window exceeds when p is below it and {large}; {rule}."]
    for each in found.nulls:
        if each.source is None:
            lines.append(f"null of {each.method}: none ({each.reason})")
            continue
        lines.append(
            f"null of {each.method}: {each.source}, {each.chunks} chunks of the baseline, natural variation "
            f"{_short(each.natural)}, shape {_short(each.shape)}"
        )
    return [Text(line) for line in lines]


def _past(found: Explanation) -> Table:
    names = ("window from", "values", "score", "noise", "beyond / needed", "p", "exceeds", "verdict")
    table = _table(*names, right=(1, 2, 3, 4, 5))
    for each in found.history:
        table.add_row(*_window(each), style="bold" if each.start == found.start else None)
    return table


def _window(each: Past) -> list[str]:
    numbers = [*map(_short, (each.value, each.noise_floor, each.excess)), _chance(each.pvalue)]
    start = "" if each.start is None else each.start[:16].replace("T", " ")
    return [start, f"{each.rows:,}", *numbers, _answer(each.exceeds), _verdict(each)]


def _answer(exceeds: bool | None) -> str:  # noqa: FBT001 - a value of the table.
    return "-" if exceeds is None else "yes" if exceeds else "no"


def _verdict(each: Past | Statistic) -> str:
    return (each.reason or "-") if each.detected is None else "drifted" if each.detected else "no drift"


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _chance(pvalue: float | None) -> str:
    """A probability: its order is what counts."""
    return "-" if pvalue is None else f"{pvalue:.1g}"


def _table(*names: str, right: Sequence[int] = ()) -> Table:
    """The first column is never cut or wrapped."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for place, name in enumerate(names):
        table.add_column(name, justify="right" if place in right else "left", no_wrap=place == 0, overflow="fold")
    return table
