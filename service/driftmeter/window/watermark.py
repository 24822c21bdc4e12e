"""How far event time has got."""

from dataclasses import dataclass

NEVER_NS = -(2**62)
"""Before any row was seen."""


@dataclass
class Watermark:
    """The event time that the rows of one model have reached; never goes back.

    It decides when a window is first evaluated, not when it is over: later rows are still counted.

    Attributes:
        out_of_orderness_ns: How far it stays behind the newest row.
        by_data: Only event times count; the wall clock plays no part.
        idle_after_ns: Wall-clock time without rows after which the clock moves it.
    """

    out_of_orderness_ns: int
    by_data: bool
    idle_after_ns: int
    value_ns: int = NEVER_NS
    last_seen_ns: int = 0

    def observe(self, newest_ns: int, now_ns: int) -> None:
        """Rows up to event time `newest_ns` have come; a clock that runs ahead does not carry it along."""
        self.last_seen_ns = now_ns
        reached = newest_ns if self.by_data else min(newest_ns, now_ns)
        self.value_ns = max(self.value_ns, reached - self.out_of_orderness_ns)

    def tick(self, now_ns: int) -> None:
        """Time has passed; moves an idle model's watermark."""
        if not self.by_data and self.value_ns > NEVER_NS and now_ns - self.last_seen_ns >= self.idle_after_ns:
            self.value_ns = max(self.value_ns, now_ns - self.out_of_orderness_ns)
