"""Configuration of the windows."""

from math import gcd
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from driftmeter.errors import ConfigError
from driftmeter.model.settings import Duration
from driftmeter.model.windows import WindowLength, parse_window

PANES_MAX = 60
"""Rows are counted by the largest time that all lengths and steps are multiples of; it is at least this part of the
shortest of them, so that few panes are added up for a window."""


class WindowConfig(BaseModel):
    """How rows are cut into windows. Event time is the end of the prediction's span."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    lengths: tuple[str, ...] = Field(default=("5m", "1h", "24h"), json_schema_extra={"minItems": 1})
    """Window lengths: durations (5m, 1h, 24h; windows begin at multiples of it since the epoch, in UTC) or numbers
    of rows (5000rows). Windows overlap when a step is given: `24h every 1h` begins a window of a day each hour,
    `5000rows every 1000rows` one each thousand rows; a length is a multiple of its step, and has at most 288 of them.
    Durations have at most 366d, and all durations and steps a common part of at least a 60th of the shortest."""
    clock: Literal["wall", "data"] = "wall"
    """`wall` for live traffic. `data` for replays: only event times count, samples are sent with the end of their
    window as time, and stopping evaluates every open window."""
    out_of_orderness: Duration = "30s"
    """How far behind the newest row a row usually is at most: a window is first evaluated when the newest event
    time, or the clock, is this far past its end."""
    allowed_lateness: Duration = "24h"
    """How long after its end a window takes late rows. A window that changes after its first evaluation is evaluated
    again, with a higher revision. Rows later than this are counted as `late`, and no window by rows takes them either,
    since the keys that tell spans sent twice are kept no longer. Where all windows are by rows, the five minutes that
    a row falls into stand for its window."""
    max_future: Duration = "5m"
    """A row whose time is further ahead of the clock than this is rejected as `future`. Not used with clock: data."""
    idle_after: Duration = "1m"
    """A model without new rows for so long has its windows closed by the clock. Not used with clock: data."""

    @field_validator("lengths")
    @classmethod
    def _fit_together(cls, lengths: tuple[str, ...]) -> tuple[str, ...]:
        """Each length by itself and beside the others, so that one mistake does not hide another."""
        if not lengths:
            raise ValueError("at least 1 window length is needed")
        if mistakes := _mistakes(lengths):
            raise ValidationError.from_exception_data("lengths", mistakes)
        return lengths

    @property
    def parsed(self) -> tuple[WindowLength, ...]:
        """The lengths, parsed, as configured."""
        return tuple(parse_window(text) for text in self.lengths)


def _mistakes(lengths: tuple[str, ...]) -> list[InitErrorDetails]:
    """What is wrong with each, by its position."""
    wrong, right = dict[int, str](), dict[int, WindowLength]()
    for position, text in enumerate(lengths):
        try:
            window = parse_window(text)
        except ConfigError as error:
            wrong[position] = str(error)
            continue
        if window in right.values():
            wrong[position] = f"{window.name} stands here twice; leave one out"
        right[position] = window
    pane_ns, shortest = 0, min((each.hop_ns for each in right.values() if not each.by_rows), default=0)
    for position, window in sorted(right.items(), key=lambda each: each[1].hop_ns):
        together_ns = gcd(pane_ns, window.hop_ns)
        if window.by_rows or together_ns * PANES_MAX >= shortest:
            pane_ns = together_ns
        else:
            wrong[position] = f"{window.name} is not a multiple of the other windows, nor of a {PANES_MAX}th of them"
    return [
        InitErrorDetails(
            type=PydanticCustomError("value_error", "{words}", {"words": words}),
            loc=(position,),
            input=lengths[position],
        )
        for position, words in sorted(wrong.items())
    ]
