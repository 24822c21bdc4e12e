"""Request bytes to typed columns, against protobuf's own C parser on the same bytes.

1,000 spans with 23 attributes each: 16 doubles, 4 strings, the model's name and version, one prediction. Ours ends
with Arrow record batches; the parser's result is message objects that would still have to be walked.
"""

from collections.abc import Callable, Iterator
from types import ModuleType

import numpy as np
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from benchmarks.measure import Measurement, Work, compare, median_cpu_seconds
from driftmeter.columnar import batches, decoder, layout
from driftmeter.columnar.config import AttributesConfig
from driftmeter.columnar.decoder import Decoder
from driftmeter.columnar.kinds import KindBook
from tests.otlp_samples import usual_request

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
        original: Callable[..., object] = getattr(module, function)
        calls: list[tuple[object, ...]] = []

        def spy(*arguments: object, calls: list[tuple[object, ...]] = calls, original: Work = original) -> object:
            calls.append(arguments)
            return original(*arguments)

        setattr(module, function, spy)
        try:
            decode()
        finally:
            setattr(module, function, original)
        call = calls[-1]
        if function == "find_columns":  # Wants its index of fields empty.
            call = (*call[:2], np.full_like(call[2], -1), call[3])
            yield name, median_cpu_seconds(lambda call=call: _find(*call), repeats=50, rounds=15)
        else:
            yield name, median_cpu_seconds(lambda call=call, run=original: run(*call), repeats=20, rounds=15)


def _find(*arguments: object) -> None:
    arguments[2].fill(-1)
    batches.find_columns(*arguments)
