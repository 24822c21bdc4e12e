"""What judging a model's windows takes that follows from its baseline and settings alone, worked out beforehand."""

from collections.abc import Callable, Mapping, Sequence

from driftmeter.detect.judge import Calibration
from driftmeter.errors import TransientError
from driftmeter.model.windows import WindowLength


class Preparation:
    """Nulls and level of a model and its segments, for all that they are compared with.

    It takes up to a minute for a thousand columns whose level is in no file. The outcome is the same whenever and on
    whatever thread it is worked out; until it is, nothing else may ask these calibrations for a level or a null.

    Args:
        calibrations: For each kind of comparison, those of the model, whose label is empty, and of its segments.
        windows: The window lengths that the model has.
    """

    def __init__(self, calibrations: Sequence[Mapping[str, Calibration]], windows: Sequence[WindowLength]) -> None:
        self._calibrations = calibrations
        self._windows = windows
        self.is_done = False
        """Whether windows can be judged at once."""

    @property
    def replayed_cells(self) -> int:
        """Chunks × columns to be replayed, since their levels are in no file; see `Calibration.replayed_cells`."""
        return sum(each[""].replayed_cells for each in self._calibrations if not each[""].knows_level)

    def work(self, go_on: Callable[[], bool] = lambda: True) -> None:
        """Work it out. What fails here fails again, and is said, where a window is judged.

        Args:
            go_on: Asked again and again.

        Raises:
            TransientError: It was not to go on.
        """

        def look() -> None:
            if not go_on():
                raise TransientError("the service was told to stop")

        try:
            for by_label in self._calibrations:
                by_label[""].find_level(look)
                for each in by_label.values():
                    for window in self._windows:
                        each.nulls_of(window)
                        look()
        finally:
            self.is_done = True
