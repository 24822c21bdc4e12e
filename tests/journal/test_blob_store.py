"""Blobs on disk: what a kept snapshot refers to can be read, whatever happened since."""

import errno
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from driftmeter.errors import DamagedError, TransientError
from driftmeter.journal import blob_store
from driftmeter.journal.blob_store import BlobFileSize, BlobStore
from driftmeter.journal.files import RealFiles
from driftmeter.model.blobs import BlobRef, Blobs
from faulty_files import Fault, FaultyFiles, dice

FILES = RealFiles()
DIRECTORY = Path("/state/blobs")


def _fail(files: FaultyFiles, numbers: Collection[int], done: float = 0.5) -> None:
    """These operations fail from now on, as on a full disk, and no others."""
    files.fault = lambda operation: Fault(errno.ENOSPC, done) if operation.number in numbers else None


def _next(files: FaultyFiles, later: int = 0) -> int:
    """The number of the next operation, or of one later than that."""
    return len(files.operations) + later


def _open(directory: Path, kept: tuple[int, ...] = ()) -> BlobStore:
    return BlobStore.open(FILES, directory, kept)


def _path(directory: Path, number: int) -> Path:
    return directory / f"{number:010}.blobs"


def test_blobs_come_back(tmp_path: Path) -> None:
    """What was put is read, in one piece, before and after it is on the disk, empty blobs too."""
    store: Blobs = _open(tmp_path / "blobs")

    refs = [store.put([b"abc", memoryview(b"defgh"), bytearray(b"i")]), store.put([]), store.put([b"x" * 100_000])]

    assert [bytes(store.get(ref)) for ref in refs] == [b"abcdefghi", b"", b"x" * 100_000]
    assert [ref.size_bytes for ref in refs] == [9, 0, 100_000]
    assert store.renew(refs[0]) == refs[0]


def test_blobs_are_read_only_and_aligned(tmp_path: Path) -> None:
    """Arrays can be views of a blob: it lies at a multiple of 8 bytes and cannot be written to."""
    store = _open(tmp_path)
    store.put([b"a"])

    blob = store.get(store.put([np.arange(5.0).view(np.uint8).data]))

    assert blob.readonly
    assert np.frombuffer(blob).flags.aligned
    assert np.frombuffer(blob).tolist() == [0, 1, 2, 3, 4]


def test_nothing_is_on_disk_before_the_first_blob(tmp_path: Path) -> None:
    """A store that is not used leaves no file and can be synced."""
    store = _open(tmp_path / "blobs")
    store.sync()
    store.close()

    assert list(tmp_path.iterdir()) == []


def test_blobs_survive_a_restart(tmp_path: Path) -> None:
    """A store that is opened again reads what state refers to, and writes to a new file."""
    store = _open(tmp_path)
    kept, released = store.put([b"kept"]), store.put([b"released"])
    store.release(released)
    store.sync()
    files = store.files_in_use()
    store.close()

    again = _open(tmp_path, tuple(files))
    again.adopt(kept)

    assert files == [1]
    assert bytes(again.get(kept)) == b"kept"
    assert again.sizes() == {1: BlobFileSize(32, 8 + 32)}
    assert again.put([b"new"]).file == 2
    assert again.files_in_use() == [1, 2]


def test_files_that_no_snapshot_refers_to_go_at_start(tmp_path: Path) -> None:
    """Their numbers are not used again, and other files are left alone."""
    store = _open(tmp_path)
    store.put([b"lost with the state that referred to it"])
    store.close()
    (tmp_path / "1.blobs").write_bytes(b"")

    again = _open(tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["1.blobs"]
    assert again.put([b""]).file == 2


def test_files_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that would grow beyond the limit is left for a new one; a larger blob has a file of its own."""
    monkeypatch.setattr(blob_store, "FILE_BYTES_MAX", 200)
    store = _open(tmp_path)

    refs = [store.put([bytes([number]) * size]) for number, size in enumerate((100, 40, 100, 500, 8))]
    store.sync()

    assert [ref.file for ref in refs] == [1, 1, 2, 3, 4]
    assert [bytes(store.get(ref)) for ref in refs] == [
        bytes([number]) * size for number, size in enumerate((100, 40, 100, 500, 8))
    ]


def test_blobs_move_out_of_files_that_are_mostly_released(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Renewing moves them once more than half is released, but not out of the file that is being written."""
    monkeypatch.setattr(blob_store, "FILE_BYTES_MAX", 500)
    store = _open(tmp_path)
    refs = [store.put([bytes([number]) * 100]) for number in range(5)]
    assert {ref.file for ref in refs[:3]} == {1}

    for released in (0, 2):
        store.release(refs[released])
        moved = store.renew(refs[1])
        assert (moved == refs[1]) == (released == 0)

    assert moved.file == 2
    assert bytes(store.get(moved)) == bytes([1]) * 100
    assert store.files_in_use() == [2]
    assert store.sizes()[1].live_bytes == 0


def test_a_damaged_blob_is_not_moved(tmp_path: Path) -> None:
    """Renewing leaves it where it is, and moves others out of the same file; reading it says that it is damaged."""
    store = _open(tmp_path)
    refs = [store.put([bytes([number]) * 100]) for number in range(5)]
    store.sync()
    store.close()
    path = _path(tmp_path, 1)
    written = bytearray(path.read_bytes())
    written[refs[0].offset] ^= 1
    path.write_bytes(written)
    again = _open(tmp_path, (1,))
    for ref in refs[:2]:
        again.adopt(ref)

    renewed = [again.renew(ref) for ref in refs[:2]]

    assert renewed[0] == refs[0]
    assert renewed[1].file == 2
    with pytest.raises(DamagedError):
        again.get(renewed[0])


def test_unused_files_go_when_no_snapshot_refers_to_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file stays while present state or a kept snapshot refers to it; a view that was read outlives it."""
    monkeypatch.setattr(blob_store, "FILE_BYTES_MAX", 0)
    store = _open(tmp_path)
    refs = [store.put([bytes([number])]) for number in range(4)]
    view = store.get(refs[0])
    store.release(refs[0])
    store.release(refs[1])
    store.release(refs[3])

    store.retire({2})

    assert sorted(path.name for path in tmp_path.iterdir()) == [_path(tmp_path, each).name for each in (2, 3, 4)]
    assert bytes(view) == b"\0"
    with pytest.raises(DamagedError, match="not there"):
        store.get(refs[0])


def test_a_damaged_blob_is_noticed(tmp_path: Path) -> None:
    """Each changed byte of a blob and its header makes reading it fail, naming the file; others can be read."""
    store = _open(tmp_path)
    good, ref = store.put([b"good"]), store.put([b"12345678"])
    store.sync()
    store.close()
    path = _path(tmp_path, 1)
    written = path.read_bytes()
    for place in range(ref.offset - 24, ref.offset + 8):
        path.write_bytes(written[:place] + bytes([written[place] ^ 4]) + written[place + 1 :])
        again = _open(tmp_path, (1,))
        with pytest.raises(DamagedError, match=path.name):
            again.get(ref)
        assert bytes(again.get(good)) == b"good"


@pytest.mark.parametrize("left", [0, 7, 8, 40, 63])
def test_a_cut_off_file_is_noticed(tmp_path: Path, left: int) -> None:
    """What is missing at the end of a file, all of it too, is noticed when state refers to it or reads it."""
    store = _open(tmp_path)
    ref = store.put([b"x" * 31])
    store.close()
    path = _path(tmp_path, 1)
    assert path.stat().st_size == 64
    path.write_bytes(path.read_bytes()[:left])
    again = _open(tmp_path, (1,))

    def look() -> None:
        again.adopt(ref)
        again.get(ref)

    with pytest.raises(DamagedError, match=path.name):
        look()


def test_a_missing_file_is_noticed(tmp_path: Path) -> None:
    """State that refers to a file that is gone cannot be restored."""
    with pytest.raises(DamagedError, match="not there"):
        _open(tmp_path, (3,)).adopt(BlobRef(3, 32, 1))


@pytest.mark.parametrize(("offset", "size_bytes"), [(-8, 8), (0, 8), (8, 8), (33, 2), (32, -1), (32, 9), (1 << 70, 0)])
def test_references_to_nowhere_are_refused(tmp_path: Path, offset: int, size_bytes: int) -> None:
    """A reference that cannot be one of this file's is damage."""
    store = _open(tmp_path)
    store.put([b"12345678"])

    with pytest.raises(DamagedError):
        store.adopt(BlobRef(1, offset, size_bytes))


def test_a_reference_must_fit_its_blob(tmp_path: Path) -> None:
    """A reference into the middle of a blob, or with another size, reads nothing."""
    store = _open(tmp_path)
    ref = store.put([b"x" * 80])

    for wrong in (ref._replace(offset=ref.offset + 24, size_bytes=8), ref._replace(size_bytes=8)):
        with pytest.raises(DamagedError):
            store.get(wrong)


def test_a_full_disk_changes_nothing() -> None:
    """A put that fails raises TransientError; what was there can be read, what comes later too."""
    files = FaultyFiles()
    store = BlobStore.open(files, DIRECTORY, ())
    _fail(files, range(1000), done=0)
    with pytest.raises(TransientError):
        store.put([b"never"])
    _fail(files, ())
    first = store.put([b"first"])
    before = store.sizes()
    _fail(files, {_next(files)})
    with pytest.raises(TransientError, match="No space left"):
        store.put([b"x" * 1000])

    assert store.sizes() == before
    second = store.put([b"second"])
    assert (bytes(store.get(first)), bytes(store.get(second))) == (b"first", b"second")
    assert second.file == first.file
    store.sync()


def test_a_file_that_cannot_be_cut_is_left() -> None:
    """When what a failed put has left cannot be removed, the next blob goes to a new file and all can be read."""
    files = FaultyFiles()
    store = BlobStore.open(files, DIRECTORY, ())
    first = store.put([b"first"])
    _fail(files, range(1000), done=0)
    with pytest.raises(TransientError):
        store.put([b"x" * 1000])
    _fail(files, ())

    second = store.put([b"second"])
    store.sync()

    assert second.file > first.file
    assert (bytes(store.get(first)), bytes(store.get(second))) == (b"first", b"second")


def test_a_failed_sync_is_not_forgotten() -> None:
    """After it no sync succeeds until what it was about is in another file: the system will not say again."""
    files = FaultyFiles()
    store = BlobStore.open(files, DIRECTORY, ())
    ref = store.put([b"in doubt"])
    _fail(files, {_next(files)})
    for _ in range(2):
        with pytest.raises(TransientError, match="disk"):
            store.sync()

    renewed = store.renew(ref)
    store.sync()

    assert renewed.file != ref.file
    assert bytes(store.get(renewed)) == b"in doubt"
    store.retire(store.files_in_use())
    assert store.files_in_use() == [renewed.file]
    assert len(files.names(DIRECTORY)) == 1


class _Interrupted(dict[int, Any]):
    """Known files; something else happens where another thread may come in between, once."""

    before_list: Callable[[], object] | None = None
    after_list: Callable[[], object] | None = None
    after_new: Callable[[], object] | None = None

    def items(self) -> Any:
        """All of them, as a list is made of them."""
        self._happen("before_list")
        found = list(super().items())
        self._happen("after_list")
        return found

    def __setitem__(self, number: int, file: Any) -> None:
        super().__setitem__(number, file)
        self._happen("after_new")

    def _happen(self, when: str) -> None:
        happens = getattr(self, when)
        if happens is not None:
            setattr(self, when, None)
            happens()


@pytest.mark.parametrize("when", ["before_list", "after_list", "after_new"])
def test_a_sync_beside_puts_does_not_close_the_file_begun_meanwhile(when: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whenever another file is begun during a sync it stays open: blobs go into it, and the next sync has them."""
    files = FaultyFiles()
    store = BlobStore.open(files, DIRECTORY, ())
    first = store.put([b"first"])
    monkeypatch.setattr(blob_store, "FILE_BYTES_MAX", 0)
    known = store._known = _Interrupted(store._known)
    refs: list[BlobRef] = []

    def begin() -> None:
        refs.append(store.put([b"second"]))
        monkeypatch.setattr(blob_store, "FILE_BYTES_MAX", 10_000)

    if when == "after_new":
        known.after_new = store.sync
        begin()
    else:
        setattr(known, when, begin)
        store.sync()
    refs.append(store.put([b"third"]))
    store.sync()

    assert [ref.file for ref in refs] == [2, 2]
    assert [number for number, file in known.items() if file.writing is not None] == [2]
    left = files.after_power_failure(dice(0))
    again = BlobStore.open(left, DIRECTORY, (1, 2))
    assert [bytes(again.get(ref)) for ref in (first, *refs)] == [b"first", b"second", b"third"]


def test_a_failed_sync_of_names_is_tried_again() -> None:
    """Names that could not be put on the disk are with the next sync."""
    files = FaultyFiles()
    store = BlobStore.open(files, DIRECTORY, ())
    store.put([b"a"])
    _fail(files, {_next(files, 1)})
    with pytest.raises(TransientError):
        store.sync()
    done = len(files.operations)
    store.sync()

    assert len(files.operations) == done + 3


def test_a_file_that_cannot_be_removed_stays(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Not being able to remove a file is no failure but a warning; it goes next time."""
    monkeypatch.setattr(blob_store, "FILE_BYTES_MAX", 0)
    files = FaultyFiles()
    store = BlobStore.open(files, DIRECTORY, ())
    store.release(store.put([b"a"]))
    store.put([b"b"])
    store.sync()

    for number, names in enumerate((2, 1)):
        _fail(files, {_next(files)} if number == 0 else (), done=0)
        store.retire(())
        assert len(files.names(DIRECTORY)) == names

    assert [record.levelname for record in caplog.records] == ["WARNING"]
