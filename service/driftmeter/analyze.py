"""The same engine offline: files in, findings out."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import polars as pl

from driftmeter.baseline.build import build_baseline
from driftmeter.baseline.chunks import chunk_slots
from driftmeter.baseline.data import Dataset
from driftmeter.detect.config import DetectConfig
from driftmeter.detect.detector import Detector
from driftmeter.errors import BaselineError
from driftmeter.model.baseline import Baseline
from driftmeter.model.counts import Counts
from driftmeter.model.predictions import ModelKey
from driftmeter.model.window_counts import WindowCounts
from driftmeter.model.windows import WindowLength
from driftmeter.summary.fold import fold

_CELLS_MAX = 4_000_000
"""Numbers × windows counted and evaluated at a time: bounds memory at some 500 MB whatever the number of windows."""


def analyze(  # noqa: PLR0913 - what a comparison is made of.
    reference: Dataset,
    current: Dataset,
    window: WindowLength,
    config: DetectConfig,
    model: str | None = None,
    version: str | None = None,
    on_windows: Callable[[int, int], None] = lambda _done, _all: None,
) -> pl.DataFrame:
    """Findings of every window of `current` against `reference`, ordered by column, method and window.

    Args:
        reference: Rows of good times.
        current: Rows to look at; by-row windows are cut in file order, and the last one may be partial.
        window: Length of a window; by time it needs timestamps in `current`.
        config: When a column is called drifted.
        model: The model's name; null in the findings when not given.
        version: Its version; the same.
        on_windows: Called with the number of windows done and in all.

    Raises:
        BaselineError: The files cannot be compared.
    """
    cut = chunk_slots(window, current.rows.num_rows, current.times_ns)
    if cut is None:
        raise BaselineError(
            f"--window {window.name} needs times: name the column with --timestamp, or use rows, such as 5000rows"
        )
    baseline = build_baseline(reference, model or "", version or "", [window])
    _check_columns(baseline, current)
    detector = Detector(ModelKey(model or "", version or "", ""), baseline, config)
    slots, frames = cut[0], []
    order = np.argsort(slots, kind="stable")
    bounds = np.concatenate(([0], np.cumsum(np.bincount(slots))))
    total = len(bounds) - 1
    step = max(1, _CELLS_MAX // Counts.cells(baseline.layout))
    for first in range(0, total, step):
        last = min(first + step, total)
        picked = order[bounds[first] : bounds[last]]
        windows = _count(baseline, current, window, picked, slots, range(first, last))
        frames.append(detector.evaluate(windows).findings)
        on_windows(last, total)
    absent = [pl.when(pl.col(name) != "").then(name).alias(name) for name in ("model", "version", "stage", "segment")]
    return pl.concat(frames).with_columns(absent).sort("column", "role", "method", "window_index")


def _count(
    baseline: Baseline,
    current: Dataset,
    window: WindowLength,
    picked: npt.NDArray[np.intp],
    slots: npt.NDArray[np.int32],
    numbers: range,
) -> list[WindowCounts]:
    counts = Counts.zeros(baseline.layout, len(numbers))
    local = (slots[picked] - numbers.start).astype(np.int32)
    fold(baseline.layout, current.rows.take(picked), local, counts)
    spans = _spans(window, current.times_ns, picked, local, len(numbers))
    return [WindowCounts(window, number, *spans[i], 0, counts.window(i)) for i, number in enumerate(numbers)]


def _spans(
    window: WindowLength,
    times_ns: npt.NDArray[np.int64] | None,
    picked: npt.NDArray[np.intp],
    local: npt.NDArray[np.int32],
    windows: int,
) -> list[tuple[int | None, int | None]]:
    """Start and end of each window: of windows by rows, the times of its first and last row."""
    if times_ns is None:
        return [(None, None)] * windows
    first = np.searchsorted(local, np.arange(windows))
    times = times_ns[picked]
    if window.by_rows:
        low, high = np.minimum.reduceat(times, first), np.maximum.reduceat(times, first)
    else:
        low = times[first] // window.length_ns * window.length_ns
        high = low + window.length_ns
    return list(zip(low.tolist(), high.tolist(), strict=True))


def _check_columns(baseline: Baseline, current: Dataset) -> None:
    """Columns must be of one kind in both files, and at least one must be in both."""
    kinds = baseline.layout.kinds
    both = [name for name in current.rows.schema.names if name in kinds]
    if not both:
        raise BaselineError("the two files have no column in common that can be compared")
    for name in both:
        numeric = str(current.rows.schema.field(name).type) == "double"
        if numeric != (kinds[name] == "numeric"):
            column, kind = name.partition(".")[2], "numeric" if numeric else "categorical"
            raise BaselineError(
                f"column {column!r} is {kinds[name]} in the reference and {kind} in the current file: "
                "give both files the same type, or leave it out with --ignore"
            )
