"""Snapshots: there whole or not at all; a damaged one costs nothing but a longer replay."""

import errno
from pathlib import Path

import numpy as np
import pytest

from driftmeter.errors import DamagedError, TransientError
from driftmeter.journal import snapshots
from driftmeter.journal.files import RealFiles
from driftmeter.journal.snapshots import list_snapshots, read_newest, read_snapshot, snapshot_path, write_snapshot
from driftmeter.model.bundle import Tree
from faulty_files import Fault, FaultyFiles, PowerFailure, dice
from trees import same

FILES = RealFiles()
DIRECTORY = Path("/state/snapshots")


def _state(number: int) -> Tree:
    return {"number": number, "counts": np.arange(number, number + 100)}


def _let_fail(files: FaultyFiles, number: int, fault: Fault | None) -> None:
    """What happens to the operation of this number."""
    files.fault = lambda operation: fault if operation.number == number else None


def _names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_a_snapshot_comes_back(tmp_path: Path) -> None:
    """The newest one is read, with its sequence; none when there is none."""
    directory = tmp_path / "snapshots"
    assert read_newest(FILES, directory) is None

    size_bytes = write_snapshot(FILES, directory, 7, _state(7))
    found = read_newest(FILES, directory)

    assert found is not None
    assert found[0] == 7
    assert same(found[1], _state(7))
    assert size_bytes == snapshot_path(directory, 7).stat().st_size


def test_a_snapshot_of_nothing(tmp_path: Path) -> None:
    """State before the first entry can be kept too."""
    write_snapshot(FILES, tmp_path, 0, None)

    assert read_newest(FILES, tmp_path) == (0, None)


def test_two_are_kept(tmp_path: Path) -> None:
    """Older ones than the last two go."""
    for sequence in (1, 2, 30, 400):
        write_snapshot(FILES, tmp_path, sequence, _state(sequence))

    assert list_snapshots(FILES, tmp_path) == [30, 400]
    assert _names(tmp_path) == ["00000000000000000030.snapshot", "00000000000000000400.snapshot"]


def test_a_snapshot_can_be_written_again(tmp_path: Path) -> None:
    """A second snapshot of the same sequence takes the first one's place."""
    write_snapshot(FILES, tmp_path, 3, _state(1))
    write_snapshot(FILES, tmp_path, 3, _state(2))

    assert same(read_snapshot(FILES, tmp_path, 3), _state(2))


def test_a_snapshot_in_several_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """State larger than a frame comes back as well."""
    monkeypatch.setattr(snapshots, "_FRAME_BYTES_MAX", 100)
    tree: Tree = {"a": np.arange(1000.0), "b": b"x" * 333}

    write_snapshot(FILES, tmp_path, 1, tree)

    assert same(read_snapshot(FILES, tmp_path, 1), tree)


def test_any_damaged_byte_is_noticed(tmp_path: Path) -> None:
    """Whichever byte of a snapshot is changed, it is not read."""
    write_snapshot(FILES, tmp_path, 1, {"a": [1, 2, 3]})
    path = snapshot_path(tmp_path, 1)
    good = path.read_bytes()
    for place in range(len(good)):
        path.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        with pytest.raises(DamagedError, match=path.name):
            read_snapshot(FILES, tmp_path, 1)


@pytest.mark.parametrize("damage", ["empty", "half-written", "flipped", "longer", "another"])
def test_a_damaged_snapshot_is_passed_over(tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    """The one before it is read, and a warning names the damaged one."""
    write_snapshot(FILES, tmp_path, 1, _state(1))
    write_snapshot(FILES, tmp_path, 2, _state(2))
    path = snapshot_path(tmp_path, 2)
    good = path.read_bytes()
    bad = {
        "empty": b"",
        "half-written": good[: len(good) // 2],
        "flipped": good[:-1] + b"\xff",
        "longer": good + good,
        "another": snapshot_path(tmp_path, 1).read_bytes(),
    }
    path.write_bytes(bad[damage])

    found = read_newest(FILES, tmp_path)

    assert found is not None
    assert found[0] == 1
    assert same(found[1], _state(1))
    assert [path.name in record.message for record in caplog.records] == [True]


def test_a_stale_snapshot_does_not_come_back(tmp_path: Path) -> None:
    """A copy of an old snapshot under a newer name is damage, not state."""
    write_snapshot(FILES, tmp_path, 1, _state(1))
    snapshot_path(tmp_path, 9).write_bytes(snapshot_path(tmp_path, 1).read_bytes())

    with pytest.raises(DamagedError, match="not the one"):
        read_snapshot(FILES, tmp_path, 9)


def test_what_is_missing_or_foreign(tmp_path: Path) -> None:
    """A snapshot that is not there is damage; files with other names are none."""
    (tmp_path / "1.snapshot").write_bytes(b"")
    (tmp_path / "00000000000000000001.segment").write_bytes(b"")

    assert list_snapshots(FILES, tmp_path) == []
    with pytest.raises(DamagedError, match="not there"):
        read_snapshot(FILES, tmp_path, 1)


def test_damaged_ones_are_not_among_the_two_kept(tmp_path: Path) -> None:
    """After a snapshot was damaged, the intact one before it is kept until there are two intact ones again."""
    for sequence in (1, 2):
        write_snapshot(FILES, tmp_path, sequence, _state(sequence))
    snapshot_path(tmp_path, 2).write_bytes(b"")

    write_snapshot(FILES, tmp_path, 3, _state(3))

    assert list_snapshots(FILES, tmp_path) == [1, 3]


def test_what_is_newer_and_damaged_goes(tmp_path: Path) -> None:
    """State that began from an older snapshot removes a damaged newer one with its first own."""
    for sequence in (1, 5):
        write_snapshot(FILES, tmp_path, sequence, _state(sequence))
    snapshot_path(tmp_path, 5).write_bytes(b"")

    write_snapshot(FILES, tmp_path, 4, _state(4))

    assert list_snapshots(FILES, tmp_path) == [1, 4]


def test_what_an_attempt_left_is_removed(tmp_path: Path) -> None:
    """A file that a crash left unfinished goes with the next snapshot, even one of the same sequence."""
    (tmp_path / "00000000000000000001.snapshot.unfinished").write_bytes(b"half")

    write_snapshot(FILES, tmp_path, 1, _state(1))

    assert _names(tmp_path) == ["00000000000000000001.snapshot"]


@pytest.mark.parametrize("done", [0.0, 0.5, 1.0])
def test_every_failure_changes_nothing(done: float) -> None:
    """Whichever operation fails, TransientError is raised, the last snapshot is still there and the next succeeds."""
    failures = 0
    reached = True
    while reached:
        files = FaultyFiles()
        write_snapshot(files, DIRECTORY, 1, _state(1))
        write_snapshot(files, DIRECTORY, 2, _state(2))
        failing = len(files.operations) + failures
        _let_fail(files, failing, Fault(errno.ENOSPC, done))
        try:
            write_snapshot(files, DIRECTORY, 3, _state(3))
        except TransientError:
            assert list_snapshots(files, DIRECTORY) == [1, 2]
        reached = len(files.operations) > failing
        _let_fail(files, -1, None)
        write_snapshot(files, DIRECTORY, 4, _state(4))
        found = read_newest(files, DIRECTORY)
        assert found is not None
        assert same(found[1], _state(4))
        assert len(list_snapshots(files, DIRECTORY)) == 2
        failures += 1

    assert failures > 5


@pytest.mark.parametrize("seed", range(20))
def test_wherever_the_power_fails(seed: int) -> None:
    """The newest snapshot then is the last that was written or the one at work, and the one before is there too."""
    for stop in range(1, 40):
        files, written = FaultyFiles(), 0
        _let_fail(files, stop, Fault(None, (seed % 3) / 2))
        try:
            for sequence in range(1, 5):
                write_snapshot(files, DIRECTORY, sequence, _state(sequence))
                written = sequence
        except PowerFailure:
            pass
        left = files.after_power_failure(dice(seed))
        found = read_newest(left, DIRECTORY)
        sequence, tree = found or (0, None)

        assert sequence in (written, written + 1)
        assert sequence == 0 or same(tree, _state(sequence))
        assert written < 2 or same(read_snapshot(left, DIRECTORY, written), _state(written))
        assert sequence < 2 or same(read_snapshot(left, DIRECTORY, sequence - 1), _state(sequence - 1))
        write_snapshot(left, DIRECTORY, 9, _state(9))
        assert list_snapshots(left, DIRECTORY)[-1] == 9
