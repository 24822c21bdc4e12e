"""A baseline in memory."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property

import numpy as np
import numpy.typing as npt

from driftmeter.model.bins import Bins, NumericBins
from driftmeter.model.columns import Column
from driftmeter.model.counts import Tally
from driftmeter.model.layout import Layout
from driftmeter.model.seasons import UTC, ColumnSeasons
from driftmeter.model.windows import DAY_NS

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Cuts:
    """Where the coarser bins of a numeric column are cut; every cut is also one of the fine edges. Feature units.

    Attributes:
        quantile_starts: Left ends of the reference's 32 quantile bins, without repetitions; the last bin ends with the
            maximum. Columns of at most 32 distinct values have a bin for each; a maximum that makes up at least 1/32 of
            the rows has a bin of its own.
        deciles: The 9 inner reference deciles, without repetitions; columns of at most 10 distinct values are cut at
            each.
        doane: Edges of numpy's `doane` histogram, or the distinct values themselves when `discrete`.
        discrete: True for columns of at most 50 distinct values that make up at most a tenth of the rows: the
            `_nannyml` methods then give each value a bin of its own, as NannyML does.
    """

    quantile_starts: Floats
    deciles: Floats
    doane: Floats
    discrete: bool


class Comparison(StrEnum):
    """What a baseline's own chunks are compared with, as windows are with a reference of that sort."""

    REST = "rest"
    """All chunks outside the chunk's own block of time: how windows are compared with a fixed baseline."""

    PREVIOUS = "previous"
    """The chunk before."""

    ROLLING = "rolling"
    """The chunks of some time before."""

    SEASONAL = "seasonal"
    """What the rest of the baseline says of the hours of the week that the chunk has rows in."""


@dataclass(frozen=True, eq=False)
class Compared:
    """k chunks of c columns against what one comparison compares them with.

    Attributes:
        rows: float64 (k, c): values that each chunk was compared with; 0 where there was nothing.
        squared: Per method key, float64 (k, c): the statistic on its squared scale; nan where it does not apply or
            there was nothing to compare.
    """

    rows: Floats
    squared: Mapping[str, Floats]


@dataclass(frozen=True, eq=False)
class Chunks:
    """The baseline cut into k chunks in the order of time: what its c columns look like without drift.

    Attributes:
        starts_ns: int64 (k,): first instant of each chunk's window; of chunks by rows, its first row's time. None
            without timestamps.
        rows: int64 (k,): rows of each chunk, missing values included.
        blocks: int64 (k,): the block that each chunk belongs to, ascending from 0.
        values: int64 (k, c): rows with a value.
        ratios: Per ratio's method key, int64 (k, c): rows it counts; of `out_of_range_ratio` and `unseen_ratio`,
            values that no chunk outside the block reaches or has, since in the baseline as a whole there are none. -1
            where it is not known, and no table for a ratio that an older release did not count.
        compared: Per comparison, the deciding statistics.
        distant: Per method key, float64 (2, blocks, c): for each block, what the chunks outside it lie from the rest
            when this block is left out of it too. Mean of the statistic on its squared scale and of 1/n + 1/N, over
            the chunks that have rows enough; nan where there are none. A null fitted by these has not seen the block.
        whole: Per ratio of the model's whole rows, int64 (k,): rows it counts, -1 where it is not known.
    """

    starts_ns: npt.NDArray[np.int64] | None
    rows: npt.NDArray[np.int64]
    blocks: npt.NDArray[np.int64]
    values: npt.NDArray[np.int64]
    ratios: Mapping[str, npt.NDArray[np.int64]]
    compared: Mapping[Comparison, Compared]
    distant: Mapping[str, Floats] = field(default_factory=dict)
    whole: Mapping[str, npt.NDArray[np.int64]] = field(default_factory=dict)


ROLLING_NS = 7 * DAY_NS
"""How far back chunks are compared with those before them unless told otherwise."""

BLOCKS = 4
"""Blocks of chunks that are left out in turn."""


def blocks_of(chunks: int) -> npt.NDArray[np.int64]:
    """int64 (chunks,): the block of each chunk in the order of time, ascending from 0; equally many in each.

    Not of equal time: a baseline of two far seasons, or with a few rows long after all others, would have blocks that
    hold nearly all of it, and what is left without them would say nothing.
    """
    return np.arange(chunks, dtype=np.int64) * BLOCKS // max(chunks, BLOCKS)


@dataclass(frozen=True, eq=False)
class ColumnBaseline:
    """One column.

    Attributes:
        column: Role and name.
        bins: Its bins.
        cuts: Coarser bins; None for categorical columns.
        counts: uint64 (bins.size,).
        missing: Rows without a value.
        non_finite: Rows with NaN or an infinity.
        mean, stddev, minimum, maximum: Of the finite values, feature units; nan for categorical columns.
        noise: Per method key, `a` of E[Q] = a (1/n + 1/N): what sampling alone adds, times rows.
        seasons: Its counts by hour of the week; None in baselines without.
        sample: float64 (n,): its values in a sample of the rows, the same rows for all columns and in the order of
            time; a category's bin as a number, NaN where a value is missing.
        words: Words that are known, of a column that is the share of unknown ones in texts; None for others.
        frame: float64 (k, d): how vectors are looked at, of a column that is the distance of embeddings; None for
            others.
    """

    column: Column
    bins: Bins
    cuts: Cuts | None
    counts: npt.NDArray[np.uint64]
    missing: int
    non_finite: int
    mean: float = math.nan
    stddev: float = math.nan
    minimum: float = math.nan
    maximum: float = math.nan
    noise: Mapping[str, float] = field(default_factory=dict)
    seasons: ColumnSeasons | None = None
    sample: Floats = field(default_factory=lambda: np.empty(0))
    words: tuple[str, ...] | None = None
    frame: Floats | None = None


@dataclass(frozen=True, eq=False)
class Baseline:
    """What a model's columns looked like when all was well.

    Attributes:
        model: Model the baseline belongs to.
        version: Its version; empty for any.
        name: The `baseline` label of everything scored against it: file, learned.
        rows: Reference rows.
        start_ns: Time of the first reference row, nanoseconds since the epoch; None without timestamps.
        end_ns: Time of the last one.
        columns: The columns.
        windows: Names of the window lengths it was cut into.
        chunks: Per window name; of lengths that gave at least two.
        skipped: Reference columns left out, and why.
        levels: How surprising a window must be, by a hash of the settings it follows from; nan for none. Kept so that
            nobody has to replay the chunks again, and no part of what the content hash is of.
        content_hash: SHA-256 of the content in hexadecimal; empty before it was written.
        hours: int64 (168,): rows by hour of the week; None in baselines that are not seasonal.
        zone: Time zone of these hours.
        rolling_ns: How far back its chunks are compared with those before them, for rolling comparisons.
        segments: By label (`country=DE`), the same of the rows of one segment: counts and chunks of its own in the bins
            of the whole, without a sample.
    """

    model: str
    version: str
    name: str
    rows: int
    start_ns: int | None
    end_ns: int | None
    columns: tuple[ColumnBaseline, ...]
    windows: tuple[str, ...]
    chunks: Mapping[str, Chunks] = field(default_factory=dict)
    skipped: Mapping[str, str] = field(default_factory=dict)
    levels: Mapping[str, float] = field(default_factory=dict)
    content_hash: str = ""
    hours: npt.NDArray[np.int64] | None = None
    zone: str = UTC
    rolling_ns: int = ROLLING_NS
    segments: Mapping[str, "Baseline"] = field(default_factory=dict)

    @cached_property
    def layout(self) -> Layout:
        """Columns and bins for counting."""
        centers = [each.mean if isinstance(each.bins, NumericBins) else 0.0 for each in self.columns]
        return Layout(
            tuple(each.column for each in self.columns),
            tuple(each.bins for each in self.columns),
            np.nan_to_num(np.array(centers, dtype=np.float64)),
            zone=None if self.hours is None else self.zone,
        )

    @cached_property
    def counts(self) -> Floats:
        """float64 (1, layout.size): counts of all columns, flat."""
        return np.concatenate([each.counts for each in self.columns]).astype(np.float64)[None, :]

    @cached_property
    def sample(self) -> Floats:
        """float64 (n, columns): the sampled rows, in the order of time."""
        return np.column_stack([each.sample for each in self.columns])

    @cached_property
    def tallies(self) -> Floats:
        """float64 (columns, len(Tally)): missing, non-finite and mismatched rows of each column."""
        tallies = np.zeros((len(self.columns), len(Tally)))
        tallies[:, Tally.MISSING] = [each.missing for each in self.columns]
        tallies[:, Tally.NON_FINITE] = [each.non_finite for each in self.columns]
        return tallies

    @property
    def is_provisional(self) -> bool:
        """Whether it was learned and nothing is known yet of how windows differ from it without drift."""
        return self.name == "learned" and not self.chunks

    def labelled(self, model: str, version: str, name: str) -> "Baseline":
        """The same baseline for another model, version or label."""
        segments = {label: each.labelled(model, version, name) for label, each in self.segments.items()}
        return replace(self, model=model, version=version, name=name, segments=segments)
