"""Until when rows are taken, and keys of spans kept: one rule for windows of every kind.

A row is late once every window that it falls into is `allowed_lateness` past its end. For windows of length L that
begin every H, and a watermark that leaves x = watermark - allowed_lateness behind, the oldest window that is not past
begins one H after the last multiple of H up to x - L; so the rows that are late for all lengths are exactly those
before the smallest of these.
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
        lengths_ns: Length and hop of each sort of windows by event time. Twice `KEY_PANE_NS` stands for windows by rows
            where there are no others: a row's key is then kept until `allowed_lateness_ns` after the end of its pane,
            and the row taken so long.
        allowed_lateness_ns: How long after its end a window takes rows.
    """

    lengths_ns: tuple[tuple[int, int], ...]
    allowed_lateness_ns: int

    @classmethod
    def of(cls, lengths: Iterable[WindowLength], allowed_lateness_ns: int) -> "Horizon":
        """That of all configured lengths."""
        by_time = tuple((each.length_ns, each.hop_ns) for each in lengths if not each.by_rows)
        return cls(by_time or ((KEY_PANE_NS, KEY_PANE_NS),), allowed_lateness_ns)

    def starts_ns(self, watermark_ns: int) -> int:
        """First instant whose rows are still taken; all before it are late."""
        left_behind_ns = watermark_ns - self.allowed_lateness_ns
        return min(((left_behind_ns - length_ns) // hop_ns + 1) * hop_ns for length_ns, hop_ns in self.lengths_ns)
