"""Stops as orchestrators make them."""

from pathlib import Path

from chaos.evaluations import read_evaluations
from chaos.judging import judge
from chaos.stack import Service, prepared
from chaos.traffic import explained
from chaos.workload import SPANS, Workload
from spans import send

SEED = 17


def test_windows_go_on_after_a_stop_that_evaluated_them(tmp_path: Path) -> None:
    """With `clock: data` SIGTERM evaluates every open window; what is sent after the next start is added to them.

    Windows by rows are left out: a stop ends them short.
    """
    service = Service(prepared(tmp_path / "run"), {"window": {"lengths": ["1m", "5m", "1h"]}})
    workload = Workload(SEED)
    with explained(service.program):
        for batches in (range(200), range(200, 230), range(230, 300)):
            service.program.start()
            service.program.wait_until_ready()
            send(service.otlp, *map(workload.request, batches))
            said = len(read_evaluations(service.evaluations))
            assert service.program.stop() == 0, service.program.log_tail()
            assert len(read_evaluations(service.evaluations)) > said
        service.program.start()
        service.program.wait_until_ready()
        send(service.otlp, *map(workload.request, range(150, 250)))
        verdict = judge(service, [], workload, range(300))
    assert verdict.differences == []
    assert verdict.ledger["duplicate"] == 100 * SPANS
