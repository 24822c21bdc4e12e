"""Where rows lie in the archive: directories as Hive names them, which polars, DuckDB and Spark read as columns.

    archive/model=flights/version=v3/stage=/date=2026-11-21/hour=15/<first>-<last>.parquet

Model, version and stage are percent-encoded, so that any name is one harmless directory; one that is too long for that
is cut and ends with `~` and a hash of the whole. Files are named after the segment's sequences.
"""

import hashlib
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, unquote

from driftmeter.journal.files import Files
from driftmeter.model.predictions import ModelKey

SUFFIX = ".parquet"
HOUR_NS = 3_600_000_000_000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ENCODED_MAX = 200
"""Characters of an encoded name; file systems take 255 bytes, of which some are `version=` and the hash."""
_HASH_DIGITS = 32
_NAME = re.compile(r"(\d{20})-(\d{20})\.parquet")
_LEVELS = (*(f"{name}=" for name in ModelKey._fields), "date=", "hour=")


class Hour(NamedTuple):
    """A directory of the archive: rows of one model, version and stage whose event time is in one hour.

    Attributes:
        key: The model; cut where its names are too long for a directory.
        hour: Hours since 1970, UTC.
        path: The directory.
    """

    key: ModelKey
    hour: int
    path: Path


def hour_path(archive: Path, key: ModelKey, hour: int) -> Path:
    """The directory for a model's rows of an hour, given in hours since 1970."""
    time = _EPOCH + timedelta(hours=hour)
    names = [f"{field}={encoded_name(value)}" for field, value in zip(key._fields, key, strict=True)]
    return archive.joinpath(*names, f"date={time:%Y-%m-%d}", f"hour={time:%H}")


def file_name(first: int, last: int) -> str:
    """Name of a file with rows of these sequences."""
    return f"{first:020}-{last:020}{SUFFIX}"


def first_of(name: str) -> int | None:
    """The first sequence of a file; None for a name that is none of the archive's."""
    match = _NAME.fullmatch(name)
    return int(match[1]) if match else None


def hours(files: Files, archive: Path) -> Iterator[Hour]:
    """All directories with rows, in no certain order. Raises OSError."""
    for names in _directories(files, archive, 0):
        model, version, stage = (unquote(name.partition("=")[2], errors="replace") for name in names[:3])
        hour = _hour(names[3].removeprefix("date="), names[4].removeprefix("hour="))
        if hour is not None:
            yield Hour(ModelKey(model, version, stage), hour, archive.joinpath(*names))


def _directories(files: Files, path: Path, level: int) -> Iterator[tuple[str, ...]]:
    if level == len(_LEVELS):
        yield ()
        return
    for name in _names(files, path):
        if name.startswith(_LEVELS[level]):
            for rest in _directories(files, path / name, level + 1):
                yield (name, *rest)


def _names(files: Files, path: Path) -> list[str]:
    try:
        return files.names(path)
    except NotADirectoryError:  # Somebody else's.
        return []


def _hour(date: str, hour: str) -> int | None:
    try:
        time = datetime.strptime(f"{date} {hour}", "%Y-%m-%d %H").replace(tzinfo=UTC)
    except ValueError:
        return None
    return (time - _EPOCH) // timedelta(hours=1)


def encoded_name(name: str) -> str:
    """Any name as one harmless name of a file or directory."""
    characters = [_quoted(character) for character in name]
    if sum(map(len, characters)) <= _ENCODED_MAX:
        return "".join(characters)
    lengths = accumulate(map(len, characters))
    whole = sum(length < _ENCODED_MAX - _HASH_DIGITS for length in lengths)  # Half a character cannot be decoded.
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH_DIGITS]
    return "".join([*characters[:whole], "~", digest])


def _quoted(character: str) -> str:
    # "~" stands before the hash of a name that was cut, and nowhere else.
    return "%7E" if character == "~" else quote(character, safe="", errors="surrogatepass")
