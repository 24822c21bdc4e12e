"""What methods read of the fine bins, made in one pass for all columns and windows: sums by group, running shares.

And how far the running shares of what is drawn from the expected counts lie from these.
"""

import numpy as np
import numpy.typing as npt

from driftmeter.model.compiled import frozen, kernel

Floats = npt.NDArray[np.float64]


def curves(expected: Floats, observed: Floats, starts: npt.NDArray[np.int64]) -> tuple[Floats, Floats, Floats]:
    """`gap`, `gap_before` and `pooled` of `MethodSpec`, float64 (w, bins) each.

    Counts are summed before they are divided, so that whole numbers add up exactly, the last share of a column is
    exactly 1, and equal counts give exactly 0. nan in columns where either side has no rows.

    Args:
        expected: float64 (1 or w, bins): baseline counts.
        observed: float64 (w, bins): window counts.
        starts: int64 (columns,): each column's first bin, ascending from 0.
    """
    gap, gap_before, pooled = (np.empty(observed.shape) for _ in range(3))
    bounds = np.append(starts, observed.shape[1])
    _fill(frozen(expected), frozen(observed), frozen(bounds), gap, gap_before, pooled)
    return gap, gap_before, pooled


@kernel
def _fill(
    expected: Floats,
    observed: Floats,
    bounds: npt.NDArray[np.int64],
    gap: Floats,
    gap_before: Floats,
    pooled: Floats,
) -> None:
    for window in range(observed.shape[0]):
        e, o = expected[window % expected.shape[0]], observed[window]
        for column in range(len(bounds) - 1):
            first, last = bounds[column], bounds[column + 1]
            rows_e, rows_o = 0.0, 0.0
            for place in range(first, last):
                rows_e += e[place]
                rows_o += o[place]
            below_e, below_o, before = 0.0, 0.0, 0.0
            for place in range(first, last):
                below_e += e[place]
                below_o += o[place]
                here = below_e / rows_e - below_o / rows_o
                gap_before[window, place] = before
                gap[window, place] = here
                pooled[window, place] = (below_e + below_o) / (rows_e + rows_o)
                before = here


@kernel
def add_by_group(counts: Floats, group: npt.NDArray[np.int64], sums: Floats) -> None:
    """Add up counts (w, bins) by the group of each bin, int64 (bins,), into sums (w, groups)."""
    for window in range(counts.shape[0]):
        for place in range(counts.shape[1]):
            sums[window, group[place]] += counts[window, place]


@kernel
def draw_gaps(below: Floats, width: Floats, bounds: npt.NDArray[np.int64], uniforms: Floats, found: Floats) -> None:
    """Means over draws: of the squares of the largest gap and of the area between both sides, and of the squared gap.

    The share of a draw's numbers below F is the running share G of a window whose rows are drawn by inversion of F, so
    nothing has to be counted.

    Args:
        below: float64 (bins,): F at the right edges.
        width: float64 (bins,): widths of the bins, feature units.
        bounds: int64 (columns + 1,): each column's first bin, and one after the last.
        uniforms: float64 (draws, rows): numbers in [0, 1), ascending in each draw.
        found: float64 (3, columns): added to: (max |F - G|)², (∫ |F - G| dx)² and ∫ (F - G)² dx.
    """
    draws, rows = uniforms.shape
    for column in range(len(bounds) - 1):
        for draw in range(draws):
            numbers, count = uniforms[draw], 0
            left, largest, area, squared = 0.0, 0.0, 0.0, 0.0
            for place in range(bounds[column], bounds[column + 1]):
                while count < rows and numbers[count] < below[place]:
                    count += 1
                right = below[place] - count / rows
                largest = max(largest, abs(right))
                # A line from left to right has mean magnitude (|left| + |right|) / 2, less where it changes its sign.
                both = abs(left) + abs(right)
                crossing = left * right / both if left * right < 0 else 0.0
                area += width[place] * (both / 2 + crossing)
                squared += width[place] * (left * left + left * right + right * right) / 3
                left = right
            found[0, column] += largest * largest / draws
            found[1, column] += area * area / draws
            found[2, column] += squared / draws
