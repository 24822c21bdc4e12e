"""Machine code is kept where it can be, and its absence never stops a start."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PROGRAM = """
import sys
import kernels
print(kernels.double(21), sum(kernels.double.stats.cache_hits.values()), kernels.double.stats.cache_path)
"""
KERNELS = """
from driftmeter.model.compiled import jit

@jit
def double(number):
    return 2 * number
"""


# Root may write everywhere. Without CAP_DAC_OVERRIDE (1), dropped by PR_CAPBSET_DROP (24), file modes stop it too.
AS_ANYBODY = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(24, 1, 0, 0, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


def run(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the program in a process of its own that file modes stop."""
    (folder / "kernels.py").write_text(KERNELS)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("DRIFTMETER", "XDG"))}
    return subprocess.run(
        [sys.executable, "-c", AS_ANYBODY, "-c", PROGRAM],
        capture_output=True,
        text=True,
        check=True,
        env={**inherited, "PYTHONPATH": str(folder), **environment},
    )


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Callable[[], Path]]:
    """Takes away the right to write to the cache, and gives it back in the end."""
    cache = tmp_path / "cache"

    def set_modes(folder_mode: int, file_mode: int) -> None:
        for path in [cache, *cache.rglob("*")]:
            path.chmod(folder_mode if path.is_dir() else file_mode)

    def protect() -> Path:
        cache.mkdir(exist_ok=True)
        set_modes(0o555, 0o444)
        return cache

    yield protect
    set_modes(0o755, 0o644)


def test_second_start_loads_what_the_first_compiled(tmp_path: Path) -> None:
    """The configured directory is used, and made if need be."""
    cache = str(tmp_path / "state" / "cache")
    assert run(tmp_path, DRIFTMETER_CACHE_DIR=cache).stdout.split()[:2] == ["42", "0"]
    result, hits, path = run(tmp_path, DRIFTMETER_CACHE_DIR=cache).stdout.split()
    assert (result, hits) == ("42", "1")
    assert path.startswith(cache)


def test_user_cache_directory_is_the_default(tmp_path: Path) -> None:
    """Without configuration the platform's place for caches is taken."""
    path = run(tmp_path, XDG_CACHE_HOME=str(tmp_path / "xdg")).stdout.split()[2]
    assert path.startswith(str(tmp_path / "xdg" / "driftmeter"))


def test_changed_source_is_compiled_again(tmp_path: Path) -> None:
    """Machine code is never older than its source, even with the same time and size."""
    cache = str(tmp_path / "cache")
    run(tmp_path, DRIFTMETER_CACHE_DIR=cache)
    source = tmp_path / "kernels.py"
    stat = source.stat()
    changed = subprocess.run(
        [sys.executable, "-B", "-c", "import kernels; print(kernels.double(21))"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(changed_copy(tmp_path, stat)), "DRIFTMETER_CACHE_DIR": cache},
    )
    assert changed.stdout.split() == ["63"]


def changed_copy(folder: Path, stat: os.stat_result) -> Path:
    """The kernels with another factor, in a folder of the same name elsewhere, as old as before."""
    copy = folder / "copy" / folder.name
    copy.mkdir(parents=True)
    (copy / "kernels.py").write_text(KERNELS.replace("2 * number", "3 * number"))
    os.utime(copy / "kernels.py", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    return copy


def test_read_only_cache_is_used(tmp_path: Path, read_only: Callable[[], Path]) -> None:
    """What an image holds is loaded though nothing can be written."""
    run(tmp_path, DRIFTMETER_CACHE_DIR=str(tmp_path / "cache"))
    done = run(tmp_path, DRIFTMETER_CACHE_DIR=str(read_only()))
    assert (done.stdout.split()[:2], done.stderr) == (["42", "1"], "")


def test_without_any_writable_place_kernels_are_compiled_in_memory(
    tmp_path: Path, read_only: Callable[[], Path]
) -> None:
    """The result is the same, with one warning that says what to set."""
    cache = read_only()
    for place in (cache, cache / "below", Path("/dev/null/cache")):
        done = run(tmp_path, DRIFTMETER_CACHE_DIR=str(place))
        assert done.stdout.split()[:2] == ["42", "0"]
        assert done.stderr.count("DRIFTMETER_CACHE_DIR") == 1


def test_damaged_cache_is_compiled_again(tmp_path: Path) -> None:
    """Files cut short by a crash do no harm."""
    cache = tmp_path / "cache"
    run(tmp_path, DRIFTMETER_CACHE_DIR=str(cache))
    for path in cache.rglob("*.nb?"):
        path.write_bytes(path.read_bytes()[:20])
    assert run(tmp_path, DRIFTMETER_CACHE_DIR=str(cache)).stdout.split()[:2] == ["42", "0"]
    assert run(tmp_path, DRIFTMETER_CACHE_DIR=str(cache)).stdout.split()[:2] == ["42", "1"]
