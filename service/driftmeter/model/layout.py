"""Where each column's bins stand in one flat array of counts."""

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from driftmeter.model.bins import Bins, NumericBins
from driftmeter.model.columns import Column, Kind
from driftmeter.model.seasons import HOURS_OF_WEEK


@dataclass(frozen=True, eq=False)
class Layout:
    """All columns of one model, in a fixed order.

    Attributes:
        columns: The columns.
        bins: Each one's bins, in the same order.
        centers: float64 (columns,): the value about which moments are summed (the reference mean), 0 for
            categorical columns. Feature units.
        zone: Time zone of the hours of the week that rows are counted by too: seasonal comparisons ask for it. None:
            they are not.
    """

    columns: tuple[Column, ...]
    bins: tuple[Bins, ...]
    centers: npt.NDArray[np.float64]
    zone: str | None = None

    @property
    def hours(self) -> int:
        """By how many hours of the week rows are counted: all, or none."""
        return HOURS_OF_WEEK if self.zone else 0

    @cached_property
    def offsets(self) -> npt.NDArray[np.int64]:
        """int64 (columns + 1,): the first bin of each column, then the number of bins in all."""
        return np.cumsum([0, *(each.size for each in self.bins)], dtype=np.int64)

    @property
    def size(self) -> int:
        """Number of bins of all columns together."""
        return int(self.offsets[-1])

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 in hexadecimal: the same for layouts whose counts can be added."""
        digest = hashlib.sha256(f"{self.zone}{len(self.columns)}".encode())
        for column, bins, center in zip(self.columns, self.bins, self.centers.tolist(), strict=True):
            if isinstance(bins, NumericBins):
                said: object = ("numeric", center)
                digest.update(bins.edges.tobytes())
            else:
                said = bins.categories, bins.others, bins.others_truncated
            digest.update(repr((tuple(column), said)).encode("utf-8", "surrogatepass"))
        return digest.hexdigest()

    @cached_property
    def kinds(self) -> dict[str, Kind]:
        """Kind of each column by field name."""
        return {
            column.field: Kind.NUMERIC if isinstance(bins, NumericBins) else Kind.CATEGORICAL
            for column, bins in zip(self.columns, self.bins, strict=True)
        }
