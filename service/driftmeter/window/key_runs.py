"""Keys of old panes: sorted arrays, in blobs but for the smallest, which only late rows are looked up in."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from driftmeter.errors import DamagedError
from driftmeter.model.blobs import BlobRef, Blobs
from driftmeter.model.compiled import frozen
from driftmeter.window import key_kernels as kernels
from driftmeter.window.key_kernels import Flags, Keys

PANES_PER_GROUP = 12
"""Panes whose few keys are kept together: an hour."""
SMALL_KEYS = 16_384
"""Sorted keys of one model that may stay in memory (128 KiB); a pane with more has blobs of its own."""
_SLICES_MAX = 8
"""Parts of shared blobs that one group may have; then they are put together again."""
_NO_KEYS: Keys = np.empty(0, np.uint64)


@dataclass(eq=False)
class _Blob:
    """A blob, and how many runs have keys in it."""

    ref: BlobRef
    users: int = 0


@dataclass(frozen=True, eq=False)
class Piece:
    """Ascending keys: `count` of a blob's from key `first` on."""

    blob: _Blob
    first: int
    count: int


@dataclass(eq=False)
class _Run:
    """Keys of the panes from `first_pane` to `last_pane`, both included."""

    first_pane: int
    last_pane: int
    pieces: list[Piece]
    shared: bool  # Its blob holds keys of other groups too.

    @property
    def count(self) -> int:
        return sum(piece.count for piece in self.pieces)


@dataclass(eq=False)
class _Group:
    """All that is kept of an hour."""

    runs: list[_Run] = field(default_factory=list)
    small: Keys = field(default_factory=lambda: _NO_KEYS)  # Ascending; of panes first_pane to last_pane.
    first_pane: int = 0
    last_pane: int = -1

    def widen(self, first_pane: int, last_pane: int) -> None:
        """Say that `small` has keys of these panes too."""
        if len(self.small):
            first_pane, last_pane = min(first_pane, self.first_pane), max(last_pane, self.last_pane)
        self.first_pane, self.last_pane = first_pane, last_pane


class KeyRuns:
    """Sorted keys of the panes that the watermark has passed, multiplied as `key_kernels` says.

    Args:
        blobs: Where they are.
        multiplier: Of all keys.
    """

    def __init__(self, blobs: Blobs, multiplier: int) -> None:
        self._blobs = blobs
        self._multiplier: Any = np.uint64(multiplier)  # As in `KeyTable`.
        self._groups: dict[int, _Group] = {}
        self._small_keys = 0

    @property
    def count(self) -> int:
        """Number of keys."""
        return self._small_keys + sum(run.count for group in self._groups.values() for run in group.runs)

    @property
    def memory_bytes(self) -> int:
        """Bytes of the keys in memory; those in blobs have 8 bytes each on disk."""
        return 8 * self._small_keys

    def count_of(self, pane: int) -> int:
        """Keys in the pane's own blobs."""
        group = self._groups.get(pane // PANES_PER_GROUP)
        return sum(run.count for run in group.runs if not run.shared and run.first_pane == pane) if group else 0

    def probe(self, pane: int, keys: Keys, seen: Flags) -> bool:
        """Set `seen` of the rows whose key is kept, all of this pane; returns whether there was anything to look in.

        Raises DamagedError when a blob cannot be read: nobody knows then what was counted.
        """
        looked = False
        for known in self._of(pane):
            kernels.probe_sorted(keys, self._multiplier, known, seen)
            looked = True
        return looked

    def write_piece(self, keys: Keys) -> Piece:
        """Put ascending keys into a blob; raises TransientError when there is no room."""
        return Piece(_Blob(self._blobs.put([keys.view(np.uint8).data]), 1), 0, len(keys))

    def add_run(self, pane: int, pieces: list[Piece]) -> None:
        """Keep a pane's keys, written in ascending order."""
        if pieces:
            self._group(pane).runs.append(_Run(pane, pane, pieces, shared=False))

    def add_small(self, pane: int, keys: Keys) -> None:
        """Keep a few keys of a pane, none of which is kept already, in any order; `spill_small` bounds them."""
        if len(keys):
            group = self._group(pane)
            group.widen(pane, pane)
            group.small = frozen(np.sort(np.concatenate((group.small, keys))))
            self._small_keys += len(keys)

    def spill_small(self) -> None:
        """Put the keys in memory into one blob when they are more than `SMALL_KEYS`.

        Raises TransientError when there is no room; nothing has changed then.
        """
        if self._small_keys <= SMALL_KEYS:
            return
        for group in self._groups.values():
            if len(group.small) and sum(run.shared for run in group.runs) >= _SLICES_MAX:
                with suppress(DamagedError):  # What cannot be read stays in its parts; who looks a key up is told.
                    self._gather(group)
        full = [group for group in self._groups.values() if len(group.small)]
        blob = _Blob(self._blobs.put([group.small.view(np.uint8).data for group in full]), len(full))
        first = 0
        for group in full:
            piece = Piece(blob, first, len(group.small))
            group.runs.append(_Run(group.first_pane, group.last_pane, [piece], shared=True))
            first += piece.count
            group.small = _NO_KEYS
        self._small_keys = 0

    def remove(self, pane: int, keys: Keys) -> None:
        """Take keys out again, wherever they are; keys that are not kept make no difference."""
        group = self._groups.get(pane // PANES_PER_GROUP)
        if group is None:
            return
        before = len(group.small)
        group.small = frozen(group.small[~np.isin(group.small, keys)])
        self._small_keys -= before - len(group.small)
        for run in group.runs:
            for place in reversed(range(len(run.pieces))):  # One by one: when one fails, the others are done.
                run.pieces[place : place + 1] = self._without(run.pieces[place], keys)

    def forget(self, floor_pane: int) -> None:
        """Release what holds nothing but keys of panes before this one."""
        for number, group in list(self._groups.items()):
            for run in [run for run in group.runs if run.last_pane < floor_pane]:
                group.runs.remove(run)
                for piece in run.pieces:
                    self.release(piece)
            if len(group.small) and group.last_pane < floor_pane:
                self._small_keys -= len(group.small)
                group.small = _NO_KEYS
            if not group.runs and not len(group.small):
                del self._groups[number]

    def release(self, piece: Piece) -> None:
        """A piece is not used any more."""
        piece.blob.users -= 1
        if not piece.blob.users:
            self._blobs.release(piece.blob.ref)

    def state(self) -> dict[str, Any]:
        """All of it, as a tree: arrays of numbers, shared where they do not change."""
        blobs = list({id(piece.blob): piece.blob for _, piece in self._pieces()}.values())
        for blob in blobs:
            blob.ref = self._blobs.renew(blob.ref)
        places = {id(blob): place for place, blob in enumerate(blobs)}
        runs = [run for group in self._groups.values() for run in group.runs]
        pieces = [
            (number, places[id(piece.blob)], piece.first, piece.count)
            for number, run in enumerate(runs)
            for piece in run.pieces
        ]
        small = [group for group in self._groups.values() if len(group.small)]
        return {
            "blobs": _table([tuple(blob.ref) for blob in blobs], 3),
            "runs": _table([(run.first_pane, run.last_pane, int(run.shared)) for run in runs], 3),
            "pieces": _table(pieces, 4),
            "small": _table([(group.first_pane, group.last_pane, len(group.small)) for group in small], 3),
            "keys": np.concatenate([_NO_KEYS, *(group.small for group in small)]),
        }

    def restore(self, tree: dict[str, Any]) -> None:
        """Become what `state` told, in place of what is; raises DamagedError for a tree that is no such state."""
        blobs = [_Blob(BlobRef(*row)) for row in rows_of(tree.get("blobs"), 3)]
        runs = [_Run(first, last, [], bool(shared)) for first, last, shared in rows_of(tree.get("runs"), 3)]
        for run, blob, first, count in rows_of(tree.get("pieces"), 4):
            if not (0 <= run < len(runs) and 0 <= blob < len(blobs) and count > 0 and first >= 0):
                raise DamagedError("pieces of keys that no run or no blob has")
            if 8 * (first + count) > blobs[blob].ref.size_bytes:
                raise DamagedError("a piece of keys is larger than its blob")
            runs[run].pieces.append(Piece(blobs[blob], first, count))
            blobs[blob].users += 1
        for unused in (each for each in blobs if not each.users):
            raise DamagedError(f"blob {unused.ref} holds keys of no run")
        for blob_used in blobs:
            self._blobs.adopt(blob_used.ref)
        self._groups.clear()
        for each_run in runs:
            self._group(each_run.first_pane).runs.append(each_run)
        keys = keys_of(tree.get("keys"))
        self._small_keys = len(keys)
        at = 0
        for first, last, count in rows_of(tree.get("small"), 3):
            group = self._group(first)
            group.first_pane, group.last_pane, group.small = first, last, frozen(keys[at : at + count].copy())
            at += count
        if at != len(keys):
            raise DamagedError("keys in memory that belong to no panes")

    def _pieces(self) -> Iterator[tuple[_Run, Piece]]:
        for group in self._groups.values():
            for run in group.runs:
                for piece in run.pieces:
                    yield run, piece

    def _of(self, pane: int) -> Iterator[Keys]:
        group = self._groups.get(pane // PANES_PER_GROUP)
        if group is None:
            return
        if len(group.small) and group.first_pane <= pane <= group.last_pane:
            yield group.small
        for run in group.runs:
            if run.first_pane <= pane <= run.last_pane:
                yield from map(self._read, run.pieces)

    def _read(self, piece: Piece) -> Keys:
        return keys_in(self._blobs.get(piece.blob.ref))[piece.first : piece.first + piece.count]

    def _without(self, piece: Piece, keys: Keys) -> list[Piece]:
        """The piece, or what is left of it."""
        known = self._read(piece)
        kept = known[~np.isin(known, keys)]
        if len(kept) == len(known):
            return [piece]
        left = [self.write_piece(kept)] if len(kept) else []
        self.release(piece)
        return left

    def _group(self, pane: int) -> _Group:
        return self._groups.setdefault(pane // PANES_PER_GROUP, _Group())

    def _gather(self, group: _Group) -> None:
        """Bring the parts of shared blobs back into memory."""
        shared = [run for run in group.runs if run.shared]
        keys = [self._read(piece) for run in shared for piece in run.pieces]
        for run in shared:
            group.widen(run.first_pane, run.last_pane)
            group.runs.remove(run)
        self._small_keys += sum(map(len, keys))
        group.small = frozen(np.sort(np.concatenate((group.small, *keys))))
        for run in shared:
            for piece in run.pieces:
                self.release(piece)


def keys_in(blob: memoryview) -> Keys:
    """Keys of a blob: a read-only view, or a copy where the blob does not lie at a multiple of 8 bytes."""
    if len(blob) % 8:
        raise DamagedError("a blob of keys does not hold whole keys")
    keys = np.require(np.frombuffer(blob, np.uint64), requirements="A")
    return frozen(keys)


def rows_of(table: object, columns: int) -> list[tuple[int, ...]]:
    """Rows of an int64 array (n, columns) of a tree; raises DamagedError when it is none."""
    if not isinstance(table, np.ndarray) or table.dtype != np.int64 or table.shape[1:] != (columns,):
        raise DamagedError("state of span keys has the wrong shape")
    return [tuple(row) for row in table.tolist()]


def keys_of(array: object) -> Keys:
    """A uint64 array (n,) of a tree; raises DamagedError when it is none."""
    if not isinstance(array, np.ndarray) or array.dtype != np.uint64 or array.ndim != 1:
        raise DamagedError("state of span keys has the wrong shape")
    return array


def _table(rows: list[Any], columns: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.array(rows, np.int64).reshape(-1, columns)
