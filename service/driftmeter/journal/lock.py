"""One writer in a state directory: a lock that the system lets go of when its process ends, however it ends."""

import contextlib
import errno
import fcntl
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from driftmeter.clock import Clock, SystemClock
from driftmeter.errors import ConfigError

_NAME = "lock"
_REFUSED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.ENOSPC, errno.EDQUOT})
_NOBODY_KNOWN = "another process"


class DirectoryLock:
    """Holds `<directory>/lock` until `release`, or the process's end. The file says who has it; it is never removed."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    @classmethod
    def take(cls, directory: Path, clock: Clock | None = None) -> "DirectoryLock":
        """Make the directory when it is not there, and lock it.

        Raises:
            ConfigError: somebody else has the lock, or this process may not write there; says who, and what to do.
        """
        try:
            descriptor = _open(directory)
        except OSError as error:
            if error.errno not in _REFUSED:
                raise
            raise ConfigError(
                f"journal.directory {directory} cannot be written: {error.strerror}. Make it writable for the user"
                f" that runs this (id {os.geteuid()}), or name another directory"
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _holder(descriptor)
            os.close(descriptor)
            raise ConfigError(
                f"journal.directory {directory} is in use by {holder}: one process writes there at a time."
                f" Stop that one, or name another directory"
            ) from None
        _sign(descriptor, clock or SystemClock())
        return cls(descriptor)

    def release(self) -> None:
        """Let go of it. Safe to call twice."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of it."""
        self.release()


def _open(directory: Path) -> int:
    """The lock file, opened in a directory that was made, lasts, and takes new files."""
    there = directory.exists()
    directory.mkdir(parents=True, exist_ok=True)
    if not os.access(directory, os.W_OK | os.X_OK, effective_ids=True):
        # The lock file may be writable where nothing new can be made.
        why = errno.EROFS if os.statvfs(directory).f_flag & os.ST_RDONLY else errno.EACCES
        raise OSError(why, os.strerror(why), str(directory))
    if not there:
        with contextlib.suppress(OSError):  # Not every user may open what is above; most systems keep it anyway.
            _sync(directory.parent)
    return os.open(directory / _NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sign(descriptor: int, clock: Clock) -> None:
    """Say who has it. Only for people: a full disk does not matter."""
    since = datetime.fromtimestamp(clock.now_ns() // 1_000_000_000, UTC).isoformat()
    with contextlib.suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps({"pid": os.getpid(), "since": since}).encode() + b"\n", 0)


def _holder(descriptor: int) -> str:
    """Who has it, as far as the file says."""
    try:
        signed = json.loads(os.pread(descriptor, 4096, 0))
        return f"process {int(signed['pid'])}, since {signed['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return _NOBODY_KNOWN
