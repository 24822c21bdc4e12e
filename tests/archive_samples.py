"""Journals with rows in them, and the archives made of them, for tests."""

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pyarrow as pa
import pyarrow.parquet as pq

from driftmeter.journal.archive import Archive
from driftmeter.journal.archive_layout import hours
from driftmeter.journal.config import ArchiveConfig, JournalConfig
from driftmeter.journal.entries import BatchEntry, Entry, RowsEntry, encode
from driftmeter.journal.files import Files
from driftmeter.journal.log import Log
from driftmeter.journal.segments import Segment
from driftmeter.model.predictions import Predictions
from driftmeter.telemetry.metrics import Telemetry
from faulty_files import FaultyFiles

STATE = Path("/state")
GIB = 1 << 30


class NestedFiles(FaultyFiles):
    """Files in directories in directories."""

    def names(self, directory: Path) -> list[str]:
        """Names in a directory, those of directories too."""
        below = (path.relative_to(directory) for path in self._names if path.is_relative_to(directory))
        return sorted({path.parts[0] for path in below})

    def after_power_failure(self, random: Random) -> "NestedFiles":
        """What the next start finds."""
        found = NestedFiles(capacity_bytes=self.capacity_bytes)
        found._names = super().after_power_failure(random)._names
        return found


@dataclass
class StandingClock:
    """A clock that is put forward by hand."""

    time_ns: int = 0

    def now_ns(self) -> int:
        """The time it was set to."""
        return self.time_ns

    def monotonic_seconds(self) -> float:
        """The same in seconds."""
        return self.time_ns / 1e9


def rows_entry(*batches: Predictions) -> RowsEntry:
    """One request with these batches."""
    spans = sum(batch.rows.num_rows for batch in batches)
    entries = tuple(BatchEntry(batch, batch.rows.num_rows, 0, 0) for batch in batches)
    return RowsEntry(0, spans, 0, {}, {}, entries)


def write_journal(files: Files, segments: Iterable[Sequence[Entry]], directory: Path = STATE) -> list[Segment]:
    """A journal with these segments, all of them sealed, and one more that is being written."""
    log = Log.open(directory / "journal", files=files)
    for entries in [*segments, [rows_entry()]]:
        log.rotate()
        for entry in entries:
            log.append(*encode(entry))
        log.commit()
    return list(log.segments()[:-1])


@dataclass
class Sample:
    """An archive over a journal, with all that it reads."""

    files: Files = field(default_factory=NestedFiles)
    directory: Path = STATE
    config: ArchiveConfig = field(default_factory=ArchiveConfig)
    free_bytes: int = 100 * GIB
    clock: StandingClock = field(default_factory=lambda: StandingClock(2**62))
    telemetry: Telemetry = field(default_factory=lambda: Telemetry("test"))

    def __post_init__(self) -> None:
        self.archive = self.open()

    @property
    def path(self) -> Path:
        """Of the archive."""
        return self.directory / "archive"

    def open(self) -> Archive:
        """An archive as a start makes one."""
        config = JournalConfig(archive=self.config)
        return Archive(self.files, self.path, config, self.telemetry, self.clock, lambda _: self.free_bytes)

    def contents(self) -> dict[str, bytes]:
        """All files in the archive and what they hold."""
        return {str(path.relative_to(self.path)): bytes(self.files.read(path)) for path in self.paths()}

    def paths(self) -> Iterator[Path]:
        """All files in the archive."""
        for each in sorted(hours(self.files, self.path)):
            yield from (each.path / name for name in self.files.names(each.path))

    def tables(self) -> dict[str, pa.Table]:
        """All files in the archive as tables."""
        return {name: pq.read_table(io.BytesIO(content)) for name, content in self.contents().items()}
