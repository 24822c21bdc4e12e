"""Who a span or log record is: the same when it is sent again, never the same as another one."""

import os
import pickle
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from driftmeter.columnar.config import AttributesConfig
from driftmeter.columnar.decoder import Decoder
from driftmeter.columnar.kinds import KindBook
from driftmeter.model.request import Signal
from otlp_samples import Scalar, array, batched_request, make_logs, make_record, make_request, make_span, usual_request

NO_IDS: dict[str, Any] = {"trace_id": b"", "span_id": b""}
MODEL: dict[str, Scalar] = {"ml.model.name": "m"}
FEATURE: dict[str, Scalar] = {"ml.feature.a": 1.0}

KEYS_PROGRAM = """
import pickle, sys
from driftmeter.columnar.config import AttributesConfig
from driftmeter.columnar.decoder import Decoder
from driftmeter.columnar.kinds import KindBook
from driftmeter.model.request import Signal

for body, signal in pickle.load(sys.stdin.buffer):
    for batch in Decoder(AttributesConfig(), KindBook()).decode(body, Signal(signal)).batches:
        sys.stdout.buffer.write(repr((batch.key, batch.rows.to_pydict())).encode())
"""


def spans_keys(
    attributes: Sequence[dict[str, Scalar]], resource: dict[str, Scalar] | None = None, **fields: Any
) -> tuple[list[int], int]:
    """Keys of spans without ids, one per span, and how many of them are known by their content alone."""
    spans = [make_span(each, **{**NO_IDS, **fields}) for each in attributes]
    request = make_request(spans, {**MODEL, **(resource or {})}).SerializeToString()
    decoded = Decoder(AttributesConfig(), KindBook()).decode(request)
    (batch,) = decoded.batches
    rows = zip(batch.rows.column("span_key").to_pylist(), batch.rows.column("row_index").to_pylist(), strict=True)
    return [key for key, index in rows if index == 0], decoded.without_identity[0]


def record_keys(
    records: Sequence[dict[str, Scalar]], resource: dict[str, Scalar] | None = None, **fields: Any
) -> tuple[list[int], int]:
    """The same of log records, which have ids unless `fields` say otherwise."""
    request = make_logs([make_record(each) for each in records], {**MODEL, **(resource or {})})
    for record in request.resource_logs[0].scope_logs[0].log_records:
        for name, value in fields.items():
            setattr(record, name, value)
    decoded = Decoder(AttributesConfig(), KindBook()).decode(request.SerializeToString(), Signal.LOGS)
    return decoded.batches[0].rows.column("span_key").to_pylist(), decoded.without_identity[0]


def test_prediction_id_stands_for_missing_ids() -> None:
    """Two spans with one prediction id are one, whatever else they hold; other ids are others."""
    spans: list[dict[str, Scalar]] = [
        {"ml.prediction.id": name, "ml.feature.a": value} for name, value in ("p1", "p2", "q2")
    ]
    keys, unknown = spans_keys(spans)
    assert (keys[0] == keys[1] != keys[2], unknown) == (True, 0)
    assert spans_keys(spans[:1], {"host.name": "other"}, end_time_unix_nano=5)[0] == keys[:1]


def test_labels_are_no_copies_of_their_prediction() -> None:
    """What a span says something about is part of who it is; labels alone are known by all they say."""
    named: dict[str, Scalar] = {"ml.prediction.id": "p"}
    label: dict[str, Scalar] = {"ml.label.late": True}
    keys, unknown = spans_keys([
        {**named, **FEATURE},
        {**named, "ml.prediction.late": 0.5},
        {**named, **FEATURE, "ml.prediction.late": 0.5},
        {**named, **FEATURE, **label},
        {**named, **label},
        {**named, "ml.label.late": False},
    ])  # fmt: skip
    assert (len(set(keys)), unknown) == (6, 0)


def test_ids_of_all_rows_count() -> None:
    """A span with arrays is known by the ids of all its rows, in order."""
    values = {"ml.feature.a": array(1.0, 2.0)}
    ids: list[Scalar] = [
        array("a", "b"),
        array("b", "a"),
        array("ab", ""),
        array("a", "c"),
        array("a", None),
        array(1, 2),
    ]
    keys, unknown = spans_keys([{"ml.prediction.id": each, **values} for each in [*ids, *ids]])
    assert (len(set(keys[:6])), keys[6:] == keys[:6]) == (6, True)
    assert unknown == 4  # Twice an empty id and one that is missing.


@pytest.mark.parametrize("value", [None, "", "x" * 257, b"bytes"])
def test_what_is_no_prediction_id_names_nobody(value: Scalar) -> None:
    """Ids that are not kept leave the content."""
    keys, unknown = spans_keys([{"ml.feature.a": number, "ml.prediction.id": value} for number in (1.0, 2.0)])
    assert (len(set(keys)), unknown) == (2, 2)


def test_prediction_id_of_a_resource_is_nobodys_own() -> None:
    """It would make one span of all those in it."""
    keys, unknown = spans_keys([FEATURE, {"ml.feature.a": 2.0}], {"ml.prediction.id": "p"})
    assert (len(set(keys)), unknown) == (2, 2)


def test_content_includes_who_sent_it() -> None:
    """Spans and records without ids that are alike come from two servers when their resources differ."""
    for keys_of in (spans_keys, record_keys):
        here, unknown = keys_of([FEATURE, FEATURE], {"host.name": "here"}, **NO_IDS)
        there, _ = keys_of([FEATURE], {"host.name": "there"}, **NO_IDS)
        assert (here[0] == here[1] != there[0], unknown) == (True, 2)
        assert keys_of([FEATURE], {"host.name": "here"}, **NO_IDS)[0] == here[:1]


def test_records_of_a_span_are_known_by_themselves() -> None:
    """Their own bytes hold the span's ids: whatever a collector on the way adds to the resource, they stay the same."""
    here, unknown = record_keys([FEATURE, {"ml.feature.a": 2.0}], {"host.name": "here"})
    there, _ = record_keys([FEATURE], {"host.name": "there"})
    assert (here[0] != here[1], here[0] == there[0], unknown) == (True, True, 0)


def test_records_with_one_prediction_id_stay_apart() -> None:
    """A prediction may have several records, of features and of labels, with times of their own."""
    named: dict[str, Scalar] = {**FEATURE, "ml.prediction.id": "p"}
    keys, unknown = record_keys([named, {**named, "ml.feature.b": 1}, named], **NO_IDS)
    assert (keys[0] == keys[2] != keys[1], unknown) == (True, 0)
    later, _ = record_keys([named], **NO_IDS, time_unix_nano=7)
    assert later[0] != keys[0]


def test_nothing_depends_on_the_process() -> None:
    """Tables, keys and dictionaries are the same in processes with other hash seeds."""
    bodies = [
        (usual_request(20), "traces"),
        (batched_request(3, 4), "traces"),
        (make_request([make_span({**FEATURE, f"ml.segment.{i}": str(i)}, **NO_IDS) for i in range(20)], MODEL)
         .SerializeToString(), "traces"),
        (make_logs([make_record({**FEATURE, "ml.model.name": f"m{i}"}) for i in range(9)]).SerializeToString(), "logs"),
    ]  # fmt: skip
    outputs = {
        subprocess.run(
            [sys.executable, "-c", KEYS_PROGRAM],
            input=pickle.dumps(bodies),
            capture_output=True,
            check=True,
            env={
                **os.environ,
                "PYTHONHASHSEED": seed,
                "PYTHONPATH": os.pathsep.join((str(Path(__file__).parent), *sys.path)),
            },
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1
    assert len(outputs.pop()) > 10_000
