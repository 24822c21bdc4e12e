"""The log against a plain list, through errors, kills and power failures in any order."""

import contextlib
import errno

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from driftmeter.journal.log import Log
from faulty_files import Fault, FaultyFiles, PowerFailure, dice
from log_history import History, contents

ERRORS = st.sampled_from([errno.ENOSPC, errno.EIO, errno.EDQUOT])
SHARES = st.sampled_from([0.0, 0.4, 0.8, 1.0])
SEEDS = st.integers(0, 1 << 20)


class LogMachine(RuleBasedStateMachine):
    """Appends, commits and failures; what was committed is always there, what was refused never."""

    def __init__(self) -> None:
        super().__init__()
        self.files, self.history = FaultyFiles(), History()
        self.log: Log | None = None

    @initialize()
    def first_start(self) -> None:
        """An empty directory."""
        self.start()

    @precondition(lambda self: self.log is None)
    @rule()
    def start(self) -> None:
        """Open the log on a disk that works."""
        self.files.restart()
        self.log = self.history.open(self.files, segment_bytes=500)
        self.history.check(self.log)

    @precondition(lambda self: self.log is not None)
    @rule(entries=st.integers(1, 3))
    def append(self, entries: int) -> None:
        """Entries for the next commit."""
        assert self.log is not None
        for _ in range(entries):
            self.history.append(self.log)

    @precondition(lambda self: self.log is not None)
    @rule()
    def commit(self) -> None:
        """Succeeds on a disk that works."""
        assert self.log is not None
        assert self.history.commit(self.log)

    @precondition(lambda self: self.log is not None)
    @rule(error=ERRORS, first=st.integers(0, 3), share=SHARES)
    def commit_with_an_error(self, error: int, first: int, share: float) -> None:
        """One of its operations fails; cleaning up works."""
        assert self.log is not None
        number = len(self.files.operations) + first
        self.files.fault = lambda operation: Fault(error, share) if operation.number == number else None
        self.history.commit(self.log)
        self.files.restart()

    @precondition(lambda self: self.log is not None)
    @rule(first=st.integers(0, 3), share=SHARES, seed=SEEDS, power=st.booleans())
    def crash(self, first: int, share: float, seed: int, *, power: bool) -> None:
        """The process is killed within a commit, or the machine loses its power."""
        assert self.log is not None
        number = len(self.files.operations) + first
        self.files.fault = lambda operation: Fault(None, share) if operation.number == number else None
        with contextlib.suppress(PowerFailure):
            self.history.commit(self.log)
        self.history.stop()
        self.files.restart()
        if power:
            self.files = self.files.after_power_failure(dice(seed))
        self.log = None

    @precondition(lambda self: self.log is not None)
    @rule()
    def rotate(self) -> None:
        """The next commit begins a segment."""
        assert self.log is not None
        self.log.rotate()

    @precondition(lambda self: self.log is not None)
    @rule(share=SHARES)
    def forget(self, share: float) -> None:
        """Nothing before a sequence is needed any more."""
        assert self.log is not None
        self.history.forget(self.log, max(int(len(self.history.committed) * share), 1))
        assert all(not each.sealed or each.last >= self.history.needed_from for each in self.log.segments())

    @precondition(lambda self: self.log is not None)
    @rule()
    def stop(self) -> None:
        """A proper end."""
        assert self.log is not None
        self.log.close()
        self.history.stop()
        self.log = None

    @invariant()
    def holds_what_was_committed(self) -> None:
        """Readers of the running log see all of it and nothing else."""
        if self.log is not None:
            needed = self.history.needed_from
            assert contents(self.log, needed - 1) == self.history.committed[needed - 1 :]


LogMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestLog = LogMachine.TestCase
