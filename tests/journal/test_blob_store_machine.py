"""The blob store against a dictionary, through full disks, stops and restarts."""

import errno
from contextlib import suppress
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from driftmeter.errors import DamagedError, TransientError
from driftmeter.journal import blob_store
from driftmeter.journal.blob_store import BlobStore
from driftmeter.journal.snapshots import list_snapshots, read_newest, read_snapshot, snapshot_path, write_snapshot
from driftmeter.model.blobs import BlobRef
from driftmeter.model.bundle import Tree
from faulty_files import Fault, FaultyFiles, PowerFailure, dice

BLOBS = Path("/state/blobs")
SNAPSHOTS = Path("/state/snapshots")


def _files_in_snapshots(files: FaultyFiles) -> dict[int, list[int]]:
    """The files that each intact snapshot refers to, by its sequence."""
    intact: dict[int, list[int]] = {}
    for sequence in list_snapshots(files, SNAPSHOTS):
        with suppress(DamagedError):
            match read_snapshot(files, SNAPSHOTS, sequence):
                case {"files": list(numbers)}:
                    intact[sequence] = [number for number in numbers if isinstance(number, int)]
    return intact


def _kept(files: FaultyFiles) -> set[int]:
    """Files that any snapshot refers to."""
    return set().union(*_files_in_snapshots(files).values())


class BlobStoreMachine(RuleBasedStateMachine):
    """State is a dictionary from names to blobs; snapshots of it are kept as the service keeps them."""

    def __init__(self) -> None:
        super().__init__()
        self.files = FaultyFiles()
        self.store = BlobStore.open(self.files, BLOBS, ())
        self.refs: dict[str, BlobRef] = {}
        self.blobs: dict[str, bytes] = {}
        self.sequence = 0
        self.durable = 0
        self.damaged = False
        """The newest snapshot has been: only the one before it is promised to be whole, until there are two again."""
        self.at: dict[int, dict[str, bytes]] = {0: {}}
        """What state was at each snapshot that was begun."""
        self.patch = pytest.MonkeyPatch()

    @initialize(size=st.sampled_from([0, 200, 1000]))
    def limit(self, size: int) -> None:
        """Small files, so that there are many."""
        self.patch.setattr(blob_store, "FILE_BYTES_MAX", size)

    def _fail(self, later: int | None, error: int | None = errno.ENOSPC) -> None:
        """Let an operation fail, so many after the next, with half of it done, or the power; None: all succeed."""
        failing = -1 if later is None else len(self.files.operations) + later
        self.files.fault = lambda operation: Fault(error, 0.5) if operation.number == failing else None

    def teardown(self) -> None:
        """Files are as large as ever again."""
        self.patch.undo()

    @rule(name=st.sampled_from("abcdef"), blob=st.binary(max_size=150), fails=st.integers(0, 9))
    def put(self, name: str, blob: bytes, fails: int) -> None:
        """A blob takes the place of what had its name; on a full disk nothing changes."""
        self._fail(fails)
        try:
            ref = self.store.put([blob[:7], blob[7:]])
        except TransientError:
            return
        if name in self.refs:
            self.store.release(self.refs[name])
        self.refs[name], self.blobs[name] = ref, blob

    @rule(name=st.sampled_from("abcdef"))
    def release(self, name: str) -> None:
        """A blob is not needed any more."""
        if name in self.refs:
            self.store.release(self.refs.pop(name))
            del self.blobs[name]

    @rule(fails=st.integers(0, 9))
    def renew(self, fails: int) -> None:
        """All blobs move out of files that are mostly released, as far as there is room."""
        self._fail(fails)
        try:
            for name, ref in self.refs.items():
                self.refs[name] = self.store.renew(ref)
        except TransientError:
            return

    @rule(fails=st.integers(0, 4))
    def sync(self, fails: int) -> None:
        """Put everything on the disk, which may fail."""
        self._fail(fails)
        try:
            self.store.sync()
        except TransientError:
            return

    @rule(fails=st.integers(0, 25))
    def snapshot(self, fails: int) -> None:
        """A snapshot; when it fails, state goes on."""
        self._fail(fails)
        try:
            self._snapshot()
        except TransientError:
            return

    def _snapshot(self) -> None:
        self.sequence += 1
        self.at[self.sequence] = dict(self.blobs)
        references: Tree = {name: [*ref] for name, ref in self.refs.items()}
        tree: Tree = {"refs": references, "files": [*self.store.files_in_use()]}
        self.store.sync()
        write_snapshot(self.files, SNAPSHOTS, self.sequence, tree)
        self.durable, self.damaged = self.sequence, False
        self.store.retire(_kept(self.files))

    @precondition(lambda self: self.sequence < 50)
    @rule(seed=st.integers(0, 1 << 32), stop=st.none() | st.integers(0, 15), damage=st.booleans())
    def restart(self, seed: int, stop: int | None, *, damage: bool) -> None:
        """The machine stops, at times in the middle of a snapshot, and starts again, at times without the newest."""
        self._fail(None)
        if stop is not None:
            self._fail(stop, error=None)
            with suppress(PowerFailure, TransientError):
                self._snapshot()
        self.files = self.files.after_power_failure(dice(seed))
        *older, newest = [0, *_files_in_snapshots(self.files)]
        assert newest >= self.durable
        kept = _kept(self.files)
        if damage and len(older) > 1 and not self.damaged:
            self.damaged = True
            self.files.overwrite(snapshot_path(SNAPSHOTS, newest), b"")
            newest = older[-1]
        self.store = BlobStore.open(self.files, BLOBS, kept)
        self.refs = {}
        found = read_newest(self.files, SNAPSHOTS)
        assert (found[0] if found else 0) == newest
        if found:
            self.sequence = self.durable = found[0]
            match found[1]:
                case {"refs": dict(references)}:
                    for name, ref in references.items():
                        assert isinstance(ref, list)
                        self.refs[name] = BlobRef(*ref)
                        self.store.adopt(self.refs[name])
        self.blobs = dict(self.at[self.durable])
        assert self.refs.keys() == self.blobs.keys()

    @invariant()
    def all_can_be_read(self) -> None:
        """What state refers to is what was put, and the bytes counted are those of these blobs."""
        self._fail(None)
        assert {name: bytes(self.store.get(ref)) for name, ref in self.refs.items()} == self.blobs
        sizes = self.store.sizes().values()
        assert sum(size.live_bytes for size in sizes) == sum(
            24 + (len(each) + 7) // 8 * 8 for each in self.blobs.values()
        )
        assert all(size.released_bytes >= 8 for size in sizes)
        assert self.store.files_in_use() == sorted({ref.file for ref in self.refs.values()})


TestBlobStore = BlobStoreMachine.TestCase
TestBlobStore.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
