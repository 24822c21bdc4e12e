"""How far undrifted windows lie from the baseline, and how surprising a window is against that.

The deciding statistic Q is on the squared scale, where noise adds: E[Q] = a (1/n + 1/N) + b for n rows in the window
and N in the baseline. a is sampling noise, b the natural variation between the baseline's own chunks.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from driftmeter.model.baseline import Baseline, ColumnBaseline
from driftmeter.model.windows import DAY_NS, WEEK_NS, WindowLength, parse_window

Floats = npt.NDArray[np.float64]

CHUNKS_MIN = 20
"""Chunks of a window length that a verdict needs at least."""


@dataclass(frozen=True)
class Null:
    """What one column's windows of one length look like without drift.

    Attributes:
        natural: b, on the squared scale.
        shape: k, 1 / variance of Q / mean over the chunks.
        chunks: K, number of chunks.
        source: `own`, or `borrowed` from a shorter window length; empty when there is none.
        reason: Why there is no verdict; empty when there can be one.
    """

    natural: float = np.nan
    shape: float = np.nan
    chunks: int = 0
    source: str = ""
    reason: str = ""


def build_null(baseline: Baseline, column: ColumnBaseline, window: WindowLength, noise: float, min_rows: int) -> Null:
    """The null distribution of one column and window length, or the reason why there is none."""
    if baseline.name == "learned":
        return Null(reason="provisional")
    if not window.by_rows and baseline.start_ns is None:
        return Null(reason="no_timestamps")
    if not window.by_rows and window.length_ns >= DAY_NS and _span_ns(baseline) < WEEK_NS:
        return Null(reason="no_weekly_cycle")
    for length in _not_longer(baseline, window):
        fitted = _fit(column, length.name, noise, min_rows)
        if fitted is not None:
            natural, shape, chunks = fitted
            return Null(natural, shape, chunks, "own" if length[1:] == window[1:] else "borrowed")
    return Null(reason="too_few_chunks")


def _span_ns(baseline: Baseline) -> int:
    """Time that the baseline covers, a partial last day counted whole: a week of daytime traffic is a week."""
    assert baseline.start_ns is not None and baseline.end_ns is not None  # noqa: PT018, S101 - checked by the caller.
    return (baseline.end_ns // DAY_NS + 1 - baseline.start_ns // DAY_NS) * DAY_NS


def _not_longer(baseline: Baseline, window: WindowLength) -> list[WindowLength]:
    """The window's length and shorter ones of the same sort that the baseline has chunks of, longest first.

    Lengths are compared, not names: chunks of 24h serve a window of 1d.
    """
    lengths = [parse_window(name) for name in baseline.windows]
    alike = [each for each in lengths if each.by_rows == window.by_rows and each[1:] <= window[1:]]
    return sorted(alike, key=lambda each: each[1:], reverse=True)


def _fit(column: ColumnBaseline, name: str, noise: float, min_rows: int) -> tuple[float, float, int] | None:
    chunks = column.chunks.get(name)
    if chunks is None:
        return None
    usable = (chunks.rows >= min_rows) & np.isfinite(chunks.squared)
    rows, squared = chunks.rows[usable].astype(np.float64), chunks.squared[usable]
    if len(rows) < CHUNKS_MIN:
        return None
    sampling = noise * (1 / rows + 1 / np.maximum(column.counts.sum() - rows, 1))
    natural = max(0.0, float(np.mean(squared - sampling)))
    mean = sampling + natural
    # A constant column never moves: its chunks are all at 0, and any distance at all is a surprise.
    relative = np.divide(squared, mean, out=np.ones_like(squared), where=mean > 0)
    variance = float(np.var(relative, ddof=1))
    return natural, 1 / max(variance, 1e-6), len(rows)


def surprise(squared: Floats, mean: Floats, shape: Floats, chunks: Floats) -> Floats:
    """Probability of a window at least so far away without drift: upper tail of F(2k, 2kK) at Q / mean.

    A gamma with shape k whose mean is itself an average over K chunks: with few chunks the tail is wider.
    All arguments broadcast; nan where there is no null.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(mean > 0, squared / mean, np.where(squared > 0, np.inf, 1.0))
        tail = special.fdtrc(2 * shape, 2 * shape * chunks, np.where(np.isinf(ratio), 1e300, ratio))
    return np.where(np.isnan(squared) | np.isnan(shape), np.nan, tail)
