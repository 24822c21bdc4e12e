"""One model against one reference: nulls, level and verdicts."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from driftmeter.detect.config import DetectConfig
from driftmeter.detect.level import LEVEL_RULE, NOMINAL_LEVEL, Replayed, choose_level, drift_levels, replay
from driftmeter.detect.null import (
    CHUNKS_MIN,
    Measured,
    Nulls,
    Surprise,
    build_nulls,
    covered_ns,
    not_longer,
    surprises,
    volume_surprise,
    whole_surprises,
)
from driftmeter.detect.units import GROUPS, Units
from driftmeter.detect.verdict import Rule, Verdicts
from driftmeter.errors import ConfigError, DamagedError
from driftmeter.methods import DECIDING_METHODS
from driftmeter.methods.ratios import MODEL_RATIOS, RATIOS, ROWS
from driftmeter.model.baseline import Baseline, Comparison
from driftmeter.model.bins import NumericBins
from driftmeter.model.bundle import Tree
from driftmeter.model.stored import Stored
from driftmeter.model.window_counts import WindowCounts
from driftmeter.model.windows import WEEK_NS, WindowLength, parse_window

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Texts = npt.NDArray[np.object_]


@dataclass(frozen=True, eq=False)
class Judged:
    """What came of one window.

    Attributes:
        surprise: Per deciding key, of that window alone, each (1, c), of the model's own (1, 1).
        value: float64 (1, 1): the volume's own number.
        least: float64 (units,): the level from which on each unit exceeds, as `Units.exceeding` gives it.
        level: The level it was judged by; nan for none.
        detected: float64 (units,): 1 drifted, 0 not, nan no verdict.
        reasons: object (units,): why there is none; None where there is one.
        sources: object (units,): `own` or `borrowed`; None without a null.
        drifted: Verdict on the model: 1, 0, or nan when no unit that has a say has one.
    """

    surprise: Mapping[str, Surprise]
    volume: float
    least: Floats
    level: float
    detected: Floats
    reasons: Texts
    sources: Texts
    drifted: float


class Calibration:
    """Nulls and level of one model and comparison: what follows from the baseline and the settings alone.

    Args:
        baseline: The baseline.
        kind: What windows are compared with.
        units: What is judged.
        config: When there is drift.
        noise: Per deciding method, a of each column, float64 (columns,).
        windows: The window lengths that are replayed; all that the baseline has chunks of unless given.
    """

    def __init__(
        self,
        baseline: Baseline,
        kind: Comparison,
        units: Units,
        config: DetectConfig,
        noise: Mapping[str, Floats],
        windows: Sequence[WindowLength] | None = None,
    ) -> None:
        self.units = units
        self._segments: Mapping[str, Calibration] = {}
        self._whole: Calibration | None = None
        self._baseline, self._kind, self._config, self._noise = baseline, kind, config, noise
        self._windows = windows
        self._nulls: dict[str, Nulls] = {}
        self._level: float | None = None

    def share_level(self, segments: "Mapping[str, Calibration]") -> None:
        """One level for a model and its segments, by label: together they raise as many alarms as were asked for."""
        self._segments, self._level = segments, None
        for each in segments.values():
            each._whole = self  # noqa: SLF001 - one of its own kind.

    def nulls_of(self, window: WindowLength) -> Nulls:
        """What windows of a length look like without drift."""
        if window.name not in self._nulls:
            self._nulls[window.name] = build_nulls(
                self._baseline, self._kind, window.disjoint, self._noise, self._config.min_rows
            )
        return self._nulls[window.name]

    def surprises(self, nulls: Nulls, measured: Measured) -> tuple[dict[str, Surprise], Floats]:
        """How surprising windows are, per deciding key, and the volume's own number, float64 (w, 1)."""
        found = surprises(nulls, measured, self._noise) | whole_surprises(nulls, measured)
        volume, found[ROWS] = volume_surprise(nulls.volume, measured)
        return found, volume

    def exceeding(self, found: Mapping[str, Surprise], measured: Measured) -> Floats:
        """float64 (w, units): the level from which on each unit exceeds, see `Units.exceeding`."""
        pvalue, excess = ({key: getattr(each, name) for key, each in found.items()} for name in ("pvalue", "excess"))
        least = self._config.min_rows
        sufficient = {key: measured.behind(spec) >= least for key, spec in RATIOS.items()}
        sufficient |= dict.fromkeys(MODEL_RATIOS, (measured.rows >= least)[:, None])
        sufficient[ROWS] = np.ones((len(measured.rows), 1), np.bool_)
        sufficient[DECIDING_METHODS[0]] = measured.values >= least
        return self.units.exceeding(pvalue, excess, sufficient)

    @property
    def rule(self) -> Rule:
        """When drift begins and ends."""
        return Rule(self._config.needed, self._config.of, self._config.keeps)

    def level_of(self, window: WindowLength) -> float:
        """How surprising a window of a length must be to exceed; nan when the baseline cannot tell."""
        if window.by_rows and not (self._whole or self)._replayed_lengths():  # noqa: SLF001 - one of its own kind.
            return NOMINAL_LEVEL
        return self.level

    @property
    def level(self) -> float:
        """The level of all windows by time, from the baseline's file if it was kept there; nan when it has none."""
        return self.find_level()

    def find_level(self, on_block: Callable[[], None] = lambda: None) -> float:
        """The same; `on_block` as for `replay`."""
        if self._whole is not None:
            return self._whole.find_level(on_block)
        if self._level is None:
            kept = self._baseline.levels.get(self.settings)
            if kept is None:
                kept = choose_level(self.replay(on_block), self.weeks, self._config.false_alarms_per_week)
            self._level = kept
        return self._level

    @property
    def knows_level(self) -> bool:
        """Whether the level need not be found by replay any more."""
        if self._whole is not None:
            return self._whole.knows_level
        return self._level is not None or self.settings in self._baseline.levels

    @property
    def replayed_cells(self) -> int:
        """Chunks × columns that a replay looks at, those of the segments included: 4 µs each, or 0.1 s and more."""
        own = sum(len(self._baseline.chunks[each.name].rows) for each in self._replayed_lengths())
        return own * len(self._baseline.columns) + sum(each.replayed_cells for each in self._segments.values())

    @property
    def replayed_blocks(self) -> int:
        """How often `replay` calls `on_block`."""
        own = sum(int(self._baseline.chunks[each.name].blocks.max()) + 1 for each in self._replayed_lengths())
        return own + sum(each.replayed_blocks for each in self._segments.values())

    @property
    def least_budget(self) -> float:
        """The fewest false alarms per week that can be asked for, two digits, rounded up; infinite without times."""
        if not self.weeks:
            return np.inf
        digit = 10.0 ** (np.floor(np.log10(1 / self.weeks)) - 1)
        return float(np.ceil(1 / self.weeks / digit - 1e-9) * digit)

    @property
    def settings(self) -> str:
        """Name of all that the level depends on beside the baseline: a hash."""
        config, units = self._config, self.units
        said = [
            self._kind.value, sorted(each.name for each in self._replayed_lengths()), config.false_alarms_per_week,
            config.needed, config.of, config.keeps, config.min_rows, units.min_effect.tolist(), units.weights.tolist(),
            units.say.tolist(), LEVEL_RULE, *sorted(self._segments),
        ]  # fmt: skip
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()

    @property
    def weeks(self) -> float:
        """How long the baseline is."""
        return covered_ns(self._baseline) / WEEK_NS

    def replay(self, on_block: Callable[[], None] = lambda: None) -> Replayed:
        """The baseline's own chunks, and its segments', through the rule of live windows, for all levels at once.

        Args:
            on_block: Called when one block of the chunks of one length, of the model or of one segment, is done.
        """
        everything = [self, *self._segments.values()]
        return replay([length for each in everything for length in each._levels_of_chunks(on_block)])  # noqa: SLF001 - as above.

    def _levels_of_chunks(self, on_block: Callable[[], None]) -> list[tuple[npt.NDArray[np.int64], Floats]]:
        """Per window length, ends of the chunks and the levels from which on units drift there."""
        lengths = []
        for window in self._replayed_lengths():
            chunks = self._baseline.chunks[window.name]
            assert chunks.starts_ns is not None  # noqa: S101 - as chosen.
            exceeding = self._exceeding_chunks(window, on_block)
            levels = drift_levels(exceeding[:, self.units.counts], self.rule)
            ends = chunks.starts_ns + window.length_ns
            lengths.append((np.append(ends[1:], ends[-1:]) if window.by_rows else ends, levels))
        return lengths

    def _replayed_lengths(self) -> list[WindowLength]:
        """Lengths that the baseline has chunks of in the order of time, under its own names, and enough of them.

        A window whose own length has none is judged by a shorter one's null: so this one's chunks are replayed.
        """
        wanted = map(parse_window, self._baseline.chunks) if self._windows is None else self._windows
        found = (
            next(filter(self._can_be_replayed, not_longer(self._baseline, each.disjoint)), None) for each in wanted
        )
        return list(dict.fromkeys(each for each in found if each is not None))

    def _can_be_replayed(self, length: WindowLength) -> bool:
        chunks = self._baseline.chunks[length.name]
        return chunks.starts_ns is not None and self._kind in chunks.compared and len(chunks.rows) >= CHUNKS_MIN

    def _exceeding_chunks(self, window: WindowLength, on_block: Callable[[], None]) -> Floats:
        """float64 (chunks, units): each chunk judged by nulls of the chunks outside its own block.

        A null that was fitted to the chunk itself would find it less surprising than a window that comes later.
        """
        chunks = self._baseline.chunks[window.name]
        found = np.full((len(chunks.rows), len(self.units.group)), np.nan)
        for block in range(int(chunks.blocks.max()) + 1):
            nulls = build_nulls(self._baseline, self._kind, window, self._noise, self._config.min_rows, block)
            inside = np.flatnonzero(chunks.blocks == block)
            measured = self._measured_chunks(window, inside)
            found[inside] = self.exceeding(self.surprises(nulls, measured)[0], measured)
            on_block()
        return found

    def _measured_chunks(self, window: WindowLength, inside: npt.NDArray[np.intp]) -> Measured:
        chunks = self._baseline.chunks[window.name]
        compared = chunks.compared[self._kind]
        unknown = np.broadcast_to(np.int64(-1), chunks.values.shape)
        return Measured(
            starts_ns=None if chunks.starts_ns is None or window.by_rows else chunks.starts_ns[inside],
            rows=chunks.rows[inside].astype(np.float64),
            values=chunks.values[inside].astype(np.float64),
            compared=compared.rows[inside],
            squared={key: compared.squared[key][inside] for key in DECIDING_METHODS},
            hits={key: _known(chunks.ratios.get(key, unknown)[inside]) for key in RATIOS},
            whole={key: _known(table[inside, None]) for key, table in chunks.whole.items()},
        )


class Judge:
    """Verdicts of one model against one reference, over the sequence of its windows.

    Args:
        model: The model's name, for maintenance.
        calibration: Nulls and level.
        config: When there is drift.
    """

    def __init__(self, model: str, calibration: Calibration, config: DetectConfig) -> None:
        self._model = model
        self._calibration = calibration
        self._config = config
        self._verdicts: dict[str, Verdicts] = {}

    def judge(self, window: WindowCounts, measured: Measured | None) -> Judged:
        """Verdicts on one window; `measured` is of it alone, None when there is nothing to compare with yet."""
        units, calibration = self._calibration.units, self._calibration
        count = len(units.group)
        if measured is None:
            nan, none = np.full(count, np.nan), np.full(count, None, object)
            return Judged({}, np.nan, nan, np.nan, nan, np.full(count, "no_baseline", object), none, np.nan)
        nulls, level = calibration.nulls_of(window.window), calibration.level_of(window.window)
        found, volume = calibration.surprises(nulls, measured)
        least = calibration.exceeding(found, measured)[0]
        muted = self._config.in_maintenance(self._model, window.start_ns, window.end_ns)
        judged = ~np.isnan(least) & (not muted) & (not np.isnan(level))
        hop = None if window.start_ns is None or not window.window.hop_ns else window.start_ns // window.window.hop_ns
        verdicts = self._verdicts_of(window.window)
        detected = verdicts.judge(window.index, window.revision, least < level, judged, hop)
        say, uncounted = detected[units.counts], self._uncounted(nulls, measured)
        return Judged(
            surprise=found,
            volume=float(volume[0, 0]),
            least=least,
            level=level,
            detected=detected,
            reasons=self._reasons(nulls, uncounted, detected, level, muted=muted),
            sources=self._sources(nulls, uncounted),
            drifted=float(np.nanmax(say)) if (~np.isnan(say)).any() else np.nan,
        )

    def state(self) -> Tree:
        """The verdicts made so far, for `restore`; all else follows from the baseline."""
        return {window: verdicts.state() for window, verdicts in self._verdicts.items()}

    def restore(self, stored: Stored) -> None:
        """Take over a state of one with the same baseline and settings; raises DamagedError when it is none."""
        for name in stored.names:
            try:
                window = parse_window(name)
            except ConfigError as error:
                raise DamagedError(f"stored verdicts: {error}") from error
            self._verdicts_of(window).restore(stored.tree(name))

    def _verdicts_of(self, window: WindowLength) -> Verdicts:
        if window.name not in self._verdicts:
            self._verdicts[window.name] = Verdicts(
                len(self._calibration.units.group), self._calibration.rule, window.overlap
            )
        return self._verdicts[window.name]

    def _reasons(self, nulls: Nulls, uncounted: Bools, detected: Floats, level: float, *, muted: bool) -> Texts:
        """Why units have no verdict: nothing known of them, of the level, or of this window."""
        here = "uncalibrated" if np.isnan(level) else "maintenance" if muted else "insufficient"
        reasons = self._of_units(nulls, nulls.reason, "too_few_chunks", None)
        nothing = np.array([each is None for each in reasons.tolist()])
        reasons[nothing] = np.where(uncounted[nothing], "not_counted", here)
        reasons[~np.isnan(detected)] = None
        return reasons

    def _sources(self, nulls: Nulls, uncounted: Bools) -> Texts:
        """Where the null of each unit is from; None where it has none."""
        sources = self._of_units(nulls, nulls.source, None, "own")
        sources[uncounted] = None
        return sources

    def _uncounted(self, nulls: Nulls, measured: Measured) -> Bools:
        """Bool (units,): ratios that the baseline's chunks or this window do not tell of."""
        units = self._calibration.units
        found = np.zeros(len(units.group), np.bool_)
        for group, (key, *_) in enumerate(GROUPS):
            mine = units.group == group
            if key in RATIOS:
                without = (nulls.ratios[key].rows == 0) | np.isnan(measured.hits[key][0])
                found[mine] = without[units.column[mine]]
            elif key in MODEL_RATIOS:
                hits = measured.whole.get(key, np.full((1, 1), np.nan))
                found[mine] = np.isnan(hits[0, 0]) or (key in nulls.whole and nulls.whole[key].rows[0] == 0)
        return found

    def _of_units(self, nulls: Nulls, columns: Texts, without: str | None, own: str | None) -> Texts:
        """What each unit's column says; of the model's units, one thing for those without a null, one for others."""
        units = self._calibration.units
        there = {ROWS: nulls.volume is not None} | {key: key in nulls.whole for key in MODEL_RATIOS}
        of_model = np.array([own if there.get(keys[0]) else without for keys in GROUPS], object)
        said = np.concatenate([columns, np.array([None], object)])[units.column]
        model = units.column == len(columns)
        said[model] = of_model[units.group[model]]
        return said


def _known(hits: npt.NDArray[np.int64]) -> Floats:
    """Rows that chunks count, nan where that is not known."""
    return np.where(hits < 0, np.nan, hits.astype(np.float64))


def calibration_of(
    baseline: Baseline, kind: Comparison, config: DetectConfig, windows: Sequence[WindowLength] | None = None
) -> Calibration:
    """Nulls and level of a baseline; `windows` as for `Calibration`."""
    numeric = np.array([isinstance(each.bins, NumericBins) for each in baseline.columns])
    units = Units.of(baseline.layout.columns, numeric, config)
    return Calibration(baseline, kind, units, config, noise_table(baseline), windows)


def calibrations_of(
    baseline: Baseline,
    kind: Comparison,
    config: DetectConfig,
    windows: Sequence[WindowLength] | None,
    segments: Sequence[str],
) -> dict[str, Calibration]:
    """Nulls of a model, whose label is empty, and of these of its segments, by label; they share one level."""
    parts = {label: calibration_of(baseline.segments[label], kind, config, windows) for label in segments}
    whole = calibration_of(baseline, kind, config, windows)
    whole.share_level(parts)
    return {"": whole, **parts}


def noise_table(baseline: Baseline) -> dict[str, Floats]:
    """Per deciding method, a of each column, float64 (columns,); nan where it does not apply."""
    return {key: np.array([each.noise.get(key, np.nan) for each in baseline.columns]) for key in DECIDING_METHODS}
