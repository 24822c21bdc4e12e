"""What the service has in the end, against a run that nothing disturbed and against plain counting."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from chaos.evaluations import Evaluation, WindowName, digest_of_counts, last_of_each
from chaos.workload import CLICKS, Workload
from driftmeter.app import Service
from driftmeter.baseline.book import BaselineBook, read_book
from driftmeter.clock import SystemClock
from driftmeter.config import Config
from driftmeter.errors import DriftmeterError
from driftmeter.export.evaluated import EvaluatedWindow
from driftmeter.journal.entries import RowsEntry, decode
from driftmeter.journal.store import DiskJournal, MemoryJournal
from driftmeter.model.baseline import Baseline
from driftmeter.model.request import Request, Signal
from driftmeter.model.windows import parse_window
from driftmeter.pipeline import Listeners, Pipeline
from driftmeter.telemetry.metrics import Telemetry
from driftmeter.watched import WatchedModel

_REQUESTS_AT_A_TIME = 16
_SHOWN = 5
_WRITTEN = pl.Schema({"span_id": pl.Binary, "row_index": pl.UInt16, "place": pl.String})


class Counted(NamedTuple):
    """What is in a window."""

    rows: int
    digest: str


@dataclass
class Outcome:
    """All that came of some spans.

    Attributes:
        windows: Counts of all windows that take rows still.
        rows: Rows in windows by rows, finished ones too, by model.
        learned: The baseline that was learned, if one was.
        evaluations: What was said of windows, in order.
    written: Every row in journal and archive, by `span_id`, `row_index` and `place`.
    """

    windows: dict[WindowName, Counted] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    learned: Baseline | None = None
    evaluations: list[Evaluation] = field(default_factory=list)
    written: pl.DataFrame = field(default_factory=pl.DataFrame)


def recovered(config: Config) -> Outcome:
    """What a start finds in the journal's directory, which nobody uses now; reads it as the service does."""
    service = Service(config, SystemClock())
    assert service._keeper is not None
    assert isinstance(service._journal, DiskJournal)
    try:
        service._keeper.replay(lambda: False)
        result = outcome_of(service._pipeline)
        result.written = _rows_in(service._journal)
    finally:
        service._close()
    return result


def undisturbed(config: Config, workload: Workload, batches: Sequence[int], learned: Baseline | None) -> Outcome:
    """What a service that nothing disturbs makes of each of these batches once.

    Args:
        config: As the disturbed service has it; nothing is written.
        workload: Of which the batches are.
        batches: Their numbers.
        learned: The baseline of the model that learns its own: it depends on which rows come first.
    """
    book, evaluations = read_book(config.baseline.files), list[Evaluation]()
    if learned is not None:
        book = BaselineBook([*book._baselines.values(), learned])

    def keep(evaluated: EvaluatedWindow) -> None:
        evaluations.append(Evaluation.of(evaluated))

    pipeline = Pipeline(config, book, MemoryJournal(), Telemetry(), SystemClock(), Listeners(on_evaluated=keep))
    left = iter(batches)
    while some := list(islice(left, _REQUESTS_AT_A_TIME)):
        for outcome in pipeline.accept([Request(Signal.TRACES, workload.request(batch)) for batch in some]):
            if isinstance(outcome, DriftmeterError):
                raise outcome
        pipeline.settle()
    result = outcome_of(pipeline)
    pipeline.drain()
    pipeline.close()
    result.evaluations = evaluations
    return result


def outcome_of(pipeline: Pipeline) -> Outcome:
    """What a pipeline has; it can go on afterwards."""
    result = Outcome()
    for key, model in pipeline._models.items():
        result.windows |= _windows_of(model)
        result.rows[key.model] = _rows_of(model)
        if model.baseline is not None and model.baseline.name == "learned":
            result.learned = model.baseline
    return result


def _rows_in(journal: DiskJournal) -> pl.DataFrame:
    """Rows of the segments that are still there, and those of the archive."""
    parts = [_WRITTEN.to_frame()]
    for written in journal._log.replay():
        entry = decode(written.kind, written.payload)
        if isinstance(entry, RowsEntry):
            parts += [_rows_named(pa.Table.from_batches([each.predictions.rows]), "journal") for each in entry.batches]
    files = (journal._directory / "archive").rglob("*.parquet")
    named = ["span_id", "row_index"]
    parts += [_rows_named(pq.read_table(file, columns=named, partitioning=None), "archive") for file in files]
    return pl.concat(parts)


def _rows_named(rows: pa.Table, place: str) -> pl.DataFrame:
    frame = pl.from_arrow(rows.select(["span_id", "row_index"]))
    assert isinstance(frame, pl.DataFrame)
    return frame.with_columns(place=pl.lit(place)).cast(_WRITTEN)


def _windows_of(model: WatchedModel) -> dict[WindowName, Counted]:
    found: dict[WindowName, Counted] = {}
    if model._scored is None:
        return found
    by_time = model._scored.windows._by_time
    by_time._merge_panes(model.watermark_ns or 0)
    for windows in by_time._windows:
        for start_ns, _ in windows:
            packed = windows.count(start_ns, over=True)
            name = WindowName(model.key.model, windows.length.name, start_ns)
            found[name] = Counted(int(packed.rows[0]), digest_of_counts(packed)) if packed else Counted(-1, "lost")
    return found


def _rows_of(model: WatchedModel) -> int:
    """Rows in windows by rows, finished ones too."""
    by_rows = model._scored.windows._by_rows if model._scored else []
    return sum(each._index * each._window.rows + int(each._open.rows[0]) for each in by_rows)


def differences(found: Outcome, expected: Outcome) -> list[str]:
    """In what the counts of two runs differ, in words."""
    said = _compared("window", found.windows, expected.windows)
    if found.rows != expected.rows:
        said.append(f"rows in windows by rows: {found.rows}, expected {expected.rows}")
    if found.learned is None:
        said.append(f"no baseline was learned for {CLICKS}")
    return said


def differences_from_counting(found: Outcome, workload: Workload, batches: Sequence[int]) -> list[str]:
    """In what the rows of windows differ from what plain counting says."""
    by_time = {name.window for name in found.windows}
    expected = {
        WindowName(model, length, start_ns): rows
        for length in by_time
        for (model, start_ns), rows in workload.rows_by_window(batches, parse_window(length).length_ns).items()
    }
    return _compared("rows of window", {name: each.rows for name, each in found.windows.items()}, expected)


def differences_in_what_was_said(found: Iterable[Evaluation], expected: Iterable[Evaluation]) -> list[str]:
    """In what the last evaluations of windows differ. Windows by rows depend on the order of arrival: left out."""

    def scores(evaluations: Iterable[Evaluation]) -> dict[WindowName, Counted]:
        last = last_of_each(each for each in evaluations if not parse_window(each.name.window).by_rows)
        return {name: Counted(each.rows, each.digest) for name, each in last.items()}

    return _compared("scores of window", scores(found), scores(expected))


def differences_in_what_is_written(found: Outcome, rows: int) -> list[str]:
    """Whether journal and archive together hold each row, and neither holds one twice."""
    twice = found.written.height - found.written.n_unique()
    once = found.written.n_unique(["span_id", "row_index"])
    said = [f"{twice} rows stand twice in the journal or in the archive"] if twice else []
    return said + ([f"{once} rows in journal and archive, expected {rows}"] if once != rows else [])


def _compared(what: str, found: Mapping[WindowName, object], expected: Mapping[WindowName, object]) -> list[str]:
    wrong = [name for name in sorted(found.keys() | expected.keys()) if found.get(name) != expected.get(name)]
    said = [f"{what} {tuple(name)}: {found.get(name)}, expected {expected.get(name)}" for name in wrong[:_SHOWN]]
    return said + ([f"and {len(wrong) - _SHOWN} more {what}s"] if len(wrong) > _SHOWN else [])
