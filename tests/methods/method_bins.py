"""Frames of bins for the methods, made by numpy alone, and how to ask a method for its number."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from driftmeter.methods import METHODS, MethodSpec

Floats = npt.NDArray[np.float64]

ORACLES = Path(__file__).resolve().parents[1] / "oracles"
"""Published values and the data they were computed on."""


def published_values() -> dict[str, dict[str, dict[str, Any]]]:
    """NannyML's values by column and method: `value`, a list with a number per chunk."""
    values: dict[str, dict[str, dict[str, Any]]] = json.loads((ORACLES / "nannyml_car_loan.json").read_text())["values"]
    return values


def bins_frame(
    expected: npt.ArrayLike, observed: npt.ArrayLike, edges: npt.ArrayLike | None = None, tail: npt.ArrayLike = 0.0
) -> pl.DataFrame:
    """One group with all columns a method may ask for; edges, shape (bins + 1,), are 0, 1, 2, … unless given."""
    counts = np.asarray(expected)
    borders = np.arange(len(counts) + 1.0) if edges is None else np.asarray(edges, dtype=np.float64)
    return pl.DataFrame(
        {
            "expected": pl.Series(counts, dtype=pl.UInt64 if counts.dtype.kind in "iu" else pl.Float64),
            "observed": pl.Series(
                np.asarray(observed), dtype=pl.UInt64 if np.asarray(observed).dtype.kind in "iu" else pl.Float64
            ),
            "left": borders[:-1],
            "right": borders[1:],
            "tail": np.broadcast_to(np.asarray(tail, dtype=np.float64), counts.shape),
            "spread": np.full(counts.shape, 2.0),
        }
    )


def fine_bins(reference: Floats, observed: Floats, bins: int = 1024) -> pl.DataFrame:
    """Quantile bins of the reference, its maximum in a bin of its own, and the two bins out of range."""
    edges = np.unique(np.quantile(reference, np.linspace(0, 1, bins + 1)))
    low, high = edges[0], edges[-1]

    def count(values: Floats) -> npt.NDArray[np.int64]:
        # searchsorted gives 0 below the range, i for [edges[i - 1], edges[i]), len(edges) from the maximum on.
        places = np.searchsorted(edges, values, side="right") + (values > high)
        return np.bincount(places, minlength=len(edges) + 2)

    tail = np.zeros(len(edges) + 2)
    tail[0] = np.sum(low - observed[observed < low])
    tail[-1] = np.sum(observed[observed > high] - high)
    borders = np.concatenate([[low], edges, [high, high]])
    return bins_frame(count(reference), count(observed), borders, tail)


def doane_bins(reference: Floats, observed: Floats) -> pl.DataFrame:
    """NannyML's histogram of a continuous column: Doane's bins of the reference and one for what falls outside."""
    edges = np.histogram_bin_edges(reference, bins="doane")
    expected, inside = np.histogram(reference, edges)[0], np.histogram(observed, edges)[0]
    return bins_frame(np.append(expected, 0), np.append(inside, len(observed) - inside.sum()))


def value_bins(reference: npt.NDArray[Any], observed: npt.NDArray[Any]) -> pl.DataFrame:
    """One bin per distinct value of the reference, and one for all others."""
    values = np.unique(reference)
    expected = [int(np.sum(reference == value)) for value in values]
    inside = [int(np.sum(observed == value)) for value in values]
    return bins_frame(np.array([*expected, 0]), np.array([*inside, len(observed) - sum(inside)]))


def with_curves(bins: pl.DataFrame) -> pl.DataFrame:
    """One group with its running shares as the counts say by now: nan where a side has no rows."""
    counts = bins.select(pl.col("expected", "observed").cast(pl.Float64)).to_numpy().T
    pooled = counts.sum(axis=0)
    with np.errstate(invalid="ignore"):
        below, pooled_below = (np.cumsum(each, axis=-1) / each.sum(axis=-1, keepdims=True) for each in (counts, pooled))
    gap = below[0] - below[1]
    gap_before = np.concatenate([np.zeros(min(1, len(gap))), gap[:-1]])
    return bins.with_columns(gap=pl.Series(gap), gap_before=pl.Series(gap_before), pooled=pl.Series(pooled_below))


def number(method: str | MethodSpec, bins: pl.DataFrame, extra: str | None = None) -> float:
    """The method's number, or one of its extras, on one group."""
    spec = METHODS[method] if isinstance(method, str) else method
    expression = spec.expression if extra is None else spec.extras[extra]
    result = with_curves(bins).select(expression(*(pl.col(name) for name in spec.inputs)).alias("number"))
    assert result.schema == {"number": pl.Float64}
    assert result.height == 1
    return float(result.item())


def pvalue(method: str | MethodSpec, bins: pl.DataFrame) -> float:
    """The method's own p-value on one group."""
    spec = METHODS[method] if isinstance(method, str) else method
    assert spec.pvalue is not None
    arrays = {name: np.array([number(spec, bins, name)]) for name in spec.extras}
    arrays["value"] = np.array([number(spec, bins)])
    for side in ("expected", "observed"):
        arrays[f"rows_{side}"] = np.array([float(bins[side].sum())])
    result = spec.pvalue(arrays)
    assert result.shape == (1,)
    assert result.dtype == np.float64
    return float(result[0])
