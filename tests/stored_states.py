"""Stored state as tests need it: through bytes and back, and damaged in all kinds of ways."""

import random
from collections.abc import Callable

import numpy as np
import pyarrow as pa

from driftmeter.errors import DamagedError
from driftmeter.model.bundle import Tree, pack, unpack

_JUNK: tuple[Tree, ...] = (
    None,
    True,
    -1,
    2**70,
    0.5,
    float("nan"),
    "junk",
    b"junk",
    [],
    [1],
    {},
    {"junk": 1},
    np.zeros(3, np.int64),
    np.full((2, 2), 7, np.int8),
    pa.record_batch([pa.array([1])], ["junk"]),
)


def again(tree: Tree) -> Tree:
    """The tree as a restarted service reads it."""
    return unpack(memoryview(b"".join(pack(tree))))


def damaged(tree: Tree, rng: random.Random) -> Tree:
    """The tree with one of its nodes replaced by something else, or gone."""
    if isinstance(tree, dict) and tree and rng.random() < 0.9:
        name = rng.choice(list(tree))
        if rng.random() < 0.2:
            return {key: value for key, value in tree.items() if key != name}
        return tree | {name: damaged(tree[name], rng)}
    if isinstance(tree, list) and tree and rng.random() < 0.8:
        place = rng.randrange(len(tree))
        return [*tree[:place], damaged(tree[place], rng), *tree[place + 1 :]]
    return rng.choice(_JUNK)


def assert_damage_is_named(tree: Tree, restore: Callable[[Tree], object], seed: int) -> None:
    """Whatever is wrong with a state, restoring it works all the same or raises DamagedError."""
    rng = random.Random(seed)  # noqa: S311  # Not for secrets.
    for _ in range(40):
        try:
            restore(damaged(tree, rng))
        except DamagedError:
            continue
