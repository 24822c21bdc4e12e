"""Another version's live traffic: the same window of it, counted on the same edges."""

from driftmeter.detect.parts import expected_of
from driftmeter.detect.reference import Expected
from driftmeter.model.baseline import Comparison
from driftmeter.model.bundle import Tree
from driftmeter.model.counts import Counts
from driftmeter.model.layout import Layout
from driftmeter.model.stored import Stored
from driftmeter.model.window_counts import WindowCounts


class VersionReference:
    """The same window of another version, as far as it was counted when this one became due.

    Which rows these were is settled then (`WindowCounts.beside`), so that it does not matter when the window is
    evaluated. Only windows by time have a counterpart.

    Args:
        name: The `baseline` label.
        layout: Columns and bins of both versions.
    """

    kind = Comparison.REST

    def __init__(self, name: str, layout: Layout) -> None:
        self.name = name
        self._layout = layout

    def expect(self, window: WindowCounts, counts: Counts) -> Expected | None:  # noqa: ARG002 - of the other's window.
        """Counts of the other version's window; None when it has none, or one without rows."""
        if window.beside is None or not int(window.beside.rows[0]):
            return None
        return expected_of(window.beside, self._layout)

    def observe(self, window: WindowCounts, counts: Counts, *, drifted: bool) -> None:
        """Nothing to note: every window brings its counterpart."""

    def state(self) -> Tree:
        """Nothing."""
        return {}

    def restore(self, tree: Tree) -> None:
        """Take over a state. Raises DamagedError when it is none."""
        Stored(tree)
