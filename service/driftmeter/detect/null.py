"""What windows of a model look like without drift, from the baseline's own chunks, and how surprising a window is.

**Methods.** The deciding statistics Q are on the squared scale, where noise adds: E[Q] = a (1/n + 1/N) + b for n rows
in the window and N in what it is compared with. a is sampling noise, b the natural variation between the baseline's own
chunks. The surprise is the upper tail of F(2k, 2kK) at Q / E[Q].

**Ratios.** A window's ratio is drawn about the usual one with the variation that the chunks show beyond sampling, and
the rows by it: a beta-binomial distribution, with Jeffreys' prior, since a baseline may hold none at all (Jeffreys,
1946, https://doi.org/10.1098/rspa.1946.0056). A constant column is one whose values are all the commonest one: as
surprising as that many of them, and at least as likely as chunks that are. The age of the newest value is a share of
the window's time.

**Volume.** The logarithm of the rows of a window about its mean in the same hour of the week, or of the day where the
baseline is too short for that, by Student's t.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
from scipy import special

from driftmeter.detect.beta_binomial import tails
from driftmeter.methods import DECIDING, DECIDING_METHODS
from driftmeter.methods.ratios import MODEL_RATIOS, RATIOS, RatioSpec
from driftmeter.model.baseline import Baseline, Chunks, Comparison
from driftmeter.model.quality import TIME_STEPS
from driftmeter.model.seasons import UTC, local_ns
from driftmeter.model.windows import DAY_NS, HOUR_NS, WEEK_NS, WindowLength, parse_window

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Times = npt.NDArray[np.int64]
Texts = npt.NDArray[np.object_]

CHUNKS_MIN = 20
"""Chunks of a window length that a verdict needs at least."""

_VARIANCE_MIN = 1e-6  # A constant column has none.
_CORRELATION_MAX = 0.999
_SEASON_TIMES_MIN = 3
"""Times that the baseline must cover a day or a week before rows are expected by the hour of it."""


@dataclass(frozen=True, eq=False)
class MethodNull:
    """One method, each float64 (columns,): natural variation b, shape k, and number of chunks K; nan for none."""

    natural: Floats
    shape: Floats
    chunks: Floats


@dataclass(frozen=True, eq=False)
class RatioNull:
    """One ratio, each float64 (columns,); of whole rows, float64 (1,).

    Attributes:
        hits: Rows that it counts in all chunks; of values out of range and unseen, as `Chunks.ratios` says.
        rows: Rows that it is a share of; 0 when no chunk counts it.
        correlation: Of two rows of one window, beyond that of any two rows: 0 when the ratio never varies.
        typical: Rows of a chunk, on average.
        full: Share of the chunks with rows enough in which it counts all of them.
    """

    hits: Floats
    rows: Floats
    correlation: Floats
    typical: Floats
    full: Floats


@dataclass(frozen=True, eq=False)
class VolumeNull:
    """Rows per window.

    Attributes:
        season_ns: After what time the same is expected again; 0 when always.
        slot_ns: Length of the slots that a season is cut into.
        mean: float64 (slots,): mean logarithm of the rows; nan where the baseline has none.
        chunks: float64 (slots,): how many chunks that is a mean of.
        variance: About these means.
        freedom: Degrees of freedom of the variance.
        zone: Time zone of slots of an hour: a seasonal baseline's. Longer ones could change their day with the clocks.
    """

    season_ns: int
    slot_ns: int
    mean: Floats
    chunks: Floats
    variance: float
    freedom: float
    zone: str = UTC


@dataclass(frozen=True, eq=False)
class Nulls:
    """All columns of one comparison and window length.

    Attributes:
        methods: Per deciding method.
        ratios: Per ratio.
        whole: Per ratio of whole rows; of the window's own length alone, so that one may be absent.
        volume: None where rows per window say nothing.
        source: object (columns,): `own`, or `borrowed` from a shorter window length; None where there is no null.
        reason: object (columns,): why there is none; None where there is one.
    """

    methods: Mapping[str, MethodNull]
    ratios: Mapping[str, RatioNull]
    whole: Mapping[str, RatioNull]
    volume: VolumeNull | None
    source: Texts
    reason: Texts


@dataclass(frozen=True, eq=False)
class Measured:
    """What was measured of w windows of c columns, live ones or the baseline's chunks.

    Attributes:
        starts_ns: int64 (w,): their starts; None without times.
        rows: float64 (w,): rows.
        values: float64 (w, c): rows with a value.
        compared: float64 (w or 1, c): values that they were compared with.
        squared: Per deciding method, float64 (w, c): on the squared scale.
        hits: Per ratio, float64 (w, c): rows that it counts; nan where that is not known.
        whole: Per ratio of whole rows, float64 (w, 1): the same.
        expected: Per ratio, hits and rows of what they were compared with, each float64 (w or 1, c); without it, and
            where hits are nan, those of the null.
    """

    starts_ns: Times | None
    rows: Floats
    values: Floats
    compared: Floats
    squared: Mapping[str, Floats]
    hits: Mapping[str, Floats]
    expected: Mapping[str, tuple[Floats, Floats]] = field(default_factory=dict)
    whole: Mapping[str, Floats] = field(default_factory=dict)

    def behind(self, spec: RatioSpec) -> Floats:
        """float64 (w, c): the rows that a ratio is known from."""
        return self.values if spec.of_values else np.broadcast_to(self.rows[:, None], self.values.shape)

    def shared(self, spec: RatioSpec) -> Floats:
        """float64 (w, c): the rows that a ratio is a share of, or steps of time."""
        return np.broadcast_to(float(TIME_STEPS), self.values.shape) if spec.of_time else self.behind(spec)


@dataclass(frozen=True, eq=False)
class Surprise:
    """Of one method, ratio or the volume over some windows, each float64 (w, c), in the method's own unit.

    Attributes:
        pvalue: Probability of a window at least so far away without drift; nan without a null.
        effect: How far, beyond noise.
        excess: How far, beyond noise and natural variation: what must be large enough for drift. A weekday is always
            far from the mix of all weekdays; it is the window that is further than usual that counts.
        noise_floor: What sampling alone gives.
    """

    pvalue: Floats
    effect: Floats
    excess: Floats
    noise_floor: Floats


def build_nulls(
    baseline: Baseline,
    kind: Comparison,
    window: WindowLength,
    noise: Mapping[str, Floats],
    min_rows: int,
    block: int | None = None,
) -> Nulls:
    """What windows of one length look like without drift, or the reasons why that is not known.

    Args:
        baseline: The baseline.
        kind: What windows are compared with.
        window: Their length; those that overlap look like those that do not.
        noise: Per deciding method, a of each column, float64 (columns,).
        min_rows: Chunks of fewer rows with a value are left out.
        block: Block of time to leave out, for the chunks in it; None takes all of the window's own length. With a
            block nothing is borrowed.
    """
    window = window.disjoint
    none = _nothing(len(baseline.columns))
    reason = _reason(baseline, window) or _not_compared(baseline, kind, window)
    if reason:
        none.reason[:] = reason
        return none
    lengths = [each for each in not_longer(baseline, window) if block is None or each[1:] == window[1:]]
    for length in lengths:
        if (none.source != None).all():  # noqa: E711 - of each column: none has to borrow.
            break
        chunks = baseline.chunks[length.name]
        fitted = _fit(baseline, chunks, kind, length, noise, min_rows, block)
        if fitted is not None:
            new = np.array([each is None for each in none.source.tolist()])
            new &= fitted.methods[DECIDING].chunks >= CHUNKS_MIN * _part(chunks, block)
            _take_over(none, fitted, new, "own" if length[1:] == window[1:] else "borrowed")
            if length[1:] == window[1:]:
                none = replace(none, whole=fitted.whole, volume=fitted.volume)
    return none


def surprises(nulls: Nulls, measured: Measured, noise: Mapping[str, Floats]) -> dict[str, Surprise]:
    """How surprising windows are, per deciding method and ratio of columns; `noise` as for `build_nulls`."""
    found = {key: _of_method(nulls.methods[key], measured, key, noise[key]) for key in DECIDING_METHODS}
    return found | {key: _of_column_ratio(nulls.ratios[key], measured, spec) for key, spec in RATIOS.items()}


def whole_surprises(nulls: Nulls, measured: Measured) -> dict[str, Surprise]:
    """How surprising windows are, per ratio of whole rows, each float64 (w, 1)."""
    rows, found = measured.rows[:, None], {}
    nothing = np.full(rows.shape, np.nan)
    for key, spec in MODEL_RATIOS.items():
        null, hits = nulls.whole.get(key), measured.whole.get(key)
        found[key] = (
            _of_ratio(null, hits, rows, (null.hits[None], null.rows[None]), spec)
            if null is not None and hits is not None
            else Surprise(nothing, nothing, nothing, nothing)
        )
    return found


def surprise(squared: Floats, mean: Floats, shape: Floats, chunks: Floats) -> Floats:
    """Probability of a window at least so far away without drift: upper tail of F(2k, 2kK) at Q / mean.

    A gamma with shape k whose mean is itself an average over K chunks: with few chunks the tail is wider.
    All arguments broadcast; nan where there is no null.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(mean > 0, squared / mean, np.where(squared > 0, np.inf, 1.0))
        tail = special.fdtrc(2 * shape, 2 * shape * chunks, np.where(np.isinf(ratio), 1e300, ratio))
    return np.where(np.isnan(squared) | np.isnan(shape), np.nan, tail)


def critical_squared(mean: Floats, shape: Floats, chunks: Floats, level: float) -> Floats:
    """The Q from which on a window is more surprising than a level: where `surprise` is the level."""
    return np.asarray(mean * special.fdtri(2 * shape, 2 * shape * chunks, 1 - level))


def volume_surprise(null: VolumeNull | None, measured: Measured) -> tuple[Floats, Surprise]:
    """Logarithm of the rows of each window over the usual ones, float64 (w, 1), and how surprising it is."""
    w = len(measured.rows)
    nan = np.full((w, 1), np.nan)
    if null is None or measured.starts_ns is None:
        return nan, Surprise(nan, nan, nan, nan)
    slots = _slots(measured.starts_ns, null.season_ns, null.slot_ns, null.zone)
    with np.errstate(divide="ignore", invalid="ignore"):
        away = np.log(measured.rows) - null.mean[slots]
        spread = null.variance * (1 + 1 / null.chunks[slots])
        squared = away**2 / spread
        pvalue = np.where(np.isnan(squared), np.nan, special.fdtrc(1.0, null.freedom, squared))
        noise = 1 / measured.rows
    effect, excess = np.sqrt(np.maximum(0, away**2 - noise)), np.sqrt(np.maximum(0, away**2 - spread))
    return away[:, None], Surprise(pvalue[:, None], effect[:, None], excess[:, None], np.sqrt(noise)[:, None])


def covered_ns(baseline: Baseline) -> int:
    """Time that the baseline covers: its days from the first to the last, but for gaps of more than a week.

    A partial last day counts whole, and so do days without rows: a week of traffic in office hours is a week.
    """
    if baseline.start_ns is None or baseline.end_ns is None:
        return 0
    ends = np.array([baseline.start_ns, baseline.end_ns])
    by_time = [
        each.starts_ns
        for name, each in baseline.chunks.items()
        if each.starts_ns is not None and not parse_window(name).by_rows
    ]
    days = np.unique(np.concatenate([ends, *by_time]).clip(*ends) // DAY_NS)
    gaps = np.diff(days) * DAY_NS
    if by_time:
        gaps = np.where(gaps <= WEEK_NS, gaps, DAY_NS)
    return int(gaps.sum()) + DAY_NS


def _reason(baseline: Baseline, window: WindowLength) -> str:
    if baseline.is_provisional:
        return "provisional"
    if not window.by_rows and baseline.start_ns is None:
        return "no_timestamps"
    if not window.by_rows and window.length_ns >= DAY_NS and covered_ns(baseline) < WEEK_NS:
        return "no_weekly_cycle"
    return ""


def _not_compared(baseline: Baseline, kind: Comparison, window: WindowLength) -> str:
    """That none of the chunks there are was compared in this way; empty where one was, or none is there."""
    compared = [kind in baseline.chunks[each.name].compared for each in not_longer(baseline, window)]
    return "not_compared" if compared and not any(compared) else ""


def _nothing(columns: int) -> Nulls:
    def nan() -> Floats:
        return np.full(columns, np.nan)

    return Nulls(
        {key: MethodNull(nan(), nan(), nan()) for key in DECIDING_METHODS},
        {key: RatioNull(nan(), nan(), nan(), nan(), nan()) for key in RATIOS},
        {},
        None,
        np.full(columns, None, object),
        np.full(columns, "too_few_chunks", object),
    )


def _take_over(nulls: Nulls, fitted: Nulls, new: Bools, source: str) -> None:
    """Fill in the columns that had no null yet."""
    for key, method in fitted.methods.items():
        for name in ("natural", "shape", "chunks"):
            getattr(nulls.methods[key], name)[new] = getattr(method, name)[new]
    for key, ratio in fitted.ratios.items():
        for name in ("hits", "rows", "correlation", "typical", "full"):
            getattr(nulls.ratios[key], name)[new] = getattr(ratio, name)[new]
    nulls.source[new], nulls.reason[new] = source, None


def not_longer(baseline: Baseline, window: WindowLength) -> list[WindowLength]:
    """The window's length and shorter ones of the same sort that the baseline has chunks of, longest first.

    Lengths are compared, not names: chunks of 24h serve a window of 1d.
    """
    lengths = [parse_window(name) for name in baseline.chunks]
    alike = [each for each in lengths if each.by_rows == window.by_rows and each[1:] <= window[1:]]
    return sorted(alike, key=lambda each: each[1:], reverse=True)


def _part(chunks: Chunks, block: int | None) -> float:
    """Share of the chunks that is left without the block."""
    return 1.0 if block is None else float(np.mean(chunks.blocks != block))


def _fit(  # noqa: PLR0913 - as `build_nulls`.
    baseline: Baseline,
    chunks: Chunks,
    kind: Comparison,
    length: WindowLength,
    noise: Mapping[str, Floats],
    min_rows: int,
    block: int | None,
) -> Nulls | None:
    compared = chunks.compared.get(kind)
    if compared is None:
        return None
    keep = np.ones(len(chunks.rows), np.bool_) if block is None else chunks.blocks != block
    values, against = chunks.values[keep].astype(np.float64), compared.rows[keep]
    methods = {
        key: _fit_method(values, against, compared.squared[key][keep], noise[key], min_rows) for key in DECIDING_METHODS
    }
    if block is not None and kind is Comparison.REST:
        for key in chunks.distant:
            methods[key] = _unseen_by(block, methods[key], chunks.distant[key], noise[key])
    rows = chunks.rows[keep].astype(np.float64)
    chunked = Measured(None, rows, values, rows, {}, {})
    unknown = np.broadcast_to(-1.0, chunks.values.shape)
    ratios = {
        key: _fit_ratio(chunks.ratios.get(key, unknown)[keep].astype(np.float64), chunked.shared(spec), min_rows)
        for key, spec in RATIOS.items()
    }
    enough = len(rows) >= CHUNKS_MIN * _part(chunks, block)
    whole = {
        key: _fit_ratio(chunks.whole.get(key, unknown[:, 0])[keep, None].astype(np.float64), rows[:, None], min_rows)
        for key in (MODEL_RATIOS if enough else ())
    }
    volume = None
    if chunks.starts_ns is not None and not length.by_rows:
        volume = _fit_volume(baseline, chunks.starts_ns[keep], rows, length.length_ns)
    none = np.full(len(baseline.columns), None, object)
    return Nulls(methods, ratios, whole, volume, none, none)


def _fit_method(values: Floats, compared: Floats, squared: Floats, noise: Floats, min_rows: int) -> MethodNull:
    """b, k and K of each column; arguments float64 (chunks, columns), `noise` (columns,)."""
    usable = (values >= min_rows) & (compared > 0) & np.isfinite(squared)
    chunks = usable.sum(axis=0).astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        sampling = noise * (1 / values + 1 / compared)
        natural = np.maximum(0.0, np.where(usable, squared - sampling, 0.0).sum(axis=0) / chunks)
        mean = sampling + natural
        # A constant column never moves: its chunks are all at 0, and any distance at all is a surprise.
        relative = np.where(mean > 0, squared / mean, 1.0)
        average = np.where(usable, relative, 0.0).sum(axis=0) / chunks
        variance = np.where(usable, (relative - average) ** 2, 0.0).sum(axis=0) / (chunks - 1)
        shape = 1 / np.maximum(variance, _VARIANCE_MIN)
    few = chunks < 2  # noqa: PLR2004 - one has no variance.
    return MethodNull(np.where(few, np.nan, natural), np.where(few, np.nan, shape), chunks)


def _unseen_by(block: int, null: MethodNull, distant: Floats, noise: Floats) -> MethodNull:
    """A null of the chunks outside a block, compared with what is neither of their own block nor of this one.

    Without that the block stands in what they are compared with, and their natural variation tells of it: a column that
    wanders off within the block would look usual there.
    """
    squared, sampling = distant[:, block]
    natural = np.maximum(0.0, squared - noise * sampling)
    return MethodNull(np.where(np.isnan(natural), null.natural, natural), null.shape, null.chunks)


def _fit_ratio(hits: Floats, rows: Floats, min_rows: int) -> RatioNull:
    """A ratio's usual value and how much it varies; arguments float64 (chunks, columns), hits -1 where not known.

    The correlation is the moment estimate: Σ n (r - p)² / (p (1 - p)) is Σ (1 - n/N) without it, and grows by
    Σ (n - 1) (1 - n/N) times it (Williams, 1982, https://doi.org/10.2307/2347977).
    """
    hits, rows = np.where(hits < 0, 0.0, hits), np.where(hits < 0, 0.0, rows)
    all_hits, all_rows = hits.sum(axis=0), rows.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        p = all_hits / all_rows
        spread = np.where(rows > 0, (hits - p * rows) ** 2 / rows, 0.0).sum(axis=0) / (p * (1 - p))
        rest = np.where(rows > 0, 1 - rows / all_rows, 0.0)
        correlation = (spread - rest.sum(axis=0)) / (np.maximum(rows - 1, 0) * rest).sum(axis=0)
        typical = all_rows / np.maximum((rows > 0).sum(axis=0), 1)
    correlation = np.clip(np.nan_to_num(correlation, nan=0.0, posinf=0.0, neginf=0.0), 0.0, _CORRELATION_MAX)
    enough = rows >= min_rows
    full = (enough & (hits == rows)).sum(axis=0) / np.maximum(enough.sum(axis=0), 1)
    return RatioNull(all_hits, all_rows, correlation, typical, full)


def _of_method(null: MethodNull, measured: Measured, key: str, noise: Floats) -> Surprise:
    squared = measured.squared[key]
    with np.errstate(divide="ignore", invalid="ignore"):
        sampling = noise * (1 / measured.values + 1 / measured.compared)
    pvalue = surprise(squared, sampling + null.natural, null.shape, null.chunks)
    effect = np.sqrt(np.maximum(0, squared - sampling))
    excess = np.sqrt(np.maximum(0, squared - sampling - null.natural))
    return Surprise(pvalue, effect, excess, np.sqrt(sampling))


def _of_column_ratio(null: RatioNull, measured: Measured, spec: RatioSpec) -> Surprise:
    usual_hits, usual_rows = measured.expected.get(spec.key, (null.hits[None], null.rows[None]))
    by_null = np.isnan(usual_hits)
    usual_hits, usual_rows = np.where(by_null, null.hits, usual_hits), np.where(by_null, null.rows, usual_rows)
    if not spec.of_chunks:
        unknown = np.isnan(usual_rows)  # Without chunks: by definition the baseline has none of it.
        usual_hits = np.where(unknown, 0.0, usual_hits)
        usual_rows = np.where(unknown, measured.compared, usual_rows)
    return _of_ratio(null, measured.hits[spec.key], measured.shared(spec), (usual_hits, usual_rows), spec)


def _of_ratio(null: RatioNull, hits: Floats, rows: Floats, usual: tuple[Floats, Floats], spec: RatioSpec) -> Surprise:
    """Beta-binomial predictive: N rows weigh as many as N / (1 + (typical - 1) · correlation) independent ones.

    Args:
        null: How much it varies.
        hits: float64 (w, c or 1): rows that it counts.
        rows: The same shape: rows that it is a share of.
        usual: Hits and rows of what they are compared with, each float64 (w or 1, c or 1).
        spec: Which ratio it is.
    """
    usual_hits, usual_rows = usual
    # Short of all of them there is no surprise, and no need to add up the tail.
    tailed = np.where(hits < rows, np.minimum(hits, 0.0), hits) if spec.all_only else hits
    with np.errstate(divide="ignore", invalid="ignore"):
        worth = usual_rows / (1 + (np.minimum(null.typical, usual_rows) - 1).clip(min=0) * null.correlation)
        mean = (worth * usual_hits / usual_rows + 0.5) / (worth + 1)
        spread = null.correlation + (1 - null.correlation) / (worth + 2)  # Var(ratio) / (mean (1 - mean)).
        upper, lower = tails(*np.broadcast_arrays(tailed, rows, mean, 1 / spread - 1))
        away = hits / rows - usual_hits / usual_rows
        likely = (usual_hits + 0.5) / (usual_rows + 1)
        sampling = likely * (1 - likely) * (1 / rows + 1 / usual_rows)
    pvalue = np.minimum(1.0, 2 * np.minimum(upper, lower)) if spec.both_ways else upper
    if spec.all_only:  # A column that is constant at times, and far from it else, follows no beta distribution.
        pvalue = np.maximum(pvalue, null.full)
    effect = np.sqrt(np.maximum(0, away**2 - sampling))
    excess = np.sqrt(np.maximum(0, away**2 - sampling - mean * (1 - mean) * null.correlation))
    none = ((away < 0) & (not spec.both_ways)) | ((hits < rows) & spec.all_only)
    effect, excess = np.where(none, 0.0, effect), np.where(none, 0.0, excess)
    return Surprise(pvalue, effect, excess, np.sqrt(sampling))


def _fit_volume(baseline: Baseline, starts_ns: Times, rows: Floats, length_ns: int) -> VolumeNull | None:
    times_max = covered_ns(baseline) / _SEASON_TIMES_MIN
    season_ns = next((each for each in (WEEK_NS, DAY_NS) if length_ns < each <= times_max), 0)
    slot_ns = max(length_ns, HOUR_NS)
    zone = UTC if baseline.hours is None or slot_ns > HOUR_NS else baseline.zone
    slots = _slots(starts_ns, season_ns, slot_ns, zone)
    size = int(slots.max(initial=0)) + 1 if not season_ns else -(-season_ns // slot_ns)
    logs = np.log(rows)
    chunks = np.bincount(slots, minlength=size).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.bincount(slots, logs, minlength=size) / chunks
    freedom = float(len(rows) - np.count_nonzero(chunks))
    if len(rows) < CHUNKS_MIN or freedom < CHUNKS_MIN / 2:
        return None
    variance = float(((logs - mean[slots]) ** 2).sum() / freedom)
    return VolumeNull(season_ns, slot_ns, mean, chunks, max(variance, _VARIANCE_MIN), freedom, zone)


def _slots(starts_ns: Times, season_ns: int, slot_ns: int, zone: str) -> Times:
    return local_ns(starts_ns, zone) % season_ns // slot_ns if season_ns else np.zeros(len(starts_ns), np.int64)
