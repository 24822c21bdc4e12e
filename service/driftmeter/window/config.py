"""Configuration of the windows."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from driftmeter.model.settings import Duration, Window
from driftmeter.model.windows import WindowLength, parse_window


class WindowConfig(BaseModel):
    """How rows are cut into windows. Event time is the end of the prediction's span."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    lengths: tuple[Window, ...] = Field(default=("5m", "1h", "24h"), json_schema_extra={"minItems": 1})
    """Window lengths: durations (5m, 1h, 24h; windows begin at multiples of it since the epoch, in UTC) or numbers
    of rows (5000rows). Durations must be multiples of the shortest one."""
    clock: Literal["wall", "data"] = "wall"
    """`wall` for live traffic. `data` for replays: only event times count, samples are sent with the end of their
    window as time, and stopping evaluates every open window."""
    out_of_orderness: Duration = "30s"
    """How far behind the newest row a row usually is at most: a window is first evaluated when the newest event
    time, or the clock, is this far past its end."""
    allowed_lateness: Duration = "24h"
    """How long after its end a window takes late rows. A window that changes after its first evaluation is evaluated
    again, with a higher revision. Rows later than this are counted as `late`."""
    max_future: Duration = "5m"
    """A row whose time is further ahead of the clock than this is rejected as `future`. Not used with clock: data."""
    idle_after: Duration = "1m"
    """A model without new rows for so long has its windows closed by the clock. Not used with clock: data."""

    @field_validator("lengths")
    @classmethod
    def _at_least_one(cls, lengths: tuple[Window, ...]) -> tuple[Window, ...]:
        if not lengths:  # `min_length` would also complain of the only length when it is a wrong one.
            raise ValueError("at least 1 window length is needed")
        return lengths

    @model_validator(mode="after")
    def _multiples(self) -> "WindowConfig":
        if len(set(self.lengths)) != len(self.lengths):
            raise ValueError("each window length can stand only once")
        shortest = min((window.length_ns for window in self.parsed if not window.by_rows), default=0)
        odd = [window.name for window in self.parsed if not window.by_rows and window.length_ns % shortest]
        if odd:
            raise ValueError(f"{', '.join(odd)}: not a multiple of the shortest window; make it one, or leave it out")
        return self

    @property
    def parsed(self) -> tuple[WindowLength, ...]:
        """The lengths, parsed, as configured."""
        return tuple(parse_window(text) for text in self.lengths)
