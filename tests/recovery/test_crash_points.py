"""Wherever the machine stops or the process is killed, what was acknowledged is counted, and only once."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from driftmeter.model.request import Request
from faulty_files import Fault, Operation, PowerFailure
from restarting import Restarting
from traffic import BASELINES, CONFIG, Send, Sender, Snapshot, Step, Tick
from watched_pipeline import START_NS

EVERY = 8
"""One operation of so many is stopped at, others in each variant: 2 takes minutes and has found nothing more."""

SHAPES = ("row", "text", "rows", "record", "nameless", "wrong", "missing")


def some(first: int, spans: int) -> tuple[tuple[str, str, int], ...]:
    """Spans of both models with a baseline and of one that learns its own, of all shapes, over some minutes."""
    models = ("prices", "delays", "new", "new")
    return tuple(
        (models[number % 4], SHAPES[number % len(SHAPES)], number * 7 % 200) for number in range(first, first + spans)
    )


STEPS: Sequence[Step] = (
    Send(((some(0, 20), ()), (some(20, 10), (3, 5)))),
    Tick(70, revise=False),
    Snapshot(),
    Send(((some(30, 30), (1, 2, 30)),)),
    Tick(200, revise=True),
    Snapshot(),
    Send(((some(60, 120), (4, 31)),)),
    Tick(90, revise=True),
    Snapshot(),
    Send(((some(180, 10), (0, 7, 100)),)),
)


def live(it: Restarting, power_failure: int | None) -> None:
    """All steps. One that is cut short by the end of a life is done again in the next, as senders do."""
    sender = Sender()
    for step in STEPS:
        requests: list[Request] = []
        match step:
            case Send():
                requests = sender.group(step, it.clock.now_ns())
            case Tick():
                it.clock.advance(step.seconds)
        try:
            do(step, requests, it)
        except PowerFailure:
            it.restart(power_failure)
            do(step, requests, it)
        it.assert_ledger_holds()


def do(step: Step, requests: Sequence[Request], it: Restarting) -> None:
    """One step, once."""
    match step:
        case Send():
            it.take(*requests)
        case Tick():
            it.tick(revise=step.revise)
        case Snapshot() if it.directory is not None:
            it.snapshot()


@pytest.mark.parametrize("power_failure", [False, True], ids=["killed", "power failure"])
@pytest.mark.parametrize("done", [0.0, 0.6])
def test_a_stop_at_any_operation_loses_nothing(tmp_path: Path, power_failure: bool, done: float) -> None:  # noqa: FBT001
    """Before and after every write, sync, rename and removal: windows are as if nothing had happened."""
    with Restarting(CONFIG, BASELINES) as it:
        live(it, None)
        expected, counted, late = it.close_all_windows(), it.rows("counted"), it.rows("late")
    with Restarting(CONFIG, BASELINES, tmp_path) as it:
        first = len(it.files.operations)
        live(it, None)
        operations = len(it.files.operations)
    assert operations - first > 60
    offset = 2 * power_failure + 4 * (done > 0)
    for stop in range(first + offset, operations, EVERY):

        def fault(operation: Operation, stop: int = stop) -> Fault | None:
            return Fault(None, done) if operation.number == stop else None

        with Restarting(CONFIG, BASELINES, tmp_path) as it:
            assert it.clock.now_ns() == START_NS
            it.files.fault = fault
            live(it, stop if power_failure else None)
            assert it.starts == 2, stop
            assert expected == it.close_all_windows(), stop
            assert (counted, late) == (it.rows("counted"), it.rows("late")), stop
