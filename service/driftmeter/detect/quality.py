"""What can be said of a column's values without any method: missing, out of range, mean and spread."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from driftmeter.model.bins import CategoryBins
from driftmeter.model.columns import Role
from driftmeter.model.counts import Counts, Moment, Tally
from driftmeter.model.layout import Layout
from driftmeter.model.predictions import ModelKey
from driftmeter.model.window_counts import WindowCounts


def quality_of(
    key: ModelKey, layout: Layout, windows: Sequence[WindowCounts], counts: Counts, moments: npt.NDArray[np.float64]
) -> pl.DataFrame:
    """One row per window and column.

    Columns: model, version, stage, window, window_end, revision, column, role, then counts of rows: rows, missing
    (mismatches included), type_mismatch, non_finite, out_of_range, unseen (null where they cannot occur), and mean,
    stddev, min, max of the finite values in feature units (null for categorical columns and without values; mean and
    stddev also when a deviation or its square overflows). `moments` are those of `counts`.
    """
    w, c = len(windows), len(layout.columns)
    numeric = np.array([not isinstance(each, CategoryBins) for each in layout.bins])
    values = np.add.reduceat(counts.bins, layout.offsets[:-1], axis=1).astype(np.float64)
    lowest, highest = counts.bins[:, layout.offsets[:-1]], counts.bins[:, layout.offsets[1:] - 1]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        low, high = moments[:, :, Moment.MIN], moments[:, :, Moment.MAX]
        reach = np.maximum(high - layout.centers, layout.centers - low)
        shift = np.where(np.isinf(reach), np.nan, moments[:, :, Moment.DEVIATION] / values)
        variance = np.where(np.isinf(reach**2), np.nan, moments[:, :, Moment.SQUARE] / values) - shift**2
    known = numeric & (values > 0)
    described = {
        "mean": layout.centers + shift,
        "stddev": np.sqrt(np.maximum(variance, 0)),
        "min": low,
        "max": high,
    }
    return pl.DataFrame(
        {
            "window": np.repeat([each.window.name for each in windows], c),
            "window_end": pl.Series(np.repeat([each.end_ns or 0 for each in windows], c)).cast(
                pl.Datetime("ns", "UTC")
            ),
            "revision": np.repeat([each.revision for each in windows], c),
            "column": [each.name for each in layout.columns] * w,
            "role": [each.role.value for each in layout.columns] * w,
            "rows": np.repeat(counts.rows, c),
            "missing": counts.tallies[:, :, Tally.MISSING].ravel(),
            "type_mismatch": counts.tallies[:, :, Tally.MISMATCH].ravel(),
            "non_finite": counts.tallies[:, :, Tally.NON_FINITE].ravel(),
            "out_of_range": np.where(numeric, lowest + highest, 0).ravel(),
            "unseen": np.where(numeric, 0, highest).ravel(),
            **{name: np.where(known, table, np.nan).ravel() for name, table in described.items()},
        }
    ).with_columns(
        *(pl.when(pl.col(name).is_finite()).then(name).alias(name) for name in described),
        out_of_range=pl.when(pl.Series(np.tile(numeric, w))).then("out_of_range"),
        unseen=pl.when(pl.Series(~np.tile(numeric, w))).then("unseen"),
        model=pl.lit(key.model),
        version=pl.lit(key.version),
        stage=pl.lit(key.stage),
    )


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
    return pl.concat(parts) if parts else _NO_CLASSES.to_frame()


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
)
