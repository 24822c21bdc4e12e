"""Which spans of a model were seen before: exactly, for as long as any window takes their rows.

    event time   ... |  pane  |  pane  |  pane  |  pane  |  pane  |
                     forgotten|  sorted keys in blobs    |  table in memory
                              ▲ horizon                  ▲ watermark

Costs per key: in memory 11 to 21 bytes while its pane is open (8 more until the next `state`), nothing once it is
retired but for 128 KiB a model; on disk 8 bytes, twice until the pane is retired.
"""

import secrets
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from driftmeter.errors import DamagedError
from driftmeter.model.blobs import BlobRef, Blobs
from driftmeter.model.compiled import frozen
from driftmeter.model.predictions import Predictions
from driftmeter.window.horizon import KEY_PANE_NS, Horizon
from driftmeter.window.key_kernels import Flags, Keys
from driftmeter.window.key_runs import SMALL_KEYS, KeyRuns, Piece, keys_in, keys_of, rows_of
from driftmeter.window.key_table import KeyTable

_CHUNK_KEYS = 8_192
"""Keys of an open pane that go into a blob of their own when the state is taken; fewer are told in the state."""
_PIECE_SLOTS = 512 * 1024
"""Slots of a table that are retired at a time: some milliseconds."""
_SMALL_TABLES_MAX = 32
"""Small tables of retired panes that may wait before their keys are sorted in among the others."""
_LATE_BYTES_MAX = 64 * 1024 * 1024
"""Memory of one model's tables of late keys; beyond it the largest are retired, whatever comes for them still."""
_QUIET_KEYS = 1_000_000
"""A pane without a new key among so many of its model's has nothing to wait for."""
_PANE_STEP = 0x9E3779B97F4A7C15
_FLOOR_NEVER = -(2**62)

Undo = tuple[tuple[int, Keys], ...]
"""What was inserted: panes and their keys."""


@dataclass(frozen=True, eq=False)
class Admitted:
    """What of a batch is new.

    Attributes:
        fresh: bool (rows,): whether a row's span was not seen before; None when all are new.
        duplicates: Spans that were seen before.
        undo: For `SeenSpans.undo`.
    """

    fresh: Flags | None
    duplicates: int
    undo: Undo


@dataclass(eq=False)
class _Pane:
    """Keys of a pane in memory."""

    number: int
    table: KeyTable
    chunks: list[BlobRef] = field(default_factory=list)  # Keys of the table that snapshots find there.
    touched: int = 0  # Keys of the model when the last one came.
    cursor: int = 0  # Where the rest of a pane that is leaving memory begins.
    pieces: list[Piece] = field(default_factory=list)


class SeenSpans:
    """Keys of the spans of one model, version and stage, by pane of event time.

    Args:
        blobs: Where keys of old panes are.
        horizon: How long rows are taken.
    """

    def __init__(self, blobs: Blobs, horizon: Horizon) -> None:
        self._blobs = blobs
        self._horizon = horizon
        self._multiplier = secrets.randbits(64) | 1
        self._panes: dict[int, _Pane] = {}
        self._leaving: deque[_Pane] = deque()
        self._runs = KeyRuns(blobs, self._multiplier)
        self._floor = _FLOOR_NEVER
        self._admitted = 0

    @property
    def keys(self) -> int:
        """Number of keys kept."""
        return sum(pane.table.count for pane in self._in_memory()) + self._runs.count

    @property
    def floor_ns(self) -> int:
        """Event time before which nobody knows any more which spans were seen: what comes from there is too late."""
        return self._floor * KEY_PANE_NS

    @property
    def memory_bytes(self) -> int:
        """Bytes of the arrays of keys in memory."""
        return sum(pane.table.memory_bytes for pane in self._in_memory()) + self._runs.memory_bytes

    def admit(self, batch: Predictions) -> Admitted:
        """Tell new spans from those seen before, and remember the new ones.

        Rows of panes that are forgotten are new: whoever counts rows leaves out those before `floor_ns`.

        Raises:
            DamagedError: Keys that must be looked at cannot be read; as after any other error, nothing is remembered.
        """
        keys, row_index, panes = _identities(batch)
        fresh = np.ones(len(keys), np.bool_)
        parts = [
            (pane, rows, own_keys, self._known(pane, own_keys))
            for pane, rows in _by_pane(panes)
            if pane >= self._floor
            for own_keys in (_in_pane(pane, keys[rows]),)
        ]
        inserted: list[tuple[int, Keys]] = []
        try:
            for pane, rows, own_keys, seen in parts:
                own_fresh = np.empty(len(own_keys), np.bool_)
                inserted.append((pane, self._insert(pane, own_keys, frozen(row_index[rows]), seen, own_fresh)))
                fresh[rows] = own_fresh
        except Exception:
            self.undo(tuple(inserted))
            raise
        if fresh.all():
            return Admitted(None, 0, tuple(inserted))
        return Admitted(fresh, int(np.count_nonzero(~fresh & (row_index == 0))), tuple(inserted))

    def insert(self, batch: Predictions) -> None:
        """Remember the spans of a batch that was found new before: when it is replayed.

        Old keys are not looked at: their blobs may be damaged, which is no reason to forget these.
        """
        keys, row_index, panes = _identities(batch)
        for pane, rows in _by_pane(panes):
            if pane >= self._floor:
                own_keys = _in_pane(pane, keys[rows])
                self._insert(pane, own_keys, frozen(row_index[rows]), None, np.empty(len(own_keys), np.bool_))

    def undo(self, token: Undo) -> None:
        """Forget what `admit` has remembered: it could not be kept. In any order, and before the next `state`."""
        for number, keys in token:
            self._admitted -= len(keys)
            left = keys
            for pane in [pane for pane in self._in_memory() if pane.number == number]:
                if len(left):
                    left = self._take_back(pane, left)
            if len(left):
                self._runs.remove(number, left)

    def retire(self, watermark_ns: int) -> bool:
        """Move keys of panes that the watermark has passed out of memory, some milliseconds' worth of them.

        Returns:
            Whether there is more to do at once.

        Raises:
            TransientError: There is no room on disk; nothing is lost, and the next call tries again.
        """
        passed = [pane for pane in self._panes.values() if (pane.number + 1) * KEY_PANE_NS <= watermark_ns]
        late_bytes = sum(pane.table.memory_bytes for pane in passed)
        small: list[_Pane] = []
        for pane in sorted(passed, key=lambda each: -each.table.count):
            if pane.table.count <= SMALL_KEYS:
                small.append(pane)
            elif late_bytes > _LATE_BYTES_MAX or self._leaves(pane):
                late_bytes -= pane.table.memory_bytes
                self._leaving.append(self._panes.pop(pane.number))
        self._retire_small(small)
        if self._leaving:
            self._retire_piece(self._leaving[0])
        return bool(self._leaving)

    def forget(self, watermark_ns: int) -> None:
        """Let go of panes none of whose rows any window takes any more."""
        floor = self._horizon.starts_ns(watermark_ns) // KEY_PANE_NS
        if floor <= self._floor:
            return
        self._floor = floor
        for pane in [pane for pane in self._in_memory() if pane.number < floor]:
            self._drop(pane)
        self._runs.forget(floor)

    def state(self) -> dict[str, Any]:
        """All of it, as a tree that does not change any more. Whatever was admitted must be settled: see `undo`.

        Raises:
            TransientError: There is no room on disk for keys of open panes.
        """
        return {
            "multiplier": np.array([self._multiplier], np.uint64),
            "floor": self._floor,
            "panes": [self._pane_state(pane) for pane in self._in_memory()],
            "runs": self._runs.state(),
        }

    def restore(self, tree: Any) -> None:
        """Become what `state` told; raises DamagedError for a tree that is no such state, or blobs that are gone."""
        match tree:
            case {"multiplier": multiplier, "floor": int(floor), "panes": list(panes), "runs": dict(runs)}:
                multipliers = keys_of(multiplier)
            case _:
                raise DamagedError("state of span keys has the wrong shape")
        if len(multipliers) != 1 or int(multipliers[0]) % 2 == 0:
            raise DamagedError("state of span keys has no odd multiplier")
        self._multiplier = int(multipliers[0])
        self._floor = floor
        self._panes.clear()
        self._leaving.clear()
        self._runs = KeyRuns(self._blobs, self._multiplier)
        self._runs.restore(runs)
        self._restore_panes([_pane_parts(each) for each in panes])

    def _in_memory(self) -> Iterator[_Pane]:
        yield from self._panes.values()
        yield from self._leaving

    def _known(self, pane: int, keys: Keys) -> Flags | None:
        """Which keys of a pane are known but for its open table; None when there is nothing else."""
        seen = np.zeros(len(keys), np.bool_)
        looked = self._runs.probe(pane, keys, seen)
        for leaving in self._leaving:
            if leaving.number == pane:
                leaving.table.probe(keys, seen)
                looked = True
        return seen if looked else None

    def _insert(
        self, number: int, keys: Keys, row_index: npt.NDArray[np.uint16], seen: Flags | None, fresh: Flags
    ) -> Keys:
        pane = self._panes.get(number)
        if pane is None:
            if seen is not None and seen.all():
                fresh[:] = False
                return np.empty(0, np.uint64)
            pane = self._panes[number] = _Pane(number, KeyTable(self._multiplier))
        inserted = pane.table.admit(keys, row_index, seen, fresh)
        if len(inserted):
            self._admitted += len(inserted)
            pane.touched = self._admitted
        return inserted

    def _take_back(self, pane: _Pane, keys: Keys) -> Keys:
        """Take keys out of a pane in memory; returns those that it did not have."""
        removed = pane.table.remove(keys)
        for piece in pane.pieces:  # It was leaving: from the start again.
            self._runs.release(piece)
        pane.pieces, pane.cursor = [], 0
        if not pane.table.count and self._panes.get(pane.number) is pane:
            del self._panes[pane.number]
        return keys[~removed]

    def _leaves(self, pane: _Pane) -> bool:
        """Whether a pane's keys are worth a run: as many as it has runs of already, or none come any more."""
        return pane.table.count >= self._runs.count_of(pane.number) or self._admitted - pane.touched >= _QUIET_KEYS

    def _retire_small(self, small: list[_Pane]) -> None:
        if sum(pane.table.count for pane in small) >= SMALL_KEYS // 4 or len(small) > _SMALL_TABLES_MAX:
            for pane in small:
                pane.table.settle()
                self._runs.add_small(pane.number, pane.table.take_sorted(0, 2**32)[0])
                self._drop(pane)
        self._runs.spill_small()

    def _retire_piece(self, pane: _Pane) -> None:
        pane.table.settle()
        keys, cursor = pane.table.take_sorted(pane.cursor, _PIECE_SLOTS)
        if len(keys):
            pane.pieces.append(self._runs.write_piece(keys))
        pane.cursor = cursor
        if cursor < 0:
            self._runs.add_run(pane.number, pane.pieces)
            pane.pieces = []
            self._drop(pane)

    def _drop(self, pane: _Pane) -> None:
        """Let go of a pane's memory and of what snapshots needed of it."""
        if self._panes.get(pane.number) is pane:
            del self._panes[pane.number]
        else:
            self._leaving.remove(pane)
        for ref in pane.chunks:
            self._blobs.release(ref)
        for piece in pane.pieces:
            self._runs.release(piece)

    def _pane_state(self, pane: _Pane) -> dict[str, Any]:
        if len(pane.table.logged) >= _CHUNK_KEYS:
            pane.chunks.append(self._blobs.put([pane.table.logged.view(np.uint8).data]))
            pane.table.clear_log()
        for place, ref in enumerate(pane.chunks):  # One by one: when one fails, those before it have moved.
            pane.chunks[place] = self._blobs.renew(ref)
        return {
            "pane": pane.number,
            "chunks": np.array(pane.chunks, np.int64).reshape(-1, 3),
            "keys": pane.table.logged.copy(),
        }

    def _restore_panes(self, parts: list[tuple[int, list[BlobRef], Keys]]) -> None:
        """Put keys into tables; a pane may stand there twice, when late keys came while it was leaving memory.

        All that is in blobs first: what is inserted after that stays logged, and is told by the next `state`.
        """
        for number, refs, _ in parts:
            pane = self._panes.setdefault(number, _Pane(number, KeyTable(self._multiplier)))
            for ref in refs:
                self._blobs.adopt(ref)
                pane.table.insert(keys_in(self._blobs.get(ref)))
            pane.table.clear_log()
            pane.chunks += refs
        for number, _, keys in parts:
            self._panes[number].table.insert(keys)


def _pane_parts(tree: Any) -> tuple[int, list[BlobRef], Keys]:
    """Number of a stored pane, where its chunks are, and its other keys; raises DamagedError when it is none."""
    match tree:
        case {"pane": int(number), "chunks": chunks, "keys": keys}:
            return number, [BlobRef(*row) for row in rows_of(chunks, 3)], keys_of(keys)
    raise DamagedError("state of a pane of span keys has the wrong shape")


def _identities(batch: Predictions) -> tuple[Keys, npt.NDArray[np.uint16], npt.NDArray[np.int64]]:
    """Of each row the key of its span, its number in the span, and the pane of its event time."""
    columns = batch.rows
    keys: Keys = columns.column("span_key").to_numpy()
    row_index: npt.NDArray[np.uint16] = columns.column("row_index").to_numpy()
    times_ns: npt.NDArray[np.int64] = columns.column("event_time").view("int64").to_numpy()
    return keys, row_index, times_ns // KEY_PANE_NS


def _by_pane(panes: npt.NDArray[np.int64]) -> Iterator[tuple[int, Any]]:
    """Each pane and its rows, in the order in which they stand, as an index of arrays."""
    if not len(panes):
        return
    first = int(panes[0])
    if (panes == first).all():
        yield first, slice(None)
        return
    order = np.argsort(panes, kind="stable")
    numbers, starts = np.unique(panes[order], return_index=True)
    yield from zip(numbers.tolist(), np.split(order, starts[1:]), strict=True)


def _in_pane(pane: int, keys: Keys) -> Keys:
    """Keys that differ from those of other panes, since few keys of many panes are kept together."""
    return frozen(keys + np.uint64(pane * _PANE_STEP % 2**64))
