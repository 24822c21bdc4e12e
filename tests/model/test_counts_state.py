"""Counts as trees of arrays, and back."""

from typing import Any

import numpy as np
import pytest

from driftmeter.errors import DamagedError
from driftmeter.model.bins import CategoryBins
from driftmeter.model.counts import Counts, PackedCounts, stack
from driftmeter.summary.fold import fold
from rows import assert_same_counts, layout_of, predictions

LAYOUT = layout_of({"x": [0.0, 1.0, 2.0], "c": CategoryBins(("a", "b"))}, 0.3)


def some_counts(windows: int = 1) -> Counts:
    """Counts of a few rows in some windows."""
    counts = Counts.zeros(LAYOUT, windows)
    batch = predictions(range(5), {"x": [-5.0, 0.1, None, 1e300, 2.0], "c": ["a", "new", None, "b", "a"]})
    fold(LAYOUT, batch.rows, np.arange(5, dtype=np.int32) % windows, counts)
    return counts


def frozen(tree: dict[str, Any]) -> dict[str, Any]:
    """The same tree of read-only copies, as it comes out of storage."""
    copies = {name: array.copy() for name, array in tree.items()}
    for array in copies.values():
        array.flags.writeable = False
    return copies


@pytest.mark.parametrize("windows", [1, 3])
def test_dense_counts_come_back_and_go_on(windows: int) -> None:
    """What was restored from read-only arrays is equal, and can be added to without changing what was stored."""
    counts = some_counts(windows)
    tree = frozen(counts.state())
    restored = Counts.from_state(tree, LAYOUT)
    assert_same_counts(restored, counts)
    restored.add(counts)
    counts.add(some_counts(windows))
    assert_same_counts(restored, counts)
    assert_same_counts(Counts.from_state(tree, LAYOUT), some_counts(windows))


def test_state_is_not_changed_by_what_comes_later() -> None:
    """A state taken before an addition stays as it was."""
    counts = some_counts()
    tree = counts.state()
    counts.add(some_counts())
    assert_same_counts(Counts.from_state(tree, LAYOUT), some_counts())


def test_packed_counts_come_back() -> None:
    """What was restored from read-only arrays unpacks to the same counts, and adds like them."""
    counts = some_counts()
    restored = PackedCounts.from_state(frozen(counts.packed().state()), LAYOUT)
    assert_same_counts(restored.dense(LAYOUT), counts)
    total, expected = some_counts(), some_counts()
    total.add(restored)
    expected.add(counts)
    assert_same_counts(total, expected)


def test_packed_counts_of_few_rows_are_small() -> None:
    """Digits and bins that are zero take no room."""
    packed = some_counts().packed()
    assert len(packed.places) == np.count_nonzero(packed.dense(LAYOUT).bins)
    assert len(packed.digits) < 20


def test_stacked_windows_keep_their_order() -> None:
    """Windows of several counts stand one after the other."""
    first, second = some_counts(2), some_counts()
    both = stack([first, second])
    assert_same_counts(both.window(0), first.window(0))
    assert_same_counts(both.window(2), second)


def _without(tree: dict[str, Any], name: str) -> object:
    return {key: value for key, value in tree.items() if key != name}


@pytest.mark.parametrize("kind", [Counts, PackedCounts])
@pytest.mark.parametrize("tree", [None, 1, [], {}, {"rows": "text"}, {"rows": np.zeros((1, 1), np.uint64)}])
def test_other_trees_are_damaged(kind: type[Counts] | type[PackedCounts], tree: object) -> None:
    """Anything that is no tree of counts is refused as damaged."""
    with pytest.raises(DamagedError):
        kind.from_state(tree, LAYOUT)


@pytest.mark.parametrize("name", ["rows", "bins", "tallies", "sums", "extremes", "newest", "dropped", "content_ends"])
def test_dense_counts_of_another_shape_are_damaged(name: str) -> None:
    """Each array has to be there, with its type and shape."""
    tree = some_counts().state()
    for broken in (
        _without(tree, name),
        tree | {name: tree[name].astype(np.complex128)},
        tree | {name: tree[name][..., :0]},
    ):
        with pytest.raises(DamagedError):
            Counts.from_state(broken, LAYOUT)


@pytest.mark.parametrize("name", [name for name, each in some_counts().packed().state().items() if each.size])
def test_packed_counts_of_another_shape_are_damaged(name: str) -> None:
    """Each array has to be there, with its type and shape."""
    tree = some_counts().packed().state()
    for broken in (
        _without(tree, name),
        tree | {name: tree[name].astype(np.complex128)},
        tree | {name: tree[name][..., :-1]},
    ):
        with pytest.raises(DamagedError):
            PackedCounts.from_state(broken, LAYOUT)


@pytest.mark.parametrize("name", ["places", "digit_places"])
@pytest.mark.parametrize("change", ["descending", "beyond", "twice"])
def test_places_outside_or_out_of_order_are_damaged(name: str, change: str) -> None:
    """Places decide where in memory is written, so that they are checked."""
    tree = some_counts().packed().state()
    places = tree[name].copy()
    if change == "descending":
        places = places[::-1]
    else:
        places[-1] = places[-2] if change == "twice" else 2**31
    with pytest.raises(DamagedError):
        PackedCounts.from_state(tree | {name: places}, LAYOUT)


@pytest.mark.parametrize("change", ["descending", "twice", "other windows", "too many"])
def test_contents_out_of_order_are_damaged(change: str) -> None:
    """Hashes of a window ascend, are as many as their counts, and no more than are kept."""
    tree = some_counts(2).state()
    if change == "descending":
        tree["content_hashes"] = tree["content_hashes"][::-1].copy()
    elif change == "twice":
        tree["content_hashes"][1] = tree["content_hashes"][0]
    elif change == "other windows":
        tree["content_ends"] = tree["content_ends"] + 1
    else:
        tree["content_hashes"] = np.arange(3_000, dtype=np.uint64)
        tree["content_rows"] = np.ones(3_000, np.uint64)
        tree["content_ends"] = np.array([0, 3_000])
    with pytest.raises(DamagedError):
        Counts.from_state(tree, LAYOUT)
