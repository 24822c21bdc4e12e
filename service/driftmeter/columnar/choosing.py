"""Which columns a batch has: names, kinds, and what is dropped."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from driftmeter.columnar.columns import TEXT, UNDECIDED, first_kinds
from driftmeter.columnar.config import AttributesConfig
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
)
from driftmeter.columnar.naming import column_of
from driftmeter.model.columns import Role
from driftmeter.model.predictions import ModelKey

_COLUMNS_LOOKED_AT = 20_000  # In one batch: further names of a flood of columns are not even read.
_NAMES_KEPT = 20_000
_SEGMENT = f"{Role.SEGMENT.value}."


class Columns(NamedTuple):
    """Columns of a batch: names and kinds, one each, and the column of each field or why it is dropped."""

    names: list[str]
    kinds: npt.NDArray[np.uint8]
    of_field: Ints


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

    def choose(
        self, request: bytes | memoryview, flat: Flat, key: ModelKey, spans: Ints, found: Ints, of_field: Ints
    ) -> Columns:
        """Decide which of the found fields become columns, and number these in `of_field`."""
        columns_max = self._attributes.max_columns
        looked_at = found[: max(columns_max, _COLUMNS_LOOKED_AT)]
        of_field[found[looked_at.size :]] = TOO_MANY_COLUMNS
        spots = flat.keys[flat.keys[looked_at, KEY_OF_FIELD], KEY_OFFSET : KEY_LENGTH + 1].tolist()
        names = [self._name(bytes(request[offset : offset + length])) for offset, length in spots]
        if len(set(names)) < len(names) or "" in names:
            return self._shared_columns(flat, key, spans, names, looked_at, of_field)

        def firsts() -> list[int]:
            kinds: list[int] = _first_kinds(flat, spans, of_field, looked_at.size).tolist()
            return kinds

        known = self._kinds.resolve(key.model, key.version, names, firsts, self._attributes.max_columns)
        kinds = np.array(known, np.int64)
        of_field[looked_at] = _numbered(kinds)
        return _kept_columns(names, kinds, of_field)

    def _shared_columns(
        self, flat: Flat, key: ModelKey, spans: Ints, names: list[str], looked_at: Ints, of_field: Ints
    ) -> Columns:
        """The same where several keys name one column, by an alias and by itself, or names are too long (empty)."""
        number_of = {name: number for number, name in enumerate(dict.fromkeys(filter(None, names)))}
        numbers = np.array([number_of.get(name, -1) for name in names], np.int64)

        def firsts() -> list[int]:
            kinds = _first_kinds(flat, spans, of_field, looked_at.size)
            result = np.full(len(number_of), UNDECIDED, np.int64)
            decided = np.flatnonzero((numbers >= 0) & (kinds != UNDECIDED))[::-1]
            result[numbers[decided]] = kinds[decided]  # The last assignment stays: the first key's.
            return result.tolist()

        distinct = list(number_of)
        known = self._kinds.resolve(key.model, key.version, distinct, firsts, self._attributes.max_columns)
        kinds = np.array(known, np.int64)
        # The last entry is for names that are too long, whose number is -1.
        of_field[looked_at] = np.append(_numbered(kinds), NAME_TOO_LONG)[numbers]
        return _kept_columns(distinct, kinds, of_field)

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
    first_kinds(flat, spans, of_field, np.full(columns, -1, np.int64), kinds)
    return kinds


def _numbered(kinds: Ints) -> Ints:
    """Number of each column that is kept, or why it is not."""
    kept = kinds >= 0
    return np.where(kept, np.cumsum(kept) - 1, kinds)


def _kept_columns(names: list[str], kinds: Ints, of_field: Ints) -> Columns:
    """Columns without those that are dropped."""
    kept = kinds >= 0
    names = [name for name, is_kept in zip(names, kept.tolist(), strict=True) if is_kept]
    codes = kinds[kept].astype(np.uint8)
    codes[[name.startswith(_SEGMENT) for name in names]] = TEXT
    return Columns(names, codes, of_field)
