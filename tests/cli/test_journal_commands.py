"""`driftmeter journal`: what is there, whether it is whole, and what to do with what could not be digested."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from archive_samples import Sample, rows_entry
from commands import Run, runner
from driftmeter.journal.entries import BatchEntry, Entry, LearnedEntry, QuarantinedEntry, TickEntry, encode
from driftmeter.journal.files import RealFiles
from driftmeter.journal.lock import DirectoryLock
from driftmeter.journal.log import Log
from driftmeter.journal.quarantine import DiskQuarantine
from driftmeter.journal.snapshots import snapshot_path, write_snapshot
from driftmeter.model.predictions import ModelKey
from driftmeter.model.request import Request, Signal
from rows import HOUR_NS, predictions
from service_process import driftmeter

KEY = ModelKey("flights", "v3", "canary")
NUMBER = predictions([10 * HOUR_NS, 11 * HOUR_NS], {"x": [1.25, None], "carrier": ["AA", "UA"]}, key=KEY)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """`driftmeter journal` with these arguments, in this process."""
    return runner(monkeypatch, capsys, "journal")


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state directory: entries 1 to 3 behind a snapshot and in the archive, entries 4 to 7 not, two in quarantine."""
    directory = tmp_path / "state"
    files = RealFiles()
    DirectoryLock.take(directory).release()
    log = Log.open(directory / "journal", files=files)
    entries: list[Entry] = [rows_entry(NUMBER), TickEntry(1, revise=True), rows_entry(NUMBER)]
    for entry in entries:
        log.append(*encode(entry))
    log.commit()
    log.rotate()
    for late in (
        rows_entry(NUMBER, NUMBER),
        TickEntry(5, revise=False),
        LearnedEntry(KEY, 9, 5),
        QuarantinedEntry(4, 1, 2),
    ):
        log.append(*encode(late))
    log.commit()
    Sample(files, directory).archive.add(log.segments()[0])
    blob = directory / "blobs" / "0000000001.blobs"
    blob.parent.mkdir()
    blob.write_bytes(b"DRIFTB01")
    for sequence in (1, 3):
        write_snapshot(files, directory / "snapshots", sequence, {"state": {}, "blob_files": [1]})
    quarantine = DiskQuarantine(files, directory / "quarantine", 1 << 20)
    quarantine.keep(Request(Signal.LOGS, b"\x0a\xff"), 3, ValueError("no idea"), HOUR_NS)
    quarantine.keep(BatchEntry(NUMBER, 2, 0, 0), 2, KeyError("x"), HOUR_NS)
    return directory


def files_of(directory: Path) -> dict[str, bytes]:
    """All files and what is in them."""
    return {str(path): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def damage(path: Path) -> None:
    """One byte in the middle is another."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def test_verify_finds_nothing_in_what_is_whole(run: Run, state: Path) -> None:
    """Exit code 0 and a line for each kind of file; nothing is changed by looking."""
    before = files_of(state)
    ran = run("verify", "--directory", state)
    assert ran.code == 0, ran.out
    assert "All is as it was written." in ran.out
    for kind in ("journal", "snapshot", "blobs", "archive", "quarantine"):
        assert kind in ran.out
    assert files_of(state) == before


@pytest.mark.parametrize(
    "pattern",
    [
        "journal/00000000000000000001.segment",
        "snapshots/00000000000000000003.snapshot",
        "quarantine/0000000001.quarantined",
        "quarantine/0000000002.quarantined",
    ],
)
def test_verify_names_what_is_damaged(run: Run, state: Path, pattern: str) -> None:
    """A flipped byte anywhere: exit code 1, the file, and what to do."""
    damage(state / pattern)
    ran = run("verify", "--directory", state)
    assert ran.code == 1
    assert Path(pattern).stem in ran.out.replace("\n", "")
    assert "What to do" in ran.out
    assert "--accept-loss" in ran.out


def test_verify_finds_damaged_archive_files(run: Run, state: Path) -> None:
    """A Parquet file whose end is missing."""
    path = next((state / "archive").rglob("*.parquet"))
    path.write_bytes(path.read_bytes()[:-1])
    ran = run("verify", "--directory", state)
    assert (ran.code, "no Parquet file" in ran.out) == (1, True)


def test_verify_finds_what_is_missing(run: Run, state: Path) -> None:
    """Entries between the snapshot and the first segment; blobs that a snapshot refers to."""
    (state / "blobs" / "0000000001.blobs").unlink()
    ran = run("verify", "--directory", state)
    assert (ran.code, "files of blobs are missing: 1" in ran.out) == (1, True)
    for sequence in (1, 3):
        snapshot_path(state / "snapshots", sequence).unlink()
    (state / "journal" / "00000000000000000001.segment").unlink()
    ran = run("verify", "--directory", state)
    assert (ran.code, "entries 1 to 3 are neither in a snapshot nor here" in ran.out) == (1, True)


def test_verify_takes_a_torn_tail_for_what_it_is(run: Run, state: Path) -> None:
    """A commit that did not end, of the journal or of blobs, is a note: the next start cuts it, or nothing needs it."""
    for path in (state / "journal" / "00000000000000000004.segment", state / "blobs" / "0000000001.blobs"):
        with path.open("ab") as file:
            file.write(bytes(30))
    ran = run("verify", "--directory", state)
    assert ran.code == 0, ran.out
    assert ran.out.count("note:") == 2


def test_inspect_shows_what_is_there(run: Run, state: Path) -> None:
    """Snapshots, segments, entries behind the snapshot by kind, models, archive, quarantine."""
    ran = run("inspect", "--directory", state)
    assert ran.code == 0, ran.err
    assert "1 learned, 1 quarantined, 1 rows, 1 tick" in ran.out
    assert "flights v3 canary" in ran.out
    assert "1970-01-01 10:00:00   1970-01-01 11:00:00" in ran.out
    assert "Quarantine: 2 in it" in ran.out


def test_inspect_as_json(run: Run, state: Path) -> None:
    """The same for scripts."""
    found: dict[str, Any] = json.loads(run("inspect", "--directory", state, "--json").out)
    assert [each["sequence"] for each in found["snapshots"]] == [1, 3]
    assert [(each["first"], each["last"], each["entries"]) for each in found["segments"]] == [(1, 3, 3), (4, 7, 4)]
    assert found["tail"] == {"rows": 1, "tick": 1, "learned": 1, "quarantined": 1}
    (model,) = found["models"]
    assert (model["model"], model["tail_spans"], model["tail_rows"]) == ("flights", 4, 4)
    (day,) = found["archive"]
    assert (day["model"], day["version"], day["day"], day["files"], day["rows"]) == ("flights", "v3", 0, 2, 4)
    assert [each["spans"] for each in found["quarantine"]] == [3, 2]


def test_inspect_goes_on_where_something_is_damaged(run: Run, state: Path) -> None:
    """A damaged snapshot or segment is shown as one; the one before it counts."""
    damage(snapshot_path(state / "snapshots", 3))
    damage(state / "journal" / "00000000000000000004.segment")
    found: dict[str, Any] = json.loads(run("inspect", "--directory", state, "--json").out)
    assert [bool(each["problem"]) for each in found["snapshots"]] == [False, True]
    assert found["tail"]["rows"] >= 1
    assert "damaged" in run("inspect", "--directory", state).out


@pytest.mark.parametrize(
    ("sequence", "words"),
    [
        (4, ["rows, taken in", "flights v3 canary: 2 spans", "feature.carrier", "AA", "1.25"]),
        (2, ["time passed", "evaluated again"]),
        (6, ["learned from 9 rows", "flights v3 canary"]),
        (7, ["batch 1 of entry 4 is in quarantine: 2 spans"]),
    ],
)
def test_inspect_shows_one_entry(run: Run, state: Path, sequence: int, words: list[str]) -> None:
    """Each kind of entry in words, rows with a head of their table."""
    ran = run("inspect", "--directory", state, "--sequence", str(sequence))
    assert (ran.code, [word for word in words if word not in ran.out]) == (0, []), ran.out + ran.err


def test_inspect_of_an_entry_that_is_not_there(run: Run, state: Path) -> None:
    """A mistake in arguments."""
    ran = run("inspect", "--directory", state, "--sequence", "99")
    assert (ran.code, "the journal has no such entry" in ran.err) == (2, True)


def test_the_directory_is_found_through_the_configuration(
    run: Run, state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By --config, or by the environment as the service would have it."""
    config = tmp_path / "driftmeter.yaml"
    config.write_text(f"journal:\n  directory: {state}\n")
    assert run("verify", "--config", config).code == 0
    monkeypatch.setenv("DRIFTMETER_JOURNAL__DIRECTORY", str(state))
    assert run("verify").code == 0


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: path / "none", "there is no such directory"),
        (lambda path: path, "is empty"),
        (lambda path: path / "file", "is a file"),
        (lambda path: path / "other", "no service has kept its state there"),
    ],
)
def test_what_is_no_state_directory_is_said_so(
    run: Run, tmp_path: Path, make: Callable[[Path], Path], words: str
) -> None:
    """What, where and what to do; exit code 2."""
    directory = make(tmp_path / "given")
    (tmp_path / "given").mkdir()
    if directory.name == "file":
        directory.write_text("")
    if directory.name == "other":
        (directory / "something").mkdir(parents=True)
    for command in (["verify"], ["inspect"], ["quarantine", "list"], ["quarantine", "retry", "--all"]):
        ran = run(*command, "--directory", directory)
        assert (ran.code, words in ran.err, str(directory) in ran.err) == (2, True, True), ran.err


def test_a_configuration_that_keeps_nothing_is_said_so(run: Run, state: Path, tmp_path: Path) -> None:
    """Without journal.directory there is nothing to look at; two sources at once are a mistake."""
    config = tmp_path / "driftmeter.yaml"
    config.write_text("journal:\n  directory: null\n")
    ran = run("verify", "--config", config)
    assert (ran.code, "journal.directory is not set" in ran.err) == (2, True)
    ran = run("verify", "--config", config, "--directory", state)
    assert (ran.code, "name one of them" in ran.err) == (2, True)


def test_a_directory_that_may_not_be_read_is_said_so(run: Run, state: Path) -> None:
    """Which one, and as whom to run the command; root, who may read everything, becomes somebody else for it."""
    (state / "journal").chmod(0)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        ran = run("verify", "--directory", state)
    finally:
        if root:
            os.seteuid(0)
        (state / "journal").chmod(0o750)
    assert (ran.code, "run this as the user that runs the service" in ran.err) == (2, True)


def test_quarantine_list(run: Run, state: Path) -> None:
    """Numbers, models or kinds of request, spans and errors, for people and scripts."""
    ran = run("quarantine", "list", "--directory", state)
    for words in ("request (logs)", "flights", "ValueError: no idea", "KeyError: 'x'"):
        assert words in ran.out
    found: list[dict[str, Any]] = json.loads(run("quarantine", "list", "--directory", state, "--json").out)
    assert [(each["number"], each["spans"]) for each in found] == [(1, 3), (2, 2)]


def test_quarantine_show(run: Run, state: Path) -> None:
    """A request as bytes, a batch as a table."""
    ran = run("quarantine", "show", "1", "--directory", state)
    assert (ran.code, "0a ff" in ran.out, "no idea" in ran.out) == (0, True, True)
    ran = run("quarantine", "show", "2", "--directory", state)
    assert (ran.code, "feature.carrier" in ran.out) == (0, True)


def test_quarantine_retry(run: Run, state: Path) -> None:
    """The service is asked to; what is asked for twice stays asked for."""
    for _ in range(2):
        ran = run("quarantine", "retry", "2", "--directory", state)
        assert (ran.code, ran.out) == (0, "2: will be tried again\n")
    assert "to be tried again" in run("quarantine", "list", "--directory", state).out
    assert run("quarantine", "retry", "--all", "--directory", state).code == 0
    kept = DiskQuarantine(RealFiles(), state / "quarantine", 0)
    assert [item.number for item in kept.retries()] == [1, 2]


def test_quarantine_drop(run: Run, state: Path) -> None:
    """Only with --yes where nobody can be asked."""
    ran = run("quarantine", "drop", "1", "--directory", state)
    assert (ran.code, "say --yes" in ran.err) == (2, True)
    ran = run("quarantine", "drop", "1", "--directory", state, "--yes")
    assert (ran.code, ran.out) == (0, "1: dropped\n")
    assert run("quarantine", "drop", "--all", "--directory", state, "--yes").code == 0
    assert run("quarantine", "list", "--directory", state).out == "Nothing is in quarantine.\n"


@pytest.mark.parametrize(("answer", "left"), [("y\n", 1), ("n\n", 2)])
def test_quarantine_drop_asks_on_a_terminal(state: Path, answer: str, left: int) -> None:
    """Yes removes, no does not."""
    leader, follower = os.openpty()
    command = [sys.executable, "-m", "driftmeter", "journal", "quarantine", "drop", "1", "--directory", str(state)]
    with subprocess.Popen(command, stdin=follower, stdout=subprocess.PIPE, text=True) as process:
        os.write(leader, answer.encode())
        out, _ = process.communicate(timeout=120)
    os.close(leader)
    os.close(follower)
    assert "Remove 1 for good?" in out
    assert process.returncode == 0
    assert len(DiskQuarantine(RealFiles(), state / "quarantine", 0)) == left


@pytest.mark.parametrize("command", ["retry", "drop"])
def test_numbers_that_are_not_there(run: Run, state: Path, command: str) -> None:
    """Nothing is dropped when one of the numbers is wrong; nor without any."""
    for arguments in (["1", "7", "--yes"], ["--yes"], ["1", "--all", "--yes"]):
        given = [each for each in arguments if command == "drop" or each != "--yes"]
        assert run("quarantine", command, *given, "--directory", state).code == 2
    assert len(DiskQuarantine(RealFiles(), state / "quarantine", 0)) == 2
    assert run("quarantine", "show", "7", "--directory", state).code == 2


def test_commands_as_processes(state: Path) -> None:
    """As a person runs them: help with examples, and exit codes."""
    ran = driftmeter("journal", "verify", "--directory", state)
    assert (ran.returncode, "All is as it was written." in ran.stdout, ran.stderr) == (0, True, "")
    damage(state / "journal" / "00000000000000000001.segment")
    assert driftmeter("journal", "verify", "--directory", state).returncode == 1
    assert driftmeter("journal", "verify", "--directory", state / "none").returncode == 2
    for command in ("verify", "inspect", "quarantine list", "quarantine show", "quarantine retry", "quarantine drop"):
        ran = driftmeter("journal", *command.split(), "--help")
        assert (ran.returncode, "Example" in ran.stdout) == (0, True)
