"""The benchmark of detecting runs, and says what it is to say."""

import json
import subprocess
import sys

import pytest

from benchmarks.detect.parts import PARTS
from components import ROOT

SECONDS = 600.0
"""How long a quick run may take on a busy machine."""


def run_quick(*parts: str) -> dict[str, dict[str, object]]:
    """What a quick run of these parts prints, by metric."""
    command = [sys.executable, "-m", "benchmarks", "detect", "--quick", "--json"]
    command += [word for part in parts for word in ("--only", part)]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert {line["benchmark"] for line in lines} == {"detect"}
    return {line["metric"]: line for line in lines}


def test_evaluating_calibrating_and_large_files_are_measured() -> None:
    """The metrics have their agreed names and bounds, and every figure is positive."""
    found = run_quick("evaluate", "calibrate", "wait_for_level", "analyze_large")
    bounds = {
        "evaluate": 1.0,
        "calibrate": 60.0,
        "request_meanwhile_longest": 1_000.0,
        "build_large_memory": 2_000.0,
        "analyze_large_memory": 2_000.0,
    }
    assert {name: found[name]["target"] for name in bounds} == bounds
    assert all(float(str(each["value"])) > 0 for each in found.values())


@pytest.mark.parametrize("arguments", [["detect", "--only", "cost"], ["fold", "--only", "evaluate"]])
def test_a_part_of_another_benchmark_is_refused(arguments: list[str]) -> None:
    """The message names the parts that there are."""
    command = [sys.executable, "-m", "benchmarks", *arguments]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 2
    assert f"{arguments[0]} has no part named {arguments[2]}" in done.stderr
    assert all(name in done.stderr for name in PARTS)
