"""Drift scores of other libraries by window and column, from their own environments."""

import json
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from accuracy.engine import Columns

Floats = npt.NDArray[np.float64]

_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Peer:
    """Another library.

    Attributes:
        key: Its environment, and the beginning of its script's name.
        name: What people call it.
        defaults: What its defaults are.
    """

    key: str
    name: str
    defaults: str


PEERS = (
    Peer("evidently", "Evidently", "`DataDriftPreset`: normalised Wasserstein or Jensen-Shannon distance above 0.1"),
    Peer("nannyml", "NannyML", "`UnivariateDriftCalculator`: Jensen-Shannon beyond mean + 3 standard deviations"),
)


def python_of(peer: Peer) -> Path | None:
    """The Python of a library's environment; None when `make bench-peers` has not made it."""
    command = [str(_ROOT / "scripts/peers.sh"), "--print", peer.key]
    answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603 - our own.
    path = Path(answer.split(maxsplit=1)[1].strip())
    return path if path.exists() else None


def scores(peer: Peer, reference: Columns, current: Columns, rows: int) -> Floats:
    """How far each window is drifted, 1 being the library's own threshold: float64 (windows, columns).

    Args:
        peer: The library.
        reference: Rows to compare with; at least the columns of `current`.
        current: Rows in the order of windows.
        rows: Rows in each window; `current` holds whole ones.
    """
    python = python_of(peer)
    if python is None:
        raise FileNotFoundError(f"the environment of {peer.name} is not there: make it by scripts/peers.sh {peer.key}")
    names = list(current)
    windows = len(current[names[0]]) // rows
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / name for name in ("reference.parquet", "current.parquet", "scores.json")]
        pl.DataFrame({name: reference[name] for name in names}).write_parquet(files[0])
        of_window = pl.Series("window", np.repeat(np.arange(windows), rows))
        pl.DataFrame([of_window, *(pl.Series(name, current[name]) for name in names)]).write_parquet(files[1])
        script = Path(__file__).with_name(f"{peer.key}_scores.py")
        command: Sequence[str | Path] = [python, script, *files, str(rows)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own.
        if done.returncode:
            raise RuntimeError(f"{peer.name} failed: {done.stderr[-2_000:]}")
        found = json.loads(files[2].read_text(encoding="utf-8"))
    table = np.zeros((windows, len(names)))
    places = {name: place for place, name in enumerate(names)}
    for each in found:
        table[each["window"], places[each["column"]]] = each["score"]
    return table
