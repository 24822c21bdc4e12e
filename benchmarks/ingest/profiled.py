"""`driftmeter` with a stopwatch on each stage: `python -m benchmarks.ingest.profiled serve --config FILE`.

At every SIGUSR1 it writes what it has counted so far to `profile.json` beside FILE.
"""

import functools
import importlib
import json
import signal
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from driftmeter.cli import main

STAGES = (
    ("driftmeter.pipeline", "Pipeline.accept", "pipeline_rest"),
    ("driftmeter.pipeline", "Pipeline._apply_rows", "pipeline_rest"),
    ("driftmeter.pipeline", "Pipeline.tick", "tick"),
    ("driftmeter.pipeline", "Pipeline.work", "evaluate"),
    ("driftmeter.accounts", "Accounts.take_in", "ledger"),
    ("driftmeter.accounts", "Accounts.accept", "ledger"),
    ("driftmeter.columnar.decoder", "Decoder.decode_many", "decode"),
    ("driftmeter.watched", "WatchedModel.admit", "duplicates"),
    ("driftmeter.watched", "WatchedModel.tidy", "duplicates_put_aside"),
    ("driftmeter.journal.store", "DiskJournal.append", "journal_encode"),
    ("driftmeter.journal.store", "DiskJournal.commit", "journal_commit"),
    ("driftmeter.watched", "WatchedModel.add", "windows"),
    ("driftmeter.window.by_time", "fold", "fold"),
    ("driftmeter.app", "Service._count_predictions", "export_counters"),
    ("driftmeter.detect.detector", "Detector.evaluate", "evaluate"),
    ("driftmeter.export.exporter", "Exporter.publish", "export"),
    ("driftmeter.keeper", "Keeper._capture", "snapshot"),
    ("driftmeter.journal.store", "DiskJournal.write_snapshot", "snapshot"),
    ("driftmeter.journal.store", "DiskJournal.archive", "archive"),
)
"""Functions of the pipeline and of threads that work for it, where they are looked up, and the stage that their own
time is counted to."""

PROFILE = "profile.json"

_seconds: dict[str, float] = defaultdict(float)
_inner = threading.local()
_threads: dict[int, str] = {}


def resolve(module: str, path: str) -> tuple[Any, str, Callable[..., Any]]:
    """What holds a function, its name there, and the function; raises AttributeError when it is not there."""
    owner: Any = importlib.import_module(module)
    *parents, name = path.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    return owner, name, getattr(owner, name)


def _timed(function: Callable[..., Any], stage: str) -> Callable[..., Any]:
    """The function, its CPU time without that of the stages in it added to the stage's."""

    @functools.wraps(function)
    def timed(*arguments: Any, **named: Any) -> Any:
        outside = getattr(_inner, "seconds", 0.0)
        _inner.seconds = 0.0
        start = time.thread_time()
        try:
            return function(*arguments, **named)
        finally:
            whole = time.thread_time() - start
            _seconds[stage] += whole - _inner.seconds
            _inner.seconds = outside + whole
            _threads[threading.get_native_id()] = "pipeline"

    return timed


def _write(file: Path) -> None:
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps({"seconds": _seconds, "threads": _threads}))
    partial.replace(file)


def _main() -> None:
    for module, path, stage in STAGES:
        owner, name, function = resolve(module, path)
        setattr(owner, name, _timed(function, stage))
    file = Path(sys.argv[sys.argv.index("--config") + 1]).with_name(PROFILE)
    signal.signal(signal.SIGUSR1, lambda *_: _write(file))
    main()


if __name__ == "__main__":
    _main()
