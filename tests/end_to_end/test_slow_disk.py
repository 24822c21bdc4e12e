"""A disk that takes its time."""

from pathlib import Path

from chaos.judging import judge
from chaos.traffic import Traffic, counted
from chaos.workload import SPANS
from programs import wait_until

SEED = 13
SPANS_SENT = 25_000


def test_slow_disk_slows_down_and_does_nothing_else(tmp_path: Path) -> None:
    """Every flush takes 200 ms longer: several requests share one, none is refused, and all is counted once."""
    traffic = Traffic(tmp_path / "run", SEED, 40, 270, {})
    traffic.service.slow_down(seconds_per_fsync=0.2)
    with traffic.flowing():
        wait_until("enough is acknowledged", lambda: traffic.spans() >= SPANS_SENT, 120)
        traffic.end()
        wait_until("all is counted", lambda: counted(traffic.service) >= traffic.spans(), 300)
        metrics = traffic.service.metrics()
        assert metrics is not None
        requests = metrics.total("driftmeter_requests_total", result="ok")
        assert requests >= SPANS_SENT / SPANS / 3
        assert metrics.total("driftmeter_journal_commits_total") < requests
        assert metrics.total("driftmeter_requests_refused_total") == 0
        traffic.assert_nothing_was_final()
        traffic.service.slow_down()
        verdict = judge(traffic.service, [traffic.collector], traffic.workload, traffic.batches())
    assert verdict.differences + traffic.scraper.failures == []
