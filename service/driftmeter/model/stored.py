"""Reading stored state: whatever is not as it was written raises DamagedError, and nothing else does."""

from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from driftmeter.errors import DamagedError
from driftmeter.model.bundle import Tree
from driftmeter.model.predictions import ModelKey


class Stored:
    """An object of a tree, read member by member.

    Args:
        tree: What `state` gave.

    Raises:
        DamagedError: The tree is no object; by every method, too, for a member that is not there or something else.
    """

    def __init__(self, tree: Tree) -> None:
        if not isinstance(tree, dict):
            raise DamagedError(f"stored state has {_kind(tree)} in the place of an object")
        self._members = tree

    @property
    def names(self) -> list[str]:
        """Names of the members, in order."""
        return list(self._members)

    def tree(self, name: str) -> Tree:
        """A member, whatever it is."""
        if name not in self._members:
            raise DamagedError(f"stored state lacks {name!r}")
        return self._members[name]

    def member(self, name: str) -> "Stored":
        """A member that is an object."""
        return Stored(self.tree(name))

    def items(self, name: str) -> list[Tree]:
        """A member that is a list."""
        found = self.tree(name)
        return found if isinstance(found, list) else _refuse(name, found)

    def objects(self, name: str) -> list["Stored"]:
        """A member that is a list of objects."""
        return [Stored(item) for item in self.items(name)]

    def integer(self, name: str) -> int:
        """A member that is an integer."""
        found = self.tree(name)
        return found if isinstance(found, int) and not isinstance(found, bool) else _refuse(name, found)

    def count(self, name: str) -> int:
        """A member that is an integer and not negative."""
        found = self.integer(name)
        return found if found >= 0 else _refuse(name, found)

    def optional_integer(self, name: str) -> int | None:
        """A member that is an integer or null."""
        return None if self.tree(name) is None else self.integer(name)

    def number(self, name: str) -> float:
        """A member that is a number with a point."""
        found = self.tree(name)
        return found if isinstance(found, float) else _refuse(name, found)

    def flag(self, name: str) -> bool:
        """A member that is true or false."""
        found = self.tree(name)
        return found if isinstance(found, bool) else _refuse(name, found)

    def text(self, name: str) -> str:
        """A member that is a string."""
        found = self.tree(name)
        return found if isinstance(found, str) else _refuse(name, found)

    def texts(self, name: str) -> list[str]:
        """A member that is a list of strings."""
        return [item if isinstance(item, str) else _refuse(name, item) for item in self.items(name)]

    def data(self, name: str) -> bytes:
        """A member that is bytes."""
        found = self.tree(name)
        return found if isinstance(found, bytes) else _refuse(name, found)

    def key(self, name: str) -> ModelKey:
        """A member that names a model."""
        return model_key(self.tree(name))

    def keys(self, name: str) -> list[ModelKey]:
        """A member that is a list of names of models."""
        return [model_key(item) for item in self.items(name)]

    def array(self, name: str, kind: type[np.generic], *shape: int | None) -> npt.NDArray[Any]:
        """A member that is an array, read-only.

        Args:
            name: Its name.
            kind: Type of its elements.
            shape: Its length in each dimension; None for any.
        """
        found = self.tree(name)
        if not isinstance(found, np.ndarray) or found.dtype != np.dtype(kind) or found.ndim != len(shape):
            _refuse(name, found)
        if any(wanted not in (None, length) for wanted, length in zip(shape, found.shape, strict=True)):
            raise DamagedError(f"stored state has an array of shape {found.shape} in the place of {name!r}")
        return found

    def rows(self, name: str) -> pa.RecordBatch:
        """A member that is a record batch."""
        found = self.tree(name)
        return found if isinstance(found, pa.RecordBatch) else _refuse(name, found)

    def frame(self, name: str, schema: pl.Schema) -> pl.DataFrame:
        """A member that is a table of this schema."""
        return frame_of(self.rows(name), schema)


def model_key(tree: Tree) -> ModelKey:
    """The model that a list of three strings names."""
    match tree:
        case [str(model), str(version), str(stage)]:
            return ModelKey(model, version, stage)
    raise DamagedError("stored state has something else in the place of a model's name")


def rows_of(frame: pl.DataFrame) -> pa.RecordBatch:
    """A table for a tree."""
    batches = frame.to_arrow(compat_level=pl.CompatLevel.oldest()).combine_chunks().to_batches()
    return batches[0] if batches else pa.RecordBatch.from_pylist([], frame.to_arrow().schema)


def frame_of(tree: Tree, schema: pl.Schema) -> pl.DataFrame:
    """The table that `rows_of` was given."""
    if not isinstance(tree, pa.RecordBatch):
        _refuse("a table", tree)
    frame = pl.DataFrame(pl.from_arrow(tree))
    if frame.schema != schema:
        raise DamagedError(f"stored state has a table of other columns: {', '.join(frame.columns)}")
    return frame


def _refuse(name: str, found: Tree) -> NoReturn:
    raise DamagedError(f"stored state has {_kind(found)} in the place of {name!r}")


def _kind(tree: Tree) -> str:
    return f"an array of {tree.dtype}" if isinstance(tree, np.ndarray) else type(tree).__name__
