"""The oddest of a window's sampled rows, as they leave `detect`."""

import polars as pl

ODDEST = 20
"""Rows listed for a window."""

ANOMALIES_SCHEMA = pl.Schema(
    [
        ("model", pl.String),
        ("version", pl.String),
        ("stage", pl.String),
        ("window", pl.String),
        ("window_start", pl.Datetime("ns", "UTC")),
        ("window_end", pl.Datetime("ns", "UTC")),
        ("trace_id", pl.String),
        ("time", pl.Datetime("ns", "UTC")),
        ("score", pl.Float64),
        ("limit", pl.Float64),
        ("anomalous", pl.Boolean),
    ]
)
"""One row, the oddest first. `trace_id` is in hexadecimal, empty when the sender gave none; `score` is the isolation
forest's, `limit` what 99.5 % of the baseline's rows stay below, `anomalous` whether the row is above it."""
