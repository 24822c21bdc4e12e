"""The baselines there are, by model and version, and the files that they come from."""

import glob
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from driftmeter.baseline.file import baseline_from_content, read_content
from driftmeter.errors import BaselineError
from driftmeter.model.baseline import Baseline

_Key = tuple[str, str]
_NOT_THERE = (0, 0, 0)


class BaselineBook:
    """Baselines by model and version.

    Args:
        baselines: All of them; two for the same model and version are a mistake.
    """

    def __init__(self, baselines: Iterable[Baseline] = ()) -> None:
        self._baselines: dict[_Key, Baseline] = {}
        for baseline in baselines:
            self.add(baseline)

    @property
    def baselines(self) -> tuple[Baseline, ...]:
        """All of them."""
        return tuple(self._baselines.values())

    def find(self, model: str, version: str) -> Baseline | None:
        """The version's own baseline, else the model's for any version, else None."""
        own = self._baselines.get((model, version)) or self._baselines.get((model, ""))
        return own.labelled(model, version, own.name) if own else None

    def add(self, baseline: Baseline) -> None:
        """A further baseline; raises BaselineError when there is one for its model and version."""
        if key_of(baseline) in self._baselines:
            raise BaselineError(_twice(baseline))
        self.put(baseline)

    def put(self, baseline: Baseline) -> None:
        """A further baseline, or another one in the place of that for the same model and version."""
        self._baselines[key_of(baseline)] = baseline


@dataclass(frozen=True, slots=True)
class BaselineFile:
    """A file that was read.

    Attributes:
        path: Where it is.
        baseline: What it holds.
        content: Its bytes.
    """

    path: Path
    baseline: Baseline
    content: bytes


@dataclass(frozen=True, slots=True)
class ChangedFiles:
    """What has become of the files since they were looked at last.

    Attributes:
        read: Files that are new or hold something else.
        mistakes: Files that are new or changed and cannot be used, in words.
        gone: Files that are not there any more.
    """

    read: tuple[BaselineFile, ...] = ()
    mistakes: tuple[str, ...] = ()
    gone: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class _Known:
    stamp: tuple[int, int, int]
    baseline: Baseline | None = None


@dataclass(eq=False)
class BaselineFiles:
    """The files that a configuration names, read again when they change.

    Attributes:
        patterns: Paths; a wildcard may match nothing.
    """

    patterns: tuple[str, ...]
    _known: dict[Path, _Known] = field(default_factory=dict)

    def read(self) -> BaselineBook:
        """All of them; raises BaselineError for the first that cannot be used."""
        book = BaselineBook()
        for path in baseline_paths(self.patterns):
            known = _Known(_stamp_if_there(path))
            found = _read(path)
            self._take(found, known)
            book.put(found.baseline)
        return book

    def changed(self) -> ChangedFiles:
        """Read those that are other files now than when they were looked at last, by time, size and number.

        A file that cannot be used is told once, and read again when it changes: it may be half copied.
        """
        read, mistakes, gone = list[BaselineFile](), list[str](), list[Path]()
        paths = baseline_paths(self.patterns)
        for path in [path for path in self._known if path not in paths or not path.exists()]:
            del self._known[path]
            gone.append(path)
        for path in paths:
            stamp = _stamp_if_there(path)  # Before it is read: what is written meanwhile is read the next time.
            known = self._known.get(path, _Known(_NOT_THERE))
            if stamp in (known.stamp, _NOT_THERE):
                continue
            before, self._known[path] = known.baseline, replace(known, stamp=stamp)
            try:
                found = _read(path)
                self._take(found, self._known[path])
            except BaselineError as error:
                mistakes.append(str(error))
                continue
            if before is None or before.content_hash != found.baseline.content_hash:
                read.append(found)
        return ChangedFiles(tuple(read), tuple(mistakes), tuple(gone))

    def _take(self, found: BaselineFile, known: "_Known") -> None:
        """Note what a file holds, unless another one holds a baseline for the same."""
        for path, other in self._known.items():
            if path != found.path and other.baseline and key_of(other.baseline) == key_of(found.baseline):
                raise BaselineError(f"{found.path} and {path}: {_twice(found.baseline)}")
        self._known[found.path] = replace(known, baseline=found.baseline)


def baseline_paths(patterns: Iterable[str]) -> list[Path]:
    """The files that patterns name, in order; a wildcard may match nothing."""
    paths: list[Path] = []
    for pattern in patterns:
        # Path.glob takes no absolute patterns.
        paths += map(Path, sorted(glob.glob(pattern))) if glob.has_magic(pattern) else [Path(pattern)]  # noqa: PTH207
    return list(dict.fromkeys(paths))


def key_of(baseline: Baseline) -> _Key:
    """The model and version that it is for."""
    return baseline.model, baseline.version


def _twice(baseline: Baseline) -> str:
    return f"two baselines for model {baseline.model!r}, version {baseline.version!r}: leave one of their files out"


def _stamp_if_there(path: Path) -> tuple[int, int, int]:
    try:
        status = path.stat()
    except OSError:
        return _NOT_THERE
    return status.st_mtime_ns, status.st_size, status.st_ino


def _read(path: Path) -> BaselineFile:
    content = read_content(path)
    return BaselineFile(path, baseline_from_content(content, str(path)), content)


def read_book(patterns: Iterable[str]) -> BaselineBook:
    """Read all files named; raises BaselineError for the first that cannot be used. A wildcard may match nothing."""
    return BaselineFiles(tuple(patterns)).read()
