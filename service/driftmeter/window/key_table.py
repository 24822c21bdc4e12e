"""A growing set of 64-bit keys in memory: about 20 ns a key, 11 to 21 bytes of memory a key."""

import mmap
from typing import Any

import numpy as np
import numpy.typing as npt

from driftmeter.window import key_kernels as kernels
from driftmeter.window.key_kernels import COUNT, HAS_ZERO, LOGGED, NUMBERS, Flags, Keys

_HOMES_MIN = 256
_LOAD_MAX = 0.75
"""Keys per home at most: with more, runs of neighbours grow long."""
_TAIL = 64
"""Slots behind the last home, and as many more as a 64th of all."""
_MAP_BYTES_MIN = 1024 * 1024
"""Tables from this size on are mapped by themselves: malloc is told to keep what is freed, for the buffers of
requests, and would keep them too."""
_MOVED_PER_ROW = 32
"""Slots of the old table moved for each row that comes: done long before the new table is full, and soon, since until
then each key is looked up in both."""

_NONE_SEEN: Flags = np.empty(0, np.bool_)


class KeyTable:
    """A set of keys that tells new ones from those it has, and remembers in which order they came.

    Growing is spread over the batches that follow: no single one waits for all keys to move.

    Args:
        multiplier: Odd; see `key_kernels`. Keys that are handed out are multiplied by it.
    """

    def __init__(self, multiplier: int) -> None:
        self._multiplier: Any = np.uint64(multiplier)  # numba's integer, which mypy takes for a Python one.
        self._numbers = np.zeros(NUMBERS, np.int64)
        self._log: Keys = np.empty(0, np.uint64)
        self._slots, self._shift = _slots(_HOMES_MIN)
        self._old: Keys | None = None
        self._old_shift = 0
        self._moved = 0

    @property
    def count(self) -> int:
        """Number of keys."""
        return int(self._numbers[COUNT])

    @property
    def memory_bytes(self) -> int:
        """Bytes of its arrays."""
        return self._slots.nbytes + self._log.nbytes + (0 if self._old is None else self._old.nbytes)

    @property
    def logged(self) -> Keys:
        """uint64: the keys inserted since the last `clear_log`, multiplied, as a view."""
        return self._log[: self._numbers[LOGGED]]

    def clear_log(self) -> None:
        """The keys that are logged have been put aside."""
        self._numbers[LOGGED] = 0
        self._log = np.empty(0, np.uint64)

    def admit(self, keys: Keys, row_index: npt.NDArray[np.uint16], seen: Flags | None, fresh: Flags) -> Keys:
        """Insert the keys of spans not seen before.

        Args:
            keys: uint64 (rows,), read-only.
            row_index: uint16 (rows,), read-only: 0 at the first row of each span.
            seen: bool (rows,): known from elsewhere; None when nothing is.
            fresh: bool (rows,): takes whether a row's span is new.

        Returns:
            uint64: the inserted keys, multiplied.
        """
        rows = len(keys)
        if self._old is not None:
            self._move(_MOVED_PER_ROW * rows)
        if self._old is not None:
            seen = np.zeros(rows, np.bool_) if seen is None else seen
            self._probe_old(keys, seen)
        before = int(self._numbers[LOGGED])
        self._make_room_in_log(rows)
        row = 0
        while True:
            limit = int((1 << (64 - self._shift)) * _LOAD_MAX)
            row = kernels.admit(
                keys, row_index, _NONE_SEEN if seen is None else seen, self._multiplier, row,
                self._slots, self._shift, self._numbers, limit, self._log, fresh,
            )  # fmt: skip
            if row == rows:
                return self._log[before : self._numbers[LOGGED]].copy()
            self._grow()
            # What the rows before this one inserted is in the old table now.
            seen = np.zeros(rows, np.bool_) if seen is None else seen
            self._probe_old(keys, seen)

    def insert(self, multiplied: Keys) -> None:
        """Insert keys as they were handed out; those it has already make no difference. They are logged."""
        inverse = np.uint64(pow(int(self._multiplier), -1, 2**64))
        keys = multiplied * inverse
        keys.flags.writeable = False
        numbers = np.zeros(len(keys), np.uint16)
        numbers.flags.writeable = False
        self.admit(keys, numbers, None, np.empty(len(keys), np.bool_))

    def probe(self, keys: Keys, seen: Flags) -> None:
        """Set `seen` of the rows whose key it has."""
        kernels.probe(keys, self._multiplier, self._slots, self._shift, int(self._numbers[HAS_ZERO]), seen)
        if self._old is not None:
            self._probe_old(keys, seen)

    def remove(self, multiplied: Keys) -> Flags:
        """Take keys out, as they were handed out; returns which it had."""
        self.settle()
        removed = np.zeros(len(multiplied), np.bool_)
        kernels.remove(self._slots, self._shift, self._numbers, multiplied, removed)
        self._log = self.logged[~np.isin(self.logged, multiplied)]
        self._numbers[LOGGED] = len(self._log)
        return removed

    def settle(self) -> None:
        """Finish growing."""
        self._move(2**62)

    def take_sorted(self, first: int, slots_max: int) -> tuple[Keys, int]:
        """Multiplied keys in ascending order, those of some slots at a time; settled, and not changed in between.

        Args:
            first: 0, then what the last call returned.
            slots_max: About how many slots to read.

        Returns:
            The keys, and where the next ones begin: -1 when these were the last.
        """
        last = kernels.gap(self._slots, min(first + slots_max, len(self._slots)))
        zero = int(self._numbers[HAS_ZERO]) if first == 0 else 0
        taken = np.zeros(zero + last - first, np.uint64)
        count = zero + kernels.take_sorted(self._slots, first, last, taken[zero:])
        return taken[:count].copy(), -1 if last == len(self._slots) else last

    def _probe_old(self, keys: Keys, seen: Flags) -> None:
        assert self._old is not None  # noqa: S101
        kernels.probe(keys, self._multiplier, self._old, self._old_shift, 0, seen)

    def _grow(self) -> None:
        """Begin to move into a table of twice the size."""
        self.settle()
        self._old, self._old_shift, self._moved = self._slots, self._shift, 0
        self._slots, self._shift = _slots(2 << (64 - self._shift))

    def _move(self, slots_max: int) -> None:
        if self._old is None:
            return
        last = min(self._moved + slots_max, len(self._old))
        while not kernels.move(self._old, self._moved, last, self._slots, self._shift):
            # Practically never: a long run of neighbours at the very end. A larger table ends it.
            larger, shift = _slots(2 << (64 - self._shift))
            if not kernels.move(self._slots, 0, len(self._slots), larger, shift):
                raise MemoryError("keys that do not fit into any table")
            self._slots, self._shift = larger, shift
        self._moved = last
        if last == len(self._old):
            self._old = None

    def _make_room_in_log(self, rows: int) -> None:
        needed = int(self._numbers[LOGGED]) + rows
        if needed > len(self._log):
            log = np.empty(max(needed, 2 * len(self._log), 256), np.uint64)
            log[: self._numbers[LOGGED]] = self.logged
            self._log = log


def _slots(homes: int) -> tuple[Keys, int]:
    """Empty slots for so many homes, a power of two, and the shift from a multiplied key to its home."""
    size = homes + homes // 64 + _TAIL
    shift = 64 - (homes.bit_length() - 1)
    if 8 * size < _MAP_BYTES_MIN:
        return np.zeros(size, np.uint64), shift
    memory = mmap.mmap(-1, 8 * size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    # No huge pages: a key is anywhere, so that the first batch would wait until all of the table is cleared.
    return np.frombuffer(memory, np.uint64), shift


def warm_up() -> None:
    """Compile the kernels, or load them; afterwards no call compiles."""
    keys = np.arange(1000, dtype=np.uint64)
    keys.flags.writeable = False
    row_index = np.zeros(1000, np.uint16)
    row_index.flags.writeable = False
    seen = np.zeros(1000, np.bool_)
    table = KeyTable(1)
    inserted = table.admit(keys, row_index, None, np.empty(1000, np.bool_))
    table.probe(keys, seen)
    table.remove(inserted[:1])
    taken, _ = table.take_sorted(0, 2**20)
    taken.flags.writeable = False
    kernels.probe_sorted(keys, table._multiplier, taken, seen)  # noqa: SLF001
