"""What one request may make the decoder keep: long texts are refused by name, and memory follows what is accepted."""

import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest

from driftmeter.columnar import layout
from driftmeter.columnar.config import AttributesConfig
from driftmeter.columnar.decoder import Decoded, Decoder
from driftmeter.columnar.kinds import KindBook
from driftmeter.model.request import Signal
from driftmeter.telemetry.metrics import SpanReason, ValueReason
from otlp_samples import Scalar, attribute, field, make_request, make_span

IDENTITIES = ("ml.model.name", "ml.model.version", "ml.model.stage")
LONG = 4 * 2**20
KEPT_BYTES = 64 * 2**20

PEAK_PROGRAM = """
import resource, sys
from driftmeter.columnar.config import AttributesConfig
from driftmeter.columnar.decoder import Decoder
from driftmeter.columnar.kinds import KindBook

decoder = Decoder(AttributesConfig(), KindBook())
decoder.warm_up()
request = sys.stdin.buffer.read()
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = peak()
decoded = decoder.decode(request)
print(len(request), decoded.received, peak() - before, sum(array.nbytes for array in decoder._local.flat))
"""
"""Prints the request's size, its spans, how many KiB the peak of memory rose by, and the bytes that stay."""


def decode(attributes: dict[str, Scalar], resource: dict[str, Scalar] | None = None) -> Decoded:
    """Decode a span of model `m` with a feature and the given attributes, and one without them."""
    usual: dict[str, Scalar] = {"ml.model.name": "m", "ml.feature.a": 1.0}
    spans = [make_span({**usual, **attributes}), make_span(usual, 1)]
    return Decoder(AttributesConfig(), KindBook()).decode(make_request(spans, resource).SerializeToString())


@pytest.mark.parametrize("name", IDENTITIES)
@pytest.mark.parametrize("text", ["x" * 257, "ü" * 128 + "x", "x" * LONG], ids=["257", "utf8", "4MiB"])
def test_span_of_a_model_with_a_long_name_is_rejected_by_name(name: str, text: str) -> None:
    """Its identity would stand in every series that goes out; spans beside it are kept."""
    decoded = decode({name: text})
    assert decoded.rejected == {SpanReason.STRING_TOO_LONG: 1}
    assert decoded.messages == ("1 spans have a model, version or stage longer than attributes.max_text_bytes",)
    assert [(batch.key, len(batch.rows)) for batch in decoded.batches] == [(("m", "", ""), 1)]


@pytest.mark.parametrize("name", IDENTITIES)
def test_identity_of_256_bytes_is_accepted(name: str) -> None:
    """The limit is in bytes, and itself allowed."""
    decoded = decode({name: "ü" * 128})
    assert decoded.rejected == {}
    assert [len(batch.rows) for batch in decoded.batches] == [1, 1]


def test_long_identity_counts_only_where_nothing_overrides_it() -> None:
    """A resource's long version is no fault of a span that has a version of its own."""
    decoded = decode({"ml.model.version": "2"}, {"ml.model.version": "x" * 257})
    assert decoded.rejected == {"string_too_long": 1}
    assert [batch.key for batch in decoded.batches] == [("m", "2", "")]


@pytest.mark.parametrize("role", ["feature", "prediction", "label", "segment"])
def test_long_category_is_missing_and_counted(role: str) -> None:
    """Texts beyond 256 bytes are null in their row; they are texts all the same, so no mismatch."""
    key, texts = f"ml.{role}.c", ["x" * 257, "x" * 256, "ü" * 129, "x" * LONG, "short", "ü" * 128]
    spans = [make_span({"ml.feature.a": 1.0, key: each}, i) for i, each in enumerate(texts)]
    decoded = Decoder(AttributesConfig(), KindBook()).decode(
        make_request(spans, {"ml.model.name": "m"}).SerializeToString()
    )
    (batch,) = decoded.batches
    array = batch.rows.column(f"{role}.c")
    assert array.to_pylist() == [None, "x" * 256, None, None, "short", "ü" * 128]
    assert array.null_count == 3
    assert array.dictionary.get_total_buffer_size() < 10_000
    assert decoded.dropped_values == {ValueReason.STRING_TOO_LONG: 3}
    assert batch.mismatches == {}


def test_overwritten_long_category_is_not_counted() -> None:
    """What counts is what the row would have held."""
    decoded = decode({"ml.feature.c": "x"}, {"ml.feature.c": "x" * 257})
    assert decoded.batches[0].rows.column("feature.c").to_pylist() == ["x", None]
    assert decoded.dropped_values == {"string_too_long": 1}


def test_long_text_in_a_numeric_column_is_a_mismatch() -> None:
    """It has the wrong type before it has the wrong length."""
    values: list[Scalar] = [1.0, "x" * 257]
    spans = [make_span({"ml.feature.a": value}, i) for i, value in enumerate(values)]
    decoded = Decoder(AttributesConfig(), KindBook()).decode(
        make_request(spans, {"ml.model.name": "m"}).SerializeToString()
    )
    assert {name: rows.tolist() for name, rows in decoded.batches[0].mismatches.items()} == {"feature.a": [1]}
    assert decoded.dropped_values == {}


def empty_scopes(size_bytes: int) -> bytes:
    """A request of nothing but empty scopes."""
    return field(1, 2, b"\x12\x00" * (size_bytes // 2))


def scopes_with_attributes(size_bytes: int) -> bytes:
    """Scopes with an attribute each, and no spans."""
    scope = field(2, 2, field(1, 2, field(3, 2, attribute("ml.feature.a", None).SerializeToString())))
    return field(1, 2, scope * (size_bytes // len(scope)))


def resources_with_ignored_spans(size_bytes: int) -> bytes:
    """Resources with an attribute, and a span that belongs to no model."""
    resource = field(1, 2, field(1, 2, attribute("ml.feature.a", 1).SerializeToString()))
    whole = field(1, 2, resource + field(2, 2, b"\x12\x00"))
    return whole * (size_bytes // len(whole))


@pytest.mark.parametrize("make", [empty_scopes, scopes_with_attributes, resources_with_ignored_spans])
def test_scopes_without_kept_spans_take_no_memory(make: Callable[[int], bytes]) -> None:
    """16 MiB of them leave the peak of the process where it was, and nothing large behind."""
    done = subprocess.run(
        [sys.executable, "-c", PEAK_PROGRAM],
        input=make(16 * 2**20),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    size, received, rise_kib, kept_bytes = map(int, done.stdout.split())
    assert size > 15 * 2**20
    assert (received > 0) is (make is resources_with_ignored_spans)
    assert rise_kib < 16 * 2**10
    assert kept_bytes <= KEPT_BYTES


@pytest.mark.parametrize("signal", Signal)
@pytest.mark.parametrize("make", [empty_scopes, scopes_with_attributes, resources_with_ignored_spans])
def test_scopes_without_kept_entries_leave_no_rows(make: Callable[[int], bytes], signal: Signal) -> None:
    """Neither they nor their attributes nor those of their resources; logs have the same fields as traces here."""
    decoder = Decoder(AttributesConfig(), KindBook())
    decoder.decode(make(2**16), signal)
    state = decoder._local.flat.state
    assert state[[layout.ATTRIBUTES, layout.SPANS, layout.SCOPES]].tolist() == [0, 0, 0]


def test_scopes_with_a_kept_span_each_come_out_whole() -> None:
    """Empty scopes and scopes of ignored spans between them do not lend them their attributes."""
    parts = []
    for i in range(200):
        spans = [make_span({"ml.feature.a": float(i)}, i)]
        parts.append(make_request(spans, {"ml.model.name": f"m{i % 3}"}, {"ml.segment.s": i}))
        parts.append(make_request([], {"ml.model.name": "none"}, {"ml.segment.s": "none"}))
        parts.append(make_request([make_span({})], {"ml.model.name": "none"}, {"ml.segment.s": "none"}))
    decoded = Decoder(AttributesConfig(), KindBook()).decode(b"".join(part.SerializeToString() for part in parts))
    assert (decoded.received, decoded.ignored) == (400, 200)
    for number, batch in enumerate(decoded.batches):
        wanted = list(range(number, 200, 3))
        assert batch.key.model == f"m{number}"
        assert batch.rows.column("feature.a").to_pylist() == wanted
        assert batch.rows.column("segment.s").to_pylist() == [str(each) for each in wanted]


def test_all_arrays_count_against_what_a_thread_keeps() -> None:
    """Many scopes with one span each: the arrays together are too large to keep, those of spans alone are not."""
    scope = field(2, 2, field(2, 2, b"\x41" + (1).to_bytes(8, "little")))
    names = [attribute("ml.model.name", "m"), attribute("ml.feature.a", 1.0)]
    resource = field(1, 2, b"".join(field(1, 2, each.SerializeToString()) for each in names))
    decoder = Decoder(AttributesConfig(), KindBook())
    decoder.decode(field(1, 2, resource + scope * 1_000))
    assert decoder._local.flat.scopes.shape[0] >= 1_000
    (batch,) = decoder.decode(field(1, 2, resource + scope * (2**18 + 1))).batches
    assert len(batch.rows) == 2**18 + 1
    assert not hasattr(decoder._local, "flat")


def test_arrays_of_a_usual_request_are_kept() -> None:
    """The limit does not reach what servers send."""
    decoder = Decoder(AttributesConfig(), KindBook())
    decoder.decode(make_request([make_span({"ml.model.name": "m", "ml.feature.a": 1.0})]).SerializeToString())
    kept: layout.Flat = decoder._local.flat
    assert sum(np.asarray(array).nbytes for array in kept) < 2**20
