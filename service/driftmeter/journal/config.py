"""Configuration of what is kept on disk."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from driftmeter.model.settings import Duration

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB


class ArchiveConfig(BaseModel):
    """Accepted rows as Parquet, by model and hour, for baselines, backfills and looking closer."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    enabled: bool = True
    """Write `archive/` in the journal's directory; without it, rows are gone once they are counted and snapshotted."""
    max_bytes: int = Field(default=50 * GIB, ge=MIB)
    """Bytes of Parquet kept; beyond it the oldest hours are removed."""
    max_age: Duration = "30d"
    """How long rows are kept, by their event time."""


class JournalConfig(BaseModel):
    """What was accepted, on disk before it is acknowledged. One process writes in a directory at a time."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    directory: Path | None = Path("driftmeter-data")
    """Where journal, snapshots, archive and quarantine are, on a disk of this machine (file locks and fsync of network
    file systems promise less). null keeps nothing: acknowledged then means accepted in memory, and whatever was
    counted in open windows is lost when the process ends."""
    segment_bytes: int = Field(default=64 * MIB, ge=4 * KIB, le=GIB)
    """A journal file with so many bytes is followed by a new one."""
    segment_age: Duration = "1h"
    """A journal file that began so long ago is followed by a new one, so that quiet models reach the archive too."""
    snapshot_interval: Duration = "60s"
    """How often state is written at most, while something changes. What came after the newest one is replayed at the
    next start."""
    snapshot_bytes: int = Field(default=256 * MIB, ge=4 * KIB)
    """Bytes of journal behind the newest snapshot after which state is written without waiting for the interval."""
    min_free_bytes: int = Field(default=GIB, ge=0)
    """Free bytes on the disk below which new data is refused (senders are told to try again), so that state can still
    be written."""
    archive: ArchiveConfig = ArchiveConfig()
    """Accepted rows as Parquet."""
    quarantine_bytes: int = Field(default=GIB, ge=MIB)
    """Bytes kept of batches that could not be digested; beyond it the oldest are removed."""
