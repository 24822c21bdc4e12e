"""Sequential detectors: one value of each series after the other; `SEQUENTIAL` is the list that everything reads."""

from collections.abc import Mapping
from types import MappingProxyType

from driftmeter.methods.sequential import adwin, cusum, page_hinkley
from driftmeter.methods.sequential.spec import SequentialSpec, tree_of

__all__ = ["SEQUENTIAL", "SequentialSpec", "tree_of"]

SEQUENTIAL: Mapping[str, SequentialSpec] = MappingProxyType(
    {module.SPEC.key: module.SPEC for module in (page_hinkley, cusum, adwin)}
)
"""Every sequential detector by its key, in the order in which they are listed and documented."""
