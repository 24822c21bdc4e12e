"""Several requests decoded at once give what decoding each by itself gives."""
# ruff: noqa: S311 - random bytes that can be repeated.

import json
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decode_oracle import REQUESTS, Row, comparable, decoded_rows
from driftmeter.columnar import decoder as decoder_module
from driftmeter.columnar.config import AttributesConfig
from driftmeter.columnar.decoder import Decoded, Decoder
from driftmeter.columnar.kinds import KindBook
from driftmeter.errors import MalformedError
from driftmeter.model.predictions import ModelKey
from driftmeter.model.request import Signal
from otlp_samples import (
    Scalar,
    array,
    batched_request,
    damage,
    make_logs,
    make_record,
    make_request,
    make_span,
    unusual_request,
    usual_request,
)

MODEL: dict[str, Scalar] = {"ml.model.name": "m"}


@dataclass
class Joined:
    """What one or several requests hold."""

    rows: dict[ModelKey, list[Row]] = field(default_factory=dict)
    mismatches: dict[ModelKey, set[tuple[str, int]]] = field(default_factory=dict)
    spans: Counter[ModelKey] = field(default_factory=Counter)
    without_identity: Counter[ModelKey] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, decoded: Decoded) -> None:
        """Add what was decoded behind what is there."""
        for batch, rows in zip(decoded.batches, decoded_rows(decoded).values(), strict=True):
            before = self.rows.setdefault(batch.key, [])
            wrong = self.mismatches.setdefault(batch.key, set())
            wrong |= {(name, len(before) + row) for name, rows_ in batch.mismatches.items() for row in rows_.tolist()}
            keys = batch.rows.column("span_key").to_pylist()
            before += [{**row, "span_key": key} for row, key in zip(rows, keys, strict=True)]
        for batch, spans, unknown in zip(decoded.batches, decoded.batch_spans, decoded.without_identity, strict=True):
            self.spans[batch.key] += spans
            self.without_identity[batch.key] += unknown
        self.counts.update({"received": decoded.received, "ignored": decoded.ignored})
        self.counts.update(decoded.rejected)
        self.counts.update(decoded.dropped_values)

    def comparable(self) -> dict[ModelKey, list[Row]]:
        """Rows with all columns of their model, to be compared with ==."""
        result = {}
        for key, rows in self.rows.items():
            nothing = dict.fromkeys(name for row in rows for name in row)
            result[key] = comparable({**nothing, **row} for row in rows)
        return result


def join(*decoded: Decoded) -> Joined:
    """What several requests hold."""
    result = Joined()
    for each in decoded:
        result.add(each)
    return result


def make_decoder(**config: object) -> Decoder:
    """A decoder that knows nothing yet."""
    return Decoder(AttributesConfig.model_validate(config), KindBook())


def check(bodies: Sequence[bytes], signal: Signal = Signal.TRACES, **config: object) -> bool:
    """Compare decoding at once and one by one; return whether all requests are well-formed."""
    together, apart, singly = make_decoder(**config), make_decoder(**config), list[Decoded]()
    malformed = False
    for body in bodies:
        try:
            singly.append(apart.decode(body, signal))
        except MalformedError:
            malformed = True
    if malformed:
        with pytest.raises(MalformedError):
            together.decode_many(bodies, signal)
        assert together.state() == make_decoder().state()
        return False
    decoded, expected = together.decode_many(bodies, signal), join(*singly)
    if decoded.limited:  # What it gives is not used then: the requests are decoded again, one by one.
        assert together.state()["kinds"]["models"] == [
            {**each, "numeric": [], "categorical": []} for each in together.state()["kinds"]["models"]
        ]
        joined = join(*(together.decode(body, signal) for body in bodies))
    else:
        joined = join(decoded)
    assert list(joined.rows) == list(expected.rows)
    assert joined.comparable() == expected.comparable()
    assert (joined.mismatches, joined.spans) == (expected.mismatches, expected.spans)
    assert (joined.without_identity, joined.counts) == (expected.without_identity, expected.counts)
    assert learned(together) == learned(apart)
    return True


def learned(decoder: Decoder) -> object:
    """What a decoder knows, without the order in which it learned a model's columns."""
    kinds = [{name: sorted(value) for name, value in each.items()} for each in decoder.state()["kinds"]["models"]]
    return sorted(map(json.dumps, kinds)), decoder.state()["models"]


def sample(random_: random.Random, signal: Signal) -> bytes:
    """A request of any sort, well-formed or not."""
    seed = random_.randrange(9)
    if signal is Signal.TRACES and random_.random() < 0.3:
        return random_.choice((b"", usual_request(2, seed), batched_request(2, 3, seed)))
    request = unusual_request(random_, descriptor=REQUESTS[signal].DESCRIPTOR)
    if random_.random() < 0.1:
        return damage(request, random_)
    return request[: random_.randrange(len(request) + 1)] if random_.random() < 0.05 else request


@settings(max_examples=600, deadline=None)
@given(st.integers(0, 2**48), st.sampled_from(Signal))
def test_at_once_is_one_by_one(seed: int, signal: Signal) -> None:
    """Valid, unusual and damaged requests give the same rows, counts and knowledge, or are refused."""
    random_ = random.Random(seed)
    check([sample(random_, signal) for _ in range(random_.randint(0, 5))], signal)


def test_many_usual_requests_are_one_batch() -> None:
    """The batches of one model are one, rows in the requests' order, keys and all."""
    bodies = [usual_request(10, seed) for seed in range(30)]
    assert check(bodies)
    decoded = make_decoder().decode_many(bodies)
    assert (decoded.batch_spans, decoded.received, decoded.limited) == ((300,), 300, False)


def test_json_texts_of_many_requests_come_apart() -> None:
    """Names, escaped texts and numbers written behind the requests belong to their own."""
    texts = ['{"a": 1.5, "b": {"ü": "\\u00fc\\n"}}', '{"a": -2e-3, "c": [1, "x"]}', '{"a": ', '"\\t"']
    spans = [make_span({"in": text}, number) for number, text in enumerate(texts)]
    bodies = [make_request([span], MODEL).SerializeToString() for span in spans]
    assert check([*bodies, b"", *bodies], aliases={"in": "json:feature"})


def test_no_request_reaches_into_the_next() -> None:
    """A request cut after any byte is refused, or read as it is, whatever stands behind it."""
    body = make_request([make_span({"ml.feature.a": 1.0, "ml.feature.ü": "x"})], MODEL).SerializeToString()
    accepted = sum(check([body[:length], body]) for length in range(len(body) + 1))
    assert 2 <= accepted < len(body) // 2


def test_fault_names_its_request() -> None:
    """Which of the requests is malformed, and where in it."""
    body = usual_request(2)
    with pytest.raises(MalformedError) as alone:
        make_decoder().decode(b"\x00\x01")
    for bodies, number in (([body, b"\x00\x01"], 2), ([b"\x00\x01", body], 1), ([body, b"\x0a", body], 2)):
        with pytest.raises(MalformedError, match=f"^request {number} of {len(bodies)} is not an OTLP trace request"):
            make_decoder().decode_many(bodies)
    with pytest.raises(MalformedError) as caught:
        make_decoder().decode_many([body, b"\x00\x01"])
    assert str(caught.value) == f"request 2 of 2 is {alone.value}"


def test_kinds_are_those_of_the_first_request_that_says_one() -> None:
    """A column's first scalar decides for all requests, as it does one after the other."""
    values: list[list[Scalar]] = [[None, b"x"], [array(None), "x"], [1.0, True], [2]]
    bodies = [
        make_logs([make_record({"ml.feature.a": value}, i) for i, value in enumerate(each)], MODEL).SerializeToString()
        for each in values
    ]
    assert check(bodies, Signal.LOGS)
    assert check(bodies[::-1], Signal.LOGS)


def test_at_the_limit_of_columns_requests_are_decoded_by_themselves() -> None:
    """Which columns are kept depends on what came together, so nothing is learned from what came together."""
    bodies = [
        make_request([make_span({**MODEL, "ml.feature.a": None, "ml.feature.b": 1.0})]).SerializeToString(),
        make_request([make_span({**MODEL, "ml.feature.b": 1.0, "ml.feature.c": 1.0, "ml.feature.a": "x"})])
        .SerializeToString(),
    ]  # fmt: skip
    together, apart = make_decoder(max_columns=2), make_decoder(max_columns=2)
    expected = join(*map(apart.decode, bodies))
    assert expected.counts["too_many_columns"] == 1
    decoded = together.decode_many(bodies)
    assert decoded.limited
    assert join(*map(together.decode, bodies)) == expected
    assert learned(together) == learned(apart)
    # Once all columns are settled, there is nothing that could differ.
    decoded, expected = together.decode_many(bodies), join(*map(apart.decode, bodies))
    assert not decoded.limited
    assert (join(decoded).comparable(), join(decoded).counts) == (expected.comparable(), expected.counts)


def test_requests_with_unlike_columns_are_decoded_by_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table of all would be mostly missing values."""
    monkeypatch.setattr(decoder_module, "_CELLS_FREE", 0)
    bodies = [
        make_request([make_span({f"ml.feature.{request}.{i}": 1.0 for i in range(20)}, request)], MODEL)
        .SerializeToString()
        for request in range(100)
    ]  # fmt: skip
    decoder = make_decoder()
    decoded = decoder.decode_many(bodies)
    assert decoded.limited
    assert decoded.rejected["too_sparse"] > 0
    assert decoder.state()["kinds"]["models"][0]["numeric"] == []
    assert sum(decoder.decode(body).accepted for body in bodies) == 100
