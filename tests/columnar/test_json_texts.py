"""JSON in a text is read as the attributes that its members would be, and nothing that Python refuses is taken."""

import json
import random
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValueList

from driftmeter.columnar.config import AttributesConfig
from driftmeter.columnar.decoder import Decoded, Decoder
from driftmeter.columnar.kinds import KindBook
from driftmeter.model.predictions import FIXED_FIELDS
from otlp_samples import Scalar, array, damage, make_request, make_span

CONFIG = AttributesConfig(aliases={"inputs": "json:feature", "outputs": "json:prediction"})
DECODER = Decoder(CONFIG, KindBook())
DECODER.warm_up()
NO_JSON = (
    '{|}|{]|[1,]|[,1]|{,}|{"a"}|{"a":}|{"a":1,}|{a:1}|01|1.|.5|-|+1|1e|1e+|tru|nul|Infinit|-Inf|1 2|"|"\\|"\\x"|"\\u12"'
    "|'a'"
)
NAMES = st.one_of(st.sampled_from("abcdef"), st.text(max_size=12))
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(-(10**30), 10**30), st.floats(), st.text(max_size=20)
)
VALUES = st.one_of(
    SCALARS,
    st.lists(SCALARS, min_size=2, max_size=2),
    st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3)),
)
OBJECTS = st.dictionaries(NAMES, st.one_of(VALUES, st.dictionaries(NAMES, VALUES, max_size=4)), max_size=6)


def decode(attributes: dict[str, Scalar], config: AttributesConfig = CONFIG) -> Decoded:
    """Decode one span of model `m`, with nothing known about kinds."""
    request = make_request([make_span(attributes)], {"ml.model.name": "m"})
    return Decoder(config, KindBook()).decode(request.SerializeToString())


def flattened(value: Any) -> dict[str, Any]:
    """Members by name, those of objects one level down with a dot; anything but an object is called `value`."""
    if not isinstance(value, dict):
        return {"value": value}
    result: dict[str, Any] = {}
    for name, member in value.items():
        inner = member.items() if isinstance(member, dict) else None
        result.update({name: member} if inner is None else {f"{name}.{each}": below for each, below in inner})
    return result


def as_scalar(value: Any) -> Scalar:
    """The attribute that a member's value is like."""
    if isinstance(value, dict) or (isinstance(value, list) and any(isinstance(each, (list, dict)) for each in value)):
        return AnyValue(kvlist_value=KeyValueList())
    if isinstance(value, list):
        return array(*map(as_scalar, value))
    if isinstance(value, str):
        return re.sub("[\ud800-\udfff]", "\ufffd", value)
    if isinstance(value, int) and not isinstance(value, bool) and len(str(value)) > 18:
        return float(value)
    return value  # type: ignore[no-any-return]


def assert_same(left: Decoded, right: Decoded) -> None:
    """Both have the same rows and counts; not the same keys, which come from ids and are alike too."""
    assert (left.ignored, left.rejected, left.batch_spans) == (right.ignored, right.rejected, right.batch_spans)
    for ours, theirs in zip(left.batches, right.batches, strict=True):
        assert ours.rows.schema == theirs.rows.schema
        for name in ours.rows.schema.names:
            assert str(ours.rows.column(name)) == str(theirs.rows.column(name)), name
        assert {name: list(rows) for name, rows in ours.mismatches.items()} == {
            name: list(rows) for name, rows in theirs.mismatches.items()
        }


@settings(max_examples=600, deadline=None)
@given(st.one_of(OBJECTS, VALUES), st.booleans(), st.sampled_from((None, 1)))
def test_members_are_like_attributes(value: Any, ascii_only: bool, indent: int | None) -> None:  # noqa: FBT001
    """A text gives the rows that its members give as attributes of their own: types, arrays, missing, mismatches."""
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    plain = {f"ml.feature.{name}": as_scalar(member) for name, member in flattened(value).items()}
    assert_same(decode({"inputs": text}), decode(plain, AttributesConfig()))


@settings(max_examples=1_500, deadline=None)
@given(OBJECTS, st.integers(0, 2**48))
def test_what_python_refuses_is_refused(value: Any, seed: int) -> None:
    """Damaged texts are counted as invalid exactly when Python's parser refuses them."""
    random_ = random.Random(seed)  # noqa: S311 - repeatable.
    text = damage(json.dumps(value).encode(), random_).decode(errors="replace")
    try:
        json.loads(text)
        valid = True
    except ValueError:
        valid = False
    decoded = decode({"inputs": text, "ml.feature.known": 1.0})
    if decoded.accepted:
        assert decoded.dropped_values.get("invalid_json", 0) == int(not valid)
    else:
        assert valid
        assert set(decoded.rejected) <= {"array_lengths"}


@pytest.mark.parametrize(
    "text",
    [*NO_JSON.split("|"), "", " ", '"\\u12g4"', '"\n"', "[" * 61 + "]" * 61],
)
def test_no_json_is_one_dropped_value(text: str) -> None:
    """What is no JSON, or nested deeper than 60 levels, is counted, and the rest of the span is kept."""
    decoded = decode({"inputs": text, "ml.feature.known": 1.0})
    assert decoded.dropped_values == {"invalid_json": 1}
    assert decoded.batches[0].rows.schema.names[len(FIXED_FIELDS) :] == ["feature.known"]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1e400", float("inf")),
        ("-1E+400", float("-inf")),
        ("1e-400", 0.0),
        ("0.1", 0.1),
        ("5e-324", 5e-324),
        ("123456789012345678901234567890", 123456789012345678901234567890.0),
        ("9007199254740993", 9007199254740992.0),
        ("0.30000000000000004", 0.30000000000000004),
        ("-0.0", 0.0),
        (" 7 ", 7.0),
        ("NaN", None),
    ],
)
def test_numbers_are_the_nearest_double(text: str, number: float | None) -> None:
    """Numbers are rounded as Python rounds them; those out of range are infinite or zero."""
    (value,) = decode({"inputs": text}).batches[0].rows.column("feature.value").to_pylist()
    assert value == number or (number is None and value != value)  # noqa: PLR0124 - NaN.


def test_values_of_other_types_are_no_json() -> None:
    """A number, a list or a map where JSON should be is dropped and counted; an unset value is missing."""
    known: dict[str, Scalar] = {"ml.feature.known": 1.0}
    for value in (1, array("{}"), AnyValue(kvlist_value=KeyValueList()), b"{}"):
        assert decode({**known, "inputs": value}).dropped_values == {"invalid_json": 1}
    assert decode({**known, "inputs": None}).dropped_values == {}


def test_texts_of_resource_and_long_texts_are_read() -> None:
    """JSON may stand on the resource, be longer than 127 bytes, and hold thousands of members."""
    members = {f"name {number}": number / 7 for number in range(1_500)}
    request = make_request(
        [make_span({"outputs": '{"p": [1, 2]}'}), make_span({"outputs": '{"p": 0.5}'}, 1)],
        {"ml.model.name": "m", "inputs": json.dumps(members)},
    )
    (batch,) = DECODER.decode(request.SerializeToString()).batches
    assert batch.rows.column("row_index").to_pylist() == [0, 1, 0]
    assert batch.rows.column("prediction.p").to_pylist() == [1.0, 2.0, 0.5]
    assert batch.rows.column("feature.name 1499").to_pylist() == [1499 / 7] * 3
    assert len(batch.rows.schema.names) == len(FIXED_FIELDS) + 1_501


def test_one_column_by_two_names_is_one() -> None:
    """A member and an attribute of the same name are one column; the later one stands."""
    decoded = decode({"ml.feature.a": 1.0, "inputs": '{"a": 2.0, "b": 3.0}', "ml.feature.b": 4.0})
    (batch,) = decoded.batches
    assert batch.rows.schema.names[len(FIXED_FIELDS) :] == ["feature.a", "feature.b"]
    assert [batch.rows.column(f"feature.{name}").to_pylist() for name in "ab"] == [[2.0], [4.0]]


def test_overlong_names_of_members_are_dropped() -> None:
    """A name of more than 1,024 bytes with its prefix is dropped, however it is put together."""
    inner = {"i" * 500: 1.0, "ü" * 300: 2.0}
    decoded = decode({"inputs": json.dumps({"o" * 600: inner, "x" * 10_000: 1.0, "kept": 1.0})})
    assert decoded.dropped_values == {"name_too_long": 3}
    assert decoded.batches[0].rows.schema.names[len(FIXED_FIELDS) :] == ["feature.kept"]


def test_flood_of_names_is_bounded() -> None:
    """Names that need more than 4 MiB of a request are dropped and counted; memory stays bounded."""
    outer = "o" * 900
    spans = [
        make_span(
            {"inputs": json.dumps({outer: {f"{span}-{number}": 1 for number in range(2_000)}}), "outputs": "1"}, span
        )
        for span in range(4)
    ]
    decoded = DECODER.decode(make_request(spans, {"ml.model.name": "flood"}).SerializeToString())
    assert decoded.accepted == 4
    assert decoded.dropped_values["too_many_columns"] >= 8_000 - 2_000


def test_requests_before_do_not_show_through() -> None:
    """Escaped texts of one request are not seen by the next."""
    texts = [json.dumps({"t": f"grün {number}"}) for number in range(20)]
    kept = [
        DECODER.decode(make_request([make_span({"inputs": text})], {"ml.model.name": "m"}).SerializeToString())
        for text in texts
    ]
    values = [each.batches[0].rows.column("feature.t").to_pylist() for each in kept]
    assert values == [[f"grün {number}"] for number in range(20)]
