"""The compiled decoder and protobuf's parser agree on every byte sequence: on accept or refuse, and on every value."""
# ruff: noqa: S311 - random bytes that can be repeated.

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.common.v1.common_pb2 import KeyValue

from decode_oracle import REQUESTS, comparable, decoded_rows, expect, parse
from driftmeter.columnar.config import AttributesConfig
from driftmeter.columnar.decoder import Decoder
from driftmeter.columnar.kinds import KindBook
from driftmeter.errors import MalformedError
from driftmeter.model.request import Signal
from otlp_samples import (
    Scalar,
    array,
    attribute,
    batched_request,
    damage,
    field,
    make_logs,
    make_record,
    make_request,
    make_span,
    unusual_request,
    usual_request,
    varint,
)

SEEDS = st.integers(0, 2**48)
SIGNALS = st.sampled_from(Signal)


def usual_logs(records: int) -> bytes:
    """Log records with features, labels and an array."""
    attributes: dict[str, Scalar] = {"ml.feature.a": 1.5, "ml.label.late": True, "ml.feature.b": array("x", None)}
    return make_logs(
        [make_record(attributes, number, flags=1, severity_number=9) for number in range(records)],
        {"ml.model.name": "m"},
    ).SerializeToString()


def check(data: bytes, signal: Signal = Signal.TRACES) -> bool:
    """Compare both decoders; return whether they accept."""
    request = parse(data, signal)
    decoder = Decoder(AttributesConfig(), KindBook())
    if request is None:
        with pytest.raises(MalformedError):
            decoder.decode(data, signal)
        return False
    decoded, expected = decoder.decode(data, signal), expect(request)
    assert (decoded.received, decoded.ignored, dict(decoded.rejected)) == (
        expected.received,
        expected.ignored,
        expected.rejected,
    )
    rows = decoded_rows(decoded)
    assert list(rows) == list(expected.batches)
    for key, wanted in expected.batches.items():
        assert comparable(rows[key]) == comparable(wanted)
    mismatches = {batch.key: {name: list(rows) for name, rows in batch.mismatches.items()} for batch in decoded.batches}
    assert mismatches == expected.mismatches
    assert decoded.dropped_values == expected.dropped_values
    assert {batch.key: spans for batch, spans in zip(decoded.batches, decoded.batch_spans, strict=True)} == (
        expected.spans
    )
    assert decoded.accepted + decoded.ignored + sum(decoded.rejected.values()) == decoded.received
    return True


def test_usual_request_decodes_to_the_same_values() -> None:
    """The usual form of a request gives the same rows."""
    assert check(usual_request(50))


@settings(max_examples=1_000, deadline=None)
@given(SEEDS, SIGNALS)
def test_unusual_forms_decode_to_the_same_values(seed: int, signal: Signal) -> None:
    """Field order, repeats, unknown fields, merged messages and long numbers make no difference."""
    assert check(unusual_request(random.Random(seed), descriptor=REQUESTS[signal].DESCRIPTOR), signal)


@settings(max_examples=700, deadline=None)
@given(SEEDS, SIGNALS)
def test_faulty_fields_are_refused_alike(seed: int, signal: Signal) -> None:
    """A request with a fault somewhere is refused by both or by none."""
    check(unusual_request(random.Random(seed), faults=0.02, descriptor=REQUESTS[signal].DESCRIPTOR), signal)


@settings(max_examples=1_500, deadline=None)
@given(SEEDS, SIGNALS)
def test_damaged_requests_are_treated_alike(seed: int, signal: Signal) -> None:
    """Random damage to usual and unusual requests is refused by both or read alike by both."""
    random_ = random.Random(seed)
    if random_.random() < 0.4:
        source = random_.choice((usual_request(2, seed), batched_request(1, 3, seed), usual_logs(2)))
    else:
        source = unusual_request(random_, descriptor=REQUESTS[signal].DESCRIPTOR)
    check(damage(source, random_), signal)


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=60), SIGNALS)
def test_garbage_is_treated_alike(data: bytes, signal: Signal) -> None:
    """Arbitrary bytes are refused by both or read alike by both."""
    check(data, signal)


def test_usual_logs_decode_to_the_same_values() -> None:
    """Log records give the same rows."""
    assert check(usual_logs(50), Signal.LOGS)


def test_usual_arrays_decode_to_the_same_values() -> None:
    """Arrays give the same rows, whatever their elements are."""
    assert check(batched_request(5, 7))
    elements: list[Scalar] = [1.5, 2, "x", True, None, b"bytes", array(1), "t" * 200, -1]
    spans = [
        make_span({"ml.feature.a": array(*elements), "ml.segment.b": array(*elements[::-1]), "ml.feature.c": "x"}),
        make_span({"ml.feature.a": array(*elements[1:]), "ml.prediction.id": array(*elements[:-1])}, 1),
    ]
    assert check(make_request(spans, {"ml.model.name": "m", "ml.segment.s": array(1, 2, 3)}).SerializeToString())
    assert check(make_request(spans, {"ml.model.name": "m"}).SerializeToString())


def test_every_truncation_of_logs_and_arrays_is_treated_alike() -> None:
    """A request cut after any byte is refused or read as protobuf does."""
    for data, signal in ((usual_logs(1), Signal.LOGS), (batched_request(1, 2), Signal.TRACES)):
        accepted = sum(check(data[:length], signal) for length in range(len(data) + 1))
        assert 2 <= accepted < len(data) // 2


def test_every_truncation_is_treated_alike() -> None:
    """A request cut after any byte is refused or read as protobuf does."""
    data = make_request(
        [
            make_span(
                {"ml.feature.a": 1.5, "ml.feature.ü": "grün", "ml.segment.s": 3, "ml.prediction.p": True},
                trace_state="ot=th:8",
                status={"code": 2, "message": "failed"},
                events=[{"name": "event", "attributes": [KeyValue(key="k")]}],
                links=[{"trace_id": b"t" * 16}],
            )
        ],
        resource={"ml.model.name": "m"},
        scope={"ml.model.version": 2},
    ).SerializeToString()
    accepted = sum(check(data[:length]) for length in range(len(data) + 1))
    assert 2 <= accepted < len(data) // 2


def test_every_changed_byte_is_treated_alike() -> None:
    """Each byte of a request set to each of several values is refused or read as protobuf does."""
    data = make_request(
        [make_span({"ml.feature.a": 1.5, "ml.feature.b": "text", "ml.prediction.p": 7})],
        resource={"ml.model.name": "m"},
    ).SerializeToString()
    for position in range(len(data)):
        for value in (0x00, 0x01, 0x7F, 0x80, 0xFF, data[position] ^ 1, data[position] ^ 8):
            check(data[:position] + bytes([value]) + data[position + 1 :])


def nested(levels: int) -> bytes:
    """An AnyValue with arrays in arrays."""
    value = b""
    for _ in range(levels):
        value = field(5, 2, field(1, 2, value))
    return value


def in_attribute(value: bytes) -> bytes:
    """A request with one span with one attribute of the given AnyValue."""
    pair = field(1, 2, b"ml.feature.a") + field(2, 2, value)
    return field(1, 2, field(2, 2, field(2, 2, field(9, 2, pair))))


@pytest.mark.parametrize(
    ("data", "accepted"),
    [
        (in_attribute(nested(47)), True),
        (in_attribute(nested(48)), False),
        (in_attribute(b"\x7b" * 95 + b"\x7c" * 95), True),
        (in_attribute(b"\x7b" * 96 + b"\x7c" * 96), False),
        (b"\x7b" * 100 + b"\x7c" * 100, True),
        (b"\x7b" * 101 + b"\x7c" * 101, False),
        (b"\x13\x00\x01\x14", True),  # Field 0 inside an unknown group.
        (b"\x00\x01", False),
        (b"\x13\x1c", False),
        (b"\x14", False),
        (varint(2 << 3 | 2, 4) + b"\x00", True),
        (varint(2 << 3 | 2, 5) + b"\x00", False),
        (b"\xf8\xff\xff\xff\x0f\x01", True),
        (b"\xf8\xff\xff\xff\x1f\x01", False),
        (b"\x12" + varint(0, 4), True),
        (b"\x12" + varint(0, 5), False),
        (b"\x10" + b"\xff" * 9 + b"\x7f", True),
        (b"\x10" + b"\xff" * 10 + b"\x01", False),
        (in_attribute(b"\x18" + b"\x80" * 9 + b"\x02"), True),
        (in_attribute(b"\x10" + b"\x80" * 9 + b"\x02"), True),
        (in_attribute(b"\x0a\x01\xff"), False),
        (in_attribute(b"\x0a\x01\xff\x0a\x01a"), False),  # Overwritten, and refused all the same.
        (in_attribute(b"\x3a\x01\xff"), True),
        (in_attribute(b"\x2a\x05\x0a\x03\x0a\x01\xff"), False),
        (field(1, 2, field(3, 2, b"\xff")), False),
        (b"", True),
    ],
)
def test_edges_of_the_wire_format(data: bytes, accepted: bool) -> None:  # noqa: FBT001
    """What protobuf accepts at its limits is known, and the same here."""
    assert check(data) is accepted


def array_of(*elements: bytes) -> bytes:
    """Fields of an AnyValue with an array of the given AnyValues."""
    return field(5, 2, b"".join(field(1, 2, element) for element in elements))


ONE, TWO, TEXT = b"\x18\x01", b"\x18\x02", b"\x0a\x01x"


@pytest.mark.parametrize(
    ("value", "rows"),
    [
        (array_of(ONE, TWO), [1.0, 2.0]),
        (array_of(ONE) + array_of(TWO), [1.0, 2.0]),  # One oneof field twice: merged.
        (array_of(ONE) + TEXT + array_of(TWO), [2.0]),
        (array_of(ONE) + field(6, 2, b"") + array_of(TWO, ONE), [2.0, 1.0]),
        (array_of(ONE) + field(7, 2, b"b") + array_of(TWO), [2.0]),
        (array_of(ONE) + b"\x40\x01" + array_of(TWO), [2.0]),
        (array_of(ONE) + b"\x28\x01" + array_of(TWO), [1.0, 2.0]),  # Number 5 as a varint: unknown.
        (TEXT + array_of(ONE + TWO), [2.0]),
        (field(5, 2, field(2, 2, b"?") + field(1, 2, ONE) + b"\x8a\x00\x02" + TWO), [1.0, 2.0]),
        (array_of(b"", ONE), [None, 1.0]),
        (array_of(ONE, array_of(TWO), field(6, 2, b"")), [1.0, None, None]),
    ],
)
def test_arrays_in_every_form_are_read(value: bytes, rows: list[float | None]) -> None:
    """Merged, overwritten and oddly written arrays are those that protobuf reads."""
    pair = field(1, 2, b"ml.feature.a") + field(2, 2, value)
    model = attribute("ml.model.name", "m").SerializeToString()
    span = field(9, 2, pair) + field(9, 2, model) + field(8, 1, b"12345678")
    data = field(1, 2, field(2, 2, field(2, 2, span)))
    assert check(data)
    (batch,) = Decoder(AttributesConfig(), KindBook()).decode(data).batches
    assert batch.rows.column("feature.a").to_pylist() == rows
    # Two values of one KeyValue are merged as well.
    twice = field(9, 2, pair + field(2, 2, value)) + field(9, 2, model) + field(8, 1, b"12345678")
    assert check(field(1, 2, field(2, 2, field(2, 2, twice))))


def test_attributes_of_the_resource_count_wherever_they_stand() -> None:
    """A resource after its spans, in two pieces, is one resource."""
    span = make_span({"ml.feature.a": 1.0}).SerializeToString()
    scope_spans = field(2, 2, field(2, 2, span))
    first = field(1, 2, field(1, 2, attribute("ml.model.name", "m").SerializeToString()))
    second = field(1, 2, field(1, 2, attribute("ml.model.stage", "s").SerializeToString()))
    data = field(1, 2, scope_spans + first + second)
    assert check(data)
    decoded = Decoder(AttributesConfig(), KindBook()).decode(data)
    assert [batch.key for batch in decoded.batches] == [("m", "", "s")]


def test_keys_at_all_levels_merge_in_bulk() -> None:
    """Hundreds of resources, scopes and spans with keys spread over the levels give the same rows."""
    random_ = random.Random(5)
    values: list[Scalar] = [1.0, 2, "x"]
    requests = []
    for _ in range(60):
        keys = ["ml.model.name", "ml.feature.a", "ml.feature.b", "ml.segment.s", "ml.prediction.p", "ml.prediction.id"]
        levels: list[dict[str, Scalar]] = [
            {key: random_.choice("mn") if "name" in key else random_.choice(values) for key in keys} for _ in range(3)
        ]
        chosen = [{key: value for key, value in level.items() if random_.random() < 0.6} for level in levels]
        spans = [make_span(chosen[2], number) for number in range(random_.randint(0, 9))]
        requests.append(make_request(spans, chosen[0], chosen[1]).SerializeToString())
    assert check(b"".join(requests))  # Concatenated messages are one message with all the resources.


def test_long_texts_at_all_levels_are_treated_alike() -> None:
    """Names, ids and categories around the limit, overwritten or not, give the same rows and the same counts."""
    random_ = random.Random(7)
    keys = ("ml.model.name", "ml.model.version", "ml.model.stage", "ml.prediction.id", "ml.segment.s", "ml.label.l")
    texts: list[Scalar] = ["short", "x" * 256, "ü" * 128, "x" * 257, "ü" * 128 + "x", "y" * 2_000, 1, True, None]
    requests = []
    for _ in range(400):
        levels: list[dict[str, Scalar]] = [
            {key: random_.choice(texts[:3] if "model" in key else texts) for key in keys if random_.random() < 0.5}
            for _ in range(3)
        ]
        if random_.random() < 0.3:
            levels[random_.randrange(3)][random_.choice(keys[:3])] = random_.choice(texts)
        spans = [make_span({"ml.feature.a": random_.choice(texts), **levels[2]}, i) for i in range(3)]
        requests.append(make_request(spans, levels[0], levels[1]).SerializeToString())
    data = b"".join(requests)
    assert check(data)
    decoded = Decoder(AttributesConfig(), KindBook()).decode(data)
    assert decoded.rejected["string_too_long"] > 50
    assert min(decoded.dropped_values["id_too_long"], decoded.dropped_values["string_too_long"]) > 50


def test_large_request_grows_every_array() -> None:
    """More spans, attributes, scopes and keys than there is room for at first are all decoded."""
    many_keys = {f"ml.feature.f{i}": float(i) for i in range(1_500)}
    parts = [make_request([make_span(many_keys)], resource={"ml.model.name": "m"}).SerializeToString()]
    parts += [
        make_request([make_span({"ml.feature.f0": 1.0}, i)], resource={"ml.model.name": "m"}).SerializeToString()
        for i in range(400)
    ]
    assert check(b"".join(parts))


def test_empty_spans_by_the_thousand_take_no_room() -> None:
    """A request of nothing but empty spans is counted, not kept."""
    data = field(1, 2, field(2, 2, b"\x12\x00" * 300_000))
    decoder = Decoder(AttributesConfig(), KindBook())
    decoded = decoder.decode(data)
    assert (decoded.received, decoded.ignored, decoded.batches) == (300_000, 300_000, ())
    assert np.shape(decoder._local.flat.spans)[0] < 10_000
