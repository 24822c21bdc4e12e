"""From surprising windows to a verdict: two of the last three windows."""

import numpy as np
import numpy.typing as npt

from driftmeter.errors import DamagedError
from driftmeter.model.bundle import Tree
from driftmeter.model.stored import Stored

LAST_WINDOWS = 3
NEEDED = 2

REMEMBERED = 1_000
"""Windows whose verdict is kept for revisions: more than three days of 5-minute windows."""

_NONE, _NO, _YES = -1, 0, 1
_ROOM_MIN = 8


class Verdicts:
    """The verdicts of one model and window length, over the sequence of its windows.

    Depends on the sequence of statistics alone. A verdict is made once per window; revisions keep it.

    Args:
        columns: Number of columns.
    """

    def __init__(self, columns: int) -> None:
        self.columns = columns
        # What exceeded in the last windows that could be judged, oldest first, -1 where there were fewer.
        self._recent: npt.NDArray[np.int8] = np.full((columns, LAST_WINDOWS), _NONE, np.int8)
        # A ring of windows: the number and the verdicts of each, where each is, and where the next one comes.
        self._windows: npt.NDArray[np.int64] = np.empty(0, np.int64)
        self._table: npt.NDArray[np.int8] = np.empty((0, columns), np.int8)
        self._places: dict[int, int] = {}
        self._next = 0

    def judge(
        self, index: int, revision: int, exceeds: npt.NDArray[np.bool_], sufficient: npt.NDArray[np.bool_]
    ) -> npt.NDArray[np.float64]:
        """Verdict of each column in one window: 1 drifted, 0 not, nan none.

        Args:
            index: The window's number.
            revision: 0 for its first evaluation; later ones keep each verdict made before, and make those that lacked
                rows until then.
            exceeds: bool (columns,): surprising and large enough.
            sufficient: bool (columns,): whether the window can be judged; windows that cannot neither count nor reset.
        """
        place = self._places.get(index)
        if revision > 0 and place is None:
            return np.full(self.columns, np.nan)
        if place is None:
            place = self._new_place(index)
        verdicts = self._table[place]
        now = sufficient & (verdicts == _NONE)
        self._recent[now] = np.column_stack([self._recent[now, 1:], exceeds[now]])
        verdicts[now] = np.count_nonzero(self._recent[now] == _YES, axis=1) >= NEEDED
        return np.where(verdicts == _NONE, np.nan, verdicts)

    def state(self) -> Tree:
        """All of it, for `restore`: at most `REMEMBERED` bytes per column and little more."""
        used = len(self._places)
        return {
            "recent": self._recent.copy(),
            "windows": self._windows[:used].copy(),
            "verdicts": self._table[:used].copy(),
            "next": self._next,
        }

    def restore(self, tree: Tree) -> None:
        """Take over a state.

        Raises:
            DamagedError: It is none, or one for another number of columns.
        """
        stored = Stored(tree)
        windows = stored.array("windows", np.int64, None)
        recent = stored.array("recent", np.int8, self.columns, LAST_WINDOWS)
        verdicts = stored.array("verdicts", np.int8, len(windows), self.columns)
        following = stored.count("next")
        if len(windows) > REMEMBERED or len(np.unique(windows)) < len(windows):
            raise DamagedError("stored verdicts are of too many windows, or of one twice")
        if following != len(windows) and (len(windows) < REMEMBERED or following >= REMEMBERED):
            raise DamagedError("stored verdicts do not say where the next ones come")
        if not all(np.isin(each, (_NONE, _NO, _YES)).all() for each in (recent, verdicts)):
            raise DamagedError("stored verdicts are neither yes nor no")
        self._recent, self._windows, self._table = recent.copy(), windows.copy(), verdicts.copy()
        self._places = {window: place for place, window in enumerate(windows.tolist())}
        self._next = following

    def _new_place(self, index: int) -> int:
        """A row of the table for a window without verdicts: a further one, or that of the oldest window."""
        place = self._next % REMEMBERED
        if place < len(self._places):
            del self._places[int(self._windows[place])]
        elif place == len(self._table):
            room = min(REMEMBERED, max(_ROOM_MIN, 2 * place)) - place
            self._table = np.concatenate([self._table, np.empty((room, self.columns), np.int8)])
            self._windows = np.concatenate([self._windows, np.empty(room, np.int64)])
        self._places[index] = place
        self._windows[place] = index
        self._table[place] = _NONE
        self._next = place + 1
        return place
