"""The newest values of every model and window length. Decides what is current, what ended and what is stale."""

from dataclasses import dataclass, field
from typing import NamedTuple

import polars as pl
import pyarrow as pa

from driftmeter.errors import DamagedError
from driftmeter.export.evaluated import EvaluatedWindow
from driftmeter.export.points import POINTS_SCHEMA, SERIES, as_stale, empty_points
from driftmeter.model.bundle import Tree
from driftmeter.model.predictions import ModelKey
from driftmeter.model.stored import Stored, rows_of

SILENCE_NS_MIN = 600 * 10**9
"""A model is never called silent sooner, however short its windows: ten minutes."""

SILENT_WINDOWS = 3
"""A model is silent when no window was evaluated for this many window lengths."""


class Group(NamedTuple):
    """What has one current window: a model, or one of its segments, and a window length by its name."""

    key: ModelKey
    window: str
    segment: str = ""


class Age(NamedTuple):
    """Orders the windows of a group, and the revisions of one window. Windows by rows all have the end 0."""

    end_ns: int
    window_index: int
    revision: int


@dataclass(slots=True)
class _Entry:
    """A group's current window. Its points never change; as rows of a tree they are made once, when first asked for."""

    age: Age
    points: pl.DataFrame
    updated_ns: int
    silence_ns: int
    rows: pa.RecordBatch | None = field(default=None, init=False)

    def state(self, group: Group) -> Tree:
        if self.rows is None:
            self.rows = rows_of(self.points)
        return {
            "key": list(group.key),
            "window": group.window,
            "segment": group.segment,
            "age": list(self.age),
            "updated_ns": self.updated_ns,
            "silence_ns": self.silence_ns,
            "points": self.rows,
        }


def group_of(evaluated: EvaluatedWindow) -> Group:
    """The group that a window belongs to."""
    return Group(evaluated.key, evaluated.window.name, evaluated.segment)


def age_of(evaluated: EvaluatedWindow) -> Age:
    """A window's place among those of its group.

    Windows by rows, whose rows come in any order of time, are ordered by their index; those by time by their end, since
    a late one is numbered when it is evaluated.
    """
    end_ns = 0 if evaluated.window.by_rows else evaluated.end_ns or 0
    return Age(end_ns, evaluated.window_index, evaluated.revision)


def silence_ns_of(evaluated: EvaluatedWindow) -> int:
    """After how long without a further window a group counts as silent.

    A window by rows is as long as the time that its rows span; of windows that overlap the next is a step away.
    """
    step_ns = evaluated.window.hop_ns
    if evaluated.window.by_rows and evaluated.start_ns is not None and evaluated.end_ns is not None:
        step_ns = (evaluated.end_ns - evaluated.start_ns) // evaluated.window.overlap
    return max(SILENT_WINDOWS * step_ns, SILENCE_NS_MIN)


def stamped(points: pl.DataFrame, timestamp_ms: int) -> pl.DataFrame:
    """The same points at another time."""
    return points.with_columns(timestamp_ms=pl.lit(timestamp_ms, dtype=pl.Int64))


def succeeding(points: pl.DataFrame, shown: pl.DataFrame) -> pl.DataFrame:
    """`points`, and a stale marker for each series of `shown` that they do not continue."""
    ended = shown.join(points, on=SERIES, how="anti", maintain_order="left")
    return pl.concat([points, as_stale(ended)]) if ended.height else points


class CurrentValues:
    """Keeps the points of the newest evaluated window of every group. No I/O, no clock, not for several threads."""

    def __init__(self) -> None:
        self._entries: dict[Group, _Entry] = {}

    def update(self, evaluated: EvaluatedWindow, points: pl.DataFrame, now_ns: int) -> pl.DataFrame | None:
        """Take over a window, unless a newer window or revision is there already.

        Args:
            evaluated: The window.
            points: Its points.
            now_ns: Wall-clock time, nanoseconds since the Unix epoch.

        Returns:
            Its points and a stale marker for each series of the group that it does not continue; None when the window
            is not newer than the current one.
        """
        group, age = group_of(evaluated), age_of(evaluated)
        entry = self._entries.get(group)
        if entry is not None and age <= entry.age:
            return None
        self._entries[group] = _Entry(age, points, now_ns, silence_ns_of(evaluated))
        return points if entry is None else succeeding(points, entry.points)

    def points_of(self, group: Group) -> pl.DataFrame:
        """Points of a group's current window; none when it has none."""
        entry = self._entries.get(group)
        return empty_points() if entry is None else entry.points

    def snapshot(self, now_ms: int) -> pl.DataFrame:
        """Points of every current window, stamped with `now_ms`."""
        parts = [entry.points for entry in self._entries.values()]
        return stamped(pl.concat(parts), now_ms) if parts else empty_points()

    def expire(self, now_ns: int) -> pl.DataFrame:
        """Forget the groups that fell silent; returns a stale marker for each of their series, once."""
        silent = [group for group, entry in self._entries.items() if now_ns - entry.updated_ns > entry.silence_ns]
        parts = [as_stale(self._entries.pop(group).points) for group in silent]
        return pl.concat(parts) if parts else empty_points()

    def state(self) -> Tree:
        """All of it, for `restore`."""
        return [entry.state(group) for group, entry in self._entries.items()]

    def restore(self, tree: Tree) -> None:
        """Take over a state.

        Raises:
            DamagedError: It is none.
        """
        if not isinstance(tree, list):
            raise DamagedError("stored current values are no list")
        self._entries = dict(_stored_entry(Stored(item)) for item in tree)


def _stored_entry(stored: Stored) -> tuple[Group, _Entry]:
    match stored.items("age"):
        case [int(end_ns), int(window_index), int(revision)]:
            age = Age(end_ns, window_index, revision)
        case _:
            raise DamagedError("stored current values have an age that is none")
    points = stored.frame("points", POINTS_SCHEMA)
    entry = _Entry(age, points, stored.integer("updated_ns"), stored.integer("silence_ns"))
    return Group(stored.key("key"), stored.text("window"), stored.text("segment")), entry
