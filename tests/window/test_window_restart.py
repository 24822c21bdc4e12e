"""Windows and keys come back from the files of a real blob store."""

import errno
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from driftmeter.errors import TransientError
from driftmeter.journal import blob_store
from driftmeter.journal.blob_store import BlobStore
from driftmeter.journal.files import RealFiles
from driftmeter.model.bundle import Tree, pack, unpack
from driftmeter.model.predictions import Predictions
from driftmeter.window.config import WindowConfig
from driftmeter.window.horizon import KEY_PANE_NS
from driftmeter.window.seen import SeenSpans
from driftmeter.window.windows import ModelWindows
from faulty_files import Fault, FaultyFiles, Operation
from rows import ONE_COLUMN, predictions

CONFIG = WindowConfig(lengths=("5m", "1h"), clock="data", out_of_orderness="10s", allowed_lateness="24h")
PANES, SPANS = 4, 30_000


def batch_of(pane: int) -> Predictions:
    """All spans of one pane."""
    plain = predictions(np.full(SPANS, pane * KEY_PANE_NS), {"x": np.linspace(-1, 4, SPANS)})
    keys = pa.array(np.random.default_rng(pane).integers(0, 2**64, SPANS, np.uint64))
    return Predictions(plain.key, plain.rows.set_column(1, plain.rows.schema.field(1), keys))


def started(store: BlobStore, tree: Any = None) -> tuple[ModelWindows, SeenSpans]:
    """A model's windows and keys, as they were left."""
    windows = ModelWindows(ONE_COLUMN, CONFIG, store)
    seen = SeenSpans(store, windows.horizon)
    if tree is not None:
        windows.restore(tree["windows"])
        seen.restore(tree["seen"])
    return windows, seen


def test_everything_sent_again_after_restarts_is_known(tmp_path: Path) -> None:
    """A restart after each pane, then all of it again: duplicates, revisions of nothing, one late row counted once."""
    store = BlobStore.open(RealFiles(), tmp_path, ())
    windows, seen = started(store)
    evaluated = 0
    for pane in range(PANES):
        batch = batch_of(pane)
        assert seen.admit(batch).fresh is None
        late, due = windows.add(batch, 0)
        evaluated += len(due)
        assert late == 0
        while seen.retire(windows.watermark.value_ns):
            pass
        tree: Tree = {"windows": windows.state(), "seen": seen.state()}
        kept = store.files_in_use()
        store.sync()
        tree = unpack(memoryview(b"".join(pack(tree))))
        store.retire(set(kept))
        store = BlobStore.open(RealFiles(), tmp_path, kept)
        windows, seen = started(store, tree)
    assert evaluated == PANES - 2  # The watermark is 10 s behind the start of the last one.
    assert seen.keys == PANES * SPANS
    assert [seen.admit(batch_of(pane)).duplicates for pane in range(PANES)] == [SPANS] * PANES
    more = predictions([5], {"x": [1.5]})
    assert seen.admit(more).fresh is None
    windows.add(more, 0)
    due = windows.tick(0, revise=True)
    assert [(each.window.name, each.index, each.revision, int(each.counts.rows[0])) for each in due] == [
        ("5m", 0, 1, SPANS + 1)
    ]
    assert [(each.window.name, int(each.counts.rows[0])) for each in windows.drain(everything=True)] == [
        ("5m", SPANS),
        ("5m", SPANS),
        ("1h", PANES * SPANS + 1),
    ]


class _Full:
    """Room for some writes, then none."""

    def __init__(self, writes: int) -> None:
        self.left = writes

    def __call__(self, operation: Operation) -> Fault | None:
        """What happens to an operation."""
        self.left -= operation.name == "write"
        return Fault(errno.ENOSPC) if self.left < 0 else None


@pytest.mark.parametrize("writes", range(6))
def test_a_disk_that_fills_up_while_keys_are_moved_stops_one_snapshot(
    writes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some of an open pane's blobs have moved by then, others have not: the next snapshot has them all."""
    monkeypatch.setattr(blob_store, "FILE_BYTES_MAX", 1_000_000)
    files = FaultyFiles()
    store = BlobStore.open(files, Path("/state/blobs"), ())
    _, seen = started(store)
    other = store.put([bytes(400_000)])
    for first in (0, 10_000, 20_000):
        part = batch_of(0).keep(np.arange(SPANS) // 10_000 == first // 10_000)
        assert seen.admit(part).fresh is None
        seen.state()
    monkeypatch.setattr(blob_store, "FILE_BYTES_MAX", 0)
    store.put([b"in a file of its own"])
    store.release(other)

    files.fault = _Full(writes)
    with pytest.raises(TransientError):
        seen.state()
    files.fault = lambda _: None
    tree = {"windows": started(store)[0].state(), "seen": seen.state()}
    kept = store.files_in_use()
    store.sync()
    store.retire(kept)

    store = BlobStore.open(files, Path("/state/blobs"), kept)
    assert started(store, tree)[1].admit(batch_of(0)).duplicates == SPANS


def test_keys_and_counts_that_cannot_be_read_do_not_stop_snapshots(tmp_path: Path) -> None:
    """Damaged blobs in a file that is mostly released stay there: state is told, and other spans are known."""
    store = BlobStore.open(RealFiles(), tmp_path, ())
    windows, seen = started(store)
    other = store.put([bytes(1_000_000)])
    for pane in range(2):
        assert seen.admit(batch_of(pane)).fresh is None
        windows.add(batch_of(pane), 0)
    windows.add(batch_of(PANES), 0)
    while seen.retire(KEY_PANE_NS):
        pass
    tree: Any = {"windows": windows.state(), "seen": seen.state()}
    store.sync()
    store.release(other)
    (keys,), counts = (
        tree["seen"]["runs"]["blobs"].tolist(),
        tree["windows"]["by_time"]["windows"][0]["parts"]["blobs"].tolist(),
    )
    (path,) = tmp_path.iterdir()
    content = bytearray(path.read_bytes())
    for _, offset, _ in (keys, counts[0]):
        content[offset] ^= 1
    path.write_bytes(content)

    store = BlobStore.open(RealFiles(), tmp_path, (1,))
    windows, seen = started(store, tree)
    for _ in range(2):
        tree = {"windows": windows.state(), "seen": seen.state()}
    assert tree["seen"]["runs"]["blobs"].tolist() == [keys]
    assert tree["windows"]["by_time"]["windows"][0]["parts"]["blobs"].tolist()[0] == counts[0]
    assert seen.admit(batch_of(1)).duplicates == SPANS
