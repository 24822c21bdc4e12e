"""Rows drawn from what is expected: what a method gives on average where nothing but chance makes a difference."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.special import gammaln

from driftmeter.methods.curves import draw_gaps
from driftmeter.methods.shares import TINY
from driftmeter.model.compiled import frozen

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_REACH = 8.0
"""Counts of a bin further than so many standard deviations, and so many rows, from what is expected of it are left
out: together they have a chance of some 10⁻¹⁴."""


@dataclass(frozen=True)
class Sides:
    """Both sides of a bin, in a table that has a row for each count that the bin can have by chance.

    Attributes:
        expected: The baseline's count of the bin.
        observed: A window's count of it.
        rows_expected: Rows of the baseline.
        rows_observed: Rows of the window.
        bins: How many bins there are.
        filled: How many bins have rows in the baseline.
    """

    expected: pl.Expr
    observed: pl.Expr
    rows_expected: pl.Expr
    rows_observed: pl.Expr
    bins: pl.Expr
    filled: pl.Expr

    def shares(self, added: float = 0.0) -> tuple[pl.Expr, pl.Expr]:
        """The bin's share of the rows of either side, so much having been added to every count."""
        more = added * self.bins
        return (
            (self.expected + added) / (self.rows_expected + more),
            (self.observed + added) / (self.rows_observed + more),
        )


_SIDES = Sides(*(pl.col(name) for name in Sides.__dataclass_fields__))


class _Outcomes(NamedTuple):
    """Every count that each group can have by chance.

    Attributes:
        sides: One row for each, columns as in `Sides`.
        chance: float64 (rows,): how likely it is.
        starts: int64 (columns,): each column's first row.
    """

    sides: pl.DataFrame
    chance: Floats
    starts: Ints


@dataclass(frozen=True, eq=False)
class Sampling:
    """Windows of `rows` rows drawn from the expected counts of c columns, regrouped into g groups of bins.

    Attributes:
        rows: Rows of a window.
        expected: float64 (g,): the baseline's counts; every column has rows.
        starts: int64 (c,): each column's first group, ascending from 0.
        width: float64 (g,): widths of the groups, feature units; only of `Bins.FINE`.
        spread: float64 (c,): standard deviation of the baseline's values, feature units; nan for categorical columns.
        uniforms: float64 (draws, rows): numbers in [0, 1), ascending in each draw: the windows of draws are the bins
            that these lie in. The same for all columns.
    """

    rows: int
    expected: Floats
    starts: Ints
    width: Floats
    spread: Floats
    uniforms: Floats

    def sum(self, values: Floats) -> Floats:
        """Sums of `values` (g,) by column: (c,)."""
        return np.add.reduceat(values, self.starts)

    @cached_property
    def totals(self) -> Floats:
        """float64 (c,): rows of the baseline with a value."""
        return self.sum(self.expected)

    @cached_property
    def column(self) -> Ints:
        """int64 (g,): the column each group belongs to."""
        return np.repeat(np.arange(len(self.starts)), self._sizes)

    @cached_property
    def shares(self) -> Floats:
        """float64 (g,): each group's share of its column's rows."""
        return self.expected / self.totals[self.column]

    @cached_property
    def below(self) -> Floats:
        """float64 (g,): share of the column's rows up to each group's right edge, 1 at the column's last."""
        running = np.cumsum(self.expected)
        return (running - (running - self.expected)[self.starts][self.column]) / self.totals[self.column]

    @cached_property
    def before(self) -> Floats:
        """float64 (g,): share of the column's rows up to each group's left edge, 0 at the column's first."""
        shifted = np.roll(self.below, 1)
        shifted[self.starts] = 0.0
        return shifted

    def expected_sum(self, terms: Callable[[Sides], pl.Expr]) -> Floats:
        """Expectation of a sum over bins that needs one bin at a time: exact, (c,).

        A bin's count is binomial: Σ over bins and counts of the count's chance times what the bin then adds.

        Args:
            terms: What a bin adds, from both its sides.
        """
        sides, chance, starts = self._outcomes
        added = sides.select(terms(_SIDES).cast(pl.Float64)).to_series().to_numpy()
        return np.add.reduceat(added * chance, starts)

    @cached_property
    def squared_gap(self) -> Floats:
        """float64 (c,): expectation of ∫ (F - G)² dx, F and G linear in each group, feature units: exact.

        The covariance of G at two edges is F·(1 - F') / rows, F' being that of the right one.
        """
        before, below = self.before, self.below
        inside = before * (1 - before) + before * (1 - below) + below * (1 - below)
        return self.sum(self.width * inside) / (3 * self.rows)

    @cached_property
    def largest_gap_squared(self) -> Floats:
        """float64 (c,): mean of max (F - G)² at the groups' right edges over the draws."""
        return np.asarray(self._gaps[0])

    @cached_property
    def area_squared(self) -> Floats:
        """float64 (c,): expectation of (∫ |F - G| dx)² by the draws, F and G linear in each group; feature units².

        Draws in which it is large are those in which ∫ (F - G)² dx is, and of this it is known how far the draws' mean
        is off: a ratio estimate (Cochran, Sampling Techniques, 1977, chapter 6), a quarter of the error where no tail
        is heavy.
        """
        _, area, squared = self._gaps
        return np.asarray(area * np.divide(self.squared_gap, squared, out=np.ones_like(area), where=squared > 0))

    @cached_property
    def _sizes(self) -> Ints:
        return np.diff(self.starts, append=len(self.expected))

    @cached_property
    def _gaps(self) -> Floats:
        bounds = np.append(self.starts, len(self.expected))
        found = np.zeros((3, len(self.starts)))
        draw_gaps(frozen(self.below), frozen(self.width), frozen(bounds), frozen(self.uniforms), found)
        return found

    @cached_property
    def _outcomes(self) -> _Outcomes:
        mean = self.rows * self.shares
        certain = (self.shares == 0) | (self.shares == 1)
        reach = np.where(certain, 0.0, _REACH * (np.sqrt(mean * (1 - self.shares)) + 1))
        low = np.maximum(np.floor(mean - reach), 0.0).astype(np.int64)
        sizes = np.minimum(np.ceil(mean + reach), self.rows).astype(np.int64) - low + 1
        group, firsts = np.repeat(np.arange(len(mean)), sizes), np.cumsum(sizes) - sizes
        observed = np.arange(len(group)) + (low - firsts)[group]
        logs = gammaln(np.arange(self.rows + 1) + 1.0)  # Of the factorials.
        yes, no = np.log(self.shares + TINY), np.log(1 - self.shares + TINY)
        ways = logs[-1] - logs[observed] - logs[self.rows - observed]
        chance = np.exp(ways + observed * yes[group] + (self.rows - observed) * no[group])
        by_group = {
            "expected": self.expected,
            "rows_expected": self.totals[self.column],
            "bins": self._sizes[self.column].astype(np.float64),
            "filled": self.sum((self.expected > 0).astype(np.float64))[self.column],
        }
        sides = pl.DataFrame({name: values[group] for name, values in by_group.items()}).with_columns(
            observed=pl.Series(observed.astype(np.float64)), rows_observed=pl.lit(float(self.rows))
        )
        return _Outcomes(sides, chance, firsts[self.starts])


def draw_uniforms(random: np.random.Generator, draws: int, rows: int) -> Floats:
    """float64 (draws, rows): numbers in [0, 1), ascending in each draw, by the spacings of a Poisson process.

    Rényi, On the theory of order statistics, 1953, https://doi.org/10.1007/BF02127580.
    """
    times = random.standard_exponential((draws, rows + 1)).cumsum(axis=1)
    return np.asarray(times[:, :-1] / times[:, -1:])
