"""What a model's windows are compared with, as it is configured."""

from collections.abc import Mapping
from dataclasses import replace

from driftmeter.baseline.config import BaselineConfig, ReferenceConfig
from driftmeter.detect.other_version import VersionReference
from driftmeter.detect.previous import PreviousReference
from driftmeter.detect.reference import FixedReference, Reference
from driftmeter.detect.rolling import RollingReference
from driftmeter.detect.seasonal import SeasonalReference
from driftmeter.model.baseline import Baseline, Comparison
from driftmeter.model.windows import DAY_NS, parse_duration_ns

_KINDS: Mapping[str, type[Reference]] = {
    "file": FixedReference,
    "rolling": RollingReference,
    "seasonal": SeasonalReference,
    "previous": PreviousReference,
    "version": VersionReference,
}


def kinds_of(config: BaselineConfig) -> list[Comparison]:
    """How windows are compared, each once: what a baseline has a level for each of."""
    return list(dict.fromkeys(_KINDS[each.sort].kind for each in config.references))


def comparable(baseline: Baseline, config: BaselineConfig) -> Baseline:
    """The baseline without what says nothing of what is configured: rolling comparisons over another span."""
    spans = {parse_duration_ns(each.rolling) for each in config.references if each.rolling is not None}
    if spans <= {baseline.rolling_ns}:
        return baseline
    chunks = {
        name: replace(each, compared={kind: own for kind, own in each.compared.items() if kind != Comparison.ROLLING})
        for name, each in baseline.chunks.items()
    }
    segments = {label: comparable(each, config) for label, each in baseline.segments.items()}
    return replace(baseline, chunks=chunks, segments=segments)


def shortcomings(baseline: Baseline, config: BaselineConfig) -> list[str]:
    """Why windows have no verdict against some of what is configured, each with what to do."""
    found = []
    for each in config.references:
        if baseline.name == "learned" and each.sort in ("rolling", "previous"):
            found.append(f"{each.sort} has scores and no verdicts with a learned baseline: build one from the archive")
        elif each.rolling is not None and parse_duration_ns(each.rolling) != baseline.rolling_ns:
            has = f"{baseline.rolling_ns / DAY_NS:g}d"
            found.append(
                f"rolling: {each.rolling} has scores and no verdicts, as the baseline's windows are compared over "
                f"{has}: build it with --rolling {each.rolling}, or configure rolling: {has}"
            )
        if each.seasonal is not None and baseline.hours is None:
            found.append("a seasonal reference has nothing to compare with: build it with --seasonal hour-of-week")
    return found


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
