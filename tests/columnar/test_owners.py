"""Attributes of resources and scopes are looked at once, not once for every entry in them."""
# ruff: noqa: S311 - random values that can be repeated.

import random
from collections.abc import Iterator

import numpy as np
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from decode_oracle import comparable, decoded_rows, expect
from driftmeter.columnar import batches, layout
from driftmeter.columnar.config import AttributesConfig
from driftmeter.columnar.decoder import Decoded, Decoder
from driftmeter.columnar.kinds import KindBook
from otlp_samples import Scalar, array, attribute, field, make_request, make_span, owner_heavy_request

OWNER_LOOKS = 3
"""Passes over an owner's attributes: summary, columns, cells; first kinds are one more where there are new columns."""


def decode(data: bytes) -> tuple[Decoded, layout.Flat]:
    """Decode, with a look at what stays between requests."""
    decoder = Decoder(AttributesConfig(), KindBook())
    decoded = decoder.decode(data)
    flat: layout.Flat = decoder._local.flat
    return decoded, flat


def check(request: ExportTraceServiceRequest) -> None:
    """Compare with the oracle."""
    expected = expect(request)
    decoded = Decoder(AttributesConfig(), KindBook()).decode(request.SerializeToString())
    rows = decoded_rows(decoded)
    assert {key: comparable(each) for key, each in rows.items()} == {
        key: comparable(each) for key, each in expected.batches.items()
    }
    assert (decoded.ignored, decoded.rejected) == (expected.ignored, expected.rejected)
    assert {batch.key: {name: list(rows) for name, rows in batch.mismatches.items()} for batch in decoded.batches} == (
        expected.mismatches
    )


@pytest.mark.parametrize("kind", ["attributes", "arrays", "duplicates", "unlike", "undecided", "overwritten"])
@pytest.mark.parametrize("level", ["resource", "scope", "scopes"])
def test_work_is_linear(kind: str, level: str) -> None:
    """Whatever the owners hold and however many entries there are, each owner's attribute is looked at a few times."""
    data = owner_heavy_request(150_000, kind, level)
    decoded, flat = decode(data)
    attributes = len(data) // 10  # No attribute is smaller.
    assert decoded.received > 500
    assert 0 < flat.state[layout.VISITED] < (OWNER_LOOKS + 1) * attributes + decoded.received


def test_models_do_not_share_columns_without_bound() -> None:
    """A thousand models in one resource with thousands of features: the rest is rejected as too sparse."""
    resource: dict[str, Scalar] = {f"ml.feature.{i}": 1.0 for i in range(10_000)}
    spans = [make_span({"ml.model.name": f"m{i}"}, i) for i in range(1_000)]
    decoded, flat = decode(make_request(spans, resource).SerializeToString())
    assert decoded.rejected == {"too_sparse": 1_000 - decoded.accepted}
    assert 5 < decoded.accepted < 20
    assert flat.state[layout.VISITED] < 1_000_000


def test_usual_models_share_a_resource() -> None:
    """The bound is far from what a server of many models sends."""
    resource: dict[str, Scalar] = {f"ml.segment.{i}": "x" for i in range(40)}
    spans = [make_span({"ml.model.name": f"m{i}", "ml.feature.a": 1.0}, i) for i in range(1_000)]
    decoded, _ = decode(make_request(spans, resource).SerializeToString())
    assert (decoded.accepted, decoded.rejected) == (1_000, {})
    assert batches.CELLS_MAX > 1_000 * 41


def test_arrays_of_owners_are_compared_with_those_of_entries() -> None:
    """Resources, scopes and spans overwrite each other's arrays and scalars in every way; lengths decide alike."""
    random_ = random.Random(3)
    values: list[Scalar] = [1.0, None, array(1.0, 2.0), array(3, 4), array("x", "y"), array(), array(1, 2, 3)]
    keys = ["ml.feature.a", "ml.feature.b", "ml.label.c", "ml.segment.d", "ml.prediction.id"]
    requests = []
    for _ in range(400):
        levels: list[dict[str, Scalar]] = [
            {
                key: random_.choice(values[:5] if random_.random() < 0.9 else values)
                for key in keys
                if random_.random() < p
            }
            for p in (0.4, 0.3)
        ]
        spans = [
            make_span([
                attribute(key, random_.choice(values[:4] if random_.random() < 0.8 else values))
                for key in random_.choices(keys, k=random_.randint(0, 5))
            ], i)
            for i in range(random_.randint(1, 5))
        ]  # fmt: skip
        requests.append(make_request(spans, {"ml.model.name": random_.choice("mn"), **levels[0]}, levels[1]))
    for request in requests:
        check(request)
    whole = ExportTraceServiceRequest.FromString(b"".join(request.SerializeToString() for request in requests))
    check(whole)
    assert expect(whole).rejected["array_lengths"] > 50


def owners_and_spans(random_: random.Random) -> Iterator[bytes]:
    """Scopes of one resource, whose columns have their first values at different levels."""
    values: list[Scalar] = [1.0, "x", None, b"bytes"]
    keys = [f"ml.feature.{i}" for i in range(4)]
    for _ in range(random_.randint(1, 4)):
        scope = [attribute(key, random_.choice(values)) for key in random_.choices(keys, k=random_.randint(0, 4))]
        spans = [
            make_span(
                [attribute(key, random_.choice(values)) for key in random_.choices(keys, k=random_.randint(0, 4))]
            )
            for _ in range(random_.randint(0, 4))
        ]
        owner = field(1, 2, b"".join(field(3, 2, each.SerializeToString()) for each in scope))
        yield field(2, 2, owner + b"".join(field(2, 2, span.SerializeToString()) for span in spans))


def test_first_value_decides_at_whatever_level_it_stands() -> None:
    """A column's kind is that of its first scalar in the order of rows, be it a resource's, a scope's or a span's."""
    random_ = random.Random(4)
    values: list[Scalar] = [1.0, "x", None]
    for _ in range(600):
        data = b""
        for _ in range(random_.randint(1, 3)):
            names = [attribute("ml.model.name", "m"), attribute("ml.label.l", 1)]
            names += [attribute(f"ml.feature.{i}", random_.choice(values)) for i in range(4) if random_.random() < 0.5]
            resource = field(1, 2, b"".join(field(1, 2, each.SerializeToString()) for each in names))
            data += field(1, 2, resource + b"".join(owners_and_spans(random_)))
        check(ExportTraceServiceRequest.FromString(data))


def test_overwritten_attributes_of_owners_are_not_kept() -> None:
    """Only the last of each key is, arrays with their elements."""
    pairs: list[tuple[str, Scalar]] = [
        ("a", array(1, 2)),
        ("b", "x"),
        ("a", array(3, 4)),
        ("c", array()),
        ("b", array(5, 6)),
        ("a", array(7, 8)),
    ]
    request = make_request([make_span({})], {"ml.model.name": "m"})
    owner = request.resource_spans[0].resource.attributes
    owner.extend(attribute(f"ml.feature.{key}", value) for key, value in pairs if key != "c")
    decoded, flat = decode(request.SerializeToString())
    assert flat.state[layout.ATTRIBUTES] == 1 + 3 + 3
    (batch,) = decoded.batches
    assert batch.rows.column("feature.a").to_pylist() == [7.0, 8.0]
    assert batch.rows.column("feature.b").to_pylist() == [5.0, 6.0]
    assert np.array_equal(batch.rows.column("row_index"), [0, 1])
