"""The end of every test of this kind: all has arrived, and is there once."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass

from chaos.comparing import (
    differences,
    differences_from_counting,
    differences_in_what_is_written,
    differences_in_what_was_said,
    recovered,
    undisturbed,
)
from chaos.evaluations import read_evaluations
from chaos.scraping import ledger_of
from chaos.stack import Collector, Service
from chaos.workload import ROWS, SPANS, Workload
from driftmeter.clock import SystemClock
from driftmeter.config import Config
from programs import wait_until

_QUIET_SECONDS = 900.0
"""How long what was acknowledged may take to be counted once nothing is disturbed any more."""
_STILL_SECONDS = 30.0
"""When nothing has moved for so long and the Collectors have nothing left, nothing will come any more."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of the spans.

    Attributes:
        ledger: When all was counted.
        windows: Windows that were compared.
        differences: What was not as promised.
    """

    ledger: dict[str, int]
    windows: int
    differences: list[str]


def judge(service: Service, collectors: Sequence[Collector], workload: Workload, batches: Sequence[int]) -> Verdict:
    """Wait until all is counted, kill the service a last time, and compare what it has on disk; then stop it gently.

    Args:
        service: It runs; afterwards it does not.
        collectors: They run.
        workload: Whose batches they are.
        batches: Those that were acknowledged; nothing else was sent.
    """
    said = _await_quiet(service, collectors, len(batches) * SPANS)
    ledger = _ledger(service)
    said += _wrong_in_ledger(ledger, len(batches))
    service.program.kill()
    found = recovered(_copied(service))
    expected = undisturbed(service.config, workload, batches, found.learned)
    said += differences(found, expected) + differences_from_counting(found, workload, batches)
    said += differences_in_what_is_written(found, len(batches) * ROWS)
    _stop_gently(service)
    said += differences_in_what_was_said(read_evaluations(service.evaluations), expected.evaluations)
    return Verdict(ledger, len(found.windows), said)


def _await_quiet(service: Service, collectors: Sequence[Collector], spans: int) -> list[str]:
    """Returns once all spans are counted, or, saying so, once nothing comes any more or it takes too long."""
    clock = SystemClock()
    ledger = dict[str, int]()
    changed_seconds = clock.monotonic_seconds()

    def quiet() -> bool:
        nonlocal ledger, changed_seconds
        for program in (service.program, *(each.program for each in collectors)):
            program.assert_alive()
        metrics = service.metrics()
        found = {} if metrics is None else ledger_of(metrics)
        if found != ledger or any(each.own_metric("otelcol_exporter_queue_size") for each in collectors):
            ledger, changed_seconds = found, clock.monotonic_seconds()
            return False
        return _all_counted(ledger, spans) or clock.monotonic_seconds() - changed_seconds > _STILL_SECONDS

    try:
        wait_until("nothing more comes", quiet, _QUIET_SECONDS)
    except AssertionError as error:
        service.program.assert_alive()
        return [str(error)]
    return [] if _all_counted(ledger, spans) else [f"not all of {spans} spans were counted: {ledger}"]


def _all_counted(ledger: dict[str, int], spans: int) -> bool:
    return (
        bool(ledger)
        and ledger["accepted"] - ledger["duplicate"] >= spans
        and not ledger["pending"] + ledger["in_flight"]
    )


def _ledger(service: Service) -> dict[str, int]:
    metrics = service.metrics()
    assert metrics is not None, service.program.log_tail()
    return ledger_of(metrics)


def _wrong_in_ledger(ledger: dict[str, int], batches: int) -> list[str]:
    """What the ledger says that it should not, when all is counted."""
    nothing = ("ignored", "rejected", "quarantined", "late", "not_scored", "failed", "in_flight", "pending")
    expected = {
        "counted": batches * SPANS,
        "predictions": batches * ROWS,
        **dict.fromkeys((*nothing, "internal_errors"), 0),
    }
    return [f"{name}: {ledger[name]}, expected {value}" for name, value in expected.items() if ledger[name] != value]


def _copied(service: Service) -> Config:
    """The service's configuration with a copy of its directory: looking into it changes it."""
    copy = service.directory / "journal-copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(service.journal, copy)
    journal = service.config.journal.model_copy(update={"directory": copy})
    return service.config.model_copy(update={"journal": journal})


def _stop_gently(service: Service) -> None:
    """Start once more, and stop as an orchestrator does: the last windows are evaluated."""
    service.program.start()
    service.program.wait_until_ready()
    code = service.program.stop()
    assert code == 0, f"the service ended with exit code {code}\n{service.program.log_tail()}"
