"""`jit`, `kernel` and `inlined`: how compiled code is declared, and where its machine code is kept.

Machine code is kept under the first of these that can be used:

1. the directory named by the environment variable `DRIFTMETER_CACHE_DIR`, and no other one when it is set;
2. `$XDG_CACHE_HOME/driftmeter` or `~/.cache/driftmeter`;
3. `driftmeter-cache-<uid>` in the system's temporary directory, if it belongs to this user alone.

A place that can be read but not written (an image built with its kernels inside) is used for what it holds. With no
place at all kernels are compiled in memory at each start. Both are logged once, and only when something had to be
compiled that could not be kept.
"""

import contextlib
import functools
import hashlib
import logging
import os
import pickle
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, overload

import numba
import numpy.typing as npt
from numba.core.caching import CompileResultCacheImpl, FunctionCache, NullCache, _CacheLocator
from numba.core.types import unliteral

Function = TypeVar("Function", bound=Callable[..., Any])

CACHE_VARIABLE = "DRIFTMETER_CACHE_DIR"
"""Environment variable naming the directory for machine code."""

_PACKAGE = Path(__file__).resolve().parent.parent
_SHARED_PACKAGES = ("model", "summary")  # Leaf packages whose kernels others may inline.
_OLD_VERSIONS_KEPT = 8
_DAMAGE = (OSError, EOFError, ValueError, pickle.UnpicklingError)  # What reading and writing a cache can meet.
_LOG = logging.getLogger(__name__)


@overload
def jit(function: Function, /) -> Function: ...
@overload
def jit(**options: Any) -> Callable[[Function], Function]: ...
def jit(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Compile a function with numba on its first call, without the GIL, and keep the machine code for later starts.

    Array reads are not bounds-checked: kernels check what comes from outside themselves. numba turns int64 mixed with
    uint64 into float64, so kernels cast before they mix them.

    Args:
        function: Code that numba can compile in nopython mode.
        options: Further options of `numba.njit`.
    """
    if function is None:
        return functools.partial(jit, **options)
    compiled = numba.njit(**{"nogil": True, "boundscheck": False, **options})(function)
    if not getattr(numba.config, "DISABLE_JIT", False):
        # As Dispatcher.enable_caching does, with a cache that never fails for want of a writable place.
        compiled._cache = _cache_for(function)  # noqa: SLF001
        _share_versions(compiled)
    return compiled


def _share_versions(compiled: Any) -> None:
    """Compile one version for all constant arguments, which numba would do for each: a third of the time to compile."""
    plain: Any = unliteral
    template_for = compiled.get_call_template
    compiled.get_call_template = lambda args, kws: template_for(
        tuple(map(plain, args)), {name: plain(arg) for name, arg in dict(kws).items()}
    )


def kernel(function: Function, /) -> Function:
    """`jit` for functions that allocate nothing and only take and pass on numbers, arrays and tuples of these.

    They count no references, which costs more than the work in code that passes arrays down for each value.
    """
    return jit(_nrt=False, error_model="numpy")(function)


def inlined(function: Function, /) -> Function:
    """`kernel` for small functions: becomes part of every function that calls it."""
    return jit(_nrt=False, error_model="numpy", forceinline=True)(function)


def cache_directory() -> Path | None:
    """Where machine code is read from and, where possible, written to; None when there is no such place."""
    return _choose_directory(os.environ.get(CACHE_VARIABLE, ""))


@functools.lru_cache
def _choose_directory(configured: str) -> Path | None:
    if configured:
        return _usable(Path(configured))
    try:
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:  # A user without a home.
        return _private_temporary_directory()
    return _usable(home / "driftmeter") or _private_temporary_directory()


def _usable(directory: Path) -> Path | None:
    """The directory if it is there or can be made, writable or not."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return directory if os.access(directory, os.R_OK | os.X_OK) else None


def _private_temporary_directory() -> Path | None:
    """A directory nobody else can write to: what is loaded from it is executed."""
    user = os.getuid() if hasattr(os, "getuid") else 0
    directory = Path(tempfile.gettempdir()) / f"driftmeter-cache-{user}"
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        status = directory.lstat()
    except OSError:
        return None
    ours = not directory.is_symlink() and (os.name == "nt" or (status.st_uid == user and not status.st_mode & 0o077))
    return directory if ours else None


@functools.cache
def _sources_hash(package: Path) -> str:
    """Hash of all sources that kernels of one package can contain: numba itself looks at the kernel's own file only."""
    digest = hashlib.sha256(numba.__version__.encode())
    for directory in dict.fromkeys((package, *(_PACKAGE / name for name in _SHARED_PACKAGES))):
        for source in sorted(directory.glob("*.py")):
            digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


def _warn_not_kept(reason: str) -> None:
    """Say once that compiling will be repeated at the next start."""
    _log_once(
        f"compiled kernels cannot be kept ({reason}), so each start compiles them again: "
        f"set {CACHE_VARIABLE} to a writable directory"
    )


@functools.cache
def _log_once(message: str) -> None:
    _LOG.warning(message)


class _Locator(_CacheLocator):
    """A directory per version of a package's sources, so that no kernel can be older than its source."""

    def __init__(self, root: Path, py_func: Callable[..., Any], py_file: str) -> None:
        package = Path(py_file).resolve().parent
        self._py_file = py_file  # numba names it in warnings.
        self._line = py_func.__code__.co_firstlineno
        self._versions = root / "numba" / package.name
        self._path = self._versions / _sources_hash(package)

    def get_cache_path(self) -> str:
        """Directory of this version's kernels."""
        return str(self._path)

    def get_source_stamp(self) -> str:
        """Same for all kernels in the directory: its name is the stamp."""
        return self._path.name

    def get_disambiguator(self) -> str:
        """Tells functions of one name in one file apart."""
        return str(self._line)

    def ensure_cache_path(self) -> None:
        """Make the directory and drop the oldest versions beside it; raises OSError when it cannot be written."""
        if not self._path.is_dir():
            self._path.mkdir(parents=True, exist_ok=True)
            versions = sorted(self._versions.iterdir(), key=lambda path: path.stat().st_mtime_ns)
            for old in versions[:-_OLD_VERSIONS_KEPT]:
                shutil.rmtree(old, ignore_errors=True)

    @classmethod
    def from_function(cls, py_func: Callable[..., Any], py_file: str) -> "_Locator | None":
        """Called by numba for each kernel."""
        root = cache_directory()
        return None if root is None else cls(root, py_func, py_file)


class _CacheImplementation(CompileResultCacheImpl):
    _locator_classes: list[Any] = [_Locator]  # noqa: RUF012  # As numba declares it.


class _KeptInDirectory(FunctionCache):
    """numba's own cache, except that a damaged or read-only place is no error."""

    _impl_class = _CacheImplementation

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)  # type: ignore[no-untyped-call]
        except _DAMAGE as error:
            _LOG.warning("compiling again what is damaged in the cache of kernels: %s", error)
            with contextlib.suppress(OSError):
                self.flush()  # type: ignore[no-untyped-call]
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)  # type: ignore[no-untyped-call]
        except _DAMAGE as error:
            _warn_not_kept(str(error))


class _KeptInMemory(NullCache):
    """For machines without any place to write to."""

    def save_overload(self, sig: Any, data: Any) -> None:  # noqa: ARG002
        _warn_not_kept("no directory is writable")


def _cache_for(function: Callable[..., Any]) -> Any:
    if cache_directory() is None:
        return _KeptInMemory()
    return _KeptInDirectory(function)  # type: ignore[no-untyped-call]


def frozen(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A read-only view: kernels are compiled once for these, not again for each mixture of flags."""
    view = array.view()
    view.flags.writeable = False
    return view
