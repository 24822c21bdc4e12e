"""What a log promised, entry by entry, to be held against what it says after a crash."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

from driftmeter.errors import TransientError
from driftmeter.journal.files import Files
from driftmeter.journal.log import Log
from faulty_files import dice

DIRECTORY = Path("/state/journal")


def contents(log: Log, after_sequence: int = 0) -> list[tuple[int, int, bytes]]:
    """Everything the log has behind a sequence: sequences, kinds, payloads."""
    return [(entry.sequence, entry.kind, bytes(entry.payload)) for entry in log.replay(after_sequence)]


class History:
    """Entries that were committed, and those that may or may not be there after a crash."""

    def __init__(self, seed: int = 0) -> None:
        self.committed = list[tuple[int, int, bytes]]()
        self.needed_from = 1
        self._waiting = list[tuple[int, int, bytes]]()
        self._uncertain = list[list[tuple[int, int, bytes]]]()  # Commits that failed or did not end.
        self._numbers = count(1)
        self._random = dice(seed)

    def append(self, log: Log) -> None:
        """An entry like no other."""
        size = self._random.choice((0, 5, 40, 150))
        kind, payload = self._random.randint(1, 255), f"entry {next(self._numbers)} ".encode() + bytes(size)
        half = len(payload) // 2
        sequence = log.append(kind, [payload[:half], memoryview(payload)[half:]])
        assert len(self.committed) + len(self._waiting) + 1 == sequence
        self._waiting.append((sequence, kind, payload))

    def commit(self, log: Log) -> bool:
        """Commit what was appended; whether that worked."""
        waiting, self._waiting = self._waiting, []
        if waiting:
            self._uncertain.append(waiting)  # For the case that the power fails now.
        try:
            log.commit()
        except TransientError:
            return False
        if waiting:
            self.committed += waiting
            self._uncertain.clear()
        assert len(self.committed) == log.last_sequence
        return True

    def forget(self, log: Log, before_sequence: int) -> None:
        """Let the log forget what is before a sequence."""
        self.needed_from = max(self.needed_from, before_sequence)
        try:
            log.forget(before_sequence)
        except TransientError:
            return

    def stop(self) -> None:
        """The process ends, however it does: what was not committed was never promised."""
        self._waiting = []

    def check(self, log: Log) -> None:
        """The log has what was committed, and behind it the beginning of one uncertain commit at most."""
        found = contents(log, self.needed_from - 1)
        needed = self.committed[self.needed_from - 1 :]
        assert needed == found[: len(needed)]
        rest = found[len(needed) :]
        assert not rest or any(rest == commit[: len(rest)] for commit in self._uncertain), rest
        assert log.last_sequence == len(self.committed) + len(rest)
        self.committed += rest  # It was on disk when the log was opened: from now on it stays.
        self._uncertain.clear()

    def open(self, files: Files, segment_bytes: int = 400) -> Log:
        """Open the log."""
        return Log.open(DIRECTORY, files=files, segment_bytes=segment_bytes, from_sequence=self.needed_from)


def use(files: Files, history: History) -> Iterator[None]:
    """A log's short life, by steps: several segments, one sealed by hand, one forgotten."""
    log = history.open(files)
    history.check(log)
    yield
    for entries in (1, 3, 2):
        for _ in range(entries):
            history.append(log)
        history.commit(log)
        yield
    log.rotate()
    yield
    history.append(log)
    history.commit(log)
    history.forget(log, max(len(history.committed) - 2, 1))
    yield
    history.append(log)
    history.append(log)
    history.commit(log)
    yield
