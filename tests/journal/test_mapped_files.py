"""Mapped files whose pages are let go."""

import resource
from pathlib import Path

from driftmeter.journal.files import RealFiles, release_pages


def _resident_file_bytes() -> int:
    """Bytes of mapped files that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[2]) * resource.getpagesize()


def test_released_pages_take_no_memory_and_come_back(tmp_path: Path) -> None:
    """What was read is given up, and read again where it is needed: views of it hold the same bytes."""
    path, size_bytes = tmp_path / "file", 32 << 20
    path.write_bytes(bytes(range(256)) * (size_bytes // 256))
    buffer = RealFiles().read(path)
    part = buffer[1000:]
    content = sum(part[::4096])
    held_bytes = _resident_file_bytes()
    release_pages(part)
    assert _resident_file_bytes() < held_bytes - size_bytes // 2
    assert sum(part[::4096]) == content


def test_what_is_not_mapped_stays() -> None:
    """Files in memory have no pages to release."""
    buffer = memoryview(b"content")
    release_pages(buffer)
    assert bytes(buffer) == b"content"
