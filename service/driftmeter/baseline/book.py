"""The baselines there are, by model and version."""

import glob
from collections.abc import Iterable
from pathlib import Path

from driftmeter.baseline.file import read_baseline
from driftmeter.errors import BaselineError
from driftmeter.model.baseline import Baseline


class BaselineBook:
    """Baselines by model and version.

    Args:
        baselines: All of them; two for the same model and version are a mistake.
    """

    def __init__(self, baselines: Iterable[Baseline] = ()) -> None:
        self._baselines: dict[tuple[str, str], Baseline] = {}
        for baseline in baselines:
            key = baseline.model, baseline.version
            if key in self._baselines:
                raise BaselineError(
                    f"two baselines for model {key[0]!r}, version {key[1]!r}: leave one of their files out"
                )
            self._baselines[key] = baseline

    def find(self, model: str, version: str) -> Baseline | None:
        """The version's own baseline, else the model's for any version, else None."""
        own = self._baselines.get((model, version)) or self._baselines.get((model, ""))
        return own.labelled(model, version, own.name) if own else None


def read_book(patterns: Iterable[str]) -> BaselineBook:
    """Read all files named; raises BaselineError for the first that cannot be used. A wildcard may match nothing."""
    paths: list[Path] = []
    for pattern in patterns:
        # Path.glob takes no absolute patterns.
        paths += map(Path, sorted(glob.glob(pattern))) if glob.has_magic(pattern) else [Path(pattern)]  # noqa: PTH207
    return BaselineBook(read_baseline(path) for path in dict.fromkeys(paths))
