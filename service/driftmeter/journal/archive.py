"""The archive: rows that are counted and behind the kept snapshots, as Parquet by model and hour.

Segments are taken in portions, so that one takes little memory. A portion's rows of one model and hour become one file,
which is named after its entries, so that writing a segment twice (after a crash in the middle) comes to the same files.
A file is written beside the archive and renamed into it once it is on disk: whoever reads the archive sees whole files
alone.

Batches that went into quarantine are left out: they were not counted, and the quarantine has them. What says so may
stand in a later segment than the batch; those segments are looked through for it, but for those of this process, which
may still be written: what these say is announced.
"""

import logging
import shutil
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import accumulate, groupby
from operator import itemgetter
from pathlib import Path

import pyarrow as pa

from driftmeter.clock import Clock
from driftmeter.errors import DamagedError, TransientError
from driftmeter.journal.archive_layout import HOUR_NS, file_name, first_of, hour_path, hours
from driftmeter.journal.archive_rows import by_hour, joined, parquet_of
from driftmeter.journal.config import JournalConfig
from driftmeter.journal.entries import QUARANTINED_KIND, ROWS_KIND, QuarantinedEntry, RowsEntry, decode
from driftmeter.journal.files import Files, release_pages
from driftmeter.journal.frames import HEADER_BYTES, Frame, read_frame
from driftmeter.journal.segments import MAGIC, Segment, list_segments, read_segment
from driftmeter.model.predictions import ModelKey
from driftmeter.model.windows import parse_duration_ns
from driftmeter.telemetry.metrics import RemovalReason, Telemetry

_LOG = logging.getLogger(__name__)
ROOM_FACTOR = 2
"""The archive gives way when the disk has less than so many times `journal.min_free_bytes` left: before the journal
has to refuse anything."""

PORTION_BYTES = 8 * 1024 * 1024
"""Bytes of the journal that are turned into files at a time: they need some three times as much memory."""

_KIND_OFFSET = 16
"""Of the kind in a frame's header."""
_LEVELS = 4
"""Directories between the archive and an hour's."""


class Archive:
    """Parquet files by model and hour. Safe to use from any thread; one call at a time does its work.

    Args:
        files: The file system.
        directory: Of the archive. Beside it, in `<directory>.unfinished`, files are written.
        config: How much is kept, and how much the disk must have left.
        telemetry: Where is counted.
        clock: The time.
        free_bytes: How much room the disk of a directory has left; None asks the system.
    """

    def __init__(
        self,
        files: Files,
        directory: Path,
        config: JournalConfig,
        telemetry: Telemetry,
        clock: Clock,
        free_bytes: Callable[[Path], int] | None = None,
    ) -> None:
        self._files = files
        self._directory = directory
        self._unfinished = directory.with_name(f"{directory.name}.unfinished")
        self._config = config.archive
        self._room_bytes = ROOM_FACTOR * config.min_free_bytes
        self._max_age_ns = parse_duration_ns(config.archive.max_age)
        self._telemetry = telemetry
        self._clock = clock
        self._free_bytes = free_bytes or _system_free_bytes
        self._lock = threading.Lock()
        self._sizes: dict[Path, tuple[int, int]] | None = None  # Of directories of hours: the hour, bytes.
        self._total_bytes = 0
        self._announced = deque[tuple[int, int]]()
        self._left_out = set[tuple[int, int]]()
        self._looked_through = set[Path]()

    def leave_out(self, sequence: int, batch: int) -> None:
        """A batch of an entry went into quarantine, as an entry says that this process appends."""
        self._announced.append((sequence, batch))

    def add(self, segment: Segment, own_from: int | None = None) -> None:
        """Write a segment's rows. When it returns they are on disk; until then nobody may forget the segment.

        What is damaged in it is missing in the archive, and the log says so: it must not keep the journal from ending.

        Args:
            segment: A sealed one, with everything in it behind the older of the kept snapshots.
            own_from: The first entry of this process, all of which were announced; None where it has written none.

        Raises:
            TransientError: There is no room, or the segment cannot be read; trying again is safe.
        """
        if not self._config.enabled:
            return
        with self._lock, self._translated("written"):
            if self._sizes is None or self._is_short():
                self._trim()
            self._look_for_quarantined(segment, own_from)
            self._add(segment)

    def trim(self) -> None:
        """Remove the oldest hours: what is too old, too much, or what the disk has no room for.

        Age is that of an hour's end, in event time, before the end of the newest hour in the archive (or before now,
        where that is earlier): rows of years ago that are replayed now stay. Within an hour what came first goes first.

        Raises:
            TransientError: Something could not be removed.
        """
        with self._lock, self._translated("trimmed"):
            self._trim()

    @contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._sizes = None  # What failed may have taken effect all the same.
            raise TransientError(f"{self._directory}: cannot be {what}: {error}") from error

    # Reading segments.

    def _look_for_quarantined(self, segment: Segment, own_from: int | None) -> None:
        """Note what entries in this and later segments say, and what was announced by `leave_out`."""
        while self._announced:
            self._left_out.add(self._announced.popleft())
        found = list_segments(segment.path.parent, self._files.names(segment.path.parent))
        for first, path in found:
            own = own_from is not None and first >= own_from
            if first >= segment.first and not own and path not in self._looked_through:
                self._left_out |= set(_quarantined(self._files.read(path)))
                self._looked_through.add(path)
        self._looked_through &= {path for _, path in found}
        self._left_out = {each for each in self._left_out if each[0] >= found[0][0]}

    def _portions(self, segment: Segment) -> Iterator[list[Frame]]:
        """A segment's entries in order, so many at a time as hold `PORTION_BYTES`; views of the segment's file."""
        buffer = self._files.read(segment.path)[: segment.size_bytes]
        reading = read_segment(segment.path, buffer, segment.first, segment.last + 1)
        for fault in reading.faults:
            _LOG.error("entries of the journal are missing in the archive: %s", fault)
        sizes = accumulate(len(frame.payload) for frame in reading.frames)
        numbers = [size_bytes // PORTION_BYTES for size_bytes in sizes]
        for _, portion in groupby(zip(numbers, reading.frames, strict=True), key=itemgetter(0)):
            release_pages(buffer)
            yield [frame for _, frame in portion]

    def _batches(self, frames: Sequence[Frame]) -> dict[ModelKey, list[pa.RecordBatch]]:
        """What was counted, by model; views of the segment's file."""
        batches: dict[ModelKey, list[pa.RecordBatch]] = {}
        for sequence, entry in _rows_in(frames):
            for number, (predictions, *_) in enumerate(entry.batches):
                if predictions.rows.num_rows and (sequence, number) not in self._left_out:
                    batches.setdefault(predictions.key, []).append(predictions.rows)
        return batches

    # Writing.

    def _add(self, segment: Segment) -> None:
        changed = set[Path]()
        for portion in self._portions(segment):
            changed |= self._add_portion(portion)
        pa.default_memory_pool().release_unused()  # Arrow keeps it for this thread; the next segment has another one.
        self._make_names_lasting(changed)
        self._telemetry.archive_bytes.set(self._total_bytes)

    def _add_portion(self, frames: Sequence[Frame]) -> set[Path]:
        """Write the rows of some entries; returns the directories with new names."""
        batches = self._batches(frames)
        name, changed = file_name(frames[0].sequence, frames[-1].sequence), set[Path]()
        for key in list(batches):
            try:
                found = list(by_hour(joined(batches.pop(key))))
            except pa.ArrowException:
                _LOG.exception("rows of model %s are missing in the archive", key.model)
                continue
            for hour, table in found:
                path = hour_path(self._directory, key, hour) / name
                self._note(path.parent, hour, self._write(path, parquet_of(key, table)))
                self._telemetry.archived_rows.add(table.num_rows)
                changed.add(path.parent)
        return changed

    def _write(self, path: Path, content: pa.Buffer) -> int:
        """Put a file into the archive; returns by how many bytes the archive has grown."""
        unfinished = self._unfinished / path.name
        self._files.make_directory(self._unfinished)
        file = self._files.append(unfinished, new=False)
        try:
            file.cut(0)
            file.write([memoryview(content)])
            file.sync()
        finally:
            file.close()
        self._files.make_directory(path.parent)
        try:
            before = len(self._files.read(path))
        except FileNotFoundError:
            before = 0
        self._files.rename(unfinished, path)
        return int(content.size) - before

    def _make_names_lasting(self, directories: Collection[Path]) -> None:
        """The names in these directories, and of these directories, are on disk when it returns."""
        levels = len(self._directory.parts)
        lasting = {path for each in directories for path in (each, *each.parents) if len(path.parts) >= levels - 1}
        for path in sorted(lasting, reverse=True):
            self._files.sync_directory(path)

    # Removing.

    def _trim(self) -> None:
        if self._sizes is None:
            self._begin()
        self._remove(RemovalReason.AGE, self._is_old)
        self._remove(RemovalReason.SIZE, lambda _: self._total_bytes > self._config.max_bytes)
        self._remove(RemovalReason.DISK, lambda _: self._is_short())
        self._telemetry.archive_bytes.set(self._total_bytes)

    def _begin(self) -> None:
        """Remove what attempts before this process have left; see how much there is."""
        for name in self._files.names(self._unfinished):
            self._files.remove(self._unfinished / name)
        self._sizes, self._total_bytes = {}, 0
        for each in hours(self._files, self._directory):
            self._note(each.path, each.hour, sum(size for _, _, size in self._hour_files(each.path)))

    def _remove(self, reason: RemovalReason, goes: Callable[[int], bool]) -> None:
        """Remove files, the oldest first, as long as `goes` says so of the oldest one's hour."""
        for hour, paths in self._by_age():
            if not goes(hour):
                return
            for _, path, size_bytes in sorted(file for each in paths for file in self._hour_files(each)):
                if not goes(hour):
                    return
                with suppress(FileNotFoundError):
                    self._files.remove(path)
                self._telemetry.archive_removed_bytes.add(size_bytes, reason=reason)
                self._note(path.parent, hour, -size_bytes)
            for path in paths:
                self._forget(path)

    def _is_old(self, hour: int) -> bool:
        newest = max(hour for hour, _ in self._sizes_known.values())
        now_ns = min((newest + 1) * HOUR_NS, self._clock.now_ns())
        return (hour + 1) * HOUR_NS + self._max_age_ns < now_ns

    def _is_short(self) -> bool:
        return self._free_bytes(self._directory.parent) < self._room_bytes

    def _by_age(self) -> list[tuple[int, list[Path]]]:
        """Hours, the oldest first, and their directories."""
        found: dict[int, list[Path]] = {}
        for path, (hour, _) in self._sizes_known.items():
            found.setdefault(hour, []).append(path)
        return sorted(found.items())

    def _hour_files(self, directory: Path) -> list[tuple[int, Path, int]]:
        """First sequences, paths and sizes of the files in an hour's directory."""
        names = [(first, name) for name in self._files.names(directory) if (first := first_of(name)) is not None]
        return [(first, directory / name, len(self._files.read(directory / name))) for first, name in names]

    def _forget(self, directory: Path) -> None:
        """An hour's directory has no files any more: it goes, and those above it that have nothing else."""
        del self._sizes_known[directory]
        with suppress(OSError):  # Not empty: others go on here, or somebody put something there.
            for path in (directory, *directory.parents[:_LEVELS]):
                path.rmdir()

    # What is known.

    @property
    def _sizes_known(self) -> dict[Path, tuple[int, int]]:
        assert self._sizes is not None  # noqa: S101 - `_begin` comes first.
        return self._sizes

    def _note(self, directory: Path, hour: int, more_bytes: int) -> None:
        """An hour's directory has so many bytes more."""
        before = self._sizes_known.get(directory, (hour, 0))[1]
        self._sizes_known[directory] = (hour, before + more_bytes)
        self._total_bytes += more_bytes


def _rows_in(frames: Sequence[Frame]) -> Iterator[tuple[int, RowsEntry]]:
    for frame in frames:
        if frame.kind != ROWS_KIND:
            continue
        try:
            entry = decode(frame.kind, frame.payload)
        except DamagedError as error:
            _LOG.error("entry %s is missing in the archive: %s", frame.sequence, error)
            continue
        assert isinstance(entry, RowsEntry)  # noqa: S101 - that is its kind.
        yield frame.sequence, entry


def _quarantined(buffer: memoryview) -> Iterator[tuple[int, int]]:
    """Entries and numbers of the batches that entries of a segment say are in quarantine.

    Looks at the headers alone of all other entries: they are checked where they are needed.
    """
    offset = len(MAGIC)
    while offset + HEADER_BYTES <= len(buffer):
        size_bytes, kind = int.from_bytes(buffer[offset : offset + 4], "little"), buffer[offset + _KIND_OFFSET]
        if kind == QUARANTINED_KIND:
            frame = read_frame(buffer, offset)
            with suppress(DamagedError):
                entry = None if isinstance(frame, str) else decode(frame.kind, frame.payload)
                if isinstance(entry, QuarantinedEntry):
                    yield entry.sequence, entry.batch
        offset += HEADER_BYTES + size_bytes


def _system_free_bytes(directory: Path) -> int:
    return shutil.disk_usage(directory).free
