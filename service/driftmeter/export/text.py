"""Points in Prometheus' text format 0.0.4, written by expressions over whole columns."""

import polars as pl

from driftmeter.export.metrics import FAMILIES, RESULT_METRICS
from driftmeter.export.points import LABELS

_HEADERS = pl.DataFrame(
    {
        "family": pl.Series(range(len(RESULT_METRICS)), dtype=pl.Int32),
        "header": [
            f"# HELP {spec.prometheus_name} {spec.description}\n# TYPE {spec.prometheus_name} {spec.kind.value}"
            for spec in RESULT_METRICS
        ],
    }
)


def exposition(points: pl.DataFrame) -> str:
    """The text of all points, family by family, each under its HELP and TYPE lines; no times.

    Args:
        points: `POINTS_SCHEMA`; each series at most once, no stale markers.
    """
    pairs = [pl.when(pl.col(label) != "").then(pl.format(label + '="{}"', _escaped(pl.col(label)))) for label in LABELS]
    labels = pl.concat_str(pairs, separator=",", ignore_nulls=True)
    lines = points.join(FAMILIES, on="metric", how="inner", maintain_order="left").select(
        "family", line=pl.concat_str("metric", pl.lit("{"), labels, pl.lit("} "), _number(pl.col("value")))
    )
    families = lines.group_by("family").agg(pl.col("line").str.join("\n"))
    parts = _HEADERS.join(families, on="family", how="inner").sort("family")
    return "".join(f"{part}\n" for part in parts.select(pl.format("{}\n{}", "header", "line")).to_series())


def _escaped(text: pl.Expr) -> pl.Expr:
    """Backslash, quote and line feed as the format wants them in label values."""
    quoted = text.str.replace_all("\\", "\\\\", literal=True).str.replace_all('"', '\\"', literal=True)
    return quoted.str.replace_all("\n", "\\n", literal=True)


def _number(value: pl.Expr) -> pl.Expr:
    """The shortest decimal that reads back as the same float64."""
    return value.cast(pl.String).replace({"inf": "+Inf", "-inf": "-Inf"})
