"""How many models are taken, so that a sender that makes up names cannot use up the service's memory."""

import threading
from collections.abc import Callable, Iterable
from typing import Any

from driftmeter.model.bundle import Tree
from driftmeter.model.predictions import ModelKey
from driftmeter.model.stored import Stored

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
        self._taken: dict[ModelKey, bool] = {}
        self._counts = {False: 0, True: 0}
        self._lock = threading.Lock()

    def admit(self, keys: Iterable[ModelKey]) -> list[bool]:
        """Whether each model is taken."""
        with self._lock:
            return [key in self._taken or self._admit(key) for key in keys]

    def take(self, key: ModelKey) -> None:
        """Take a model that was taken before, whatever the limit is now."""
        with self._lock:
            if key not in self._taken:
                self._add(key, self._has_baseline(key))

    def forget(self, key: ModelKey) -> None:
        """Make room for another model in place of this one, if it was taken."""
        with self._lock:
            sort = self._taken.pop(key, None)
            if sort is not None:
                self._counts[sort] -= 1

    def state(self) -> dict[str, Any]:
        """The models taken, as plain lists and texts, in the order in which they came."""
        with self._lock:
            return {"models": [{**key._asdict(), "baseline": sort} for key, sort in self._taken.items()]}

    def restore(self, tree: Tree) -> None:
        """Go on from a state; all its models are taken, whatever the limit is now.

        Raises:
            DamagedError: It is none.
        """
        taken = {
            ModelKey(*(each.text(name) for name in ModelKey._fields)): each.flag("baseline")
            for each in Stored(tree).objects("models")
        }
        with self._lock:
            self._taken, self._counts = {}, {False: 0, True: 0}
            for key, sort in taken.items():
                self._add(key, sort)

    def _admit(self, key: ModelKey) -> bool:
        sort = self._has_baseline(key)
        if self._counts[sort] >= self._models_max:
            return False
        self._add(key, sort)
        return True

    def _add(self, key: ModelKey, sort: bool) -> None:  # noqa: FBT001 - which of two sorts.
        self._counts[sort] += 1
        self._taken[key] = sort
