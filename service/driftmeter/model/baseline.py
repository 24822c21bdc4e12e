"""A baseline in memory."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from driftmeter.model.bins import Bins, NumericBins
from driftmeter.model.columns import Column
from driftmeter.model.layout import Layout

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


@dataclass(frozen=True, eq=False)
class Chunks:
    """The deciding statistic of the baseline's own time-ordered chunks, each against the rest.

    Attributes:
        rows: int64 (chunks,): values compared, missing ones left out.
        squared: float64 (chunks,): the statistic on the squared scale.
    """

    rows: npt.NDArray[np.int64]
    squared: Floats


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
        chunks: Per window name.
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
    chunks: Mapping[str, Chunks] = field(default_factory=dict)


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
        windows: Names of the window lengths it holds chunks of.
        skipped: Reference columns left out, and why.
        content_hash: SHA-256 of the content in hexadecimal; empty before it was written.
    """

    model: str
    version: str
    name: str
    rows: int
    start_ns: int | None
    end_ns: int | None
    columns: tuple[ColumnBaseline, ...]
    windows: tuple[str, ...]
    skipped: Mapping[str, str] = field(default_factory=dict)
    content_hash: str = ""

    @cached_property
    def layout(self) -> Layout:
        """Columns and bins for counting."""
        centers = [each.mean if isinstance(each.bins, NumericBins) else 0.0 for each in self.columns]
        return Layout(
            tuple(each.column for each in self.columns),
            tuple(each.bins for each in self.columns),
            np.nan_to_num(np.array(centers, dtype=np.float64)),
        )

    @cached_property
    def counts(self) -> Floats:
        """float64 (1, layout.size): counts of all columns, flat."""
        return np.concatenate([each.counts for each in self.columns]).astype(np.float64)[None, :]

    def labelled(self, model: str, version: str, name: str) -> "Baseline":
        """The same baseline for another model, version or label."""
        return replace(self, model=model, version=version, name=name)
