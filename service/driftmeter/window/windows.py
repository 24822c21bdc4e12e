"""All windows of one model, version and stage."""

from typing import Any

from driftmeter.errors import DamagedError
from driftmeter.model.blobs import Blobs, MemoryBlobs
from driftmeter.model.counts import PackedCounts
from driftmeter.model.layout import Layout
from driftmeter.model.predictions import Predictions
from driftmeter.model.window_counts import WindowCounts
from driftmeter.model.windows import WindowLength, parse_duration_ns
from driftmeter.window.batch import event_times_ns, keep_from
from driftmeter.window.by_rows import RowWindows
from driftmeter.window.by_time import TimeWindows
from driftmeter.window.config import WindowConfig
from driftmeter.window.horizon import Horizon
from driftmeter.window.watermark import Watermark

_BEGIN_OF_TIME_NS = -(2**62)


class ModelWindows:
    """Windows by event time and by rows, and the watermark that closes them.

    A deterministic machine: the same batches with the same clock readings give the same windows, whatever ticks came
    in between, but for those that returned windows or moved the watermark.

    Args:
        layout: Columns and bins of the model's baseline.
        config: Lengths and times.
        blobs: Where counts of evaluated windows are; in memory when not given.
    """

    def __init__(self, layout: Layout, config: WindowConfig, blobs: Blobs | None = None) -> None:
        lateness_ns = parse_duration_ns(config.allowed_lateness)
        lengths = config.parsed
        by_time = tuple(each for each in lengths if not each.by_rows)
        self.horizon = Horizon.of(lengths, lateness_ns)
        self._by_time = TimeWindows(layout, by_time, lateness_ns, blobs or MemoryBlobs())
        self._by_rows = [RowWindows(layout, each) for each in lengths if each.by_rows]
        self.watermark = Watermark.of(config)

    def add(self, batch: Predictions, now_ns: int) -> tuple[int, list[WindowCounts]]:
        """Fold a batch in and close what is due for it: `take`, then `close`."""
        late, closed = self.take(batch, now_ns)
        return late, closed + self.close()

    def take(
        self, batch: Predictions, now_ns: int, floor_ns: int = _BEGIN_OF_TIME_NS
    ) -> tuple[int, list[WindowCounts]]:
        """Fold a batch in, all of it or, when that fails, nothing. What is due for its newest rows is left to `close`.

        Args:
            batch: Rows of spans that were not seen before.
            now_ns: The clock; the same when the batch is replayed.
            floor_ns: Event time before which rows are late even if windows would take them, as new windows do.

        Returns:
            How many rows were late, which no window takes, and the windows that are due.
        """
        if not batch.rows.num_rows:
            return 0, []
        newest_ns = int(event_times_ns(batch.rows).max())
        reached_ns = self.watermark.after(now_ns)
        taken, late = keep_from(batch, max(floor_ns, self.horizon.starts_ns(reached_ns)))
        by_rows = [windows.count(taken) for windows in self._by_rows] if taken.rows.num_rows else []
        pane = self._by_time.pane_of(taken, reached_ns) if taken.rows.num_rows else None
        counted = self._by_time.count(taken) if pane is None else []
        closed = self._by_time.close_for(reached_ns, revise=False) if pane is None else []
        if pane is not None:
            self._by_time.fold(taken, pane, reached_ns)
        # From here on nothing fails.
        self.watermark.tick(now_ns)
        self._by_time.add(counted, reached_ns)
        closed += [
            window for windows, parts in zip(self._by_rows, by_rows, strict=False) for window in windows.add(parts)
        ]
        self.watermark.observe(newest_ns, now_ns)
        return late, closed

    def close(self) -> list[WindowCounts]:
        """Windows that the watermark has passed."""
        return self._by_time.close_for(self.watermark.value_ns, revise=False)

    def tick(self, now_ns: int, *, revise: bool) -> list[WindowCounts]:
        """Time has passed: idle models' windows close; with `revise`, changed ones are evaluated again.

        The watermark only moves when there is something to do for it: `add` moves it by itself.
        """
        if self.watermark.after(now_ns) >= self._by_time.deadline_ns:
            self.watermark.tick(now_ns)
        return self._by_time.close_for(self.watermark.value_ns, revise=revise)

    def drain(self, *, everything: bool) -> list[WindowCounts]:
        """The last windows before stopping; what comes after a restart is added to them and revises them.

        Args:
            everything: Also evaluate windows that are not over: right for replays, wrong for live traffic, whose open
                windows are only part of what will be. Windows by rows end short then.
        """
        closed = self._by_time.close_for(self.watermark.value_ns, revise=True, unfinished=everything)
        if everything:
            closed += [window for windows in self._by_rows for window in windows.drain()]
        return closed

    def counted(self, length: WindowLength, start_ns: int) -> PackedCounts | None:
        """What a window by time has so far, changing nothing; None when it has no rows, or they cannot be read."""
        return self._by_time.counted(length, start_ns)

    @property
    def unfinished(self) -> int:
        """Windows with rows that were not evaluated yet."""
        return self._by_time.unfinished + sum(windows.unfinished for windows in self._by_rows)

    def keep_pace(self, whole: "ModelWindows") -> None:
        """Take over how far event time has got in windows that these are a part of."""
        self.watermark.value_ns, self.watermark.last_seen_ns = whole.watermark.value_ns, whole.watermark.last_seen_ns

    def abandon(self) -> None:
        """Give back the room that counts take outside of memory: nothing is done with these windows any more."""
        self._by_time.abandon()

    def spill(self) -> None:
        """Move counts of evaluated windows out of memory; raises TransientError when there is no room."""
        self._by_time.spill()

    def state(self) -> dict[str, Any]:
        """All of it, as a tree that does not change any more; raises TransientError when there is no room for blobs."""
        return {
            "watermark_ns": self.watermark.value_ns,
            "last_seen_ns": self.watermark.last_seen_ns,
            "by_time": self._by_time.state(),
            "by_rows": [windows.state() for windows in self._by_rows],
        }

    def restore(self, tree: Any) -> None:
        """Become what `state` told, when built with the same layout and configuration.

        Raises DamagedError for a tree that is no such state; what is left then is of no use.
        """
        match tree:
            case {"watermark_ns": int(value_ns), "last_seen_ns": int(last_seen_ns), "by_rows": list(by_rows)}:
                if len(by_rows) != len(self._by_rows):
                    raise DamagedError("state has windows of other lengths than are configured")
                self._by_time.restore(tree.get("by_time"))
            case _:
                raise DamagedError("state of windows has the wrong shape")
        for windows, each in zip(self._by_rows, by_rows, strict=True):
            windows.restore(each)
        self.watermark.value_ns, self.watermark.last_seen_ns = value_ns, last_seen_ns
