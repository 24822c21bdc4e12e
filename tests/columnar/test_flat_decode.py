"""The flat arrays between bytes and columns hold every attribute of every level, and are read within bounds."""

import os
import random
import subprocess
import sys
import threading
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue

from decode_oracle import REQUESTS, array_fault, rows_in
from driftmeter.columnar import layout
from driftmeter.columnar.config import AttributesConfig
from driftmeter.columnar.decoder import Decoder
from driftmeter.columnar.kinds import KindBook
from driftmeter.columnar.naming import compile_naming
from driftmeter.columnar.request import decode_requests
from driftmeter.columnar.schema import TRACES, build_table
from driftmeter.model.request import Signal
from otlp_samples import START_NS, attribute, batched_request, unusual_request, usual_request

EVERY_KEY = AttributesConfig.model_construct(
    model_name="the model", model_version="", model_stage="", prediction_id="", feature_prefix=""
)
"""Every key but the empty one is a feature; no file can configure that, so nothing checks it."""

GUARD_PROGRAM = """
import ctypes, mmap, random, sys
import numpy as np
from otlp_samples import batched_request, damage, unusual_request, usual_request
from driftmeter.columnar import layout
from driftmeter.columnar.config import AttributesConfig
from driftmeter.columnar.naming import compile_naming
from driftmeter.columnar.request import decode_requests
from driftmeter.columnar.schema import TRACES, build_table

SIZE = 1 << 20
pages = mmap.mmap(-1, SIZE + 2 * mmap.PAGESIZE)
address = ctypes.addressof(ctypes.c_char.from_buffer(pages))
libc = ctypes.CDLL(None, use_errno=True)
for guard in (address, address + mmap.PAGESIZE + SIZE):
    assert libc.mprotect(ctypes.c_void_p(guard), mmap.PAGESIZE, 0) == 0
room = np.frombuffer(pages, np.uint8)
naming, table = compile_naming(AttributesConfig()), build_table()
flat = layout.make_flat(4096, 256, 64, 1024)
flat.state[layout.SEED] = 1

def decode(data, at_end):
    start = mmap.PAGESIZE + (SIZE - len(data) if at_end else 0)
    room[start:start + len(data)] = np.frombuffer(data, np.uint8)
    view = room[start:start + len(data)]
    view.flags.writeable = False
    return decode_requests(view, np.array([len(data)]), TRACES, 2**63 - 1, naming, table, flat)

accepted = 0
samples = [usual_request(1, 3), batched_request(1, 3), *(unusual_request(random.Random(seed)) for seed in range(12))]
for sample in samples:
    for length in range(1, len(sample) + 1):
        for at_end in (True, False):
            accepted += decode(sample[:length], at_end) == 0
for seed in range(8_000):
    random_ = random.Random(seed)
    data = damage(random_.choice(samples), random_)
    accepted += bool(data) and decode(data, True) == 0
print("accepted", accepted)
if len(sys.argv) > 1:
    print(room[mmap.PAGESIZE + SIZE])  # The guard page.
"""


@settings(max_examples=500, deadline=None)
@given(st.integers(0, 2**48))
def test_every_attribute_of_every_level_is_flat(seed: int) -> None:
    """Owner, key, type, number, text and the bytes of nested values are those that protobuf reads."""
    request = ExportTraceServiceRequest.FromString(unusual_request(random.Random(seed)))  # noqa: S311 - repeatable.
    for resource_spans in request.resource_spans:
        resource_spans.resource.attributes.extend([attribute("the model", "m"), attribute("f", 1.0)])
        for span in (span for scope_spans in resource_spans.scope_spans for span in scope_spans.spans):
            span.end_time_unix_nano = START_NS
    data = request.SerializeToString()
    flat = layout.make_flat(2_000, 200, 200, 1_024)
    flat.state[layout.SEED] = seed
    buffer = np.frombuffer(data or b"\0", np.uint8)
    ends = np.array([len(data)])
    assert decode_requests(buffer, ends, TRACES, 2**63 - 1, compile_naming(EVERY_KEY), build_table(), flat) == 0
    number = skipped = 0
    for resource_spans in request.resource_spans:
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                levels = (resource_spans.resource.attributes, scope_spans.scope.attributes, span.attributes)
                merged = {each.key: each.value for level in levels for each in level if each.key != "the model"}
                merged.pop("", None)
                if array_fault(merged.values()) or rows_in(merged.values()) == 0:
                    skipped += 1
                    continue
                row = flat.spans[number]
                scope = flat.scopes[row[layout.SPAN_SCOPE]]
                resource_range = scope[[layout.SCOPE_RESOURCE_FIRST, layout.SCOPE_RESOURCE_STOP]]
                assert read(flat, data, resource_range) == last_of_each_key(resource_spans.resource.attributes)
                scope_range = scope[[layout.SCOPE_FIRST, layout.SCOPE_STOP]]
                assert read(flat, data, scope_range) == last_of_each_key(scope_spans.scope.attributes)
                assert read(flat, data, row[[layout.SPAN_FIRST, layout.SPAN_STOP]]) == wanted(span.attributes)
                assert row[layout.SPAN_START].view(np.uint64) == span.start_time_unix_nano
                number += 1
    assert (number, number + skipped) == (flat.state[layout.SPANS], flat.state[layout.RECEIVED])


def last_of_each_key(pairs: Iterable[KeyValue]) -> list[tuple[str, str | None, bytes]]:
    """The same for an owner, whose overwritten attributes are not kept."""
    every = wanted(pairs)
    return [each for i, each in enumerate(every) if each[0] not in {key for key, _, _ in every[i + 1 :]}]


def wanted(pairs: Iterable[KeyValue]) -> list[tuple[str, str | None, bytes]]:
    """Key, type and value of attributes, without the empty key."""
    return [(pair.key, pair.value.WhichOneof("value"), canonical(pair.value)) for pair in pairs if pair.key]


def canonical(value: AnyValue) -> bytes:
    """Bytes that say what the value is, without unknown fields."""
    known = AnyValue()
    known.CopyFrom(value)
    known.DiscardUnknownFields()
    return known.SerializeToString(deterministic=True)


def read(flat: layout.Flat, data: bytes, rows: layout.Ints) -> list[tuple[str, str | None, bytes]]:
    """Key, type and value of the attributes in rows [first, stop) of the flat arrays."""
    result: list[tuple[str, str | None, bytes]] = []
    for row in flat.attributes[rows[0] : rows[1]]:
        field = int(row[layout.ATTRIBUTE_FIELD])
        if field == layout.ELEMENT:
            continue
        key = "the model"
        if field != layout.MODEL:
            _, offset, size = flat.keys[flat.keys[field, layout.KEY_OF_FIELD], :3].tolist()
            key = data[offset : offset + size].decode()
        value = value_of(row, data, flat)
        result.append((key, value.WhichOneof("value"), canonical(value)))
    return result


def value_of(  # noqa: PLR0911 - one for each type.
    row: layout.Ints, data: bytes, flat: layout.Flat
) -> AnyValue:
    """The value that a row of the flat arrays describes."""
    _, kind, bits, length = row.tolist()
    piece = data[bits : bits + length] if kind in (layout.STRING, layout.BYTES, layout.NESTED) else b""
    match kind:
        case layout.STRING:
            return AnyValue(string_value=piece.decode())
        case layout.BOOL:
            return AnyValue(bool_value=bool(bits))
        case layout.INT:
            return AnyValue(int_value=bits)
        case layout.DOUBLE:
            return AnyValue(double_value=float(row.view(np.float64)[layout.ATTRIBUTE_VALUE]))
        case layout.BYTES:
            return AnyValue(bytes_value=piece)
        case layout.ARRAY:
            elements = flat.attributes[bits : bits + length]
            assert (elements[:, layout.ATTRIBUTE_FIELD] == layout.ELEMENT).all()
            return AnyValue(array_value=ArrayValue(values=[value_of(each, data, flat) for each in elements]))
        case layout.NESTED if row[layout.ATTRIBUTE_FIELD] == layout.ELEMENT:
            return AnyValue.FromString(piece)
        case layout.NESTED:
            return KeyValue.FromString(piece).value
        case layout.REFERENCE:
            return AnyValue(string_value_strindex=int(np.int64(bits).astype(np.int32)))
    return AnyValue()


def run_guarded(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the program that decodes between two pages that may not be touched."""
    return subprocess.run(
        [sys.executable, "-c", GUARD_PROGRAM, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(Path(__file__).parent.parent), *sys.path))},
    )


def test_decoder_reads_nothing_outside_the_request() -> None:
    """Truncated and damaged requests that end (or begin) at a forbidden page do not touch it."""
    done = run_guarded()
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[1]) > 100


def test_the_forbidden_page_is_forbidden() -> None:
    """Reading one byte behind the request kills the program, so the test above can fail."""
    assert run_guarded("touch").returncode < 0


def test_threads_decode_side_by_side() -> None:
    """Several threads with one decoder get the same rows as one."""
    requests = [usual_request(40, seed) for seed in range(8)]
    expected = [Decoder(AttributesConfig(), KindBook()).decode(each).batches[0].rows for each in requests]
    decoder = Decoder(AttributesConfig(), KindBook())
    failures: list[int] = []

    def work(start: int) -> None:
        for i in range(start, start + 40):
            rows = decoder.decode(requests[i % 8]).batches[0].rows
            if not rows.equals(expected[i % 8]):
                failures.append(i)

    threads = [threading.Thread(target=work, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_warm_up_compiles_everything_and_learns_nothing() -> None:
    """After warm-up no request compiles another version of any kernel."""
    kinds = KindBook()
    decoder = Decoder(AttributesConfig(preset="mlflow"), kinds)
    decoder.warm_up()
    before = compiled_versions()
    decoder.decode(b"")
    decoder.decode(usual_request(10))
    decoder.decode(batched_request(3, 3))
    for seed in range(100):
        for signal in Signal:
            random_ = random.Random(seed)  # noqa: S311 - repeatable.
            decoder.decode(unusual_request(random_, descriptor=REQUESTS[signal].DESCRIPTOR), signal)
    assert compiled_versions() == before
    assert ("sample", "1") not in kinds._known


def compiled_versions() -> dict[str, int]:
    """Number of compiled versions of every kernel."""
    return {
        f"{module.__name__}.{name}": len(value.signatures)
        for module in list(sys.modules.values())
        if getattr(module, "__name__", "").startswith("driftmeter.columnar")
        for name, value in vars(module).items()
        if hasattr(value, "signatures")
    }
