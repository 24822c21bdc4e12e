"""Everything in a state directory looked at, changing nothing: beside a running service, or after it died.

A service that runs writes and removes files meanwhile: what is gone when it is its turn is passed over, and what is
being written is not damage.
"""

from collections.abc import Callable, Iterator
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from driftmeter.errors import ConfigError, DamagedError
from driftmeter.journal.archive_layout import hours
from driftmeter.journal.blob_store import BLOB_KIND
from driftmeter.journal.files import RealFiles
from driftmeter.journal.frames import read_frame
from driftmeter.journal.quarantine import DiskQuarantine
from driftmeter.journal.segments import list_segments
from driftmeter.journal.snapshots import list_snapshots, read_snapshot, snapshot_path
from driftmeter.journal.verify import verify
from driftmeter.model.stored import Stored

_BLOBS_MAGIC = b"DRIFTB01"
_BLOBS_SUFFIX = ".blobs"


class Kind(StrEnum):
    """What a file is part of."""

    JOURNAL = "journal"
    SNAPSHOT = "snapshot"
    BLOBS = "blobs"
    ARCHIVE = "archive"
    QUARANTINE = "quarantine"


class Checked(NamedTuple):
    """What was found of one file.

    Attributes:
        kind: What it is part of.
        path: The file, or the directory where one is missing.
        size_bytes: Its size.
        problem: What is wrong with it; empty when nothing is.
        note: What is not wrong but worth to know; empty when nothing is.
    """

    kind: Kind
    path: Path
    size_bytes: int
    problem: str = ""
    note: str = ""


class Check(NamedTuple):
    """Something to be checked: its result, or several, come when it is called. Raises OSError."""

    path: Path
    run: Callable[[], Iterator[Checked]]


def checks(directory: Path) -> list[Check]:
    """All there is to check in a state directory. Raises OSError."""
    files = RealFiles()
    journal, snapshots, blobs = directory / "journal", directory / "snapshots", directory / "blobs"
    found = [Check(journal, partial(_journal, journal, snapshots))]
    found += [Check(snapshots, partial(_snapshot, directory, each)) for each in list_snapshots(files, snapshots)]
    names = [name for name in files.names(blobs) if name.endswith(_BLOBS_SUFFIX)]
    found += [Check(blobs / name, partial(_blobs, blobs / name)) for name in names]
    kept = directory / "quarantine"
    found.append(Check(kept, partial(_quarantine, DiskQuarantine(files, kept, 0), kept)))
    for hour in sorted(hours(files, directory / "archive")):
        found += [Check(hour.path / name, partial(_archive, hour.path / name)) for name in files.names(hour.path)]
    return found


def check(directory: Path, progress: Callable[[int, int], None] = lambda _done, _of: None) -> Iterator[Checked]:
    """Check everything in a state directory.

    Args:
        directory: As `journal.directory` names it.
        progress: Told how many things are done, of how many.

    Raises:
        OSError: Something is there but cannot be read.
    """
    found = checks(directory)
    for done, each in enumerate(found):
        progress(done, len(found))
        try:
            yield from each.run()
        except FileNotFoundError:
            continue
    progress(len(found), len(found))


def _journal(journal: Path, snapshots: Path) -> Iterator[Checked]:
    """Segments, and whether those that the newest snapshot needs are there."""
    report = verify(journal)  # Before the snapshots: a running service removes what new ones cover.
    intact = [number for number in list_snapshots(RealFiles(), snapshots) if _is_intact(snapshots, number)]
    covered = intact[-1] if intact else 0
    if report.segments and report.segments[0].first > covered + 1:
        missing = f"entries {covered + 1} to {report.segments[0].first - 1} are neither in a snapshot nor here"
        yield Checked(Kind.JOURNAL, journal, 0, missing)
    for each in report.segments:
        note = f"{each.unfinished_bytes:,} bytes of a commit that did not end" if each.unfinished_bytes else ""
        yield Checked(Kind.JOURNAL, each.path, each.size_bytes, "; ".join(each.faults), note)


def _is_intact(snapshots: Path, sequence: int) -> bool:
    try:
        read_snapshot(RealFiles(), snapshots, sequence)
    except DamagedError:
        return False
    return True


def _snapshot(directory: Path, sequence: int) -> Iterator[Checked]:
    path = snapshot_path(directory / "snapshots", sequence)
    size_bytes = path.stat().st_size
    try:
        tree = Stored(read_snapshot(RealFiles(), path.parent, sequence))
        numbers = [number for number in tree.items("blob_files") if isinstance(number, int)]
    except DamagedError as error:
        yield Checked(Kind.SNAPSHOT, path, size_bytes, str(error))
        return
    missing = [number for number in numbers if not (directory / "blobs" / f"{number:010d}{_BLOBS_SUFFIX}").exists()]
    if missing and path.exists():
        yield Checked(Kind.SNAPSHOT, path, size_bytes, f"files of blobs are missing: {', '.join(map(str, missing))}")
    else:
        yield Checked(Kind.SNAPSHOT, path, size_bytes)


def _blobs(path: Path) -> Iterator[Checked]:
    """Frames up to the first that cannot be read; whether a later one can is what tells damage from a torn tail."""
    buffer = memoryview(path.read_bytes())  # Not mapped: a running service may cut it.
    if buffer[: len(_BLOBS_MAGIC)] != _BLOBS_MAGIC[: len(buffer)]:
        yield Checked(Kind.BLOBS, path, len(buffer), "it does not begin as a file of blobs does")
        return
    offset = len(_BLOBS_MAGIC)
    while offset < len(buffer):
        frame = read_frame(buffer, offset)
        if isinstance(frame, str) or frame.kind != BLOB_KIND:
            break
        offset = frame.end
    left_bytes = max(0, len(buffer) - offset)
    note = f"{left_bytes:,} bytes at the end that cannot be read: a write that did not end" if left_bytes else ""
    yield Checked(Kind.BLOBS, path, len(buffer), note=note)


def _archive(path: Path) -> Iterator[Checked]:
    if path.suffix != ".parquet":
        return
    size_bytes = path.stat().st_size
    try:
        pq.read_metadata(path)
    except FileNotFoundError:
        return
    except (pa.ArrowException, OSError, ValueError) as error:
        yield Checked(Kind.ARCHIVE, path, size_bytes, f"no Parquet file: {error}")
        return
    yield Checked(Kind.ARCHIVE, path, size_bytes)


def _quarantine(quarantine: DiskQuarantine, directory: Path) -> Iterator[Checked]:
    for each in quarantine.listed():
        problem = each.error if each.damaged else ""
        if not problem:
            try:
                quarantine.item(each.number)
            except DamagedError as error:
                problem = str(error)
            except FileNotFoundError:
                continue
        yield Checked(Kind.QUARANTINE, directory / f"{each.number:010d}", each.size_bytes, problem)


def is_state_directory(directory: Path) -> bool:
    """Whether a service has kept its state there. Raises OSError."""
    return bool({"lock", "journal", "snapshots"} & set(RealFiles().names(directory)))


def require_state_directory(directory: Path) -> None:
    """Raises ConfigError, which says what to do, when there is nothing to look at."""
    try:
        if not directory.exists():
            raise ConfigError(f"{directory}: there is no such directory; name the one that is journal.directory")
        if not directory.is_dir():
            raise ConfigError(f"{directory}: is a file; name the directory that is journal.directory")
        names = RealFiles().names(directory)
        if not names:
            raise ConfigError(f"{directory}: is empty: no service has kept anything there yet")
        if not is_state_directory(directory):
            raise ConfigError(
                f"{directory}: no service has kept its state there (it has {', '.join(names[:3])}…, but neither journal"
                f" nor snapshots); name the directory that is journal.directory"
            )
        list_segments(directory / "journal", RealFiles().names(directory / "journal"))
    except OSError as error:
        raise ConfigError(
            f"{directory}: cannot be read: {error.strerror or error}; run this as the user that runs the service"
        ) from error
