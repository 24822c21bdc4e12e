"""What `analyze` says of rows is what the service says when they come as spans: one engine, bit for bit."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import polars as pl
import pytest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from driftmeter.analyze import Analysis, analyze
from driftmeter.baseline.build import build_baseline
from driftmeter.baseline.data import ColumnOptions, Dataset, Rows, to_dataset
from driftmeter.baseline.derived_rows import DerivedRows
from driftmeter.detect.config import DetectConfig
from driftmeter.methods.sampled import SAMPLED
from driftmeter.model.windows import parse_window
from otlp_samples import Scalar, array
from watched_pipeline import MINUTE_NS, START_NS, WatchedPipeline

HOUR_NS = 60 * MINUTE_NS
WINDOWS = ("1h", "3h every 1h", "700rows", "600rows every 200rows")
OPTIONS = ColumnOptions.of("time", ["prediction"], texts=["note"], embeddings=["vec"])
ROWS_AN_HOUR = 150
WORDS = np.array(["late", "early", "gate", "closed", "open", "plane", "storm", "crew"])
METHODS_ON_COUNTS = ~pl.col("method").is_in(list(SAMPLED))


def rows_of(hours: int, seed: int, first_ns: int, shift: float = 0.0) -> pl.DataFrame:
    """Numbers, categories, texts, vectors and predictions, with what is missing and what is of another length."""
    random = np.random.default_rng(seed)
    rows = hours * ROWS_AN_HOUR
    vectors: list[list[float] | None] = (random.normal(size=(rows, 6)) + shift).tolist()
    vectors[3], vectors[5], vectors[7] = None, [1.0, 2.0], [float("nan"), *[0.0] * 5]
    notes = [" ".join(random.choice(WORDS, int(random.integers(1, 6)))) for _ in range(rows)]
    if shift:
        notes[::3] = [f"{note} diverted" for note in notes[::3]]
    return pl.DataFrame(
        {
            "time": pl.Series(first_ns + np.arange(rows) * (HOUR_NS // ROWS_AN_HOUR)).cast(pl.Datetime("ns", "UTC")),
            "x": pl.Series(np.round(random.normal(shift, 1, rows), 1)).set(pl.Series(random.random(rows) < 0.02), None),
            "color": random.choice(["red", "green", "blue"], rows, p=[0.5, 0.3, 0.2]),
            "note": notes,
            "vec": pl.Series(vectors, dtype=pl.List(pl.Float64)),
            "prediction": random.normal(size=rows),
        }
    )


@cache
def reference() -> Dataset:
    """Ten days of good rows."""
    return to_dataset(rows_of(240, 1, START_NS - 240 * HOUR_NS), OPTIONS, "reference")


@cache
def current() -> pl.DataFrame:
    """Ten hours, with drift from the fifth on, and a gap of four in the middle."""
    usual, drifted = rows_of(5, 2, START_NS), rows_of(5, 3, START_NS + 9 * HOUR_NS, shift=1.0)
    return pl.concat([usual, drifted])


@cache
def analysed() -> Analysis:
    """By the files."""
    before = DerivedRows.of_reference(reference(), OPTIONS.texts)
    now: Rows = to_dataset(current(), OPTIONS, "current")
    windows = [parse_window(each) for each in WINDOWS]
    return analyze(before, now, windows, DetectConfig(), "prices", "", whole_rows=True)


def span_of(row: dict[str, Any]) -> dict[str, Scalar | AnyValue]:
    """A row's attributes."""
    vector = row.pop("vec")
    span = {"ml.prediction.prediction" if name == "prediction" else name: value for name, value in row.items()}
    return span if vector is None else {**span, "vec": array(*vector)}


@cache
def travelled() -> WatchedPipeline:
    """By spans, in requests that end anywhere."""
    windows = [parse_window(each) for each in WINDOWS]
    baseline = build_baseline(DerivedRows.of_reference(reference(), OPTIONS.texts), "prices", "", windows)
    config = {
        "window": {"lengths": list(WINDOWS), "clock": "data", "out_of_orderness": "1s"},
        "attributes": {"embeddings": ["vec"]},
    }
    watched = WatchedPipeline(config, [baseline])
    spans = [span_of(row) for row in current().drop("time").to_dicts()]
    times = current()["time"].dt.epoch("ns").to_list()
    for first in range(0, len(spans), 333):
        watched.send(spans[first : first + 333], times[first : first + 333])
    watched.pipeline.drain()
    watched.assert_ledger_holds()
    return watched


def of_service(name: str) -> pl.DataFrame:
    """One of the tables of all its windows."""
    tables: list[pl.DataFrame] = [getattr(each, name) for each in travelled().windows_of()]
    return pl.concat(tables)


def ordered(frame: pl.DataFrame, by: Sequence[str]) -> pl.DataFrame:
    """Names that were not given as they are in the service, in an order of its own."""
    absent = [name for name in ("model", "version", "stage", "segment") if name in frame.columns]
    filled: pl.DataFrame = frame.with_columns(pl.col(absent).fill_null(""))
    return filled.sort(by)


@pytest.mark.parametrize("window", WINDOWS)
def test_findings_are_those_of_the_service(window: str) -> None:
    """Every method on counts, every column and window: values, surprises, verdicts and reasons are equal."""
    keys = ("window", "window_index", "role", "column", "method")
    own, theirs = (
        ordered(each.filter(METHODS_ON_COUNTS, window=window), keys)
        for each in (analysed().findings, of_service("findings"))
    )
    assert own.height > 800
    assert own.equals(theirs)
    assert {"vec.distance", "vec.norm", "note.oov_ratio", "x", "color", "prediction"} <= set(own["column"])
    if not parse_window(window).by_rows:
        assert set(own.filter(column="vec.distance", method="jensen_shannon")["detected"]) >= {True, False}


@pytest.mark.parametrize("window", WINDOWS)
def test_verdicts_on_the_model_are_those_of_the_service(window: str) -> None:
    """One per window."""
    own, theirs = (
        ordered(each.filter(window=window), ["window_index"]) for each in (analysed().verdicts, of_service("model"))
    )
    assert own.equals(theirs)


@pytest.mark.parametrize("window", WINDOWS)
def test_quality_is_that_of_the_service(window: str) -> None:
    """Missing, of the wrong type, not finite, moments, ages, and rows that repeat others."""
    own, theirs = (
        ordered(each.filter(window=window), ["window_end", "role", "column"])
        for each in (analysed().quality, of_service("quality"))
    )
    assert own.equals(theirs.select(own.columns))
    first = own.filter(column="vec.norm")[0]
    assert first.select("missing", "type_mismatch", "non_finite").row(0) == (2, 1, 1)
    assert own.filter(role="model")["duplicates"].null_count() == 0
    assert own.filter(column="x")["freshness_seconds"].null_count() == 0


def test_methods_on_samples_are_those_of_the_service() -> None:
    """Of windows whose rows are all sampled; in another order, since spans have other keys than rows of files."""
    chosen = pl.col("method").is_in(list(SAMPLED))
    keys = ("window_index", "method")
    own, theirs = (
        ordered(each.filter(chosen, window="1h"), keys) for each in (analysed().findings, of_service("findings"))
    )
    assert own.height == 10 * len(SAMPLED)
    assert own.select(*keys, "rows", "noise_floor").equals(theirs.select(*keys, "rows", "noise_floor"))
    same = own["method"].is_in(["pca_reconstruction", "isolation_forest", "maximum_mean_discrepancy"])
    np.testing.assert_allclose(own.filter(same)["value"], theirs.filter(same)["value"], rtol=1e-9, atol=1e-12)


def test_embeddings_that_moved_are_seen_by_all_columns_together() -> None:
    """The classifier and the discrepancy of means tell the drifted hours from the others."""
    found = (
        analysed()
        .findings.filter(window="1h")
        .filter(pl.col("method").is_in(["domain_classifier", "maximum_mean_discrepancy"]))
    )
    for _, part in found.group_by("method"):
        least = part.filter(pl.col("window_index") >= 5)["value"].min()
        most = part.filter(pl.col("window_index") < 5)["value"].max()
        assert isinstance(least, float)
        assert isinstance(most, float)
        assert least > most


def test_odd_rows_are_named_by_their_numbers() -> None:
    """The oddest of each window, with the time that the file has there."""
    odd = analysed().anomalies.filter(window="1h")
    assert odd.height == 10 * 20
    times = current()["time"][odd["row"].to_list()]
    assert odd["time"].to_list() == times.to_list()


def test_whole_rows_are_looked_at_when_asked_for_alone() -> None:
    """Else nothing is said of samples and duplicates, and all that is said of columns is the same."""
    before = DerivedRows.of_reference(reference(), OPTIONS.texts)
    now = to_dataset(current(), OPTIONS, "current")
    windows = [parse_window(each) for each in WINDOWS]
    without = analyze(before, now, windows, DetectConfig(), "prices", "")
    assert without.anomalies.is_empty()
    assert without.quality["duplicates"].null_count() == without.quality.height
    of_columns = pl.col("column") != ""
    assert without.findings.filter(of_columns).equals(analysed().findings.filter(of_columns))
    assert not set(without.findings["method"]) & set(SAMPLED)


def test_a_few_windows_at_a_time_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows that overlap are added up over the borders of groups; vectors and texts are measured in each."""
    monkeypatch.setattr("driftmeter.baseline.file_windows.CELLS_MAX", 1)
    monkeypatch.setattr("driftmeter.baseline.timeline._BLOCK_ROWS", 128)
    before = DerivedRows.of_reference(reference(), OPTIONS.texts)
    windows = [parse_window(each) for each in WINDOWS]
    reported: list[tuple[int, int]] = []
    found = analyze(
        before, to_dataset(current(), OPTIONS, "current"), windows, DetectConfig(), "prices", "",
        on_windows=lambda done, total: reported.append((done, total)), whole_rows=True,
    )  # fmt: skip
    total = analysed().verdicts.height
    assert reported == [(done, total) for done in range(1, total + 1)]
    for name in ("findings", "verdicts", "quality", "anomalies"):
        assert getattr(found, name).equals(getattr(analysed(), name))
