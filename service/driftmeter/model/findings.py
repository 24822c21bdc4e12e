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
is null except on the rows of a column's deciding method; `reason` says why it is null."""
