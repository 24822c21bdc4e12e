"""Thin metric families over prometheus_client that keep label values inside their declared sets. Thread-safe."""

import math
import threading
from collections.abc import Mapping
from typing import Any, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from driftmeter.errors import DamagedError
from driftmeter.model.bundle import Tree

OTHER = "other"
"""What an undeclared value of a closed label is counted under, so that a sender cannot create series."""

Labels = Mapping[str, frozenset[str] | None]
"""Label names in order, each with its closed set of values, or None where values are open (model names)."""

Metric = TypeVar("Metric", Counter, Gauge, Histogram)


class _Family:
    """What the kinds have in common: checking labels against their declaration."""

    def __init__(self, name: str, labels: Labels) -> None:
        self.name = name
        self._labels = labels
        self._children: dict[tuple[tuple[str, str], ...], Any] = {}  # Found by labels as they are given.
        self._lock = threading.Lock()  # So that no series that has ended is found for ever.

    def _values(self, given: Mapping[str, str]) -> tuple[str, ...]:
        """Label values in declared order; a missing label is empty, an undeclared value becomes `OTHER`."""
        unknown = given.keys() - self._labels.keys()
        if unknown:
            raise TypeError(f"{self.name} has no label {sorted(unknown)}")
        return tuple(
            value if allowed is None or not value or value in allowed else OTHER
            for value, allowed in ((str(given.get(label, "")), allowed) for label, allowed in self._labels.items())
        )

    def _child(self, metric: Metric, given: Mapping[str, str]) -> Metric:
        if not self._labels:
            return metric
        key = tuple(given.items())
        child: Metric | None = self._children.get(key)
        if child is None:
            values = self._values(given)
            with self._lock:
                child = metric.labels(*values)
                if OTHER not in values:  # Those who send undeclared values could fill the memory with them.
                    self._children[key] = child
        return child


class CounterFamily(_Family):
    """A number that only grows."""

    def __init__(self, name: str, labels: Labels, description: str, registry: CollectorRegistry) -> None:
        super().__init__(name, labels)
        self._metric = Counter(name, description, tuple(labels), registry=registry)

    def add(self, amount: float = 1, **labels: str) -> None:
        """Add `amount` (not negative) to the series that `labels` name."""
        self._child(self._metric, labels).inc(amount)

    def value(self, **labels: str) -> float:
        """What the series that `labels` name stands at; 0 when it was never added to."""
        return float(self._child(self._metric, labels)._value.get())  # noqa: SLF001  # The library offers no reading.

    def state(self) -> Tree:
        """What every series stands at: label values in declared order, then the number."""
        samples = [sample for family in self._metric.collect() for sample in family.samples]
        return [
            [*(sample.labels[label] for label in self._labels), sample.value]
            for sample in samples
            if not sample.name.endswith("_created")
        ]

    def restore(self, tree: Tree) -> None:
        """Go on from there: adds what every series stood at. Raises DamagedError for what `state` never gives."""
        for series in tree if isinstance(tree, list) else [tree]:
            match series:
                case [*labels, float(value)] if len(labels) == len(self._labels) and 0 <= value < math.inf:
                    self.add(value, **{name: str(label) for name, label in zip(self._labels, labels, strict=True)})
                case _:
                    raise DamagedError(f"the stored counts of {self.name} are none")


class GaugeFamily(_Family):
    """A number that goes up and down."""

    def __init__(self, name: str, labels: Labels, description: str, registry: CollectorRegistry) -> None:
        super().__init__(name, labels)
        self._metric = Gauge(name, description, tuple(labels), registry=registry)

    def set(self, value: float, **labels: str) -> None:
        """Set the series that `labels` name."""
        self._child(self._metric, labels).set(value)

    def add(self, amount: float, **labels: str) -> None:
        """Move the series that `labels` name by `amount`, which may be negative."""
        self._child(self._metric, labels).inc(amount)

    def value(self, **labels: str) -> float:
        """What the series that `labels` name stands at; 0 when it was never set."""
        return float(self._child(self._metric, labels)._value.get())  # noqa: SLF001  # The library offers no reading.

    def remove(self, **labels: str) -> None:
        """End the series that `labels` name, if there is one."""
        values = self._values(labels)
        with self._lock:
            self._metric.remove(*values)
            self._children.clear()


class HistogramFamily(_Family):
    """Durations in seconds, counted in `BOUNDS_SECONDS`."""

    BOUNDS_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

    def __init__(self, name: str, labels: Labels, description: str, registry: CollectorRegistry) -> None:
        super().__init__(name, labels)
        self._metric = Histogram(name, description, tuple(labels), registry=registry, buckets=self.BOUNDS_SECONDS)

    def observe(self, seconds: float, **labels: str) -> None:
        """Count one duration in the series that `labels` name."""
        self._child(self._metric, labels).observe(seconds)
