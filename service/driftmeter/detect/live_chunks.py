"""A learned baseline's own live windows, until they are enough to say how windows differ from it without drift."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from driftmeter.detect.null import CHUNKS_MIN, Measured
from driftmeter.methods import DECIDING_METHODS
from driftmeter.methods.ratios import MODEL_RATIOS, RATIOS
from driftmeter.model.baseline import Chunks, Compared, Comparison, blocks_of
from driftmeter.model.bundle import Tree
from driftmeter.model.stored import Stored
from driftmeter.model.window_counts import WindowCounts
from driftmeter.model.windows import WEEK_NS

_Table = dict[str, npt.NDArray[Any]]
CELLS_MAX = 2_000_000
"""Windows × columns kept of one length, 88 bytes each; of shorter windows than that allows, the first ones."""

_COVERED_MIN = 0.9
"""Share of the time that these have to cover: a level is so many alarms in all of it."""


@dataclass(eq=False)
class _Length:
    """Windows of one length, in the order of time."""

    starts_ns: list[int] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    tables: list[_Table] = field(default_factory=list)
    """Each window's numbers by name, (columns,): integers as int64, all else as float64."""
    whole: list[_Table] = field(default_factory=list)
    """What ratios of whole rows count, by name, (1,): int64, -1 where it is not known."""


class LiveChunks:
    """Statistics of live windows against a fixed learned baseline, as a baseline file has them of its chunks.

    Every disjoint window that comes in the order of time is taken, whatever it looks like: a baseline that was learned
    knows no better what is usual.

    Args:
        columns: How many there are.
    """

    def __init__(self, columns: int) -> None:
        self._columns = columns
        self._lengths: dict[str, _Length] = {}
        self.first_ns: int | None = None
        """Start of the first window."""
        self.last_ns: int | None = None
        """End of the last one."""

    def observe(self, window: WindowCounts, measured: Measured) -> None:
        """Take a window for the first time it is judged.

        Args:
            window: The window.
            measured: What was measured of it alone.
        """
        if window.window.by_rows or window.start_ns is None or window.end_ns is None:
            return
        kept = self._lengths.setdefault(window.window.disjoint.name, _Length())
        follows = not kept.starts_ns or window.start_ns >= kept.starts_ns[-1] + window.window.length_ns
        if not follows or len(kept.rows) * self._columns >= CELLS_MAX:
            return
        self.first_ns = window.start_ns if self.first_ns is None else min(self.first_ns, window.start_ns)
        self.last_ns = window.end_ns if self.last_ns is None else max(self.last_ns, window.end_ns)
        kept.starts_ns.append(window.start_ns)
        kept.rows.append(int(measured.rows[0]))
        kept.tables.append(
            {"values": measured.values[0].astype(np.int64), "compared": measured.compared[0].astype(np.float64)}
            | {key: _counted(measured.hits[key][0]) for key in RATIOS}
            | {key: measured.squared[key][0].astype(np.float64) for key in DECIDING_METHODS}
        )
        nothing = np.full((1, 1), np.nan)
        kept.whole.append({key: _counted(measured.whole.get(key, nothing)[0]) for key in MODEL_RATIOS})

    @property
    def enough(self) -> bool:
        """Whether a weekly cycle was seen, and windows of some length often enough."""
        if self.first_ns is None or self.last_ns is None or self.last_ns - self.first_ns < WEEK_NS:
            return False
        return any(len(each.rows) >= CHUNKS_MIN for each in self._lengths.values())

    def chunks(self) -> dict[str, Chunks]:
        """Per window name, what a baseline file would hold of them.

        Lengths of one window are left out, and those of which there was no room for all of the time.
        """
        return {name: _chunks(kept) for name, kept in self._lengths.items() if self._is_whole(kept)}

    def _is_whole(self, kept: _Length) -> bool:
        if len(kept.rows) < 2 or self.first_ns is None or self.last_ns is None:  # noqa: PLR2004 - one says nothing.
            return False
        room = len(kept.rows) * self._columns < CELLS_MAX
        return room or kept.starts_ns[-1] - self.first_ns >= _COVERED_MIN * (self.last_ns - self.first_ns)

    def state(self) -> Tree:
        """All of it, for `restore`."""
        lengths: dict[str, Tree] = {
            name: {
                "starts_ns": np.array(kept.starts_ns, np.int64),
                "rows": np.array(kept.rows, np.int64),
                **_stacked(kept.tables),
                **_stacked(kept.whole),
            }
            for name, kept in self._lengths.items()
            if kept.rows
        }
        return {"first_ns": self.first_ns, "last_ns": self.last_ns, "lengths": lengths}

    def restore(self, tree: Tree) -> None:
        """Take over a state of as many columns. Raises DamagedError when it is none."""
        stored = Stored(tree)
        lengths = stored.member("lengths")
        self._lengths = {name: _restored(lengths.member(name), self._columns) for name in lengths.names}
        self.first_ns, self.last_ns = stored.optional_integer("first_ns"), stored.optional_integer("last_ns")


def _counted(hits: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Rows that a ratio counts, -1 where that is not known."""
    return np.where(np.isnan(hits), -1, hits).astype(np.int64)


def _stacked(tables: Sequence[_Table]) -> _Table:
    return {name: np.stack([each[name] for each in tables]) for name in tables[0]}


def _restored(stored: Stored, columns: int) -> _Length:
    starts = stored.array("starts_ns", np.int64, None)
    rows = stored.array("rows", np.int64, len(starts))
    tables = {
        name: stored.array(name, np.int64 if name == "values" or name in RATIOS else np.float64, len(starts), columns)
        for name in ("values", "compared", *RATIOS, *DECIDING_METHODS)
    }
    whole = {name: stored.array(name, np.int64, len(starts), 1) for name in MODEL_RATIOS}
    return _Length(starts.tolist(), rows.tolist(), _rows_of(tables, len(starts)), _rows_of(whole, len(starts)))


def _rows_of(tables: _Table, windows: int) -> list[_Table]:
    """Each window's part of some tables."""
    return [{name: table[i].copy() for name, table in tables.items()} for i in range(windows)]


def _chunks(kept: _Length) -> Chunks:
    tables, starts = _stacked(kept.tables) | _stacked(kept.whole), np.array(kept.starts_ns, np.int64)
    return Chunks(
        starts_ns=starts,
        rows=np.array(kept.rows, np.int64),
        blocks=blocks_of(len(starts)),
        values=tables["values"],
        ratios={key: tables[key] for key in RATIOS},
        compared={
            Comparison.REST: Compared(tables["compared"], {key: tables[key] for key in DECIDING_METHODS}),
        },
        whole={key: tables[key][:, 0] for key in MODEL_RATIOS},
    )
