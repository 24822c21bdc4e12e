"""What each kind of attribute becomes in a batch."""

import math
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValueList

from driftmeter.columnar.config import AttributesConfig
from driftmeter.columnar.decoder import Decoded, Decoder
from driftmeter.columnar.kinds import KindBook
from driftmeter.model.columns import Kind
from driftmeter.model.predictions import FIXED_FIELDS, Predictions
from otlp_samples import START_NS, Scalar, array, attribute, make_request, make_span, usual_request

NESTED = array(array(1))
MAP = AnyValue(kvlist_value=KeyValueList(values=[attribute("k", 1)]))


def decode(request: ExportTraceServiceRequest, kinds: KindBook | None = None, **options: Any) -> Decoded:
    """Decode with default names."""
    return Decoder(AttributesConfig(), kinds or KindBook()).decode(request.SerializeToString(), **options)


def rows_of(spans: Sequence[Mapping[str, Scalar]], kinds: KindBook | None = None) -> Predictions:
    """The one batch that spans of model `m` with the given attributes make."""
    decoded = decode(make_request([make_span(each, i) for i, each in enumerate(spans)], {"ml.model.name": "m"}), kinds)
    assert len(decoded.batches) == 1
    return decoded.batches[0]


def column(batch: Predictions, name: str) -> list[Any]:
    """A column's values."""
    return batch.rows.column(name).to_pylist()  # type: ignore[no-any-return]


def wrong(batch: Predictions) -> dict[str, list[int]]:
    """Rows with values of the wrong type by column."""
    return {name: rows.tolist() for name, rows in batch.mismatches.items()}


def test_batch_starts_with_the_fixed_fields() -> None:
    """The schema is the fixed fields, then float64 and dictionary columns by field name."""
    schema = rows_of([{"ml.feature.a": 1.0, "ml.feature.b": "x"}]).rows.schema
    assert list(schema)[: len(FIXED_FIELDS)] == list(FIXED_FIELDS)
    assert list(schema)[len(FIXED_FIELDS) :] == [
        pa.field("feature.a", pa.float64()),
        pa.field("feature.b", pa.dictionary(pa.int32(), pa.string())),
    ]


def test_integers_become_the_nearest_double() -> None:
    """Whole numbers beyond 2^53 are rounded as Python rounds them."""
    numbers = [0, -5, 2**53 + 1, 2**63 - 1, -(2**63)]
    assert column(rows_of([{"ml.feature.a": number} for number in numbers]), "feature.a") == list(map(float, numbers))


def test_non_finite_numbers_stay() -> None:
    """NaN and infinities are values, not missing."""
    values = column(rows_of([{"ml.feature.a": value} for value in (math.nan, math.inf, -math.inf)]), "feature.a")
    assert math.isnan(values[0])
    assert values[1:] == [math.inf, -math.inf]


def test_first_value_decides_what_a_column_holds() -> None:
    """Values of the other sort are null and listed, in either direction."""
    batch = rows_of(
        [
            {"ml.feature.n": 1, "ml.feature.c": True},
            {"ml.feature.n": "text", "ml.feature.c": 2.5},
            {"ml.feature.n": False, "ml.feature.c": "true"},
            {"ml.feature.n": 2.5, "ml.feature.c": "other"},
        ]
    )
    assert column(batch, "feature.n") == [1.0, None, None, 2.5]
    assert column(batch, "feature.c") == ["true", None, "true", "other"]
    assert wrong(batch) == {"feature.n": [1, 2], "feature.c": [1]}


def test_true_and_the_text_true_are_one_category() -> None:
    """A dictionary never holds a text twice."""
    batch = rows_of([{"ml.feature.c": value} for value in ("true", True, "x", False, "false")])
    array = batch.rows.column("feature.c")
    assert array.to_pylist() == ["true", "true", "x", "false", "false"]
    assert array.dictionary.to_pylist() == ["true", "x", "false"]


def test_dictionary_holds_the_texts_of_its_own_column_only() -> None:
    """Each column's dictionary has its own values in order of first appearance."""
    batch = rows_of([{"ml.feature.a": a, "ml.feature.b": b} for a, b in [("x", "p"), ("y", "x"), ("x", "p")]])
    assert batch.rows.column("feature.a").dictionary.to_pylist() == ["x", "y"]
    assert batch.rows.column("feature.b").dictionary.to_pylist() == ["p", "x"]


def test_value_that_is_not_set_is_missing() -> None:
    """An AnyValue without a value is null and no mismatch; so is a feature that a span lacks."""
    batch = rows_of([{"ml.feature.a": 1.0, "ml.feature.b": "x"}, {"ml.feature.a": None, "ml.feature.b": None}])
    assert column(batch, "feature.a") == [1.0, None]
    assert column(batch, "feature.b") == ["x", None]
    assert wrong(batch) == {}


@pytest.mark.parametrize("value", [NESTED, MAP, b"bytes"], ids=["array", "map", "bytes"])
def test_other_types_are_mismatches_and_decide_nothing(value: Scalar) -> None:
    """Arrays in arrays, maps and bytes are null and listed; the first scalar still decides the column."""
    batch = rows_of(
        [{"ml.feature.a": value, "ml.feature.only": value}, {"ml.feature.a": "x", "ml.feature.only": value}]
    )
    assert column(batch, "feature.a") == [None, "x"]
    assert batch.rows.column("feature.only").type == pa.float64()
    assert wrong(batch) == {"feature.a": [0], "feature.only": [0, 1]}


def test_undecided_column_is_decided_by_a_later_request() -> None:
    """A column that had only maps so far takes the kind of the first scalar ever."""
    kinds = KindBook()
    rows_of([{"ml.feature.a": MAP}], kinds)
    assert column(rows_of([{"ml.feature.a": "x"}], kinds), "feature.a") == ["x"]


def test_kinds_are_remembered_by_model_and_version() -> None:
    """Later requests follow the first one; another version starts anew."""
    kinds = KindBook()
    rows_of([{"ml.feature.a": 1.0}], kinds)
    assert wrong(rows_of([{"ml.feature.a": "x"}], kinds)) == {"feature.a": [0]}
    other = decode(
        make_request([make_span({"ml.feature.a": "x"})], {"ml.model.name": "m", "ml.model.version": "2"}), kinds
    )
    assert column(other.batches[0], "feature.a") == ["x"]


def test_declared_kind_wins_over_the_values() -> None:
    """A baseline's kinds hold whatever comes first, and override what was learned."""
    kinds = KindBook()
    rows_of([{"ml.feature.a": "x", "ml.feature.b": 1}], kinds)
    kinds.declare("m", "", {"feature.a": Kind.NUMERIC, "feature.b": Kind.CATEGORICAL})
    batch = rows_of([{"ml.feature.a": "x", "ml.feature.b": 1}, {"ml.feature.a": 2, "ml.feature.b": "y"}], kinds)
    assert column(batch, "feature.a") == [None, 2.0]
    assert column(batch, "feature.b") == [None, "y"]
    assert wrong(batch) == {"feature.a": [0], "feature.b": [0]}


def test_segments_take_every_scalar_as_text() -> None:
    """Numbers and booleans name groups too."""
    values: list[Scalar] = ["eu", 7, True, 2.0, 0.5, "7", MAP]
    batch = rows_of([{"ml.feature.a": 1.0, "ml.segment.s": value} for value in values])
    assert column(batch, "segment.s") == ["eu", "7", "true", "2.0", "0.5", "7", None]
    assert wrong(batch) == {"segment.s": [6]}
    assert len(set(batch.rows.column("segment.s").dictionary.to_pylist())) == 5


def test_span_wins_over_scope_over_resource() -> None:
    """The same key at several levels counts once, at the nearest; an unset value hides one further out."""
    keys = ["ml.feature.a", "ml.feature.b", "ml.feature.c", "ml.feature.d"]
    request = make_request(
        [make_span({"ml.feature.c": 3.0, "ml.feature.d": None})],
        resource={"ml.model.name": "outer", **dict.fromkeys(keys, 1.0)},
        scope={"ml.model.name": "inner", **dict.fromkeys(keys[1:], 2.0)},
    )
    (batch,) = decode(request).batches
    assert batch.key.model == "inner"
    assert [column(batch, f"feature.{name}") for name in "abcd"] == [[1.0], [2.0], [3.0], [None]]


def test_last_of_duplicate_keys_wins() -> None:
    """A key twice in one span has its later value."""
    pairs = [attribute("ml.feature.a", 1.0), attribute("ml.feature.a", "x"), attribute("ml.feature.a", 2.0)]
    request = make_request([make_span(pairs)], {"ml.model.name": "m"})
    (batch,) = decode(request).batches
    assert column(batch, "feature.a") == [2.0]
    assert wrong(batch) == {}


@pytest.mark.parametrize(
    ("version", "text"), [("v1", "v1"), (3, "3"), (1.0, "1.0"), (2.5, "2.5"), (True, "true"), (None, ""), (NESTED, "")]
)
def test_version_may_be_any_scalar(version: Scalar, text: str) -> None:
    """Versions are text whatever their type; no scalar counts as absent."""
    request = make_request([make_span({"ml.model.version": version, "ml.feature.a": 1})], {"ml.model.name": "m"})
    assert [batch.key for batch in decode(request).batches] == [("m", text, "")]


def test_versions_that_read_alike_are_one_model() -> None:
    """Version 1 and version "1" make one batch, rows in their order."""
    versions: list[Scalar] = ["1", 1, "2", 1]
    spans = [make_span({"ml.model.version": each, "ml.feature.a": i}, i) for i, each in enumerate(versions)]
    decoded = decode(make_request(spans, {"ml.model.name": "m"}))
    assert [(batch.key.version, column(batch, "feature.a")) for batch in decoded.batches] == [
        ("1", [0.0, 1.0, 3.0]),
        ("2", [2.0]),
    ]


def test_models_of_one_request_come_apart_in_order() -> None:
    """One batch per model, version and stage, by first appearance, each with its own columns."""
    spans = [
        make_span({"ml.model.name": name, "ml.model.stage": stage, f"ml.feature.{name}": i}, i)
        for i, (name, stage) in enumerate([("b", "prod"), ("a", ""), ("b", "prod"), ("b", "canary"), ("a", "")])
    ]
    decoded = decode(make_request(spans))
    assert [
        (batch.key, batch.rows.schema.names[len(FIXED_FIELDS) :], len(batch.rows)) for batch in decoded.batches
    ] == [
        (("b", "", "prod"), ["feature.b"], 2),
        (("a", "", ""), ["feature.a"], 2),
        (("b", "", "canary"), ["feature.b"], 1),
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [("abc", "abc"), (12, "12"), (-(2**63), str(-(2**63))), (None, None), (MAP, None), ("i" * 256, "i" * 256)],
)
def test_prediction_id_is_text(value: Scalar, text: str | None) -> None:
    """Strings and whole numbers are ids."""
    assert column(rows_of([{"ml.feature.a": 1, "ml.prediction.id": value}]), "prediction_id") == [text]


def test_prediction_ids_of_both_types_keep_their_rows() -> None:
    """Strings, numbers and missing ids may alternate."""
    ids: list[Scalar] = ["a", 1, None, "größe", 2, ""]
    batch = rows_of([{"ml.feature.a": 1, "ml.prediction.id": each} for each in ids])
    assert column(batch, "prediction_id") == ["a", "1", None, "größe", "2", ""]


def test_overlong_prediction_id_is_dropped_and_counted() -> None:
    """Ids beyond 256 bytes are null."""
    decoded = decode(
        make_request([make_span({"ml.feature.a": 1, "ml.prediction.id": "i" * 257})], {"ml.model.name": "m"})
    )
    assert column(decoded.batches[0], "prediction_id") == [None]
    assert decoded.dropped_values == {"id_too_long": 1}


def test_fixed_fields_come_from_the_span() -> None:
    """Times, ids, status and dropped attributes."""
    span = make_span({"ml.feature.a": 1}, 7, status={"code": 2}, dropped_attributes_count=2**32 - 1)
    rows = decode(make_request([span], {"ml.model.name": "m"})).batches[0].rows
    assert rows.column("event_time").cast("int64").to_pylist() == [START_NS + 12_000_000]
    row = rows.to_pylist()[0]
    assert (row["trace_id"], row["span_id"]) == (span.trace_id, span.span_id)
    assert (row["error"], row["dropped_attributes_count"], row["row_index"]) == (True, 2**32 - 1, 0)
    assert row["duration"].total_seconds() == 0.005


@pytest.mark.parametrize(("start", "end", "duration"), [(0, 10, 0), (20, 10, 0), (4, 10, 6), (2**64 - 1, 10, 0)])
def test_duration_is_never_negative(start: int, end: int, duration: int) -> None:
    """Absent or impossible starts give 0."""
    span = make_span({"ml.feature.a": 1}, start_time_unix_nano=start, end_time_unix_nano=end)
    (batch,) = decode(make_request([span], {"ml.model.name": "m"})).batches
    assert batch.rows.column("duration").cast("int64").to_pylist() == [duration]


@pytest.mark.parametrize(
    ("trace_state", "weight"),
    [
        ("", 1.0),
        ("ot=th:0", 1.0),
        ("ot=th:8", 2.0),
        ("ot=th:c", 4.0),
        ("ot=th:ff", 256.0),
        ("vendor=x,ot=rv:0123;th:8", 2.0),
        ("vendor=ot,\tot=th:8 ,z=1", 2.0),
        ("ot=th:ffffffffffffff", 2.0**56),
        ("ot=th:", 1.0),
        ("ot=th:8g", 1.0),
        ("ot=th:C", 1.0),
        ("ot=th:123456789abcdef", 1.0),
        ("not=th:8", 1.0),
        ("ot=xth:8", 1.0),
    ],
)
def test_weight_comes_from_the_sampling_threshold(trace_state: str, weight: float) -> None:
    """Weight is 1 / sampling probability; what is not a valid threshold counts as unsampled."""
    span = make_span({"ml.feature.a": 1}, trace_state=trace_state)
    assert column(decode(make_request([span], {"ml.model.name": "m"})).batches[0], "weight") == [weight]


def test_span_key_is_a_pure_function_of_the_ids() -> None:
    """Same ids give the same key in whatever span; the value is fixed for ever, since keys are kept."""
    first = rows_of([{"ml.feature.a": 1}]).rows.column("span_key").to_pylist()
    second = rows_of([{"ml.feature.b": "x", "ml.feature.c": 2.0}]).rows.column("span_key").to_pylist()
    trace_high, trace_low, span_id = struct.unpack("<3Q", make_span({}).trace_id + make_span({}).span_id)

    def fold(left: int, right: int) -> int:
        product = left * right
        return (product ^ product >> 64) & (2**64 - 1)

    seed, step = 0x2D358DCCAA6C78A5, 0x4B33A62ED433D4A3
    expected = fold(fold(trace_high ^ seed, trace_low ^ step) ^ seed, span_id ^ step)
    assert first == second == [expected] == [14991147862360445015]


def test_span_keys_do_not_collide() -> None:
    """50,000 spans with counting ids have as many keys, spread over the 64 bits."""
    spans = [make_span({"ml.feature.a": 1}, i) for i in range(50_000)]
    keys = decode(make_request(spans, {"ml.model.name": "m"})).batches[0].rows.column("span_key").to_numpy()
    assert len(np.unique(keys)) == len(keys)
    shares = np.array([np.mean(keys >> np.uint64(bit) & np.uint64(1)) for bit in range(64)])
    assert np.abs(shares - 0.5).max() < 0.02


def test_spans_without_valid_ids_are_known_by_their_content() -> None:
    """Missing, short or zero ids are empty, and the key comes from all of the span."""
    ids = [{"trace_id": b"", "span_id": b""}, {"trace_id": b"short"}, {"trace_id": bytes(16)}, {"span_id": bytes(8)}]
    spans = [make_span({"ml.feature.a": value}, 0, **each) for each in ids for value in (1.0, 2.0, 2.0)]
    rows = decode(make_request(spans, {"ml.model.name": "m"})).batches[0].rows
    assert [len(each) for each in rows.column("trace_id").to_pylist()] == [0] * 9 + [16] * 3
    assert [len(each) for each in rows.column("span_id").to_pylist()] == [0] * 3 + [8] * 6 + [0] * 3
    keys = rows.column("span_key").to_pylist()
    assert len(set(keys)) == 8
    assert all(keys[i + 1] == keys[i + 2] != keys[i] for i in range(0, 12, 3))


def test_spans_without_model_or_feature_are_ignored() -> None:
    """A span needs a model's name and a feature, a prediction or a label."""
    spans = [
        make_span({"ml.feature.a": 1.0}),
        make_span({"ml.model.name": "m"}),
        make_span({"ml.model.name": "m", "ml.segment.s": "x", "ml.probability.p": 0.5, "ml.prediction.id": "i"}),
        make_span({"ml.model.name": "", "ml.feature.a": 1.0}),
        make_span({"ml.model.name": NESTED, "ml.feature.a": 1.0}),
        make_span({"ml.model.name": "m", "ml.label.l": 1}),
        make_span({"ml.model.name": "m", "ml.prediction.p": 1}),
    ]
    decoded = decode(make_request(spans))
    assert (decoded.received, decoded.ignored, len(decoded.batches[0].rows)) == (7, 5, 2)


def test_spans_of_the_future_and_without_end_are_rejected() -> None:
    """Rejected spans are counted by reason and said in words; the limit itself is accepted."""
    ends = [0, START_NS, START_NS + 1, 2**63, 2**64 - 1]
    spans = [make_span({"ml.feature.a": 1.0}, end_time_unix_nano=end) for end in ends]
    decoded = decode(make_request(spans, {"ml.model.name": "m"}), not_after_ns=START_NS)
    assert decoded.rejected == {"future": 3, "no_timestamp": 1}
    assert len(decoded.messages) == 2
    assert len(decoded.batches[0].rows) == 1


def test_ten_thousand_feature_names_from_one_client_are_bounded() -> None:
    """Columns beyond the limit are dropped and counted; those known before stay."""
    kinds = KindBook()
    rows_of([{"ml.feature.known": 1.0}], kinds)
    spans = [make_span({f"ml.feature.f{i}": float(i) for i in range(k, 10_000, 10)}, k) for k in range(10)]
    spans.append(make_span({"ml.feature.known": 2.0}, 10))
    (batch,) = (decoded := decode(make_request(spans, {"ml.model.name": "m"}), kinds)).batches
    assert len(batch.rows.schema.names) == len(FIXED_FIELDS) + 2_000
    assert decoded.dropped_values == {"too_many_columns": 10_000 - 1_999}
    assert column(batch, "feature.known") == [*[None] * 10, 2.0]
    assert column(rows_of([{"ml.feature.known": 3.0, "ml.feature.late": 1.0}], kinds), "feature.known") == [3.0]


def test_too_many_models_in_one_request_are_rejected() -> None:
    """The 1,001st model's spans are counted."""
    spans = [make_span({"ml.model.name": f"m{i % 1_005}", "ml.feature.a": 1.0}, i) for i in range(2_010)]
    decoded = decode(make_request(spans))
    assert (len(decoded.batches), decoded.rejected) == (1_000, {"too_many_models": 10})


def test_request_of_mostly_missing_values_is_bounded() -> None:
    """Rows that would blow up the table are rejected, not allocated."""
    wide = make_span({f"ml.feature.f{i}": 1.0 for i in range(1_999)})
    spans = [wide, *(make_span({"ml.feature.f0": 1.0}, i) for i in range(10_000))]
    decoded = decode(make_request(spans, {"ml.model.name": "m"}))
    assert decoded.rejected == {"too_sparse": 10_001 - 2**24 // 1_999}
    assert len(decoded.batches[0].rows) == 2**24 // 1_999


def test_overlong_names_are_dropped_and_counted() -> None:
    """A column's name may have 1,024 bytes with its prefix."""
    spans = [make_span({"ml.feature." + "n" * (1_024 - 11): 1.0, "ml.feature." + "n" * (1_025 - 11): 2.0})]
    decoded = decode(make_request(spans, {"ml.model.name": "m"}))
    assert len(decoded.batches[0].rows.schema.names) == len(FIXED_FIELDS) + 1
    assert decoded.dropped_values == {"name_too_long": 1}


def test_names_are_configurable() -> None:
    """Other attribute names, the longest prefix and exact names winning."""
    config = AttributesConfig(
        model_name="model_name", feature_prefix="in.", label_prefix="in.truth.", model_stage="in.env"
    )
    span = make_span({"model_name": "m", "in.a": 1.0, "in.truth.b": 2.0, "in.env": "prod", "ml.feature.c": 3.0})
    (batch,) = Decoder(config, KindBook()).decode(make_request([span]).SerializeToString()).batches
    assert batch.key == ("m", "", "prod")
    assert batch.rows.schema.names[len(FIXED_FIELDS) :] == ["feature.a", "label.b"]


def test_batches_survive_later_requests() -> None:
    """A batch shares no memory with the decoder's own arrays."""
    decoder = Decoder(AttributesConfig(), KindBook())
    request = usual_request(20)
    first = decoder.decode(request).batches[0].rows
    kept = first.to_pylist()
    for seed in range(5):
        decoder.decode(usual_request(40, seed))
    assert first.to_pylist() == kept
