"""How far event time has got."""

from dataclasses import dataclass

from driftmeter.model.bundle import Tree
from driftmeter.model.stored import Stored
from driftmeter.model.windows import parse_duration_ns
from driftmeter.window.config import WindowConfig

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
        value_ns: Where it is.
        last_seen_ns: What the clock said when the last rows came.
    """

    out_of_orderness_ns: int
    by_data: bool
    idle_after_ns: int
    value_ns: int = NEVER_NS
    last_seen_ns: int = 0

    @classmethod
    def of(cls, config: WindowConfig) -> "Watermark":
        """The watermark that the configuration asks for."""
        return cls(
            out_of_orderness_ns=parse_duration_ns(config.out_of_orderness),
            by_data=config.clock == "data",
            idle_after_ns=parse_duration_ns(config.idle_after),
        )

    def observe(self, newest_ns: int, now_ns: int) -> None:
        """Rows up to event time `newest_ns` have come; a clock that runs ahead does not carry it along."""
        self.last_seen_ns = now_ns
        reached = newest_ns if self.by_data else min(newest_ns, now_ns)
        self.value_ns = max(self.value_ns, reached - self.out_of_orderness_ns)

    def after(self, now_ns: int) -> int:
        """Where `tick` would move it.

        When the clock was set back by `idle_after` or more since the last rows, nobody knows how long ago they came: it
        follows the clock then as if they were as old as that. A rule instead of a correction of `last_seen_ns`, so that
        ticks that move nothing need no place in a replay.
        """
        apart_ns = abs(now_ns - self.last_seen_ns)
        if not self.by_data and self.value_ns > NEVER_NS and apart_ns >= self.idle_after_ns:
            return max(self.value_ns, now_ns - self.out_of_orderness_ns)
        return self.value_ns

    def tick(self, now_ns: int) -> None:
        """Time has passed; moves an idle model's watermark."""
        self.value_ns = self.after(now_ns)

    def state(self) -> Tree:
        """How far it has got, for `restore`."""
        return {"value_ns": self.value_ns, "last_seen_ns": self.last_seen_ns}

    def restore(self, tree: Tree) -> None:
        """Go on from a state. Raises DamagedError when it is none."""
        stored = Stored(tree)
        self.value_ns, self.last_seen_ns = stored.integer("value_ns"), stored.integer("last_seen_ns")
