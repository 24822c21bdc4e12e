"""How many series a model may have: above it, columns that say most keep theirs, and what is withheld is counted."""

import polars as pl

from driftmeter.export.points import as_points

_COLUMN = ("feature", "output", "class")
_GROUP = ("model", "version", "stage", "window", "segment")


def within_budget(points: pl.DataFrame, series_max: int) -> tuple[pl.DataFrame, int]:
    """Points of one window, at most so many and three more, and how many are left out.

    Points of the model itself stay; of a segment for which even they are too many, none does. Of its columns
    predictions come first, then features that drifted, then those with the highest score; each keeps all of its series
    or none. `ml_model_withheld_columns` tells how many are left out, `ml_model_withheld_score_max` the highest score
    among them.

    Args:
        points: `POINTS_SCHEMA`, of one model or segment and window.
        series_max: Most series.
    """
    if points.height <= series_max:
        return points, 0
    of_column = pl.any_horizontal(pl.col(name) != "" for name in _COLUMN)
    drift = pl.col("metric").str.contains("_drift_")
    value = pl.col("value")
    columns = (
        points.filter(of_column)
        .group_by(_COLUMN, maintain_order=True)
        .agg(
            series=pl.len(),
            drifted=value.filter(drift & pl.col("metric").str.ends_with("_detected")).max().fill_null(0.0),
            score=value.filter(drift & pl.col("metric").str.ends_with("_score")).max().fill_null(0.0),
        )
        .sort(pl.col("feature") != "", -pl.col("drifted"), -pl.col("score"), *_COLUMN)
        .with_columns(end=pl.col("series").cum_sum())
    )
    room = series_max - points.filter(~of_column).height
    if room < 0 and points["segment"][0]:
        return points.clear(), points.height
    kept, withheld = columns.filter(pl.col("end") <= room), columns.filter(pl.col("end") > room)
    said = points.head(1).select(*_GROUP, "timestamp_ms")
    numbers = {
        "ml_model_withheld_columns": float(withheld.height),
        "ml_model_withheld_score_max": withheld["score"].max(),
    }
    aggregates = pl.concat(
        said.with_columns(metric=pl.lit(name), value=pl.lit(number, pl.Float64)) for name, number in numbers.items()
    )
    own = points.join(kept, on=_COLUMN, how="semi", maintain_order="left")
    return pl.concat([points.filter(~of_column), own, as_points(aggregates)]), int(withheld["series"].sum())
