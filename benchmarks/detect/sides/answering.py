"""The loop that all sides share; of the standard library alone."""

import json
import sys
import time
from collections.abc import Callable


def answer(compare: Callable[[str, str], int]) -> None:
    """Compare the files of the command line once, and then once for each line of standard input.

    Args:
        compare: Compares a reference file and a current file; returns how many results it found.
    """
    reference, current = sys.argv[1:3]
    _print(compare, reference, current)
    for _ in sys.stdin:
        _print(compare, reference, current)


def _print(compare: Callable[[str, str], int], reference: str, current: str) -> None:
    start, cpu_start = time.perf_counter(), time.process_time()
    results = compare(reference, current)
    took = {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - cpu_start, "results": results}
    sys.stdout.write(json.dumps(took) + "\n")
    sys.stdout.flush()
