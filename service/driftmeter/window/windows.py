"""All windows of one model, version and stage."""

from driftmeter.model.layout import Layout
from driftmeter.model.predictions import Predictions
from driftmeter.model.window_counts import WindowCounts
from driftmeter.model.windows import parse_duration_ns
from driftmeter.window.by_rows import RowWindows
from driftmeter.window.config import WindowConfig
from driftmeter.window.tumbling import TumblingWindows, event_times_ns
from driftmeter.window.watermark import Watermark

_END_OF_TIME_NS = 2**62


class ModelWindows:
    """Windows by event time and by rows, and the watermark that closes them.

    Args:
        layout: Columns and bins of the model's baseline.
        config: Lengths and times.
    """

    def __init__(self, layout: Layout, config: WindowConfig) -> None:
        lateness_ns = parse_duration_ns(config.allowed_lateness)
        lengths = config.parsed
        self._tumbling = TumblingWindows(layout, tuple(each for each in lengths if not each.by_rows), lateness_ns)
        self._by_rows = [RowWindows(layout, each) for each in lengths if each.by_rows]
        self.watermark = Watermark(
            out_of_orderness_ns=parse_duration_ns(config.out_of_orderness),
            by_data=config.clock == "data",
            idle_after_ns=parse_duration_ns(config.idle_after),
        )

    def add(self, batch: Predictions, now_ns: int) -> tuple[int, list[WindowCounts]]:
        """Fold a batch in; returns how many rows no window took, and the windows that are due."""
        if not batch.rows.num_rows:
            return 0, []
        late = self._tumbling.add(batch, self.watermark.value_ns)
        closed = [window for windows in self._by_rows for window in windows.add(batch)]
        self.watermark.observe(int(event_times_ns(batch.rows).max()), now_ns)
        closed += self._tumbling.close_for(self.watermark.value_ns, revise=False)
        return (0 if self._by_rows else late), closed

    def tick(self, now_ns: int, *, revise: bool) -> list[WindowCounts]:
        """Time has passed: idle models' windows close; with `revise`, changed ones are evaluated again."""
        self.watermark.tick(now_ns)
        return self._tumbling.close_for(self.watermark.value_ns, revise=revise)

    def drain(self, *, everything: bool) -> list[WindowCounts]:
        """The last windows before stopping.

        Args:
            everything: Also evaluate windows that are not over: right for replays, wrong for live traffic, whose open
                windows are only part of what will be.
        """
        closed = self._tumbling.close_for(_END_OF_TIME_NS if everything else self.watermark.value_ns, revise=True)
        if everything:
            closed += [window for windows in self._by_rows for window in windows.drain()]
        return closed
