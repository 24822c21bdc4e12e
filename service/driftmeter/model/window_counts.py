"""A window that is due for evaluation."""

from dataclasses import dataclass

from driftmeter.errors import ConfigError, DamagedError
from driftmeter.model.bundle import Tree
from driftmeter.model.counts import Counts, PackedCounts
from driftmeter.model.layout import Layout
from driftmeter.model.sample import RowSample
from driftmeter.model.stored import Stored
from driftmeter.model.windows import WindowLength, parse_window


@dataclass(frozen=True, eq=False)
class WindowCounts:
    """One window's counts at the time of an evaluation.

    Attributes:
        window: Its length.
        index: Number of the window among its length's evaluated ones, from 0.
        start_ns: First instant of it; of windows by rows, the first row's time. None when rows have no times.
        end_ns: First instant after it; of windows by rows, the last row's time.
        revision: 0 when first evaluated, one more at each evaluation after late rows.
        counts: One window.
        beside: Counts of the same window of the version that this one is compared with, when this one became due; None
            when it is compared with none, or that one had none.
        segment: Label of the segment whose rows it has; empty when it has all.
    """

    window: WindowLength
    index: int
    start_ns: int | None
    end_ns: int | None
    revision: int
    counts: Counts | PackedCounts
    beside: PackedCounts | None = None
    segment: str = ""

    @property
    def sample(self) -> RowSample:
        """Some of its rows."""
        return self.counts.samples[0]

    @property
    def memory_bytes(self) -> int:
        """Room that its counts take."""
        return self.counts.memory_bytes + (self.beside.memory_bytes if self.beside else 0)

    def state(self) -> Tree:
        """All of it, for `from_state`."""
        counts = self.counts.packed() if isinstance(self.counts, Counts) else self.counts
        return {
            "window": self.window.name,
            "index": self.index,
            "start_ns": self.start_ns,
            "end_ns": self.end_ns,
            "revision": self.revision,
            "counts": counts.state(),
            "beside": self.beside.state() if self.beside else None,
            "segment": self.segment,
        }

    @classmethod
    def from_state(cls, tree: Tree, layout: Layout) -> "WindowCounts":
        """A window as `state` told it. Raises DamagedError for anything else, and counts of another layout."""
        stored = Stored(tree)
        try:
            window = parse_window(stored.text("window"))
        except ConfigError as error:
            raise DamagedError(f"stored window: {error}") from error
        beside = stored.tree("beside")
        return cls(
            window,
            stored.integer("index"),
            stored.optional_integer("start_ns"),
            stored.optional_integer("end_ns"),
            stored.integer("revision"),
            PackedCounts.from_state(stored.tree("counts"), layout),
            None if beside is None else PackedCounts.from_state(beside, layout),
            stored.text("segment"),
        )
