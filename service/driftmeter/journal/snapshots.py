"""Snapshots of state: each in a file of its own that is there whole or not at all.

A file is a magic of 8 bytes and then one frame, or several that are numbered from 1 where one is not enough, whose
payloads together are a bundle of `[sequence, state]`.
"""

import logging
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from driftmeter.errors import DamagedError, TransientError
from driftmeter.journal.files import Files
from driftmeter.journal.frames import frame_header, read_frame
from driftmeter.model.blobs import Buffer
from driftmeter.model.bundle import Tree, pack, unpack

SNAPSHOT_KIND = 64
"""Kind of the frames of a snapshot that more follow."""
LAST_SNAPSHOT_KIND = 65
"""Kind of a snapshot's last frame."""

_MAGIC = b"DRIFTS01"
_SUFFIX = ".snapshot"
_UNFINISHED_SUFFIX = ".unfinished"
_DIGITS = 20
_KEPT = 2
_FRAME_BYTES_MAX = 1 << 29
_LOG = logging.getLogger(__name__)


def write_snapshot(files: Files, directory: Path, sequence: int, tree: Tree) -> int:
    """Write a snapshot so that it is on the disk, then remove those that are not needed any more.

    Kept are this snapshot and the newest older one that can be read; so the journal is needed from the first of
    `list_snapshots` on. What the snapshot refers to must be on the disk before.

    Args:
        files: Where to write.
        directory: Of the snapshots; made when it is not there.
        sequence: Number of the newest entry that the state contains.
        tree: The state.

    Returns:
        The snapshot's size in bytes.

    Raises:
        TransientError: It could not be written; the snapshots that were there still are.
    """
    path = snapshot_path(directory, sequence)
    unfinished = path.with_name(path.name + _UNFINISHED_SUFFIX)
    made = [unfinished]
    try:
        if path.name not in _prepare(files, directory):
            made.append(path)
        size_bytes = _write(files, unfinished, pack([sequence, tree]))
        files.rename(unfinished, path)
        files.sync_directory(directory)
    except OSError as error:
        for each in made:
            with suppress(OSError):
                files.remove(each)
        raise TransientError(f"snapshot {path} cannot be written: {error}") from error
    _remove_old(files, directory, sequence)
    return size_bytes


def read_newest(files: Files, directory: Path, below: int | None = None) -> tuple[int, Tree] | None:
    """The newest snapshot that is intact: its sequence and its tree; None when there is none.

    Only those of earlier entries than `below` are looked at. Says of each newer one, in a warning, that it is damaged.
    Raises TransientError when a file cannot be read.
    """
    for sequence in reversed(list_snapshots(files, directory)):
        if below is not None and sequence >= below:
            continue
        try:
            return sequence, read_snapshot(files, directory, sequence)
        except DamagedError as error:
            _LOG.warning("%s; the one before it is used, with more of the journal", error)
    return None


def read_snapshot(files: Files, directory: Path, sequence: int) -> Tree:
    """The tree of one snapshot, whose arrays are views of its file.

    Raises DamagedError when it is not what was written, TransientError when its file cannot be read.
    """
    path = snapshot_path(directory, sequence)
    try:
        data = files.read(path)
    except FileNotFoundError as error:
        raise DamagedError(f"snapshot {path} is not there") from error
    except OSError as error:
        raise TransientError(f"snapshot {path} cannot be read: {error}") from error
    try:
        return _state(unpack(_payload(data)), sequence)
    except DamagedError as error:
        raise DamagedError(f"snapshot {path} is damaged: {error}") from error


def list_snapshots(files: Files, directory: Path) -> list[int]:
    """Sequences of the snapshots in a directory, ascending; damaged ones too. Raises TransientError."""
    try:
        names = files.names(directory)
    except OSError as error:
        raise TransientError(f"{directory} cannot be read: {error}") from error
    stems = [name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX)]
    return sorted(int(stem) for stem in stems if len(stem) == _DIGITS and stem.isdecimal())


def snapshot_path(directory: Path, sequence: int) -> Path:
    """Where the snapshot up to a sequence is."""
    return directory / f"{sequence:0{_DIGITS}}{_SUFFIX}"


def _prepare(files: Files, directory: Path) -> list[str]:
    """Make the directory lasting and remove what attempts that did not finish have left; returns the names there."""
    names = files.names(directory)
    if not names:
        files.make_directory(directory)
        files.sync_directory(directory.parent)
    for name in names:
        if name.endswith(_UNFINISHED_SUFFIX):
            files.remove(directory / name)
    return names


def _write(files: Files, path: Path, parts: list[Buffer]) -> int:
    size_bytes = len(_MAGIC)
    file = files.append(path, new=True)
    try:
        file.write([_MAGIC])
        chunks = list(_chunks(parts))
        for number, chunk in enumerate(chunks, 1):
            kind = LAST_SNAPSHOT_KIND if number == len(chunks) else SNAPSHOT_KIND
            frame = [frame_header(kind, number, chunk), *chunk]
            file.write(frame)
            size_bytes += sum(map(len, frame))
        file.sync()
    finally:
        file.close()
    return size_bytes


def _chunks(parts: list[Buffer]) -> Iterator[list[Buffer]]:
    """The parts, cut where a frame is full: nearly always into one chunk."""
    chunk: list[Buffer] = []
    left = _FRAME_BYTES_MAX
    for part in parts:
        rest = memoryview(part)
        while len(rest) > left:
            yield [*chunk, rest[:left]]
            chunk, rest, left = [], rest[left:], _FRAME_BYTES_MAX
        chunk.append(rest)
        left -= len(rest)
    yield chunk


def _state(tree: Tree, sequence: int) -> Tree:
    match tree:
        case [int(written), state] if written == sequence:
            return state
    raise DamagedError("it is not the one that its name says")


def _payload(data: memoryview) -> memoryview:
    """The bundle in a snapshot's file: a view when it is in one frame."""
    if data[: len(_MAGIC)] != _MAGIC:
        raise DamagedError("it does not begin as a snapshot does")
    payloads: list[memoryview] = []
    kind, at = SNAPSHOT_KIND, len(_MAGIC)
    while kind == SNAPSHOT_KIND:
        frame = read_frame(data, at)
        if isinstance(frame, str):
            raise DamagedError(f"at byte {at}: {frame}")
        payloads.append(frame.payload)
        kind, at = frame.kind, frame.end
        if frame.sequence != len(payloads) or kind not in (SNAPSHOT_KIND, LAST_SNAPSHOT_KIND):
            raise DamagedError(f"the frame at byte {frame.offset} belongs elsewhere")
    if at != len(data):
        raise DamagedError(f"something follows its end at byte {at}")
    return payloads[0] if len(payloads) == 1 else memoryview(b"".join(payloads))


def _remove_old(files: Files, directory: Path, newest: int) -> None:
    """Remove what is older than the newest snapshots kept. Failing to is no failure: the next snapshot tries again."""
    kept = [newest]
    try:
        for sequence in reversed(list_snapshots(files, directory)):
            if sequence in kept:
                continue
            if sequence < newest and len(kept) < _KEPT and _is_intact(files, directory, sequence):
                kept.append(sequence)
            else:
                files.remove(snapshot_path(directory, sequence))
    except (OSError, TransientError) as error:
        _LOG.warning("an old snapshot in %s cannot be removed: %s", directory, error)


def _is_intact(files: Files, directory: Path, sequence: int) -> bool:
    try:
        _payload(files.read(snapshot_path(directory, sequence)))
    except DamagedError:
        return False
    return True
