"""A file system in memory that fails where it is told to, and forgets what was not synced when its power fails.

What a power failure leaves of what was not synced is drawn at random, page by page: each page of a file holds what it
held at any time since the file's last successful sync, or zeros; a name leads to any file it led to since its
directory's last sync. A sync that failed is not made good by a later one, as on Linux: the pages count as written, and
only the file's size is sure.
"""

import errno
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import NamedTuple

from driftmeter.journal.files import AppendFile
from driftmeter.model.blobs import Buffer

PAGE_BYTES = 64


def dice(seed: int) -> Random:
    """Numbers to draw what a power failure leaves."""
    return Random(seed)  # noqa: S311 - not for secrets.


class PowerFailure(BaseException):
    """The machine stops here. No program can catch it."""


class Fault(NamedTuple):
    """What happens to one operation."""

    error: int | None
    """The `errno` it fails with; None: the power fails."""
    done: float = 0.0
    """The share of it that takes effect all the same: bytes of a write, from a half on anything else."""


class Operation(NamedTuple):
    """One change, as it is asked for."""

    number: int
    name: str
    path: Path


@dataclass
class _Inode:
    content: bytes = b""
    versions: list[bytes] = field(default_factory=lambda: [b""])
    """What it held since its last successful sync, from that one on."""
    distrusted: bool = False

    def hold(self, content: bytes) -> None:
        self.content = content
        self.versions.append(content)

    def persist(self) -> None:
        size_bytes = len(self.content)
        before = self.versions if self.distrusted else []
        self.versions = [*(each[:size_bytes].ljust(size_bytes, b"\0") for each in before), self.content]

    def left_by_power_failure(self, random: Random) -> bytes:
        size_bytes = len(random.choice(self.versions))
        pages = list[bytes]()
        for first in range(0, size_bytes, PAGE_BYTES):
            there = [page for each in self.versions if (page := each[first : first + PAGE_BYTES])]
            pages.append(random.choice(there).ljust(PAGE_BYTES, b"\0"))
        return b"".join(pages)[:size_bytes]


class FaultyFiles:
    """The file system. `fault` is asked before every change; `capacity_bytes` is all that fits."""

    def __init__(self, *, capacity_bytes: int | None = None) -> None:
        self.fault: Callable[[Operation], Fault | None] = lambda _: None
        self.capacity_bytes = capacity_bytes
        self.operations = list[Operation]()
        self._names = dict[Path, _Inode]()
        self._before = dict[Path, list[_Inode | None]]()  # What names led to since their directory's sync.
        self._down = False

    def after_power_failure(self, random: Random) -> "FaultyFiles":
        """The file system as the next start finds it: everything in it is on the disk."""
        files = FaultyFiles(capacity_bytes=self.capacity_bytes)
        for path in sorted(self._names.keys() | self._before.keys()):
            inode = random.choice([*self._before.get(path, []), self._names.get(path)])
            if inode is not None:
                content = inode.left_by_power_failure(random)
                files._names[path] = _Inode(content, [content])
        return files

    def restart(self) -> None:
        """The process was killed and starts again; the machine, and all the system holds for it, went on."""
        self._down = False
        self.fault = lambda _: None

    def content(self, path: Path) -> bytes:
        """What a file holds."""
        return self._inode(path).content

    def overwrite(self, path: Path, content: bytes) -> None:
        """Damage a file: this is what it holds from now on, and on the disk."""
        self._names[path] = _Inode(content, [content])

    def make_directory(self, path: Path) -> None:
        """Directories are always there."""

    def append(self, path: Path, *, new: bool) -> AppendFile:
        """Open a file to append to it."""
        there = path in self._names
        if new and there:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
        if there:
            return _FaultyAppendFile(self, path, self._names[path])
        inode = _Inode()
        self.perform("create", path, lambda: self._lead(path, inode))
        return _FaultyAppendFile(self, path, inode)

    def read(self, path: Path) -> memoryview:
        """All bytes of a file, as they are now."""
        return memoryview(self._inode(path).content)

    def names(self, directory: Path) -> list[str]:
        """Names in a directory, sorted."""
        return sorted(path.name for path in self._names if path.parent == directory)

    def rename(self, source: Path, target: Path) -> None:
        """Rename a file, replacing what has that name."""

        def do() -> None:
            self._lead(target, self._inode(source))
            self._lead(source, None)

        self._inode(source)
        self.perform("rename", target, do)

    def remove(self, path: Path) -> None:
        """Remove a file."""
        self._inode(path)
        self.perform("remove", path, lambda: self._lead(path, None))

    def sync_directory(self, path: Path) -> None:
        """Names in the directory are on the disk."""

        def do() -> None:
            for name in [each for each in self._before if each.parent == path]:
                del self._before[name]

        self.perform("sync directory", path, do)

    def perform(self, name: str, path: Path, do: Callable[[], None]) -> None:
        """One change that is done or not."""
        fault = self.look(name, path)
        if fault is None or fault.done >= 1 / 2:
            do()
        self.fail(fault)

    def look(self, name: str, path: Path) -> Fault | None:
        """What is to happen to this operation."""
        if self._down:
            raise PowerFailure
        self.operations.append(Operation(len(self.operations), name, path))
        return self.fault(self.operations[-1])

    def fail(self, fault: Fault | None) -> None:
        """Raise what the fault says."""
        if fault is None:
            return
        if fault.error is None:
            self._down = True
            raise PowerFailure
        raise OSError(fault.error, os.strerror(fault.error))

    def free_bytes(self) -> int:
        """What still fits."""
        used_bytes = sum(len(inode.content) for inode in self._names.values())
        return 1 << 40 if self.capacity_bytes is None else max(self.capacity_bytes - used_bytes, 0)

    def _inode(self, path: Path) -> _Inode:
        if path not in self._names:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        return self._names[path]

    def _lead(self, path: Path, inode: _Inode | None) -> None:
        self._before.setdefault(path, []).append(self._names.get(path))
        if inode is None:
            del self._names[path]
        else:
            self._names[path] = inode


class _FaultyAppendFile:
    def __init__(self, files: FaultyFiles, path: Path, inode: _Inode) -> None:
        self._files, self._path, self._inode = files, path, inode
        self._closed = False

    def write(self, parts: Sequence[Buffer]) -> None:
        assert not self._closed
        content = b"".join(parts)
        fault = self._files.look("write", self._path)
        fitting = min(len(content), self._files.free_bytes())
        if fault is None and fitting < len(content):
            fault = Fault(errno.ENOSPC, 1.0)
        taken = fitting if fault is None else min(fitting, int(len(content) * fault.done))
        self._inode.hold(self._inode.content + content[:taken])
        self._files.fail(fault)

    def sync(self) -> None:
        assert not self._closed
        inode = self._inode
        fault = self._files.look("sync", self._path)
        if fault is not None and fault.error is not None:
            inode.distrusted = True
        if fault is None or fault.done >= 1 / 2:
            inode.persist()
        self._files.fail(fault)

    def cut(self, size_bytes: int) -> None:
        assert not self._closed
        self._files.perform("cut", self._path, lambda: self._inode.hold(self._inode.content[:size_bytes]))

    def close(self) -> None:
        self._closed = True
