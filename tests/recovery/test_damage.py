"""State that is not as it was left: each kind of damage has its own outcome, and none is silent."""

from pathlib import Path

import pytest

from driftmeter.errors import DamagedError
from faulty_files import FaultyFiles
from restarting import Restarting
from traffic import BASELINES, CONFIG, Sent, requests_of
from watched_pipeline import START_NS


def send(it: Restarting, first: int, spans: int = 10) -> None:
    """A request."""
    it.take(*requests_of([Sent(first + number, "prices", "row", START_NS) for number in range(spans)]))


def content(files: FaultyFiles, *directories: str) -> dict[Path, bytes]:
    """All files in some directories."""
    return {path: files.content(path) for path in files._names if path.parts[-2] in directories}


def put_back(files: FaultyFiles, kept: dict[Path, bytes], *directories: str) -> None:
    """Have directories as they were."""
    for path in [path for path in files._names if path.parts[-2] in directories]:
        del files._names[path]
    for path, data in kept.items():
        if path.parts[-2] in directories:
            files.overwrite(path, data)


def grown(it: Restarting) -> dict[Path, bytes]:
    """Some snapshots and segments; returns how everything was after the first snapshot."""
    send(it, 0)
    it.tick(100)
    it.snapshot()
    early = content(it.files, "journal", "snapshots", "blobs")
    for number in range(1, 5):
        send(it, 100 * number)
        it.tick(100)
        it.snapshot()
    send(it, 500)
    return early


def test_an_old_snapshot_with_all_of_the_journal_is_as_good(tmp_path: Path) -> None:
    """More is done again, and the result is the same."""
    with Restarting({**CONFIG, "journal": {"min_free_bytes": 0}}, BASELINES, tmp_path) as it:
        early = grown(it)
        before = it.ledger()
        it.kill()
        put_back(it.files, early, "snapshots", "blobs")
        it.start()
        assert it.ledger() == before
        send(it, 500)
        assert (it.rows("counted"), it.rows("duplicate")) == (60, 10)


def test_an_old_snapshot_without_its_part_of_the_journal_stops_the_start(tmp_path: Path) -> None:
    """The message says which entries are missing; with `--accept-loss` their number is counted."""
    config = {**CONFIG, "journal": {"min_free_bytes": 0, "segment_bytes": 4096, "segment_age": "1s"}}
    with Restarting(config, BASELINES, tmp_path) as it:
        early = grown(it)
        it.kill()
        put_back(it.files, early, "snapshots", "blobs")
        with pytest.raises(DamagedError, match=r"the files with them are missing.*--accept-loss"):
            it.start()
        it.accept_loss = True
        it.start()
        assert it.telemetry.journal_lost_entries.value() > 0
        it.assert_ledger_holds()
        send(it, 900)
        it.assert_ledger_holds()


def test_an_old_journal_behind_a_new_snapshot_is_not_done_again(tmp_path: Path) -> None:
    """What the snapshot covers is in it; sequences go on behind it."""
    with Restarting({**CONFIG, "journal": {"min_free_bytes": 0}}, BASELINES, tmp_path) as it:
        early = grown(it)
        it.snapshot()
        before = it.ledger()
        it.kill()
        put_back(it.files, early, "journal")
        it.start()
        assert it.ledger() == before
        send(it, 700)
        it.restart()
        assert it.rows("counted") == 70


@pytest.mark.parametrize("what", ["snapshots", "blobs"])
def test_a_damaged_newest_snapshot_is_passed_over(tmp_path: Path, what: str) -> None:
    """The one before it and more of the journal give the same state; so does a damaged blob of it."""
    config = {**CONFIG, "window": {**CONFIG["window"], "allowed_lateness": "20m"}}
    with Restarting(config, BASELINES, tmp_path) as it:
        grown(it)
        before = it.ledger()
        it.kill()
        newest = max(path for path in it.files._names if path.parts[-2] == what)
        data = bytearray(it.files.content(newest))
        data[len(data) // 2] ^= 0x20
        it.files.overwrite(newest, bytes(data))
        it.start()
        assert it.ledger() == before
        it.assert_ledger_holds()


@pytest.mark.parametrize("how", ["flipped", "gone", "empty", "cut"])
def test_damage_in_the_middle_stops_the_start_unless_it_is_accepted(tmp_path: Path, how: str) -> None:
    """The file is named; with `--accept-loss` the service starts, counts what is gone, and can take it again."""
    with Restarting({**CONFIG, "journal": {"min_free_bytes": 0, "segment_bytes": 4096}}, BASELINES, tmp_path) as it:
        for number in range(8):
            send(it, 100 * number, spans=20)
        it.kill()
        segments = sorted(path for path in it.files._names if path.suffix == ".segment")
        assert len(segments) > 3
        hit = segments[1]
        data = it.files.content(hit)
        match how:
            case "flipped":
                it.files.overwrite(hit, data[:100] + bytes([data[100] ^ 1]) + data[101:])
            case "gone":
                it.files.remove(hit)
            case "empty":
                it.files.overwrite(hit, b"")
            case "cut":
                it.files.overwrite(hit, data[: len(data) // 2])
        named = segments[0] if how == "gone" else hit
        with pytest.raises(DamagedError, match=rf"{named.name}.*--accept-loss"):
            it.start()
        it.accept_loss = True
        it.start()
        lost = int(it.telemetry.journal_lost_entries.value())
        assert lost > 0
        assert it.rows("counted") == 160 - 20 * lost
        it.assert_ledger_holds()
        for number in range(8):
            send(it, 100 * number, spans=20)
        assert (it.rows("counted"), it.rows("duplicate")) == (160, 160 - 20 * lost)
        it.assert_ledger_holds()
        it.snapshot()
        it.restart()
        assert it.rows("counted") == 160


def test_a_torn_tail_is_cut_and_counted(tmp_path: Path) -> None:
    """No sender was told that it was taken: the start goes on without it."""
    with Restarting(CONFIG, BASELINES, tmp_path) as it:
        send(it, 0)
        send(it, 100)
        it.kill()
        (segment,) = (path for path in it.files._names if path.suffix == ".segment")
        it.files.overwrite(segment, it.files.content(segment)[:-30])
        it.start()
        assert it.rows("counted") == 10
        assert it.telemetry.journal_cut_bytes.value() > 0
        it.assert_ledger_holds()
