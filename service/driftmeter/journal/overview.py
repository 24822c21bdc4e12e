"""What is in a state directory, for people and scripts: a look that changes nothing, also beside a running service."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from driftmeter.errors import ConfigError, DamagedError
from driftmeter.journal.archive_layout import HOUR_NS, hours
from driftmeter.journal.entries import (
    BASELINE_KIND,
    LEARNED_KIND,
    QUARANTINED_KIND,
    RETRIED_KIND,
    ROWS_KIND,
    TICK_KIND,
    BatchEntry,
    Entry,
    RowsEntry,
    decode,
)
from driftmeter.journal.files import RealFiles
from driftmeter.journal.frames import Frame
from driftmeter.journal.quarantine import DiskQuarantine, Listed
from driftmeter.journal.segments import list_segments, read_segment
from driftmeter.journal.snapshots import list_snapshots, read_snapshot, snapshot_path
from driftmeter.model.bundle import Tree
from driftmeter.model.predictions import ModelKey
from driftmeter.model.stored import Stored

KIND_NAMES = {
    ROWS_KIND: "rows",
    TICK_KIND: "tick",
    LEARNED_KIND: "learned",
    QUARANTINED_KIND: "quarantined",
    RETRIED_KIND: "retried",
    BASELINE_KIND: "baseline",
}
_DAY_HOURS = 24
_NEVER_NS = -(2**62)
"""Watermarks below it are of models that have seen nothing."""


@dataclass(frozen=True, slots=True)
class SnapshotFacts:
    """A snapshot: the last entry it covers, its size, when it was written, and what is wrong with it."""

    sequence: int
    size_bytes: int
    written_ns: int
    problem: str


@dataclass(frozen=True, slots=True)
class SegmentFacts:
    """A segment: its entries that count, and its size."""

    first: int
    last: int
    entries: int
    size_bytes: int
    problem: str


@dataclass(slots=True)
class ModelFacts:
    """What the snapshot holds of a model, and what came behind it.

    Attributes:
        model: Its name.
        version: Its version.
        stage: Its stage.
        baseline: `scored`, `learning`, or empty when it is only behind the snapshot.
        watermark_ns: Event time up to which windows are closed, as of the snapshot.
        open_panes: Pieces of windows by time that are still counted into.
        span_keys: Spans that are remembered so that they are not counted twice.
        tail_spans: Spans behind the snapshot.
        tail_rows: Rows behind the snapshot.
        tail_start_ns: Their oldest event time.
        tail_end_ns: Their newest event time.
    """

    model: str
    version: str
    stage: str
    baseline: str = ""
    watermark_ns: int | None = None
    open_panes: int = 0
    span_keys: int = 0
    tail_spans: int = 0
    tail_rows: int = 0
    tail_start_ns: int | None = None
    tail_end_ns: int | None = None


@dataclass(slots=True)
class ArchivedDay:
    """What the archive has of a model and a day (days since 1970, UTC)."""

    model: str
    version: str
    stage: str
    day: int
    files: int = 0
    rows: int = 0
    size_bytes: int = 0


@dataclass(slots=True)
class Overview:
    """All of it. `tail` counts the entries behind the newest intact snapshot by kind."""

    directory: str
    snapshots: list[SnapshotFacts] = field(default_factory=list)
    segments: list[SegmentFacts] = field(default_factory=list)
    tail: dict[str, int] = field(default_factory=dict)
    models: list[ModelFacts] = field(default_factory=list)
    archive: list[ArchivedDay] = field(default_factory=list)
    quarantine: list[Listed] = field(default_factory=list)
    blobs_bytes: int = 0


def look(directory: Path, progress: Callable[[int, int], None] = lambda _done, _of: None) -> Overview:
    """Look at a state directory.

    Args:
        directory: As `journal.directory` names it.
        progress: Told how many segments are read, of how many.

    Raises:
        OSError: Something is there but cannot be read.
    """
    found = Overview(str(directory))
    models: dict[ModelKey, ModelFacts] = {}
    covered = 0
    for sequence in list_snapshots(RealFiles(), directory / "snapshots"):
        with suppress(FileNotFoundError):
            covered = _look_at_snapshot(directory / "snapshots", sequence, found, models) or covered
    _look_at_segments(directory / "journal", covered, found, models, progress)
    found.models = [models[key] for key in sorted(models)]
    found.archive = archived_days(directory / "archive")
    found.quarantine = DiskQuarantine(RealFiles(), directory / "quarantine", 0).listed()
    found.blobs_bytes = sum(path.stat().st_size for path in (directory / "blobs").glob("*.blobs") if path.exists())
    return found


def entry_at(directory: Path, sequence: int) -> Entry:
    """One entry of the journal.

    Raises:
        ConfigError: It is not there.
        DamagedError: It cannot be read.
        OSError: Something is there but cannot be read.
    """
    for _, _, frames, _, _ in _segments(directory / "journal"):
        if frames and frames[0].sequence <= sequence <= frames[-1].sequence:
            for frame in frames:
                if frame.sequence == sequence:
                    return decode(frame.kind, frame.payload)
    raise ConfigError(f"--sequence {sequence}: the journal has no such entry; see its segments with: journal inspect")


def _segments(journal: Path) -> Iterator[tuple[Path, int, list[Frame], int, str]]:
    """Path, first sequence, frames, size and problem of each segment."""
    found = list_segments(journal, RealFiles().names(journal))
    for place, (first, path) in enumerate(found):
        try:
            buffer = memoryview(path.read_bytes())  # Not mapped: a running service may cut it.
        except FileNotFoundError:
            continue
        try:
            reading = read_segment(path, buffer, first, found[place + 1][0] if place + 1 < len(found) else None)
        except ConfigError as error:
            yield path, first, [], len(buffer), str(error)
        else:
            yield path, first, reading.frames, len(buffer), "; ".join(map(str, reading.faults))


def _look_at_segments(
    journal: Path,
    covered: int,
    found: Overview,
    models: dict[ModelKey, ModelFacts],
    progress: Callable[[int, int], None],
) -> None:
    tail = Counter[str]()
    total = len(list_segments(journal, RealFiles().names(journal)))
    for done, (_, first, frames, size_bytes, problem) in enumerate(_segments(journal)):
        progress(done, total)
        last = frames[-1].sequence if frames else first - 1
        found.segments.append(SegmentFacts(first, last, len(frames), size_bytes, problem))
        for frame in frames:
            if frame.sequence > covered:
                tail[KIND_NAMES.get(frame.kind, str(frame.kind))] += 1
                _look_at_entry(frame, models)
    found.tail = dict(tail)


def _look_at_entry(frame: Frame, models: dict[ModelKey, ModelFacts]) -> None:
    if frame.kind != ROWS_KIND:
        return
    with suppress(DamagedError):
        entry = decode(frame.kind, frame.payload)
        assert isinstance(entry, RowsEntry)  # noqa: S101 - that is its kind.
        for batch in entry.batches:
            _add_batch(_facts(models, batch.predictions.key), batch)


def _add_batch(facts: ModelFacts, batch: BatchEntry) -> None:
    rows = batch.predictions.rows
    facts.tail_spans += batch.spans
    facts.tail_rows += rows.num_rows
    if rows.num_rows:
        ends = pc.min_max(pc.cast(rows.column("event_time"), pa.int64())).as_py()
        facts.tail_start_ns = min(ends["min"], ends["min"] if facts.tail_start_ns is None else facts.tail_start_ns)
        facts.tail_end_ns = max(ends["max"], ends["max"] if facts.tail_end_ns is None else facts.tail_end_ns)


def _look_at_snapshot(
    snapshots: Path, sequence: int, found: Overview, models: dict[ModelKey, ModelFacts]
) -> int | None:
    """Returns the sequence when the snapshot is intact: what it says of models is then in the place of what was."""
    path = snapshot_path(snapshots, sequence)
    status = path.stat()
    try:
        tree = read_snapshot(RealFiles(), snapshots, sequence)
    except DamagedError as error:
        found.snapshots.append(SnapshotFacts(sequence, status.st_size, status.st_mtime_ns, str(error)))
        return None
    found.snapshots.append(SnapshotFacts(sequence, status.st_size, status.st_mtime_ns, ""))
    models.clear()
    with suppress(DamagedError):  # Of another version: what there is to be known stays unknown.
        for each in Stored(tree).member("state").member("pipeline").objects("models"):
            _read_model(_facts(models, each.key("key")), each.member("state"))
    return sequence


def _read_model(facts: ModelFacts, state: Stored) -> None:
    facts.span_keys = _span_keys(state.tree("seen"))
    windows: Tree = {}
    if state.tree("learning") is not None:
        facts.baseline = "learning"
        windows = state.tree("waiting_watermark")
    elif state.tree("scored") is not None:
        facts.baseline = "scored"
        windows = state.member("scored").tree("windows")
    match windows:
        case {"watermark_ns": int(watermark_ns)} | {"value_ns": int(watermark_ns)} if watermark_ns > _NEVER_NS:
            facts.watermark_ns = watermark_ns
    match windows:
        case {"by_time": {"panes": np.ndarray() as panes}}:
            facts.open_panes = int(panes.size)


def _span_keys(tree: Tree) -> int:
    """How many there are in memory and in blobs."""
    match tree:
        case {"panes": list(panes), "runs": {"pieces": np.ndarray() as pieces, "keys": np.ndarray() as keys}}:
            held = int(keys.size) + (int(pieces[:, 3].sum()) if pieces.size else 0)
            return held + sum(_integers(pane) for pane in panes)
    return 0


def _integers(tree: Any) -> int:
    """Elements of the uint64 arrays in a tree."""
    if isinstance(tree, np.ndarray):
        return int(tree.size) if tree.dtype == np.uint64 else 0
    inner = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ()
    return sum(map(_integers, inner))


def _facts(models: dict[ModelKey, ModelFacts], key: ModelKey) -> ModelFacts:
    return models.setdefault(key, ModelFacts(*key))


def archived_days(archive: Path) -> list[ArchivedDay]:
    """What the archive has, by model and day. Files that cannot be read count with no rows. Raises OSError."""
    found: dict[tuple[ModelKey, int], ArchivedDay] = {}
    for each in sorted(hours(RealFiles(), archive)):
        day = each.hour // _DAY_HOURS
        facts = found.setdefault((each.key, day), ArchivedDay(*each.key, day))
        for path in each.path.glob("*.parquet"):
            with suppress(FileNotFoundError):
                facts.size_bytes += path.stat().st_size
                facts.files += 1
                with suppress(pa.ArrowException, OSError, ValueError):
                    facts.rows += pq.read_metadata(path).num_rows
    return list(found.values())


def day_start_ns(day: int) -> int:
    """When a day begins, nanoseconds since 1970."""
    return day * _DAY_HOURS * HOUR_NS
