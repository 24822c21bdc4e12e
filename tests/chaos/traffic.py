"""One producer, one Collector, one service: what the tests of overload and of slow disks share."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from chaos.producer import Order, acknowledged_batches
from chaos.programs_killed import Restarted
from chaos.scraping import Scraper
from chaos.stack import Collector, Service, prepared, producer
from chaos.workload import SPANS, Workload


@contextmanager
def explained(*programs: Restarted) -> Iterator[None]:
    """Ends the programs in the end; a failure tells what they have logged."""
    try:
        yield
    except BaseException as error:
        error.add_note("\n".join(program.log_tail() for program in programs))
        raise
    finally:
        for program in programs:
            program.end()


def counted(service: Service) -> float:
    """Spans that were counted, or wait for a baseline; -1 while the service says nothing."""
    metrics = service.metrics()
    if metrics is None:
        return -1.0
    counted = metrics.total("driftmeter_rows_total", outcome="counted")
    return counted + metrics.total("driftmeter_pending_rows")


class Traffic:
    """A producer, a Collector and a service, which are scraped all the time.

    Args:
        directory: Made when it is not there.
        seed: Of the spans.
        per_second: Batches a second, about.
        batch_spans: Most spans that the Collector sends at a time.
        parts: What the service's configuration has in place of the usual one.
    """

    def __init__(
        self, directory: Path, seed: int, per_second: float, batch_spans: int, parts: Mapping[str, Mapping[str, Any]]
    ) -> None:
        prepared(directory)
        self.workload = Workload(seed)
        self.service = Service(directory, parts)
        self.collector = Collector(directory, self.service.otlp, batch_spans)
        self._acknowledged = directory / "acknowledged.txt"
        order = Order(seed, self.collector.grpc, str(self._acknowledged), per_second=per_second, senders=8)
        self.producer = producer("producer", order.command(), directory)
        self.scraper = Scraper(self.service)

    @contextmanager
    def flowing(self) -> Iterator[None]:
        """Everything runs; it is ended in the end, and explained when something fails."""
        programs = (self.service.program, self.collector.program, self.producer)
        with explained(*programs):
            try:
                for program in programs[:2]:
                    program.start()
                for program in programs[:2]:
                    program.wait_until_ready()
                self.producer.start()
                yield
            finally:
                self.scraper.close()

    def batches(self) -> list[int]:
        """Numbers of the batches that the Collector has acknowledged."""
        return acknowledged_batches(self._acknowledged)

    def spans(self) -> int:
        """Spans that the Collector has acknowledged."""
        return len(self.batches()) * SPANS

    def end(self) -> None:
        """Send no more; returns when all that was begun is acknowledged."""
        assert self.producer.stop() == 0, self.producer.log_tail()

    def assert_nothing_was_final(self) -> None:
        """The service told nobody that something cannot be taken, and the Collector gave nothing up."""
        metrics = self.service.metrics()
        assert metrics is not None
        for result in ("partial", "malformed", "too_large", "unauthenticated", "unsupported"):
            assert metrics.total("driftmeter_requests_total", result=result) == 0, result
        assert self.collector.own_metric("otelcol_exporter_send_failed_spans") == 0
        assert self.collector.own_metric("otelcol_exporter_enqueue_failed_spans") == 0
        assert "Dropping data" not in self.collector.program.log.read_text()
