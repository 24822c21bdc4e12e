"""Where each column's bins stand in one flat array of counts."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from driftmeter.model.bins import Bins, NumericBins
from driftmeter.model.columns import Column, Kind


@dataclass(frozen=True, eq=False)
class Layout:
    """All columns of one model, in a fixed order.

    Attributes:
        columns: The columns.
        bins: Each one's bins, in the same order.
        centers: float64 (columns,): the value about which moments are summed (the reference mean), 0 for
            categorical columns. Feature units.
    """

    columns: tuple[Column, ...]
    bins: tuple[Bins, ...]
    centers: npt.NDArray[np.float64]

    @cached_property
    def offsets(self) -> npt.NDArray[np.int64]:
        """int64 (columns + 1,): the first bin of each column, then the number of bins in all."""
        return np.cumsum([0, *(each.size for each in self.bins)], dtype=np.int64)

    @property
    def size(self) -> int:
        """Number of bins of all columns together."""
        return int(self.offsets[-1])

    @cached_property
    def kinds(self) -> dict[str, Kind]:
        """Kind of each column by field name."""
        return {
            column.field: Kind.NUMERIC if isinstance(bins, NumericBins) else Kind.CATEGORICAL
            for column, bins in zip(self.columns, self.bins, strict=True)
        }
