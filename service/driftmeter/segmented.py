"""What the service holds of a model's segments: windows, references and verdicts of each, on the model's own bins.

Rows are cut by the values of each segment column; a row so is in one segment of every column. To cut and count small
batches costs as much as large ones, so rows wait for others, until a window is due. Windows of segments close with the
model's: event time is one for all of them.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from driftmeter.baseline.segments import places_of
from driftmeter.detect.detector import Detector, Evaluation
from driftmeter.detect.judge import Calibration, calibrations_of
from driftmeter.detect.preparing import Preparation
from driftmeter.detect.reference import AbsentReference
from driftmeter.model.baseline import Baseline, Comparison
from driftmeter.model.blobs import Blobs
from driftmeter.model.bundle import Tree
from driftmeter.model.columns import Column, Role, is_scored_field
from driftmeter.model.counts import PackedCounts
from driftmeter.model.predictions import ModelKey, Predictions
from driftmeter.model.segments import OTHER, label_of, values_of
from driftmeter.model.stored import Stored
from driftmeter.model.waiting import batches_from_state, batches_state, joined
from driftmeter.model.window_counts import WindowCounts
from driftmeter.overrides import ModelConfig
from driftmeter.references import comparable, references_of, shortcomings
from driftmeter.telemetry.logs import fields
from driftmeter.window.batch import slice_rows
from driftmeter.window.windows import ModelWindows

_COUNTED = ("event_time", "row_index", "dropped_attributes_count")
"""Fixed fields of the rows of segments."""

_LOG = logging.getLogger(__name__)

WAITING_ROWS_MAX = 8_192
"""Rows that wait to be counted together; models with windows by rows have none, as these may be due at any row."""


@dataclass(eq=False)
class _Part:
    """One segment."""

    windows: ModelWindows
    detector: Detector


class SegmentedWindows:
    """The segments of one model, version and stage.

    A value that the baseline has no segment of is among the others of its column, as are rows without one. Where the
    baseline does not know the others either, their findings have no verdict (`no_baseline`).

    Args:
        key: The model.
        baseline: The model's.
        config: Its configuration.
        blobs: Where what is seldom looked at goes.
        kinds: How its windows are compared.
    """

    def __init__(
        self, key: ModelKey, baseline: Baseline, config: ModelConfig, blobs: Blobs, kinds: set[Comparison]
    ) -> None:
        known = config.labels_of(baseline.segments)
        judged = comparable(baseline, config.baseline)
        self._by_kind = {
            kind: calibrations_of(judged, kind, config.detect, config.window.parsed, known) for kind in kinds
        }
        self.preparation = Preparation(list(self._by_kind.values()), config.window.parsed)
        """What judging windows of the model and of its segments takes beforehand."""
        self._columns = {name: values_of(known, name) for name in config.segments}
        self._key = key
        self._say_unknown(baseline, config)
        self._waiting: list[Predictions] = []
        self._rows_waiting = 0
        self._since_ns = 0  # What the clock said when the first of these came.
        self._waiting_max = 0 if any(each.by_rows for each in config.window.parsed) else WAITING_ROWS_MAX
        self._parts: dict[str, _Part] = {}
        for label in self._labels():
            own = baseline.segments[label] if label in known else None
            references = [AbsentReference(baseline.name)] if own is None else references_of(own, config.baseline)
            detector = Detector(
                key, own or baseline, references, config.detect, config.window.parsed, label, self._calibrations(label)
            )
            self._parts[label] = _Part(ModelWindows(baseline.layout, config.window, blobs), detector)

    @property
    def of_model(self) -> Mapping[Comparison, Calibration]:
        """Nulls of the model itself, by kind, whose level holds for its segments too."""
        return self._calibrations("")

    def take(self, batch: Predictions, now_ns: int, whole: ModelWindows, *, due: bool) -> list[WindowCounts]:
        """Take rows that the model's own windows took, and count them or let them wait.

        Until those that wait are counted event time stands still here: they all were in time when they came.

        Args:
            batch: The rows, without late ones.
            now_ns: The clock.
            whole: The model's own windows, after they took the rows.
            due: Whether any of these became due before it took them.

        Returns:
            The windows that are due.
        """
        if batch.rows.num_rows:
            if not self._waiting:
                self._since_ns = now_ns
            self._waiting.append(batch)
            self._rows_waiting += batch.rows.num_rows
        counted = self.count(whole) if self._rows_waiting > self._waiting_max else []
        return counted + self.close(whole, due=due)

    def count(self, whole: ModelWindows) -> list[WindowCounts]:
        """Count the rows that wait; returns the windows that are due for them, none but windows by rows."""
        waiting, self._waiting, self._rows_waiting = self._waiting, [], 0
        due: list[WindowCounts] = []
        try:
            for _, alike in groupby(waiting, lambda each: each.rows.schema):
                for label, rows in self._cut(joined(list(alike))):
                    due += _of(label, self._parts[label].windows.take(rows, self._since_ns)[1])
        finally:
            self.keep_pace(whole)
        return due

    def keep_pace(self, whole: ModelWindows) -> None:
        """Event time is where it is for the model's own windows, unless rows wait."""
        if not self._waiting:
            for part in self._parts.values():
                part.windows.keep_pace(whole)

    def close(self, whole: ModelWindows, *, due: bool) -> list[WindowCounts]:
        """Windows that event time has passed, the model's own windows knowing of it; `due` if any of these was."""
        if not due:
            self.keep_pace(whole)
            return []
        counted = self.count(whole)
        return counted + [each for label, part in self._parts.items() for each in _of(label, part.windows.close())]

    def tick(self, now_ns: int, whole: ModelWindows, *, due: bool, revise: bool) -> list[WindowCounts]:
        """Time has passed, and the model's own windows know of it; `due` if any of these was."""
        if not due:
            self.keep_pace(whole)
            return []
        counted = self.count(whole)
        ticked = ((label, part.windows.tick(now_ns, revise=revise)) for label, part in self._parts.items())
        return counted + [each for label, windows in ticked for each in _of(label, windows)]

    def drain(self, whole: ModelWindows, *, everything: bool) -> list[WindowCounts]:
        """The last windows before stopping."""
        counted = self.count(whole)
        drained = ((label, part.windows.drain(everything=everything)) for label, part in self._parts.items())
        return counted + [each for label, due in drained for each in _of(label, due)]

    def evaluate(self, window: WindowCounts) -> Evaluation:
        """Findings of a window of one of the segments."""
        return self._parts[window.segment].detector.evaluate([window])

    def counted(self, window: WindowCounts, whole: ModelWindows) -> PackedCounts | None:
        """What there is of the same window of the same segment."""
        self.count(whole)
        part = self._parts.get(window.segment)
        if part is None or window.start_ns is None:
            return None
        return part.windows.counted(window.window, window.start_ns)

    def __contains__(self, label: str) -> bool:
        return label in self._parts

    def go_on_from(self, before: "SegmentedWindows") -> int:
        """Take over windows and verdicts of the same segments, counted in the same bins.

        Returns:
            How many windows are given up, of segments that are not known any more.
        """
        given_up = 0
        for label, old in before._parts.items():  # noqa: SLF001 - one of its own kind.
            part = self._parts.get(label)
            if part is None:
                given_up += old.windows.unfinished
                old.windows.abandon()
            else:
                part.detector.restore(old.detector.state())
                part.windows = old.windows
        return given_up

    def abandon(self) -> None:
        """Nothing is done with these windows any more."""
        for part in self._parts.values():
            part.windows.abandon()

    def state(self) -> Tree:
        """All of it, for `restore`."""
        return {
            "waiting": batches_state(self._waiting),
            "since_ns": self._since_ns,
            "parts": {
                label: {"windows": part.windows.state(), "detector": part.detector.state()}
                for label, part in self._parts.items()
            },
        }

    def restore(self, stored: Stored, whole: ModelWindows) -> None:
        """Take over a state of windows in the same bins; segments that it does not have begin anew.

        Raises:
            DamagedError: It is none.
        """
        self.keep_pace(whole)
        self._waiting = batches_from_state(self._key, stored.tree("waiting"))
        self._rows_waiting = sum(each.rows.num_rows for each in self._waiting)
        self._since_ns = stored.integer("since_ns")
        parts = stored.member("parts")
        gone = [label for label in parts.names if label not in self._parts]
        if gone:
            said = fields(model=self._key.model, version=self._key.version, segments=", ".join(gone))
            _LOG.warning("segments that are not configured any more are given up with their windows", extra=said)
        for label, part in self._parts.items():
            if label in parts.names:
                own = parts.member(label)
                part.windows.restore(own.tree("windows"))
                part.detector.restore(own.tree("detector"))

    @property
    def labels(self) -> Sequence[str]:
        """Labels of all segments."""
        return list(self._parts)

    def _say_unknown(self, baseline: Baseline, config: ModelConfig) -> None:
        """Say of which references and segments nothing can be said."""
        for each in shortcomings(baseline, config.baseline):
            _LOG.warning("%s", each, extra=fields(model=self._key.model, version=self._key.version))
        missing = [name for name in config.segments if not values_of(baseline.segments, name)]
        if missing:
            _LOG.warning(
                "the model's baseline (%s) has no segments by %s: nothing is said of them (no_baseline). Build one: "
                "driftmeter baseline build --from-archive MODEL --segment %s",
                baseline.name, ", ".join(missing), missing[0],
                extra=fields(model=self._key.model, version=self._key.version),
            )  # fmt: skip

    def _calibrations(self, label: str) -> dict[Comparison, Calibration]:
        """Those of one segment; of one without a baseline the model's, which are never asked."""
        return {kind: each.get(label, each[""]) for kind, each in self._by_kind.items()}

    def _labels(self) -> Iterator[str]:
        for name, values in self._columns.items():
            for value in [*values, OTHER]:
                yield label_of(name, value)

    def _cut(self, batch: Predictions) -> Iterator[tuple[str, Predictions]]:
        """Labels and rows of the segments that a batch has rows of, with no more than is counted of them.

        Without keys no samples are taken, of which nothing is said.
        """
        whole = batch.rows
        counted = [*_COUNTED, *filter(is_scored_field, whole.schema.names)]
        batch = Predictions(batch.key, whole.select(counted), batch.mismatches)
        for name, values in self._columns.items():
            position = whole.schema.get_field_index(Column(Role.SEGMENT, name).field)
            column = whole.column(position) if position >= 0 else None
            places = _places(column, values, batch.rows.num_rows)
            counts = np.bincount(places, minlength=len(values) + 1)
            ordered = batch if counts.max() == len(places) else _ordered(batch, np.argsort(places, kind="stable"))
            for place in np.flatnonzero(counts).tolist():
                first = int(counts[:place].sum())
                yield label_of(name, [*values, OTHER][place]), slice_rows(ordered, first, int(counts[place]))


def _places(column: pa.Array | None, values: Sequence[str], rows: int) -> npt.NDArray[np.uint16]:
    """uint16 (rows,): the place of each row's value, behind all of them for others."""
    return np.full(rows, len(values), np.uint16) if column is None else places_of(column, values)


def _ordered(batch: Predictions, order: npt.NDArray[np.int64]) -> Predictions:
    """The batch with its rows in another order."""
    place = np.empty(len(order), np.uint32)
    place[order] = np.arange(len(order), dtype=np.uint32)
    mismatches = {name: np.sort(place[numbers]) for name, numbers in batch.mismatches.items()}
    return Predictions(batch.key, batch.rows.take(pa.array(order)), mismatches)


def _of(label: str, due: Sequence[WindowCounts]) -> list[WindowCounts]:
    return [replace(each, segment=label) for each in due]
