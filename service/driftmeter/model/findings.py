"""`Findings`: one method on one column in one window, as it leaves `detect`."""

import polars as pl

FINDINGS_SCHEMA = pl.Schema(
    [
        ("model", pl.String),
        ("version", pl.String),
        ("stage", pl.String),
        ("segment", pl.String),
        ("column", pl.String),
        ("role", pl.String),
        ("window", pl.String),
        ("window_index", pl.Int64),
        ("window_start", pl.Datetime("ns", "UTC")),
        ("window_end", pl.Datetime("ns", "UTC")),
        ("revision", pl.Int64),
        ("rows", pl.Int64),
        ("baseline", pl.String),
        ("method", pl.String),
        ("value", pl.Float64),
        ("noise_floor", pl.Float64),
        ("effect", pl.Float64),
        ("pvalue", pl.Float64),
        ("null_source", pl.String),
        ("detected", pl.Boolean),
        ("reason", pl.String),
    ]
)
"""Columns of a finding. `value` is in the method's own unit, `noise_floor` and `effect` in the same one. `detected`
stands on the rows of methods and ratios that decide, and is null elsewhere; `reason` says why it is null. The model's
volume has a row on no column, with the role `model`."""

MODEL_FINDINGS_SCHEMA = pl.Schema(
    [
        ("model", pl.String),
        ("version", pl.String),
        ("stage", pl.String),
        ("segment", pl.String),
        ("window", pl.String),
        ("window_index", pl.Int64),
        ("window_end", pl.Datetime("ns", "UTC")),
        ("revision", pl.Int64),
        ("baseline", pl.String),
        ("level", pl.Float64),
        ("detected", pl.Boolean),
        ("drifted_features", pl.Int64),
        ("drifted_features_ratio", pl.Float64),
    ]
)
"""What a window says about the model as a whole. `detected` is the alarm: whether any unit with a say has drifted, null
without a verdict; `level` is how surprising a window had to be; `drifted_features` counts the features with a say that
drifted in any way, `drifted_features_ratio` is their weight among those that have a verdict."""

BASELINE_DRIFT = "baseline_drift"
"""`method` of findings on how far a reference that moves is from the fixed baseline: they are about what the window is
compared with, and not about the window."""
