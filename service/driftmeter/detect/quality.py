"""What can be said of a column's values without any method: missing, out of range, moments, quantiles, freshness."""

from collections.abc import Sequence
from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import polars as pl

from driftmeter.model.baseline import Baseline
from driftmeter.model.bins import CategoryBins
from driftmeter.model.columns import Role
from driftmeter.model.counts import NEVER_NS, Counts, Dropped, Moment, Tally
from driftmeter.model.layout import Layout
from driftmeter.model.predictions import ModelKey
from driftmeter.model.quality import commonest_of
from driftmeter.model.window_counts import WindowCounts

Floats = npt.NDArray[np.float64]

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
"""Quantiles of every numeric column."""


def ratios_of(layout: Layout, counts: Counts) -> dict[str, Floats]:
    """How many rows of each window and column are what a ratio counts, by the ratio's name.

    Returns:
        float64 (w, c) each: missing (mismatches included), type_mismatch, non_finite; out_of_range, nan for categorical
        columns; unseen and other (categories beyond those with a bin of their own), nan for numeric ones.
    """
    numeric = _shape_of(layout).numeric
    first, last = layout.offsets[:-1], layout.offsets[1:] - 1
    lowest, highest, other = (counts.bins[:, at].astype(np.float64) for at in (first, last, last - 1))
    return {
        "missing": counts.tallies[:, :, Tally.MISSING].astype(np.float64),
        "type_mismatch": counts.tallies[:, :, Tally.MISMATCH].astype(np.float64),
        "non_finite": counts.tallies[:, :, Tally.NON_FINITE].astype(np.float64),
        "out_of_range": np.where(numeric, lowest + highest, np.nan),
        "unseen": np.where(numeric, np.nan, highest),
        "other": np.where(numeric, np.nan, other),
    }


def quality_of(
    key: ModelKey, baseline: Baseline, windows: Sequence[WindowCounts], counts: Counts, moments: Floats
) -> pl.DataFrame:
    """One row per window and column, then one per window for the model as a whole, whose column is empty.

    Columns: model, version, stage, window, window_end, revision, column, role, rows;
    counts of rows as in `ratios_of`, null where they cannot occur;
    constant, whether at least two values are all the same (null where one cannot tell: all are in `other`);
    mean, stddev, min, max and quantile_0.01 and so on of the finite values in feature units, null for categorical
    columns and without values (mean and stddev also when a deviation or its square overflows);
    freshness_seconds, the age of the newest value at the window's end, the window's length when it has none, null when
    rows have no times;
    of the model alone: duplicates, rows that repeat another; incomplete, rows whose sender dropped attributes;
    dropped_attributes, how many.

    Args:
        key: The model, version and stage.
        baseline: What the windows are compared with.
        windows: Which windows they are.
        counts: Of these windows.
        moments: Those of `counts`.
    """
    layout = baseline.layout
    w, c = len(windows), len(layout.columns)
    described = _moments(layout, counts, moments) | _quantiles(baseline, counts, moments)
    described["freshness_seconds"] = freshness_of(windows, counts)
    window = np.concatenate((np.repeat(np.arange(w), c), np.arange(w)))
    ends = np.array([each.end_ns or 0 for each in windows], np.int64)
    return pl.DataFrame(
        {
            "window": np.array([each.window.name for each in windows], object)[window].tolist(),
            "window_end": pl.Series(ends[window]).cast(pl.Datetime("ns", "UTC")),
            "revision": np.array([each.revision for each in windows], np.int64)[window],
            "column": [*([each.name for each in layout.columns] * w), *([""] * w)],
            "role": [*([each.role.value for each in layout.columns] * w), *(["model"] * w)],
            "rows": counts.rows[window],
            **{name: _of_columns(table, pl.UInt64) for name, table in ratios_of(layout, counts).items()},
            "constant": _of_columns(_constant(layout, counts), pl.Boolean),
            **{name: _of_columns(table, pl.Float64) for name, table in described.items()},
            **{name: _of_models(table, w * c) for name, table in whole_rows_of(counts).items()},
        }
    ).with_columns(model=pl.lit(key.model), version=pl.lit(key.version), stage=pl.lit(key.stage))


def _of_columns(table: Floats, dtype: type[pl.DataType]) -> pl.Series:
    """One number per window and column, null where it is not finite, and nulls for the models."""
    numbers = np.concatenate((np.where(np.isfinite(table), table, np.nan).ravel(), np.full(len(table), np.nan)))
    return pl.Series(numbers, nan_to_null=True).cast(dtype)


def _of_models(table: Floats, columns: int) -> pl.Series:
    """Nulls for so many windows and columns, then one number per window."""
    return pl.Series(np.concatenate((np.full(columns, np.nan), table)), nan_to_null=True).cast(pl.UInt64)


def whole_rows_of(counts: Counts) -> dict[str, Floats]:
    """What is counted of whole rows: duplicates, incomplete and dropped_attributes, float64 (w,) each.

    Duplicates are nan where rows were not looked at as a whole.
    """
    repeated = [each.repeated(rows) for each, rows in zip(counts.contents, counts.rows.tolist(), strict=True)]
    return {
        "duplicates": np.array([np.nan if each is None else each for each in repeated], np.float64),
        "incomplete": counts.dropped[:, Dropped.ROWS].astype(np.float64),
        "dropped_attributes": counts.dropped[:, Dropped.ATTRIBUTES].astype(np.float64),
    }


class _Shape(NamedTuple):
    """What follows from a layout alone: which columns are numeric, and where each bin begins and ends."""

    numeric: npt.NDArray[np.bool_]
    left: Floats
    right: Floats


_SHAPES: WeakKeyDictionary[Layout, _Shape] = WeakKeyDictionary()


def _shape_of(layout: Layout) -> _Shape:
    shape = _SHAPES.get(layout)
    if shape is None:
        numeric = np.array([not isinstance(each, CategoryBins) for each in layout.bins])
        left, right = np.full(layout.size, np.nan), np.full(layout.size, np.nan)
        for bins, offset in zip(layout.bins, layout.offsets[:-1].tolist(), strict=True):
            if not isinstance(bins, CategoryBins):
                here = slice(offset, offset + bins.size)
                left[here] = np.concatenate(([-np.inf], bins.edges, bins.edges[-1:]))
                right[here] = np.concatenate((bins.edges, bins.edges[-1:], [np.inf]))
        shape = _SHAPES[layout] = _Shape(numeric, left, right)
    return shape


def _values(layout: Layout, counts: Counts) -> Floats:
    """float64 (w, c): rows that are in a bin."""
    return np.add.reduceat(counts.bins, layout.offsets[:-1], axis=1).astype(np.float64)


def _moments(layout: Layout, counts: Counts, moments: Floats) -> dict[str, Floats]:
    values = _values(layout, counts)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        low, high = moments[:, :, Moment.MIN], moments[:, :, Moment.MAX]
        reach = np.maximum(high - layout.centers, layout.centers - low)
        shift = np.where(np.isinf(reach), np.nan, moments[:, :, Moment.DEVIATION] / values)
        variance = np.where(np.isinf(reach**2), np.nan, moments[:, :, Moment.SQUARE] / values) - shift**2
    described = {
        "mean": layout.centers + shift,
        "stddev": np.sqrt(np.maximum(variance, 0)),
        "min": low,
        "max": high,
    }
    known = _shape_of(layout).numeric & (values > 0)
    return {name: np.where(known, table, np.nan) for name, table in described.items()}


def _quantiles(baseline: Baseline, counts: Counts, moments: Floats) -> dict[str, Floats]:
    """Quantiles by their place in the fine bins.

    The value that `numpy.quantile` calls `inverted_cdf` is in the same bin, so the error is at most the bin's width
    within the window's smallest and largest value; with 1,024 quantile bins usually less than the step to the quantile
    1/1,024 further. Discrete columns have their values as edges: there the value is the bin's left end, without error
    for values of the baseline.
    """
    layout, shape = baseline.layout, _shape_of(baseline.layout)
    discrete = np.array([each.cuts is not None and each.cuts.discrete for each in baseline.columns])
    windows = len(counts.rows)
    cumulated = np.cumsum(counts.bins.astype(np.float64), axis=1)
    before = np.concatenate((np.zeros((windows, 1)), cumulated), axis=1)[:, layout.offsets[:-1]]
    values = _values(layout, counts)
    column = np.arange(len(layout.columns))
    known = shape.numeric & (values > 0)
    found = {}
    for quantile in QUANTILES:
        target = before + quantile * values
        place = np.stack([np.searchsorted(cumulated[w], target[w]) for w in range(windows)])
        place = np.clip(place, layout.offsets[:-1], layout.offsets[1:] - 1)
        inside = np.take_along_axis(counts.bins, place, axis=1).astype(np.float64)
        left = np.maximum(shape.left[place], moments[:, :, Moment.MIN])
        right = np.minimum(shape.right[place], moments[:, :, Moment.MAX])
        in_range = (place > layout.offsets[:-1]) & (place < layout.offsets[1:] - 1)
        with np.errstate(divide="ignore", invalid="ignore"):
            part = 1 - (np.take_along_axis(cumulated, place, axis=1) - target) / inside
            part = np.where(discrete[column] & in_range, 0.0, np.clip(part, 0, 1))
            value = left * (1 - part) + right * part
        found[f"quantile_{quantile:g}"] = np.where(known, value, np.nan)
    return found


def _constant(layout: Layout, counts: Counts) -> Floats:
    """float64 (w, c): 1 where all values are one, of at least two; 0 where not; nan where one cannot tell."""
    values, last = _values(layout, counts), layout.offsets[1:] - 1
    mixed = (counts.bins[:, last] == values) | (counts.bins[:, last - 1] == values)
    unknown = (values < 2) | (mixed & ~_shape_of(layout).numeric)  # noqa: PLR2004 - one is the same as itself.
    return np.where(unknown, np.nan, commonest_of(layout, counts) == values)


def freshness_of(windows: Sequence[WindowCounts], counts: Counts) -> Floats:
    """Age of the newest value, seconds, float64 (w, c); see `quality_of`."""
    ends = np.array([each.end_ns or 0 for each in windows], np.int64)[:, None]
    lengths = np.array([(each.end_ns or 0) - (each.start_ns or 0) for each in windows], np.int64)[:, None]
    absent = counts.newest == NEVER_NS
    ages = np.where(absent, lengths, np.maximum(ends - np.where(absent, ends, counts.newest), 0)) / 1e9
    return np.where(absent.all(axis=1, keepdims=True), np.nan, ages)


def classes_of(key: ModelKey, layout: Layout, windows: Sequence[WindowCounts], counts: Counts) -> pl.DataFrame:
    """One row per window, categorical prediction and class of the baseline.

    Columns: model, version, stage, window, window_end, revision, column, class, rows.
    """
    parts = [
        pl.DataFrame(
            {
                "column": [layout.columns[index].name] * len(bins.categories),
                "class": list(bins.categories),
                "rows": counts.bins[w, offset : offset + len(bins.categories)],
            }
        ).with_columns(
            window=pl.lit(window.window.name),
            window_end=pl.lit(window.end_ns, pl.Datetime("ns", "UTC")),
            revision=pl.lit(window.revision, pl.Int64),
            model=pl.lit(key.model),
            version=pl.lit(key.version),
            stage=pl.lit(key.stage),
        )
        for w, window in enumerate(windows)
        for index, (bins, offset) in enumerate(zip(layout.bins, layout.offsets[:-1].tolist(), strict=True))
        if isinstance(bins, CategoryBins) and layout.columns[index].role is Role.PREDICTION
    ]
    return pl.concat(parts) if parts else _NO_CLASSES


_NO_CLASSES = pl.Schema(
    [
        ("column", pl.String),
        ("class", pl.String),
        ("rows", pl.UInt64),
        ("window", pl.String),
        ("window_end", pl.Datetime("ns", "UTC")),
        ("revision", pl.Int64),
        ("model", pl.String),
        ("version", pl.String),
        ("stage", pl.String),
    ]
).to_frame()
