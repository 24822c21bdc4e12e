"""Request bytes to typed columns, against protobuf's own C parser on the same bytes.

1,000 spans with 23 attributes each: 16 doubles, 4 strings, the model's name and version, one prediction; the same
values as arrays of 100 elements in 100 spans, and as JSON. Ours ends with Arrow record batches; the parser's result is
message objects that would still have to be walked.
"""

import json
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from benchmarks.measure import Measurement, Options, Work, compare, median_cpu_seconds
from driftmeter.columnar import batches, decoder, layout
from driftmeter.columnar.config import AttributesConfig
from driftmeter.columnar.decoder import Decoder
from driftmeter.columnar.kinds import KindBook
from otlp_samples import batched_request, make_request, make_span, owner_heavy_request, usual_request

SPANS = 1_000
ARRAY_SPANS, ELEMENTS = 100, 100
SMALL_SPANS, SMALL_REQUESTS = 10, 100
_STAGES: tuple[tuple[ModuleType, str, str], ...] = (
    (decoder, "decode_requests", "wire"),
    (batches, "group_spans", "group"),
    (batches, "find_columns", "find_columns"),
    (batches, "_fill", "fill_columns"),
    (batches, "_arrays", "categories_and_arrow"),
    (batches, "fixed_arrays", "fixed_fields"),
    (batches, "_prediction_ids", "prediction_ids"),
)
"""Functions that make up a decode, where they are looked up, and what the stage is called."""


def run(_options: Options) -> Iterator[Measurement]:
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
        target=0.9,
    )
    yield Measurement("decode", "request_size", len(request), "bytes")
    for name, seconds in _stage_seconds(lambda: ours.decode(request)):
        yield Measurement("decode", f"stage_{name}", _per_span(seconds), "ns/span")
    yield Measurement("decode", "flat_room", _flat_bytes(ours) / SPANS, "bytes/span")
    yield _arrays()
    yield _json()
    yield from _small()
    yield from _worst_cases()


def _arrays() -> Measurement:
    """Batched inference, per row."""
    request = batched_request(ARRAY_SPANS, ELEMENTS)
    ours = Decoder(AttributesConfig(), KindBook())
    rows = len(ours.decode(request).batches[0].rows)
    assert rows == ARRAY_SPANS * ELEMENTS
    compared = compare(
        lambda: ours.decode(request), lambda: ExportTraceServiceRequest.FromString(request), repeats=5, rounds=21
    )
    return Measurement(
        benchmark="decode",
        metric="arrays_cpu_vs_protobuf",
        value=compared.seconds / rows * 1e9,
        unit="ns/row",
        reference="ExportTraceServiceRequest.FromString",
        reference_value=compared.reference_seconds / rows * 1e9,
        ratio=compared.ratio,
    )


def _json() -> Measurement:
    """16 numbers and 4 texts in one JSON object in each span."""
    members = json.dumps({**{f"x{i}": i / 7 for i in range(16)}, **{f"c{i}": "Los Angeles" for i in range(4)}})
    spans = [make_span({"decision.model_name": "flights", "input.value": members}, i) for i in range(SPANS)]
    request = make_request(spans).SerializeToString()
    ours = Decoder(AttributesConfig(preset="openinference"), KindBook())
    assert len(ours.decode(request).batches[0].rows) == SPANS
    texts = [members] * SPANS
    compared = compare(lambda: ours.decode(request), lambda: list(map(json.loads, texts)), repeats=5, rounds=21)
    return Measurement(
        benchmark="decode",
        metric="json_cpu_vs_python",
        value=_per_span(compared.seconds),
        unit="ns/span",
        reference="json.loads of the texts alone",
        reference_value=_per_span(compared.reference_seconds),
        ratio=compared.ratio,
    )


def _small() -> Iterator[Measurement]:
    """Requests as an SDK sends them without a Collector: each by itself, and as many as wait at once."""
    bodies = [usual_request(SMALL_SPANS, seed) for seed in range(SMALL_REQUESTS)]
    ours = Decoder(AttributesConfig(), KindBook())
    assert ours.decode_many(bodies).accepted == SMALL_SPANS * SMALL_REQUESTS
    for name, work in (
        ("small_alone", lambda: [ours.decode(body) for body in bodies]),
        ("small_together", lambda: ours.decode_many(bodies)),
    ):
        seconds = median_cpu_seconds(work, repeats=5, rounds=15)
        yield Measurement("decode", name, seconds / SMALL_REQUESTS * 1e6, "us/request")


def _worst_cases() -> Iterator[Measurement]:
    """Requests made of many attributes of owners and many spans in these, which would be multiplied if it were naive.

    The figure for 1 MiB; at four times the size it must not be much more for each byte.
    """
    for size in (2**20, 2**22):
        worst = max(
            median_cpu_seconds(_decoding(owner_heavy_request(size, kind, level)), repeats=1, rounds=3)
            for kind in ("attributes", "arrays", "duplicates", "unlike", "undecided", "overwritten")
            for level in ("resource", "scope", "scopes")
        )
        name = "decode_worst_case" if size == 2**20 else "decode_worst_case_4mib"
        yield Measurement("decode", name, worst / size * 1e9, "ns/byte")


def _decoding(request: bytes) -> Work:
    return lambda: Decoder(AttributesConfig(), KindBook()).decode(request)


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
            arguments[3].fill(-1)  # It wants its index empty.
        original(*arguments)

    return again
