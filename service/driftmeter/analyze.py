"""The same engine offline: files in, findings out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import polars as pl

from driftmeter.baseline.build import build_baseline
from driftmeter.baseline.data import Rows
from driftmeter.baseline.derivation import Derivation
from driftmeter.baseline.file_windows import FileWindows
from driftmeter.baseline.segments import rows_of
from driftmeter.baseline.timeline import Timeline
from driftmeter.detect.config import DetectConfig
from driftmeter.detect.detector import Detector, Evaluation
from driftmeter.detect.judge import calibrations_of
from driftmeter.detect.reference import FixedReference
from driftmeter.errors import BaselineError
from driftmeter.model.baseline import Baseline, Comparison
from driftmeter.model.columns import Column, Role
from driftmeter.model.predictions import ModelKey
from driftmeter.model.segments import VALUES_MAX
from driftmeter.model.windows import WindowLength

DEFAULT_WINDOW = "5000rows"
"""Length of windows unless told otherwise: it needs no times."""


@dataclass(frozen=True, eq=False)
class Analysis:
    """What the service would say of the same rows.

    Attributes:
        findings: `FINDINGS_SCHEMA`, ordered by segment, column, role, method and window; those on all rows come first.
        verdicts: `MODEL_FINDINGS_SCHEMA`: the verdict on the model, by window.
        quality: What can be said of each column's values without any method, by window, and then of whole rows; see
            `quality_of`.
        anomalies: `ANOMALIES_SCHEMA` with the row's number, from 0, in the place of its trace: the oddest rows of each
            window.
    """

    findings: pl.DataFrame
    verdicts: pl.DataFrame
    quality: pl.DataFrame
    anomalies: pl.DataFrame


def analyze(  # noqa: PLR0913 - what a comparison is made of.
    reference: Rows,
    current: Rows,
    windows: Sequence[WindowLength],
    config: DetectConfig,
    model: str | None = None,
    version: str | None = None,
    on_column: Callable[[str], None] = lambda _: None,
    on_windows: Callable[[int, int], None] = lambda _done, _all: None,
    *,
    whole_rows: bool = False,
    segments: Sequence[str] = (),
    segment_values: int = VALUES_MAX,
) -> Analysis:
    """Every window of `current` against `reference`.

    Rows of large files are read in batches, and windows counted and evaluated in groups: memory is bounded by some 10
    bytes a row and the findings.

    Args:
        reference: Rows of good times.
        current: Rows to look at, texts and embeddings as they are; by-row windows are cut in file order, and the last
            one may be partial.
        windows: Lengths of windows; those by time need timestamps in `current`. Each length reads the rows anew.
        config: When a column is called drifted.
        model: The model's name; null in the findings when not given.
        version: Its version; the same.
        on_column: Called with the name of each column of the reference when it is done.
        on_windows: Called with the number of windows done and in all.
        whole_rows: Also look at whole rows: which repeat others, the methods on samples, and the oddest rows. Not for
            segments by themselves.
        segments: Columns whose most frequent values are compared by themselves too, each with the same rows of the
            reference, and judged by one level with all; they have the role of segments in both.
        segment_values: Most segments of one column; all its other values together are one more.

    Raises:
        BaselineError: The files cannot be compared.
    """
    lengths = list(dict.fromkeys(windows))
    for length in lengths:
        if not length.by_rows and not current.timed:
            raise BaselineError(
                f"--window {length.name} needs times: name the column with --timestamp, or use rows, such as 5000rows"
            )
    baseline = build_baseline(
        reference, model or "", version or "", lengths, on_column=on_column, segments=segments,
        segment_values=segment_values,
    )  # fmt: skip
    _check_columns(baseline, current)
    key, labels = ModelKey(model or "", version or "", ""), list(baseline.segments)
    calibrations = calibrations_of(baseline, Comparison.REST, config, lengths, labels)
    compared: list[tuple[Detector, FileWindows]] = []
    for label, calibration in calibrations.items():
        own = baseline.segments.get(label, baseline)
        rows = rows_of(current, label, labels) if label else current
        if not rows.count:
            continue
        detector = Detector(key, own, [FixedReference(own)], config, lengths, label, {Comparison.REST: calibration})
        timeline = Timeline(rows, [length.step for length in lengths])
        whole = whole_rows and not label
        compared += [(detector, FileWindows(own, rows, timeline, each, whole_rows=whole)) for each in lengths]
    parts = list[Evaluation]()
    done, total = 0, sum(each.count for _, each in compared)
    for detector, each in compared:
        for group in each.groups():
            parts.append(detector.evaluate(group))
            done += len(group)
            on_windows(done, total)
    return _together(parts)


def _together(parts: Sequence[Evaluation]) -> Analysis:
    """All groups of windows as one, names that were not given as null."""
    found = {
        name: pl.concat([getattr(each, name) for each in parts if getattr(each, name).width])
        for name in ("findings", "model", "quality", "anomalies")
    }
    named = {
        name: frame.with_columns(
            pl.when(pl.col(each) != "").then(each).alias(each)
            for each in ("model", "version", "stage", "segment")
            if each in frame.columns
        )
        for name, frame in found.items()
    }
    number = pl.col("trace_id").str.to_integer(base=16).cast(pl.Int64) - 1
    return Analysis(
        findings=named["findings"].sort("segment", "column", "role", "method", "window", "window_index"),
        verdicts=named["model"],
        quality=named["quality"].sort(pl.col("role") == "model", maintain_order=True),
        anomalies=named["anomalies"].with_columns(number.alias("trace_id")).rename({"trace_id": "row"}),
    )


def _check_columns(baseline: Baseline, current: Rows) -> None:
    """Columns must be of one kind in both files, and at least one must be in both."""
    for name in dict.fromkeys(label.partition("=")[0] for label in baseline.segments):
        if Column(Role.SEGMENT, name).field not in current.kinds:
            raise BaselineError(f"--segment {name}: the current files have no such column")
    kinds = Derivation.of(baseline).raw_kinds(baseline)
    both = [name for name in current.kinds if name in kinds]
    if not both:
        raise BaselineError("the two files have no column in common that can be compared")
    for name in both:
        kind = current.kinds[name]
        if kind != kinds[name]:
            raise BaselineError(
                f"column {Column.from_field(name).name!r} is {kinds[name]} in the reference and {kind} in the current "
                "file: give both files the same type, or leave it out with --ignore"
            )
