"""Methods that look at all columns of a sample of rows at once; `SAMPLED` is the list that everything else reads."""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from driftmeter.methods.sampled import (
    domain_classifier,
    isolation_forest,
    maximum_mean_discrepancy,
    pca_reconstruction,
)
from driftmeter.methods.sampled.spec import SampledSpec

__all__ = ["SAMPLED", "SampledSpec", "warm_up"]

_IN_ORDER = (pca_reconstruction, domain_classifier, maximum_mean_discrepancy, isolation_forest)

SAMPLED: Mapping[str, SampledSpec] = MappingProxyType({module.SPEC.key: module.SPEC for module in _IN_ORDER})
"""Every such method by its key, in the order in which they are listed and documented."""


def warm_up() -> None:
    """Compile the kernels, or load them; afterwards no call compiles."""
    rows = np.arange(40.0).reshape(20, 2)
    for spec in SAMPLED.values():
        spec.fit(rows).score(rows)
