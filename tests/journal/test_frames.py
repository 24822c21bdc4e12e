"""Frames: their bytes, what is noticed of damage, and finding them again behind it."""

import struct

import google_crc32c
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftmeter.errors import DamagedError
from driftmeter.journal.frames import HEADER_BYTES, Frame, find_frame, frame_header, read_frame

SEQUENCES = st.integers(1, 2**63 - 1)


def frame(payload: bytes, *, sequence: int = 7, kind: int = 3, position: int = 2) -> bytes:
    """A whole frame."""
    return frame_header(kind, sequence, [payload], position=position) + payload


def test_bytes_are_as_the_format_says() -> None:
    """Size, checksum of what follows it, sequence, kind, three zeros, position, payload: little-endian."""
    checked = struct.pack("<QB3xI", 7, 3, 2) + b"payload"
    assert struct.pack("<II", 7, google_crc32c.value(checked)) + checked == frame(b"payload")


@given(st.lists(st.binary(max_size=200), max_size=4), SEQUENCES, st.integers(0, 255), st.binary(max_size=40))
def test_what_is_written_is_read(parts: list[bytes], sequence: int, kind: int, before: bytes) -> None:
    """Any parts at any offset come back as one payload, with sequence, kind and end."""
    payload = b"".join(parts)
    written = before + frame_header(kind, sequence, parts) + payload
    read = read_frame(memoryview(written), len(before))
    assert isinstance(read, Frame)
    assert (sequence, kind, 0, payload, len(written)) == (
        read.sequence,
        read.kind,
        read.position,
        bytes(read.payload),
        read.end,
    )


def test_buffers_of_all_kinds_have_the_same_checksum() -> None:
    """Bytes, byte arrays and views, of many pieces too, make the same header."""
    payload = np.arange(1_000_003, dtype="<u4")
    view = memoryview(payload.data)
    headers = {
        frame_header(1, 1, [payload.tobytes()]),
        frame_header(1, 1, [bytearray(payload.tobytes())]),
        frame_header(1, 1, [view]),
        frame_header(1, 1, [view[:17], view[17:].cast("B")]),
    }
    assert len(headers) == 1


def test_every_flipped_bit_is_noticed() -> None:
    """No single changed bit of a frame passes."""
    written = frame(b"some payload")
    for bit in range(8 * len(written)):
        flipped = bytearray(written)
        flipped[bit // 8] ^= 1 << bit % 8
        assert isinstance(read_frame(memoryview(flipped), 0), str), bit


def test_every_shorter_frame_is_noticed() -> None:
    """A frame that ends early is not one, wherever it ends."""
    written = frame(b"some payload")
    for size in range(len(written)):
        assert isinstance(read_frame(memoryview(written)[:size], 0), str), size


def test_zeros_are_no_frame() -> None:
    """What a file system puts where it has nothing is not an entry."""
    assert read_frame(memoryview(bytes(100)), 0) == "what stands there is no frame's header"


def test_sizes_beyond_the_limit_are_refused() -> None:
    """No frame is written or believed that says it has more than 1 GiB."""
    megabyte = memoryview(bytes(1 << 20))
    with pytest.raises(ValueError, match="do not fit into one frame"):
        frame_header(1, 1, [megabyte] * 1025)
    assert read_frame(memoryview(b"\xff" * 100), 0) == "what stands there is no frame's header"


@given(st.binary(max_size=100), st.binary(max_size=100), st.binary(max_size=60), SEQUENCES)
def test_a_frame_is_found_behind_anything(before: bytes, after: bytes, payload: bytes, sequence: int) -> None:
    """Whatever stands before it, at whatever byte it begins."""
    written = memoryview(before + frame(payload, sequence=sequence, position=0) + after)
    found = find_frame(written, 0, range(max(sequence - 5, 0), sequence + 1))
    assert found is not None
    assert (len(before), payload, sequence) == (found.offset, bytes(found.payload), found.sequence)


def test_frames_across_the_borders_of_the_search_are_found() -> None:
    """The search goes through a large file in pieces; a header may stand on their border."""
    for distance in range(-HEADER_BYTES, 3):
        before = bytes((1 << 20) + distance)
        found = find_frame(memoryview(before + frame(b"x")), 0, range(7, 8))
        assert found is not None
        assert len(before) == found.offset


def test_only_wanted_sequences_are_found() -> None:
    """Frames of other sequences are passed over."""
    written = memoryview(frame(b"a", sequence=7) + frame(b"b", sequence=8) + frame(b"c", sequence=9))
    assert find_frame(written, 0, range(10, 20)) is None
    found = find_frame(written, 0, range(8, 9))
    assert found is not None
    assert bytes(found.payload) == b"b"


def test_what_is_made_to_look_like_frames_does_not_take_hours() -> None:
    """A payload full of headers of large frames stops the search, which says so."""
    lying = struct.pack("<IIQB3xI", 1 << 20, 0, 9, 1, 0) * 100_000
    with pytest.raises(DamagedError, match="look like frames"):
        find_frame(memoryview(lying), 0, range(7, 1000))


@given(st.binary(max_size=2000), st.integers(0, 50))
def test_any_bytes_can_be_looked_at(content: bytes, first: int) -> None:
    """Neither reading nor finding raises anything over arbitrary bytes."""
    for offset in range(0, len(content), 7):
        assert isinstance(read_frame(memoryview(content), offset), str | Frame)
    find_frame(memoryview(content), 0, range(first, first + 1000))
