"""One writer in a state directory."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from components import missing
from driftmeter.errors import ConfigError
from driftmeter.journal.lock import DirectoryLock

HOLDER = """
import sys
from pathlib import Path
from driftmeter.journal.lock import DirectoryLock
lock = DirectoryLock.take(Path(sys.argv[1]))
print("taken", flush=True)
sys.stdin.read()
"""


class StandingClock:
    """Always the same second."""

    def now_ns(self) -> int:
        """2026-01-02 03:04:05 UTC."""
        return 1_767_323_045_000_000_000

    def monotonic_seconds(self) -> float:
        """Nothing waits."""
        return 0.0


def test_says_who_has_it(tmp_path: Path) -> None:
    """A second one is refused, with process and time of the first, in this process or another."""
    directory = tmp_path / "new" / "state"
    with DirectoryLock.take(directory, StandingClock()):
        with pytest.raises(
            ConfigError, match=rf"{directory} is in use by process {os.getpid()}, since 2026-01-02T03:04"
        ):
            DirectoryLock.take(directory)
        other = subprocess.run(
            [sys.executable, "-c", HOLDER, directory], check=False, input="", capture_output=True, text=True, timeout=60
        )
        assert f"ConfigError: journal.directory {directory} is in use by process {os.getpid()}" in other.stderr
    DirectoryLock.take(directory).release()


def test_ends_with_its_process(tmp_path: Path) -> None:
    """After kill -9 nobody has it, though the file still names the dead process."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "taken\n"
        with pytest.raises(ConfigError, match=f"process {process.pid}, since"):
            DirectoryLock.take(tmp_path)
        process.kill()
    lock = DirectoryLock.take(tmp_path)
    assert f'"pid": {os.getpid()}' in (tmp_path / "lock").read_text()
    lock.release()
    lock.release()


def test_a_file_that_says_nothing(tmp_path: Path) -> None:
    """Whatever the lock file holds, the refusal is the same."""
    lock = DirectoryLock.take(tmp_path)
    for content in ("", "[]", '{"pid": "x"}', "\0\0"):
        (tmp_path / "lock").write_text(content)
        with pytest.raises(ConfigError, match="is in use by another process"):
            DirectoryLock.take(tmp_path)
    lock.release()


def test_a_file_in_the_way(tmp_path: Path) -> None:
    """A directory that is a file is refused with what to do."""
    (tmp_path / "file").write_text("")
    for directory in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ConfigError, match=r"cannot be written: .* or name another directory"):
            DirectoryLock.take(directory)


@pytest.fixture
def other_user() -> Iterator[Path]:
    """A directory that this process, as another user now, can read; with a file `lock` that it can write."""
    if os.geteuid() != 0:
        missing("only root can become another user")
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "lock").touch()
        (directory / "lock").chmod(0o666)
        directory.chmod(0o555)
        os.seteuid(65534)
        try:
            yield directory
        finally:
            os.seteuid(0)


def test_missing_permission(other_user: Path) -> None:
    """Said with the user's id, although the lock file itself could be written."""
    for directory in (other_user, other_user / "below"):
        with pytest.raises(ConfigError, match=r"cannot be written: Permission denied.*id 65534"):
            DirectoryLock.take(directory)


def test_read_only_file_system(tmp_path: Path) -> None:
    """Refused at the start, with what to do."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "ro,size=1m", "tmpfs", tmp_path], check=False, capture_output=True
    )
    if mounted.returncode:
        missing(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        for directory in (tmp_path, tmp_path / "below"):
            with pytest.raises(ConfigError, match="Read-only file system"):
                DirectoryLock.take(directory)
    finally:
        subprocess.run(["umount", tmp_path], check=True)
