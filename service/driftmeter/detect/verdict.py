"""From windows that exceed to a verdict: so many of the last ones, and not over at the first quiet one."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from driftmeter.errors import DamagedError
from driftmeter.model.bundle import Tree
from driftmeter.model.stored import Stored

REMEMBERED = 1_000
"""Windows whose verdict is kept for revisions: more than three days of 5-minute windows."""

_NONE, _NO, _YES = -1, 0, 1
_ROOM_MIN = 8


@dataclass(frozen=True, slots=True)
class Rule:
    """From windows that exceed to drift.

    Attributes:
        needed: Drift begins when so many of the last `of` windows exceed.
        of: Windows that are looked at: the last ones that could be judged.
        keeps: Drift goes on while at least so many of them exceed, 1 <= keeps <= needed <= of.
    """

    needed: int = 2
    of: int = 3
    keeps: int = 1


class Verdicts:
    """The verdicts of one model and window length, over the sequence of its windows.

    Depends on the sequence of statistics alone. A verdict is made once per window; revisions keep it. Of windows that
    overlap, every `stride`-th is judged, and its verdict stands until the next: these have no time in common, as the
    chunks of the replay that the level is from. Were the others judged too, with those that they do not overlap, a
    model without drift would go into drift 10 to 40 times as often at `24h every 1h` (simulated, days alike or not).

    Args:
        columns: Number of units that are judged.
        rule: When drift begins and ends.
        stride: After how many windows one begins that does not overlap: length / hop.
    """

    def __init__(self, columns: int, rule: Rule = Rule(), stride: int = 1) -> None:
        self.columns = columns
        self._rule = rule
        self._stride = stride
        # What exceeded in the last windows that could be judged, oldest first, -1 where there were fewer, and whether
        # the last of them drifted.
        self._recent: npt.NDArray[np.int8] = np.full((columns, rule.of), _NONE, np.int8)
        self._drifts: npt.NDArray[np.bool_] = np.zeros(columns, np.bool_)
        # A ring of windows: the number and the verdicts of each, where each is, and where the next one comes.
        self._windows: npt.NDArray[np.int64] = np.empty(0, np.int64)
        self._table: npt.NDArray[np.int8] = np.empty((0, columns), np.int8)
        self._places: dict[int, int] = {}
        self._next = 0

    def judge(
        self,
        index: int,
        revision: int,
        exceeds: npt.NDArray[np.bool_],
        sufficient: npt.NDArray[np.bool_],
        hop: int | None = None,
    ) -> npt.NDArray[np.float64]:
        """Verdict of each column in one window: 1 drifted, 0 not, nan none.

        Args:
            index: The window's number.
            revision: 0 for its first evaluation; later ones keep each verdict made before, and make those that lacked
                rows until then.
            exceeds: bool (columns,): surprising and large enough.
            sufficient: bool (columns,): whether the window can be judged; windows that cannot neither count nor reset.
            hop: Which hop of time it begins at, since windows without rows have no number; its number unless given.
        """
        place = self._places.get(index)
        if revision > 0 and place is None:
            return np.full(self.columns, np.nan)
        if place is None:
            place = self._new_place(index)
        verdicts = self._table[place]
        now = sufficient & (verdicts == _NONE)
        recent, drifts = self._recent, self._drifts
        if (index if hop is None else hop) % self._stride == 0:
            recent[now] = np.column_stack([recent[now, 1:], exceeds[now]])
            exceeding = np.count_nonzero(recent[now] == _YES, axis=1)
            drifts[now] = (exceeding >= self._rule.needed) | (drifts[now] & (exceeding >= self._rule.keeps))
        else:
            now &= recent[:, -1] != _NONE
        verdicts[now] = drifts[now]
        return np.where(verdicts == _NONE, np.nan, verdicts)

    def state(self) -> Tree:
        """All of it, for `restore`: at most `REMEMBERED` bytes per column and little more."""
        used = len(self._places)
        return {
            "recent": self._recent.copy(),
            "drifts": self._drifts.copy(),
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
        recent = stored.array("recent", np.int8, *self._recent.shape)
        drifts = stored.array("drifts", np.bool_, *self._drifts.shape)
        verdicts = stored.array("verdicts", np.int8, len(windows), self.columns)
        following = stored.count("next")
        if len(windows) > REMEMBERED or len(np.unique(windows)) < len(windows):
            raise DamagedError("stored verdicts are of too many windows, or of one twice")
        if following != len(windows) and (len(windows) < REMEMBERED or following >= REMEMBERED):
            raise DamagedError("stored verdicts do not say where the next ones come")
        if not all(np.isin(each, (_NONE, _NO, _YES)).all() for each in (recent, verdicts)):
            raise DamagedError("stored verdicts are neither yes nor no")
        self._recent, self._drifts = recent.copy(), drifts.copy()
        self._windows, self._table = windows.copy(), verdicts.copy()
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
