"""Contents of whole rows, to see how many rows repeat another one: a bounded sample that is mergeable.

Each content has a hash of 64 bits, the same in all windows. Kept are the smallest hashes, and how many rows have each:
a hash among the smallest of all is among the smallest of every part that has it, so counts of kept ones are exact
however rows are cut and ordered. Hashes are even over their range, so the kept ones are a sample of distinct contents
in which each is as likely as any other, and the largest kept one says how many there are in all.

Z. Bar-Yossef et al., Counting distinct elements in a data stream, 2002, https://doi.org/10.1007/3-540-45726-7_1
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from driftmeter.errors import DamagedError
from driftmeter.model.compiled import frozen, kernel

CONTENTS_MAX = 1_024
"""Contents kept of a window, 16 bytes each. Up to so many distinct ones all is exact; beyond, the standard error of the
number of distinct rows is 1/32 of it at most, and none where no row repeats another."""

Hashes = npt.NDArray[np.uint64]

_RANGE = 2.0**64
_STANDARD_ERRORS = 4


@dataclass(frozen=True, eq=False)
class Contents:
    """The smallest hashes of one window's rows. Never changes.

    Attributes:
        hashes: uint64 (k,), ascending, k <= `CONTENTS_MAX`.
        rows: uint64 (k,): how many rows have each.
    """

    hashes: Hashes
    rows: npt.NDArray[np.uint64]

    @classmethod
    def of(cls, hashes: Hashes, known: "Contents") -> "Contents":
        """What `known` becomes with further rows, given by the hash of each."""
        if len(known.hashes) == CONTENTS_MAX:
            hashes = hashes[hashes <= known.hashes[-1]]
        return _merged(known, Contents(np.sort(hashes), np.ones(len(hashes), np.uint64))) if len(hashes) else known

    def merged(self, other: "Contents") -> "Contents":
        """Of the rows of both."""
        if not (len(self.hashes) and len(other.hashes)):
            return self if len(self.hashes) else other
        return _merged(self, other)

    def repeated(self, rows: int) -> int | None:
        """How many of a window's rows have the content of another one before them: rows less distinct rows.

        Estimated beyond `CONTENTS_MAX` distinct ones: by how often the sampled contents occur, which is without error
        where no row repeats another; unless the number of distinct ones by the largest hash contradicts it, as when a
        few contents that are not in the sample make up much of the window.

        Args:
            rows: Rows of the window.

        Returns:
            Their number; None when not all of the rows were looked at as a whole.
        """
        kept, seen = len(self.hashes), int(self.rows.sum())
        if kept < CONTENTS_MAX:
            return rows - kept if seen == rows else None
        by_rows = rows * kept / seen
        by_hash = (kept - 1) * _RANGE / max(float(self.hashes[-1]), 1.0)
        contradicted = abs(by_rows - by_hash) > _STANDARD_ERRORS * by_hash / math.sqrt(kept)
        return rows - min(rows, round(by_hash if contradicted else by_rows))


NO_CONTENTS = Contents(np.empty(0, np.uint64), np.empty(0, np.uint64))


def contents_state(contents: Sequence[Contents]) -> dict[str, npt.NDArray[np.generic]]:
    """Those of several windows as arrays by name, for `contents_from_state`."""
    return {
        "content_hashes": np.concatenate([each.hashes for each in contents]),
        "content_rows": np.concatenate([each.rows for each in contents]),
        "content_ends": np.cumsum([len(each.hashes) for each in contents], dtype=np.int64),
    }


def contents_from_state(tree: Mapping[str, object], windows: int) -> list[Contents]:
    """Those of so many windows, in arrays of their own. Raises DamagedError for what `contents_state` never gives."""
    match tree.get("content_hashes"), tree.get("content_rows"), tree.get("content_ends"):
        case np.ndarray() as hashes, np.ndarray() as rows, np.ndarray() as ends:
            right = hashes.dtype == rows.dtype == np.uint64 and ends.dtype == np.int64
            right = right and hashes.ndim == ends.ndim == 1 and hashes.shape == rows.shape and len(ends) == windows
        case _:
            right = False
    if not right:
        raise DamagedError("stored contents of rows are not arrays of hashes and counts")
    sizes = np.diff(ends, prepend=0)
    if len(ends) and (sizes.min() < 0 or sizes.max() > CONTENTS_MAX or ends[-1] != len(hashes)):
        raise DamagedError("stored contents of rows are of other windows")
    starts = ends - sizes
    ascending = np.concatenate(([True], hashes[1:] > hashes[:-1]))
    ascending[starts[starts < len(hashes)]] = True
    if not ascending.all():
        raise DamagedError("stored contents of rows are not in order")
    parts = zip(starts.tolist(), ends.tolist(), strict=True)
    return [Contents(hashes[start:end].copy(), rows[start:end].copy()) for start, end in parts]


def _merged(one: Contents, other: Contents) -> Contents:
    """The smallest of both; a hash may stand several times in `other`."""
    hashes, rows = np.empty(CONTENTS_MAX, np.uint64), np.empty(CONTENTS_MAX, np.uint64)
    first, second = (frozen(one.hashes), frozen(one.rows)), (frozen(other.hashes), frozen(other.rows))
    size = merge_smallest(*first, *second, hashes, rows)
    return Contents(hashes[:size].copy(), rows[:size].copy()) if size < CONTENTS_MAX else Contents(hashes, rows)


@kernel
def merge_smallest(
    hashes: Hashes, rows: Hashes, other_hashes: Hashes, other_rows: Hashes, into_hashes: Hashes, into_rows: Hashes
) -> int:
    """Merge two ascending tables into one of the smallest hashes, each once; returns how many there are.

    Args:
        hashes: uint64 (k,).
        rows: uint64 (k,): how many rows have each.
        other_hashes: uint64 (n,).
        other_rows: uint64 (n,).
        into_hashes: uint64 (most,): what is merged into, at most so many.
        into_rows: uint64 (most,).
    """
    i = k = size = 0
    while i < len(hashes) or k < len(other_hashes):
        from_other = i == len(hashes) or (k < len(other_hashes) and other_hashes[k] < hashes[i])
        found = other_hashes[k] if from_other else hashes[i]
        count = other_rows[k] if from_other else rows[i]
        i, k = i + int(not from_other), k + int(from_other)
        if size > 0 and into_hashes[size - 1] == found:
            into_rows[size - 1] += count
        elif size == len(into_hashes):
            break
        else:
            into_hashes[size], into_rows[size] = found, count
            size += 1
    return size
