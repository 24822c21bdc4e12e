"""Until when rows are taken, and keys of spans kept: one rule for windows of every kind.

A row is late once every window that it falls into is `allowed_lateness` past its end. For a length L and a watermark
that leaves x = watermark - allowed_lateness behind, the windows that are past end at the last multiple of L up to x; so
the rows that are late for all lengths are exactly those before the smallest of these multiples.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from driftmeter.model.windows import WindowLength

KEY_PANE_NS = 300 * 10**9
"""Event time of the spans whose keys are kept and forgotten together: five minutes."""


@dataclass(frozen=True)
class Horizon:
    """How far back rows are taken.

    Attributes:
        lengths_ns: Window lengths by event time. `KEY_PANE_NS` stands for windows by rows where there are no others:
            a row's key is then kept until `allowed_lateness_ns` after the end of its pane, and the row taken so long.
        allowed_lateness_ns: How long after its end a window takes rows.
    """

    lengths_ns: tuple[int, ...]
    allowed_lateness_ns: int

    @classmethod
    def of(cls, lengths: Iterable[WindowLength], allowed_lateness_ns: int) -> "Horizon":
        """That of all configured lengths."""
        by_time = tuple(each.length_ns for each in lengths if not each.by_rows)
        return cls(by_time or (KEY_PANE_NS,), allowed_lateness_ns)

    def starts_ns(self, watermark_ns: int) -> int:
        """First instant whose rows are still taken; all before it are late."""
        left_behind_ns = watermark_ns - self.allowed_lateness_ns
        return min(left_behind_ns // length_ns * length_ns for length_ns in self.lengths_ns)
