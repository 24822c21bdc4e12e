"""Independent rows drawn as counts: a hundred thousand rows a window and a thousand columns cost what a few rows do."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import special

from accuracy.engine import KEY
from driftmeter.baseline.chunks import ChunkCounts, Cut, chunk_tables, column_chunks
from driftmeter.baseline.edges import numeric_bins
from driftmeter.baseline.noise import noise_per_row
from driftmeter.model.baseline import Baseline, ColumnBaseline, blocks_of
from driftmeter.model.bins import CategoryBins, NumericBins
from driftmeter.model.columns import Column, Role
from driftmeter.model.counts import Counts
from driftmeter.model.layout import Layout
from driftmeter.model.window_counts import WindowCounts
from driftmeter.model.windows import WindowLength

Floats = npt.NDArray[np.float64]

CATEGORIES = 20
_SAMPLE_ROWS = 20_000
_BATCH_CELLS = 8_000_000


@dataclass(frozen=True, eq=False)
class Drawn:
    """A baseline of independent rows, and where more such rows come from.

    Attributes:
        baseline: The baseline.
        shares: Per column, float64 (bins,): probability of each bin.
    """

    baseline: Baseline
    shares: tuple[Floats, ...]


def numeric_columns(columns: int) -> int:
    """How many of so many columns are numeric; the others have 20 categories."""
    return max(columns // 20, min(5, columns))


def draw_baseline(rng: np.random.Generator, columns: int, rows: int, window: WindowLength, chunks: int) -> Drawn:
    """A baseline of `chunks` windows of so many rows, made by the service's code from counts.

    Numeric columns are normal, categorical ones have shares of 1, 1/2, 1/3, … A column's smallest and largest value are
    drawn too, since its outermost edges are there.
    """
    starts = np.arange(chunks, dtype=np.int64) * window.length_ns
    sizes = np.full(chunks, rows, np.int64)
    cut = Cut(chunks, starts, starts + window.length_ns, sizes, blocks_of(chunks))
    tables, built, shares = [], [], []
    for number in range(columns):
        column, share, extremes = _column(rng, number, columns, rows, chunks)
        layout = Layout((column.column,), (column.bins,), np.zeros(1))
        counts = Counts.zeros(layout, chunks + 1)
        inside = share.copy()
        if isinstance(column.bins, NumericBins):
            inside[[0, -1]] = 0  # The baseline's own extremes are its outermost edges.
            counts.extremes[:-1, 0] = extremes
        counts.rows[:-1] = rows
        counts.bins[:-1] = rng.multinomial(rows, inside / inside.sum(), chunks)
        column = replace(column, counts=counts.bins.sum(axis=0))
        tables.append(column_chunks(column, ChunkCounts.of(layout, [counts]), cut))
        built.append(column)
        shares.append(share)
    noise = noise_per_row(tuple(built))
    baseline = Baseline(
        model=KEY.model,
        version=KEY.version,
        name="file",
        rows=rows * chunks,
        start_ns=0,
        end_ns=chunks * window.length_ns - 1,
        columns=tuple(replace(each, noise=a) for each, a in zip(built, noise, strict=True)),
        windows=(window.name,),
        chunks={window.name: chunk_tables(cut, tables)},
    )
    return Drawn(baseline, tuple(shares))


def draw_windows(
    rng: np.random.Generator, drawn: Drawn, rows: int, window: WindowLength, first: int, windows: int
) -> Iterator[WindowCounts]:
    """More windows of the same, beginning with number `first`."""
    layout = drawn.baseline.layout
    step = max(1, _BATCH_CELLS // Counts.cells(layout))
    extremes = np.array([[each.minimum, each.maximum] for each in drawn.baseline.columns])
    for start in range(0, windows, step):
        size = min(step, windows - start)
        counts = Counts.zeros(layout, size)
        counts.rows[:] = rows
        counts.extremes[:] = np.where(np.isnan(extremes), [np.inf, -np.inf], extremes)
        for share, begin, end in zip(drawn.shares, layout.offsets[:-1], layout.offsets[1:], strict=True):
            counts.bins[:, begin:end] = rng.multinomial(rows, share, size)
        for number in range(size):
            begin_ns = (first + start + number) * window.length_ns
            yield WindowCounts(window, start + number, begin_ns, begin_ns + window.length_ns, 0, counts.window(number))


def _column(
    rng: np.random.Generator, number: int, columns: int, rows: int, chunks: int
) -> tuple[ColumnBaseline, Floats, Floats]:
    """A column without counts, the probabilities of its bins, and its extremes by chunk, float64 (chunks, 2)."""
    column, uncounted = Column(Role.FEATURE, f"x{number}"), np.empty(0, np.uint64)
    if number >= numeric_columns(columns):
        share = 1 / np.arange(1.0, CATEGORIES + 1)
        bins = CategoryBins(tuple(f"c{each}" for each in range(CATEGORIES)))
        share = np.concatenate([share / share.sum(), [0.0, 0.0]])
        return ColumnBaseline(column, bins, None, uncounted, 0, 0), share, np.empty((chunks, 2))
    sample, cuts = numeric_bins(rng.standard_normal(_SAMPLE_ROWS))
    highest = -special.ndtri(-special.expm1(np.log(rng.random((2, chunks))) / rows))
    extremes = np.column_stack([-highest[0], highest[1]])
    low = min(extremes[:, 0].min(), sample.edges[0] - 1e-6)
    high = max(extremes[:, 1].max(), sample.edges[-1] + 1e-6)
    edges = np.concatenate([[low], sample.edges[1:-1], [high]])
    wide = replace(
        cuts,
        quantile_starts=np.concatenate([[low], cuts.quantile_starts[1:]]),
        doane=np.concatenate([[low], cuts.doane[1:-1], [high]]),
    )
    below = special.ndtr(edges)
    share = np.concatenate([[below[0]], np.diff(below), [0.0, special.ndtr(-high)]])
    numbers = NumericBins(edges)
    return (
        ColumnBaseline(
            column, numbers, wide, uncounted, 0, 0, mean=0.0, stddev=1.0, minimum=float(low), maximum=float(high)
        ),
        share / share.sum(),
        extremes,
    )
