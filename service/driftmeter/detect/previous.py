"""The window before: what changed since, rather than what is unlike the baseline."""

from driftmeter.detect.parts import Part, Total
from driftmeter.detect.reference import Expected
from driftmeter.model.baseline import Comparison
from driftmeter.model.bundle import Tree
from driftmeter.model.counts import Counts
from driftmeter.model.layout import Layout
from driftmeter.model.stored import Stored
from driftmeter.model.window_counts import WindowCounts


class PreviousReference:
    """The newest window of the same length that ended before this one began.

    Of windows that overlap, only those count that begin where a disjoint one would, since these are judged: what a
    window between is compared with may have ended nearly a length before it began. Windows by rows follow each other,
    whatever their times are. Keeps two windows of a length: the newest, since late rows may have it evaluated again,
    and the one before it.

    Args:
        name: The `baseline` label.
        layout: Columns and bins of the model's baseline.
    """

    kind = Comparison.PREVIOUS

    def __init__(self, name: str, layout: Layout) -> None:
        self.name = name
        self._layout = layout
        self._kept: dict[str, list[Part]] = {}

    def expect(self, window: WindowCounts, counts: Counts) -> Expected | None:  # noqa: ARG002 - of the window before.
        """Counts of the window before; None for the first one, and for revisions of windows long past."""
        start_ns, _ = _span(window)
        before = [part for part in self._kept.get(window.window.name, ()) if part.end_ns <= start_ns]
        if not before:
            return None
        total = Total(self._layout)
        total.add(before[-1])
        return total.expected(before[-1:])

    def observe(self, window: WindowCounts, counts: Counts, *, drifted: bool) -> None:  # noqa: ARG002 - not asked.
        """Keep a window, drifted or not: it is what comes before the next."""
        start_ns, end_ns = _span(window)
        if start_ns % (end_ns - start_ns):
            return
        kept = self._kept.setdefault(window.window.name, [])
        if kept and end_ns <= kept[-1].end_ns:  # Evaluated out of order: not what comes before the next one.
            return
        kept.append(Part.of(start_ns, end_ns, counts))
        while len(kept) > 1 and kept[1].end_ns <= start_ns:
            del kept[0]

    def state(self) -> Tree:
        """The windows that are kept, for `restore`."""
        return {name: [part.state() for part in parts] for name, parts in self._kept.items()}

    def restore(self, tree: Tree) -> None:
        """Take over a state of the same layout. Raises DamagedError when it is none."""
        stored = Stored(tree)
        self._kept = {
            name: [Part.from_state(each, self._layout) for each in stored.objects(name)] for name in stored.names
        }


def _span(window: WindowCounts) -> tuple[int, int]:
    """Start and end; of windows by rows, numbers of rows."""
    if window.window.by_rows or window.start_ns is None or window.end_ns is None:
        start = window.index * window.window.hop_rows
        return start, start + window.window.rows
    return window.start_ns, window.end_ns
