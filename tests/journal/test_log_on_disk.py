"""The log on a real disk: processes that are killed, file systems that are full."""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from components import missing
from driftmeter.errors import TransientError
from driftmeter.journal.log import Log
from driftmeter.journal.verify import verify
from faulty_files import dice

MIB = 1 << 20

WRITER = """
import sys
from pathlib import Path
from driftmeter.journal.log import Log
log = Log.open(Path(sys.argv[1]), segment_bytes=200_000)
while True:
    for _ in range(3):
        number = log.last_sequence
        sequence = log.append(5, [b"%d " % log.append(4, [b"pair"]), bytes(range(256)) * 40])
    log.commit()
    sys.stdout.write(f"{log.last_sequence}\\n")
    sys.stdout.flush()
"""


def run_and_kill(directory: Path, random: Random) -> int:
    """A process that appends and says what it has committed, killed at any moment; the last it said."""
    with subprocess.Popen([sys.executable, "-c", WRITER, directory], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(random.randint(1, 40))]
        process.send_signal(signal.SIGKILL)
        said += process.stdout.readlines()
    return int([line for line in said if line.endswith("\n")][-1])


def test_a_killed_writer(tmp_path: Path) -> None:
    """Kill -9, again and again: what it said is committed is there, and nothing is damaged."""
    random, last = dice(5), 0
    for _ in range(6):
        committed = run_and_kill(tmp_path, random)
        assert committed > last
        assert verify(tmp_path).faults == ()
        log = Log.open(tmp_path)
        assert log.last_sequence >= committed
        entries = [(entry.sequence, entry.kind, bytes(entry.payload)) for entry in log.replay()]
        last = log.last_sequence
        log.close()
        assert [entry[0] for entry in entries] == list(range(1, last + 1))
        for sequence, kind, payload in entries:
            expected = b"%d " % (sequence - 1) + bytes(range(256)) * 40 if kind == 5 else b"pair"  # noqa: RUF100
            assert payload == expected
    assert len(verify(tmp_path).segments) > 6


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], check=False, capture_output=True)
    if mounted.returncode:
        missing(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


def fill(log: Log, size_bytes: int) -> list[bytes]:
    """Commit entries until one is refused; those that were not."""
    kept = list[bytes]()
    for number in range(100):
        payload = b"%04d" % number + bytes(size_bytes)
        log.append(1, [payload])
        try:
            log.commit()
        except TransientError:
            return kept
        kept.append(payload)
    raise AssertionError("nothing was refused")


def test_a_full_disk(small_disk: Path) -> None:
    """Refused, not crashed; what was committed stays; the log goes on once there is room; a restart changes nothing."""
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(MIB // 2))
    log = Log.open(small_disk / "journal", segment_bytes=150_000)
    kept = fill(log, 30_000)
    assert kept
    assert fill(log, 30_000) == []
    assert [bytes(entry.payload) for entry in log.replay()] == kept
    assert [bytes(entry.payload) for entry in Log.open(small_disk / "journal").replay()] == kept
    ballast.unlink()
    more = fill(log, 30_000)
    assert more
    log.forget(len(kept))
    assert fill(log, 30_000)
    log.close()
    again = Log.open(small_disk / "journal", from_sequence=len(kept))
    assert [bytes(entry.payload) for entry in again.replay(len(kept))][: len(more)] == more
    assert again.cut_bytes == 0


def test_a_file_size_limit(tmp_path: Path) -> None:
    """EFBIG is an error as any other: refused, and the next segment takes the entry."""
    log = Log.open(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (MIB // 4, hard))
    try:
        kept = fill(log, 30_000)
        log.append(1, [b"more"])
        log.commit()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert len(log.segments()) == 2
    assert [bytes(entry.payload) for entry in Log.open(tmp_path).replay()] == [*kept, b"more"]


def test_a_directory_that_cannot_be_read(tmp_path: Path) -> None:
    """A file where the directory should be is said, as something that may change."""
    (tmp_path / "journal").write_bytes(b"")
    with pytest.raises(TransientError, match="cannot be opened"):
        Log.open(tmp_path / "journal")


def test_verify_beside_a_writer(tmp_path: Path) -> None:
    """Looking at a journal that is written shows whole entries only, and no faults."""
    log = Log.open(tmp_path, segment_bytes=10_000)
    for number in range(30):
        log.append(1, [os.urandom(1000)])
        log.commit()
        report = verify(tmp_path)
        assert (sum(each.entries for each in report.segments), report.faults) == (number + 1, ())
    log.append(1, [b"not committed"])
    assert verify(tmp_path).segments[-1].last == 30
