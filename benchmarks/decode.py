"""Request bytes to typed columns, against protobuf's own C parser on the same bytes.

1,000 spans with 23 attributes each: 16 doubles, 4 strings, the model's name and version, one prediction. Ours ends
with Arrow record batches; the parser's result is message objects that would still have to be walked.
"""

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from benchmarks.measure import Measurement, Work, compare, median_cpu_seconds
from driftmeter.columnar import batches, decoder, layout
from driftmeter.columnar.config import AttributesConfig
from driftmeter.columnar.decoder import Decoder
from driftmeter.columnar.kinds import KindBook
from otlp_samples import usual_request

SPANS = 1_000
_STAGES: tuple[tuple[ModuleType, str, str], ...] = (
    (decoder, "decode_request", "wire"),
    (batches, "_split", "group"),
    (batches, "find_columns", "find_columns"),
    (batches, "_fill", "fill_columns"),
    (batches, "_arrays", "categories_and_arrow"),
    (batches, "fixed_arrays", "fixed_fields"),
    (batches, "_prediction_ids", "prediction_ids"),
)
"""Functions that make up a decode, where they are looked up, and what the stage is called."""


def run() -> Iterator[Measurement]:
    """Compare, then time each stage."""
    request = usual_request(SPANS)
    ours = Decoder(AttributesConfig(), KindBook())
    ours.warm_up()
    assert len(ours.decode(request).batches[0].rows) == SPANS
    compared = compare(
        lambda: ours.decode(request), lambda: ExportTraceServiceRequest.FromString(request), repeats=20, rounds=41
    )
    yield Measurement(
        benchmark="decode",
        metric="decode_cpu_vs_protobuf",
        value=_per_span(compared.seconds),
        unit="ns/span",
        reference="ExportTraceServiceRequest.FromString",
        reference_value=_per_span(compared.reference_seconds),
        ratio=compared.ratio,
        target=1.3,
    )
    yield Measurement("decode", "request_size", len(request), "bytes")
    for name, seconds in _stage_seconds(lambda: ours.decode(request)):
        yield Measurement("decode", f"stage_{name}", _per_span(seconds), "ns/span")
    yield Measurement("decode", "flat_room", _flat_bytes(ours) / SPANS, "bytes/span")


def _per_span(seconds: float) -> float:
    return seconds / SPANS * 1e9


def _flat_bytes(ours: Decoder) -> int:
    """Bytes of the arrays that a thread keeps between requests."""
    kept: layout.Flat = ours._local.flat  # noqa: SLF001
    return sum(np.asarray(array).nbytes for array in kept)


def _stage_seconds(decode: Work) -> Iterator[tuple[str, float]]:
    """CPU time of each stage: its last call is caught and repeated by itself."""
    for module, function, name in _STAGES:
        yield name, median_cpu_seconds(_caught(decode, module, function), repeats=50, rounds=15)


def _caught(decode: Work, module: ModuleType, function: str) -> Work:
    """The last call of a function that a decode makes, to be made again."""
    original = getattr(module, function)
    calls: list[tuple[Any, ...]] = []

    def spy(*arguments: object) -> object:
        calls.append(arguments)
        return original(*arguments)

    setattr(module, function, spy)
    try:
        decode()
    finally:
        setattr(module, function, original)
    arguments = calls[-1]

    def again() -> None:
        if function == "find_columns":
            arguments[2].fill(-1)  # It wants its index empty.
        original(*arguments)

    return again
