"""The model's own last days: what is unlike lately, with drifted windows left out."""

from collections import deque
from dataclasses import dataclass, field
from itertools import islice, takewhile

from driftmeter.detect.parts import Part, Total
from driftmeter.detect.reference import Expected
from driftmeter.model.baseline import Comparison
from driftmeter.model.bundle import Tree
from driftmeter.model.counts import Counts
from driftmeter.model.layout import Layout
from driftmeter.model.stored import Stored
from driftmeter.model.window_counts import WindowCounts
from driftmeter.model.windows import ROLLING_FILLED

PARTS = 14
"""Pieces that the span is kept in: half a day each of seven days. A piece leaves as a whole."""


@dataclass(eq=False)
class _Ring:
    """Windows of one length: those that are old enough to be compared with, in pieces, and the newest."""

    total: Total
    pieces: deque[Part] = field(default_factory=deque)
    newest: list[Part] = field(default_factory=list)


class RollingReference:
    """Sum of the model's own disjoint windows of the last days, each length by itself.

    - Windows that drifted against this reference are left out: else it would learn what it should tell. When all of
      the span is drifted nothing is left, and it begins anew with what is there then: a verdict ends after the span.
    - It lags by one window, so that one in which drift begins is not compared with itself.
    - A revision is compared as its window was, as long as no later window was judged.

    Memory: at most `PARTS` + 4 times 12 bytes for each bin that is not empty, and 16 bytes for each bin, by length.

    Args:
        name: The `baseline` label.
        layout: Columns and bins of the model's baseline.
        span_ns: How far back it reaches.
    """

    kind = Comparison.ROLLING

    def __init__(self, name: str, layout: Layout, span_ns: int) -> None:
        self.name = name
        self._layout = layout
        self._span_ns = span_ns
        self._rings: dict[str, _Ring] = {}

    def expect(self, window: WindowCounts, counts: Counts) -> Expected | None:  # noqa: ARG002 - of windows before.
        """The sum of the windows that ended one window before this one began; None while there are too few."""
        ring = self._rings.get(window.window.name)
        if ring is None or window.start_ns is None:
            return None
        from_ns, until_ns = window.start_ns - self._span_ns, window.start_ns - _lag_ns(window)
        recent = [part for part in ring.newest if from_ns < part.end_ns <= until_ns]
        gone = self._gone(ring, window.start_ns)
        first = next(islice(ring.pieces, gone, None), None) or next(iter(recent), None)
        if first is None or window.start_ns - first.start_ns < ROLLING_FILLED * self._span_ns:
            return None
        total = ring.total.copy()
        for part in islice(ring.pieces, gone):
            total.subtract(part)
        for part in recent:
            total.add(part)
        return total.expected((*islice(ring.pieces, gone, None), *recent)) if total.rows else None

    def observe(self, window: WindowCounts, counts: Counts, *, drifted: bool) -> None:
        """A window was judged: it is taken in unless it drifted or overlaps with one that was; old ones leave."""
        if window.start_ns is None or window.end_ns is None:
            return
        ring = self._rings.setdefault(window.window.name, _Ring(Total(self._layout)))
        until_ns = window.start_ns - _lag_ns(window)
        while ring.newest and ring.newest[0].end_ns <= until_ns:
            self._settle(ring, ring.newest.pop(0), window)
        for _ in range(self._gone(ring, window.start_ns)):
            ring.total.subtract(ring.pieces.popleft())
        disjoint = not ring.newest or window.start_ns >= ring.newest[-1].end_ns
        follows = not ring.pieces or window.start_ns >= ring.pieces[-1].end_ns
        if not drifted and disjoint and follows:
            ring.newest.append(Part.of(window.start_ns, window.end_ns, counts))

    def state(self) -> Tree:
        """All windows that are kept, for `restore`."""
        return {
            name: {
                "pieces": [part.state() for part in ring.pieces],
                "newest": [part.state() for part in ring.newest],
            }
            for name, ring in self._rings.items()
        }

    def restore(self, tree: Tree) -> None:
        """Take over a state of the same layout. Raises DamagedError when it is none."""
        stored = Stored(tree)
        self._rings = {}
        for name in stored.names:
            ring = self._rings[name] = _Ring(Total(self._layout))
            parts = stored.member(name)
            ring.newest = [Part.from_state(each, self._layout) for each in parts.objects("newest")]
            for each in parts.objects("pieces"):
                ring.pieces.append(Part.from_state(each, self._layout))
                ring.total.add(ring.pieces[-1])

    def _gone(self, ring: _Ring, start_ns: int) -> int:
        """How many pieces are too old for a window; the end of one decides, so that its newest window stays in time."""
        return sum(1 for _ in takewhile(lambda part: part.end_ns <= start_ns - self._span_ns, ring.pieces))

    def _settle(self, ring: _Ring, part: Part, window: WindowCounts) -> None:
        """Add a window to the sum, and to the newest piece if it falls into the same."""
        ring.total.add(part)
        piece_ns = max(self._span_ns // PARTS, window.window.length_ns, 1)
        if ring.pieces and part.start_ns // piece_ns == ring.pieces[-1].start_ns // piece_ns:
            last = ring.pieces.pop()
            together = Total(self._layout)
            together.add(last)
            together.add(part)
            part = together.part(last.start_ns, max(last.end_ns, part.end_ns), last.tails + part.tails)
        ring.pieces.append(part)


def _lag_ns(window: WindowCounts) -> int:
    """One window's length; of one by rows, the time that its rows span."""
    if window.window.by_rows and window.start_ns is not None and window.end_ns is not None:
        return window.end_ns - window.start_ns
    return window.window.length_ns
