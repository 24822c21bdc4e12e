"""Configuration of what is kept on disk."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from driftmeter.journal.config import GIB, MIB, JournalConfig


def test_defaults() -> None:
    """What is documented: a directory where the service is started, as Prometheus has it, and the sizes."""
    config = JournalConfig()
    assert config.directory == Path("driftmeter-data")
    assert (config.segment_bytes, config.snapshot_bytes) == (64 * MIB, 256 * MIB)
    assert (config.min_free_bytes, config.quarantine_bytes) == (GIB, GIB)
    assert (config.segment_age, config.snapshot_interval) == ("1h", "60s")
    assert (config.archive.enabled, config.archive.max_bytes, config.archive.max_age) == (True, 50 * GIB, "30d")


def test_values_from_yaml() -> None:
    """Paths are texts there."""
    config = JournalConfig.model_validate({"directory": "/var/lib/driftmeter", "archive": {"enabled": False}})
    assert (config.directory, config.archive.enabled) == (Path("/var/lib/driftmeter"), False)


def test_mistakes_are_reported_at_once() -> None:
    """Each with its place; unknown keys too."""
    with pytest.raises(ValidationError) as refused:
        JournalConfig.model_validate(
            {
                "segment_bytes": 1,
                "segment_age": "soon",
                "archive": {"max_bytes": 0},
                "min_free_bytes": -1,
                "fsync": False,
            }
        )
    assert {error["loc"] for error in refused.value.errors()} == {
        ("segment_bytes",),
        ("segment_age",),
        ("archive", "max_bytes"),
        ("min_free_bytes",),
        ("fsync",),
    }
