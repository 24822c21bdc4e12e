"""Arrays become rows, log records become predictions, and nothing that a sender makes up grows without bound."""

from typing import Any

import numpy as np
import pytest

from driftmeter.columnar import batches, layout
from driftmeter.columnar.config import AttributesConfig
from driftmeter.columnar.decoder import Decoded, Decoder
from driftmeter.columnar.kinds import KindBook
from driftmeter.columnar.models import ModelLimit
from driftmeter.model.predictions import ModelKey
from driftmeter.model.request import Signal
from otlp_samples import START_NS, Scalar, array, attribute, make_logs, make_record, make_request, make_span

MODEL: dict[str, Scalar] = {"ml.model.name": "m"}


def decode(*spans: dict[str, Scalar], resource: dict[str, Scalar] | None = None, **config: Any) -> Decoded:
    """Decode spans of model `m`, numbered in their order."""
    request = make_request([make_span(each, i) for i, each in enumerate(spans)], {**MODEL, **(resource or {})})
    return Decoder(AttributesConfig(**config), KindBook()).decode(request.SerializeToString())


def column(decoded: Decoded, name: str) -> list[Any]:
    """A column of the only batch."""
    (batch,) = decoded.batches
    return batch.rows.column(name).to_pylist()  # type: ignore[no-any-return]


def test_rows_of_a_span_share_everything_but_their_elements() -> None:
    """Ids, times and scalars are repeated, elements are not, and rows are numbered; plain spans stay one row."""
    decoded = decode(
        {"ml.feature.a": 0.5, "ml.prediction.id": "plain"},
        {
            "ml.feature.a": array(1.0, None, 3.0),
            "ml.feature.b": array("x", "y", "x"),
            "ml.segment.s": 7,
            "ml.prediction.id": array("p", 2, None),
        },
        {"ml.feature.a": array(4.0), "ml.prediction.id": "single"},
    )
    assert (decoded.batch_spans, decoded.accepted, decoded.received) == ((3,), 3, 3)
    assert column(decoded, "row_index") == [0, 0, 1, 2, 0]
    assert column(decoded, "feature.a") == [0.5, 1.0, None, 3.0, 4.0]
    assert column(decoded, "feature.b") == [None, "x", "y", "x", None]
    assert column(decoded, "segment.s") == [None, "7", "7", "7", None]
    assert column(decoded, "prediction_id") == ["plain", "p", "2", None, "single"]
    assert [each[:8] for each in column(decoded, "trace_id")] == [bytes([0] * 7 + [i]) for i in (0, 1, 1, 1, 2)]
    keys = column(decoded, "span_key")
    assert (len(set(keys)), len(set(keys[1:4]))) == (3, 1)
    times = decoded.batches[0].rows.column("event_time").cast("int64").to_pylist()
    assert times == [START_NS + 5_000_000 + i * 1_000_000 for i in (0, 1, 1, 1, 2)]


def test_elements_of_several_types_follow_the_column() -> None:
    """The first scalar decides the column; elements of the other sort, arrays and maps are mismatches of their row."""
    decoded = decode({"ml.feature.a": array(None, 1, "x", 2.5, True, array(1), b"b")})
    assert column(decoded, "feature.a") == [None, 1.0, None, 2.5, None, None, None]
    (batch,) = decoded.batches
    assert {name: rows.tolist() for name, rows in batch.mismatches.items()} == {"feature.a": [2, 4, 5, 6]}


@pytest.mark.parametrize(
    "attributes",
    [
        {"ml.feature.a": array(1, 2), "ml.feature.b": array(1)},
        {"ml.feature.a": array(1, 2), "ml.label.b": array()},
        {"ml.feature.a": array(1, 2), "ml.prediction.id": array("a", "b", "c")},
        {"ml.feature.a": array(1, 2, 3, 4)},
    ],
)
def test_arrays_of_different_lengths_are_rejected(attributes: dict[str, Scalar]) -> None:
    """Wherever they stand; spans beside that one are kept."""
    decoded = decode({"ml.feature.a": array(1, 2, 3)}, attributes, resource={"ml.segment.s": array("a", "b", "c")})
    assert (decoded.rejected, decoded.accepted) == ({"array_lengths": 1}, 1)
    assert "different lengths" in decoded.messages[0]


def test_overwritten_arrays_do_not_count() -> None:
    """A nearer level or a later duplicate replaces an array of any length."""
    spans: list[dict[str, Scalar]] = [{"ml.feature.a": 1.0}, {"ml.feature.a": array(2.0, 3.0)}, {"ml.feature.b": 1.0}]
    decoded = decode(*spans, resource={"ml.feature.a": array(7.0, 8.0, 9.0)})
    assert column(decoded, "feature.a") == [1.0, 2.0, 3.0, 7.0, 8.0, 9.0]
    assert column(decoded, "feature.b") == [None, None, None, 1.0, 1.0, 1.0]
    pairs = [attribute("ml.feature.a", array(1, 2)), attribute("ml.feature.a", "x"), attribute("ml.feature.b", 1)]
    request = make_request([make_span(pairs)], MODEL).SerializeToString()
    assert len(Decoder(AttributesConfig(), KindBook()).decode(request).batches[0].rows) == 1


def test_empty_arrays_say_nothing() -> None:
    """A span all of whose arrays are empty is ignored, whatever else it has."""
    decoded = decode({"ml.feature.a": array(), "ml.feature.b": array(), "ml.feature.c": 1.0}, {"ml.feature.c": 2.0})
    assert (decoded.ignored, decoded.accepted, decoded.rejected) == (1, 1, {})


def test_longest_array_is_taken_and_a_longer_one_rejected() -> None:
    """65,535 elements are rows; one more is too many, unless a nearer level overwrites it."""
    longest, longer = array(*range(65_535)), array(*range(65_536))
    decoded = decode({"ml.feature.a": longest})
    assert column(decoded, "row_index") == list(range(65_535))
    decoded = decode({"ml.feature.a": longer}, {"ml.feature.b": 1.0})
    assert (decoded.rejected, decoded.accepted) == ({"too_many_elements": 1}, 1)
    decoded = decode({"ml.feature.a": 1.0}, {"ml.feature.b": 1.0}, resource={"ml.feature.a": longer})
    assert (decoded.rejected, decoded.accepted) == ({"too_many_elements": 1}, 1)


def test_arrays_of_a_whole_request_are_bounded() -> None:
    """Elements beyond some 8 million in one request are not kept, and neither are more rows than there is room for."""
    elements = array(*[None] * 60_000)
    spans: list[dict[str, Scalar]] = [{"ml.feature.a": elements}] * 150
    decoded = decode(*spans)
    kept = layout.ATTRIBUTES_MAX // 60_001
    assert decoded.rejected["too_many_elements"] == 150 - kept
    cells = 60_000 + 59_999 * len(decoded.batches[0].rows.schema.names[:10])
    assert decoded.accepted == batches.CELLS_MAX // cells
    assert decoded.rejected["too_sparse"] == kept - decoded.accepted


def test_too_long_texts_are_dropped_and_counted() -> None:
    """A category of more bytes than allowed is missing, in arrays too; numbers and prediction ids are not concerned."""
    decoded = decode(
        {"ml.feature.a": "ü" * 5, "ml.segment.s": "s" * 11, "ml.prediction.id": "i" * 20},
        {"ml.feature.a": array("é" * 6, "a")},
        max_text_bytes=10,
    )
    assert column(decoded, "feature.a") == ["ü" * 5, None, "a"]
    assert column(decoded, "segment.s") == [None, None, None]
    assert column(decoded, "prediction_id") == ["i" * 20, None, None]
    assert (decoded.dropped_values, decoded.batches[0].mismatches) == ({"string_too_long": 2}, {})


@pytest.mark.parametrize("part", ["name", "version", "stage"])
def test_too_long_models_are_rejected(part: str) -> None:
    """A model's name, version or stage of more bytes than allowed is no label of a metric."""
    given: dict[str, Scalar] = {f"ml.model.{part}": "x" * 11, "ml.feature.a": 1.0}
    decoded = decode(given, {"ml.feature.a": 1.0}, max_text_bytes=10)
    assert (decoded.rejected, decoded.accepted) == ({"string_too_long": 1}, 1)


def test_attributes_of_a_span_are_bounded() -> None:
    """As many as allowed are taken, those that mean nothing and members of JSON counted; a span with more is not."""
    two: dict[str, Scalar] = {"ml.feature.a": 1.0, "http.method": "GET"}
    decoded = decode(two, {**two, "ml.feature.b": 1.0}, max_attributes=2)
    assert (decoded.rejected, decoded.accepted) == ({"too_many_attributes": 1}, 1)
    config: dict[str, Any] = {"max_attributes": 3, "aliases": {"in": "json:feature"}}
    decoded = decode({"in": '{"a": 1, "b": {"c": 2}}'}, {"in": '{"a": 1, "b": {"c": 2, "d": 3}}'}, **config)
    assert (decoded.rejected, decoded.accepted) == ({"too_many_attributes": 1}, 1)


def test_models_are_bounded_over_requests() -> None:
    """Models beyond the limit are rejected from then on; those known before go on."""
    decoder = Decoder(AttributesConfig(max_models=2), KindBook(), lambda key: key.model == "known")

    def send(*models: str) -> Decoded:
        spans = [make_span({"ml.model.name": name, "ml.feature.a": 1.0}, i) for i, name in enumerate(models)]
        return decoder.decode(make_request(spans).SerializeToString())

    assert send("a", "b").rejected == {}
    assert send("a", "c", "b", "c").rejected == {"too_many_models": 2}
    assert [batch.key.model for batch in send("known", "c", "a").batches] == ["known", "a"]


def test_models_with_a_baseline_have_a_limit_of_their_own() -> None:
    """Versions made up for a known model are bounded too."""
    limit = ModelLimit(2, lambda key: key.model == "known")
    keys = [ModelKey("known", str(version), "") for version in range(4)]
    assert limit.admit([ModelKey("other", "", ""), *keys]) == [True, True, True, False, False]
    assert limit.admit(keys[:2]) == [True, True]


def test_log_records_have_times_and_identities_of_their_own() -> None:
    """Event time is the record's or when it was seen; records of one span differ, the same record twice does not."""
    records = [
        make_record({"ml.feature.a": 1.0}),
        make_record({"ml.feature.a": 2.0}),
        make_record({"ml.feature.a": 1.0}),
        make_record({"ml.feature.a": 1.0}, time_unix_nano=0),
        make_record({"ml.feature.a": 1.0}, time_unix_nano=0, observed_time_unix_nano=0),
    ]
    request = make_logs(records, MODEL).SerializeToString()
    decoded = Decoder(AttributesConfig(), KindBook()).decode(request, Signal.LOGS)
    assert (decoded.received, decoded.accepted, decoded.rejected) == (5, 4, {"no_timestamp": 1})
    assert decoded.messages == ("1 log records have no time",)
    rows = decoded.batches[0].rows
    seen_ns = records[0].observed_time_unix_nano
    assert rows.column("event_time").cast("int64").to_pylist() == [seen_ns - 1_000] * 3 + [seen_ns]
    keys = rows.column("span_key").to_pylist()
    assert (keys[0] == keys[2], len(set(keys))) == (True, 3)
    assert len(set(rows.column("trace_id").to_pylist())) == 1
    assert rows.column("weight").to_pylist() == [1.0] * 4
    assert not np.any(rows.column("duration").cast("int64").to_numpy())


def test_body_of_a_record_is_not_looked_at() -> None:
    """Features in the body are no features."""
    body = {"kvlist_value": {"values": [attribute("ml.feature.a", 1.0)]}}
    request = make_logs([make_record({}, body=body)], MODEL).SerializeToString()
    decoded = Decoder(AttributesConfig(), KindBook()).decode(request, Signal.LOGS)
    assert (decoded.received, decoded.ignored) == (1, 1)
