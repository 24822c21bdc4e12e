"""Why a window of a feature was, or was not, called drifted: counted and judged again by the service's own engine."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from driftmeter.detect.config import DetectConfig
from driftmeter.detect.detector import Detector
from driftmeter.detect.judge import Judged, calibrations_of, noise_table
from driftmeter.detect.null import build_nulls
from driftmeter.detect.reference import FixedReference
from driftmeter.detect.units import GROUPS, Units
from driftmeter.errors import ConfigError
from driftmeter.explaining.bars import histogram_of, moved_most
from driftmeter.explaining.facts import Explanation, NullFacts, Past, Statistic
from driftmeter.explaining.rows import TimedRows, count_windows
from driftmeter.methods import DECIDING, DECIDING_METHODS, METHODS
from driftmeter.methods.ratios import MODEL_KEYS
from driftmeter.methods.sequential import SEQUENTIAL
from driftmeter.model.baseline import Baseline, Comparison
from driftmeter.model.bins import NumericBins
from driftmeter.model.columns import Column
from driftmeter.model.counts import Counts, Tally
from driftmeter.model.window_counts import WindowCounts
from driftmeter.model.windows import WindowLength

Floats = npt.NDArray[np.float64]

RUN_UP = 10
"""Windows before the first one shown that are judged too: verdicts depend on those before."""


@dataclass(frozen=True)
class Question:
    """What is to be explained.

    Attributes:
        feature: Column, by its name or as `prediction.late`.
        time_ns: An instant in the window; None for the newest window there is.
        length: The window's length.
        history: How many windows to show, this one included.
        others: Labels of what else than the baseline the service compares with, for a note.
        segment: Label of the segment whose rows are meant, such as country=DE; empty for all rows.
        segments: Labels of the segments that are judged: the level is one for the model and all of them.
    """

    feature: str
    time_ns: int | None
    length: WindowLength
    history: int = 10
    others: Sequence[str] = ()
    segment: str = ""
    segments: Sequence[str] = ()


def explain(
    question: Question,
    rows: TimedRows,
    baseline: Baseline,
    config: DetectConfig,
    lengths: Sequence[WindowLength],
    on_rows: Callable[[int, int], None] = lambda _done, _all: None,
) -> Explanation:
    """Counts and judges the window, and those before it, again.

    Args:
        question: Which window of which column.
        rows: The model's rows.
        baseline: What they are compared with.
        config: When a column is called drifted.
        lengths: All window lengths that the service has: the level is one for all of them.
        on_rows: Called with the number of rows read and in all.

    Raises:
        ConfigError: There is no such column, segment or window; says what there is.
    """
    calibration = calibrations_of(baseline, Comparison.REST, config, lengths, question.segments).get(question.segment)
    if calibration is None:
        there = ", ".join(question.segments) or "none"
        raise ConfigError(
            f"--segment {question.segment}: is not judged: there is {there}, of what is both configured "
            "(segments: {country: 8}) and in the baseline (driftmeter baseline build --segment country)"
        )
    if question.segment:
        rows = rows.of_segment(question.segment, question.segments)
        baseline = baseline.segments[question.segment]
    place = find_column(baseline, question.feature)
    column = baseline.columns[place]
    judged, target = _starts(question, rows)
    passes = (judged, [target]) if _overlaps(question.length, target) else ([*judged, target],)
    counted = [
        window
        for starts in passes
        if starts
        for window in count_windows(rows, baseline, column.column, question.length, starts, on_rows)
    ]
    if not counted or counted[-1].start_ns != target:
        raise ConfigError(_not_there(rows, question.length, target))
    detector = Detector(
        rows.key, baseline, [FixedReference(baseline)], config, lengths, calibrations={Comparison.REST: calibration}
    )
    evaluated = [detector.evaluate([window]) for window in counted]
    seen = [
        _Seen(window, _of_column(each.findings, column.column), each.judged[0])
        for window, each in zip(counted, evaluated, strict=True)
    ]
    found = _Writer(question, rows, baseline, config, place).write(seen, evaluated[-1].quality)
    if question.others:
        found.notes.append(
            f"Explained against the baseline itself; {', '.join(question.others)} are compared with apart."
        )
    return found


def find_column(baseline: Baseline, name: str) -> int:
    """Number of a column, by field (`prediction.late`) or by name, features first; raises ConfigError."""
    columns = [each.column for each in baseline.columns]
    for number, column in enumerate(columns):
        if name == column.field:
            return number
    for number, column in sorted(enumerate(columns), key=lambda each: each[1].role != "feature"):
        if name == column.name:
            return number
    names = [column.name for column in columns]
    near = get_close_matches(name, names, n=3, cutoff=0.5) or names[:10]
    why = baseline.skipped.get(name)
    if why:
        raise ConfigError(f"feature {name!r} is not in the baseline: it was left out, since {why}")
    raise ConfigError(f"there is no feature {name!r} in the baseline: did you mean {', '.join(near)}?")


def _starts(question: Question, rows: TimedRows) -> tuple[list[int], int]:
    """Starts of the windows that are judged before the one asked for, none of which overlap, and its own."""
    length = question.length
    if length.by_rows:
        raise ConfigError(f"--length {length.name}: only windows by time can be explained, such as 1h or 24h")
    time_ns = rows.last_ns() if question.time_ns is None else question.time_ns
    target = time_ns // length.hop_ns * length.hop_ns
    if not rows.may_hold(target, target + length.length_ns):
        raise ConfigError(_not_there(rows, length, target))
    last = (target - 1) // length.length_ns * length.length_ns
    before = (last - number * length.length_ns for number in range(question.history + RUN_UP - 2, -1, -1))
    return [start for start in before if rows.may_hold(start, start + length.length_ns)], target


def _overlaps(length: WindowLength, start_ns: int) -> bool:
    """Whether a window is one of those that are not judged, since they overlap those that are."""
    return start_ns % length.length_ns > 0


def _not_there(rows: TimedRows, length: WindowLength, target: int) -> str:
    """That a window has no rows, and which have some."""
    starts = np.unique(rows.units * rows.unit_ns // length.hop_ns * length.hop_ns)
    near = np.sort(starts[np.argsort(np.abs(starts - target), kind="stable")[:3]])
    return (
        f"{rows.source}: the window of {length.name} from {_time(target)} is not there, or has no rows; there are "
        f"windows from {_time(starts[0])} to {_time(starts[-1])}, the nearest from {', '.join(map(_time, near))}"
    )


def _of_column(findings: pl.DataFrame, column: Column) -> dict[str, dict[str, Any]]:
    """One window's findings on a column, by method; without those that depend on all windows before."""
    mine = findings.filter((pl.col("column") == column.name) & (pl.col("role") == column.role.value))
    return {row["method"]: row for row in mine.iter_rows(named=True) if row["method"] not in SEQUENTIAL}


class _Seen(NamedTuple):
    """A window, its findings on the column by method, and what its verdicts were made of."""

    window: WindowCounts
    findings: dict[str, dict[str, Any]]
    judged: Judged


class _Writer:
    """Puts an explanation together.

    Args:
        question: What was asked.
        rows: Where the rows are from.
        baseline: What they were compared with.
        config: When a column is called drifted.
        place: The column's number.
    """

    def __init__(
        self, question: Question, rows: TimedRows, baseline: Baseline, config: DetectConfig, place: int
    ) -> None:
        self._question, self._rows, self._baseline, self._config = question, rows, baseline, config
        self._place = place
        self._column = baseline.columns[place]
        self._numeric = isinstance(self._column.bins, NumericBins)
        self._min_effects = config.min_effects(self._column.column.name)
        numeric = np.array([isinstance(each.bins, NumericBins) for each in baseline.columns])
        units = Units.of(baseline.layout.columns, numeric, config)
        mine = np.flatnonzero(units.column == place)
        self._start_ns = 0
        self._units = {key: int(unit) for unit in mine for key in GROUPS[units.group[unit]]}
        model = np.flatnonzero(units.column == len(baseline.columns))
        self._whole = {key: int(unit) for unit in model for key in GROUPS[units.group[unit]]}

    def write(self, seen: Sequence[_Seen], quality: pl.DataFrame) -> Explanation:
        """The explanation of the last window."""
        window, found, judged = seen[-1]
        self._start_ns = window.start_ns or 0
        counts = window.counts.dense(self._baseline.layout)
        observed, expected = self._counts(counts)
        history = [self._past(each) for each in seen][-self._question.history :]
        values = self._quality(quality)
        low, high = (values.get(name, {}).get("window") for name in ("min", "max"))
        column, key = self._column, self._rows.key
        return Explanation(
            model=key.model,
            version=key.version,
            stage=key.stage,
            segment=self._question.segment,
            feature=column.column.name,
            role=column.column.role.value,
            kind="numeric" if self._numeric else "categorical",
            source=self._rows.source,
            window=self._question.length.name,
            start=_time(window.start_ns or 0),
            end=_time(window.end_ns or 0),
            rows=int(counts.rows[0]),
            values=found[DECIDING]["rows"],
            baseline=self._baseline_facts(),
            verdict=history[-1].detected,
            reason=history[-1].reason,
            said=self._said(history),
            level=_number(judged.level),
            needed=self._config.needed,
            of=self._config.of,
            min_rows=self._config.min_rows,
            statistics=[self._statistic(row, judged) for row in found.values()],
            nulls=self._nulls(),
            history=history,
            histogram=histogram_of(column, expected, observed, low, high),
            moved=moved_most(column, expected, observed),
            quality=values,
            notes=self._notes(seen),
        )

    def _baseline_facts(self) -> dict[str, Any]:
        baseline = self._baseline
        return {
            "name": baseline.name,
            "model": baseline.model,
            "version": baseline.version,
            "rows": baseline.rows,
            "start": None if baseline.start_ns is None else _time(baseline.start_ns),
            "end": None if baseline.end_ns is None else _time(baseline.end_ns),
            "content_hash": baseline.content_hash,
        }

    def _counts(self, counts: Counts) -> tuple[Floats, Floats]:
        """Counts of the column's fine bins: of the window and of the baseline."""
        offsets = self._baseline.layout.offsets
        here = slice(int(offsets[self._place]), int(offsets[self._place + 1]))
        return counts.bins[0, here].astype(np.float64), self._column.counts.astype(np.float64)

    def _least(self, key: str, judged: Judged) -> float:
        """The level from which on the unit of a method exceeds; nan where the window could not be judged."""
        return float(judged.least[self._units[key]]) if np.isfinite(judged.level) else np.nan

    def _excess(self, key: str, judged: Judged) -> float:
        return float(judged.surprise[key].excess[0, self._place]) if key in judged.surprise else np.nan

    def _statistic(self, row: dict[str, Any], judged: Judged) -> Statistic:
        key, deciding = row["method"], row["method"] in self._units
        excess = self._excess(key, judged) if deciding else np.nan
        exceeds = None
        if deciding and not np.isnan(self._least(key, judged)) and row["pvalue"] is not None:
            exceeds = bool(row["pvalue"] < judged.level and excess >= self._min_effects[key])
        return Statistic(
            method=key,
            deciding=deciding,
            value=row["value"],
            noise_floor=row["noise_floor"],
            effect=row["effect"],
            excess=_number(excess),
            min_effect=self._min_effects[key] if deciding else None,
            pvalue=row["pvalue"],
            exceeds=exceeds,
            detected=row["detected"],
            reason=row["reason"],
        )

    def _past(self, seen: _Seen) -> Past:
        headline = seen.findings[DECIDING]
        least = self._least(DECIDING, seen.judged)
        excess = [self._excess(key, seen.judged) / max(self._min_effects[key], 1e-9) for key in DECIDING_METHODS]
        known = [each for each in excess if np.isfinite(each)]
        return Past(
            start=_time(seen.window.start_ns or 0),
            rows=headline["rows"],
            value=headline["value"],
            noise_floor=headline["noise_floor"],
            excess=max(known, default=None),
            pvalue=_number(least),
            exceeds=None if np.isnan(least) else bool(least < seen.judged.level),
            detected=headline["detected"],
            reason=headline["reason"],
        )

    def _said(self, history: Sequence[Past]) -> str:
        """The verdict in a sentence."""
        config, now = self._config, history[-1]
        standing = ""
        if _overlaps(self._question.length, self._start_ns) and len(history) > 1:
            history = history[:-1]
            standing = (
                f" This is the verdict on the window from {history[-1].start}, which stands until the next is over."
            )
        if now.detected is None:
            return f"No verdict: {_REASONS.get(now.reason or '', now.reason or 'unknown')}."
        judged = [each for each in history if each.exceeds is not None][-config.of :]
        count = sum(bool(each.exceeds) for each in judged)
        counted = f"{count} of the last {len(judged)} windows that could be judged exceeded"
        rule = f"{config.needed} of {config.of} are needed"
        if now.detected and count < config.needed:
            stays = f"what has drifted stays so while at least {config.keeps} of {config.of} do"
            return f"Drifted: {counted}; {stays}.{standing}"
        if now.detected:
            return f"Drifted: {counted}; {rule}.{standing}"
        this = "this window exceeds, but " if now.exceeds else ""
        return f"Not drifted: {this}{counted}; {rule}.{standing}"

    def _nulls(self) -> list[NullFacts]:
        noise, place = noise_table(self._baseline), self._place
        nulls = build_nulls(
            self._baseline, Comparison.REST, self._question.length.disjoint, noise, self._config.min_rows
        )
        return [
            NullFacts(
                method=key,
                natural=_number(np.sqrt(nulls.methods[key].natural[place])),
                shape=_number(nulls.methods[key].shape[place]),
                chunks=int(np.nan_to_num(nulls.methods[key].chunks[place])),
                source=nulls.source[place],
                reason=nulls.reason[place],
            )
            for key in DECIDING_METHODS
            if METHODS[key].categorical or self._numeric
        ]

    def _quality(self, quality: pl.DataFrame) -> dict[str, dict[str, float | None]]:
        """Shares of rows and moments, of the baseline and the window."""
        column = self._column
        mine = (pl.col("column") == column.column.name) & (pl.col("role") == column.column.role.value)
        (row,) = quality.filter(mine).to_dicts()
        rows, tallies = max(self._baseline.rows, 1), self._baseline.tallies[self._place]
        before: dict[str, float] = {"missing": float(tallies[Tally.MISSING]) / rows}
        if self._numeric:
            before |= {"non_finite": float(tallies[Tally.NON_FINITE]) / rows, "out_of_range": 0.0}
        else:
            before |= {"unseen": 0.0, "other": float(column.counts[-2]) / rows}
        found: dict[str, dict[str, float | None]] = {
            name: {"baseline": value, "window": row[name] / row["rows"]} for name, value in before.items()
        }
        if self._numeric:
            moments = {"mean": column.mean, "stddev": column.stddev, "min": column.minimum, "max": column.maximum}
            found |= {name: {"baseline": _number(value), "window": row[name]} for name, value in moments.items()}
        return found

    def _notes(self, seen: Sequence[_Seen]) -> list[str]:
        found = seen[-1].findings
        apart = [key for key in self._units if key not in DECIDING_METHODS and found[key]["detected"]]
        first = _time(seen[0].window.start_ns or 0)
        anew = (
            f"Judged anew from {len(seen)} windows since {first}: a service that has run for longer also knows those "
            "before, and rows that came after a verdict have not changed it."
        )
        last = seen[-1]
        whole = [key for key in MODEL_KEYS if last.judged.detected[self._whole[key]] == 1]
        return [
            *(f"{key} has drifted, by a verdict of its own." for key in apart),
            *(f"{key} of the model as a whole has drifted." for key in whole),
            anew,
        ]


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _time(time_ns: int | np.int64) -> str:
    return f"{pl.from_epoch(pl.Series([int(time_ns)]), 'ns')[0]:%Y-%m-%dT%H:%M:%SZ}"


_REASONS = {
    "insufficient": "the window has too few rows with a value",
    "no_baseline": "there was nothing to compare with yet",
    "provisional": "the baseline is provisional, learned from the model's first rows",
    "no_timestamps": "the baseline has no times, so nothing is known of how its windows vary",
    "too_few_chunks": "the baseline holds fewer than 20 windows of this length with rows enough",
    "not_compared": "the windows of the baseline were not compared in this way when it was built",
    "no_weekly_cycle": "the baseline covers less than a week, and the window is a day or longer",
    "uncalibrated": "the baseline is too short for so few false alarms (see driftmeter baseline calibrate)",
    "maintenance": "the window is in a configured maintenance",
    "not_counted": "the baseline or the window does not tell: rows without times, or a file of an older release",
}
