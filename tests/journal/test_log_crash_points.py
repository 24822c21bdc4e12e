"""The log over a file system that fails at every operation in turn: by power, by an error, by both."""

import contextlib
import errno
from collections.abc import Callable
from random import Random

import pytest

from driftmeter.errors import TransientError
from driftmeter.journal.log import Log
from faulty_files import Fault, FaultyFiles, Operation, PowerFailure, dice
from log_history import DIRECTORY, History, use

SHARES = (0.0, 0.3, 0.7, 1.0)


def live(files: FaultyFiles, history: History) -> None:
    """Use the log until it ends, or the disk does not let it begin, or the power fails."""
    with contextlib.suppress(PowerFailure, TransientError):
        for _ in use(files, history):
            pass
    history.stop()


def operations_of_a_life() -> list[Operation]:
    """What is done to the disk when nothing fails."""
    files = FaultyFiles()
    live(files, History())
    return files.operations


def check_after_power_failure(files: FaultyFiles, history: History, random: Random) -> None:
    """Start again, twice: what was committed is there, and what comes back once stays."""
    survivor = files.after_power_failure(random)
    log = history.open(survivor)
    history.check(log)
    history.append(log)
    assert history.commit(log)
    history.stop()
    survivor = survivor.after_power_failure(random)
    history.check(history.open(survivor))


def at(number: int, fault: Fault, times: int = 1) -> Callable[[Operation], Fault | None]:
    """This fault at one operation, and those after it."""
    return lambda operation: fault if number <= operation.number < number + times else None


def first_of(*plans: Callable[[Operation], Fault | None]) -> Callable[[Operation], Fault | None]:
    """The first fault that one of these plans has for an operation."""
    return lambda operation: next((fault for plan in plans if (fault := plan(operation)) is not None), None)


def test_a_life_has_every_kind_of_operation() -> None:
    """What follows fails all of them: creating, writing, syncing, names, removing."""
    assert {"create", "write", "sync", "sync directory", "remove"} == {each.name for each in operations_of_a_life()}


@pytest.mark.parametrize("share", SHARES)
def test_power_failure_at_every_operation(share: float) -> None:
    """What was committed is there; of the commit that did not end, its beginning or nothing."""
    for operation in operations_of_a_life():
        for seed in range(8):
            files, history = FaultyFiles(), History()
            files.fault = at(operation.number, Fault(None, share))
            live(files, history)
            check_after_power_failure(files, history, dice(seed))


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EDQUOT], ids=errno.errorcode.get)
@pytest.mark.parametrize("times", [1, 2, 5, 1000])
def test_error_at_every_operation(error: int, times: int) -> None:
    """A commit that failed is never seen once a later one succeeded, whatever failed after it while cleaning up."""
    for operation in operations_of_a_life():
        for share in SHARES:
            files, history = FaultyFiles(), History()
            files.fault = at(operation.number, Fault(error, share), times)
            live(files, history)
            check_after_power_failure(files, history, dice(operation.number))


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO], ids=errno.errorcode.get)
def test_goes_on_after_every_error(error: int) -> None:
    """Once the disk works again, so does the log, without a restart; readers see only what was committed."""
    for operation in operations_of_a_life()[2:]:
        files, history = FaultyFiles(), History()
        log = history.open(files)
        files.fault = at(operation.number, Fault(error, 0.5), 3)
        for _ in range(8):
            history.append(log)
            history.commit(log)
            assert history.committed == [(each.sequence, each.kind, bytes(each.payload)) for each in log.replay()]
        files.fault = lambda _: None
        history.append(log)
        assert history.commit(log)
        assert history.committed == [(each.sequence, each.kind, bytes(each.payload)) for each in log.replay()]


def test_errors_and_then_power_failure() -> None:
    """Both, at many pairs of places."""
    operations = operations_of_a_life()
    random = dice(11)
    for _ in range(1500):
        first, second = sorted(random.choices(range(len(operations) + 5), k=2))
        error = Fault(random.choice((errno.ENOSPC, errno.EIO)), random.choice(SHARES))
        times, power = random.choice((1, 1, 2, 4)), Fault(None, random.choice(SHARES))
        files, history = FaultyFiles(), History()
        files.fault = first_of(at(second, power), at(first, error, times))
        live(files, history)
        check_after_power_failure(files, history, random)


def test_process_killed_at_every_operation() -> None:
    """Without the power failing the system keeps what was written, and a start makes it last before it is used."""
    for operation in operations_of_a_life():
        for share in SHARES:
            files, history = FaultyFiles(), History()
            files.fault = at(operation.number, Fault(None, share))
            live(files, history)
            files.restart()
            history.check(history.open(files))  # Whatever came back now must survive the power failure that follows.
            check_after_power_failure(files, history, dice(operation.number))


def test_a_full_disk_refuses_and_recovers() -> None:
    """While nothing fits nothing is promised, however often it is tried; with space the log goes on."""
    files, history = FaultyFiles(capacity_bytes=1500), History()
    log = history.open(files)
    for _ in range(40):
        history.append(log)
        history.commit(log)
    assert files.free_bytes() < 300
    files.capacity_bytes = 3000
    history.append(log)
    assert history.commit(log)
    history.check(log)
    history.stop()
    check_after_power_failure(files, history, dice(1))


def log_with_one_entry(files: FaultyFiles) -> Log:
    """A log that has committed `kept`."""
    log = Log.open(DIRECTORY, files=files)
    log.append(1, [b"kept"])
    log.commit()
    return log


def payloads(log: Log) -> list[bytes]:
    """What a log has."""
    return [bytes(entry.payload) for entry in log.replay()]


@pytest.mark.parametrize("name", ["write", "sync"])
def test_refused_entries_are_cut_off_at_once(name: str) -> None:
    """A process that ends after a failed commit does not see its entries again at the next start."""
    files = FaultyFiles()
    log = log_with_one_entry(files)
    files.fault = lambda operation: Fault(errno.ENOSPC, 1.0) if operation.name == name else None
    log.append(1, [b"refused"])
    with pytest.raises(TransientError, match=r"the journal cannot be written: .*No space left on device"):
        log.commit()
    files.restart()
    again = Log.open(DIRECTORY, files=files)
    assert payloads(again) == [b"kept"]
    assert again.cut_bytes == 0


def test_refused_entries_do_not_come_back_when_the_cut_fails_too() -> None:
    """The next segment's name hides what the segment before it still holds."""
    files = FaultyFiles()
    log = log_with_one_entry(files)
    files.fault = lambda operation: Fault(errno.EIO, 0.0) if operation.name in {"sync", "cut"} else None
    log.append(1, [b"refused"])
    with pytest.raises(TransientError):
        log.commit()
    assert b"refused" in files.content(log.segments()[0].path)
    files.fault = lambda _: None
    log.append(1, [b"later"])
    log.commit()
    assert payloads(Log.open(DIRECTORY, files=files)) == [b"kept", b"later"]


def test_forgotten_segments_stay_forgotten() -> None:
    """A power failure does not bring back some of them, between which others would be missing."""
    files = FaultyFiles()
    log = log_with_one_entry(files)
    for number in range(3):
        log.rotate()
        log.append(1, [b"%d" % number])
        log.commit()
    log.forget(4)
    left = [segment.path.name for segment in log.segments()]
    assert left == ["00000000000000000004.segment"]
    assert all(files.after_power_failure(dice(seed)).names(DIRECTORY) == left for seed in range(20))


def test_segments_that_cannot_be_removed_are_kept_in_mind() -> None:
    """Forgetting them is possible later."""
    files = FaultyFiles()
    log = log_with_one_entry(files)
    log.rotate()
    files.fault = lambda _: Fault(errno.EIO)
    with pytest.raises(TransientError, match="cannot be removed"):
        log.forget(2)
    assert len(log.segments()) == 1
    files.fault = lambda _: None
    log.forget(2)
    assert log.segments() == ()
