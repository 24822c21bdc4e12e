"""What a model's windows are compared with, as it is configured."""

from driftmeter.baseline.config import BaselineConfig, ReferenceConfig
from driftmeter.detect.other_version import VersionReference
from driftmeter.detect.previous import PreviousReference
from driftmeter.detect.reference import FixedReference, Reference
from driftmeter.detect.rolling import RollingReference
from driftmeter.detect.seasonal import SeasonalReference
from driftmeter.model.baseline import Baseline
from driftmeter.model.windows import parse_duration_ns


def references_of(baseline: Baseline, config: BaselineConfig) -> list[Reference]:
    """References on the layout of a baseline, the one that alarms first.

    The version that others are compared with is not compared with itself; with nothing else configured, it is compared
    with its baseline.

    Args:
        baseline: The model's own, of a file or learned, or that of the version that it is compared with.
        config: What is compared with what.
    """
    wanted = [each for each in config.references if each.version is None or each.version != baseline.version]
    return [_reference(baseline, each) for each in wanted or [ReferenceConfig(file=True)]]


def _reference(baseline: Baseline, config: ReferenceConfig) -> Reference:
    label, layout = config.label, baseline.layout
    if config.rolling is not None:
        return RollingReference(label, layout, parse_duration_ns(config.rolling))
    if config.seasonal is not None:
        return SeasonalReference(label, baseline)
    if config.previous is not None:
        return PreviousReference(label, layout)
    if config.version is not None:
        return VersionReference(label, layout)
    return FixedReference(baseline, config.name)
