"""Isolation forest: how odd single rows are."""

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from driftmeter.methods.sampled.random import next_below, next_unit, start
from driftmeter.methods.sampled.spec import Floats, SampledSpec
from driftmeter.model.compiled import jit, kernel

TREES = 100
SUBSAMPLE = 256
"""Rows that each tree is grown on, as the paper has it."""

QUANTILE = 0.995
"""Rows with a score above this quantile of the reference's own are called odd."""

_SEED = 2
_EULER = 0.5772156649015329


@dataclass(frozen=True, eq=False)
class IsolationForest:
    """A forest. Nodes of a tree are numbered from 0, its root.

    Attributes:
        columns: int32 (trees, nodes): column that a node splits by; -1 for leaves.
        limits: float64 (trees, nodes): rows with a value of at most this go to the left.
        left: int32 (trees, nodes): a node's left child; the right one has the next number.
        paths: float64 (trees, nodes): at leaves, splits on the way, and what more would be needed on average.
        usual: c(ψ): the average path in a tree of as many rows as each was grown on.
        limit: Score above which a row is odd: `QUANTILE` of the reference's own; nan when it was not asked.
    """

    columns: npt.NDArray[np.int32]
    limits: Floats
    left: npt.NDArray[np.int32]
    paths: Floats
    usual: float
    limit: float = math.nan

    @classmethod
    def fit(cls, rows: Floats) -> "IsolationForest":
        """Grow a forest."""
        size = min(SUBSAMPLE, len(rows))
        depth_max = int(np.ceil(np.log2(max(size, 2))))
        shape = TREES, 2 ** (depth_max + 1)
        columns, limits = np.full(shape, -1, np.int32), np.zeros(shape)
        left, paths = np.zeros(shape, np.int32), np.zeros(shape)
        used = _grow(rows, size, depth_max, columns, limits, left, paths)
        columns, limits, left, paths = (np.ascontiguousarray(each[:, :used]) for each in (columns, limits, left, paths))
        forest = cls(columns, limits, left, paths, average_path(size))
        return replace(forest, limit=float(np.quantile(forest.scores(rows), QUANTILE)))

    def scores(self, rows: Floats) -> Floats:
        """float64 (n,): 2^(-mean path / c(ψ)), in (0, 1): about 0.5 for usual rows, nearer to 1 for odd ones."""
        paths = np.zeros(len(rows))
        _add_paths(rows, self.columns, self.limits, self.left, self.paths, paths)
        return np.asarray(2.0 ** (-paths / len(self.columns) / max(self.usual, np.finfo(np.float64).tiny)))

    def score(self, rows: Floats) -> float:
        """Share of odd rows."""
        return float((self.scores(rows) > self.limit).mean())


def average_path(rows: int) -> float:
    """c(n) of the paper: the average path to a row in a random tree of n rows, none for one."""
    return float(_average_path(rows))


@kernel
def _average_path(rows: int) -> float:
    if rows <= 1:
        return 0.0
    if rows == 2:  # noqa: PLR2004 - the sum below, exactly.
        return 1.0
    return 2.0 * (math.log(rows - 1.0) + _EULER) - 2.0 * (rows - 1.0) / rows


@jit
def _grow(  # noqa: PLR0913 - kernels take arrays one by one.
    rows: Floats,
    size: int,
    depth_max: int,
    columns: npt.NDArray[np.int32],
    limits: Floats,
    left: npt.NDArray[np.int32],
    paths: Floats,
) -> int:
    """Grow all trees: each node splits by a random column, between its smallest and largest value there.

    Returns the most nodes that a tree has.
    """
    most = 1
    state = start(_SEED)
    order = np.arange(len(rows))
    stack = np.empty((depth_max + 2, 4), np.int64)
    for tree in range(len(columns)):
        for i in range(size):
            other = i + next_below(state, len(order) - i)
            order[i], order[other] = order[other], order[i]
        stack[0, 0], stack[0, 1], stack[0, 2], stack[0, 3] = 0, size, 0, 0
        waiting, nodes = 1, 1
        while waiting > 0:
            waiting -= 1
            first, last, depth, node = stack[waiting]
            column, limit = -1, 0.0
            if depth < depth_max and last - first > 1:
                column, limit = _split(rows, order[first:last], state)
            if column < 0:
                paths[tree, node] = depth + _average_path(last - first)
                continue
            columns[tree, node], limits[tree, node] = column, limit
            middle = first
            for i in range(first, last):
                if rows[order[i], column] <= limit:
                    order[i], order[middle] = order[middle], order[i]
                    middle += 1
            left[tree, node] = nodes
            stack[waiting, 0], stack[waiting, 1], stack[waiting, 3] = first, middle, nodes
            stack[waiting + 1, 0], stack[waiting + 1, 1], stack[waiting + 1, 3] = middle, last, nodes + 1
            stack[waiting, 2] = stack[waiting + 1, 2] = depth + 1
            waiting, nodes = waiting + 2, nodes + 2
        most = max(most, nodes)
    return most


@kernel
def _split(rows: Floats, node: npt.NDArray[np.int64], state: npt.NDArray[np.uint64]) -> tuple[int, float]:
    """A random column in which the rows differ, and a limit between its ends; -1 when some tries found none."""
    for _ in range(2 * rows.shape[1] + 8):
        column = next_below(state, rows.shape[1])
        low = high = rows[node[0], column]
        for row in node:
            value = rows[row, column]
            low, high = min(low, value), max(high, value)
        limit = low + next_unit(state) * (high - low)
        if low < high and low <= limit < high:
            return column, limit
    return -1, 0.0


@kernel
def _add_paths(
    rows: Floats,
    columns: npt.NDArray[np.int32],
    limits: Floats,
    left: npt.NDArray[np.int32],
    paths: Floats,
    into: Floats,
) -> None:
    """Add each row's paths in all trees."""
    for tree in range(len(columns)):
        for row in range(len(rows)):
            node = 0
            while columns[tree, node] >= 0:
                large = rows[row, columns[tree, node]] > limits[tree, node]
                node = int(left[tree, node]) + int(large)
            into[row] += paths[tree, node]


SPEC = SampledSpec(
    key="isolation_forest",
    title="Odd rows by isolation forest",
    fit=IsolationForest.fit,
    share=True,
    all_roles=True,
    unit="share of the sampled rows",
    range=(0.0, 1.0),
    formula=(
        "share of the window's sampled rows with s(x) = 2^(-E h(x) / c(ψ)) above the 99.5th percentile of the"
        " baseline's own: 0.005 without drift; 100 trees on ψ = 256 rows of the baseline's sample each"
    ),
    undefined="Missing values as in `pca_reconstruction`; fewer than 32 rows give no value.",
    cost="O(trees · rows · log ψ), some 3 ms for 512 rows.",
    misleads=(
        "It splits between the baseline's smallest and largest value of a column: a value far beyond is as odd as one"
        " just beyond. Columns that say nothing hide those that do."
    ),
    agrees_with="scikit-learn's score of the same trees, to 1e-12.",
    reference="Liu et al., Isolation forest, ICDM 2008, https://doi.org/10.1109/ICDM.2008.17",
)
