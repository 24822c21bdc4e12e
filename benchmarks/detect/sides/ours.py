"""`driftmeter analyze`: all methods and verdicts, in windows of a tenth of the current rows."""

from pathlib import Path

from benchmarks.detect.sides.answering import answer
from driftmeter.analyze import analyze
from driftmeter.baseline.data import ColumnOptions
from driftmeter.baseline.files import read_datasets
from driftmeter.detect.config import DetectConfig
from driftmeter.model.windows import parse_window


def compare(reference: str, current: str) -> int:
    """Both files from the disk to findings."""
    before, now = read_datasets([[Path(reference)], [Path(current)]], ColumnOptions("time"))
    window = parse_window(f"{-(-now.count // 10)}rows")
    return analyze(before, now, [window], DetectConfig()).findings.height


if __name__ == "__main__":
    answer(compare)
