"""Which columns a batch has: names, kinds, and what is dropped."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from driftmeter.columnar.columns import CATEGORICAL, NUMERIC, TEXT, UNDECIDED
from driftmeter.columnar.config import AttributesConfig
from driftmeter.columnar.deciding import DECIDING_WORDS, first_kinds
from driftmeter.columnar.json_members import NAME_BYTES_MAX
from driftmeter.columnar.kinds import KindBook
from driftmeter.columnar.layout import (
    KEY_LENGTH,
    KEY_OF_FIELD,
    KEY_OFFSET,
    NAME_TOO_LONG,
    TOO_MANY_COLUMNS,
    Flat,
    Ints,
    Source,
)
from driftmeter.columnar.naming import column_of
from driftmeter.model.columns import Role
from driftmeter.model.predictions import FIXED_FIELDS, ModelKey

_COLUMNS_LOOKED_AT = 20_000  # In one batch: further names of a flood of columns are not even read.
_NAMES_KEPT = 20_000
_CHOICES_KEPT = 1_000
_SCHEMAS_KEPT = 1_000
_SEGMENT = f"{Role.SEGMENT.value}."
_NUMBER = pa.float64()
_CATEGORY = pa.dictionary(pa.int32(), pa.string())


class Columns(NamedTuple):
    """Columns of a batch.

    Attributes:
        names: One each.
        kinds: One each.
        kind_codes: The same.
        categorical: Numbers of those that hold texts.
        schema: `FIXED_FIELDS` and the columns.
        learned: Fields whose kind was not known before.
        limited: Whether columns were dropped that a smaller batch might have kept.
        plain: Whether every key found is one column of a kind that is settled, in this order.
    """

    names: list[str]
    kinds: npt.NDArray[np.uint8]
    kind_codes: list[int]
    categorical: Ints
    schema: pa.Schema
    learned: list[str]
    limited: bool
    plain: bool


class ColumnChooser:
    """Chooses columns; may be used from several threads.

    Args:
        attributes: Names of attributes, and the most columns of a model.
        kinds: Kinds of columns.
    """

    def __init__(self, attributes: AttributesConfig, kinds: KindBook) -> None:
        self._attributes = attributes
        self._kinds = kinds
        self._names: dict[bytes, str] = {}
        self._schemas: dict[tuple[tuple[str, ...], bytes], pa.Schema] = {}
        self._choices: dict[tuple[str, str, bytes], tuple[int, Columns]] = {}

    def find(self, key: ModelKey, signature: bytes) -> Columns | None:
        """What was chosen for the same keys before, if it still holds; each key is the column of its own number then.

        Args:
            key: The model.
            signature: All keys, in order; empty when they are too many.
        """
        edition, columns = self._choices.get((key.model, key.version, signature), (-1, None))
        return columns if columns and self._kinds.use((key.model, key.version), edition) else None

    def remember(self, key: ModelKey, signature: bytes, columns: Columns) -> None:
        """Keep a choice for `find`, where nothing can change it but a change to settled kinds."""
        if columns.plain and signature:
            if len(self._choices) >= _CHOICES_KEPT:
                self._choices.clear()
            self._choices[key.model, key.version, signature] = self._kinds.edition, columns._replace(learned=[])

    def choose(self, source: Source, key: ModelKey, spans: Ints, found: Ints, of_field: Ints) -> Columns:
        """Decide which of the found fields become columns, and number these in `of_field`."""
        flat, columns_max = source.flat, self._attributes.max_columns
        looked_at = found[: max(columns_max, _COLUMNS_LOOKED_AT)]
        of_field[found[looked_at.size :]] = TOO_MANY_COLUMNS
        spots = flat.keys[flat.keys[looked_at, KEY_OF_FIELD], KEY_OFFSET : KEY_LENGTH + 1].tolist()
        names = [self._name(bytes(source.request[offset : offset + length])) for offset, length in spots]
        distinct = list(dict.fromkeys(filter(None, names)))
        # Several keys name one column, by an alias and by itself, or names are too long (empty).
        numbers = None
        if len(distinct) < len(names):
            number_of = {name: number for number, name in enumerate(distinct)}
            numbers = np.array([number_of.get(name, -1) for name in names], np.int64)

        def firsts() -> Ints:
            kinds = _first_kinds(flat, spans, of_field, looked_at.size)
            if numbers is None:
                return kinds
            result = np.full(len(distinct), UNDECIDED, np.int64)
            decided = np.flatnonzero((numbers >= 0) & (kinds != UNDECIDED))[::-1]
            result[numbers[decided]] = kinds[decided]  # The last assignment stays: the first key's.
            return result

        resolved = self._kinds.resolve((key.model, key.version), distinct, lambda: firsts().tolist(), columns_max)
        kinds = np.array(resolved.kinds, np.int64)
        kept = kinds >= 0
        of_name = np.where(kept, np.cumsum(kept) - 1, kinds)
        # The last entry is for names that are too long, whose number is -1.
        of_field[looked_at] = of_name if numbers is None else np.append(of_name, NAME_TOO_LONG)[numbers]
        limited = resolved.limited or looked_at.size < found.size
        settled = UNDECIDED not in resolved.kinds and bool(kept.all())
        plain = settled and numbers is None and looked_at.size == found.size
        kept_names = [name for name, kind in zip(distinct, resolved.kinds, strict=True) if kind >= 0]
        columns = self._columns(kept_names, kinds[kept].astype(np.uint8))
        return columns._replace(learned=resolved.learned, limited=limited, plain=plain)

    def _columns(self, names: list[str], kinds: npt.NDArray[np.uint8]) -> Columns:
        kinds[[name.startswith(_SEGMENT) for name in names]] = TEXT
        known = (tuple(names), (kinds >= CATEGORICAL).tobytes())
        schema = self._schemas.get(known)
        if schema is None:
            if len(self._schemas) >= _SCHEMAS_KEPT:
                self._schemas.clear()
            types = [_NUMBER if kind <= NUMERIC else _CATEGORY for kind in kinds.tolist()]
            schema = pa.schema([*FIXED_FIELDS, *map(pa.field, names, types)])
            self._schemas[known] = schema
        categorical = np.flatnonzero(kinds >= CATEGORICAL)
        return Columns(names, kinds, kinds.tolist(), categorical, schema, [], limited=False, plain=False)

    def _name(self, key: bytes) -> str:
        """Field name of a column's key; empty when the name is too long."""
        name = self._names.get(key)
        if name is None:
            if len(key) > NAME_BYTES_MAX:
                return ""
            if len(self._names) >= _NAMES_KEPT:
                self._names.clear()
            name = self._names[key] = column_of(key.decode(), self._attributes).field
        return name


def _first_kinds(flat: Flat, spans: Ints, of_field: Ints, columns: int) -> Ints:
    """Kind of each column's first scalar, or UNDECIDED."""
    kinds = np.full(columns, UNDECIDED, np.int64)
    first_kinds(flat, spans, of_field, np.empty((DECIDING_WORDS, columns), np.int64), kinds)
    return kinds
