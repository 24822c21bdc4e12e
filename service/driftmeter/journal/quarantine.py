"""What the service could not digest, kept for a look at it and for another try.

Each thing is a file of two frames: what is to be said of it, so that a list need not read everything, and the thing.
Its name has its number and, for a batch of the journal, where that stands there: of each such batch there is one file,
however often it is put into quarantine.
"""

import contextlib
import logging
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol, TypeAlias

from driftmeter.errors import DamagedError, TransientError
from driftmeter.journal.entries import ROWS_KIND, BatchEntry, RetriedEntry, RowsEntry, decode, encode
from driftmeter.journal.files import Files
from driftmeter.journal.frames import Frame, frame_header, read_frame
from driftmeter.model.blobs import Buffer
from driftmeter.model.bundle import Tree, pack, unpack
from driftmeter.model.request import Request, Signal
from driftmeter.model.stored import Stored

HEAD_KIND = 80
"""Kind of the frame that says what is in quarantine. What follows it is an entry with one batch, or a request."""
REQUEST_KIND = 81
"""Kind of the frame of a request."""

SUFFIX, RETRY_SUFFIX = ".quarantined", ".retry"
MEMORY_BYTES_MAX = 64 * 1024 * 1024
"""Bytes kept where there is no disk."""
_ERROR_CHARACTERS_MAX = 4_000
_LOG = logging.getLogger(__name__)

Poison: TypeAlias = Request | BatchEntry
"""What can be quarantined: a request that cannot be decoded, or a batch that cannot be counted."""


class Identity(NamedTuple):
    """Which item it is, for ever: numbers alone may be given again once their items are gone."""

    number: int
    time_ns: int


class Origin(NamedTuple):
    """Where a batch stands in the journal: its entry, and its number in that."""

    sequence: int
    batch: int


@dataclass(frozen=True, slots=True)
class Item:
    """One thing in quarantine.

    Attributes:
        number: What it is called.
        content: A request or a batch.
        spans: How many spans it holds.
        error: What went wrong with it, in words.
        time_ns: When, nanoseconds since the Unix epoch.
        origin: Where it stands in the journal, so that its spans are among those that were seen; None when nowhere.
    """

    number: int
    content: Poison
    spans: int
    error: str
    time_ns: int
    origin: Origin | None = None

    @property
    def identity(self) -> Identity:
        """Which one it is, for ever."""
        return Identity(self.number, self.time_ns)

    @property
    def retried(self) -> RetriedEntry:
        """What the journal says once it was tried again."""
        return RetriedEntry(*self.identity, *(self.origin or (0, 0)))


@dataclass(frozen=True, slots=True)
class Listed:
    """One thing in quarantine as a list shows it.

    Attributes:
        number: What it is called.
        what: The model's name, or the kind of request.
        spans: How many spans it holds; 0 when it is damaged.
        error: What went wrong with it, or why it cannot be read.
        time_ns: When, nanoseconds since the Unix epoch; 0 when it is damaged.
        size_bytes: Of its file.
        retry: Whether it is to be tried again.
        damaged: Whether it cannot be read.
    """

    number: int
    what: str
    spans: int
    error: str
    time_ns: int
    size_bytes: int
    retry: bool
    damaged: bool


class Quarantine(Protocol):
    """A bounded place for what could not be digested; the oldest goes first when it is full."""

    def keep(self, content: Poison, spans: int, error: BaseException, now_ns: int, origin: Origin | None = None) -> int:
        """Keep something, in the place of what has the same origin.

        Returns:
            How many spans had to go for it. Raises TransientError when it cannot be kept.
        """
        ...

    def origins(self) -> set[Origin]:
        """Where the batches in it stand in the journal. Raises OSError."""
        ...

    def __len__(self) -> int:
        """How many things are in it."""
        ...

    def retries(self) -> Iterator[Item]:
        """What is to be tried again; each stays in quarantine until `let_go`. Raises TransientError."""
        ...

    def let_go(self, item: Item) -> None:
        """Take out of quarantine what was tried again. Raises TransientError; it may stay then, and come again."""
        ...


class MemoryQuarantine:
    """The newest things, in memory: nobody can look at them but a debugger.

    Args:
        bytes_max: Bytes kept, but always the last thing.
    """

    def __init__(self, bytes_max: int = MEMORY_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._items: deque[tuple[Poison, int, int]] = deque()
        self.size_bytes = 0

    def keep(
        self,
        content: Poison,
        spans: int,
        error: BaseException,  # noqa: ARG002
        now_ns: int,  # noqa: ARG002
        origin: Origin | None = None,  # noqa: ARG002
    ) -> int:
        """Keep something; returns the spans of what was dropped for it."""
        size_bytes = len(content.body) if isinstance(content, Request) else content.predictions.rows.nbytes
        self._items.append((content, spans, size_bytes))
        self.size_bytes += size_bytes
        dropped = 0
        while len(self._items) > 1 and self.size_bytes > self._bytes_max:
            _, gone, freed_bytes = self._items.popleft()
            dropped += gone
            self.size_bytes -= freed_bytes
        return dropped

    def __len__(self) -> int:
        return len(self._items)

    def origins(self) -> set[Origin]:
        """None: nobody can have them tried again."""
        return set()

    def retries(self) -> Iterator[Item]:
        """None: there is no way to ask for one."""
        return iter(())

    def let_go(self, item: Item) -> None:
        """Nothing to do: there are no retries."""


class DiskQuarantine:
    """A directory with a file for each thing. Commands work on it beside the running service.

    Args:
        files: The file system.
        directory: Where.
        bytes_max: Bytes kept; the newest thing is kept though it has more.
    """

    def __init__(self, files: Files, directory: Path, bytes_max: int) -> None:
        self._files = files
        self._directory = directory
        self._bytes_max = bytes_max
        self._last_number = 0

    def keep(self, content: Poison, spans: int, error: BaseException, now_ns: int, origin: Origin | None = None) -> int:
        """Write it to disk; returns the spans of what was dropped for it."""
        partial = None
        try:
            self._files.make_directory(self._directory)
            name = self._name_for(origin)
            partial = self._directory / f"{_number(name):010d}.partial"
            file = self._files.append(partial, new=False)
            try:
                file.cut(0)
                file.write(_to_parts(content, spans, error, now_ns))
                file.sync()
            finally:
                file.close()
            self._files.rename(partial, self._directory / name)
            for path in (self._directory, self._directory.parent):
                self._files.sync_directory(path)
            return self._make_room(_number(name))
        except OSError as problem:
            if partial is not None:
                with contextlib.suppress(OSError):
                    self._files.remove(partial)
            raise TransientError(f"{self._directory}: cannot be written: {problem}") from problem

    def __len__(self) -> int:
        return len(self._names())

    def origins(self) -> set[Origin]:
        """Where the batches in it stand in the journal."""
        found = map(_origin, self._names())
        return {origin for origin in found if origin is not None}

    def listed(self) -> list[Listed]:
        """All that is in it, the oldest first. Raises OSError."""
        found = (self._listed(self._directory / name) for name in self._names())
        return [each for each in found if each is not None]

    def item(self, number: int) -> Item:
        """One of them, also one that is to be tried again.

        Raises:
            FileNotFoundError: There is none of this number.
            DamagedError: It cannot be read.
        """
        return _read(self._files, self._path(number))

    def require(self, number: int) -> None:
        """Raises FileNotFoundError when there is none of this number."""
        self._path(number)

    def drop(self, number: int) -> None:
        """Remove one for good. Raises FileNotFoundError."""
        self._files.remove(self._path(number))
        self._files.sync_directory(self._directory)

    def ask_for_retry(self, number: int) -> None:
        """Have the service, running or at its next start, try one again. Raises FileNotFoundError."""
        path = self._path(number)
        self._files.rename(path, path.with_suffix(RETRY_SUFFIX))
        self._files.sync_directory(self._directory)

    def retries(self) -> Iterator[Item]:
        """What is to be tried again; what is damaged goes back."""
        with self._translated("looked through"):
            names = [name for name in self._files.names(self._directory) if name.endswith(RETRY_SUFFIX)]
        for name in names:
            item = self._retry(self._directory / name)
            if item is not None:
                yield item

    def _retry(self, path: Path) -> Item | None:
        """What is to be tried again; None when somebody dropped it just now, or it is damaged."""
        try:
            return _read(self._files, path)
        except FileNotFoundError:
            return None
        except DamagedError as error:
            _LOG.warning("what is in quarantine cannot be tried again: %s", error)
        with self._translated("written"), contextlib.suppress(FileNotFoundError):
            self._files.rename(path, path.with_suffix(SUFFIX))
        return None

    def let_go(self, item: Item) -> None:
        """Remove it, when nobody did so before."""
        with self._translated("written"):
            with contextlib.suppress(FileNotFoundError):
                self._files.remove(self._path(item.number))
            self._files.sync_directory(self._directory)

    @contextlib.contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as problem:
            raise TransientError(f"{self._directory}: cannot be {what}: {problem}") from problem

    def _names(self) -> list[str]:
        """Names of the files of all things in it, in the order of their numbers."""
        return [name for name in self._files.names(self._directory) if name.endswith((SUFFIX, RETRY_SUFFIX))]

    def _path(self, number: int) -> Path:
        for name in self._names():
            if _number(name) == number:
                return self._directory / name
        raise FileNotFoundError(f"{self._directory} has no number {number}")

    def _listed(self, path: Path) -> Listed | None:
        """One of them; None when it has gone meanwhile."""
        number, retry = _number(path.name), path.suffix == RETRY_SUFFIX
        try:
            buffer = self._files.read(path)
        except FileNotFoundError:
            return None
        try:
            head = Stored(unpack(_frame(buffer, 0, path).payload))
            said = head.text("what"), head.integer("spans"), head.text("error"), head.integer("time_ns")
        except DamagedError as error:
            return Listed(number, "?", 0, str(error), 0, len(buffer), retry, damaged=True)
        return Listed(number, *said, len(buffer), retry, damaged=False)

    def _name_for(self, origin: Origin | None) -> str:
        """The name that a batch of this origin has already, else one with a number that none has.

        Nor has any had that number since this process began.
        """
        names = self._files.names(self._directory)
        if origin is not None:
            for name in names:
                if name.endswith((SUFFIX, RETRY_SUFFIX)) and _origin(name) == origin:
                    return name
        stems = [name.partition(".")[0].partition("-")[0] for name in names]
        self._last_number = max([self._last_number, *(int(stem) for stem in stems if stem.isdecimal())]) + 1
        place = "" if origin is None else f"-{origin.sequence:020d}-{origin.batch}"
        return f"{self._last_number:010d}{place}{SUFFIX}"

    def _make_room(self, newest: int) -> int:
        """Remove the oldest until the others fit, but never this one."""
        found = self.listed()
        total_bytes, dropped = sum(each.size_bytes for each in found), 0
        for each in found:
            if each.number == newest:
                continue
            if total_bytes <= self._bytes_max:
                break
            with contextlib.suppress(FileNotFoundError):
                self._files.remove(self._path(each.number))
                dropped += each.spans
                total_bytes -= each.size_bytes
        return dropped


def _number(name: str) -> int:
    """The number in a file's name."""
    return int(name.partition(".")[0].partition("-")[0])


def _origin(name: str) -> Origin | None:
    """The origin in a file's name."""
    match name.partition(".")[0].split("-"):
        case [_, sequence, batch]:
            return Origin(int(sequence), int(batch))
    return None


def _to_parts(content: Poison, spans: int, error: BaseException, now_ns: int) -> list[Buffer]:
    if isinstance(content, Request):
        what = f"request ({content.signal.value})"
        kind, parts = REQUEST_KIND, pack([content.signal.value, content.body])
    else:
        what = content.predictions.key.model
        kind, parts = encode(RowsEntry(now_ns, spans, 0, {}, {}, (content,)))
    said = f"{type(error).__name__}: {error}"[:_ERROR_CHARACTERS_MAX]
    tree: Tree = {"what": what, "spans": spans, "error": said, "time_ns": now_ns}
    head = pack(tree)
    return [frame_header(HEAD_KIND, 1, head), *head, frame_header(kind, 2, parts), *parts]


def _read(files: Files, path: Path) -> Item:
    try:
        buffer = files.read(path)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DamagedError(f"{path}: cannot be read: {error}") from error
    frame = _frame(buffer, 0, path)
    head = Stored(unpack(frame.payload))
    content = _content(_frame(buffer, frame.end, path), path)
    said = head.integer("spans"), head.text("error"), head.integer("time_ns")
    return Item(_number(path.name), content, *said, _origin(path.name))


def _frame(buffer: memoryview, offset: int, path: Path) -> Frame:
    frame = read_frame(buffer, offset)
    if isinstance(frame, str):
        raise DamagedError(f"{path}: damaged at byte {offset}: {frame}")
    return frame


def _content(frame: Frame, path: Path) -> Poison:
    if frame.kind == REQUEST_KIND:
        match unpack(frame.payload):
            case [str(signal), bytes(body)] if signal in set(Signal):
                return Request(Signal(signal), body)
    elif frame.kind == ROWS_KIND:
        match decode(frame.kind, frame.payload):
            case RowsEntry(batches=(batch,)):
                return batch
    raise DamagedError(f"{path}: damaged: there is neither a request nor a batch in it")
