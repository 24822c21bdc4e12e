"""The same engine offline: files in, findings out."""

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import polars as pl

from driftmeter.baseline.build import build_baseline
from driftmeter.baseline.data import Rows
from driftmeter.baseline.texts import TextRows
from driftmeter.baseline.timeline import Timeline, Windows
from driftmeter.detect.config import DetectConfig
from driftmeter.detect.detector import Detector
from driftmeter.detect.reference import FixedReference
from driftmeter.errors import BaselineError
from driftmeter.model.baseline import Baseline
from driftmeter.model.counts import Counts
from driftmeter.model.predictions import ModelKey
from driftmeter.model.window_counts import WindowCounts
from driftmeter.model.windows import WindowLength
from driftmeter.summary.fold import fold

_CELLS_MAX = 4_000_000
"""Numbers × windows counted and evaluated at a time: bounds memory at some 500 MB whatever the number of windows."""

_BLOCK_ROWS = 2**16
"""Rows of which it is known which windows they are in: a group of windows is counted from its first such block on."""


def analyze(  # noqa: PLR0913 - what a comparison is made of.
    reference: Rows,
    current: Rows,
    window: WindowLength,
    config: DetectConfig,
    model: str | None = None,
    version: str | None = None,
    on_column: Callable[[str], None] = lambda _: None,
    on_windows: Callable[[int, int], None] = lambda _done, _all: None,
) -> pl.DataFrame:
    """Findings of every window of `current` against `reference`, ordered by column, method and window.

    Rows of large files are read in batches, and windows counted and evaluated in groups: memory is bounded by some 10
    bytes a row and the findings.

    Args:
        reference: Rows of good times.
        current: Rows to look at; by-row windows are cut in file order, and the last one may be partial.
        window: Length of a window; by time it needs timestamps in `current`.
        config: When a column is called drifted.
        model: The model's name; null in the findings when not given.
        version: Its version; the same.
        on_column: Called with the name of each column of the reference when it is done.
        on_windows: Called with the number of windows done and in all.

    Raises:
        BaselineError: The files cannot be compared.
    """
    if window.overlap > 1:
        raise BaselineError(
            f"--window {window.name}: files are cut into windows that do not overlap, such as {window.disjoint.name}"
        )
    if not window.by_rows and not current.timed:
        raise BaselineError(
            f"--window {window.name} needs times: name the column with --timestamp, or use rows, such as 5000rows"
        )
    baseline = build_baseline(reference, model or "", version or "", [window], on_column=on_column)
    current = TextRows.like(current, baseline)
    _check_columns(baseline, current)
    detector = Detector(ModelKey(model or "", version or "", ""), baseline, [FixedReference(baseline)], config)
    frames = []
    for windows, done, total in _counted(baseline, current, window):
        frames.append(detector.evaluate(windows).findings)
        on_windows(done, total)
    absent = [pl.when(pl.col(name) != "").then(name).alias(name) for name in ("model", "version", "stage", "segment")]
    return pl.concat(frames).with_columns(absent).sort("column", "role", "method", "window_index")


def _counted(baseline: Baseline, current: Rows, length: WindowLength) -> Iterator[tuple[list[WindowCounts], int, int]]:
    """The windows in groups, in order; with each, how many are done and how many there are."""
    layout = baseline.layout
    timeline = Timeline(current, [length])
    windows = timeline.windows(length)
    assert windows is not None  # noqa: S101 - there are times, or windows are by rows.
    fields = [each.field for each in layout.columns if each.field in current.kinds]
    low, high = _blocks(timeline, length, current.count)
    step = max(1, _CELLS_MAX // Counts.cells(layout))
    for first in range(0, windows.count, step):
        last = min(first + step, windows.count)
        counts = Counts.zeros(layout, last - first)
        holding = np.flatnonzero((low < last) & (high >= first))
        begin, end = int(holding[0]) * _BLOCK_ROWS, min((int(holding[-1]) + 1) * _BLOCK_ROWS, current.count)
        for batch in current.batches(fields, first=begin, stop=end):
            slots = timeline.slots(length, begin, begin + batch.num_rows) - np.int32(first)
            begin += batch.num_rows
            inside = (slots >= 0) & (slots < last - first)
            rows = batch if inside.all() else batch.filter(inside)
            fold(layout, rows, slots[inside], counts)
        spans = _spans(windows, first, last)
        group = [WindowCounts(length, first + i, *span, 0, counts.window(i)) for i, span in enumerate(spans)]
        yield group, last, windows.count


def _blocks(timeline: Timeline, length: WindowLength, rows: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Least and greatest window of each block of rows."""
    parts = (timeline.slots(length, first, min(first + _BLOCK_ROWS, rows)) for first in range(0, rows, _BLOCK_ROWS))
    ends = np.array([(part.min(), part.max()) for part in parts], np.int32)
    return ends[:, 0], ends[:, 1]


def _spans(windows: Windows, first: int, last: int) -> list[tuple[int | None, int | None]]:
    """Start and end of some windows: of windows by rows, the least and greatest time of their rows."""
    if windows.low_ns is None or windows.high_ns is None:
        return [(None, None)] * (last - first)
    return list(zip(windows.low_ns[first:last].tolist(), windows.high_ns[first:last].tolist(), strict=True))


def _check_columns(baseline: Baseline, current: Rows) -> None:
    """Columns must be of one kind in both files, and at least one must be in both."""
    kinds = baseline.layout.kinds
    both = [name for name in current.kinds if name in kinds]
    if not both:
        raise BaselineError("the two files have no column in common that can be compared")
    for name in both:
        kind = current.kinds[name]
        if kind != kinds[name]:
            raise BaselineError(
                f"column {name.partition('.')[2]!r} is {kinds[name]} in the reference and {kind} in the current file: "
                "give both files the same type, or leave it out with --ignore"
            )
