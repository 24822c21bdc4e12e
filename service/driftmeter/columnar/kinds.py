"""Which kind each column of each model has, and how many columns a model may have."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence

from driftmeter.columnar.columns import CATEGORICAL, NUMERIC, UNDECIDED
from driftmeter.columnar.layout import TOO_MANY_COLUMNS
from driftmeter.model.columns import Kind

MODELS_MAX = 10_000
"""Most models and versions whose learned kinds are remembered; the one unused for longest is forgotten first."""

_CODES = {Kind.NUMERIC: NUMERIC, Kind.CATEGORICAL: CATEGORICAL}


class KindBook:
    """Kinds of columns by model and version: declared by a baseline, or learned from a column's first value.

    May be used from several threads.
    """

    def __init__(self) -> None:
        self._declared: dict[tuple[str, str], dict[str, int]] = {}
        self._known: OrderedDict[tuple[str, str], dict[str, int]] = OrderedDict()
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
            self._declared.setdefault((model, version), {}).update(codes)
            self._known.setdefault((model, version), {}).update(codes)

    def resolve(
        self,
        model: str,
        version: str,
        fields: Sequence[str],
        first_kinds: Callable[[], Sequence[int]],
        columns_max: int,
    ) -> list[int]:
        """Kinds of a batch's columns; learns those of new ones.

        Args:
            model: Model's name.
            version: Its version.
            fields: Field names of the columns.
            first_kinds: Gives the kind each column's first value has: NUMERIC, CATEGORICAL or UNDECIDED. Called when
                there are new columns.
            columns_max: Most columns kept.

        Returns:
            NUMERIC or CATEGORICAL; UNDECIDED where no value said anything yet; TOO_MANY_COLUMNS for columns to drop.
        """
        with self._lock:
            known = self._known_of((model, version))
            result = [known.get(field, UNDECIDED) for field in fields]
            if UNDECIDED in result:
                undecided = 0
                for i, (field, first) in enumerate(zip(fields, first_kinds(), strict=True)):
                    if result[i] != UNDECIDED:
                        continue
                    if len(known) + undecided >= columns_max:
                        result[i] = TOO_MANY_COLUMNS
                    elif first == UNDECIDED:
                        undecided += 1
                    else:
                        result[i] = known[field] = first
            return result

    def _known_of(self, key: tuple[str, str]) -> dict[str, int]:
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = dict(self._declared.get(key, {}))
            if len(self._known) > MODELS_MAX:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(key)
        return known
