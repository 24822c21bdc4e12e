"""What an explanation of a window says, as numbers and words."""

from dataclasses import asdict, dataclass, field
from typing import Any

from driftmeter.explaining.bars import Bar


@dataclass(frozen=True)
class Statistic:
    """One method or ratio of the window.

    Attributes:
        method: Its key.
        deciding: Whether it has a say in the verdict.
        value: The number, in its own unit.
        noise_floor: What sampling alone gives.
        effect: What is left beyond it.
        excess: What is left beyond sampling noise and natural variation; null where it decides nothing.
        min_effect: Smallest excess that counts.
        pvalue: How surprising it is.
        exceeds: Whether it is more surprising than the level and its excess is large enough; null where it decides
            nothing or could not be judged.
        detected: The verdict, as in findings.
        reason: Why there is none.
    """

    method: str
    deciding: bool
    value: float | None
    noise_floor: float | None
    effect: float | None
    excess: float | None
    min_effect: float | None
    pvalue: float | None
    exceeds: bool | None
    detected: bool | None
    reason: str | None


@dataclass(frozen=True)
class NullFacts:
    """What windows without drift look like by one deciding method.

    Attributes:
        method: The method.
        natural: How far the baseline's own chunks are from one another beyond sampling noise, in the method's unit.
        shape: Shape of the gamma distribution about it: the larger, the more alike the chunks.
        chunks: How many chunks that is known from.
        source: `own`, or `borrowed` from chunks of a shorter window length; null without any.
        reason: Why there is none.
    """

    method: str
    natural: float | None
    shape: float | None
    chunks: int
    source: str | None
    reason: str | None


@dataclass(frozen=True)
class Past:
    """One window of the feature.

    Attributes:
        start: Its first instant.
        rows: Rows with a value.
        value: The deciding score.
        noise_floor: What sampling alone gives of it.
        excess: The largest of what is left beyond noise and natural variation, over the deciding methods, each as a
            multiple of the smallest that counts.
        pvalue: The surprise that was compared with the level: the least of the methods whose excess is large enough;
            null where none is.
        exceeds: Whether the window exceeds; null when it could not be judged.
        detected: The verdict.
        reason: Why there is none.
    """

    start: str
    rows: int
    value: float | None
    noise_floor: float | None
    excess: float | None
    pvalue: float | None
    exceeds: bool | None
    detected: bool | None
    reason: str | None


@dataclass(frozen=True)
class Explanation:
    """All of it; times are RFC 3339 in UTC, shares and distances as everywhere."""

    model: str
    version: str
    stage: str
    segment: str
    feature: str
    role: str
    kind: str
    source: str
    window: str
    start: str
    end: str
    rows: int
    values: int
    baseline: dict[str, Any]
    verdict: bool | None
    reason: str | None
    said: str
    level: float | None
    needed: int
    of: int
    min_rows: int
    statistics: list[Statistic]
    nulls: list[NullFacts]
    history: list[Past]
    histogram: list[Bar]
    moved: list[Bar]
    quality: dict[str, dict[str, float | None]]
    notes: list[str] = field(default_factory=list)

    def tree(self) -> dict[str, Any]:
        """The same as a tree for JSON."""
        return asdict(self)
