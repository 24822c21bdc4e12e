"""Frames: the unit of everything on disk. Each can be checked by itself, and be found again behind damage.

offset  size  meaning, little-endian
     0     4  size of the payload in bytes, at most 1 GiB
     4     4  CRC32C of everything that follows in the frame
     8     8  sequence, from 1
    16     1  kind, given by the caller
    17     3  zero
    20     4  position: how many frames of the same commit stand before it; 0 where there are no commits
    24        payload
"""

import struct
from collections.abc import Sequence
from typing import NamedTuple

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from driftmeter.errors import DamagedError
from driftmeter.model.blobs import Buffer

HEADER_BYTES = 24
PAYLOAD_BYTES_MAX = 1 << 30

_HEADER = struct.Struct("<IIQB3sI")
_CHECKED = struct.Struct("<QB3sI")
_UNCHECKED_BYTES = HEADER_BYTES - _CHECKED.size
_ZEROS = b"\0\0\0"
_COPIED_BYTES = 1 << 18
"""The checksum takes `bytes` alone; pieces that stay in the processor's cache cost a quarter of one large copy."""
_SEARCHED_BYTES = 1 << 20
_CHECKED_FACTOR = 16
"""How often, at most, a search may compute checksums over all bytes behind damage: what is no frame by accident needs
far less, what was made to look like frames must not take hours."""


class Frame(NamedTuple):
    """A frame that is whole. Offsets in bytes from the beginning of the buffer it was read from."""

    sequence: int
    kind: int
    position: int
    offset: int
    payload: memoryview

    @property
    def end(self) -> int:
        """The first byte behind it."""
        return self.offset + HEADER_BYTES + len(self.payload)

    @property
    def committed(self) -> int:
        """The last sequence that was on disk for certain when this frame was written: those before its own commit."""
        return self.sequence - self.position - 1


def frame_header(kind: int, sequence: int, parts: Sequence[Buffer], *, position: int = 0) -> bytes:
    """The header of a frame whose payload is all `parts`, one after the other.

    Raises:
        ValueError: the payload has more than `PAYLOAD_BYTES_MAX` bytes.
    """
    size_bytes = sum(memoryview(part).nbytes for part in parts)
    if size_bytes > PAYLOAD_BYTES_MAX:
        raise ValueError(f"{size_bytes} bytes do not fit into one frame, which has at most {PAYLOAD_BYTES_MAX}")
    crc = google_crc32c.extend(0, _CHECKED.pack(sequence, kind, _ZEROS, position))
    for part in parts:
        crc = _extend(crc, part)
    return _HEADER.pack(size_bytes, crc, sequence, kind, _ZEROS, position)


def read_frame(buffer: memoryview, offset: int) -> Frame | str:
    """The frame at `offset`, checked; the words that say what is wrong where there is none.

    The payload is a view into `buffer`, which must be one of bytes.
    """
    left = len(buffer) - offset
    if left < HEADER_BYTES:
        return f"{left} bytes where a frame's header has {HEADER_BYTES}"
    size_bytes, crc, sequence, kind, zeros, position = _HEADER.unpack_from(buffer, offset)
    if size_bytes > PAYLOAD_BYTES_MAX or zeros != _ZEROS or position >= sequence:
        return "what stands there is no frame's header"
    if left - HEADER_BYTES < size_bytes:
        return f"{left - HEADER_BYTES} bytes where the frame's payload has {size_bytes}"
    end = offset + HEADER_BYTES + size_bytes
    if _extend(0, buffer[offset + _UNCHECKED_BYTES : end]) != crc:
        return "the frame's checksum differs"
    return Frame(sequence, kind, position, offset, buffer[offset + HEADER_BYTES : end])


def find_frame(buffer: memoryview, offset: int, sequences: range) -> Frame | None:
    """The first whole frame at `offset` or behind it, at whatever byte, whose sequence is one of these; None: none.

    Raises:
        DamagedError: too much of what is there looks like frames without being any to look at all of it.
    """
    checked_bytes, checked_bytes_max = 0, _CHECKED_FACTOR * (len(buffer) - offset)
    for start in range(offset, len(buffer) - HEADER_BYTES + 1, _SEARCHED_BYTES):
        count = min(_SEARCHED_BYTES, len(buffer) - HEADER_BYTES + 1 - start)
        for place in start + _plausible(buffer, start, count, sequences):
            frame = read_frame(buffer, int(place))
            if isinstance(frame, Frame):
                return frame
            checked_bytes += _HEADER.unpack_from(buffer, place)[0]
            if checked_bytes > checked_bytes_max:
                raise DamagedError(f"too many things that look like frames behind byte {offset}")
    return None


def _plausible(buffer: memoryview, start: int, count: int, sequences: range) -> NDArray[np.int64]:
    """Which of the `count` bytes from `start` on could be the first of such a frame, as distances from `start`."""

    def at(place: int, dtype: str) -> NDArray[np.uint64]:
        """The number that begins at `place` of each header: they overlap, hence the stride of 1."""
        return np.ndarray((count,), dtype, buffer, start + place, (1,)).astype(np.uint64)

    left = (len(buffer) - start - HEADER_BYTES) - np.arange(count)
    found = at(8, "<u8") - np.uint64(sequences.start) < np.uint64(len(sequences))  # Below the first: wraps, huge.
    found &= (at(17, "<u4") & np.uint64(0xFF_FF_FF)) == 0
    found &= at(0, "<u4") <= np.minimum(left, PAYLOAD_BYTES_MAX).astype(np.uint64)
    return np.flatnonzero(found)


def _extend(crc: int, part: Buffer) -> int:
    """The checksum of what had `crc` and of this behind it."""
    if isinstance(part, bytes):
        return int(google_crc32c.extend(crc, part))
    view = memoryview(part).cast("B")
    for first in range(0, len(view), _COPIED_BYTES):
        crc = google_crc32c.extend(crc, bytes(view[first : first + _COPIED_BYTES]))
    return crc
