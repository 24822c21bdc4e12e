"""Reads `/metrics` all the time: the ledger's sums hold in every reading, and no counter ever steps back."""

import threading
from collections.abc import Callable

from chaos.stack import Service
from service_process import Metrics, assert_ledger_holds

COUNTERS = ("driftmeter_spans_total", "driftmeter_rows_total", "driftmeter_quarantined_total", "ml_predictions_total")
"""Go on over restarts, however the service ended."""
_PAUSE_SECONDS = 0.1

Floor = dict[str, float]
"""The last value of each counter, by name and labels."""


class Scraper:
    """A thread that scrapes until it is closed.

    Args:
        service: Which service.
        floor: What an earlier scraper of it has read.
    """

    def __init__(self, service: Service, floor: Floor | None = None) -> None:
        self.floor: Floor = dict(floor or {})
        self.scrapes = 0
        self.failures: list[str] = []
        self._service = service
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="scraper", daemon=True)
        self._thread.start()

    def look(self) -> Metrics | None:
        """Read once and check; None when the service says nothing."""
        metrics = self._service.metrics()
        if metrics is not None:
            self.scrapes += 1
            self._check(metrics)
        return metrics

    def close(self) -> None:
        """Read no more. Safe to call twice."""
        self._closing.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._closing.wait(_PAUSE_SECONDS):
            self._guarded(self.look)

    def _guarded(self, work: Callable[[], object]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - told by whoever looks at the failures.
            self.failures.append(f"scrape {self.scrapes}: {error!r}")

    def _check(self, metrics: Metrics) -> None:
        try:
            assert_ledger_holds(metrics)
        except AssertionError as error:
            self.failures.append(f"the ledger does not hold: {error}; {ledger_of(metrics)}")
        for name in COUNTERS:
            for labels, value in metrics.values(name).items():
                key = f"{name}{sorted(labels)}"
                if value < self.floor.get(key, 0.0):
                    self.failures.append(f"{key} stepped back from {self.floor[key]:.0f} to {value:.0f}")
                self.floor[key] = value


def ledger_of(metrics: Metrics) -> dict[str, int]:
    """The ledger by outcome."""
    spans = ("received", "ignored", "rejected", "quarantined", "accepted")
    rows = ("counted", "duplicate", "late", "not_scored", "failed")
    return {
        **{each: int(metrics.total("driftmeter_spans_total", outcome=each)) for each in spans},
        "in_flight": int(metrics.total("driftmeter_in_flight_spans")),
        **{each: int(metrics.total("driftmeter_rows_total", outcome=each)) for each in rows},
        "pending": int(metrics.total("driftmeter_pending_rows")),
        "predictions": int(metrics.total("ml_predictions_total")),
        "internal_errors": int(metrics.total("driftmeter_internal_errors_total")),
    }
