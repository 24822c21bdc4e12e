"""Requests are cut before they have more bytes than receivers take, whatever stands in the labels."""

import asyncio
from typing import Any, Self

import cramjam
import grpc
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftmeter.clock import SystemClock
from driftmeter.export.config import ExportConfig
from driftmeter.export.cutting import cut
from driftmeter.export.exporter import Exporter
from driftmeter.export.otlp.encode import OtlpSource, batches, encode_metrics_request
from driftmeter.export.points import LABELS, as_points
from driftmeter.export.remote_write.encode import encode_write_request, request_parts
from driftmeter.telemetry.metrics import Destination, SampleOutcome, Telemetry
from export_samples import (
    SeriesKey,
    evaluated,
    points,
    read_metrics_request,
    read_write_request,
    series_of,
    translated,
)
from scripted_receiver import ScriptedReceiver

_SOURCE = OtlpSource("driftmeter", "here", "0.1.0", 1_600_000_000_000_000_000)
_EVERY_LABEL = [label for label in LABELS if label != "le"]
_AROUND_BYTES = 2_000
"""More than the resource, the scope and the header of a metric take in an OTLP request."""


def _size(body: bytes) -> int:
    return len(cramjam.snappy.decompress_raw(body))


def _table(text_bytes: list[int], labels: list[str]) -> pl.DataFrame:
    """A gauge per number with so many bytes in each of the labels."""
    rows = [
        {"metric": "ml_feature_mean", **dict.fromkeys(labels, f"{i:03}" + "x" * size), "value": 1.0, "timestamp_ms": 9}
        for i, size in enumerate(text_bytes)
    ]
    return points(rows)


def _histograms(models: int, text_bytes: int, buckets: int) -> pl.DataFrame:
    """Histograms of models whose names have so many bytes."""
    name = "ml_inference_duration_seconds"
    rows: list[dict[str, Any]] = []
    for model in range(models):
        labels = {"model": f"{model:03}" + "x" * text_bytes, "timestamp_ms": 9}
        bounds = [*(f"{bound}" for bound in range(1, buckets)), "+Inf"]
        rows += [{"metric": f"{name}_bucket", "le": le, "value": float(i), **labels} for i, le in enumerate(bounds)]
        rows += [{"metric": f"{name}_{part}", "value": float(buckets - 1), **labels} for part in ("count", "sum")]
    return points(rows)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.integers(1, 1_000), max_size=60), st.integers(1, 20), st.integers(1, 3_000))
def test_cuts_hold_all_samples_in_order_and_keep_both_limits(
    sizes: list[int], samples_max: int, bytes_max: int
) -> None:
    """Requests follow each other without gaps, and another sample would not have fitted into any but the last."""
    ranges = list(cut(np.array(sizes, np.int64), samples_max, bytes_max))
    assert [i for first, count in ranges for i in range(first, first + count)] == list(range(len(sizes)))
    for first, count in ranges:
        held = sizes[first : first + count]
        assert 1 <= count <= samples_max
        assert sum(held) <= bytes_max or count == 1
        following = sizes[first + count : first + count + 1]
        assert not following or count == samples_max or sum(held + following) > bytes_max


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 3_000), min_size=1, max_size=25),
    st.lists(st.sampled_from(_EVERY_LABEL), max_size=len(_EVERY_LABEL), unique=True),
    st.integers(600, 40_000),
)
def test_requests_of_both_formats_stay_below_their_limit(sizes: list[int], extra: list[str], bytes_max: int) -> None:
    """Encoded requests have no more bytes than allowed, unless one sample alone has more; nothing gets lost."""
    table = _table(sizes, ["feature", *(label for label in extra if label != "feature")])
    found: dict[SeriesKey, tuple[float, int]] = {}
    for part in request_parts(table, "job", "here", 10, bytes_max):
        body = encode_write_request(part, "job", "here")
        assert _size(body) <= bytes_max or part.height == 1
        assert part.height <= 10
        found |= read_write_request(body)
    assert found == series_of(table, job="job", instance="here")
    found = {}
    for part, count in batches(table, 10, bytes_max):
        body = encode_metrics_request(as_points(part), _SOURCE)
        assert len(body) <= bytes_max + _AROUND_BYTES or count == 1
        found |= translated(read_metrics_request(body))
    assert found == series_of(table, job="driftmeter", instance="here")


@pytest.mark.parametrize(("text_bytes", "buckets"), [(10, 40), (2_000, 4)], ids=["many buckets", "long names"])
def test_histograms_are_cut_whole(text_bytes: int, buckets: int) -> None:
    """Their buckets and their labels count, and a histogram never stands in two requests."""
    table = _histograms(30, text_bytes, buckets)
    parts = batches(table, 1_000, 10_000)
    bodies = [encode_metrics_request(as_points(part), _SOURCE) for part, _ in parts]
    assert 3 <= len(bodies) < 20
    assert max(map(len, bodies)) <= 10_000 + _AROUND_BYTES
    assert sum(count for _, count in parts) == 30
    found: dict[SeriesKey, tuple[float, int]] = {}
    for body in bodies:
        found |= translated(read_metrics_request(body))
    assert found == series_of(table, job="driftmeter", instance="here")


def test_usual_requests_are_cut_by_samples_alone() -> None:
    """2,000 series with labels of usual length stay one request."""
    table = _table([40] * 2_000, ["model", "version", "stage", "feature", "window", "baseline", "method"])
    assert [part.height for part in request_parts(table, "driftmeter", "here", 2_000)] == [2_000]
    assert [count for _, count in batches(table, 2_000)] == [2_000]


class _OtlpReceiver:
    """A gRPC server with the usual limit of 4 MiB a message."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self._server = grpc.aio.server()
        handlers = {"Export": grpc.unary_unary_rpc_method_handler(self._export)}
        service = "opentelemetry.proto.collector.metrics.v1.MetricsService"
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
        self.endpoint = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"

    async def __aenter__(self) -> Self:
        await self._server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.stop(None)

    async def _export(self, request: bytes, _: Any) -> bytes:
        self.bodies.append(request)
        return b""


def test_long_labels_reach_both_receivers() -> None:
    """A window whose series have some 20 MB arrives whole, in requests that receivers take."""
    telemetry, receiver = Telemetry(), ScriptedReceiver([])
    columns = [(f"{i:04}" + "x" * 1_000, "feature") for i in range(1_000)]
    window = evaluated(0, columns=columns)

    async def test() -> list[bytes]:
        async with receiver.listening(), _OtlpReceiver() as otlp, asyncio.timeout(60):
            sections = {
                "interval": "1h",
                "max_series": 100_000,
                "scrape": {"listen": None},
                "remote_write": {"url": receiver.url, "instance": "here", "max_samples_per_send": 100_000},
                "otlp": {"endpoint": otlp.endpoint, "max_samples_per_send": 100_000},
            }
            exporter = Exporter(ExportConfig.model_validate(sections), telemetry, SystemClock())
            await exporter.start()
            exporter.publish(window)
            await exporter.stop(30)
            return otlp.bodies

    otlp_bodies = asyncio.run(test())
    expected = {key for key in series_of(window.points(0), job="driftmeter", instance="here") if _long(key)}
    sizes = [_size(each.body) for each in receiver.received]
    assert max(sizes) <= 4 * 2**20 < sum(sizes)
    written = {key for each in receiver.received for key in read_write_request(each.body)}
    assert written >= expected
    assert {key for body in otlp_bodies for key in translated(read_metrics_request(body))} == written
    for destination in Destination:
        assert _count(telemetry, destination, SampleOutcome.DROPPED) == 0
        assert _count(telemetry, destination, SampleOutcome.SENT) > len(expected)


def _long(key: SeriesKey) -> bool:
    return any(len(value) > 1_000 for _, value in key)


def _count(telemetry: Telemetry, destination: Destination, outcome: SampleOutcome) -> float:
    return telemetry.samples.value(destination=destination, outcome=outcome)
