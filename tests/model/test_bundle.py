"""Bundles: every tree comes back bit for bit; damaged bytes are refused and nothing else."""

import tracemalloc
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings

from driftmeter.errors import DamagedError
from driftmeter.model.bundle import Tree, pack, unpack
from trees import same, trees


def _bytes(tree: Tree) -> bytes:
    return b"".join(pack(tree))


def _aligned(data: bytes, offset: int = 0) -> memoryview:
    """These bytes at an address that is so much beyond a multiple of 8."""
    space = np.zeros(len(data) + 16, np.uint8)
    first = -space.ctypes.data % 8 + offset
    space[first : first + len(data)] = np.frombuffer(data, np.uint8)
    return space[first : first + len(data)].data


def _head(skeleton: str) -> bytes:
    """The start of a bundle with this skeleton."""
    data = skeleton.encode()
    data += b" " * (-len(data) % 8)
    return b"DMB1" + len(data).to_bytes(4, "little") + data


@given(trees())
def test_trees_come_back_bit_for_bit(tree: Tree) -> None:
    """What is unpacked equals what was packed, in types, order and every bit; sizes are multiples of 8."""
    data = _bytes(tree)

    assert same(unpack(memoryview(data)), tree)
    assert len(data) % 8 == 0


@given(trees(), st.integers(1, 7))
def test_bundles_may_lie_anywhere_in_memory(tree: Tree, offset: int) -> None:
    """Bytes that do not start at a multiple of 8 are read as well, and arrays are aligned all the same."""
    assert same(unpack(_aligned(_bytes(tree), offset)), tree)
    array = unpack(_aligned(_bytes(np.arange(3)), offset))
    assert isinstance(array, np.ndarray)
    assert array.flags.aligned


@settings(max_examples=300)
@given(trees(), st.data())
def test_damaged_bytes_are_refused_or_another_tree(tree: Tree, data: st.DataObject) -> None:
    """Cut or changed bytes raise DamagedError or give some tree whose every value can be read; nothing else."""
    good = _bytes(tree)
    cut = bytearray(good[: data.draw(st.integers(0, len(good)))])
    if cut:
        for _ in range(data.draw(st.integers(0, 3))):
            place = data.draw(st.integers(0, len(cut) - 1))
            cut[place] ^= data.draw(st.integers(1, 255))
    try:
        read = unpack(memoryview(bytes(cut)))
    except DamagedError:
        return

    assert same(read, read)


@given(st.binary(max_size=100), st.text('[]{}":,0123456789.eabdri-<f8 ', max_size=60))
def test_any_bytes_are_refused_or_a_tree(data: bytes, skeleton: str) -> None:
    """Bytes that were never packed raise DamagedError or give a tree; nothing else."""
    for hostile in (data, _head(skeleton) + data):
        try:
            unpack(memoryview(hostile))
        except DamagedError:
            continue


@pytest.mark.parametrize(
    "skeleton",
    [
        '{"":["a","<f8",[1073741824]]}',
        '{"":["a","<f8",[4611686018427387904,4611686018427387904]]}',
        '{"":["a","<f8",[0,99999999999999999999999999]]}',
        '{"":["a","<f8",[-1]]}',
        '{"":["a","<f8",[true]]}',
        '{"":["a","O",[1]]}',
        '{"":["a","<U1000000000",[1]]}',
        '{"":["a","<f8",' + str([1] * 100) + "]}",
        '{"":["b",1073741824]}',
        '{"":["b",-8]}',
        '{"":["b",null]}',
        '{"":["r",8]}',
        '{"":["r",0]}',
        '{"":["i","nothing"]}',
        '{"":["d",[["a",1],["b"]]]}',
        '{"":["d",[[1,1]]]}',
        '{"":["a","<f8",[1]],"b":1}',
        '{"":["x"]}',
        '{"":null}',
        "[" * 100_000,
        '{"a":' * 100_000,
        "1" * 10_000,
        "",
        "nul",
        '"\\ud800',
    ],
)
def test_hostile_skeletons_are_refused_cheaply(skeleton: str) -> None:
    """A skeleton that names what is not there is refused, and nothing is allocated for what it names."""
    data = memoryview(_head(skeleton) + bytes(8))
    tracemalloc.start()
    with pytest.raises(DamagedError):
        unpack(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 100 * len(data) + 100_000


def test_bytes_named_twice_are_not_there_twice() -> None:
    """Each buffer is its own bytes: a small bundle cannot stand for many copies of them."""
    data = _head("[" + ",".join(['{"":["b",1024]}'] * 100) + "]") + bytes(1024)

    with pytest.raises(DamagedError, match="ends before"):
        unpack(memoryview(data))


def test_nothing_may_follow_a_bundle() -> None:
    """Bytes that the skeleton does not name are damage."""
    with pytest.raises(DamagedError, match="names"):
        unpack(memoryview(_bytes([1]) + bytes(8)))


@pytest.mark.parametrize("tree", [(1, 2), {1: 2}, {"a": {1}}, np.array(["a"]), np.array([None]), object(), b"".join])
def test_other_things_cannot_be_packed(tree: Any) -> None:
    """What would not come back the same is refused when it is packed."""
    with pytest.raises(TypeError):
        pack(tree)


def test_integers_and_depths_beyond_json() -> None:
    """Integers of thousands of digits and nesting of a hundred levels survive."""
    tree: Tree = [3**20_000, -(1 << 63), 1 << 63]
    for _ in range(100):
        tree = {"a": [tree]}

    assert same(unpack(memoryview(_bytes(tree))), tree)


def test_arrays_are_views_of_what_is_read_and_written() -> None:
    """Neither packing nor unpacking copies an array, and what is read cannot be written to."""
    array = np.arange(1000.0)
    parts = pack({"array": array, "rows": pa.record_batch({"x": array})})
    assert any(np.shares_memory(np.frombuffer(part, np.uint8), array) for part in parts)

    data = np.frombuffer(_aligned(b"".join(parts)), np.uint8)
    tree = unpack(data.data)

    assert isinstance(tree, dict)
    assert np.shares_memory(tree["array"], data)
    assert not tree["array"].flags.writeable
    assert np.shares_memory(tree["rows"].column(0).to_numpy(), data)


def test_a_slice_leaves_its_parent_behind() -> None:
    """Rows cut out of many are packed without the others."""
    texts = [f"text {number}" for number in range(10_000)]
    parent = pa.record_batch({"number": np.arange(10_000.0), "text": texts})

    data = _bytes(parent.slice(5000, 2))

    assert len(data) < 1000
    assert unpack(memoryview(data)) == parent.slice(5000, 2)
