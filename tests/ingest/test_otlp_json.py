"""OTLP's JSON: what it says, what it may not say, and that it means the same as protobuf."""

import asyncio
import json
import math
from typing import Any

import polars as pl
import polars.testing as polars_testing
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from driftmeter.clock import SystemClock
from driftmeter.columnar.config import AttributesConfig
from driftmeter.columnar.decoder import Decoded, Decoder
from driftmeter.columnar.kinds import KindBook
from driftmeter.errors import MalformedError
from driftmeter.ingest.otlp_json import NESTING_MAX, VALUES_MAX, protobuf_of
from driftmeter.ingest.refusals import RefusedError
from driftmeter.ingest.worker import Worker
from driftmeter.model.request import Signal
from otlp_json import json_tree, parse_tree
from otlp_samples import make_request, make_span, usual_request

EXAMPLE = {
    "resourceSpans": [
        {
            "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "my.service"}}]},
            "scopeSpans": [
                {
                    "scope": {"name": "my.library", "version": "1.0.0"},
                    "spans": [
                        {
                            "traceId": "5B8EFFF798038103D269B633813FC60C",
                            "spanId": "EEE19B7EC3C1B174",
                            "parentSpanId": "eee19b7ec3c1b173",
                            "name": "I'm a server span",
                            "startTimeUnixNano": "1544712660000000000",
                            "endTimeUnixNano": 1544712661000000000,
                            "kind": 2,
                            "flags": 257,
                            "attributes": [{"key": "my.span.attr", "value": {"intValue": "-7"}}],
                            "status": {"code": 2},
                        }
                    ],
                }
            ],
        }
    ]
}
"""The specification's own example, examples/trace.json of opentelemetry-proto, with more kinds of fields."""


def traces(tree: object) -> ExportTraceServiceRequest:
    """What a JSON tree is read as."""
    return ExportTraceServiceRequest.FromString(protobuf_of(json.dumps(tree).encode(), Signal.TRACES))


def span_with(**fields: Any) -> dict[str, Any]:
    """A request with one span with these fields in JSON."""
    return {"resourceSpans": [{"scopeSpans": [{"spans": [fields]}]}]}


def only_span(request: ExportTraceServiceRequest) -> Span:
    """The one span of a request."""
    (span,) = request.resource_spans[0].scope_spans[0].spans
    return span


def read_value(value: object) -> AnyValue:
    """What the value of an attribute is read as."""
    return only_span(traces(span_with(attributes=[{"key": "k", "value": value}]))).attributes[0].value


def mistake(tree: object) -> str:
    """What is said of a JSON tree that is refused."""
    with pytest.raises(MalformedError) as refused:
        traces(tree)
    return str(refused.value)


def test_the_specifications_example_is_read() -> None:
    """Ids in either case, 64-bit integers as strings and numbers, enums as integers."""
    request = traces(EXAMPLE)
    assert request.resource_spans[0].resource.attributes[0].value.string_value == "my.service"
    assert request.resource_spans[0].scope_spans[0].scope.name == "my.library"
    span = only_span(request)
    assert span.trace_id == bytes.fromhex("5b8efff798038103d269b633813fc60c")
    assert (span.span_id, span.parent_span_id) == (bytes.fromhex("eee19b7ec3c1b174"), bytes.fromhex("eee19b7ec3c1b173"))
    assert (span.start_time_unix_nano, span.end_time_unix_nano) == (1544712660000000000, 1544712661000000000)
    assert (span.kind, span.flags, span.status.code) == (Span.SPAN_KIND_SERVER, 257, Status.STATUS_CODE_ERROR)
    assert span.attributes[0].value.int_value == -7


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"doubleValue": 1.5}, AnyValue(double_value=1.5)),
        ({"doubleValue": 3}, AnyValue(double_value=3.0)),
        ({"doubleValue": "2.5e3"}, AnyValue(double_value=2500.0)),
        ({"doubleValue": "Infinity"}, AnyValue(double_value=math.inf)),
        ({"doubleValue": "-Infinity"}, AnyValue(double_value=-math.inf)),
        ({"intValue": 9223372036854775807}, AnyValue(int_value=2**63 - 1)),
        ({"intValue": "-9223372036854775808"}, AnyValue(int_value=-(2**63))),
        ({"intValue": 5.0}, AnyValue(int_value=5)),
        ({"boolValue": False}, AnyValue(bool_value=False)),
        ({"stringValue": ""}, AnyValue(string_value="")),
        ({"stringValue": "ä\u0000\U0001f600"}, AnyValue(string_value="ä\u0000\U0001f600")),
        ({"bytesValue": "aGk/Pg=="}, AnyValue(bytes_value=b"hi?>")),
        ({"bytesValue": "aGk_Pg"}, AnyValue(bytes_value=b"hi?>")),
        ({}, AnyValue()),
        ({"stringValue": None}, AnyValue()),
        ({"arrayValue": {"values": [{"intValue": 1}, {}]}},
         AnyValue(array_value=ArrayValue(values=[AnyValue(int_value=1), AnyValue()]))),
        ({"arrayValue": {}}, AnyValue(array_value=ArrayValue())),
        ({"kvlistValue": {"values": [{"key": "a", "value": {"boolValue": True}}]}},
         AnyValue(kvlist_value=KeyValueList(values=[KeyValue(key="a", value=AnyValue(bool_value=True))]))),
    ],
)  # fmt: skip
def test_every_kind_of_value_is_read(given: object, expected: AnyValue) -> None:
    """Numbers, strings for numbers, base64 for bytes, lists and maps."""
    assert read_value(given) == expected


def test_not_a_number_is_a_string() -> None:
    """NaN is written as a string, as protobuf's JSON has it."""
    assert math.isnan(read_value({"doubleValue": "NaN"}).double_value)


def test_unknown_and_snake_case_keys_are_ignored() -> None:
    """A key of a later version is ignored wherever it stands, and so is a name that is not in lowerCamelCase."""
    tree = span_with(name="a", trace_id="00", newField={"deep": [1, {"x": None}]}, start_time_unix_nano=5)
    tree["resourceSpans"][0]["anotherField"] = [[], {}]
    tree["later"] = {"resourceSpans": 3}
    span = only_span(traces(tree))
    assert span == Span(name="a")


def test_null_is_as_good_as_absent() -> None:
    """A null stands for the default wherever a field has one."""
    assert only_span(traces(span_with(name=None, attributes=None, status=None, traceId=None))) == Span()
    assert traces({"resourceSpans": None}) == ExportTraceServiceRequest()
    assert len(traces({"resourceSpans": [{"scopeSpans": None, "resource": None}]}).resource_spans) == 1


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        (span_with(kind="SPAN_KIND_SERVER"), 'spans[0].kind: "SPAN_KIND_SERVER" is not an integer'),
        (span_with(kind=2.0), "spans[0].kind: 2.0 is not an integer"),
        (span_with(traceId="W47/95gDgQPSabYzgT/GDA=="), "spans[0].traceId: "),
        (span_with(spanId="abc"), 'spans[0].spanId: "abc" is not hexadecimal'),
        (span_with(spanId=7), "spans[0].spanId: 7 is not a string"),
        (span_with(startTimeUnixNano=-1), "startTimeUnixNano: -1 does not fit"),
        (span_with(startTimeUnixNano="18446744073709551616"), "does not fit"),
        (span_with(startTimeUnixNano="1e3"), "is not an integer"),
        (span_with(startTimeUnixNano=1.5), "1.5 is not an integer"),
        (span_with(startTimeUnixNano=True), "true is not an integer"),
        (span_with(name=1), "name: 1 is not a string"),
        (span_with(name="\ud800"), "does not fit"),
        (span_with(flags=2**32), "flags: 4294967296 does not fit"),
        (span_with(attributes={"a": 1}), "attributes: must be a list"),
        (span_with(attributes=[1]), "attributes[0]: must be an object"),
        (span_with(attributes=[{"key": "k"}, None]), "attributes[1]: must be an object"),
        (span_with(attributes=[{"value": {"intValue": 1, "stringValue": "x"}}]), "only one kind of value"),
        (span_with(attributes=[{"value": {"boolValue": "true"}}]), '"true" is not true or false'),
        (span_with(attributes=[{"value": {"doubleValue": "nan"}}]), '"nan" is not a number'),
        (span_with(attributes=[{"value": {"doubleValue": True}}]), "true is not a number"),
        (span_with(attributes=[{"value": {"bytesValue": "a"}}]), '"a" is not base64'),
        (span_with(attributes=[{"value": {"bytesValue": "a b="}}]), "is not base64"),
        ({"resourceSpans": {}}, "resourceSpans: '[' is missing"),
        ({"resourceSpans": [None]}, "resourceSpans[0]: '{' is missing"),
        ({"resourceSpans": [{"scopeSpans": [{"spans": [[]]}]}]}, "spans[0]: must be an object"),
        ([], "'{' is missing"),
    ],
)
def test_what_is_not_otlp_is_refused_with_its_place(tree: object, words: str) -> None:
    """Wrong types, ranges and encodings are malformed; the message names where and what."""
    assert words in mistake(tree)


@pytest.mark.parametrize(
    "text",
    [
        b"", b" ", b"{", b"{}}", b"{} x", b"nul", b"'a'", b'{"a" 1}', b'{"a":}', b'{"a":1,}', b"{1:2}", b"{,}",
        b'{"resourceSpans":[}', b'{"resourceSpans":[,]}', b'{"resourceSpans":[{},]}', b'{"resourceSpans":[{}',
        b'{"resourceSpans":[{} {}]}', b'{"x":NaN}', b'{"x":-Infinity}', b'{"x":01}', b'{"x":"\x01"}', b'{"x":"\\q"}',
        b"\xef\xbb\xbf{}", '{"x":"ä"}'.encode("latin-1"), "{}".encode("utf-16"), b'{"x":' + b"9" * 5_000 + b"}",
    ],
)  # fmt: skip
def test_what_is_not_json_is_refused(text: bytes) -> None:
    """Whatever is not JSON in UTF-8 is malformed, and nothing else happens."""
    with pytest.raises(MalformedError, match=r"not (OTLP )?JSON: "):
        protobuf_of(text, Signal.TRACES)


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'{"kvlistValue":{"values":[{"value":'])
@pytest.mark.parametrize(
    "place", [b'{"x":%b', b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"attributes":[{"value":%b']
)
@pytest.mark.parametrize("depth", [1_000, 1_000_000])
def test_deep_nesting_is_refused(opening: bytes, place: bytes, depth: int) -> None:
    """Values inside each other, a million deep, are malformed: no recursion error, no crash."""
    with pytest.raises(MalformedError):
        protobuf_of(place % (opening * depth), Signal.TRACES)


def nested(levels: int) -> ExportTraceServiceRequest:
    """A request with lists in each other in an attribute's value."""
    value = AnyValue(int_value=1)
    for _ in range(levels):
        value = AnyValue(array_value=ArrayValue(values=[value]))
    return make_request([make_span({"ml.feature.x": value})])


def test_nesting_has_the_limit_of_protobuf() -> None:
    """The deepest request that protobuf's parser takes is taken from JSON too, and one deeper is not."""
    # Request, ResourceSpans, ScopeSpans, Span, KeyValue and AnyValue, then two for each list.
    levels = (NESTING_MAX - 5) // 2
    deepest = nested(levels)
    assert (
        ExportTraceServiceRequest.FromString(protobuf_of(json.dumps(json_tree(deepest)).encode(), Signal.TRACES))
        == deepest
    )
    tree: dict[str, Any] = {"intValue": 1}
    for _ in range(levels + 1):
        tree = {"arrayValue": {"values": [tree]}}
    assert "nested too deeply" in mistake(span_with(attributes=[{"value": tree}]))


def test_more_values_than_any_honest_request_are_too_many() -> None:
    """A list of millions of nothings, which would be gigabytes as Python's objects, is refused as too large."""
    with pytest.raises(RefusedError, match="JSON values"):
        protobuf_of(b'{"x":[' + b"[]," * VALUES_MAX + b"0]}", Signal.TRACES)


def test_the_event_loop_goes_on_meanwhile() -> None:
    """While ten thousand spans are read from JSON in their thread, the loop gets its turn every few milliseconds."""
    body = json.dumps(json_tree(ExportTraceServiceRequest.FromString(usual_request(5_000)))).encode()

    async def test() -> float:
        worker, clock = Worker("otlp-json"), SystemClock()
        reading = asyncio.create_task(worker.run(lambda: protobuf_of(body, Signal.TRACES)))
        longest_seconds, last_seconds = 0.0, clock.monotonic_seconds()
        while not reading.done():
            await asyncio.sleep(0.001)
            now_seconds = clock.monotonic_seconds()
            longest_seconds, last_seconds = max(longest_seconds, now_seconds - last_seconds), now_seconds
        await reading
        worker.close()
        return longest_seconds

    assert asyncio.run(test()) < 0.25


scalars = st.one_of(
    st.builds(
        lambda value: AnyValue(string_value=value), st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
    ),
    st.builds(lambda value: AnyValue(bool_value=value), st.booleans()),
    st.builds(lambda value: AnyValue(int_value=value), st.integers(-(2**63), 2**63 - 1)),
    st.builds(lambda value: AnyValue(double_value=value), st.floats(allow_nan=False) | st.just(math.nan)),
    st.builds(lambda value: AnyValue(bytes_value=value), st.binary(max_size=8)),
    st.just(AnyValue()),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.builds(lambda parts: AnyValue(array_value=ArrayValue(values=parts)), st.lists(inner, max_size=3)),
        st.builds(
            lambda parts: AnyValue(kvlist_value=KeyValueList(values=parts)),
            st.lists(st.builds(lambda key, value: KeyValue(key=key, value=value), st.text("ab", max_size=2), inner)),
        ),
    ),
    max_leaves=6,
)
keys = st.sampled_from([
    "ml.model.name", "ml.model.version", "ml.feature.a", "ml.feature.b", "ml.prediction.p", "ml.probability.c",
    "ml.label.l", "ml.segment.s", "ml.prediction.id", "other",
])  # fmt: skip
attributes = st.lists(st.builds(lambda key, value: KeyValue(key=key, value=value), keys, values), max_size=6)
named = st.just(KeyValue(key="ml.model.name", value=AnyValue(string_value="model")))
times = st.integers(0, 2**63)
spans = st.builds(
    lambda given, model, **fields: Span(attributes=[*given, *([model] if model else [])], **fields),
    attributes, st.none() | named,
    trace_id=st.sampled_from([b"", b"t" * 16, b"\xff" * 16]), span_id=st.sampled_from([b"", b"s" * 8]),
    parent_span_id=st.sampled_from([b"", b"p" * 8]), start_time_unix_nano=times, end_time_unix_nano=times,
    kind=st.integers(0, 5), flags=st.integers(0, 2**32 - 1), trace_state=st.sampled_from(["", "ot=th:8"]),
    dropped_attributes_count=st.integers(0, 2**32 - 1), name=st.text("ab", max_size=3),
    status=st.none() | st.builds(Status, code=st.integers(0, 2), message=st.text("x", max_size=2)),
    events=st.lists(st.builds(Span.Event, time_unix_nano=times, name=st.text("e", max_size=2)), max_size=2),
    links=st.lists(st.builds(Span.Link, trace_id=st.binary(min_size=16, max_size=16)), max_size=2),
)  # fmt: skip
records = st.builds(
    lambda given, model, **fields: LogRecord(attributes=[*given, *([model] if model else [])], **fields),
    attributes, st.none() | named, body=st.none() | values,
    trace_id=st.sampled_from([b"", b"t" * 16]), span_id=st.sampled_from([b"", b"s" * 8]),
    time_unix_nano=times, observed_time_unix_nano=times, severity_number=st.integers(0, 24),
)  # fmt: skip


def trace_request(given: list[list[Span]], shared: list[KeyValue]) -> ExportTraceServiceRequest:
    """A request with a resource for each list of spans."""
    request = ExportTraceServiceRequest()
    for part in given:
        resource = request.resource_spans.add()
        resource.resource.attributes.extend(shared)
        resource.scope_spans.add().spans.extend(part)
    return request


def log_request(given: list[list[LogRecord]], shared: list[KeyValue]) -> ExportLogsServiceRequest:
    """A request with a resource for each list of records."""
    request = ExportLogsServiceRequest()
    for part in given:
        resource = request.resource_logs.add()
        resource.resource.attributes.extend(shared)
        resource.scope_logs.add().log_records.extend(part)
    return request


trace_requests = st.builds(trace_request, st.lists(st.lists(spans, max_size=3), max_size=3), attributes)
log_requests = st.builds(log_request, st.lists(st.lists(records, max_size=3), max_size=3), attributes)


def assert_same(one: Decoded, other: Decoded) -> None:
    """Both hold the same tables, rejects and messages; NaN is the same as NaN."""
    assert [batch.key for batch in one.batches] == [batch.key for batch in other.batches]
    for batch, same in zip(one.batches, other.batches, strict=True):
        assert batch.rows.schema == same.rows.schema
        polars_testing.assert_frame_equal(pl.from_arrow(batch.rows), pl.from_arrow(same.rows))  # type: ignore[arg-type]
    for name in ("received", "ignored", "rejected", "dropped_values", "messages"):
        assert getattr(one, name) == getattr(other, name)


@settings(max_examples=150, deadline=None)
@given(request=trace_requests | log_requests, upper_case=st.booleans(), indent=st.sampled_from([None, 1]))
def test_json_and_protobuf_give_the_same_table(
    request: ExportTraceServiceRequest | ExportLogsServiceRequest, *, upper_case: bool, indent: int | None
) -> None:
    """The same request in both encodings is decoded to the same predictions, rejects and messages."""
    signal = Signal.TRACES if isinstance(request, ExportTraceServiceRequest) else Signal.LOGS
    text = json.dumps(json_tree(request, upper_case=upper_case), indent=indent).encode()
    from_json = Decoder(AttributesConfig(), KindBook()).decode(protobuf_of(text, signal), signal)
    from_protobuf = Decoder(AttributesConfig(), KindBook()).decode(request.SerializeToString(), signal)
    assert_same(from_json, from_protobuf)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)


def replaced(tree: Any, path: list[int], value: object) -> Any:
    """The tree with one of its values, found by turning as the path says, replaced."""
    if not path or not isinstance(tree, dict | list) or not tree:
        return value
    key = sorted(tree)[path[0] % len(tree)] if isinstance(tree, dict) else path[0] % len(tree)
    copy: Any = dict(tree) if isinstance(tree, dict) else list(tree)
    copy[key] = replaced(tree[key], path[1:], value)
    return copy


@settings(max_examples=300, deadline=None)
@given(request=trace_requests, path=st.lists(st.integers(0, 5), max_size=10), value=json_values)
def test_damaged_json_is_refused_or_means_what_protobuf_says(
    request: ExportTraceServiceRequest, path: list[int], value: object
) -> None:
    """Any value put anywhere: either malformed, or read as protobuf's own reader does; never another exception."""
    tree = replaced(json_tree(request), path, value)
    text = json.dumps(tree).encode()
    try:
        converted = protobuf_of(text, Signal.TRACES)
    except MalformedError:
        return
    expected = parse_tree(json.loads(text), ExportTraceServiceRequest())
    assert str(ExportTraceServiceRequest.FromString(converted)) == str(expected)


@settings(max_examples=200, deadline=None)
@given(text=st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_bytes_are_refused_or_read(text: bytes) -> None:
    """Whatever the bytes: malformed or read, nothing else."""
    try:
        protobuf_of(text, Signal.LOGS)
    except MalformedError:
        return
