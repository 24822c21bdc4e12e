"""OTLP requests for tests and benchmarks: usual ones, and every legal and illegal form of the wire format."""

import random
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.trace.v1.trace_pb2 import Span

Scalar = str | bool | int | float | bytes | None | AnyValue
"""A value of an attribute; None is an AnyValue without a value, an AnyValue stands for itself."""

START_NS = 1_700_000_000_000_000_000
"""When the sample spans start."""

USUAL_NUMBERS = tuple(f"ml.feature.x{i}" for i in range(16))
USUAL_TEXTS = tuple(f"ml.feature.c{i}" for i in range(4))


def attribute(key: str, value: Scalar) -> KeyValue:
    """One attribute."""
    if isinstance(value, AnyValue):
        return KeyValue(key=key, value=value)
    result = KeyValue(key=key)
    if isinstance(value, bool):
        result.value.bool_value = value
    elif isinstance(value, int):
        result.value.int_value = value
    elif isinstance(value, float):
        result.value.double_value = value
    elif isinstance(value, str):
        result.value.string_value = value
    elif isinstance(value, bytes):
        result.value.bytes_value = value
    else:
        result.value.SetInParent()
    return result


def array(*values: Scalar) -> AnyValue:
    """An array of values of any types."""
    return AnyValue(array_value=ArrayValue(values=[attribute("", value).value for value in values]))


def make_span(attributes: Mapping[str, Scalar] | Sequence[KeyValue], number: int = 0, **fields: Any) -> Span:
    """A span of 5 ms with ids made from `number`; `fields` are further fields of the message."""
    pairs = [attribute(*item) for item in attributes.items()] if isinstance(attributes, Mapping) else attributes
    usual = {
        "trace_id": number.to_bytes(8, "big") + b"trace-id",
        "span_id": number.to_bytes(4, "big") + b"span",
        "name": "predict",
        "kind": Span.SPAN_KIND_SERVER,
        "start_time_unix_nano": START_NS + number * 1_000_000,
        "end_time_unix_nano": START_NS + number * 1_000_000 + 5_000_000,
    }
    return Span(attributes=pairs, **{**usual, **fields})


def make_request(
    spans: Sequence[Span],
    resource: Mapping[str, Scalar] | None = None,
    scope: Mapping[str, Scalar] | None = None,
) -> ExportTraceServiceRequest:
    """A request with one resource and one scope."""
    request = ExportTraceServiceRequest()
    resource_spans = request.resource_spans.add()
    resource_spans.resource.attributes.extend(attribute(*item) for item in (resource or {}).items())
    scope_spans = resource_spans.scope_spans.add()
    scope_spans.scope.attributes.extend(attribute(*item) for item in (scope or {}).items())
    scope_spans.spans.extend(spans)
    return request


def make_record(attributes: Mapping[str, Scalar] | Sequence[KeyValue], number: int = 0, **fields: Any) -> LogRecord:
    """A log record with the ids of the span of that number; `fields` are further fields of the message."""
    span = make_span(attributes, number)
    usual = {
        "trace_id": span.trace_id,
        "span_id": span.span_id,
        "time_unix_nano": span.end_time_unix_nano,
        "observed_time_unix_nano": span.end_time_unix_nano + 1_000,
        "body": {"string_value": "predicted"},
    }
    return LogRecord(attributes=span.attributes, **{**usual, **fields})


def make_logs(
    records: Sequence[LogRecord],
    resource: Mapping[str, Scalar] | None = None,
    scope: Mapping[str, Scalar] | None = None,
) -> ExportLogsServiceRequest:
    """A request of log records with one resource and one scope."""
    request = ExportLogsServiceRequest()
    resource_logs = request.resource_logs.add()
    resource_logs.resource.attributes.extend(attribute(*item) for item in (resource or {}).items())
    scope_logs = resource_logs.scope_logs.add()
    scope_logs.scope.attributes.extend(attribute(*item) for item in (scope or {}).items())
    scope_logs.log_records.extend(records)
    return request


def batched_request(spans: int = 100, elements: int = 100, seed: int = 1) -> bytes:
    """What a model server sends for batches: arrays of 16 doubles, 4 strings and one prediction in each span."""
    random_ = random.Random(seed)  # noqa: S311 - repeatable.
    categories = ("AA", "United Airlines", "EWR", "Los Angeles", "monday")
    return make_request(
        [
            make_span(
                {
                    "ml.model.name": "flights",
                    "ml.model.version": "v3",
                    **{key: array(*(random_.gauss(0.0, 1.0) for _ in range(elements))) for key in USUAL_NUMBERS},
                    **{key: array(*(random_.choice(categories) for _ in range(elements))) for key in USUAL_TEXTS},
                    "ml.prediction.late": array(*(random_.random() for _ in range(elements))),
                },
                number,
                trace_id=random_.randbytes(16),
                span_id=random_.randbytes(8),
            )
            for number in range(spans)
        ],
        resource={"service.name": "scorer"},
    ).SerializeToString()


def usual_request(spans: int = 1_000, seed: int = 1) -> bytes:
    """What a model server sends: spans with 23 attributes, some 690 bytes each.

    16 doubles, 4 strings, the model's name and version, one prediction.
    """
    random_ = random.Random(seed)  # noqa: S311 - repeatable.
    categories = ("AA", "United Airlines", "EWR", "Los Angeles", "monday")
    return make_request(
        [
            make_span(
                {
                    "ml.model.name": "flights",
                    "ml.model.version": "v3",
                    **{key: random_.gauss(0.0, 1.0) for key in USUAL_NUMBERS},
                    **{key: random_.choice(categories) for key in USUAL_TEXTS},
                    "ml.prediction.late": random_.random(),
                },
                number,
                trace_id=random_.randbytes(16),
                span_id=random_.randbytes(8),
            )
            for number in range(spans)
        ],
        resource={"service.name": "scorer"},
    ).SerializeToString()


def owner_heavy_request(size_bytes: int, kind: str = "attributes", level: str = "resource") -> bytes:
    """Half of the bytes are attributes of owners, the other half spans in them that are as small as can be.

    Args:
        size_bytes: About how large.
        kind: What the owners hold: one value for each key (`attributes`), arrays of two elements (`arrays`), one key
            again and again (`duplicates`), arrays of different lengths (`unlike`), keys without a value
            (`undecided`), or what each span overwrites (`overwritten`).
        level: One `resource`, one `scope`, or one resource with a scope for each span (`scopes`).
    """
    values: dict[str, Scalar] = {"arrays": array(1, 2), "undecided": None}
    count = size_bytes // 2 // {"arrays": 37, "unlike": 37}.get(kind, 26)
    pairs = []
    for i in range(count):
        value = array(*[1] * (2 + i % 2)) if kind == "unlike" else values.get(kind, 1)
        pairs.append(attribute(f"ml.feature.{0 if kind == 'duplicates' else i}", value).SerializeToString())
    first = [attribute(key, value).SerializeToString() for key, value in (("ml.model.name", "m"), ("ml.label.l", 1))]
    own = [attribute(f"ml.feature.{count // 2}", 1.0).SerializeToString()] if kind == "overwritten" else []
    span = field(8, 1, START_NS.to_bytes(8, "little")) + b"".join(field(9, 2, pair) for pair in own)
    entries = [field(2, 2, span)] * (size_bytes // 2 // (len(span) + 6))
    resource = b"".join(field(1, 2, pair) for pair in (first if level == "scope" else [*first, *pairs]))
    scope = field(1, 2, b"".join(field(3, 2, pair) for pair in pairs)) if level == "scope" else b""
    if level == "scopes":
        return field(1, 2, field(1, 2, resource) + b"".join(field(2, 2, entry) for entry in entries))
    return field(1, 2, field(1, 2, resource) + field(2, 2, scope + b"".join(entries)))


# What follows writes the wire format by hand, to reach forms that no library writes.

_KEYS = (
    "ml.model.name",
    "ml.model.version",
    "ml.model.stage",
    "ml.prediction.id",
    "ml.feature.a",
    "ml.feature.b",
    "ml.feature.ünï",
    "ml.feature.a_much_longer_name_than_the_others",
    "ml.feature.",
    "ml.prediction.late",
    "ml.probability.late",
    "ml.label.late",
    "ml.segment.region",
    "http.method",
    "",
)
_KEYS_THAT_COUNT = ("ml.model.name", "ml.feature.a", "ml.feature.b", "ml.prediction.late")
_TEXTS = ("", "a", "text", "true", "12", "exactly8", "exactly-16-bytes", "größe", "日本語", "😀", "x" * 200)
_TRACE_STATES = ("", "ot=th:8", "ot=rv:1;th:c", "a=b, ot=th:ff;x:y", "ot=th:zz", "ot=th:", "ot=th:123456789012345")
_BAD_TEXTS = (b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"exactly8\x80", b"\xe6\x97")
_INTEGERS = (0, 1, 2, 3, 127, 128, 300, 2**31, 2**32 + 2, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1)
_DOUBLES = (0.0, -0.0, 1.0, -1.5, float("nan"), float("inf"), float("-inf"), 1e300, 5e-324)
_VARINT_TYPES = (
    FieldDescriptor.TYPE_INT64,
    FieldDescriptor.TYPE_INT32,
    FieldDescriptor.TYPE_UINT32,
    FieldDescriptor.TYPE_BOOL,
    FieldDescriptor.TYPE_ENUM,
)


def varint(value: int, extra_bytes: int = 0) -> bytes:
    """A number in base 128, with `extra_bytes` more than it needs; more than ten bytes only if these make it so."""
    result = bytearray()
    while value > 0x7F:
        result.append(value & 0x7F | 0x80)
        value >>= 7
    result.append(value)
    for _ in range(extra_bytes):
        result[-1] |= 0x80
        result.append(0)
    return bytes(result)


def field(number: int, wire: int, content: bytes) -> bytes:
    """One field; content of wire type 2 gets its length."""
    head = varint(number << 3 | wire)
    return head + varint(len(content)) + content if wire == 2 else head + content


def unusual_request(
    random_: random.Random, *, faults: float = 0.0, descriptor: Descriptor = ExportTraceServiceRequest.DESCRIPTOR
) -> bytes:
    """A request written field by field: any order, repeated and unknown fields, long numbers, wrong wire types.

    `faults` is the probability that a field has something no parser accepts.
    """
    return _message(descriptor, random_, faults, 0)


def _message(descriptor: Descriptor, random_: random.Random, faults: float, depth: int) -> bytes:
    fields = list(descriptor.fields)
    few = depth > 8
    chosen = [] if few else random_.choices(fields, k=random_.randint(0, len(fields) + 1))
    nested = [each for each in fields if each.message_type is not None]
    if nested and not few:  # Otherwise most requests would have no spans.
        chosen += random_.choices(nested, k=random_.choice((0, 1, 2)))
    if descriptor.name == "Span":
        chosen += [descriptor.fields_by_name["attributes"]] * random_.randint(0, 6)
        chosen += [descriptor.fields_by_name["end_time_unix_nano"]]
    elif descriptor.name == "LogRecord":
        chosen += [descriptor.fields_by_name["attributes"]] * random_.randint(0, 6)
        chosen += [descriptor.fields_by_name[random_.choice(("time_unix_nano", "observed_time_unix_nano"))]]
    elif descriptor.name == "KeyValue":
        chosen = [descriptor.fields_by_name[name] for name in ("key", "value")] + chosen[: random_.choice((0, 0, 2))]
    elif descriptor.name == "AnyValue":
        chosen = random_.choices(fields[:5] + fields, k=random_.choice((0, 1, 1, 1, 1, 2)))
    elif descriptor.name == "ArrayValue" and not few:  # Mostly alike, so that spans with several are accepted.
        chosen = [descriptor.fields_by_name["values"]] * random_.choice((0, 1, 2, 2, 2, 2, 3))
    parts = [_field(each, random_, faults, depth) for each in chosen]
    if random_.random() < 0.2:
        parts.append(_unknown(random_, faults, 0))
    if random_.random() < 0.3:
        random_.shuffle(parts)
    return b"".join(parts)


def _field(  # noqa: PLR0911 - one for each type.
    descriptor: FieldDescriptor, random_: random.Random, faults: float, depth: int
) -> bytes:
    number = descriptor.number
    if random_.random() < 0.02:  # The right number with another wire type: an unknown field.
        return random_.choice((field(number, 0, b"\x05"), field(number, 5, b"abcd"), field(number, 1, b"abcdefgh")))
    if random_.random() < faults:
        return random_.choice(
            (b"\x00\x01", b"\x0e", b"\x0c", varint(number << 3 | 2) + b"\xff\xff\xff\xff\x0f", b"\x80")
        )
    long_ = random_.choice((1, 2, 3)) if random_.random() < 0.03 else 0
    if descriptor.message_type is not None:
        content = _message(descriptor.message_type, random_, faults, depth + 1)
    elif descriptor.type == FieldDescriptor.TYPE_STRING:
        content = _text(descriptor, random_, faults)
    elif descriptor.type == FieldDescriptor.TYPE_BYTES:
        content = _id_or_bytes(descriptor, random_)
    elif descriptor.type in _VARINT_TYPES:
        value = random_.choice(_INTEGERS)
        return varint(number << 3) + varint(value, min(long_, 10 - len(varint(value))))
    elif descriptor.type == FieldDescriptor.TYPE_DOUBLE:
        return field(number, 1, struct.pack("<d", random_.choice(_DOUBLES)))
    elif descriptor.type == FieldDescriptor.TYPE_FIXED64:
        return field(
            number,
            1,
            struct.pack("<Q", random_.choice((0, 1, START_NS, START_NS, START_NS, START_NS + 7, 2**63, 2**64 - 1))),
        )
    else:
        return field(number, 5, random_.randbytes(4))
    return varint(number << 3 | 2, min(long_, 2)) + varint(len(content), long_ and 1) + content


def _text(descriptor: FieldDescriptor, random_: random.Random, faults: float) -> bytes:
    if random_.random() < faults:
        return random_.choice(_BAD_TEXTS)
    keys = _KEYS if random_.random() < 0.4 else _KEYS_THAT_COUNT
    pool = {"key": keys, "trace_state": _TRACE_STATES}.get(descriptor.name, _TEXTS)
    return random_.choice(pool).encode()


def _id_or_bytes(descriptor: FieldDescriptor, random_: random.Random) -> bytes:
    usual = {"trace_id": 16, "span_id": 8}.get(descriptor.name, 3)
    return random_.choice((random_.randbytes(usual), random_.randbytes(usual), bytes(usual), b"", b"short"))


def _unknown(random_: random.Random, faults: float, depth: int) -> bytes:
    number = random_.choice((17, 31, 32, 100, 2**29 - 1))
    wire = random_.choice((0, 1, 2, 3, 5) if depth < 5 else (0, 1, 2, 5))
    if wire == 3:
        inner = b"".join(_unknown(random_, faults, depth + 1) for _ in range(random_.randint(0, 3)))
        end = number + 1 if random_.random() < faults else number
        return varint(number << 3 | 3) + inner + varint(end << 3 | 4)
    content = {0: varint(random_.choice(_INTEGERS)), 1: b"12345678", 2: random_.randbytes(5), 5: b"1234"}[wire]
    return field(number, wire, content)


def damage(data: bytes, random_: random.Random) -> bytes:
    """The bytes with one to three random faults: a changed, lost, doubled, moved or inserted piece."""
    result = bytearray(data)
    for _ in range(random_.randint(1, 3)):
        if not result:
            break
        start = random_.randrange(len(result))
        stop = min(len(result), start + random_.randint(1, 12))
        match random_.randrange(6):
            case 0:
                result[start] ^= 1 << random_.randrange(8)
            case 1:
                result[start] = random_.choice((0x00, 0x7F, 0x80, 0xFF, 0x0A, 0x12, result[start] + 1 & 0xFF))
            case 2:
                del result[start:stop]
            case 3:
                result[start:start] = result[start:stop]
            case 4:
                target = random_.randrange(len(result))
                result[target:target] = result[start:stop]
            case _:
                result[start:start] = random_.randbytes(random_.randint(1, 4))
    return bytes(result)
