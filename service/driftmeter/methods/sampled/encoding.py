"""Sampled rows of numbers and categories to rows of comparable numbers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_LARGEST = 1e100
"""Numbers beyond are taken as this: their squares would be infinite."""


@dataclass(frozen=True, eq=False)
class Encoding:
    """How values of c columns become numbers, as the reference's rows say.

    A category becomes its share of the reference's values; a missing number becomes the reference's mean, a missing
    category the most frequent one; then each column is brought to mean 0 and standard deviation 1 of the reference
    (constant ones to 0). This is NannyML's convention, but that rare categories share that of `other`, and that unseen
    ones have a share of 0.

    Attributes:
        named: int64 (k,): the categorical columns.
        first: int64 (k,): where each one's shares begin.
        shares: float64: shares of their bins, one column after the other.
        usual: float64 (k,): each one's most frequent bin.
        fill: float64 (c,): what a missing value becomes, before scaling; 0 for categorical columns.
        mean: float64 (c,): the reference's means.
        scale: float64 (c,): its standard deviations, 1 where these are 0.
    """

    named: npt.NDArray[np.int64]
    first: npt.NDArray[np.int64]
    shares: Floats
    usual: Floats
    fill: Floats
    mean: Floats
    scale: Floats

    @classmethod
    def of(cls, rows: Floats, counts: Sequence[Floats | None]) -> "Encoding":
        """The encoding of a reference.

        Args:
            rows: float64 (N, c): numbers, and bins' numbers of categories; NaN is missing.
            counts: Of each categorical column, float64 (bins,): the reference's counts; None for numeric columns.
        """
        named = np.array([i for i, each in enumerate(counts) if each is not None], np.int64)
        tables = [each / max(1.0, each.sum()) for each in counts if each is not None]
        numbers = _finite(rows)
        known = np.maximum(np.count_nonzero(~np.isnan(numbers), axis=0), 1)
        fill = np.nansum(numbers, axis=0) / known
        fill[named] = 0
        unscaled = cls(
            named,
            np.cumsum([0, *(len(each) for each in tables)], dtype=np.int64)[:-1],
            np.concatenate([*tables, np.empty(0)]),
            np.array([float(np.argmax(each)) for each in tables]),
            fill,
            np.zeros(len(counts)),
            np.ones(len(counts)),
        )
        encoded = unscaled.standardised(rows)
        mean, deviation = encoded.mean(axis=0), encoded.std(axis=0)
        # A constant column's deviation is not always 0 exactly: its mean is rounded.
        scale = np.where(deviation > 1e-12 * np.abs(mean), deviation, 1.0)
        return cls(named, unscaled.first, unscaled.shares, unscaled.usual, fill, mean, scale)

    def standardised(self, rows: Floats) -> Floats:
        """float64 (n, c): rows as methods compare them, without missing values."""
        numbers = _finite(rows)
        encoded = np.where(np.isnan(numbers), self.fill, numbers)
        bins = rows[:, self.named]
        encoded[:, self.named] = self.shares[self.first + np.where(np.isnan(bins), self.usual, bins).astype(np.int64)]
        return np.asarray((encoded - self.mean) / self.scale)


def _finite(rows: Floats) -> Floats:
    """The numbers, NaN where they are not finite."""
    return np.where(np.isfinite(rows), np.clip(rows, -_LARGEST, _LARGEST), np.nan)
