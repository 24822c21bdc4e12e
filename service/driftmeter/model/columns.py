"""Columns of a model: what part they play, what they hold and how they are named in tables."""

from enum import StrEnum
from typing import NamedTuple


class Role(StrEnum):
    """What a column is to the model. The value is the prefix of its field name in `Predictions`."""

    FEATURE = "feature"
    PREDICTION = "prediction"
    PROBABILITY = "probability"
    LABEL = "label"
    SEGMENT = "segment"


class Kind(StrEnum):
    """What a column holds: float64 numbers, strings from a set, or vectors of float64.

    Vectors become columns of numbers before anything is counted: no bins are made of them.
    """

    NUMERIC = "numeric"
    CATEGORICAL = "categorical"
    EMBEDDING = "embedding"


SCORED_ROLES = (Role.FEATURE, Role.PREDICTION, Role.PROBABILITY)
"""Roles whose columns are compared with a baseline."""

READ_ROLES = (*SCORED_ROLES, Role.SEGMENT)
"""Roles whose columns are read from files of rows."""

_SCORED_PREFIXES = tuple(f"{role.value}." for role in SCORED_ROLES)


def is_scored_field(field: str) -> bool:
    """Whether a field of `Predictions` is a column that is compared with a baseline: `feature.temp` is."""
    return field.startswith(_SCORED_PREFIXES)


class Column(NamedTuple):
    """A column's name as users write it, and its role."""

    role: Role
    name: str

    @property
    def field(self) -> str:
        """Name of the column's field in `Predictions`, unique over all roles: `feature.temp`."""
        return f"{self.role.value}.{self.name}"

    @classmethod
    def from_field(cls, field: str) -> "Column":
        """Inverse of `field`."""
        role, _, name = field.partition(".")
        return cls(Role(role), name)
