"""Windows go on after a restart as if there had been none."""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftmeter.errors import DamagedError, TransientError
from driftmeter.model.blobs import BlobRef, MemoryBlobs
from driftmeter.model.bundle import Tree, pack, unpack
from driftmeter.model.counts import Counts, PackedCounts
from driftmeter.model.window_counts import WindowCounts
from driftmeter.window import by_time
from driftmeter.window.config import WindowConfig
from driftmeter.window.windows import ModelWindows
from rows import ONE_COLUMN, SECOND_NS, predictions

CONFIG = WindowConfig(
    lengths=("1m", "3m", "7rows"), out_of_orderness="10s", allowed_lateness="5m", idle_after="30s", max_future="5m"
)
OVERLAPPING = CONFIG.model_copy(update={"lengths": ("1m", "3m every 90s", "4m every 1m", "3rows", "6rows every 2rows")})
Step = tuple[str, Any]
Seen = list[tuple[Any, ...]]

BATCH = st.lists(st.tuples(st.integers(-700, 60), st.floats(-2, 5)), max_size=8)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("rows"), BATCH),
        st.tuples(st.just("pass"), st.integers(0, 200)),
        st.tuples(st.just("tick"), st.booleans()),
        st.tuples(st.just("restart"), st.booleans()),
    ),
    max_size=25,
)


def through_bytes(tree: Tree) -> Tree:
    """The tree as it comes back from the disk."""
    return unpack(memoryview(b"".join(pack(tree))))


def told(due: Sequence[WindowCounts]) -> Seen:
    """All that is said of windows, their counts to the bit."""
    return [
        (each.window.name, each.index, each.start_ns, each.end_ns, each.revision, *_bits(each.counts)) for each in due
    ]


def _bits(counts: Counts | PackedCounts) -> list[bytes]:
    return [array.tobytes() for array in counts.dense(ONE_COLUMN).state().values()]


def run(config: WindowConfig, steps: Sequence[Step], *, restarts: bool, idle_ticks: bool = True) -> tuple[Seen, int]:
    """What windows tell along the steps, and the number of late rows; rows are relative to the clock."""
    blobs, now = MemoryBlobs(), 10_000
    windows = ModelWindows(ONE_COLUMN, config, blobs)
    seen: Seen = []
    late = 0
    for what, how in steps:
        if what == "rows":
            times = [(now + second) * SECOND_NS for second, _ in how]
            more, due = windows.add(predictions(times, {"x": [value for _, value in how]}), now * SECOND_NS)
            seen, late = seen + told(due), late + more
        elif what == "pass":
            now += how
        elif what == "tick" and (how or idle_ticks):
            seen += told(windows.tick(now * SECOND_NS, revise=how))
        elif what == "restart" and restarts:
            tree = windows.state()
            if how:
                windows = ModelWindows(ONE_COLUMN, config, blobs)
                windows.restore(through_bytes(tree))
    return seen + told(windows.drain(everything=True)), late


@pytest.mark.parametrize("at_a_time", [16_000_000, 1])
@pytest.mark.parametrize("config", [CONFIG, OVERLAPPING])
@pytest.mark.parametrize("clock", ["wall", "data"])
@settings(max_examples=75, deadline=None)
@given(steps=STEPS)
def test_restarts_make_no_difference(clock: str, config: WindowConfig, at_a_time: int, steps: list[Step]) -> None:
    """State taken, and restored, at any moments: the same windows with the same counts, indices and revisions."""
    config = config.model_copy(update={"clock": clock})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(by_time, "_CELLS_AT_A_TIME", at_a_time)
        assert run(config, steps, restarts=True) == run(config, steps, restarts=False)


@pytest.mark.parametrize("config", [CONFIG, OVERLAPPING])
@settings(max_examples=100, deadline=None)
@given(steps=STEPS)
def test_ticks_without_revisions_make_no_difference(config: WindowConfig, steps: list[Step]) -> None:
    """Batches with the same clock readings: the same windows and late rows, whatever ticks there were in between.

    A window that is told by a tick may so be told before others, but not before earlier revisions of its own.
    """
    steps = [*steps, ("pass", 2_000), ("tick", True)]
    with_ticks, late = run(config, steps, restarts=False)
    without, late_without = run(config, steps, restarts=False, idle_ticks=False)
    for name in config.lengths:
        starts = {each[2] for each in with_ticks + without if each[0] == name}
        for start in starts:
            expected = [each for each in with_ticks if (each[0], each[2]) == (name, start)]
            assert [each for each in without if (each[0], each[2]) == (name, start)] == expected
    assert late_without == late


@pytest.mark.parametrize("config", [CONFIG, OVERLAPPING])
@settings(max_examples=100, deadline=None)
@given(steps=STEPS, jumps=st.lists(st.integers(-500, 500), min_size=25, max_size=25))
def test_ticks_that_do_nothing_need_not_be_replayed(config: WindowConfig, steps: list[Step], jumps: list[int]) -> None:
    """By a clock that jumps: rows, and the ticks that told windows or moved the watermark, give the same again."""
    windows = ModelWindows(ONE_COLUMN, config)
    inputs: list[tuple[Any, ...]] = []
    now, outputs = 10_000, list[tuple[Seen, int]]()
    for (what, how), jump in zip(steps, jumps, strict=False):
        now += jump
        if what == "rows":
            batch = predictions([(now + at) * SECOND_NS for at, _ in how], {"x": [value for _, value in how]})
            inputs.append((batch, now))
            late, due = windows.add(batch, now * SECOND_NS)
            outputs.append((told(due), late))
        elif what == "tick":
            before = windows.watermark.value_ns
            due = windows.tick(now * SECOND_NS, revise=how)
            if due or windows.watermark.value_ns != before:
                inputs.append((how, now))
                outputs.append((told(due), 0))
    again = ModelWindows(ONE_COLUMN, config)
    for (what, now), (expected, late) in zip(inputs, outputs, strict=True):
        if isinstance(what, bool):
            assert told(again.tick(now * SECOND_NS, revise=what)) == expected
        else:
            more, due = again.add(what, now * SECOND_NS)
            assert (told(due), more) == (expected, late)
    assert told(again.drain(everything=True)) == told(windows.drain(everything=True))


def test_state_does_not_change_afterwards() -> None:
    """What was told before more rows came is what was so then."""
    windows = ModelWindows(ONE_COLUMN, CONFIG)
    windows.add(predictions([0, 1], {"x": [1.0, 2.0]}), 0)
    windows.add(predictions([100 * SECOND_NS], {"x": [1.0]}), 100 * SECOND_NS)
    tree = windows.state()
    before = b"".join(pack(tree))
    for second in (3, 101, 200, 400):
        windows.add(predictions([second * SECOND_NS], {"x": [0.5]}), second * SECOND_NS)
        windows.tick(second * SECOND_NS, revise=True)
    assert b"".join(pack(tree)) == before


def evaluated(blobs: MemoryBlobs) -> ModelWindows:
    """A model whose first minute has been evaluated and has left memory."""
    windows = ModelWindows(ONE_COLUMN, CONFIG.model_copy(update={"clock": "data", "lengths": ("1m",)}), blobs)
    windows.add(predictions([0, 70 * SECOND_NS], {"x": [1.5, 1.5]}), 0)
    windows.spill()
    return windows


def test_evaluated_windows_are_in_blobs_until_they_are_over() -> None:
    """One blob a window; a late row takes it back, the next evaluation makes another, and in the end it is released."""
    blobs = MemoryBlobs()
    windows = evaluated(blobs)
    assert list(blobs._blobs) == [0]
    windows.add(predictions([1], {"x": [1.5]}), 0)
    due = windows.tick(0, revise=True)
    assert [(each.revision, int(each.counts.rows[0])) for each in due] == [(1, 2)]
    assert list(blobs._blobs) == []
    windows.spill()
    assert list(blobs._blobs) == [1]
    windows.add(predictions([370 * SECOND_NS], {"x": [1.5]}), 0)
    assert list(blobs._blobs) == []


def test_damaged_blob_costs_its_window_alone(caplog: pytest.LogCaptureFixture) -> None:
    """A window whose counts cannot be read is not evaluated again; the rest goes on, and the log says so."""
    blobs = MemoryBlobs()
    windows = evaluated(blobs)
    blobs._blobs[0] = b"what is this"
    windows.add(predictions([1, 2], {"x": [1.5, 1.5]}), 0)
    with caplog.at_level(logging.ERROR):
        assert windows.tick(0, revise=True) == []
    assert caplog.messages == ["counts of a window are lost: nothing more is said of it"]
    windows.restore(through_bytes(windows.state()))
    windows.add(predictions([3], {"x": [1.5]}), 0)
    assert windows.tick(0, revise=True) == []
    assert [(each.start_ns, int(each.counts.rows[0])) for each in windows.drain(everything=True)] == [
        (60 * SECOND_NS, 1)
    ]


def test_damaged_part_costs_the_windows_that_have_it(caplog: pytest.LogCaptureFixture) -> None:
    """Of windows that overlap, those with the lost part are not told; it is said once, and the others go on."""
    blobs = MemoryBlobs()
    config = CONFIG.model_copy(update={"clock": "data", "lengths": ("3m every 1m",)})
    windows = ModelWindows(ONE_COLUMN, config, blobs)
    windows.add(predictions([0, 60 * SECOND_NS, 130 * SECOND_NS], {"x": [1.5] * 3}), 0)
    windows.spill()
    first = min(blobs._blobs)
    blobs._blobs[first] = b"damaged"
    with caplog.at_level(logging.ERROR):
        _, due = windows.add(predictions([500 * SECOND_NS], {"x": [1.5]}), 0)
    assert [(each.start_ns, int(each.counts.rows[0])) for each in due] == [
        (60 * SECOND_NS, 2),
        (120 * SECOND_NS, 1),
    ]
    assert caplog.messages == ["counts of a window are lost: nothing more is said of it"]
    assert windows.tick(0, revise=True) == []


class _Unreadable(MemoryBlobs):
    """Blobs that cannot be read for a while."""

    failing = True

    def get(self, ref: BlobRef) -> memoryview:
        """The bytes, or the error of a disk that is away."""
        if self.failing:
            raise TransientError("not now")
        return super().get(ref)


def test_windows_wait_for_blobs_that_cannot_be_read_now() -> None:
    """Nothing is counted twice by the attempt, and nothing is lost."""
    blobs = _Unreadable()
    windows = evaluated(blobs)
    windows.add(predictions([1], {"x": [1.5]}), 0)
    assert windows.tick(0, revise=True) == []
    assert windows.add(predictions([140 * SECOND_NS], {"x": [1.5]}), 0) == (0, [])
    blobs.failing = False
    due = windows.tick(0, revise=True)
    assert [(each.start_ns, each.revision, int(each.counts.rows[0])) for each in due] == [
        (0, 1, 2),
        (60 * SECOND_NS, 0, 1),
    ]


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_state_with_a_part_exchanged_is_damaged_or_a_state(data: st.DataObject) -> None:
    """Whatever stands in place of a part of the state, restoring it works or says that it is damaged."""
    blobs = MemoryBlobs()
    windows = ModelWindows(ONE_COLUMN, OVERLAPPING, blobs)
    for second in (0, 100, 50, 200):
        windows.add(predictions([second * SECOND_NS], {"x": [0.5]}), second * SECOND_NS)
    tree = windows.state()
    by_time, by_rows = tree["by_time"], tree["by_rows"]
    kept = by_time["windows"][1]
    parts = [tree, by_time, kept, kept["parts"], by_time["counts"][0], *by_rows, by_rows[1]["full"][0]]
    part = parts[data.draw(st.integers(0, len(parts) - 1))]
    odd: list[Any] = [
        None,
        1,
        "x",
        [],
        [1],
        {},
        np.zeros(3),
        np.zeros((2, 3), np.int64),
        np.full((1, 4), 9),
        np.int8(1),
    ]
    part[data.draw(st.sampled_from(sorted(part)))] = odd[data.draw(st.integers(0, len(odd) - 1))]
    try:
        ModelWindows(ONE_COLUMN, OVERLAPPING, blobs).restore(tree)
    except DamagedError:
        return


def test_batch_that_cannot_be_folded_changes_nothing() -> None:
    """A batch with an impossible mismatch fails as a whole, wherever its rows would have gone."""
    broken = predictions([0, 70 * SECOND_NS, 130 * SECOND_NS], {"x": [1.0, 1.0, 1.0]}, {"x": [77]})
    for config in (CONFIG, CONFIG.model_copy(update={"lengths": ("5m", "2rows")})):
        windows = ModelWindows(ONE_COLUMN, config)
        windows.add(predictions([1], {"x": [1.5]}), 0)
        before = b"".join(pack(windows.state()))
        with pytest.raises((IndexError, ValueError)):
            windows.add(broken, 0)
        assert b"".join(pack(windows.state())) == before
