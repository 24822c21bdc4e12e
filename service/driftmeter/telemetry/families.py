"""Thin metric families over prometheus_client that keep label values inside their declared sets."""

from collections.abc import Mapping
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

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
        return metric.labels(*self._values(given)) if self._labels else metric


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


class HistogramFamily(_Family):
    """Durations in seconds, counted in `BOUNDS_SECONDS`."""

    BOUNDS_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

    def __init__(self, name: str, labels: Labels, description: str, registry: CollectorRegistry) -> None:
        super().__init__(name, labels)
        self._metric = Histogram(name, description, tuple(labels), registry=registry, buckets=self.BOUNDS_SECONDS)

    def observe(self, seconds: float, **labels: str) -> None:
        """Count one duration in the series that `labels` name."""
        self._child(self._metric, labels).observe(seconds)
