"""Memory after many spans that cross several panes, and what is kept for each span."""

import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.ingest.load import Load, load_generator
from benchmarks.ingest.processes import run_service
from benchmarks.ingest.workload import USUAL
from benchmarks.measure import Measurement, Options

SPANS, PANES = 50_000_000, 10
"""So many spans, over so many panes of five minutes."""
RESIDENT_MB = 600.0
"""What the service may hold then, in 10⁶ bytes."""
_QUICK_SPANS = 200_000
_PORTIONS = 50
_MB = 1e6


def run(options: Options, directory: Path) -> Iterator[Measurement]:
    """Sends in portions and looks at the service after each."""
    spans = _QUICK_SPANS if options.quick else SPANS
    if options.quick:
        print(f"ingest: memory after {spans:,} spans, not {SPANS:,}", file=sys.stderr)
    requests = spans // _PORTIONS // USUAL.spans
    resident: list[int] = []
    keys_bytes_max = 0.0
    with (
        load_generator(USUAL, spans_per_pane=spans // PANES) as load,
        run_service(USUAL, directory) as service,
    ):
        for _ in range(_PORTIONS):
            load.send(Load(service.otlp, requests))
            resident.append(service.watched.resident_bytes())
            keys_bytes_max = max(keys_bytes_max, service.own_metrics()["driftmeter_keys_bytes"])
        service.watched.settle()
        resident.append(service.watched.resident_bytes())
        kept, peak_bytes = service.own_metrics(), service.watched.peak_bytes()
    yield Measurement("ingest", "memory", max(resident) / _MB, "MB", target=RESIDENT_MB)
    yield Measurement("ingest", "memory_peak", peak_bytes / _MB, "MB")
    yield Measurement("ingest", "memory_at_end", resident[-1] / _MB, "MB")
    half = _PORTIONS // 2
    grown = (resident[-1] - resident[half]) / (spans * (1 - (half + 1) / _PORTIONS))
    yield Measurement("ingest", "memory_growth", grown, "bytes/span")
    keys = kept["driftmeter_keys"]
    yield Measurement("ingest", "keys_kept", keys / 1e6, "million spans")
    yield Measurement("ingest", "key_memory", kept["driftmeter_keys_bytes"] / keys, "bytes/key")
    yield Measurement("ingest", "key_memory_max", keys_bytes_max / _MB, "MB")
    state = directory / "state"
    yield Measurement("ingest", "key_on_disk", _size_bytes(state / "blobs") / keys, "bytes/key")
    for part in ("journal", "snapshots", "archive"):
        yield Measurement("ingest", f"{part}_on_disk", _size_bytes(state / part) / spans, "bytes/span")


def _size_bytes(directory: Path) -> int:
    return sum(file.stat().st_size for file in directory.rglob("*") if file.is_file())
