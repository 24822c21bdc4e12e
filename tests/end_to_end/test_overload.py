"""More than the service can take."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import psutil

from chaos.judging import judge
from chaos.traffic import Traffic, counted
from programs import wait_until

SEED = 11
SPANS_PER_SECOND = 1_000
"""What the service can take, slowed down as it is: so two cores can make four times as much."""
SECONDS = 60
RESIDENT_BYTES_MAX = 1_000_000_000
PARTS = {"ingest": {"max_request_bytes": 450_000, "max_in_flight_bytes": 450_000}}
"""The four requests that the Collector has in flight are more than may be: some are refused all the time."""


def test_overload_is_refused_for_now_and_counted_once_afterwards(tmp_path: Path) -> None:
    """A minute of four times what it can take: memory stays bounded, refusals are retryable, nothing is lost."""
    traffic = Traffic(tmp_path / "run", SEED, 60, 2_000, PARTS)
    service = traffic.service
    service.slow_down(seconds_per_span=1 / SPANS_PER_SECOND)
    with traffic.flowing(), resident_bytes(service.program.pid) as resident:
        wait_until("a minute is over", lambda: counted(service) >= SECONDS * SPANS_PER_SECOND, 10 * SECONDS)
        traffic.end()
        assert traffic.spans() >= 4 * counted(service)
        metrics = service.metrics()
        assert metrics is not None
        assert metrics.total("driftmeter_requests_total", result="unavailable") > 0
        assert metrics.total("driftmeter_requests_refused_total", reason="in_flight") > 0

        service.slow_down()
        wait_until("all is counted", lambda: counted(service) >= traffic.spans(), 10 * SECONDS)
        traffic.assert_nothing_was_final()
        assert 0 < max(resident) < RESIDENT_BYTES_MAX
        verdict = judge(service, [traffic.collector], traffic.workload, traffic.batches())
    assert verdict.differences + traffic.scraper.failures == []


@contextmanager
def resident_bytes(pid: int) -> Iterator[list[int]]:
    """A process' resident memory, ten times a second for the length of the block or until it ends."""
    found: list[int] = []
    ending = Event()

    def sample() -> None:
        process = psutil.Process(pid)
        while not ending.wait(0.1):
            try:
                found.append(process.memory_info().rss)
            except psutil.NoSuchProcess:
                return

    sampler = Thread(target=sample, daemon=True)
    sampler.start()
    try:
        yield found
    finally:
        ending.set()
        sampler.join()
