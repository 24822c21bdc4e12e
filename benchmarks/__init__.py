"""Benchmarks: `python -m benchmarks [NAME ...] [--json]`."""

import sys
from pathlib import Path

# Requests are built by the code that builds them for the tests.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
