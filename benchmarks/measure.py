"""Measuring CPU time, so that a busy machine disturbs little, and comparisons side by side."""

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Work = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Measurement:
    """One figure of a benchmark.

    Attributes:
        benchmark: The benchmark's name.
        metric: What was measured.
        value: The figure.
        unit: Its unit.
        reference: What it is compared with, if anything.
        reference_value: The reference's figure, in the same unit and from the same run.
        ratio: Ours divided by the reference's: the median over rounds in which both ran one after the other.
        target: The ratio, or the value where there is no ratio, that must not be exceeded; None when none is set.
        at_least: The same, not to be fallen short of.
    """

    benchmark: str
    metric: str
    value: float
    unit: str
    reference: str | None = None
    reference_value: float | None = None
    ratio: float | None = None
    target: float | None = None
    at_least: float | None = None

    @property
    def missed(self) -> bool:
        """Whether a bound is set and not kept."""
        judged = self.value if self.ratio is None else self.ratio
        above = self.target is not None and judged > self.target
        return above or (self.at_least is not None and judged < self.at_least)


@dataclass(frozen=True, slots=True)
class Options:
    """How benchmarks are to run.

    Attributes:
        quick: Small amounts, to see that all of it works: the figures mean little.
        only: Parts of a benchmark that has parts; empty for all.
        document: Page whose tables, and plots beside it, are written anew by a benchmark that has some.
    """

    quick: bool = False
    only: tuple[str, ...] = ()
    document: Path | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """CPU seconds of one call of each side, medians over rounds, and the median of the rounds' ratios."""

    seconds: float
    reference_seconds: float
    ratio: float


def cpu_seconds(work: Work, repeats: int) -> float:
    """CPU time of the process for one call, all threads together, over `repeats` calls."""
    start = time.process_time()
    for _ in range(repeats):
        work()
    return (time.process_time() - start) / repeats


def median_cpu_seconds(work: Work, *, repeats: int, rounds: int) -> float:
    """Median over rounds of the CPU time of one call."""
    work()
    return statistics.median(cpu_seconds(work, repeats) for _ in range(rounds))


def compare(work: Work, reference: Work, *, repeats: int, rounds: int) -> Comparison:
    """Run both sides in turns, the first one alternating, without garbage collection in between."""
    for side in (work, reference):
        cpu_seconds(side, repeats)  # Fills caches and the allocator's free lists.
    ours: list[float] = []
    theirs: list[float] = []
    gc.collect()
    gc.disable()
    try:
        for number in range(rounds):
            sides = [(work, ours), (reference, theirs)]
            for side, seconds in sides if number % 2 else reversed(sides):
                seconds.append(cpu_seconds(side, repeats))
    finally:
        gc.enable()
    return Comparison(
        statistics.median(ours),
        statistics.median(theirs),
        statistics.median(our / their for our, their in zip(ours, theirs, strict=True)),
    )
