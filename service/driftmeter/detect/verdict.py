"""From surprising windows to a verdict: two of the last three windows."""

from collections import deque
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

LAST_WINDOWS = 3
NEEDED = 2


@dataclass
class Verdicts:
    """The verdicts of one model and window length, over the sequence of its windows.

    Depends on the sequence of statistics alone. A verdict is made once per window; revisions keep it.

    Attributes:
        columns: Number of columns.
    """

    columns: int
    _recent: list[deque[bool]] = field(init=False)
    _made: dict[int, npt.NDArray[np.float64]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._recent = [deque(maxlen=LAST_WINDOWS) for _ in range(self.columns)]

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
        verdict = self._made.get(index, np.full(self.columns, np.nan)).copy()
        if revision > 0 and index not in self._made:
            return verdict
        for column in np.flatnonzero(sufficient & np.isnan(verdict)).tolist():
            recent = self._recent[column]
            recent.append(bool(exceeds[column]))
            verdict[column] = float(sum(recent) >= NEEDED)
        self._made[index] = verdict
        while len(self._made) > _REMEMBERED:
            del self._made[next(iter(self._made))]
        return verdict


_REMEMBERED = 1_000
"""Windows whose verdict is kept for revisions: more than three days of 5-minute windows."""
