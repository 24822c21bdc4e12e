"""The journal as the pipeline sees it: entries go in, are on disk, and come out again at the next start."""

import logging
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from driftmeter.clock import Clock
from driftmeter.errors import DamagedError, DiskFullError, TransientError
from driftmeter.journal.archive import Archive
from driftmeter.journal.blob_store import BlobStore
from driftmeter.journal.config import JournalConfig
from driftmeter.journal.entries import QUARANTINED_KIND, Entry, QuarantinedEntry, decode, encode
from driftmeter.journal.files import Files, RealFiles
from driftmeter.journal.lock import DirectoryLock
from driftmeter.journal.log import Log
from driftmeter.journal.quarantine import DiskQuarantine, MemoryQuarantine, Quarantine
from driftmeter.journal.segments import Segment
from driftmeter.journal.snapshots import list_snapshots, read_newest, read_snapshot, write_snapshot
from driftmeter.model.blobs import Blobs, MemoryBlobs
from driftmeter.model.bundle import Tree
from driftmeter.model.stored import Stored
from driftmeter.model.windows import parse_duration_ns
from driftmeter.telemetry.metrics import Telemetry

_LOG = logging.getLogger(__name__)
_FREE_LOOK_BYTES = 16 * 1024 * 1024
"""After so many bytes the free space is looked at again."""


class Journal(Protocol):
    """Where what is accepted is written down."""

    @property
    def blobs(self) -> Blobs:
        """For state that is seldom looked at."""
        ...

    @property
    def quarantine(self) -> Quarantine:
        """For what cannot be digested."""
        ...

    @property
    def directory(self) -> Path | None:
        """The state directory; None when nothing is on disk."""
        ...

    def append(self, entry: Entry) -> int:
        """Write an entry; returns its sequence. Raises TransientError, and then nothing since the last commit stays."""
        ...

    def commit(self) -> None:
        """Returns once all entries are on disk. Raises TransientError as `append` does."""
        ...

    def abandon(self) -> None:
        """Forget what was appended since the last commit."""
        ...

    def measure(self) -> None:
        """Show how much there is."""
        ...


class MemoryJournal:
    """Keeps nothing: what was accepted ends with the process."""

    def __init__(self) -> None:
        self.blobs: Blobs = MemoryBlobs()
        self.quarantine = MemoryQuarantine()
        self.directory: Path | None = None
        self._sequence = 0

    def append(self, entry: Entry) -> int:  # noqa: ARG002 - as Journal has it.
        """The number that it would have."""
        self._sequence += 1
        return self._sequence

    def commit(self) -> None:
        """Nothing to do."""

    def abandon(self) -> None:
        """Nothing to do."""

    @property
    def snapshot_due(self) -> bool:
        """Never: there is nothing to make one of."""
        return False

    def measure(self) -> None:
        """Nothing to show."""

    def close(self) -> None:
        """Nothing to do."""


class DiskJournal:
    """The journal in a directory, whose only writer it is.

    `append` and `commit` belong to the pipeline's thread; so do `begin_snapshot` and `finish_snapshot`, between which
    `write_snapshot` runs on any thread, and `archive` too after it.

    Args:
        directory: Where.
        config: Sizes and times.
        telemetry: Where is counted.
        clock: The time.
        accept_loss: Start although something in the middle of the journal is damaged.
        below: Use only snapshots of earlier entries than this one: those from it on cannot be used.
        files: The file system.

    Raises:
        ConfigError: The directory cannot be used, or another process uses it.
        DamagedError: Something was written and is not there any more, or not as it was.
    """

    def __init__(  # noqa: PLR0913 - everything that it stands between.
        self,
        directory: Path,
        config: JournalConfig,
        telemetry: Telemetry,
        clock: Clock,
        *,
        accept_loss: bool = False,
        below: int | None = None,
        files: Files | None = None,
    ) -> None:
        self._files = files = files or RealFiles()
        self._directory = directory
        self.directory: Path | None = directory
        self._config = config
        self._telemetry = telemetry
        self._clock = clock
        self._snapshots = directory / "snapshots"
        self._lock = DirectoryLock.take(directory, clock)
        with ExitStack() as undo:
            undo.callback(self._lock.release)
            self._read(below, accept_loss=accept_loss)
            undo.pop_all()
        self._own_from = self._log.last_sequence + 1
        self._archive = Archive(files, directory / "archive", config, telemetry, clock)
        telemetry.journal_cut_bytes.add(self._log.cut_bytes)
        telemetry.journal_lost_entries.add(self._log.loss.entries)
        for place in self._log.loss.places:
            _LOG.error("lost, as accepted: %s", place)
        self._interval_seconds = parse_duration_ns(config.snapshot_interval) / 1e9
        self._segment_seconds = parse_duration_ns(config.segment_age) / 1e9
        self._snapshot_seconds = self._rotated_seconds = clock.monotonic_seconds()
        self._snapshot_taken_seconds = self._snapshot_seconds
        self._appended_bytes = self._looked_bytes = 0
        self._free_bytes = 0
        self.wants_room = False
        """Whether something was refused for want of room since the archive was last trimmed."""

    def _read(self, below: int | None, *, accept_loss: bool) -> None:
        files, directory = self._files, self._directory
        newest = read_newest(files, self._snapshots, below)
        self.covered, self._tree = (newest[0], Stored(newest[1]).tree("state")) if newest else (0, None)
        self._blob_files = {each: self._blob_files_of(each) for each in list_snapshots(files, self._snapshots)}
        self.blobs = BlobStore.open(files, directory / "blobs", self._blobs_kept())
        self.quarantine = DiskQuarantine(files, directory / "quarantine", self._config.quarantine_bytes)
        self._log = Log.open(
            directory / "journal",
            files=files,
            segment_bytes=self._config.segment_bytes,
            from_sequence=self.covered + 1,
            accept_loss=accept_loss,
        )

    # What goes in.

    def append(self, entry: Entry) -> int:
        """Write an entry; returns its sequence."""
        if isinstance(entry, QuarantinedEntry):  # That is so whether or not it can be written now.
            self._archive.leave_out(entry.sequence, entry.batch)
        kind, parts = encode(entry)
        size_bytes = sum(memoryview(part).nbytes for part in parts)
        try:
            self._look_at_free_space(size_bytes)
        except TransientError:
            self.abandon()
            raise
        sequence = self._log.append(kind, parts)
        self._appended_bytes += size_bytes
        self._telemetry.journal_appended_bytes.add(size_bytes)
        return sequence

    def commit(self) -> None:
        """Returns once all entries are on disk."""
        started = self._clock.monotonic_seconds()
        self._log.commit()
        self._telemetry.journal_commits.add()
        self._telemetry.journal_commit_seconds.observe(self._clock.monotonic_seconds() - started)

    def abandon(self) -> None:
        """Forget what was appended since the last commit."""
        self._log.abandon()

    def _look_at_free_space(self, size_bytes: int) -> None:
        """Refuse what would fill the disk to the last byte: the system and a restart need some room."""
        self._looked_bytes += size_bytes
        if self._free_bytes and self._looked_bytes < _FREE_LOOK_BYTES:
            return
        try:
            free_bytes = shutil.disk_usage(self._directory).free
        except OSError as error:
            raise TransientError(f"{self._directory}: cannot be looked at: {error}") from error
        if free_bytes < self._config.min_free_bytes + size_bytes:
            self._free_bytes, self.wants_room = 0, True
            raise DiskFullError(
                f"{self._directory}: {free_bytes:,} bytes are free on its disk, and journal.min_free_bytes are to stay"
            )
        self._free_bytes, self._looked_bytes = free_bytes, 0

    # What comes out at a start.

    @property
    def tree(self) -> Tree:
        """State of the newest snapshot; None when there is none."""
        return self._tree

    def release_tree(self) -> None:
        """The state was taken over: it need not be kept in memory."""
        self._tree = None

    def quarantined(self) -> frozenset[tuple[int, int]]:
        """Sequence and number of the batches in the tail that went into quarantine."""
        found = set()
        for written in self._log.replay(self.covered):
            if written.kind == QUARANTINED_KIND:
                entry = decode(written.kind, written.payload)
                assert isinstance(entry, QuarantinedEntry)  # noqa: S101 - that is its kind.
                found.add((entry.sequence, entry.batch))
        return frozenset(found)

    def replay(self) -> Iterator[tuple[int, Entry]]:
        """Entries behind the snapshot, in order."""
        for written in self._log.replay(self.covered):
            yield written.sequence, decode(written.kind, written.payload)

    # Snapshots.

    @property
    def snapshot_due(self) -> bool:
        """Whether there is enough behind the last snapshot to make the next one."""
        if not self._appended_bytes:
            return False
        age_seconds = self._clock.monotonic_seconds() - self._snapshot_seconds
        return self._appended_bytes >= self._config.snapshot_bytes or age_seconds >= self._interval_seconds

    def begin_snapshot(self, state: Tree) -> "PendingSnapshot":
        """The state after all entries so far; on the pipeline's thread."""
        self._appended_bytes = 0
        self._snapshot_seconds = self._clock.monotonic_seconds()
        return PendingSnapshot(self._log.last_sequence, self.blobs.files_in_use(), state)

    def write_snapshot(self, pending: "PendingSnapshot") -> None:
        """Put a snapshot on disk; on any thread. Raises TransientError."""
        self.blobs.sync()
        tree: Tree = {"state": pending.state, "blob_files": list[Tree](pending.blob_files)}
        write_snapshot(self._files, self._snapshots, pending.sequence, tree)

    def finish_snapshot(self, pending: "PendingSnapshot") -> None:
        """Let go of what only older snapshots needed; on the pipeline's thread."""
        self.covered = pending.sequence
        now_seconds = self._clock.monotonic_seconds()
        self._snapshot_taken_seconds = now_seconds
        if now_seconds - self._rotated_seconds >= self._segment_seconds:
            self._log.rotate()
            self._rotated_seconds = now_seconds
        self._blob_files[pending.sequence] = frozenset(pending.blob_files)
        kept = list_snapshots(self._files, self._snapshots)
        self._blob_files = {sequence: self._blob_files[sequence] for sequence in kept}
        self.blobs.retire(self._blobs_kept())

    def superseded(self) -> list[Segment]:
        """Segments that no kept snapshot needs, the oldest first; on the pipeline's thread."""
        kept = list_snapshots(self._files, self._snapshots)
        return [each for each in self._log.segments() if each.sealed and kept and each.last <= kept[0]]

    def archive(self, segment: Segment) -> None:
        """Copy a segment into the archive; on any thread. Raises TransientError, DamagedError."""
        self._archive.add(segment, self._own_from)

    def forget(self, segment: Segment) -> None:
        """Remove a segment that is in the archive; on the pipeline's thread. Raises TransientError."""
        self._log.forget(segment.last + 1)

    def trim_archive(self) -> None:
        """Remove what the archive need not keep, and for want of room on the disk; on any thread."""
        self.wants_room = False
        self._archive.trim()

    def measure(self) -> None:
        """Show how much there is; on the pipeline's thread."""
        self._telemetry.journal_bytes.set(sum(each.size_bytes for each in self._log.segments()))
        self._telemetry.snapshot_age_seconds.set(self._clock.monotonic_seconds() - self._snapshot_taken_seconds)

    def close(self) -> None:
        """Let go of the directory."""
        self._log.close()
        self.blobs.close()
        self._lock.release()

    def _blobs_kept(self) -> set[int]:
        """Blob files that the snapshots refer to."""
        return {number for numbers in self._blob_files.values() for number in numbers}

    def _blob_files_of(self, sequence: int) -> frozenset[int]:
        """Blob files that a snapshot refers to; none when it is damaged."""
        try:
            found = Stored(read_snapshot(self._files, self._snapshots, sequence)).items("blob_files")
        except DamagedError:
            return frozenset()
        return frozenset(number for number in found if isinstance(number, int))


@dataclass(frozen=True, slots=True)
class PendingSnapshot:
    """A snapshot that is not on disk yet.

    Attributes:
        sequence: The last entry that it covers.
        blob_files: Files of blobs that it refers to.
        state: The state.
    """

    sequence: int
    blob_files: Sequence[int]
    state: Tree


def open_journal(
    config: JournalConfig, telemetry: Telemetry, clock: Clock, *, accept_loss: bool, below: int | None = None
) -> DiskJournal | MemoryJournal:
    """The journal that the configuration asks for; arguments and errors as `DiskJournal` has them."""
    if config.directory is None:
        return MemoryJournal()
    return DiskJournal(config.directory, config, telemetry, clock, accept_loss=accept_loss, below=below)
