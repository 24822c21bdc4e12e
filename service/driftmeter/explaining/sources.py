"""What `driftmeter explain` was given on its command line: which rows, which baseline, which time."""

from datetime import datetime
from pathlib import Path

import numpy as np

from driftmeter.archived import archived_reference
from driftmeter.baseline.book import read_book
from driftmeter.baseline.data import ColumnOptions
from driftmeter.baseline.file import read_baseline
from driftmeter.baseline.files import read_dataset
from driftmeter.config import Config
from driftmeter.errors import ConfigError
from driftmeter.explaining.rows import TimedRows
from driftmeter.journal.archive_layout import HOUR_NS, hours
from driftmeter.journal.files import RealFiles
from driftmeter.model.baseline import Baseline
from driftmeter.model.predictions import ModelKey
from driftmeter.model.windows import instant_ns
from driftmeter.window.batch import event_times_ns

_YEARS = range(1678, 2262)  # What nanoseconds in 64 bits reach.
_MINUTE_NS = 60 * 10**9


def asked_time_ns(text: str) -> int | None:
    """Nanoseconds of an ISO 8601 time, UTC unless it says otherwise; None of `latest`. Raises ConfigError."""
    if text == "latest":
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = None
    if time is None or time.year not in _YEARS:
        raise ConfigError(f"--window {text!r}: write a time such as 2025-03-01T14:00, in UTC, or latest")
    return instant_ns(time)


def file_rows(path: Path, options: ColumnOptions, key: ModelKey) -> TimedRows:
    """Rows of a file, taken for those of a model; raises BaselineError, and ConfigError when they have no times."""
    if options.timestamp is None:
        raise ConfigError(f"{path}: windows by time need times: name their column with --timestamp")
    rows = read_dataset(path, options)
    minutes = [np.unique(event_times_ns(batch) // _MINUTE_NS) for batch in rows.batches([], times=True)]
    return TimedRows(key, str(path), _MINUTE_NS, np.unique(np.concatenate(minutes)), lambda _start, _end: rows)


def archived_rows(directory: Path, model: str, version: str | None, stage: str | None) -> TimedRows:
    """Rows of a model out of a state directory.

    Raises:
        ConfigError: There are none, or of several versions or stages.
    """
    archive = directory / "archive"
    try:
        there = list(hours(RealFiles(), archive))
    except OSError as error:
        raise ConfigError(f"{archive}: cannot be read: {error.strerror or error}") from error
    found = [each for each in there if _is_meant(each.key, model, version, stage)]
    keys = sorted({each.key for each in found})
    said = _words(ModelKey(model, version or "", stage or ""))
    if len(keys) > 1:
        choices = "; ".join(map(_words, keys))
        raise ConfigError(f"{archive}: several fit {said}: {choices}: say which with --version and --stage")
    if not keys:
        others = "; ".join(_words(key) for key in sorted({each.key for each in there}))
        raise ConfigError(
            f"{archive}: no rows of {said} in it; it has {others or 'no rows at all'}. Rows come into the archive when "
            "their journal file is full or old (journal.segment_age) and a snapshot was written"
        )
    (key,) = keys
    units = np.unique(np.array([each.hour for each in found], np.int64))
    return TimedRows(
        key, str(archive), HOUR_NS, units, lambda start, end: archived_reference(archive, *key, start, end)
    )


def configured_rows(config: Config, model: str, version: str | None, stage: str | None) -> TimedRows:
    """Rows of a model out of the configured state directory; raises ConfigError."""
    directory = config.journal.directory
    if directory is None or not config.journal.archive.enabled:
        raise ConfigError(
            "the configuration keeps no archive (journal.directory, journal.archive.enabled): name a file with --data"
        )
    return archived_rows(directory, model, version, stage)


def choose_baseline(path: Path | None, config: Config, key: ModelKey) -> Baseline:
    """The file given, else the model's among the configured ones; raises ConfigError when there is none."""
    if path is not None:
        return read_baseline(path)
    found = read_book(config.baseline.files).find(key.model, key.version)
    if found is None:
        files = ", ".join(config.baseline.files) or "none"
        raise ConfigError(
            f"no baseline for model {key.model!r}, version {key.version!r} among baseline.files ({files}): name its "
            "file with --baseline, or make one with driftmeter baseline build"
        )
    return found


def _is_meant(key: ModelKey, model: str, version: str | None, stage: str | None) -> bool:
    return key.model == model and version in (None, key.version) and stage in (None, key.stage)


def _words(key: ModelKey) -> str:
    version, stage = key.version and f", version {key.version!r}", key.stage and f", stage {key.stage!r}"
    return f"model {key.model!r}{version}{stage}"
