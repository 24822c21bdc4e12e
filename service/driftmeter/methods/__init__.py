"""Drift methods: one file each, each one polars expression; `METHODS` is the list that everything else reads."""

from collections.abc import Mapping
from types import MappingProxyType

from driftmeter.methods import (
    chi_square,
    hellinger,
    hellinger_nannyml,
    jensen_shannon,
    jensen_shannon_nannyml,
    kolmogorov_smirnov,
    l_infinity,
    population_stability_index,
    total_variation,
    wasserstein,
)
from driftmeter.methods.spec import Bins, MethodSpec, Scale

__all__ = ["DECIDING", "METHODS", "Bins", "MethodSpec", "Scale"]

_IN_ORDER = (
    jensen_shannon,
    jensen_shannon_nannyml,
    hellinger,
    hellinger_nannyml,
    population_stability_index,
    kolmogorov_smirnov,
    wasserstein,
    chi_square,
    l_infinity,
    total_variation,
)

METHODS: Mapping[str, MethodSpec] = MappingProxyType({module.SPEC.key: module.SPEC for module in _IN_ORDER})
"""Every method by its key, in the order in which they are listed and documented."""

DECIDING = jensen_shannon.SPEC.key
"""The method whose verdict is the column's; the others inform."""
