"""Which points are sent when: decisions only, no I/O and no clock.

`WallSchedule` stamps values with the time at which they are sent, as any gauge is; `EventSchedule` stamps each window's
values with the window's end, for replays. Both hand out frames in which each series stands once, and in whose order the
times of every series strictly increase.
"""

from collections import Counter, defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Protocol

import polars as pl

from driftmeter.errors import DamagedError
from driftmeter.export.counters import ResultCounters
from driftmeter.export.current import CurrentValues, Group, age_of, group_of, stamped, succeeding
from driftmeter.export.evaluated import EvaluatedWindow
from driftmeter.export.points import LABELS, POINTS_SCHEMA, SERIES, empty_points
from driftmeter.model.bundle import Tree
from driftmeter.model.predictions import ModelKey
from driftmeter.model.stored import Stored, rows_of
from driftmeter.telemetry.metrics import DropReason

PENDING_WINDOWS_MAX = 10_000
"""Most windows waiting to be handed out; beyond it the oldest are dropped and counted as `queue_full`."""

_NS_PER_MS = 1_000_000


@dataclass(frozen=True, slots=True)
class Due:
    """What is to be sent now.

    Attributes:
        frames: `POINTS_SCHEMA`, in the order in which they must be sent.
        dropped: Numbers of points that are not sent at all, by reason.
        forgotten: Models whose counters end.
    """

    frames: tuple[pl.DataFrame, ...] = ()
    dropped: Mapping[DropReason, int] = field(default_factory=dict)
    forgotten: tuple[ModelKey, ...] = ()


class Schedule(Protocol):
    """Turns evaluated windows and the passing of time into frames to send."""

    current: CurrentValues
    """Newest values of every model and window length."""

    def publish(self, evaluated: EvaluatedWindow, points: pl.DataFrame) -> None:
        """Take in an evaluated window and its points."""
        ...

    def due(self, now_ns: int, *, tick: bool) -> Due:
        """What is to be sent now; `tick` says that an export interval is over. Nothing is handed out twice."""
        ...

    def state(self) -> Tree:
        """What was handed out with which time, what waits and what is current, for `restore`. Counters stand apart."""
        ...

    def restore(self, tree: Tree) -> None:
        """Go on from a state of the same kind of schedule; raises DamagedError when it is none."""
        ...


class WallSchedule:
    """Every window once soon after its evaluation, and all current values at every tick, at the time of sending.

    A window that is evaluated after a later one, because its rows came late, is sent before the later one's values are
    sent again. New values of such a window after its first evaluation are dropped and counted as `revised`.
    """

    def __init__(self, counters: ResultCounters) -> None:
        self.current = CurrentValues()
        self._counters = counters
        self._pending: deque[tuple[EvaluatedWindow, pl.DataFrame]] = deque()
        self._dropped: Counter[DropReason] = Counter()
        self._last_ms = 0

    def publish(self, evaluated: EvaluatedWindow, points: pl.DataFrame) -> None:
        """Take in an evaluated window and its points."""
        self._pending.append((evaluated, points))
        if len(self._pending) > PENDING_WINDOWS_MAX:
            self._dropped[DropReason.QUEUE_FULL] += self._pending.popleft()[1].height

    def due(self, now_ns: int, *, tick: bool) -> Due:
        """The windows that are new, one of each group per frame; at a tick all values and counters besides.

        Counters of a new model are sent as zero first, so that what they begin with counts as an increase.
        """
        frames, forgotten = self._rounds(now_ns), tuple[ModelKey, ...]()
        if tick:
            silent, ended = self.current.expire(now_ns), self._counters.expire(now_ns)
            models = ended.select("model", "version", "stage").unique(maintain_order=True)
            forgotten = tuple(ModelKey(*row) for row in models.rows())
            frames.append(self._counters.begin())
            frames.append(pl.concat([self.current.snapshot(0), self._counters.points(0), silent, ended]))
        frames = [frame for frame in frames if frame.height]
        first_ms = max(self._last_ms + 1, now_ns // _NS_PER_MS - len(frames) + 1)
        if frames:
            self._last_ms = first_ms + len(frames) - 1
        dropped, self._dropped = self._dropped, Counter()
        return Due(tuple(stamped(frame, first_ms + place) for place, frame in enumerate(frames)), dropped, forgotten)

    def state(self) -> Tree:
        """See `Schedule`."""
        return {
            "kind": "wall",
            "current": self.current.state(),
            "pending": [
                {"evaluated": evaluated.state(), "points": rows_of(points)} for evaluated, points in self._pending
            ],
            "dropped": {reason.value: points for reason, points in self._dropped.items()},
            "last_ms": self._last_ms,
        }

    def restore(self, tree: Tree) -> None:
        """See `Schedule`."""
        stored = _of_kind("wall", tree)
        self.current.restore(stored.tree("current"))
        self._pending = deque(map(_stored_window, stored.objects("pending")))
        self._dropped = _stored_drops(stored.member("dropped"))
        self._last_ms = stored.integer("last_ms")

    def _rounds(self, now_ns: int) -> list[pl.DataFrame]:
        """Pending windows in rounds, so that several windows of one group go out one after the other."""
        groups: defaultdict[Group, list[tuple[EvaluatedWindow, pl.DataFrame]]] = defaultdict(list)
        for evaluated, points in self._pending:
            groups[group_of(evaluated)].append((evaluated, points))
        self._pending.clear()
        sequences = [self._sequence(group, windows, now_ns) for group, windows in groups.items()]
        return [pl.concat([part for part in parts if part is not None]) for parts in zip_longest(*sequences)]

    def _sequence(
        self, group: Group, windows: list[tuple[EvaluatedWindow, pl.DataFrame]], now_ns: int
    ) -> list[pl.DataFrame]:
        """What is sent for new windows of one group, one after the other; the last is the current one's values."""
        sequence: list[pl.DataFrame] = []
        shown = self.current.points_of(group)
        for evaluated, points in sorted(windows, key=lambda window: age_of(window[0])):
            if self.current.update(evaluated, points, now_ns) is None and evaluated.revision:
                self._dropped[DropReason.REVISED] += points.height
                continue
            sequence.append(succeeding(points, shown))
            shown = points
        current = self.current.points_of(group)
        if sequence and shown is not current:
            sequence.append(succeeding(current, shown))
        return sequence


class EventSchedule:
    """Every window once, stamped with its end; counters likewise, with the ends of the windows of their model."""

    def __init__(self, counters: ResultCounters) -> None:
        self.current = CurrentValues()
        self._counters = counters
        self._pending: deque[tuple[EvaluatedWindow, pl.DataFrame, pl.DataFrame]] = deque()
        self._dropped: Counter[DropReason] = Counter()
        self._group_end_ns: dict[Group, int] = {}
        self._counted_ms = empty_points().select(*SERIES, "timestamp_ms")

    def publish(self, evaluated: EvaluatedWindow, points: pl.DataFrame) -> None:
        """Take in an evaluated window and its points, and what the counters stand at now."""
        self._pending.append((evaluated, points, self._counters.points(0)))
        if len(self._pending) > PENDING_WINDOWS_MAX:
            self._dropped[DropReason.QUEUE_FULL] += self._pending.popleft()[1].height

    def due(self, now_ns: int, *, tick: bool) -> Due:  # noqa: ARG002  # Time does not matter here.
        """The windows that are new, by their end."""
        pending = sorted(self._pending, key=lambda item: (item[0].end_ns or 0, age_of(item[0])))
        self._pending.clear()
        frames = [self._frame(*item, now_ns) for item in pending]
        dropped, self._dropped = self._dropped, Counter()
        return Due(tuple(frame for frame in frames if frame.height), dropped)

    def _frame(
        self, evaluated: EvaluatedWindow, points: pl.DataFrame, counted: pl.DataFrame, now_ns: int
    ) -> pl.DataFrame:
        """What is sent for one window; empty when it cannot be sent."""
        accepted = self.current.update(evaluated, points, now_ns)
        reason = self._refusal(evaluated)
        if reason is not None or evaluated.end_ns is None:
            self._dropped[reason or DropReason.NO_TIMESTAMP] += points.height
            return empty_points()
        self._group_end_ns[group_of(evaluated)] = evaluated.end_ns
        end_ms = evaluated.end_ns // _NS_PER_MS
        counters = self._new_counters(evaluated, counted, end_ms)
        return stamped(pl.concat([points if accepted is None else accepted, counters]), end_ms)

    def _refusal(self, evaluated: EvaluatedWindow) -> DropReason | None:
        """Why a window cannot be sent: a second value for one time is an error to Prometheus."""
        if evaluated.end_ns is None:
            return DropReason.NO_TIMESTAMP
        last_ns = self._group_end_ns.get(group_of(evaluated))
        if last_ns is None or evaluated.end_ns // _NS_PER_MS > last_ns // _NS_PER_MS:
            return None
        return DropReason.REVISED if evaluated.revision else DropReason.OUT_OF_ORDER

    def _new_counters(self, evaluated: EvaluatedWindow, counted: pl.DataFrame, end_ms: int) -> pl.DataFrame:
        """Counters of the window's model that were not sent yet with this time or a later one."""
        key = evaluated.key
        ours = counted.filter(
            (pl.col("model") == key.model)
            & (pl.col("version") == key.version)
            & (pl.col("stage") == key.stage)
            & pl.col("window").is_in(["", evaluated.window.name])
        )
        sent = self._counted_ms.filter(pl.col("timestamp_ms") >= end_ms)
        new = ours.join(sent, on=SERIES, how="anti", maintain_order="left")
        times = pl.concat([self._counted_ms, stamped(new, end_ms).select(*SERIES, "timestamp_ms")])
        self._counted_ms = times.group_by("metric", *LABELS).agg(pl.col("timestamp_ms").max())
        return new

    def state(self) -> Tree:
        """See `Schedule`."""
        return {
            "kind": "event",
            "current": self.current.state(),
            "pending": [
                {"evaluated": evaluated.state(), "points": rows_of(points), "counted": rows_of(counted)}
                for evaluated, points, counted in self._pending
            ],
            "dropped": {reason.value: points for reason, points in self._dropped.items()},
            "group_ends": [
                {"key": list(group.key), "window": group.window, "segment": group.segment, "end_ns": end_ns}
                for group, end_ns in self._group_end_ns.items()
            ],
            "counted": rows_of(self._counted_ms),
        }

    def restore(self, tree: Tree) -> None:
        """See `Schedule`."""
        stored = _of_kind("event", tree)
        self.current.restore(stored.tree("current"))
        self._pending = deque(
            (*_stored_window(each), each.frame("counted", POINTS_SCHEMA)) for each in stored.objects("pending")
        )
        self._dropped = _stored_drops(stored.member("dropped"))
        ends = stored.objects("group_ends")
        self._group_end_ns = {
            Group(end.key("key"), end.text("window"), end.text("segment")): end.integer("end_ns") for end in ends
        }
        self._counted_ms = stored.frame("counted", self._counted_ms.schema)


def _of_kind(kind: str, tree: Tree) -> Stored:
    stored = Stored(tree)
    if stored.text("kind") != kind:
        raise DamagedError(
            f"stored state is of a service with another clock, and this one sends by that of the {kind}: "
            "set window.clock to what it was, or start with an empty journal"
        )
    return stored


def _stored_window(stored: Stored) -> tuple[EvaluatedWindow, pl.DataFrame]:
    return EvaluatedWindow.from_state(stored.member("evaluated")), stored.frame("points", POINTS_SCHEMA)


def _stored_drops(stored: Stored) -> Counter[DropReason]:
    try:
        return Counter({DropReason(name): stored.integer(name) for name in stored.names})
    except ValueError as error:
        raise DamagedError("stored state has a reason to drop samples that is none") from error
