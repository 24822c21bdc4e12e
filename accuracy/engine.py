"""Baselines and verdicts by the service's own code: rows or counts in, the model's verdicts out."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from driftmeter.baseline.build import build_baseline
from driftmeter.baseline.data import Dataset
from driftmeter.detect.config import DEFAULT_MIN_EFFECTS, DetectConfig
from driftmeter.detect.detector import Detector
from driftmeter.detect.judge import Calibration, calibrations_of
from driftmeter.detect.level import choose_level, drift_levels
from driftmeter.detect.reference import FixedReference
from driftmeter.methods import DECIDING_METHODS, METHODS
from driftmeter.methods.groupings import build_groupings
from driftmeter.methods.score import score
from driftmeter.model.baseline import Baseline, Comparison
from driftmeter.model.counts import Counts, Moment, stack
from driftmeter.model.predictions import ModelKey
from driftmeter.model.window_counts import WindowCounts
from driftmeter.model.windows import WindowLength
from driftmeter.summary.fold import fold

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Columns = Mapping[str, npt.NDArray[np.generic]]
"""Rows by column: float64 (nan is missing), or str."""

KEY = ModelKey("accuracy", "1", "")
SEGMENT = "group"
"""The column that cuts rows into segments; all others are features."""
_CELLS_MAX = 4_000_000
"""Numbers × windows evaluated at a time: bounds memory at some 500 MB whatever the number of windows."""


def as_rows(columns: Columns) -> pa.RecordBatch:
    """Rows as the service's own tables hold them, features but for `SEGMENT`."""
    roles = {name: "segment" if name == SEGMENT else "feature" for name in columns}
    return pa.RecordBatch.from_pydict({f"{roles[name]}.{name}": _as_array(each) for name, each in columns.items()})


def _as_array(values: npt.NDArray[np.generic]) -> pa.Array:
    if values.dtype.kind == "f":
        return pa.array(values, pa.float64(), from_pandas=True)
    names, codes = np.unique(values, return_inverse=True)
    return pa.DictionaryArray.from_arrays(codes.astype(np.int32), names.tolist())


def build(
    columns: Columns, times_ns: Ints, windows: Sequence[WindowLength], *, season_zone: str | None = None
) -> Baseline:
    """A baseline of rows in any order, with segments where they have the column for it."""
    data, segments = Dataset(as_rows(columns), times_ns), [SEGMENT] if SEGMENT in columns else []
    return build_baseline(data, KEY.model, KEY.version, windows, season_zone=season_zone, segments=segments)


def count(
    baseline: Baseline, columns: Columns, times_ns: Ints, window: WindowLength, first_index: int = 0
) -> Iterator[WindowCounts]:
    """Windows by time of rows in any order, as the service counts them, in the order of time."""
    starts, slots = np.unique(times_ns // window.length_ns, return_inverse=True)
    event_time = pa.array(times_ns).cast(pa.timestamp("ns", "UTC"))
    rows, order = as_rows(columns).append_column("event_time", event_time), np.argsort(slots, kind="stable")
    bounds = np.concatenate(([0], np.cumsum(np.bincount(slots))))
    step = max(1, _CELLS_MAX // Counts.cells(baseline.layout))
    for first in range(0, len(starts), step):
        last = min(first + step, len(starts))
        picked = order[bounds[first] : bounds[last]]
        counts = Counts.zeros(baseline.layout, last - first)
        fold(baseline.layout, rows.take(picked), (slots[picked] - first).astype(np.int32), counts)
        for number in range(first, last):
            start = int(starts[number]) * window.length_ns
            yield WindowCounts(
                window, first_index + number, start, start + window.length_ns, 0, counts.window(number - first)
            )


def config(asked: float = 1.0, *, every_effect: bool = False) -> DetectConfig:
    """The defaults, for so many false alarms a week; `every_effect`: no effect is too small to count."""
    smallest = dict.fromkeys(DEFAULT_MIN_EFFECTS, 0.0) if every_effect else {}
    return DetectConfig(false_alarms_per_week=asked, min_effect=smallest)


def judge(baseline: Baseline, windows: Iterable[WindowCounts], config: DetectConfig) -> Floats:
    """The model's verdict on each window: 1 drifted, 0 not, nan none."""
    detector = Detector(KEY, baseline, [FixedReference(baseline)], config)
    parts = [detector.evaluate(part).model["detected"] for part in batches(baseline, windows)]
    return np.concatenate([part.cast(pl.Float64).fill_null(np.nan).to_numpy() for part in parts])


class Watch:
    """A model watched at all levels at once: the detector's own parts, without the methods that only inform.

    Args:
        baseline: What windows are compared with.
        window: Their length.
        configs: When there is drift; they may differ in the smallest effects.
        calibrations: Nulls and level of a segment, per configuration; those of the baseline unless given.
    """

    def __init__(
        self,
        baseline: Baseline,
        window: WindowLength,
        configs: Sequence[DetectConfig],
        calibrations: Sequence[Calibration] | None = None,
    ) -> None:
        self.baseline, self._window = baseline, window
        self._detector = Detector(KEY, baseline, [FixedReference(baseline)], configs[0], [window])
        self.segments: dict[str, Watch] = {}
        if calibrations is None:
            labels = list(baseline.segments)
            shared = [calibrations_of(baseline, Comparison.REST, each, [window], labels) for each in configs]
            calibrations = [each[""] for each in shared]
            for label in labels:
                own = [each[label] for each in shared]
                self.segments[label] = Watch(baseline.segments[label], window, configs, own)
        self._calibrations = calibrations
        self._groupings = build_groupings(baseline.columns)

    def levels(self, asked: Sequence[float]) -> list[list[float]]:
        """Per configuration and number of false alarms a week, the level; nan when the baseline is too short for it."""
        replayed = [(each.replay(), each.weeks) for each in self._calibrations]
        return [[choose_level(replay, weeks, each) for each in asked] for replay, weeks in replayed]

    def drift_levels(self, windows: Iterable[WindowCounts]) -> list[Floats]:
        """Per configuration, float64 (windows,): the level from which on the model is drifted in each; nan for none."""
        parts = [self._exceeding(part) for part in batches(self.baseline, windows)]
        found = []
        for number, calibration in enumerate(self._calibrations):
            exceeding = np.concatenate([part[number] for part in parts])[:, calibration.units.counts]
            found.append(np.asarray(np.fmin.reduce(drift_levels(exceeding, calibration.rule), axis=1)))
        return found

    def drift_levels_of_all(self, columns: Columns, times_ns: Ints) -> list[Floats]:
        """The same for rows: the model is drifted in a window where it or one of its segments is.

        All windows must have rows of each segment.
        """
        found = self.drift_levels(count(self.baseline, columns, times_ns, self._window))
        for label, segment in self.segments.items():
            mine = columns[SEGMENT] == label.partition("=")[2]
            rows = {name: values[mine] for name, values in columns.items()}
            own = segment.drift_levels(count(self.baseline, rows, times_ns[mine], self._window))
            found = [np.fmin(whole, part) for whole, part in zip(found, own, strict=True)]
        return found

    def _exceeding(self, windows: Sequence[WindowCounts]) -> list[Floats]:
        layout = self.baseline.layout
        counts = stack([each.counts.dense(layout) for each in windows])
        tails = counts.moments()[:, :, [Moment.TAIL_BELOW, Moment.TAIL_ABOVE]]
        observed, specs = counts.bins.astype(np.float64), [METHODS[key] for key in DECIDING_METHODS]
        scores = score(specs, self._groupings, self.baseline.counts, observed, tails)
        expected = FixedReference(self.baseline).expect(windows[0], counts.window(0))
        measured = self._detector._measure(counts, range(len(windows)), windows, scores, expected)  # noqa: SLF001
        calibration = self._calibrations[0]
        surprises = calibration.surprises(calibration.nulls_of(self._window), measured)[0]
        return [each.exceeding(surprises, measured) for each in self._calibrations]


def batches(baseline: Baseline, windows: Iterable[WindowCounts]) -> Iterator[list[WindowCounts]]:
    """Windows in lists small enough to be evaluated at a time."""
    step = max(1, _CELLS_MAX // Counts.cells(baseline.layout))
    waiting: list[WindowCounts] = []
    for window in windows:
        waiting.append(window)
        if len(waiting) == step:
            yield waiting
            waiting = []
    if waiting:
        yield waiting
