"""Each span is admitted once, for as long as any window takes its rows."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from driftmeter.errors import DamagedError, TransientError
from driftmeter.model.blobs import BlobRef, Buffer, MemoryBlobs
from driftmeter.model.bundle import Tree, pack, unpack
from driftmeter.model.compiled import frozen
from driftmeter.model.predictions import Predictions
from driftmeter.window.horizon import KEY_PANE_NS, Horizon
from driftmeter.window.key_kernels import Keys
from driftmeter.window.key_runs import KeyRuns
from driftmeter.window.seen import SeenSpans, Undo
from rows import HOUR_NS, predictions

MIB = 1024 * 1024
HORIZON = Horizon(((KEY_PANE_NS, KEY_PANE_NS),), HOUR_NS)
Span = tuple[int, int, int]
"""Pane, key, rows."""


def batch_of(spans: Sequence[Span]) -> Predictions:
    """Rows of these spans, with nothing but their identity."""
    times = [pane * KEY_PANE_NS for pane, _, rows in spans for _ in range(rows)]
    return _identified(
        times, [key for _, key, rows in spans for _ in range(rows)], [r for s in spans for r in range(s[2])]
    )


def _identified(times: Sequence[int], keys: Sequence[int] | Keys, row_index: Sequence[int]) -> Predictions:
    plain = predictions(times, {})
    rows = plain.rows.set_column(1, plain.rows.schema.field(1), pa.array(keys, pa.uint64()))
    rows = rows.set_column(2, rows.schema.field(2), pa.array(row_index, pa.uint16()))
    return Predictions(plain.key, rows)


def through_bytes(tree: Tree) -> Tree:
    """The tree as it comes back from the disk."""
    return unpack(memoryview(b"".join(pack(tree))))


def fresh_of(seen: SeenSpans, spans: Sequence[Span]) -> list[bool]:
    """Whether each row was new, and the count of duplicates in agreement with that."""
    admitted = seen.admit(batch_of(spans))
    rows = sum(rows for _, _, rows in spans)
    fresh = [True] * rows if admitted.fresh is None else admitted.fresh.tolist()
    assert admitted.fresh is None or not all(fresh)
    first_rows = np.cumsum([0, *(each for _, _, each in spans)])[:-1].tolist()
    assert admitted.duplicates == sum(not fresh[row] for row in first_rows)
    return fresh


@pytest.mark.parametrize("key", [0, 1, 2**63, 2**64 - 1])
def test_any_key_is_new_once(key: int) -> None:
    """Zero and the largest numbers are keys as any others."""
    seen = SeenSpans(MemoryBlobs(), HORIZON)
    assert fresh_of(seen, [(0, key, 1)]) == [True]
    assert fresh_of(seen, [(0, key, 1)]) == [False]
    assert seen.keys == 1


def test_rows_of_a_span_go_together() -> None:
    """All rows of a span are new, or none is; a span that stands twice in one batch is new the first time."""
    seen = SeenSpans(MemoryBlobs(), HORIZON)
    assert fresh_of(seen, [(0, 7, 3), (0, 8, 1), (0, 7, 3), (1, 9, 2)]) == [True] * 4 + [False] * 3 + [True] * 2
    assert fresh_of(seen, [(1, 9, 2), (0, 5, 1)]) == [False, False, True]


def test_batch_without_rows() -> None:
    """Nothing is new in nothing."""
    admitted = SeenSpans(MemoryBlobs(), HORIZON).admit(batch_of([]))
    assert (admitted.fresh, admitted.duplicates, admitted.undo) == (None, 0, ())


@pytest.mark.parametrize("pattern", ["random", "ascending", "high bits"])
def test_many_keys_grow_exactly(pattern: str) -> None:
    """Through all sizes of the table, in memory and retired, no key is forgotten and none is invented."""
    count = 300_000
    keys = {
        "random": np.random.default_rng(3).integers(0, 2**64, count, np.uint64),
        "ascending": np.arange(count, dtype=np.uint64),
        "high bits": np.arange(count, dtype=np.uint64) << np.uint64(44),
    }[pattern]
    seen = SeenSpans(MemoryBlobs(), HORIZON)
    batches = [_identified([0] * len(part), part, [0] * len(part)) for part in np.array_split(keys, 30)]
    others = _identified([0] * 5_000, keys[:5_000] + np.uint64(2**43 + 12_345_678), [0] * 5_000)
    assert [seen.admit(each).fresh for each in batches] == [None] * 30
    assert seen.keys == count
    assert seen.memory_bytes < 40 * count
    assert [seen.admit(each).duplicates for each in batches] == [10_000] * 30
    while seen.retire(KEY_PANE_NS):
        pass
    assert seen.keys == count
    assert seen.memory_bytes < 1_000
    assert [seen.admit(each).duplicates for each in batches] == [10_000] * 30
    assert seen.admit(others).duplicates == 0


def test_sparse_traffic_takes_few_blobs_and_little_memory() -> None:
    """A few keys a pane for two days: sorted together, in blobs that are worth one."""
    blobs = MemoryBlobs()
    seen = SeenSpans(blobs, Horizon(((KEY_PANE_NS, KEY_PANE_NS),), 48 * HOUR_NS))
    for pane in range(576):
        assert fresh_of(seen, [(pane, 1000 * pane + number, 1) for number in range(100)]) == [True] * 100
        seen.retire(pane * KEY_PANE_NS)
    assert seen.keys == 57_600
    assert len(blobs._blobs) == 3
    assert seen.memory_bytes < MIB // 2
    for pane in (0, 5, 250, 575):
        assert not any(fresh_of(seen, [(pane, 1000 * pane + number, 1) for number in range(100)]))
        assert fresh_of(seen, [(pane, 1000 * pane + 500, 1)]) == [True]
    seen.forget(100 * 24 * HOUR_NS)
    assert (seen.keys, len(blobs._blobs)) == (0, 0)


def test_forgotten_panes_take_all_as_new() -> None:
    """A pane is forgotten when no window takes any of its rows, not before; its rows are new then, and not kept."""
    seen = SeenSpans(MemoryBlobs(), HORIZON)
    fresh_of(seen, [(0, 1, 1), (1, 2, 1)])
    seen.forget(KEY_PANE_NS + HOUR_NS - 1)
    assert fresh_of(seen, [(0, 1, 1)]) == [False]
    seen.forget(KEY_PANE_NS + HOUR_NS)
    assert fresh_of(seen, [(0, 1, 1), (1, 2, 1)]) == [True, False]
    assert fresh_of(seen, [(0, 1, 1)]) == [True]
    assert seen.keys == 1


def test_late_keys_of_a_pane_that_is_leaving_survive_two_restarts() -> None:
    """A pane is open again while it leaves memory, its old keys in a blob: each restart keeps the late ones too."""
    blobs = MemoryBlobs()
    seen = SeenSpans(blobs, HORIZON)
    panes = {1: np.arange(40_000, dtype=np.uint64), 0: np.arange(30_000, dtype=np.uint64)}
    for pane, keys in panes.items():
        assert seen.admit(_identified([pane * KEY_PANE_NS] * len(keys), keys, [0] * len(keys))).fresh is None
    seen.state()
    assert seen.retire(10 * KEY_PANE_NS)
    late = [(pane, 10**6 + number, 1) for pane in panes for number in range(5)]
    assert all(fresh_of(seen, late))
    for _ in range(3):
        tree = through_bytes(seen.state())
        seen = SeenSpans(blobs, HORIZON)
        seen.restore(tree)
    assert not any(fresh_of(seen, late))
    assert seen.keys == 70_010


@pytest.mark.parametrize("tree", [None, 3, {}, {"multiplier": np.array([2], np.uint64), "floor": 0}])
def test_state_of_another_shape_is_damaged(tree: Tree) -> None:
    """What is no state is refused with the error for damage."""
    with pytest.raises(DamagedError):
        SeenSpans(MemoryBlobs(), HORIZON).restore(tree)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_state_with_a_part_exchanged_is_damaged_or_a_state(data: st.DataObject) -> None:
    """Whatever stands in place of a part of the state, restoring it works or says that it is damaged."""
    blobs = MemoryBlobs()
    seen = SeenSpans(blobs, HORIZON)
    fresh_of(seen, [(pane, key, 1) for pane in range(40) for key in range(3)])
    seen.retire(100 * KEY_PANE_NS)
    fresh_of(seen, [(3, 100, 1)])
    tree = seen.state()
    part = data.draw(st.sampled_from([tree, tree["runs"], tree["panes"][0]]))
    name = data.draw(st.sampled_from(sorted(part)))
    odd: list[Any] = [
        None,
        1,
        "x",
        [],
        {},
        np.zeros(3),
        np.zeros((2, 3), np.int64),
        np.full((1, 4), 9),
        np.ones(4, np.uint64),
    ]
    part[name] = odd[data.draw(st.integers(0, len(odd) - 1))]
    try:
        SeenSpans(blobs, HORIZON).restore(tree)
    except DamagedError:
        return


def test_keys_that_cannot_be_read_admit_nothing() -> None:
    """With a damaged blob nobody knows what was counted: the batch fails as a whole, other panes go on."""
    blobs = MemoryBlobs()
    seen = SeenSpans(blobs, HORIZON)
    seen.admit(_identified([0] * 20_000, np.arange(20_000, dtype=np.uint64), [0] * 20_000))
    while seen.retire(KEY_PANE_NS):
        pass
    (number,) = blobs._blobs
    blobs._blobs[number] = blobs._blobs[number][:-1]
    with pytest.raises(DamagedError):
        seen.admit(batch_of([(1, 5, 1), (0, 5, 1)]))
    assert fresh_of(seen, [(1, 5, 1), (2, 5, 1)]) == [True, True]


def test_a_replay_notes_keys_beside_keys_that_cannot_be_read() -> None:
    """What was found new before is noted whatever has become of older keys, in every pane of the batch."""
    blobs = MemoryBlobs()
    seen = SeenSpans(blobs, HORIZON)
    seen.admit(_identified([0] * 20_000, np.arange(20_000, dtype=np.uint64), [0] * 20_000))
    while seen.retire(KEY_PANE_NS):
        pass
    (number,) = blobs._blobs
    blob = blobs._blobs[number]
    blobs._blobs[number] = blob[:-1]
    new = [(0, 10**6, 2), (1, 5, 1), (2, 5, 3)]
    seen.insert(batch_of(new))
    assert fresh_of(seen, new[1:]) == [False] * 4
    blobs._blobs[number] = blob
    assert fresh_of(seen, new) == [False] * 6
    assert seen.keys == 20_003


def test_keys_that_cannot_be_read_do_not_keep_others_in_memory() -> None:
    """Parts of an hour's keys that would be put together stay apart when one is damaged, and others still join them."""
    blobs = MemoryBlobs()
    runs = KeyRuns(blobs, 1)
    for number in range(12):
        runs.add_small(number, np.arange(17_000, dtype=np.uint64) + np.uint64(20_000 * number))
        runs.spill_small()
        blobs._blobs[0] = blobs._blobs[0][:135_999]
        assert (runs.count, runs.memory_bytes) == (17_000 * (number + 1), 0)
    seen = np.zeros(2, np.bool_)
    assert runs.probe(11, frozen(np.array([220_000, 5], np.uint64)), seen)
    assert seen.tolist() == [True, False]
    with pytest.raises(DamagedError):
        runs.probe(0, frozen(np.array([0, 5], np.uint64)), seen)


class _Full(MemoryBlobs):
    """A disk without room."""

    full = True

    def put(self, parts: Sequence[Buffer]) -> BlobRef:
        """Keep these bytes, if there is room."""
        if self.full:
            raise TransientError("no room")
        return super().put(parts)


@pytest.mark.parametrize("keys_a_pane", [600, 20_000])
def test_full_disk_loses_no_key(keys_a_pane: int) -> None:
    """While nothing can be put aside keys stay in memory, and leave it once there is room."""
    blobs = _Full()
    seen = SeenSpans(blobs, HORIZON)
    panes = 20_000 * 2 // keys_a_pane
    batches = [
        _identified([pane * KEY_PANE_NS] * keys_a_pane, np.arange(keys_a_pane, dtype=np.uint64), [0] * keys_a_pane)
        for pane in range(panes)
    ]
    for batch in batches:
        assert seen.admit(batch).fresh is None
    end_ns = panes * KEY_PANE_NS
    for _ in range(3):
        with pytest.raises(TransientError):
            seen.retire(end_ns)
    assert [seen.admit(batch).duplicates for batch in batches] == [keys_a_pane] * panes
    blobs.full = False
    while seen.retire(end_ns):
        pass
    assert seen.keys == panes * keys_a_pane
    assert seen.memory_bytes == 0
    assert [seen.admit(batch).duplicates for batch in batches] == [keys_a_pane] * panes


def test_undo_on_a_full_disk_can_be_done_again() -> None:
    """Taking retired keys back needs room on disk; what was done before it ran out is not done twice."""
    blobs = _Full()
    blobs.full = False
    seen = SeenSpans(blobs, HORIZON)
    keys = np.arange(450_000, dtype=np.uint64)
    ((pane, _),) = seen.admit(_identified([0] * len(keys), keys, [0] * len(keys))).undo
    while seen.retire(KEY_PANE_NS):
        pass
    first, last = (np.frombuffer(blobs._blobs[number], np.uint64) for number in sorted(blobs._blobs))
    blobs.full = True
    with pytest.raises(TransientError):  # The last blob goes, which takes no room; the first becomes smaller.
        seen._runs.remove(pane, np.concatenate((first[:1], last)))
    assert seen.keys == len(first)
    blobs.full = False
    seen._runs.remove(pane, first[:2])
    assert seen.keys == len(first) - 2


SPANS = st.lists(
    st.tuples(
        st.integers(0, 14), st.one_of(st.integers(0, 40), st.integers(0, 2**64 - 1), st.just(0)), st.integers(1, 3)
    ),
    max_size=30,
)


class SeenMachine(RuleBasedStateMachine):
    """`SeenSpans` beside a set of pairs of pane and key."""

    def __init__(self) -> None:
        super().__init__()
        self.blobs = MemoryBlobs()
        self.seen = SeenSpans(self.blobs, HORIZON)
        self.model: set[tuple[int, int]] = set()
        self.floor = 0
        self.watermark_ns = 0
        self.unsettled: list[tuple[Undo, set[tuple[int, int]]]] = []

    @rule(spans=SPANS)
    def admit(self, spans: list[Span]) -> None:
        """New are spans that are not in the set, or of panes that are forgotten."""
        expected, new = list[bool](), set[tuple[int, int]]()
        for pane, key, rows in spans:
            known = pane >= self.floor and (pane, key) in self.model | new
            expected += [not known] * rows
            if pane >= self.floor and not known:
                new.add((pane, key))
        admitted = self.seen.admit(batch_of(spans))
        assert (None if all(expected) else expected) == (None if admitted.fresh is None else admitted.fresh.tolist())
        self.model |= new
        self.unsettled.append((admitted.undo, new))

    @rule(first=st.integers(0, 10**6), pane=st.integers(0, 14), count=st.sampled_from([5_000, 9_000, 20_000]))
    def admit_many(self, first: int, pane: int, count: int) -> None:
        """Enough keys for blobs of their own."""
        keys = np.arange(first, first + count, dtype=np.uint64)
        admitted = self.seen.admit(_identified([pane * KEY_PANE_NS] * count, keys, [0] * count))
        if pane >= self.floor:
            new = {(pane, key) for key in keys.tolist()} - self.model
            assert admitted.duplicates == count - len(new)
            self.model |= new
            self.unsettled.append((admitted.undo, new))

    @precondition(lambda self: self.unsettled)
    @rule(data=st.data())
    def undo(self, data: st.DataObject) -> None:
        """What is undone is as if it had never been admitted."""
        token, new = self.unsettled.pop(data.draw(st.integers(0, len(self.unsettled) - 1)))
        self.seen.undo(token)
        self.model -= new

    @rule(panes=st.integers(0, 5), everything=st.booleans())
    def retire(self, panes: int, everything: bool) -> None:  # noqa: FBT001
        """Where keys are makes no difference."""
        self.watermark_ns += panes * KEY_PANE_NS
        while self.seen.retire(self.watermark_ns) and everything:
            pass

    @rule()
    def forget(self) -> None:
        """Panes behind the horizon are gone."""
        self.seen.forget(self.watermark_ns)
        self.floor = max(self.floor, (self.watermark_ns - HOUR_NS) // KEY_PANE_NS)
        self.model = {(pane, key) for pane, key in self.model if pane >= self.floor}
        self.unsettled.clear()

    @rule(restart=st.booleans())
    def state(self, restart: bool) -> None:  # noqa: FBT001
        """All of it comes back from the state."""
        self.unsettled.clear()
        tree = through_bytes(self.seen.state())
        if restart:
            self.seen = SeenSpans(self.blobs, HORIZON)
            self.seen.restore(tree)

    @invariant()
    def keys_are_counted(self) -> None:
        """No key of a pane that is kept is missing; some of forgotten panes may share an hour with kept ones."""
        assert self.seen.keys >= len(self.model)


SeenMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
test_seen_spans_are_a_set = SeenMachine.TestCase
