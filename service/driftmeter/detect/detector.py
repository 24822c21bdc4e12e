"""One model's windows against its references: findings, verdicts and quality."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import polars as pl

from driftmeter.detect.anchored import AnchorScores
from driftmeter.detect.config import DetectConfig
from driftmeter.detect.judge import Calibration, Judge, Judged, calibration_of
from driftmeter.detect.live_chunks import LiveChunks
from driftmeter.detect.multivariate import SampleMethods
from driftmeter.detect.null import Measured, Surprise
from driftmeter.detect.quality import classes_of, freshness_of, quality_of, whole_rows_of
from driftmeter.detect.reference import Expected, FixedReference, Reference
from driftmeter.detect.sequential import SequentialDetectors, standardised
from driftmeter.detect.table import FindingsTable, Numbers
from driftmeter.detect.units import KEYS
from driftmeter.methods import DECIDING, DECIDING_METHODS, METHODS
from driftmeter.methods.groupings import build_groupings
from driftmeter.methods.ratios import (
    CONSTANT,
    DUPLICATES,
    FRESHNESS,
    INCOMPLETE,
    MISSING,
    MODEL_KEYS,
    MODEL_RATIOS,
    NON_FINITE,
    OUT_OF_RANGE,
    RATIOS,
    TYPE_MISMATCH,
    UNSEEN,
)
from driftmeter.methods.score import Scores, score, to_squared_scale
from driftmeter.methods.sequential import SEQUENTIAL
from driftmeter.methods.spec import Bins, Scale
from driftmeter.model.baseline import Baseline, Comparison
from driftmeter.model.bundle import Tree
from driftmeter.model.counts import Counts, Moment, Tally, stack
from driftmeter.model.findings import MODEL_FINDINGS_SCHEMA
from driftmeter.model.predictions import ModelKey
from driftmeter.model.quality import commonest_of, steps_of_age
from driftmeter.model.stored import Stored
from driftmeter.model.window_counts import WindowCounts
from driftmeter.model.windows import WindowLength

Floats = npt.NDArray[np.float64]

_NONE = pl.DataFrame()

_OF_MEANS = "wasserstein_normalised"
"""The method whose natural variation bounds that of the means."""

_TALLIES = {MISSING.key: Tally.MISSING, TYPE_MISMATCH.key: Tally.MISMATCH, NON_FINITE.key: Tally.NON_FINITE}


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What evaluating some windows gave.

    Attributes:
        findings: `FINDINGS_SCHEMA`, by reference, and of each ordered by window, column and method; then what samples
            say of the model as a whole.
        model: `MODEL_FINDINGS_SCHEMA`, one row per reference and window.
        quality: One row per window and column: rows, missing, type mismatches, out of range, unseen, moments; nothing
            of segments.
        classes: One row per window, categorical prediction and class: rows; nothing of segments.
        judged: By reference, and of each by window: what the verdicts were made of, to explain them.
        anomalies: `ANOMALIES_SCHEMA`, the oddest sampled rows of each window.
    """

    findings: pl.DataFrame
    model: pl.DataFrame
    quality: pl.DataFrame
    classes: pl.DataFrame
    judged: Sequence[Judged]
    anomalies: pl.DataFrame


class Detector:
    """Scores and judges the windows of one model, version and stage.

    Args:
        key: The model, version and stage.
        baseline: The anchor: its layout is what windows are counted on, its chunks say what is usual.
        references: What windows are compared with, at least one; the first one's verdicts are the model's alarm.
        config: When a column is called drifted.
        lengths: The window lengths that the model has, for the level; all that the baseline has unless given.
        segment: Label of the segment that the windows are of; empty for the model itself. Of segments drift alone is
            looked at: they have neither quality nor classes nor samples.
        calibrations: Nulls and levels by the kinds of the references, where they are shared; from the baseline unless
            given.
    """

    def __init__(  # noqa: PLR0913 - what a model is judged by.
        self,
        key: ModelKey,
        baseline: Baseline,
        references: Sequence[Reference],
        config: DetectConfig,
        lengths: Sequence[WindowLength] | None = None,
        segment: str = "",
        calibrations: Mapping[Comparison, Calibration] | None = None,
    ) -> None:
        self.key = key
        self._segment = segment
        self.references: tuple[Reference, ...] = tuple(references)
        self._baseline = baseline
        self._groupings = build_groupings(baseline.columns)
        self._noise = {key: np.array([each.noise.get(key, np.nan) for each in baseline.columns]) for key in METHODS}
        kinds = {each.kind for each in self.references}
        self._calibrations = calibrations or {kind: calibration_of(baseline, kind, config, lengths) for kind in kinds}
        self._units = self._calibrations[self.references[0].kind].units
        self._table = FindingsTable(key, self._units, segment)
        self._anchor = AnchorScores(key, baseline, self._groupings, segment)
        self._sampled = SampleMethods(key, baseline, () if segment else config.multivariate)
        self._sequences = [SequentialDetectors(len(baseline.columns)) for _ in self.references]
        self._live = LiveChunks(len(baseline.columns)) if baseline.is_provisional else None
        self._judges = [Judge(key.model, self._calibrations[each.kind], config) for each in self.references]

    def evaluate(self, windows: Sequence[WindowCounts]) -> Evaluation:
        """Findings of some windows, in the order given; verdicts depend on that order."""
        layout = self._baseline.layout
        counts = stack([each.counts.dense(layout) for each in windows])
        moments = counts.moments()
        findings, models, verdicts = [], [], list[Judged]()
        for number, reference in enumerate(self.references):
            for part in _parts(reference, len(windows)):
                found, model, judged = self._compare(number, windows, counts, moments, part)
                findings.append(found)
                models.append(model)
                verdicts += judged
        sampled, anomalies = self._sampled.evaluate(windows)
        findings.append(sampled)
        if self._segment:
            return Evaluation(pl.concat(findings), pl.concat(models), _NONE, _NONE, verdicts, anomalies)
        return Evaluation(
            pl.concat(findings),
            pl.concat(models),
            quality_of(self.key, self._baseline, windows, counts, moments),
            classes_of(self.key, layout, windows, counts),
            verdicts,
            anomalies,
        )

    def learned(self) -> Baseline | None:
        """The provisional baseline with what its windows have taught by now, once that is enough for verdicts."""
        if self._live is None or not self._live.enough:
            return None
        chunks = self._live.chunks()
        return replace(
            self._baseline,
            chunks=chunks,
            windows=tuple(chunks),
            start_ns=self._live.first_ns,
            end_ns=None if self._live.last_ns is None else self._live.last_ns - 1,
        )

    def state(self) -> Tree:
        """The verdicts made so far and the references, for `restore`; all else follows from the baseline."""
        return {"live": self._live.state() if self._live else None, "references": self._references_state()}

    def _references_state(self) -> Tree:
        return {
            reference.name: {
                "verdicts": judge.state(),
                "sequences": sequences.state(),
                "reference": reference.state(),
            }
            for reference, judge, sequences in zip(self.references, self._judges, self._sequences, strict=True)
        }

    def restore(self, tree: Tree) -> None:
        """Take over a state of a detector with the same baseline; references that it did not have begin anew.

        Raises:
            DamagedError: It is none.
        """
        if self._live is not None and Stored(tree).tree("live") is not None:
            self._live.restore(Stored(tree).tree("live"))
        stored = Stored(tree).member("references")
        for reference, judge, sequences in zip(self.references, self._judges, self._sequences, strict=True):
            if reference.name in stored.names:
                own = stored.member(reference.name)
                judge.restore(own.member("verdicts"))
                sequences.restore(own.tree("sequences"))
                reference.restore(own.tree("reference"))

    def _compare(
        self,
        reference_number: int,
        windows: Sequence[WindowCounts],
        counts: Counts,
        moments: Floats,
        part: range,
    ) -> tuple[pl.DataFrame, pl.DataFrame, list[Judged]]:
        """Some windows against one reference, which is the same for all of them."""
        reference, judge = self.references[reference_number], self._judges[reference_number]
        mine = [windows[i] for i in part]
        expected = reference.expect(mine[0], counts.window(part[0]))
        place = slice(part.start, part.stop)
        observed = counts.bins[place].astype(np.float64)
        against = np.zeros(observed.shape[1]) if expected is None else expected.counts
        tails = self._tails(moments[place], observed, expected)
        scores = score(METHODS.values(), self._groupings, against[None], observed, tails)
        measured = self._measure(counts, part, windows, scores, expected)
        judged: list[Judged] = []
        sequential: list[Floats] = []
        for number, window in enumerate(mine):
            judged.append(judge.judge(window, None if expected is None else _single(measured, number)))
            stream = self._standardised(
                reference.kind, window.window, scores.shifts[number], measured, number, judged[-1]
            )
            sequential.append(self._sequences[reference_number].observe(window, stream, window.window.overlap))
            if window.revision == 0 and self._live and isinstance(reference, FixedReference):
                self._live.observe(window, _single(measured, number))
            if window.revision == 0:
                reference.observe(window, counts.window(part[number]), drifted=judged[-1].drifted == 1)
        numbers = self._numbers(scores, measured, judged, np.stack(sequential, axis=1))
        findings = self._table.build(mine, numbers, reference.name)
        if reference.kind is Comparison.ROLLING and expected is not None:
            findings = pl.concat([findings, self._anchor.findings(mine[0], expected, reference.name)])
        return findings, self._model_table(mine, judged, reference.name), judged

    def _tails(self, moments: Floats, observed: Floats, expected: Expected | None) -> Floats:
        """float64 (w, c, 2): sums of the distances to the range, less what as many rows of the expected have.

        As the Wasserstein distance has it where one of both is further out all the way; else it is more than this.
        """
        tails = moments[:, :, [Moment.TAIL_BELOW, Moment.TAIL_ABOVE]]
        if expected is None or expected.tails is None:
            return tails
        firsts = self._baseline.layout.offsets[:-1]
        values = np.add.reduceat(expected.counts, firsts)[:, None]
        mean = np.divide(expected.tails, values, out=np.zeros(expected.tails.shape), where=values > 0)
        return np.asarray(tails - mean * np.add.reduceat(observed, firsts, axis=1)[:, :, None])

    def _measure(
        self,
        counts: Counts,
        part: range,
        windows: Sequence[WindowCounts],
        scores: Scores,
        expected: Expected | None,
    ) -> Measured:
        place, layout = slice(part.start, part.stop), self._baseline.layout
        mine, own, offsets = [windows[i] for i in part], counts.part(part.start, part.stop), layout.offsets
        wholes = whole_rows_of(own)
        bins, tallies = counts.bins[place], counts.tallies[place].astype(np.float64)
        values = np.add.reduceat(bins, offsets[:-1], axis=1).astype(np.float64)
        lowest, highest = bins[:, offsets[:-1]].astype(np.float64), bins[:, offsets[1:] - 1].astype(np.float64)
        starts = [each.start_ns for each in mine]
        known = [each for each in starts if each is not None]
        by_time = len(known) == len(starts) and not windows[part[0]].window.by_rows
        compared = np.zeros((1, values.shape[1]))
        usual: dict[str, tuple[Floats, Floats]] = {}
        if expected is not None:
            compared = np.add.reduceat(expected.counts, offsets[:-1])[None]
            rows = np.full(compared.shape, expected.rows)
            usual = {key: (expected.tallies[None, :, tally], rows) for key, tally in _TALLIES.items()}
            if expected.tails is not None:
                below, above = expected.counts[offsets[:-1]][None], expected.counts[offsets[1:] - 1][None]
                beyond = {OUT_OF_RANGE.key: below + above, UNSEEN.key: above}
                usual |= {key: (np.where(hits > 0, hits, np.nan), compared) for key, hits in beyond.items()}
        return Measured(
            starts_ns=np.array(known, np.int64) if by_time else None,
            rows=counts.rows[place].astype(np.float64),
            values=values,
            compared=compared,
            squared={key: to_squared_scale(METHODS[key], scores.values[key], values) for key in DECIDING_METHODS},
            hits={key: tallies[:, :, tally] for key, tally in _TALLIES.items()}
            | {OUT_OF_RANGE.key: lowest + highest, UNSEEN.key: highest}
            | {CONSTANT.key: commonest_of(layout, own).astype(np.float64), FRESHNESS.key: _age_steps(mine, own)},
            expected=usual,
            whole={DUPLICATES.key: wholes["duplicates"][:, None], INCOMPLETE.key: wholes["incomplete"][:, None]},
        )

    def _standardised(
        self, kind: Comparison, length: WindowLength, shift: Floats, measured: Measured, number: int, judged: Judged
    ) -> Floats:
        """What sequential detectors see of a window."""
        with np.errstate(divide="ignore"):  # No rows: no standard error.
            inverse = 1 / measured.values[number] + 1 / measured.compared[0]
        natural = self._calibrations[kind].nulls_of(length).methods[_OF_MEANS].natural
        none = np.full(len(inverse), np.nan)
        surprise = judged.surprise[DECIDING].pvalue[0] if DECIDING in judged.surprise else none
        return standardised(shift, self._groupings[Bins.FINE].spread, inverse, natural, surprise)

    def _numbers(self, scores: Scores, measured: Measured, judged: Sequence[Judged], sequential: Floats) -> Numbers:
        w, c = measured.values.shape
        table = {name: np.full((len(KEYS), w, c + 1), np.nan) for name in ("value", "floor", "effect", "pvalue")}
        rows = np.empty((len(KEYS), w, c + 1))
        rows[:, :, :c], rows[:, :, c] = measured.values, measured.rows
        for place, key in enumerate(KEYS):
            own = slice(c, c + 1) if key in MODEL_KEYS else slice(0, c)
            if key in METHODS:
                table["value"][place, :, own] = scores.values[key]
                floor, effect = self._beyond_noise(key, scores.values[key], measured)
                table["floor"][place, :, own], table["effect"][place, :, own] = floor, effect
                table["pvalue"][place, :, own] = scores.pvalues.get(key, np.nan)
            elif key in SEQUENTIAL:
                table["value"][place, :, own] = sequential[list(SEQUENTIAL).index(key)]
            elif key in RATIOS:
                rows[place, :, own] = measured.behind(RATIOS[key])
                with np.errstate(invalid="ignore"):  # No rows, no share of them.
                    table["value"][place, :, own] = measured.hits[key] / measured.shared(RATIOS[key])
            elif key in MODEL_RATIOS:
                with np.errstate(invalid="ignore"):  # As above.
                    table["value"][place, :, own] = measured.whole[key] / measured.rows[:, None]
            else:
                table["value"][place, :, own] = np.array([each.volume for each in judged])[:, None]
            for number, each in enumerate(judged):
                if key in each.surprise:
                    _put(table, place, number, own, each.surprise[key], ratio=key not in METHODS)
        return Numbers(
            rows, table["value"], table["floor"], table["effect"], table["pvalue"],
            np.stack([each.detected for each in judged]),
            np.stack([each.reasons for each in judged]),
            np.stack([each.sources for each in judged]),
        )  # fmt: skip

    def _beyond_noise(self, key: str, value: Floats, measured: Measured) -> tuple[Floats, Floats]:
        """Noise floor and effect in the method's own unit: √x, x or n·x with x = a (1/n + 1/N) what sampling adds."""
        spec, rows = METHODS[key], measured.values
        with np.errstate(divide="ignore", invalid="ignore"):  # No rows: infinitely noisy, or no noise at all.
            x = np.asarray(self._noise[key] * (1 / rows + 1 / measured.compared))
        beyond = np.maximum(0, to_squared_scale(spec, value, rows) - x)
        match spec.scale:
            case Scale.SQUARED:
                return np.sqrt(x), np.sqrt(beyond)
            case Scale.LINEAR:
                return x, beyond
            case Scale.PER_ROW:
                with np.errstate(invalid="ignore"):  # No rows, no value.
                    return x * rows, beyond * rows
        raise AssertionError(spec.scale)

    def _model_table(self, windows: Sequence[WindowCounts], judged: Sequence[Judged], baseline: str) -> pl.DataFrame:
        units = self._units
        features = np.append([each.role.value == "feature" for each in units.columns], False)
        mine = features[units.column] & units.counts
        column = units.column[mine]
        rows = []
        for window, each in zip(windows, judged, strict=True):
            own = each.detected[mine]
            known, drifted = np.unique(column[~np.isnan(own)]), np.unique(column[own == 1])
            weight = float(units.weights[known].sum())
            rows.append(
                (
                    *self.key, self._segment, window.window.name, window.index, window.end_ns, window.revision,
                    baseline,
                    None if np.isnan(each.level) else each.level,
                    None if np.isnan(each.drifted) else bool(each.drifted),
                    None if np.isnan(each.drifted) else len(drifted),
                    float(units.weights[drifted].sum()) / weight if weight else None,
                )
            )  # fmt: skip
        return pl.DataFrame(rows, schema=MODEL_FINDINGS_SCHEMA, orient="row")


def _parts(reference: Reference, windows: int) -> list[range]:
    """Windows that can be compared at once: all with what never changes, else each after the one before."""
    if isinstance(reference, FixedReference):
        return [range(windows)]
    return [range(i, i + 1) for i in range(windows)]


def _single(measured: Measured, number: int) -> Measured:
    """One window's part of what was measured."""
    one = slice(number, number + 1)
    return Measured(
        None if measured.starts_ns is None else measured.starts_ns[one],
        measured.rows[one],
        measured.values[one],
        measured.compared,
        {key: table[one] for key, table in measured.squared.items()},
        {key: table[one] for key, table in measured.hits.items()},
        measured.expected,
        {key: table[one] for key, table in measured.whole.items()},
    )


def _age_steps(windows: Sequence[WindowCounts], counts: Counts) -> Floats:
    """Age of the newest value in steps of the window's time, float64 (w, c); nan where rows have no times."""
    lengths = np.array([(each.end_ns or 0) - (each.start_ns or 0) for each in windows])[:, None] / 1e9
    return steps_of_age(freshness_of(windows, counts), lengths)


def _put(table: dict[str, Floats], place: int, window: int, own: slice, found: Surprise, *, ratio: bool) -> None:
    """What was found of one window; methods know their noise already."""
    table["pvalue"][place, window, own] = found.pvalue[0]
    if ratio:
        table["floor"][place, window, own] = found.noise_floor[0]
        table["effect"][place, window, own] = found.effect[0]
