"""What a baseline can promise: budgets of false alarms, the level each gives, and the shifts that are still seen."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import polars as pl

from driftmeter.detect.beta_binomial import tails
from driftmeter.detect.config import DetectConfig
from driftmeter.detect.judge import Calibration, calibration_of, calibrations_of
from driftmeter.detect.level import choose_level
from driftmeter.detect.null import Nulls, critical_squared
from driftmeter.detect.preparing import Preparation
from driftmeter.errors import ConfigError
from driftmeter.methods import DECIDING_METHODS, METHODS
from driftmeter.methods.ratios import MISSING, MODEL_KEYS, RATIOS
from driftmeter.model.baseline import Baseline, Comparison
from driftmeter.model.bins import NumericBins
from driftmeter.model.windows import WindowLength, parse_window
from driftmeter.overrides import ModelConfig
from driftmeter.references import comparable, kinds_of

Floats = npt.NDArray[np.float64]

BUDGETS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""False alarms per week that are looked at."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What one number of false alarms per week gives.

    Attributes:
        alarms_per_week: What is asked for.
        level: How surprising a window must be; nan when the baseline is too short.
        replayed: Alarms per week in the baseline's own time at that level.
        drifted_time: Part of that time that is called drifted.
    """

    alarms_per_week: float
    level: float
    replayed: float
    drifted_time: float


def budgets(calibration: Calibration, asked: float) -> list[Budget]:
    """What the usual budgets and the one asked for give, ascending."""
    replayed, weeks = calibration.replay(), calibration.weeks
    found = []
    for each in sorted({*BUDGETS, asked}):
        level = choose_level(replayed, weeks, each)
        known = not np.isnan(level)
        alarms = replayed.alarms(level) / weeks if known else np.nan
        found.append(Budget(each, level, alarms, replayed.drifted_time(level) if known else np.nan))
    return found


def detectable(
    baseline: Baseline, calibration: Calibration, config: DetectConfig, window: WindowLength
) -> pl.DataFrame:
    """The smallest drift of each column that exceeds in a window of usual size.

    Columns: column, role, rows (of a usual window, with a value), then null where nothing can be judged or the method
    does not apply: jensen_shannon (distance), wasserstein_normalised (standard deviations: about the shift of the mean
    that is seen), missing_ratio (of the rows).
    """
    nulls, level = calibration.nulls_of(window), calibration.level_of(window)
    rows = _usual_rows(baseline, window)
    columns = baseline.layout.columns
    table: dict[str, Sequence[object] | Floats] = {
        "column": [each.name for each in columns],
        "role": [each.role.value for each in columns],
        "rows": np.nan_to_num(rows),
    }
    effects = {key: np.array([config.min_effects(each.name)[key] for each in columns]) for key in (*METHODS, *RATIOS)
               if key in (*DECIDING_METHODS, MISSING.key)}  # fmt: skip
    for key in DECIDING_METHODS:
        noise = np.array([each.noise.get(key, np.nan) for each in baseline.columns])
        totals = np.array([float(each.counts.sum()) for each in baseline.columns])
        with np.errstate(divide="ignore", invalid="ignore"):
            expected = noise * (1 / rows + 1 / totals) + nulls.methods[key].natural
        smallest = critical_squared(expected, nulls.methods[key].shape, nulls.methods[key].chunks, level)
        table[key] = np.sqrt(np.maximum(smallest, expected + effects[key] ** 2))
    table[MISSING.key] = _smallest_missing(nulls, rows, level, effects[MISSING.key])
    return pl.DataFrame(table).with_columns(
        *(pl.when(pl.col(key).is_finite()).then(key).alias(key) for key in effects), rows=pl.col("rows").cast(pl.Int64)
    )


def calibrated(
    baseline: Baseline,
    config: DetectConfig,
    windows: Sequence[WindowLength] | None = None,
    segments: Sequence[str] = (),
    kinds: Iterable[Comparison] = (Comparison.REST,),
    on_block: Callable[[int, int], None] = lambda _done, _all: None,
) -> tuple[Baseline, Calibration]:
    """The baseline with the levels for these settings, so that whoever reads it need not replay it, and how they came.

    Args:
        baseline: The baseline.
        config: When there is drift.
        windows: The window lengths that are replayed; all that the baseline has chunks of unless given.
        segments: Labels of its segments that are judged too.
        kinds: What windows are compared with; each has a level of its own.
        on_block: Called with the number of blocks that are replayed and in all.

    Returns:
        The calibration that of the kinds is the first.
    """
    calibrations = [calibrations_of(baseline, kind, config, windows, segments)[""] for kind in kinds]
    blocks = sum(each.replayed_blocks for each in calibrations if not each.knows_level)
    done = 0

    def count() -> None:
        nonlocal done
        done += 1
        on_block(done, blocks)

    levels = {each.settings: each.find_level(count) for each in calibrations}
    return replace(baseline, levels={**baseline.levels, **levels}), calibrations[0]


def calibrated_for(
    baseline: Baseline,
    settings: ModelConfig | None,
    on_block: Callable[[int, int], None] = lambda _done, _all: None,
) -> tuple[Baseline, Calibration]:
    """The baseline with the levels that a service will ask for, as `calibrated` gives them.

    Args:
        baseline: The baseline.
        settings: The service's, for this model; None for the defaults with all that the baseline has: its window
            lengths, its segments, its hours of the week.
        on_block: As for `calibrated`.
    """
    if settings is None:
        kinds = [Comparison.REST] if baseline.hours is None else [Comparison.REST, Comparison.SEASONAL]
        return calibrated(baseline, DetectConfig(), None, tuple(baseline.segments), kinds, on_block)
    labels, kinds = settings.labels_of(baseline.segments), kinds_of(settings.baseline)
    judged, calibration = calibrated(
        comparable(baseline, settings.baseline), settings.detect, settings.window.parsed, labels, kinds, on_block
    )
    return replace(baseline, levels=judged.levels), calibration


def shortfall(calibration: Calibration) -> str:
    """What a baseline too short for the false alarms that are asked for can do."""
    return (
        f"this baseline covers {calibration.weeks:.2g} weeks and supports {calibration.least_budget:.2g} false alarms "
        "a week or more: with fewer (detect.false_alarms_per_week) there are scores and no verdicts"
    )


def cells_to_replay(baseline: Baseline, settings: ModelConfig) -> int:
    """Chunks × columns that a service replays at its start, as their level is not in the file."""
    labels = settings.labels_of(baseline.segments)
    judged, windows = comparable(baseline, settings.baseline), settings.window.parsed
    calibrations = [
        calibrations_of(judged, kind, settings.detect, windows, labels) for kind in kinds_of(settings.baseline)
    ]
    return Preparation(calibrations, windows).replayed_cells


def check_detect(baseline: Baseline, config: DetectConfig, windows: Sequence[WindowLength]) -> None:
    """Refuse what a baseline cannot support.

    Raises:
        ConfigError: The budget needs a longer baseline, or a smallest effect is set for a method that its columns lack.
    """
    whose = (
        f"model {baseline.model!r}, version {baseline.version!r}" if baseline.version else f"model {baseline.model!r}"
    )
    for glob, special in config.features.items():
        mine = [each for each in baseline.columns if config.of_column(each.column.name) is special]
        for key in special.min_effect:
            fits = (_applies(key, numeric=isinstance(each.bins, NumericBins)) for each in mine)
            if key not in MODEL_KEYS and mine and not any(fits):
                raise ConfigError(f"detect.features.{glob}.min_effect.{key}: does not fit any such column of {whose}")
    calibration = calibration_of(baseline, Comparison.REST, config, windows)
    least = calibration.least_budget
    if baseline.start_ns is None or config.false_alarms_per_week >= least:
        return
    raise ConfigError(
        f"detect.false_alarms_per_week: {config.false_alarms_per_week:g} cannot be kept with the baseline of {whose}, "
        f"which covers {calibration.weeks:.2g} weeks: it supports {least:.2g} or more; "
        f"for fewer give it at least {math.ceil(1 / config.false_alarms_per_week)} weeks"
    )


def windows_of(baseline: Baseline, names: Sequence[str] | None) -> list[WindowLength]:
    """Window lengths by name, or those that the baseline has chunks of."""
    return [parse_window(name) for name in names or baseline.chunks]


def _usual_rows(baseline: Baseline, window: WindowLength) -> Floats:
    """Median of the rows with a value in the chunks of a length, (columns,); nan without chunks."""
    own = next((chunks for name, chunks in baseline.chunks.items() if parse_window(name)[1:] == window[1:]), None)
    return np.full(len(baseline.columns), np.nan) if own is None else np.median(own.values, axis=0)


def _smallest_missing(nulls: Nulls, rows: Floats, level: float, least: Floats) -> Floats:
    """The smallest ratio of missing values that is more than usual, (columns,), by halving."""
    null = nulls.ratios[MISSING.key]
    usual = null.hits / null.rows
    with np.errstate(invalid="ignore"):
        worth = null.rows / (1 + (null.typical - 1).clip(min=0) * null.correlation)
        mean = (worth * usual + 0.5) / (worth + 1)
        precision = 1 / (null.correlation + (1 - null.correlation) / (worth + 2)) - 1
        low, high = np.floor(usual * rows), rows.copy()
        for _ in range(40):
            middle = np.floor((low + high) / 2)
            surprising = 2 * tails(middle, rows, mean, precision)[0] < level
            low, high = np.where(surprising, low, middle), np.where(surprising, middle, high)
        return np.maximum(high / rows, usual + least)


def _applies(key: str, *, numeric: bool) -> bool:
    spec = METHODS.get(key) or RATIOS[key]
    return spec.numeric if numeric else spec.categorical
