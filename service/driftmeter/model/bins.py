"""Bins of one column: where a value is counted.

Numeric, with m edges e₀ < … < e₍m₋₁₎ (the reference's minimum and maximum are the outermost):

    bin      0      1          2             m-1                  m        m+1
          below  [e₀, e₁)  [e₁, e₂)  …  [e₍m₋₂₎, e₍m₋₁₎)   {e₍m₋₁₎}     above

Categorical, with k categories: bins 0 … k-1, then `other` (k) and `unseen` (k+1).
Missing and non-finite values are in no bin: they are counted apart.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from driftmeter.model.cells import Cells, choose_cells, look_up_table

CATEGORIES_MAX = 256
"""Categories with a bin of their own, by reference frequency; rarer ones share `other`."""

OTHER_NAMES_MAX = 10_000
"""Names of rarer categories that are remembered. With more, what is unknown counts as `other`, not as `unseen`."""


@dataclass(frozen=True, eq=False)
class NumericBins:
    """Bins of a numeric column.

    Attributes:
        edges: float64 (m,), strictly ascending, finite, m >= 1; feature units.
    """

    edges: npt.NDArray[np.float64]

    @property
    def size(self) -> int:
        """Number of bins, m + 2."""
        return len(self.edges) + 2

    @cached_property
    def cells(self) -> Cells:
        """How values are numbered for the look-up table."""
        return choose_cells(self.edges)

    @cached_property
    def lookup(self) -> npt.NDArray[np.int32]:
        """int32 (CELLS + 2,): number of edges whose cell is before this one."""
        return look_up_table(self.edges, self.cells)


@dataclass(frozen=True, eq=False)
class CategoryBins:
    """Bins of a categorical column.

    Attributes:
        categories: Names with a bin of their own, most frequent first.
        others: Names that the reference held too and that share the bin `other`.
        others_truncated: True when the reference held more names than are remembered.
    """

    categories: tuple[str, ...]
    others: tuple[str, ...] = ()
    others_truncated: bool = False

    @property
    def size(self) -> int:
        """Number of bins, k + 2."""
        return len(self.categories) + 2

    @property
    def unknown(self) -> int:
        """The bin of names that are neither categories nor remembered ones of `other`."""
        return self.size - 2 if self.others_truncated else self.size - 1


Bins = NumericBins | CategoryBins
