"""Evidently's `DataDriftPreset` as it comes."""

import pandas as pd  # type: ignore[import-untyped]
from evidently import Report  # type: ignore[import-not-found]
from evidently.presets import DataDriftPreset  # type: ignore[import-not-found]

from benchmarks.detect.sides.answering import answer


def compare(reference: str, current: str) -> int:
    """Both files from the disk to the report's dictionary."""
    before, now = (pd.read_parquet(path).drop(columns="time") for path in (reference, current))
    report = Report([DataDriftPreset()]).run(now, before)
    return len(report.dict()["metrics"])


if __name__ == "__main__":
    answer(compare)
