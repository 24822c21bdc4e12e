"""Which kind each column of each model has, and how many columns a model may have."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from driftmeter.columnar.columns import CATEGORICAL, NUMERIC, UNDECIDED
from driftmeter.columnar.layout import TOO_MANY_COLUMNS
from driftmeter.model.bundle import Tree
from driftmeter.model.columns import Kind
from driftmeter.model.stored import Stored

MODELS_MAX = 10_000
"""Most models and versions whose learned kinds are remembered; the one unused for longest is forgotten first."""

_CODES = {Kind.NUMERIC: NUMERIC, Kind.CATEGORICAL: CATEGORICAL}

ModelVersion = tuple[str, str]
"""A model's name and version; the version is empty when it has none."""


class Resolved(NamedTuple):
    """Kinds of a batch's columns.

    Attributes:
        kinds: NUMERIC or CATEGORICAL; UNDECIDED where no value said anything yet; TOO_MANY_COLUMNS for columns to drop.
        learned: Fields whose kind was not known before.
        limited: Whether columns were dropped though some that are kept have no kind yet, or got theirs just now: with
            less in a batch others may be dropped.
    """

    kinds: list[int]
    learned: list[str]
    limited: bool


class KindBook:
    """Kinds of columns by model and version: declared by a baseline, or learned from a column's first value.

    May be used from several threads.

    Attributes:
        edition: Changes whenever a kind that was settled may be another one.
    """

    def __init__(self) -> None:
        self.edition = 0
        self._declared: dict[ModelVersion, dict[str, int]] = {}
        self._known: OrderedDict[ModelVersion, dict[str, int]] = OrderedDict()
        self._lock = threading.Lock()

    def declare(self, model: str, version: str, kinds: Mapping[str, Kind]) -> None:
        """Fix the kinds of a model's columns, whatever was learned.

        Args:
            model: Model's name.
            version: Its version; empty when it has none.
            kinds: Kind by field name, such as `feature.temp`.
        """
        codes = {field: _CODES[kind] for field, kind in kinds.items()}
        with self._lock:
            self.edition += 1
            self._declared.setdefault((model, version), {}).update(codes)
            self._known.setdefault((model, version), {}).update(codes)

    def use(self, key: ModelVersion, edition: int) -> bool:
        """Whether what was resolved in an edition still holds; the model counts as used then."""
        with self._lock:
            if edition != self.edition:
                return False
            self._known.move_to_end(key)
            return True

    def resolve(
        self, key: ModelVersion, fields: Sequence[str], first_kinds: Callable[[], Sequence[int]], columns_max: int
    ) -> Resolved:
        """Kinds of a batch's columns; learns those of new ones.

        Args:
            key: The model.
            fields: Field names of the columns.
            first_kinds: Gives the kind each column's first value has: NUMERIC, CATEGORICAL or UNDECIDED. Called when
                there are new columns.
            columns_max: Most columns kept.
        """
        with self._lock:
            known = self._known_of(key)
            result = [known.get(field, UNDECIDED) for field in fields]
            learned, undecided, dropped = list[str](), 0, False
            if UNDECIDED in result:
                for i, (field, first) in enumerate(zip(fields, first_kinds(), strict=True)):
                    if result[i] != UNDECIDED:
                        continue
                    if len(known) + undecided >= columns_max:
                        result[i] = TOO_MANY_COLUMNS
                        dropped = True
                    elif first == UNDECIDED:
                        undecided += 1
                    else:
                        result[i] = known[field] = first
                        learned.append(field)
            return Resolved(result, learned, dropped and bool(learned or undecided))

    def learn(self, key: ModelVersion, kinds: Mapping[str, Kind]) -> None:
        """Take over kinds that were learned before; what is known stays as it is."""
        with self._lock:
            known = self._known_of(key)
            for field, kind in kinds.items():
                known.setdefault(field, _CODES[kind])

    def unlearn(self, key: ModelVersion, fields: Iterable[str]) -> None:
        """Forget what `resolve` has just learned, as if it had not been asked."""
        with self._lock:
            self.edition += 1
            known = self._known.get(key, {})
            for field in fields:
                known.pop(field, None)

    def state(self) -> dict[str, Any]:
        """What was learned and declared, as plain lists and texts, the model used last at the end."""
        with self._lock:
            return {
                "models": [
                    {
                        "model": model,
                        "version": version,
                        "numeric": [field for field, kind in known.items() if kind == NUMERIC],
                        "categorical": [field for field, kind in known.items() if kind == CATEGORICAL],
                    }
                    for (model, version), known in self._known.items()
                ]
            }

    def restore(self, tree: Tree) -> None:
        """Go on from a state; kinds that are declared stay as they are declared.

        Raises:
            DamagedError: It is none.
        """
        restored = OrderedDict[ModelVersion, dict[str, int]]()
        for each in Stored(tree).objects("models"):
            key = (each.text("model"), each.text("version"))
            restored[key] = dict.fromkeys(each.texts("numeric"), NUMERIC)
            restored[key].update(dict.fromkeys(each.texts("categorical"), CATEGORICAL))
        with self._lock:
            self.edition += 1
            self._known = restored
            for key, declared in self._declared.items():
                restored.setdefault(key, {}).update(declared)

    def _known_of(self, key: ModelVersion) -> dict[str, int]:
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = dict(self._declared.get(key, {}))
            if len(self._known) > MODELS_MAX:
                self._known.popitem(last=False)
                self.edition += 1
        else:
            self._known.move_to_end(key)
        return known
