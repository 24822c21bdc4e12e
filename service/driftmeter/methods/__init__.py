"""Drift methods: one file each, each one polars expression; `METHODS` is the list that everything else reads."""

from collections.abc import Mapping
from types import MappingProxyType

from driftmeter.methods import (
    anderson_darling,
    chi_square,
    cramer_von_mises,
    energy,
    hellinger,
    hellinger_nannyml,
    jensen_shannon,
    jensen_shannon_nannyml,
    kolmogorov_smirnov,
    kullback_leibler,
    l_infinity,
    population_stability_index,
    population_stability_index_azure,
    population_stability_index_evidently,
    total_variation,
    wasserstein,
    wasserstein_normalised,
)
from driftmeter.methods.spec import Bins, MethodSpec, Scale

__all__ = ["DECIDING", "DECIDING_METHODS", "METHODS", "Bins", "MethodSpec", "Scale"]

_IN_ORDER = (
    jensen_shannon,
    jensen_shannon_nannyml,
    hellinger,
    hellinger_nannyml,
    population_stability_index,
    population_stability_index_evidently,
    population_stability_index_azure,
    kullback_leibler,
    kolmogorov_smirnov,
    cramer_von_mises,
    anderson_darling,
    wasserstein,
    wasserstein_normalised,
    energy,
    chi_square,
    l_infinity,
    total_variation,
)

METHODS: Mapping[str, MethodSpec] = MappingProxyType({module.SPEC.key: module.SPEC for module in _IN_ORDER})
"""Every method by its key, in the order in which they are listed and documented."""

DECIDING = jensen_shannon.SPEC.key
"""The headline method: the score of a column. With the others of `DECIDING_METHODS` it decides."""

DECIDING_METHODS: tuple[str, ...] = (jensen_shannon.SPEC.key, wasserstein_normalised.SPEC.key)
"""Methods that decide together whether a column's distribution drifted, where they apply; the others inform.

Jensen-Shannon saturates once everything is out of range; Wasserstein goes on with the distance."""
