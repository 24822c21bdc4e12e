"""What became of windows, in a form that two runs can be compared by."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import polars as pl

from driftmeter.export.evaluated import EvaluatedWindow
from driftmeter.methods.sequential import SEQUENTIAL
from driftmeter.model.counts import PackedCounts

_NUMBERS = ("column", "method", "rows", "value", "noise_floor", "effect", "pvalue")
"""What follows from a window's counts alone; verdicts and sequential detectors also depend on the order in which
windows are evaluated, and on what each had when it was evaluated first."""


class WindowName(NamedTuple):
    """Which window."""

    model: str
    window: str
    start_ns: int


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What was said of a window.

    Attributes:
        name: Which window.
        revision: The how manieth time, from 0.
        rows: Its rows.
        digest: Of all its scores and of what was said about its columns, bit for bit.
    """

    name: WindowName
    revision: int
    rows: int
    digest: str

    @classmethod
    def of(cls, evaluated: EvaluatedWindow) -> "Evaluation":
        """Of what the pipeline hands to the exporter."""
        alone = evaluated.findings.filter(~pl.col("method").is_in(list(SEQUENTIAL)))
        findings = alone.select(_NUMBERS).sort("column", "method")
        quality = evaluated.quality.drop("window_index", "revision", "baseline", strict=False).sort("column")
        name = WindowName(evaluated.key.model, evaluated.window.name, evaluated.start_ns or 0)
        rows = findings.get_column("rows").max()
        digest = _digest([_bits(findings), _bits(quality)])
        return cls(name, evaluated.revision, rows if isinstance(rows, int) else 0, digest)

    def line(self) -> bytes:
        """One line of a file of evaluations."""
        return json.dumps([*self.name, self.revision, self.rows, self.digest]).encode() + b"\n"


def read_evaluations(file: Path) -> list[Evaluation]:
    """All evaluations of a file, in order."""
    lines = file.read_text().splitlines() if file.exists() else []
    return [
        Evaluation(WindowName(model, window, start_ns), revision, rows, digest)
        for model, window, start_ns, revision, rows, digest in map(json.loads, lines)
    ]


def last_of_each(evaluations: Iterable[Evaluation]) -> dict[WindowName, Evaluation]:
    """What was said last of each window."""
    return {each.name: each for each in evaluations}


def digest_of_counts(counts: PackedCounts) -> str:
    """Of every bit of a window's counts."""
    return _digest(array.tobytes() for array in counts.state().values())


def _bits(frame: pl.DataFrame) -> bytes:
    """A table as bytes: numbers with all their bits."""
    return frame.write_ndjson().encode()


def _digest(parts: Iterable[bytes]) -> str:
    found = hashlib.sha256()
    for part in parts:
        found.update(len(part).to_bytes(8, "little"))
        found.update(part)
    return found.hexdigest()[:24]
