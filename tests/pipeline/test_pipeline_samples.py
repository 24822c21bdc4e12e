"""Samples and texts on their way through the pipeline: what spans lead to, and that a replay leads to the same."""

import numpy as np
import polars as pl
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from driftmeter.baseline.build import build_baseline
from driftmeter.baseline.data import ColumnOptions, to_dataset
from driftmeter.baseline.derived_rows import DerivedRows
from driftmeter.methods.sampled import SAMPLED
from driftmeter.model.baseline import Baseline
from otlp_samples import array
from watched_pipeline import MINUTE_NS, SECOND_NS, START_NS, WatchedPipeline, quality_of, score_of

ROWS = 200
CONFIG = {"window": {"lengths": ["1m"], "out_of_orderness": "1s", "clock": "data"}, "detect": {"min_rows": 10}}
NOTES = ("the plane is late", "on time", "the gate is closed", "late again")


def rows_of(rows: int, first: int = 0) -> list[dict[str, float | str]]:
    """Numbers and texts that follow from the row's number."""
    numbers = range(first, first + rows)
    return [{"x": float(row * 7 % 101), "y": float(row * 13 % 97), "note": NOTES[row % 4]} for row in numbers]


def baseline_of_texts() -> Baseline:
    """A baseline whose `note` is a text."""
    data = to_dataset(pl.DataFrame(rows_of(1_000)), ColumnOptions(), "rows")
    return build_baseline(DerivedRows.of_reference(data, ["note"]), "prices", "", [])


def ends_ns(rows: int, minute: int = 0) -> list[int]:
    """Times within one minute."""
    return [START_NS + minute * MINUTE_NS + row * MINUTE_NS // rows for row in range(rows)]


def test_windows_have_findings_of_samples_and_their_oddest_rows() -> None:
    """A minute of spans: every method on samples has a finding, and the oddest rows come with times of the minute."""
    watched = WatchedPipeline(CONFIG, [baseline_of_texts()])
    watched.send(rows_of(ROWS, 500), ends_ns(ROWS))
    watched.send(rows_of(1), START_NS + 2 * MINUTE_NS)
    window = watched.windows_of()[0]
    together = window.findings.filter(pl.col("role") == "model", pl.col("method").is_in(list(SAMPLED)))
    assert together["method"].to_list() == list(SAMPLED)
    assert together["rows"].unique().to_list() == [ROWS]
    assert together["value"].null_count() == 0
    assert window.anomalies.height == 20
    times = window.anomalies["time"].dt.timestamp("ns")
    assert times.is_between(START_NS, START_NS + MINUTE_NS).all()
    assert window.anomalies["trace_id"].str.len_chars().unique().to_list() == [32]


def test_texts_are_compared_as_numbers() -> None:
    """Spans have the text; windows have length, words and unknown words, and say nothing of the text itself."""
    watched = WatchedPipeline(CONFIG, [baseline_of_texts()])
    rows = [{**row, "note": "the plane is delayed"} for row in rows_of(ROWS)]
    watched.send(rows, ends_ns(ROWS))
    watched.send(rows_of(1), START_NS + 2 * MINUTE_NS)
    window = watched.windows_of()[0]
    assert set(window.quality["column"]) - {""} == {"x", "y", "note.length", "note.words", "note.oov_ratio"}
    assert quality_of(window, "note.length")["mean"] == 20
    assert quality_of(window, "note.words")["mean"] == 4
    assert quality_of(window, "note.oov_ratio")["mean"] == 0.25


def test_a_learned_baseline_has_the_texts_that_are_configured() -> None:
    """Without a file, columns named in the configuration are texts."""
    watched = WatchedPipeline({**CONFIG, "baseline": {"learn_rows": 100}, "attributes": {"texts": ["no*"]}})
    watched.send(rows_of(ROWS), ends_ns(ROWS))
    watched.send(rows_of(1), START_NS + 2 * MINUTE_NS)
    assert "note.oov_ratio" in watched.windows_of()[0].quality["column"]
    assert "note" not in watched.windows_of()[0].quality["column"]


def test_embeddings_are_learned_and_compared() -> None:
    """Spans have the vector, and windows numbers of it as seen from the learned baseline, after a restart too."""
    config = {**CONFIG, "baseline": {"learn_rows": 100}, "attributes": {"embeddings": ["v"]}}
    random = np.random.default_rng(1)

    def rows(count: int, shift: float = 0.0) -> list[dict[str, AnyValue | float]]:
        vectors = random.normal(size=(count, 8)) + shift
        return [{"x": float(i % 7), "v": array(*vector)} for i, vector in enumerate(vectors.tolist())]

    watched, restarted = WatchedPipeline(config), WatchedPipeline(config)
    watched.send(rows(ROWS), ends_ns(ROWS))
    restarted.pipeline.restore(watched.pipeline.state())
    restarted._sent = watched._sent  # The next spans have other ids.
    shifted = rows(ROWS, 3.0)
    for each in (watched, restarted):
        each.send(shifted, ends_ns(ROWS, 1))
        each.send(rows(1), START_NS + 3 * MINUTE_NS)
    usual, moved = watched.windows_of()
    assert "v" not in set(usual.quality["column"])
    assert quality_of(moved, "v.distance")["mean"] > 1.5 * quality_of(usual, "v.distance")["mean"]
    assert (score_of(moved, "v.norm") or 0.0) > 0.5
    assert restarted.windows_of()[-1].findings.equals(moved.findings)


def test_state_and_what_follows_are_the_same_after_a_restart() -> None:
    """In the middle of a window: samples, texts and findings are those of a pipeline that was never stopped."""
    parts = [rows_of(ROWS // 2), rows_of(ROWS // 2, 300)]
    straight, first, second = (WatchedPipeline(CONFIG, [baseline_of_texts()]) for _ in range(3))
    for watched in (straight, first):
        watched.send(parts[0], ends_ns(ROWS // 2))
    second.pipeline.restore(first.pipeline.state())
    second._sent = first._sent  # The next spans have other ids.
    for watched in (straight, second):
        watched.send(parts[1], [each + SECOND_NS for each in ends_ns(ROWS // 2)])
        watched.send(rows_of(1), START_NS + 3 * MINUTE_NS)
    assert second.windows_of()[0].findings.equals(straight.windows_of()[0].findings)
    assert second.windows_of()[0].anomalies.equals(straight.windows_of()[0].anomalies)
