"""Segments that are not what was written: each kind of damage and its promised outcome."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftmeter.errors import ConfigError, DamagedError
from driftmeter.journal.frames import HEADER_BYTES
from driftmeter.journal.log import Log
from driftmeter.journal.segments import MAGIC, segment_path
from driftmeter.journal.verify import verify
from faulty_files import FaultyFiles
from log_history import DIRECTORY, contents

COMMITS = ((1, 3), (2,), (1, 1, 2))
"""Entries of the commits of each of the three segments."""
FIRSTS = (1, 5, 7)
SIZES = tuple(10 * number for number in range(1, 11))
ENTRIES = [(number, 1 + number, f"{number:02}".encode() * (size // 2)) for number, size in enumerate(SIZES, 1)]


def paths() -> list[Path]:
    """The three segments."""
    return [segment_path(DIRECTORY, first) for first in FIRSTS]


def written(*, closed: bool = False) -> FaultyFiles:
    """A file system with ten entries in three segments; the last one was closed properly or not."""
    files = FaultyFiles()
    log = Log.open(DIRECTORY, files=files)
    remaining = iter(ENTRIES)
    for segment in COMMITS:
        log.rotate()
        for entries in segment:
            for _ in range(entries):
                _, kind, payload = next(remaining)
                log.append(kind, [payload])
            log.commit()
    if closed:
        log.close()
    return files


def starts(first: int) -> dict[int, int]:
    """Where the frames of the segment that begins with this entry begin, by sequence; one behind the last, too."""
    last = 4 if first == 1 else 6 if first == 5 else 10
    places, offset = dict[int, int](), len(MAGIC)
    for sequence in range(first, last + 2):
        places[sequence] = offset
        offset += HEADER_BYTES + (SIZES[sequence - 1] if sequence <= last else 0)
    return places


def change(files: FaultyFiles, path: Path, do: Callable[[bytes], bytes]) -> None:
    """Damage a file."""
    files.overwrite(path, do(files.content(path)))


def flipped(offset: int) -> Callable[[bytes], bytes]:
    """One bit of one byte is another."""
    return lambda content: content[:offset] + bytes([content[offset] ^ 0x40]) + content[offset + 1 :]


def refuses(files: FaultyFiles, words: str, from_sequence: int = 1) -> None:
    """The log is not opened, the message says this and what to do, and nothing was touched."""
    before = len(files.operations)
    with pytest.raises(DamagedError, match=words) as refused:
        Log.open(DIRECTORY, files=files, from_sequence=from_sequence)
    assert "Restore the file from a backup, or start with --accept-loss" in str(refused.value)
    assert {each.name for each in files.operations[before:]} <= {"sync directory"}


def accepts(files: FaultyFiles, lost: set[int]) -> Log:
    """With --accept-loss everything but these entries is there, before and after the next commit and start."""
    log = Log.open(DIRECTORY, files=files, accept_loss=True)
    expected = [entry for entry in ENTRIES if entry[0] not in lost]
    assert contents(log) == expected
    assert log.append(9, [b"new"]) == log.last_sequence + 1
    log.commit()
    again = Log.open(DIRECTORY, files=files, accept_loss=True)
    assert contents(again) == [*expected, (log.last_sequence, 9, b"new")]
    return log


def test_undamaged() -> None:
    """All entries, nothing cut, nothing lost; closed or not."""
    for closed in (False, True):
        log = accepts(written(closed=closed), set())
        assert (log.cut_bytes, log.loss.entries) == (0, 0)
        assert [(each.first, each.last) for each in log.segments()] == [(1, 4), (5, 6), (7, 10), (11, 11)]


def test_closing_twice() -> None:
    """What waited is gone, and the second time does nothing."""
    files = written()
    log = Log.open(DIRECTORY, files=files)
    log.append(1, [b"committed"])
    log.commit()
    log.append(1, [b"waiting"])
    log.close()
    log.close()
    assert contents(Log.open(DIRECTORY, files=files), 10) == [(11, 1, b"committed")]


def test_torn_tail_at_every_byte() -> None:
    """The last segment ends anywhere: whole entries stay, the rest is cut, counted, and gone at the next start."""
    places = starts(7)
    for size in range(places[11]):
        files = written()
        change(files, paths()[2], lambda content, size=size: content[:size])  # type: ignore[misc]
        log = Log.open(DIRECTORY, files=files)
        whole = [entry for entry in ENTRIES if entry[0] < 7 or places[entry[0] + 1] <= size]
        assert contents(log) == whole
        assert log.cut_bytes == size - max((place for place in places.values() if place <= size), default=0)
        again = Log.open(DIRECTORY, files=files)
        assert (again.cut_bytes, again.last_sequence, contents(again)) == (0, len(whole), whole)


@pytest.mark.parametrize("tail", [bytes(500), b"\xff" * 500, b"DRIFTJ01" * 9], ids=["zeros", "ones", "magic"])
def test_torn_tail_of_other_bytes(tail: bytes) -> None:
    """What a file system puts behind the last commit is cut."""
    files = written()
    change(files, paths()[2], lambda content: content + tail)
    log = Log.open(DIRECTORY, files=files)
    assert (contents(log), log.cut_bytes) == (ENTRIES, len(tail))


def test_torn_tail_with_its_later_part_whole() -> None:
    """A commit of which only the later entries reached the disk was never acknowledged: all of it is cut."""
    files, places = written(), starts(1)
    for path in paths()[1:]:
        files.remove(path)
    change(files, paths()[0], lambda content: content[: places[2]] + bytes(30) + content[places[2] + 30 : places[5]])
    log = Log.open(DIRECTORY, files=files)
    assert contents(log) == ENTRIES[:1]
    assert log.cut_bytes == places[5] - places[2]


def test_flipped_byte_in_the_middle() -> None:
    """Any byte of any but the last segment: the start is refused; with --accept-loss that one entry is missing."""
    for first, path in zip(FIRSTS[:2], paths()[:2], strict=True):
        places = starts(first)
        for offset in range(max(places.values())):
            files = written()
            change(files, path, flipped(offset))
            hit = max((number for number, place in places.items() if place <= offset), default=None)
            refuses(files, rf"{path}: damaged at byte {0 if hit is None else places[hit]}, entry {hit or first}")
            log = accepts(files, {hit} - {None})  # type: ignore[arg-type]
            assert log.loss.entries == (hit is not None)


def test_flipped_byte_in_the_last_segment() -> None:
    """What was acknowledged before another commit began is damaged; the last commit cannot be told from a torn one."""
    places = starts(7)
    for offset in range(places[11]):
        files = written()
        change(files, paths()[2], flipped(offset))
        if offset < places[9]:
            refuses(files, f"{paths()[2]}: damaged at byte")
            hit = max((number for number, place in places.items() if place <= offset), default=0)
            assert accepts(files, {hit}).cut_bytes == 0
        else:
            hit = 9 if offset < places[10] else 10
            log = Log.open(DIRECTORY, files=files)
            assert (log.cut_bytes, contents(log)) == (places[11] - places[hit], ENTRIES[: hit - 1])


def test_flipped_byte_before_the_only_commit() -> None:
    """Where a segment's first bytes are damaged and the entry behind them is whole, nothing was torn off."""
    files = written()
    files.remove(paths()[2])
    change(files, paths()[1], lambda content: flipped(3)(content[: starts(5)[7]]))
    refuses(files, f"{paths()[1]}: damaged at byte 0, entry 5: it does not begin as a segment does; 0 entries are lost")
    assert contents(Log.open(DIRECTORY, files=files, accept_loss=True)) == ENTRIES[:6]


def test_flipped_byte_in_a_closed_segment() -> None:
    """After a proper stop nothing can be torn: every flipped byte refuses the start, but of the closing frame alone."""
    places = starts(7)
    for offset in range(places[11] + HEADER_BYTES):
        files = written(closed=True)
        change(files, paths()[2], flipped(offset))
        if offset < places[11]:
            refuses(files, f"{paths()[2]}: damaged at byte")
        else:
            assert contents(Log.open(DIRECTORY, files=files)) == ENTRIES


def test_truncated_segment() -> None:
    """A segment that is not the last one and ends early, at any byte, refuses the start."""
    places = starts(5)
    for size in range(places[7]):
        files = written()
        change(files, paths()[1], lambda content, size=size: content[:size])  # type: ignore[misc]
        lost = {number for number in (5, 6) if places[number + 1] > size}
        refuses(files, rf"{paths()[1]}: damaged at byte .* entr(y|ies) {min(lost)}")
        log = accepts(files, lost)
        assert log.loss.entries == len(lost)


def test_zero_length_segment() -> None:
    """An empty file is where a commit was to begin, when it is the last one; otherwise its entries are missing."""
    files = written()
    files.overwrite(segment_path(DIRECTORY, 11), b"")
    assert accepts(files, set()).cut_bytes == 0
    files = written()
    files.overwrite(paths()[1], b"")
    refuses(files, rf"{paths()[1]}: damaged at byte 0, entries 5 to 6: .*; 2 entries are lost")
    accepts(files, {5, 6})


def test_missing_segment() -> None:
    """Entries that are in no file refuse the start, unless a snapshot covers them."""
    files = written()
    files.remove(paths()[1])
    refuses(files, rf"{paths()[0]}: .*entries 5 to 6: the file was closed before; 2 entries are lost")
    assert contents(Log.open(DIRECTORY, files=files, from_sequence=7), 6) == ENTRIES[6:]
    accepts(files, {5, 6})
    files = written()
    files.remove(paths()[0])
    refuses(files, r"entries 1 to 4: the files with them are missing")
    refuses(files, r"entries 3 to 4: the files with them are missing; 2 entries", from_sequence=3)
    assert contents(Log.open(DIRECTORY, files=files, from_sequence=5), 4) == ENTRIES[4:]
    accepts(files, {1, 2, 3, 4})


def test_damage_before_what_is_needed() -> None:
    """Damaged entries that a snapshot covers do not refuse a start."""
    files = written()
    change(files, paths()[0], flipped(50))
    change(files, paths()[2], flipped(50))  # Entry 7.
    refuses(files, f"{paths()[2]}: damaged", from_sequence=5)
    log = Log.open(DIRECTORY, files=files, from_sequence=8)
    assert contents(log, 7) == ENTRIES[7:]
    with pytest.raises(DamagedError, match=str(paths()[0])):
        contents(log)


def test_several_damaged_places() -> None:
    """All are counted, the first one is named; a torn tail behind them is cut all the same."""
    files = written()
    change(files, paths()[0], flipped(starts(1)[1]))
    change(files, paths()[0], flipped(starts(1)[3] + 30))
    change(files, paths()[2], flipped(starts(7)[7] + 3))
    change(files, paths()[2], lambda content: content[:-1])
    refuses(files, rf"{paths()[0]}: damaged at byte 8, entry 1: .*; 3 entries are lost")
    log = accepts(files, {1, 3, 7, 10})
    assert (log.loss.entries, len(log.loss.places)) == (3, 3)
    assert log.cut_bytes == HEADER_BYTES + SIZES[9] - 1


def test_segments_that_changed_places() -> None:
    """Entries of other sequences than the name says are not taken for them."""
    files = written()
    one, other = (files.content(path) for path in paths()[:2])
    files.overwrite(paths()[0], other)
    files.overwrite(paths()[1], one)
    refuses(files, "entry 5 stands where 1 was due")
    accepts(files, {1, 2, 3, 4, 5, 6})


def test_another_version() -> None:
    """A segment of another format is neither read nor cut, with --accept-loss neither."""
    files = written()
    change(files, paths()[2], lambda content: b"DRIFTJ02" + content[8:])
    for accept_loss in (False, True):
        with pytest.raises(ConfigError, match="written by another version of driftmeter"):
            Log.open(DIRECTORY, files=files, accept_loss=accept_loss)


def test_what_looks_like_frames_is_not_cut() -> None:
    """When it cannot be found out whether entries follow, none are thrown away unasked."""
    lying = (b"\0\0\1\0" + bytes(4) + b"\x0c" + bytes(15)) * 20_000
    files = written()
    change(files, paths()[2], lambda content: content + b"x" + lying)
    refuses(files, "entry 11 and what follows: .*look like frames")
    log = accepts(files, set())
    assert log.cut_bytes == len(lying) + 1


def test_a_snapshot_ahead_of_the_log() -> None:
    """Sequences that a snapshot covers are never given again, though the log has lost them."""
    files = written()
    log = Log.open(DIRECTORY, files=files, from_sequence=15)
    assert (log.last_sequence, log.append(1, [b"x"])) == (14, 15)
    log.commit()
    again = Log.open(DIRECTORY, files=files, from_sequence=15)
    assert contents(again, 14) == [(15, 1, b"x")]
    refuses(files, "entries 12 to 14", from_sequence=12)


def test_other_files_are_left_alone() -> None:
    """Names that are no segments' are not looked at."""
    files = written()
    for name in ("notes.txt", "1.segment", f"{0:020}.segment", f"{10**20 - 1}.segment", f"{7:020}.segment.bak"):
        files.overwrite(DIRECTORY / name, b"something else")
    accepts(files, set())


EDITS = st.lists(
    st.tuples(
        st.integers(0, 2), st.sampled_from(["flip", "cut out", "put in", "truncate", "zeros"]), st.integers(0, 400)
    ),
    min_size=1,
    max_size=4,
)


@given(EDITS, st.booleans(), st.integers(1, 60), st.binary(min_size=1, max_size=60))
def test_any_damage(edits: list[tuple[int, str, int]], closed: bool, size: int, other: bytes) -> None:  # noqa: FBT001
    """Whatever happens: no entry is invented, changed or out of order; none is left out unasked but at the end."""
    files = written(closed=closed)
    for number, edit, place in edits:
        content = files.content(paths()[number])
        offset = place % (len(content) or 1)
        behind = content[offset + size :]
        if edit == "flip":
            content = flipped(offset)(content) if content else content
        elif edit == "put in":
            content = content[:offset] + other + content[offset:]
        else:
            content = content[:offset] + {"cut out": behind, "truncate": b"", "zeros": bytes(size) + behind}[edit]
        files.overwrite(paths()[number], content)
    try:
        found = contents(Log.open(DIRECTORY, files=files))
        assert found == ENTRIES[: len(found)]
        assert len(found) >= FIRSTS[2] - 1
    except (DamagedError, ConfigError):
        pass
    try:
        found = contents(Log.open(DIRECTORY, files=files, accept_loss=True))
        assert found == [entry for entry in ENTRIES if entry in found]
    except ConfigError:
        pass


@given(st.binary(max_size=300))
def test_any_bytes_as_a_segment(content: bytes) -> None:
    """Bytes of anybody are no entries, and nothing but the promised errors comes of them."""
    for segment in (content, MAGIC + content):
        files = FaultyFiles()
        files.overwrite(segment_path(DIRECTORY, 1), segment)
        try:
            log = Log.open(DIRECTORY, files=files)
        except ConfigError:
            continue
        assert contents(log) == []
        assert log.cut_bytes == len(segment) - 8 * segment.startswith(MAGIC)


def on_disk(files: FaultyFiles, directory: Path) -> list[Path]:
    """The same files on the real disk."""
    for path in paths():
        (directory / path.name).write_bytes(files.content(path))
    return [directory / path.name for path in paths()]


def test_verify_an_undamaged_journal(tmp_path: Path) -> None:
    """Per segment: sequences, entries, bytes; no faults, with or without a proper end."""
    for closed in (False, True):
        files = on_disk(written(closed=closed), tmp_path)
        report = verify(tmp_path)
        assert [(each.first, each.last, each.entries) for each in report.segments] == [(1, 4, 4), (5, 6, 2), (7, 10, 4)]
        assert [each.size_bytes for each in report.segments] == [path.stat().st_size for path in files]
        assert report.faults == ()


def test_verify_a_damaged_journal(tmp_path: Path) -> None:
    """Every fault with file, byte and entries; a torn tail is none; the files are not changed."""
    files = on_disk(written(), tmp_path)
    files[0].write_bytes(flipped(starts(1)[3])(files[0].read_bytes()))
    files[1].unlink()
    files[2].write_bytes(files[2].read_bytes()[:-2])
    before = {path: path.read_bytes() for path in (files[0], files[2])}
    report = verify(tmp_path)
    assert [fault.split(": ")[1] for fault in report.faults] == [
        f"damaged at byte {starts(1)[3]}, entry 3",
        f"damaged at byte {starts(1)[5]}, entries 5 to 6",
    ]
    assert report.segments[1].unfinished_bytes == HEADER_BYTES + SIZES[9] - 2
    assert before == {path: path.read_bytes() for path in before}
    files[2].write_bytes(b"DRIFTJ99")
    assert "another version" in verify(tmp_path).faults[-1]
    assert verify(tmp_path / "nothing").segments == ()
