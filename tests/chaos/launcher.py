"""`driftmeter serve`, slowed down where the environment says so, writing down what it says of windows.

Variables: CHAOS_EVALUATIONS, a file that takes each evaluated window; CHAOS_SLOW, a file with a JSON object whose
`seconds_per_span` and `seconds_per_fsync` are waited for as long as the file is there.
"""

import json
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from chaos.evaluations import Evaluation
from driftmeter import app, pipeline
from driftmeter.cli import main
from driftmeter.columnar.count import count_entries
from driftmeter.export.evaluated import EvaluatedWindow
from driftmeter.model.request import Request

_PAUSE = threading.Event()


def _seconds(name: str) -> float:
    slow = os.environ.get("CHAOS_SLOW")
    if slow is None:
        return 0.0
    try:
        return float(json.loads(Path(slow).read_text()).get(name, 0.0))
    except FileNotFoundError:
        return 0.0


def _write_evaluations(path: str) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    publish = app.Service._publish

    def recorded(self: app.Service, evaluated: EvaluatedWindow) -> None:
        publish(self, evaluated)
        os.write(file, Evaluation.of(evaluated).line())

    app.Service._publish = recorded  # type: ignore[method-assign]


def _slow_down() -> None:
    accept = pipeline.Pipeline.accept

    def accept_slowly(self: pipeline.Pipeline, requests: Sequence[Request]) -> Any:
        if each := _seconds("seconds_per_span"):
            _PAUSE.wait(each * sum(map(count_entries, requests)))
        return accept(self, requests)

    def slowly(flush: Callable[[int], None]) -> Callable[[int], None]:
        def flush_slowly(descriptor: int) -> None:
            if each := _seconds("seconds_per_fsync"):
                _PAUSE.wait(each)
            flush(descriptor)

        return flush_slowly

    pipeline.Pipeline.accept = accept_slowly  # type: ignore[method-assign]
    os.fsync, os.fdatasync = slowly(os.fsync), slowly(os.fdatasync)  # type: ignore[assignment] # All there is.


if __name__ == "__main__":
    if "CHAOS_EVALUATIONS" in os.environ:
        _write_evaluations(os.environ["CHAOS_EVALUATIONS"])
    _slow_down()
    main()
