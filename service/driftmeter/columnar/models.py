"""How many models are taken, so that a sender that makes up names cannot use up the service's memory."""

import threading
from collections.abc import Callable, Iterable

from driftmeter.model.predictions import ModelKey

HasBaseline = Callable[[ModelKey], bool]
"""Whether there is a baseline for a model."""


class ModelLimit:
    """Remembers the models that were taken. May be used from several threads.

    Models with a baseline are counted apart, so that they are taken however many others came first.

    Args:
        models_max: Most models, versions and stages of either sort.
        has_baseline: Tells the sorts apart; asked once for each new model.
    """

    def __init__(self, models_max: int, has_baseline: HasBaseline = lambda _: False) -> None:
        self._models_max = models_max
        self._has_baseline = has_baseline
        self._taken: set[ModelKey] = set()
        self._counts = {False: 0, True: 0}
        self._lock = threading.Lock()

    def admit(self, keys: Iterable[ModelKey]) -> list[bool]:
        """Whether each model is taken."""
        with self._lock:
            return [self._admit(key) for key in keys]

    def _admit(self, key: ModelKey) -> bool:
        if key in self._taken:
            return True
        sort = self._has_baseline(key)
        if self._counts[sort] >= self._models_max:
            return False
        self._counts[sort] += 1
        self._taken.add(key)
        return True
